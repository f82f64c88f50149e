"""Keras model -> TFLite files that carry their labels and say where they come from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.export import tflite_metadata
from keras_flowers.export.int8 import convert_int8
from keras_flowers.export.provenance import describe, with_variant
from keras_flowers.files import atomic_replace
from keras_flowers.training import data, tflite
from keras_flowers.training.drawings import EACH, draw_pictures
from keras_flowers.training.known import has_known, score_in, with_known
from keras_flowers.training.run_directory import Run
from keras_flowers.training.sources.source import UNKNOWN

CALIBRATION_PHOTOS = 200
"""Training photos from which int8 learns the range of every tensor. TensorFlow's guide asks for
"around 100-500 samples"; on the validation photos, int8 from 200 agrees with the Keras model a
little more often than from 100 (99.2 to 98.9 %), as often as from 400 or more."""

CALIBRATION_OTHERS = 32
"""Pictures of none of the classes from which int8 learns the range of what tells them."""


def write_tflite(
    variant: str, model: keras.Model, run: Run, path: Path, data_dir: str | None
) -> None:
    """Writes a TFLite file of builtin operations.

    It takes [1, H, W, 3] pixels 0..255, and any batch after `resize_tensor_input`. It carries its
    labels, its provenance and the standard metadata: see `tflite_metadata`.

        float32  the same function as the Keras model
        float16  weights of 16 bits, half the size; computed in float32
        int8     weights and activations of 8 bits, a third of the size; uint8 pixels in, uint8
                 probabilities out: see `int8`

    Args:
        variant: `float32`, `float16` or `int8`.
        model: The model of the run.
        run: Its metadata and, for int8, its training photos.
        path: The file.
        data_dir: Where TFDS keeps the data set; None: where training had it from.

    Raises:
        UserError: The training photos cannot be had.
    """
    facts: dict[str, Any] = {}
    if variant == "int8":
        size = (model.input_shape[1], model.input_shape[2])
        photos = _calibration_photos(run, data_dir)
        pixels = _some_of(photos, size, CALIBRATION_PHOTOS)
        facts["calibrated_on"] = {
            "dataset": photos.dataset,
            "split": photos.split,
            "photos": len(pixels),
        }
        others = _others(photos, size) if has_known(model) else None
        content = convert_int8(model, pixels, others)
    else:
        if variant == "float16" and has_known(model):
            # As it is made now: the offsets of models of before may be beyond 16 bits.
            model = with_known(model, score_in(model))
        content = tflite.convert(model, batch_size=None, float16=variant == "float16")
    metadata = with_variant(run.metadata, f"TFLite {variant}", facts)
    with atomic_replace(path) as temporary:
        tflite_metadata.write(
            temporary,
            content,
            metadata,
            name=f"{run.name} {variant}",
            description=describe(metadata),
        )


def _calibration_photos(run: Run, data_dir: str | None) -> data.LabelledPhotos:
    """The photos that the model was trained on, or those named instead."""
    trained_on = run.metadata.provenance.get("trained_on")
    if not isinstance(trained_on, dict) and not run.sources:
        raise UserError(
            f"int8 is calibrated on training photos, and {run.model_path} does not say what it was "
            "trained on; name photos with --data, or leave int8 out with --formats"
        )
    split = str(trained_on.get("split")) if isinstance(trained_on, dict) else "train"
    return run.photos(split, data_dir)


def _others(photos: data.LabelledPhotos, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Pictures of none of the classes, at most `CALIBRATION_OTHERS`: beside these, or drawn."""
    if not photos.unknown_count:
        return draw_pictures(size)[:: 8 * EACH // CALIBRATION_OTHERS]
    return _some_of(photos.of_split(UNKNOWN), size, CALIBRATION_OTHERS)


def _some_of(
    photos: data.LabelledPhotos, size: tuple[int, int], count: int
) -> npt.NDArray[np.uint8]:
    """At most `count` of the photos, spread evenly over them: uint8 [n, height, width, 3]."""
    step = max(photos.count // count, 1)
    some = dataclasses.replace(photos, records=photos.records.shard(step, 0))
    batches = data.pixels(some, size).as_numpy_iterator()
    return np.concatenate([batch for batch, _ in batches])[:count]
