"""A flower classifier from any model file: `.tflite` (no TensorFlow), `.keras` or a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.image import Source, load_readers, read_pixels
from keras_flowers.inference.litert import LiteRTModel, probe_in_subprocess
from keras_flowers.inference.metadata import MODEL_FILE, Metadata, read_metadata
from keras_flowers.system import import_tensorflow, load_keras

Probabilities: TypeAlias = npt.NDArray[np.float32]
PredictFn: TypeAlias = Callable[[npt.NDArray[Any]], Probabilities]

SHIPPED = "flowers102_float16.tflite"
"""Half the size of the float32 file, and as accurate; int8 is smaller and faster still."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo; `print` shows it as a table of the five likeliest.

    Attributes:
        labels: The name of each class.
        probabilities: float32 [classes], sums to 1, in the order of `labels`.
    """

    labels: tuple[str, ...]
    probabilities: Probabilities

    @property
    def name(self) -> str:
        """The likeliest flower's name."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """The likeliest flower's probability, 0..1."""
        return self.top(1)[0][1]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` likeliest names with their probabilities, the likeliest first."""
        # Stable: of two equal probabilities the class with the lower index comes first.
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def __str__(self) -> str:
        top = self.top()
        width = max(len(name) for name, _ in top)
        return "\n".join(f"{name:<{width}}  {percent(each):>6}" for name, each in top)


def percent(probability: float) -> str:
    """`probability`, 0..1, as a percentage that says never or certain of nothing that is neither.

    >>> percent(0.25), percent(0.0004), percent(0.9996), percent(1.0)
    ('25.0%', '<0.1%', '>99.9%', '100.0%')
    """
    if 0 < probability < 0.0005:
        return "<0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}"


@dataclass(frozen=True)
class Classifier:
    """Names flowers; `load_classifier` makes one.

    Attributes:
        metadata: Labels, provenance.
        image_size: Height and width in pixels of the model's input.
        probabilities: pixels [N, height, width, 3], 0..255 -> float32 [N, classes].
    """

    metadata: Metadata
    image_size: tuple[int, int]
    probabilities: PredictFn

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class, in the order of the probabilities."""
        return self.metadata.labels

    def predict(self, photo: Source) -> Prediction:
        """Names the flower in a photo.

        Args:
            photo: A path, or the bytes of a whole JPEG, PNG, WebP, GIF, TIFF or BMP file.

        Raises:
            UserError: The photo cannot be read.
        """
        return self.predict_pixels(read_pixels(photo, self.image_size)[None])[0]

    def predict_pixels(self, pixels: npt.NDArray[Any]) -> list[Prediction]:
        """Names the flowers in photos that are read already.

        Args:
            pixels: uint8 or float32 [N, height, width, 3], RGB, 0..255, of `image_size`.

        Raises:
            UserError: What the model gives is no probabilities: it ends before its softmax, or it
                is damaged.
        """
        rows = self.probabilities(pixels)
        for row in rows:
            # Wide, since a quantised model rounds each of many small ones. NaN fails it too.
            if not (row.min() >= -0.01 and abs(float(row.sum()) - 1) < 0.5):
                raise UserError(
                    f"the model gives no probabilities: for a photo they are {row.min():.3g} to "
                    f"{row.max():.3g} and add up to {row.sum():.3g}, not to 1; export it again"
                )
        return [Prediction(self.labels, row) for row in rows]


def load_classifier(path: str | os.PathLike[str] | None = None, *, workers: int = 1) -> Classifier:
    """Loads a classifier from a `.tflite` file, a `.keras` file or a SavedModel folder.

    Only the last two import TensorFlow. A run folder that training wrote stands for the
    `model.keras` in it.

    Args:
        path: The model; None takes the one that ships with the package.
        workers: For a `.tflite`: how many photos of a batch are run at a time.

    Raises:
        UserError: There is no model at `path`, it is not a flower classifier, or it is damaged.
    """
    path = default_model() if path is None else Path(path)
    if (path / MODEL_FILE).is_file():
        path = path / MODEL_FILE
    if not path.exists():
        raise UserError(
            f"there is no model at {path}; expected a .tflite, a .keras or a SavedModel"
        )
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise UserError(
            f"{path} is a folder without a model in it (no model.keras, saved_model.pb)"
        )
    # A named pipe is neither folder nor file: to open it would wait for ever.
    if not path.is_dir() and not (path.is_file() and path.suffix in (".tflite", ".keras")):
        raise UserError(f"{path} is no model; expected a .tflite, a .keras or a SavedModel folder")
    metadata = read_metadata(path)
    if path.suffix == ".tflite":
        run, image_size, classes = _load_tflite(path, workers)
    elif path.suffix == ".keras":
        run, image_size, classes = _load_keras(path)
    else:
        run, image_size, classes = _load_saved_model(path, metadata)
    if metadata.image_size not in (None, image_size):
        raise UserError(f"{path} says it takes {metadata.image_size} pixels but takes {image_size}")
    if classes != len(metadata.labels):
        raise UserError(
            f"{path} is not a classifier of its {len(metadata.labels)} labels: "
            f"it gives {classes} values a photo"
        )
    return Classifier(metadata, image_size, run)


def default_model() -> Path:
    """The model that ships: installed with the package, in a checkout where training wrote it."""
    package = Path(__file__).parents[1]
    installed = package / "flowers102" / SHIPPED
    return (
        installed
        if installed.is_file()
        else package.parent / "saved_models" / "flowers102" / SHIPPED
    )


def _load_tflite(path: Path, workers: int) -> tuple[PredictFn, tuple[int, int], int]:
    content = path.read_bytes()
    if path != default_model():  # a stranger's, perhaps
        probe_in_subprocess(content, meanwhile=load_readers)
    model = LiteRTModel(content, workers=workers)
    shapes = model.output_shapes
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise UserError(f"{path} is not a classifier: its outputs have the shapes {shapes}")

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        return model(pixels)[0]

    return run, model.image_size, shapes[0][0]


def _load_keras(path: Path) -> tuple[PredictFn, tuple[int, int], int]:
    model = load_keras(path)
    shape, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[1] and shape[2]):
        raise UserError(f"{path} is not a classifier of photos: its input has the shape {shape}")
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        raise UserError(f"{path} is not a classifier: its output has the shape {outputs}")

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        try:
            return np.asarray(model.predict_on_batch(pixels.astype(np.float32)))
        except Exception as error:
            raise UserError(f"Keras cannot run {path} ({reason_of(error)})") from None

    return run, (shape[1], shape[2]), outputs[1]


def _load_saved_model(folder: Path, metadata: Metadata) -> tuple[PredictFn, tuple[int, int], int]:
    import_tensorflow()
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:
        raise UserError(f"TensorFlow cannot load {folder} ({reason_of(error)})") from None
    signatures = getattr(model, "signatures", None)
    signature: Any = signatures.get("images") if isinstance(signatures, Mapping) else None
    outputs = getattr(signature, "structured_outputs", {})
    if "probabilities" not in outputs or metadata.image_size is None:
        raise UserError(
            f"{folder} has no signature `images` that gives `probabilities`; "
            "expected what tools/export_saved_model.py wrote"
        )

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        # The signature holds the variables only as long as the model itself is held.
        _ = model
        try:
            answer = signature(images=tf.constant(pixels, tf.float32))
        except Exception as error:
            raise UserError(f"TensorFlow cannot run {folder} ({reason_of(error)})") from None
        return np.asarray(answer["probabilities"].numpy())

    return run, metadata.image_size, int(outputs["probabilities"].shape[-1] or 0)
