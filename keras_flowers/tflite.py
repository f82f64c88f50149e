"""Keras model -> the bytes of a TFLite file, builtin operations only."""

from __future__ import annotations

import contextlib
import io

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_flowers.backend import standard_error_closed


def convert(model: keras.Model, batch_size: int | None = 1) -> bytes:
    """Converts to float32 TFLite.

    Args:
        model: A functional model with one input.
        batch_size: Fixed batch size; None leaves it open.

    Returns:
        The FlatBuffer.
    """
    return run_quietly(converter_for(model, batch_size))


def converter_for(model: keras.Model, batch_size: int | None = 1) -> tf.lite.TFLiteConverter:
    """A converter for `model`, to which quantisation can be added.

    The model is traced by hand and its variables made constants: `from_keras_model` takes the way
    through a SavedModel on disk, several times slower.
    """
    (pixels,) = model.inputs
    signature = tf.TensorSpec((batch_size, *pixels.shape[1:]), pixels.dtype, name=pixels.name)

    @tf.function(input_signature=[signature], autograph=False)  # type: ignore[untyped-decorator]
    def serve(pixels: tf.Tensor) -> tf.Tensor:
        return model(pixels, training=False)

    function = convert_variables_to_constants_v2(serve.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())


def run_quietly(converter: tf.lite.TFLiteConverter) -> bytes:
    """Converts without the pages that the converter prints."""
    with contextlib.redirect_stdout(io.StringIO()), standard_error_closed():
        content: bytes = converter.convert()
    return content
