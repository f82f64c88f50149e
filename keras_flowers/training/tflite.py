"""Keras model -> the bytes of a TFLite file, builtin operations only."""

from __future__ import annotations

import contextlib
import io

import keras
import tensorflow as tf

from keras_flowers.system import standard_error_held_back
from keras_flowers.training.model import freeze_weights


def convert(model: keras.Model, batch_size: int | None = 1, *, float16: bool = False) -> bytes:
    """Converts to TFLite that computes in float32.

    Args:
        model: A functional model with one input.
        batch_size: Fixed batch size; None leaves it open.
        float16: Whether its weights are stored in 16 bits.

    Returns:
        The FlatBuffer.
    """
    converter = converter_for(model, batch_size)
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return run_quietly(converter)


def converter_for(model: keras.Model, batch_size: int | None = 1) -> tf.lite.TFLiteConverter:
    """A converter for `model`, to which quantisation can be added.

    The model is traced by hand, with its weights as constants: `from_keras_model` takes the way
    through a SavedModel on disk, several times slower.
    """
    (pixels,) = model.inputs
    signature = tf.TensorSpec((batch_size, *pixels.shape[1:]), pixels.dtype, name=pixels.name)
    serve = tf.function(freeze_weights(model), [signature], autograph=False)
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], tf.Module()
    )


def run_quietly(converter: tf.lite.TFLiteConverter) -> bytes:
    """Converts without the pages that the converter prints."""
    with contextlib.redirect_stdout(io.StringIO()), standard_error_held_back():
        content: bytes = converter.convert()
    return content
