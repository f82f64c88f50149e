"""Keras model -> full-integer TFLite that names flowers as well as the Keras model.

TensorFlow's converter alone loses 24 points of accuracy with MobileNetV2. Four steps come first.
None of them changes the function of the model, apart from the errors that they correct.

Head. The head's weights for features that vary little are a hundred times those for others, so that
with one 8-bit scale for all weights of a class most of them would be 0. Therefore depthwise
convolutions pool the feature maps, in which each feature has its own 8-bit scale: they also bring
the largest value of every average to 1, and after the square root another one brings every feature
to mean 0 and variance 1. The head's weights absorb the inverse; what tells how likely a photo is
known at all reads the same features.

Streams. No activation bounds the maps that blocks hand on and add up, so the channel with the
largest values takes the 8-bit scale for itself. Each channel is divided by its largest value, and
the convolutions that read it multiply by it again: the cross-layer equalisation of Nagel et al.
2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", across additions.

Kernels. Rounding every weight to the nearest of 255 values hurts where weights nearly cancel, as in
the edge filters of the first layers. The weights after it compensate for the error of each weight,
as far as photos show that they can: Frantar et al. 2022, "GPTQ: Accurate Post-Training Quantization
for Generative Pre-trained Transformers".

Offsets. What 8 bits still change on average is corrected feature by feature, in the convolution
before the head: the bias correction of Nagel et al., with a slope beside the offset, measured on
photos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.system import available_cores
from keras_flowers.training import tflite
from keras_flowers.training.known import DISTANCE, answer_layers, has_known, score_in
from keras_flowers.training.model import FEATURES, OUTPUT, POOLED, signed_sqrt

Array: TypeAlias = npt.NDArray[np.float32]

_ROUNDING_PHOTOS = 16
"""Photos from which GPTQ learns how the inputs of a kernel go together: thousands of places."""

_LEAST_SHARE = 0.01
"""The smallest scale of a channel, as a share of a usual one. Without it, a channel that hardly
varies on the photos would be blown up far beyond what other photos hold."""

_LOUDER = 16
"""The distance of the features shares its 8-bit scale with logits, which are so much larger."""

_STEPS = 127
"""8-bit weights have so many values on each side of 0."""


def convert_int8(
    model: keras.Model,
    photos: npt.NDArray[np.uint8],
    others: npt.NDArray[np.uint8] | None = None,
) -> bytes:
    """Converts to TFLite with weights and activations of 8 bits.

    An operation that has no 8-bit kernel is computed in float32 between two that have.

    Args:
        model: What `model.build_model` built and training finished.
        photos: uint8 [M, H, W, 3], some hundred training photos: they show the range of values of
            every tensor.
        others: uint8 [L, H, W, 3], pictures of none of the classes. Only they show the range of
            what tells such pictures, where the model has a class for them.

    Returns:
        The FlatBuffer: uint8 [N, H, W, 3] pixels 0..255 -> uint8 [N, outputs], in steps of 1/256.
    """
    pooled, exact = (
        _predict(model, model.get_layer(name).output, photos) for name in (POOLED, FEATURES)
    )
    score = score_in(model) if has_known(model) else None
    if score is not None:  # the head and the score share the features that are levelled like this
        mean, deviation = score.mean, score.deviation
    else:
        mean, deviation = exact.mean(axis=0), exact.std(axis=0)
        deviation = np.maximum(deviation, _LEAST_SHARE * deviation.mean())
    # By the largest value of each, so that all share the one 8-bit scale of the pooled maps.
    strength = np.abs(pooled).max(axis=0)
    strength = np.maximum(strength, _LEAST_SHARE * strength.mean())
    rounded = keras.models.clone_model(model)
    rounded.set_weights(model.get_weights())
    _cross_layer_equalise(rounded, photos)
    _gptq_round(rounded, photos[:_ROUNDING_PHOTOS])
    averages = _pool(_poolings(rounded), 1 / strength)
    features = signed_sqrt(averages, signed=bool((pooled < 0).any()))
    scale, offset = np.sqrt(strength) / deviation, -mean / deviation
    trunk = keras.Model(rounded.inputs[0], _level(features, scale, offset))
    # The ranges that some photos show will do to find out what 8 bits change.
    draft = LiteRTModel(_quantise(trunk, photos[::4], tf.float32), workers=available_cores())
    (rough,) = draft(photos)
    slope, shift = _least_squares(rough, (exact - mean) / deviation)
    slope, shift = slope * scale, slope * offset + shift
    level = _level(features, slope, shift)
    kernel, bias = model.get_layer(OUTPUT).get_weights()
    head = keras.layers.Dense(len(bias), name=OUTPUT)
    logits = head(level)
    if score is not None:
        strangers = keras.layers.Dense(len(score.offset))
        answers, known = answer_layers(logits, level, strangers(level), score, louder=_LOUDER)
    else:
        answers = keras.layers.Softmax()(logits)
    levelled = keras.Model(rounded.inputs[0], answers)
    head.set_weights([kernel * deviation[:, None], bias + mean @ kernel])
    if score is not None:
        strangers.set_weights(score.levelled_columns)
        weights = score.weights.copy()
        weights[DISTANCE] /= _LOUDER
        known.set_weights([weights[:, None], np.array([score.bias], np.float32)])
    if others is not None:
        photos = np.concatenate([photos, others])
    return _quantise(levelled, photos, tf.uint8)


def _predict(model: keras.Model, tensor: keras.KerasTensor, photos: npt.NDArray[np.uint8]) -> Array:
    """What `tensor`, somewhere in `model`, is for each photo."""
    part = keras.Model(model.inputs[0], tensor)
    values: Array = part.predict(photos.astype(np.float32), batch_size=25, verbose=0)
    return values


@dataclass
class _Stream:
    """Maps [N, h, w, channels] that are added to each other.

    Attributes:
        maps: The tensors, sums included.
        norms: The batch norms whose outputs they are.
        users: The layers that take them, additions aside.
    """

    maps: list[keras.KerasTensor]
    norms: list[keras.Layer]
    users: list[keras.Layer] = field(default_factory=list)


def _streams(model: keras.Model) -> list[_Stream]:
    """Those whose channels can be scaled, since only convolutions take them."""
    stream_of: dict[int, _Stream] = {}
    for layer in model.operations:  # in the order of computation
        inputs = [id(one) for one in keras.tree.flatten(layer.input)]
        streams = [stream_of[one] for one in inputs if one in stream_of]
        if isinstance(layer, keras.layers.Add) and len(streams) == len(inputs):
            joined = _Stream(
                maps=[layer.output, *(one for stream in streams for one in stream.maps)],
                norms=[one for stream in streams for one in stream.norms],
                users=[one for stream in streams for one in stream.users],
            )
            stream_of |= {id(one): joined for one in joined.maps}
            continue
        for stream in streams:
            stream.users.append(layer)
        if isinstance(layer, keras.layers.BatchNormalization):
            stream_of[id(layer.output)] = _Stream([layer.output], [layer])
    return [
        stream
        for stream in {id(one): one for one in stream_of.values()}.values()
        if stream.users
        and all(norm.scale and norm.center for norm in stream.norms)
        and all(isinstance(user, keras.layers.Conv2D) and user.groups == 1 for user in stream.users)
    ]


def _cross_layer_equalise(model: keras.Model, photos: npt.NDArray[np.uint8]) -> None:
    """Scales every channel of every stream so that all have the same largest value."""
    for stream in _streams(model):
        peaks = [keras.layers.GlobalMaxPooling2D()(keras.ops.abs(one)) for one in stream.maps]
        largest = np.max(
            _predict(model, keras.ops.max(keras.ops.stack(peaks), axis=0), photos), axis=0
        )
        scale = np.maximum(largest / max(largest.max(), 1e-30), _LEAST_SHARE)
        for norm in stream.norms:
            gamma, beta, *statistics = norm.get_weights()
            norm.set_weights([gamma / scale, beta / scale, *statistics])
        for user in stream.users:
            kernel, *bias = user.get_weights()
            user.set_weights([kernel * scale[:, None], *bias])


def _gptq_round(model: keras.Model, photos: npt.NDArray[np.uint8]) -> None:
    """Puts the kernels of convolutions on the grids that the converter will put them on."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    inputs = keras.Model(model.inputs[0], [layer.input for layer in layers])
    hessians: list[Any] = [0.0] * len(layers)
    for photo in photos:
        tensors = keras.tree.flatten(inputs(photo[None].astype(np.float32), training=False))
        for number, (layer, tensor) in enumerate(zip(layers, tensors, strict=True)):
            patches = _patches(layer, tensor)
            hessians[number] += tf.einsum("pgi,pgj->gij", patches, patches).numpy()
    for layer, hessian in zip(layers, hessians, strict=True):
        kernel, *rest = layer.get_weights()
        layer.set_weights([_round_kernel(kernel, hessian), *rest])


def _patches(layer: keras.Layer, tensor: tf.Tensor) -> tf.Tensor:
    """What the kernel of `layer` meets at each place: [places, groups, weights].

    A depthwise convolution has a group for each channel, others have one.
    """
    ones = [1, 1, 1, 1]
    sizes, strides = [1, *layer.kernel_size, 1], [1, *layer.strides, 1]
    patches = tf.image.extract_patches(tensor, sizes, strides, ones, layer.padding.upper())
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        weights = layer.kernel_size[0] * layer.kernel_size[1]
        by_place = tf.reshape(patches, (-1, weights, tensor.shape[-1]))
        return tf.transpose(by_place, (0, 2, 1))
    return tf.reshape(patches, (-1, 1, patches.shape[-1]))


def _round_kernel(kernel: Array, hessian: npt.NDArray[np.floating[Any]]) -> Array:
    """Rounds a kernel so that what comes out changes least: GPTQ.

    Args:
        kernel: [h, w, inputs, outputs].
        hessian: [groups, weights, weights] of the squared error of what comes out, up to a factor:
            the sum of x x^T over patches x.

    Returns:
        The kernel, with multiples of a 127th of the largest weight of each output.
    """
    groups, count, _ = hessian.shape
    # [groups, weights, outputs]
    rest = np.moveaxis(kernel.reshape(count, groups, -1), 1, 0).astype(np.float64)
    largest = np.abs(rest).argmax(axis=1)
    step = np.maximum(np.abs(rest).max(axis=1) / _STEPS, 1e-30)
    mean_diagonal = np.trace(hessian, axis1=1, axis2=2)[:, None, None] / count
    damped = hessian + 0.01 * mean_diagonal * np.eye(count)
    # Row i says how the weights after i make good an error in i.
    remedy = np.linalg.cholesky(np.linalg.inv(damped + 1e-30 * np.eye(count))).swapaxes(1, 2)
    result = np.empty_like(rest)
    for i in range(count):
        steps = np.clip(np.rint(rest[:, i] / step), -_STEPS, _STEPS)
        # The largest must stay: the converter takes the grid from it.
        steps = np.where(largest == i, np.sign(rest[:, i]) * _STEPS, steps)
        result[:, i] = steps * step
        error = (rest[:, i] - result[:, i]) / remedy[:, i, i, None]
        rest[:, i + 1 :] -= remedy[:, i, i + 1 :, None] * error[:, None]
    return np.moveaxis(result, 0, 1).reshape(kernel.shape).astype(np.float32)


@dataclass(frozen=True)
class _Pooling:
    """Feature maps and how they are pooled: a mean over rows and columns with weights for each.

    Attributes:
        maps: [N, h, w, channels].
        rows: [h, channels].
        columns: [w, channels]; they add up to 1.
    """

    maps: keras.KerasTensor
    rows: Array
    columns: Array


def _poolings(model: keras.Model) -> list[_Pooling]:
    """The poolings, in the order of the features."""
    made_by: dict[int, Any] = {id(one.output): one for one in model.operations}
    inputs = model.get_layer(POOLED).input
    poolings = []
    for pooled in inputs if isinstance(inputs, list) else [inputs]:
        maps = made_by[id(pooled)].input
        while not isinstance(made_by[id(maps)], keras.Layer):  # a multiplication by weights
            maps = made_by[id(maps)].input
        weights = _weights(keras.Model(maps, pooled))
        rows = weights.sum(axis=1)
        columns = weights.sum(axis=0) / rows.sum(axis=0)
        if not np.allclose(weights, rows[:, None] * columns[None], atol=1e-3 * weights.max()):
            raise ValueError(f"the weights of {pooled.name} are no product of rows and columns")
        poolings.append(_Pooling(maps, rows, columns))
    return poolings


def _weights(pool: keras.Model) -> Array:
    """What `pool` gives when one place after the other is lit: [h, w, channels]."""
    _, height, width, channels = pool.input_shape
    weights = np.empty((height, width, channels), np.float32)
    for row in range(height):
        lit = np.zeros((width, height, width, channels), np.float32)
        lit[np.arange(width), row, np.arange(width)] = 1
        weights[row] = np.asarray(pool(lit, training=False))
    return weights


def _pool(poolings: list[_Pooling], scale: Array) -> keras.KerasTensor:
    """Pools with convolutions and multiplies by `scale`, one a feature: [N, 1, 1, features]."""
    parts, start = [], 0
    for pooling in poolings:
        (height, channels), width = pooling.rows.shape, len(pooling.columns)
        # First down, then across: XNNPACK is quick with kernels of up to 25 places only.
        down = keras.layers.DepthwiseConv2D((height, 1), use_bias=False)
        across = keras.layers.DepthwiseConv2D((1, width), use_bias=False)
        parts.append(across(down(pooling.maps)))
        rows = pooling.rows * scale[start : start + channels]
        down.set_weights([rows[:, None, :, None]])
        across.set_weights([pooling.columns[None, :, :, None]])
        start += channels
    return keras.layers.Concatenate()(parts)


def _level(features: keras.KerasTensor, scale: Array, offset: Array) -> keras.KerasTensor:
    """Multiplies by `scale` and adds `offset`, each [features]: a tensor [N, features]."""
    level = keras.layers.DepthwiseConv2D(1)
    # Of one place; as an operation on batches of any size, averaging is cheaper than reshaping.
    flat = keras.layers.GlobalAveragePooling2D()(level(features))
    level.set_weights([scale[None, None, :, None], offset])
    return flat


def _least_squares(x: Array, y: Array) -> tuple[Array, Array]:
    """Slope and offset for each column: y = slope * x + offset."""
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    variance = ((x - mean_x) ** 2).mean(axis=0)
    covariance = ((x - mean_x) * (y - mean_y)).mean(axis=0)
    # A feature that 8 bits hold still is left as it is.
    slope = np.where(variance > 0, covariance / np.maximum(variance, 1e-12), 1.0)
    return slope, mean_y - slope * mean_x


def _quantise(model: keras.Model, photos: npt.NDArray[np.uint8], output: tf.DType) -> bytes:
    def representative() -> Iterator[list[Array]]:
        for photo in photos:
            yield [photo[None].astype(np.float32)]

    converter = tflite.converter_for(model, batch_size=None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    builtins = tf.lite.OpsSet
    converter.target_spec.supported_ops = [
        builtins.TFLITE_BUILTINS_INT8,
        builtins.TFLITE_BUILTINS,
    ]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = output
    return tflite.run_quietly(converter)
