"""Keras model -> a SavedModel that takes whole photo files and gives names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_flowers.export.provenance import with_variant
from keras_flowers.files import atomic_replace
from keras_flowers.inference.metadata import Metadata, add_to_saved_model
from keras_flowers.training import tf_image
from keras_flowers.training.model import freeze_weights

TOP = 5
"""How many names the SavedModel gives for a photo (fewer where there are fewer classes)."""


def write_saved_model(model: keras.Model, metadata: Metadata, path: Path) -> None:
    """Writes a SavedModel.

    Decoding, EXIF orientation, resize and scaling are in its graph; it needs TensorFlow and none of
    our code. Signatures:

        serving_default  image_bytes: string [N], whole JPEG, PNG, BMP or GIF files
        images           images: float32 [N, H, W, 3], RGB, 0..255, any H and W, upright

    N is at least 1. Both give a dict. The rows of a photo that cannot be read are zeros and empty
    names (JSON has no NaN, and the probabilities of a real photo add up to 1):

        probabilities    float32 [N, classes], in the order of the labels; a last column is of
                         photos of none of them, where the model has that
        classes          string [N, 5], the likeliest names, the likeliest first
        scores           float32 [N, 5], their probabilities

    Args:
        model: pixels float32 [N, height, width, 3] 0..255 -> probabilities float32 [N, outputs].
        metadata: Its labels and provenance.
        path: The folder of the SavedModel. TensorFlow Serving wants it to be called by a number.
    """
    module = _Answers(model, metadata.outputs)
    with atomic_replace(path) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=module.signatures())
        add_to_saved_model(temporary, with_variant(metadata, "SavedModel"))


class _Answers(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """What the SavedModel does: photo files or pixels in, a dict of answers out."""

    def __init__(self, model: keras.Model, labels: Sequence[str]) -> None:
        super().__init__()
        self._labels = list(labels)
        _, height, width, _ = model.input_shape
        self._image_size = (height, width)
        self._top = min(TOP, len(labels))
        pixels = tf.TensorSpec([None, height, width, 3], tf.float32, "pixels")
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
