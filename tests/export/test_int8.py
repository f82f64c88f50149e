"""Rounding to 8 bits that changes what a convolution gives as little as possible."""

from __future__ import annotations

import numpy as np
import pytest
from export_fixtures import Exported

import keras  # isort: skip  # export_fixtures imports it and TensorFlow silently
import tensorflow as tf  # isort: skip

from keras_flowers.export import int8
from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.training.model import FEATURES, OUTPUT, POOLED, signed_sqrt
from keras_flowers.training.run_directory import Run


def nearest(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    step = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    return np.rint(kernel / step) * step


@pytest.mark.parametrize(
    ("shape", "groups", "axes"), [((3, 3, 5, 7), 1, (0, 1, 2)), ((3, 3, 6, 1), 6, (0, 1, 3))]
)
def test_inputs_that_have_nothing_to_do_with_each_other_are_rounded_to_nearest(
    shape: tuple[int, ...], groups: int, axes: tuple[int, ...]
) -> None:
    # So weights, groups and outputs are where they belong, too.
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    count = 9 if groups > 1 else kernel.size // shape[-1]
    hessian = np.tile(np.eye(count), (groups, 1, 1))
    np.testing.assert_allclose(
        int8._round_kernel(kernel, hessian), nearest(kernel, axes), atol=1e-6
    )


@pytest.mark.parametrize("depthwise", [False, True])
def test_errors_are_made_good_where_inputs_go_together(depthwise: bool) -> None:
    random = np.random.default_rng(1)
    # Of 30 kernels that Keras draws, 4 gain nothing in a depthwise layer; this one gains.
    keras.utils.set_random_seed(0)
    # Neighbours in a photo are nearly alike: a filter for edges, whose weights cancel.
    photo = np.cumsum(random.normal(size=(1, 40, 40, 4)), axis=1).astype(np.float32)
    photo += 20
    layer = (
        keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        if depthwise
        else keras.layers.Conv2D(8, 3, strides=2, use_bias=False)
    )
    exact = np.asarray(layer(photo))
    (kernel,) = layer.get_weights()
    axes = (0, 1, 3) if depthwise else (0, 1, 2)
    patches = np.asarray(int8._patches(layer, photo))
    hessian = np.einsum("pgi,pgj->gij", patches, patches)
    errors = {}
    for name, rounded in (
        ("nearest", nearest(kernel, axes)),
        ("ours", int8._round_kernel(kernel, hessian)),
    ):
        layer.set_weights([rounded])
        errors[name] = np.square(np.asarray(layer(photo)) - exact).mean()
    assert errors["ours"] < 0.5 * errors["nearest"]
    # On the same grid: the converter finds it by the largest weight.
    step = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    ours = int8._round_kernel(kernel, hessian) / step
    np.testing.assert_allclose(ours, np.rint(ours), atol=1e-3)
    np.testing.assert_allclose(np.abs(ours).max(axis=axes), 127, atol=1e-3)


def stream_model() -> keras.Model:
    """Two blocks with a sum between them, whose eight channels differ a hundredfold."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((12, 12, 3), name="pixels")
    norms = [keras.layers.BatchNormalization(name=f"norm{number}") for number in range(3)]
    x = norms[0](keras.layers.Conv2D(8, 3, use_bias=False)(pixels))
    y = keras.layers.Conv2D(16, 1, activation="relu6", name="expand0")(x)
    x = keras.layers.Add(name="sum")([x, norms[1](keras.layers.Conv2D(8, 1)(y))])
    y = keras.layers.Conv2D(16, 1, activation="relu6", name="expand1")(x)
    # An activation takes this one, so its channels must stay as they are.
    y = keras.layers.ReLU()(norms[2](keras.layers.Conv2D(8, 1)(y)))
    model = keras.Model(pixels, y)
    for norm in norms:
        gamma, beta, *statistics = norm.get_weights()
        units = np.logspace(-2, 0, 8)
        norm.set_weights([gamma * units, beta + units, *statistics])
    return model


def test_channels_of_a_stream_come_to_share_their_range_and_nothing_else_changes() -> None:
    model = stream_model()
    photos = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3)).astype(np.uint8)
    expected = model.predict(photos.astype(np.float32), verbose=0)
    last = model.get_layer("norm2").get_weights()
    (stream,) = int8._streams(model)
    assert {layer.name for layer in stream.norms} == {"norm0", "norm1"}
    assert {layer.name for layer in stream.users} == {"expand0", "expand1"}

    def peaks() -> np.ndarray:
        values = [int8._predict(model, maps, photos) for maps in stream.maps]
        return np.abs(values).max(axis=(0, 1, 2, 3))

    assert np.ptp(np.log10(peaks())) > 1
    int8._cross_layer_equalise(model, photos)
    np.testing.assert_allclose(peaks(), peaks()[0], rtol=1e-4)
    answers = model.predict(photos.astype(np.float32), verbose=0)
    np.testing.assert_allclose(answers, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(model.get_layer("norm2").get_weights(), last)


def test_least_squares_finds_slope_and_offset_of_each_column() -> None:
    x = np.random.default_rng(2).normal(size=(50, 3)).astype(np.float32)
    x[:, 2] = 4
    slope, offset = int8._least_squares(x, x * [2, -1, 1] + [0, 5, 3])
    np.testing.assert_allclose(slope, [2, -1, 1], atol=1e-5)
    np.testing.assert_allclose(offset, [0, 5, 3], atol=1e-5)


def test_weights_of_pooling_are_found(exported: Exported) -> None:
    model = Run.open(exported.run).load_model()
    maps = [pooling.maps for pooling in int8._poolings(model)]
    pixels = exported.pixels[:2].astype(np.float32)
    expected = keras.Model(model.inputs[0], model.get_layer(POOLED).output)(pixels)
    pooled = [
        np.einsum("nhwc,hc,wc->nc", np.asarray(tensor), pooling.rows, pooling.columns)
        for tensor, pooling in zip(
            keras.Model(model.inputs[0], maps)(pixels), int8._poolings(model), strict=True
        )
    ]
    np.testing.assert_allclose(np.concatenate(pooled, axis=1), np.asarray(expected), rtol=1e-3)


def test_head_of_very_different_weights_survives_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    # Of 32 features some vary twenty times less than others, and count as much.
    units = np.logspace(0, -2, 32)
    pixels = keras.Input((24, 24, 3), name="pixels")
    convolution = keras.layers.Conv2D(32, 3, strides=2, activation="relu")
    head = keras.layers.Dense(5, activation="softmax", name=OUTPUT)
    maps = convolution(keras.layers.Rescaling(1 / 255)(pixels))
    pooled = keras.layers.Concatenate(name=POOLED)([keras.layers.GlobalAveragePooling2D()(maps)])
    features = keras.layers.Identity(name=FEATURES)(signed_sqrt(pooled))
    model = keras.Model(pixels, head(features))
    convolution.set_weights([random.normal(size=(3, 3, 3, 32)) * units, 0.1 * units])
    colours = random.integers(0, 256, (200, 2, 2, 3)).repeat(12, axis=1).repeat(12, axis=2)
    photos = np.clip(colours + random.normal(0, 20, colours.shape), 0, 255).astype(np.uint8)
    trunk = keras.Model(pixels, features)
    deviation = trunk.predict(photos.astype(np.float32), verbose=0).std(axis=0)
    kernel = random.normal(size=(32, 5)) / deviation[:, None]
    head.set_weights([kernel, np.zeros(5)])
    expected = model.predict(photos.astype(np.float32), verbose=0)

    def agreement(content: bytes) -> float:
        (answers,) = LiteRTModel(content)(photos)
        return float((answers.argmax(axis=1) == expected.argmax(axis=1)).mean())

    drafts: list[np.ndarray] = []
    least_squares = int8._least_squares

    def watched(draft: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        drafts.append(draft)
        return least_squares(draft, exact)

    monkeypatch.setattr(int8, "_least_squares", watched)
    steps: list[tuple[str, int]] = []
    for name in ("_cross_layer_equalise", "_gptq_round", "_quantise"):
        call = getattr(int8, name)
        monkeypatch.setattr(
            int8,
            name,
            lambda network, shown, *rest, name=name, call=call: (
                steps.append((name, len(shown))),
                call(network, shown, *rest),
            )[1],
        )
    assert agreement(int8.convert_int8(model, photos[:50])) > 0.9
    # Every fourth photo for the draft, all of them for what is written.
    assert steps == [
        ("_cross_layer_equalise", 50),
        ("_gptq_round", 16),
        ("_quantise", 13),
        ("_quantise", 50),
    ]
    (draft,) = drafts  # level already, but for what 8 bits change
    assert np.abs(draft.mean(axis=0)).mean() < 0.25
    assert np.abs(draft.std(axis=0) - 1).mean() < 0.25
    assert agreement(int8._quantise(model, photos[:50], tf.uint8)) < 0.8
