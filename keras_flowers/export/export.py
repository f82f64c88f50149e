"""Keras model -> SavedModel and TFLite files that describe themselves and give the same answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_flowers.errors import UserError
from keras_flowers.export import tflite_metadata
from keras_flowers.export.int8 import convert_int8
from keras_flowers.files import atomic_replace
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.metadata import Metadata, add_to_saved_model
from keras_flowers.system import available_cores
from keras_flowers.training import data, tf_image, tflite
from keras_flowers.training.evaluate import predict_dataset
from keras_flowers.training.metrics import top_k_correct
from keras_flowers.training.model import freeze_weights
from keras_flowers.training.run_directory import (
    SAVED_MODEL_VERSION,
    Run,
    load_model,
    name_of,
    settings_of,
)

VARIANTS = ("float32", "float16", "int8")
"""The TFLite files that can be written, by what their weights are."""

CALIBRATION_PHOTOS = 200
"""Training photos from which int8 learns the range of every tensor. TensorFlow's guide asks for
"around 100-500 samples"; on the validation photos, int8 from 200 agrees with the Keras model a
little more often than from 100 (99.2 to 98.9 %), as often as from 400 or more."""

TOP = 5
"""How many names the SavedModel gives for a photo (fewer where there are fewer classes)."""


def export_saved_model(model_path: Path, output: Path) -> Path:
    """Writes a SavedModel that takes whole photo files and gives names.

    Decoding, EXIF orientation, resize and scaling are in its graph; it needs TensorFlow and none of
    our code. Signatures:

        serving_default  image_bytes: string [N], whole JPEG, PNG, BMP or GIF files
        images           images: float32 [N, H, W, 3], RGB, 0..255, any H and W, upright

    N is at least 1. Both give a dict, of which the rows of a photo that cannot be read are zeros
    and empty names (JSON has no NaN, and the probabilities of a real photo add up to 1):

        probabilities    float32 [N, classes], in the order of the labels
        classes          string [N, 5], the likeliest names, the likeliest first
        scores           float32 [N, 5], their probabilities

    Args:
        model_path: The `.keras` file.
        output: The SavedModel goes into `<output>/1/`.

    Returns:
        `<output>/1`.

    Raises:
        UserError: The model cannot be loaded.
    """
    model, metadata = load_model(model_path)
    assert metadata.image_size is not None
    module = _Answers(model, metadata.labels, metadata.image_size)
    folder = output / SAVED_MODEL_VERSION
    with atomic_replace(folder) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=module.signatures())
        add_to_saved_model(temporary, _with_variant(metadata, "SavedModel"))
    return folder


class _Answers(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """What the SavedModel does: photo files or pixels in, a dict of answers out."""

    def __init__(
        self, model: keras.Model, labels: Sequence[str], image_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self._labels = list(labels)
        self._image_size = image_size
        self._top = min(TOP, len(labels))
        pixels = tf.TensorSpec([None, *image_size, 3], tf.float32, "pixels")
        # Weights as constants: TensorFlow folds the batch norms into the convolutions, so the
        # SavedModel loads in a third of the time and runs a third faster than with variables.
        function = tf.function(freeze_weights(model), autograph=False)
        self._frozen = function.get_concrete_function(pixels)

    def signatures(self) -> dict[str, Any]:
        """What the SavedModel can be called with, by name."""
        image_bytes = tf.TensorSpec([None], tf.string, "image_bytes")
        images = tf.TensorSpec([None, None, None, 3], tf.float32, "images")
        return {
            "serving_default": self.serving_default.get_concrete_function(image_bytes),
            "images": self.images.get_concrete_function(images),
        }

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def serving_default(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers for photo files, string [N]."""
        return self._answer(*tf_image.read_pixels(image_bytes, self._image_size))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers for pixels, float32 [N, H, W, 3]."""
        readable = tf.ones(tf.shape(images)[:1], tf.bool)
        pixels = tf_image.squash(tf.clip_by_value(images, 0.0, 255.0), self._image_size)
        return self._answer(pixels, readable)

    def _answer(self, pixels: tf.Tensor, readable: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = self._frozen(tf.cast(pixels, tf.float32))
        readable = readable[:, None]
        probabilities = tf.where(readable, probabilities, 0.0)
        scores, indices = tf.math.top_k(probabilities, self._top)
        names = tf.gather(tf.constant(self._labels), indices)
        return {
            "probabilities": probabilities,
            "classes": tf.where(readable, names, ""),
            "scores": scores,
        }


def export_tflite(
    model_path: Path,
    output: Path,
    variants: Sequence[str] = VARIANTS,
    *,
    calibration: npt.NDArray[np.uint8] | None = None,
    data_dir: str | None = None,
) -> dict[str, Path]:
    """Writes TFLite files of builtin operations, `<output>/<name>_<variant>.tflite`.

    All take [1, H, W, 3] pixels 0..255, and any batch after `resize_tensor_input`. Each carries its
    labels, its provenance and the standard metadata: see `tflite_metadata`.

        float32  the same function as the Keras model
        float16  weights of 16 bits, half the size; computed in float32
        int8     weights and activations of 8 bits, a third of the size; uint8 pixels in, uint8
                 probabilities out: see `quantise`

    Args:
        model_path: The `.keras` file.
        output: The folder.
        variants: Some of `VARIANTS`.
        calibration: For int8: uint8 [M, H, W, 3]; None for `CALIBRATION_PHOTOS` of those the model
            was trained on, from the data set that its provenance names.
        data_dir: Where TFDS keeps that data set; None: where training had it from.

    Returns:
        The files by variant.

    Raises:
        UserError: The model cannot be loaded, or the data set cannot be had.
    """
    model, metadata = load_model(model_path)
    files = {}
    for variant in variants:
        facts: dict[str, Any] = {}
        if variant == "int8":
            if calibration is None:
                calibration, facts["calibrated_on"] = _calibration_photos(
                    model_path, metadata, data_dir
                )
            content = convert_int8(model, calibration)
        elif variant == "float16":
            converter = tflite.converter_for(model, batch_size=None)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
            content = tflite.run_quietly(converter)
        elif variant == "float32":
            content = tflite.convert(model, batch_size=None)
        else:
            raise UserError(f"{variant!r} is no variant; expected some of {', '.join(VARIANTS)}")
        described = _with_variant(metadata, f"TFLite {variant}", facts)
        files[variant] = output / f"{name_of(model_path)}_{variant}.tflite"
        with atomic_replace(files[variant]) as temporary:
            tflite_metadata.write(
                temporary,
                content,
                described,
                name=f"{name_of(model_path)} {variant}",
                description=describe(described),
            )
    return files


def int8_loss(model_path: Path, int8_path: Path, *, data_dir: str | None = None) -> str:
    """What int8 costs in accuracy on the validation photos of the run, in a line for people.

    Args:
        model_path: The `.keras` file.
        int8_path: The int8 file that was exported from it.
        data_dir: Where TFDS keeps the data set; None: where training had it from.

    Raises:
        UserError: The data set cannot be had.
    """
    split = settings_of(model_path).get("validation_split", "validation")
    photos = Run.open(model_path).photos(split, data_dir)
    right = []
    for path in (model_path, int8_path):
        classifier = load_classifier(path, workers=available_cores())
        batches = data.pixels(photos, classifier.image_size).as_numpy_iterator()
        right.append(
            float(top_k_correct(*predict_dataset(classifier.probabilities, batches), 1).mean())
        )
    return (
        f"int8 names {right[1]:.2%} of the {photos.count} photos of {photos.dataset}, split "
        f"{photos.split}, right; the Keras model {right[0]:.2%}: a loss of "
        f"{100 * (right[0] - right[1]):.2f} points"
    )


def describe(metadata: Metadata) -> str:
    """What the model does, was trained on, and how well it does, in a few sentences for people."""
    facts = metadata.provenance
    trained = facts.get("trained_on", {})
    height, width = metadata.image_size or ("?", "?")
    sentences = [
        f"Names {len(metadata.labels)} kinds of flowers in a photo",
        " ".join(
            (
                f"{facts.get('base', 'A network')}",
                f"trained on {trained.get('photos', '?')} photos",
                f"of {facts.get('dataset', 'a data set')}, split {trained.get('split', '?')}",
            )
        ),
        *(
            f"Right for {scores['top1']['value']:.1%} of {scores['photos']} photos of the split "
            f"{split}, as a Keras model"
            for split, scores in facts.get("scores", {}).items()
        ),
        f"Takes the whole photo squashed to {width} x {height} pixels, RGB 0..255",
        f"This file: {facts.get('variant', 'Keras')}",
    ]
    return ". ".join(sentences) + "."


def _with_variant(
    metadata: Metadata, variant: str, facts: dict[str, Any] | None = None
) -> Metadata:
    provenance = {**metadata.provenance, "variant": variant, **(facts or {})}
    return dataclasses.replace(metadata, provenance=provenance)


def _calibration_photos(
    model_path: Path, metadata: Metadata, data_dir: str | None
) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
    """Photos the model was trained on, spread evenly over them, and what they are."""
    trained_on = metadata.provenance.get("trained_on")
    if not isinstance(trained_on, dict):
        raise UserError(
            f"int8 is calibrated on training photos, and {model_path} does not say what it was "
            "trained on; train it with keras_flowers.train, or leave int8 out with --variants"
        )
    assert metadata.image_size is not None
    photos = Run.open(model_path).photos(str(trained_on.get("split")), data_dir)
    step = max(photos.count // CALIBRATION_PHOTOS, 1)
    some = dataclasses.replace(photos, records=photos.records.shard(step, 0))
    batches = data.pixels(some, metadata.image_size).as_numpy_iterator()
    pixels = np.concatenate([batch for batch, _ in batches])[:CALIBRATION_PHOTOS]
    return pixels, {"dataset": photos.dataset, "split": photos.split, "photos": len(pixels)}
