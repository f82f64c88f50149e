"""A run folder that is small, real, trained and exported; made once for all tests that need it."""

# ruff: noqa: E402
from __future__ import annotations

import dataclasses
import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="exporting needs the extra [train]")

from keras_flowers.system import import_tensorflow

import_tensorflow()

import keras
import tensorflow as tf

from keras_flowers.export.export import export_model
from keras_flowers.files import write_json
from keras_flowers.inference.metadata import Metadata, add_to_archive
from keras_flowers.training import data, synthetic
from keras_flowers.training.model import OUTPUT, build_model, split_at

TOOLS = Path(__file__).parents[1] / "tools"
SIZE = 64


@dataclasses.dataclass(frozen=True)
class Exported:
    """A finished run with everything exported from it.

    Attributes:
        run: The folder.
        photos: JPEG bytes of the test photos.
        pixels: The same as TensorFlow reads them.
        classes: The class of each.
    """

    run: Path
    photos: list[bytes]
    pixels: np.ndarray
    classes: np.ndarray


@functools.cache
def load_saved_model(run: Path) -> tf.Module:
    """The SavedModel of a run; its first call takes seconds."""
    return tf.saved_model.load(str(run / "saved_model" / "1"))


def export_all(folder: Path) -> Exported:
    """Trains a small model in `folder` and exports everything from it."""
    data_dir = folder / "drawn"
    synthetic.DrawnFlowers(data_dir=data_dir).download_and_prepare()
    run = folder / "run"
    train = data.load_photos(synthetic.DATASET, "train", str(data_dir))
    test = data.load_photos(synthetic.DATASET, "test", str(data_dir))
    pixels, classes = read(train)
    # The first layers of a MobileNet: drawn flowers need no more, and random weights do.
    deep = build_model("MobileNet_0.25", SIZE, 2, random_weights_for=pixels[:32])
    run.mkdir()
    split_at(deep, "conv_pw_4_relu")[0].save(run / "base.keras")
    model = build_model(str(run / "base.keras"), SIZE, len(synthetic.CLASSES))
    fit_head(model, pixels, classes)
    model.save(run / "model.keras")
    provenance = {
        "package": "keras_flowers 0",
        "base": "base.keras",
        "dataset": train.dataset,
        "trained_on": {"split": "train", "photos": train.count},
        "scores": {"test": {"photos": test.count, "top1": {"value": 0.9}}},
        "seed": 0,
        "date": "2025-01-01",
    }
    add_to_archive(run / "model.keras", Metadata(train.labels, (SIZE, SIZE), provenance))
    write_json(run / "config.json", {"settings": {"data_dir": str(data_dir)}})
    export_model(run)
    photos = [content for _, content, _ in test.records.as_numpy_iterator()]
    return Exported(run, photos, *read(test))


def read(photos: data.LabelledPhotos) -> tuple[np.ndarray, np.ndarray]:
    batches = list(data.pixels(photos, (SIZE, SIZE)).as_numpy_iterator())
    pixels, classes = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return pixels, classes


def fit_head(model: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> None:
    """Gives the model the head that linear discriminant analysis finds."""
    head = model.get_layer(OUTPUT)
    trunk = keras.Model(model.inputs[0], head.input)
    features = trunk.predict(pixels.astype(np.float32), verbose=0).astype(np.float64)
    means = np.stack([features[classes == one].mean(axis=0) for one in range(head.units)])
    within = np.cov((features - means[classes]).T)
    # Much shrinkage: a head that is sure of itself turns 8-bit noise into other answers.
    within[np.diag_indices_from(within)] *= 3
    within[np.diag_indices_from(within)] += 1e-6
    kernel = np.linalg.solve(within, means.T)
    bias = -0.5 * np.sum(means.T * kernel, axis=0)
    # Softmax does not see what all classes have in common. Left in, it makes logits of some hundred
    # whose differences are lost to float32: answers for one photo and for two would differ by 3e-5.
    kernel -= kernel.mean(axis=1, keepdims=True)
    head.set_weights([kernel / 2, (bias - bias.mean()) / 2])


def tool(name: str) -> ModuleType:
    """A command line in `tools/`, as a module."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
