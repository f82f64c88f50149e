"""The network by its parts: what is pooled, frozen, cut, folded and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="building a network needs TensorFlow")

import keras

from keras_flowers.errors import UserError
from keras_flowers.training import model as model_module
from keras_flowers.training.model import (
    FEATURES,
    OUTPUT,
    apply_temperature,
    build_head,
    build_model,
    freeze_weights,
    image_size_of,
    logits_of,
    signed_sqrt,
    split_at,
    unfreeze_base,
)

SIZE, CLASSES = 32, 3
PIXELS = np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model("MobileNet_0.25", SIZE, CLASSES, random_weights_for=PIXELS)


def test_only_the_head_is_trainable_at_first_and_only_the_base_when_tuned(
    model: keras.Model,
) -> None:
    assert [layer.name for layer in model.layers if layer.trainable and layer.weights] == [OUTPUT]
    copy = build_model("MobileNet_0.25", SIZE, CLASSES, random_weights_for=PIXELS)
    unfreeze_base(copy)
    trained = {type(layer).__name__ for layer in copy.layers if layer.trainable and layer.weights}
    assert trained == {"Conv2D", "DepthwiseConv2D"}
    assert not copy.get_layer(OUTPUT).trainable


def test_input_and_output_have_the_promised_shapes_and_names(model: keras.Model) -> None:
    assert model.name == "flowers"
    assert (model.input_shape, model.output_shape) == ((None, SIZE, SIZE, 3), (None, CLASSES))
    assert model.inputs[0].name == "pixels"
    answers = np.asarray(model(PIXELS.astype(np.float32)))
    np.testing.assert_allclose(answers.sum(1), 1.0, atol=1e-5)


def test_statistics_of_random_weights_are_those_of_the_photos(model: keras.Model) -> None:
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert all(one.momentum == 0.99 for one in norms)
    first = keras.Model(model.inputs[0], norms[0].input)
    maps = np.asarray(first(PIXELS.astype(np.float32)))
    np.testing.assert_allclose(norms[0].moving_mean, maps.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(norms[0].moving_variance, maps.var((0, 1, 2)), rtol=1e-3)


def test_seed_decides_the_weights() -> None:
    def weights(seed: int) -> list[Any]:
        built = build_model("MobileNet_0.25", SIZE, CLASSES, random_weights_for=PIXELS, seed=seed)
        return built.get_weights()

    one, same, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_last_five_expanded_maps_are_pooled(model: keras.Model) -> None:
    # What goes into the last depthwise convolution, which itself has nothing to do here.
    last = ("conv_pw_8_relu", "conv_pw_9_relu", "conv_pw_10_relu", "conv_pad_12", "conv_pw_12_relu")
    channels = [model.get_layer(name).output.shape[-1] for name in last]
    assert channels == [128, 128, 128, 128, 256]
    assert "conv_dw_13" not in [layer.name for layer in model.layers]
    assert model.get_layer(FEATURES).output.shape[-1] == sum(channels)
    trunk, _ = split_at(model, FEATURES)
    maps = keras.Model(model.inputs[0], model.get_layer(last[-1]).output)
    deepest = np.asarray(maps(PIXELS.astype(np.float32)))
    side = deepest.shape[1]
    places = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (0.35 * side)) ** 2)
    weights = np.outer(places, places) / np.outer(places, places).mean()
    pooled = (deepest * weights[None, :, :, None]).mean((1, 2))
    found = np.asarray(trunk(PIXELS.astype(np.float32)))[:, : channels[-1]]
    expected = np.sign(pooled) * (np.sqrt(np.abs(pooled) + 1e-4) - 0.01)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_middle_of_a_map_counts_more() -> None:
    maps = np.zeros((3, 7, 9, 1), np.float32)
    maps[0, 3, 4], maps[1, 3, 0], maps[2, 0, 4] = 63, 63, 63
    middle, side, top = np.asarray(model_module._pool(maps)).ravel()
    assert middle > 2 * side
    assert middle > 2 * top
    # A Gaussian of both coordinates, 0.35 of the side wide; all weights together are one a place.
    assert side / middle == pytest.approx(np.exp(-0.5 * (4 / (0.35 * 9)) ** 2), rel=1e-5)
    assert top / middle == pytest.approx(np.exp(-0.5 * (3 / (0.35 * 7)) ** 2), rel=1e-5)
    assert np.asarray(model_module._pool(np.ones((1, 7, 9, 1), np.float32))).item() == (
        pytest.approx(1.0, rel=1e-5)
    )


def test_root_halves_what_is_four_times_as_strong() -> None:
    values = np.array([4.0, 1.0, 0.0, -4.0], np.float32)
    found = np.asarray(signed_sqrt(values))
    np.testing.assert_allclose(found, [1.99, 0.99, 0.0, -1.99], atol=1e-3)
    unsigned = np.asarray(signed_sqrt(values, signed=False))
    np.testing.assert_allclose(unsigned, [2.0, 1.0, 0.01, 2.0], atol=1e-3)


def test_layers_are_called_as_in_a_fresh_process_whatever_was_built_before() -> None:
    names = []
    for _ in range(2):
        built = build_model("MobileNet_0.25", SIZE, CLASSES, random_weights_for=PIXELS)
        names.append([layer.name for layer in built.operations])
        keras.layers.GlobalAveragePooling2D()
    assert names[0] == names[1]
    pools = [one for one in names[0] if one.startswith("global_average_pooling2d")]
    assert pools == ["global_average_pooling2d"] + [
        f"global_average_pooling2d_{n}" for n in range(1, 5)
    ]


def test_parts_behind_a_cut_are_the_whole_and_share_its_weights(model: keras.Model) -> None:
    trunk, tail = split_at(model, "conv_pw_3_relu")
    pixels = PIXELS.astype(np.float32)
    np.testing.assert_allclose(tail(trunk(pixels)), model(pixels), atol=1e-6)
    assert tail.weights[-1] is model.weights[-1]
    with pytest.raises(UserError, match="the model has no layer 'conv_9'; among those it has are"):
        split_at(model, "conv_9")


def test_head_begins_with_all_classes_equally_likely(model: keras.Model) -> None:
    _, tail = split_at(model, FEATURES)
    head = build_head(tail, dropout=0.5, seed=3)
    features = np.random.default_rng(1).normal(size=(4, *tail.input_shape[1:])).astype(np.float32)
    np.testing.assert_allclose(head(features), 1 / CLASSES)
    (dropout,) = (one for one in head.layers if isinstance(one, keras.layers.Dropout))
    assert (dropout.rate, dropout.seed) == (0.5, 3)
    assert head.get_layer(OUTPUT).get_weights()[0].shape == (tail.input_shape[1], CLASSES)


def test_temperature_divides_the_logits(model: keras.Model) -> None:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    pixels = PIXELS.astype(np.float32)
    before = np.asarray(logits_of(copy)(pixels))
    apply_temperature(copy, 2.5)
    np.testing.assert_allclose(logits_of(copy)(pixels), before / 2.5, atol=1e-5)


def test_frozen_weights_stay_as_they_were(model: keras.Model) -> None:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    run = freeze_weights(copy)
    pixels = PIXELS.astype(np.float32)
    before = np.asarray(run(pixels))
    np.testing.assert_allclose(before, model(pixels), atol=1e-6)
    copy.set_weights([np.zeros_like(one) for one in copy.get_weights()])
    np.testing.assert_array_equal(run(pixels), before)


def test_sizes_below_the_least_are_refused() -> None:
    with pytest.raises(UserError, match="cannot be built for 31 pixels; expected at least 32"):
        build_model("MobileNet_0.25", 31, CLASSES, random_weights_for=PIXELS[:, :31, :31])


def test_base_sees_pixels_from_minus_one_to_one(model: keras.Model) -> None:
    scaled = model.get_layer("scaling")(np.array([[0.0, 127.5, 255.0]], np.float32))
    np.testing.assert_allclose(scaled, [[-1.0, 0.0, 1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "URL fetch failure on https://storage.example/x.h5: None -- [Errno -3] no name",
            r"the ImageNet weights of MobileNet_0.25 are not in \$KERAS_HOME/models or ~/.keras/mo",
        ),
        (
            "Graph is\ndisconnected",
            r"--base MobileNet_0.25 cannot be built for 32 pixels \(Graph is\)$",
        ),
    ],
)
def test_weights_that_cannot_be_had_are_one_line(
    monkeypatch: pytest.MonkeyPatch, error: str, reason: str
) -> None:
    asked: list[dict[str, Any]] = []

    def refuse(**options: Any) -> None:
        asked.append(options)
        raise RuntimeError(error)

    monkeypatch.setattr(keras.applications, "MobileNet", refuse)
    with pytest.raises(UserError, match=f"^{reason}") as refused:
        build_model("MobileNet_0.25", SIZE, CLASSES)
    assert "\n" not in str(refused.value)
    (options,) = asked
    assert (options["weights"], options["include_top"], options["alpha"]) == (
        "imagenet",
        False,
        0.25,
    )


def test_size_of_a_base_is_its_own(tmp_path: Path) -> None:
    assert image_size_of("MobileNetV2") == 224
    for name, shape in (("fixed", (48, 48, 3)), ("open", (None, None, 3)), ("oblong", (48, 40, 3))):
        inputs = keras.Input(shape)
        maps = keras.layers.Conv2D(4, 3)(inputs)
        keras.Model(inputs, maps).save(tmp_path / f"{name}.keras")
    assert image_size_of(str(tmp_path / "fixed.keras")) == 48
    for name in ("open", "oblong"):
        with pytest.raises(
            UserError, match=r"keras takes photos of the shape .*; say --image_size"
        ):
            image_size_of(str(tmp_path / f"{name}.keras"))


@pytest.mark.parametrize("outputs", ["flat", "two"])
def test_extractor_that_gives_no_maps_is_refused(tmp_path: Path, outputs: str) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(4, 3)(inputs)
    flat = keras.layers.GlobalAveragePooling2D()(maps)
    path = tmp_path / "x.keras"
    keras.Model(inputs, flat if outputs == "flat" else [maps, maps]).save(path)
    with pytest.raises(UserError, match=r"expected feature maps \[N, h, w, channels\]"):
        build_model(str(path), SIZE, CLASSES)


def test_base_without_depthwise_convolutions_gives_its_last_map(tmp_path: Path) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(4, 3)(inputs)
    keras.Model(inputs, maps).save(tmp_path / "x.keras")
    built = build_model(str(tmp_path / "x.keras"), SIZE, CLASSES)
    assert built.get_layer(FEATURES).output.shape[-1] == 4
