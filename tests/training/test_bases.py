"""Every base can be built, and gives probabilities that depend on the photo."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs the extra [train]")

from keras_flowers.errors import UserError  # noqa: E402
from keras_flowers.training import bases  # noqa: E402
from keras_flowers.training.bases import BASES, find_base  # noqa: E402
from keras_flowers.training.config import TrainConfig  # noqa: E402
from keras_flowers.training.model import (  # noqa: E402
    FEATURES,
    build_model,
    image_size_of,
    logits_of,
    signed_sqrt,
    split_at,
)

ALL = os.environ.get("KERAS_FLOWERS_ALL_BASES") == "1"
QUICK = ("MobileNet_0.25", "MobileNetV2_0.35", "MobileNetV3Small", "EfficientNetB0")


def test_root_keeps_the_sign_and_has_no_jump() -> None:
    pooled = np.array([-4, -1e-9, 0, 1e-9, 4], np.float32)
    np.testing.assert_allclose(signed_sqrt(pooled), [-1.99, 0, 0, 0, 1.99], atol=1e-4)
    # Where nothing is negative, the sign is left out: the same, but for a number.
    np.testing.assert_allclose(
        signed_sqrt(pooled[2:], signed=False) - signed_sqrt(pooled[2:]), 0.01, atol=1e-6
    )


@pytest.mark.parametrize("name", BASES)
def test_base_is_built_and_runs_forward(name: str) -> None:
    if not ALL and name not in QUICK:
        pytest.skip("building all bases takes minutes; set KERAS_FLOWERS_ALL_BASES=1")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    model = build_model(name, 64, 7, random_weights_for=pixels)
    assert [one.name for one in model.layers if one.trainable and one.weights] == ["probabilities"]
    assert model.inputs[0].name == "pixels"
    probabilities = np.asarray(model(pixels.astype(np.float32), training=False))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    # Random weights may be sure of themselves: the logits tell the photos apart all the same.
    logits = np.asarray(logits_of(model)(pixels.astype(np.float32), training=False))
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
    keras.backend.clear_session()
    gc.collect()


def test_base_that_cannot_take_the_size_is_said() -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="MobileNetV2 cannot be built for 8 pixels"):
        build_model("MobileNetV2", 8, 7, random_weights_for=pixels)


def test_weights_that_do_not_fit_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wider = keras.applications.MobileNetV2(alpha=0.5, include_top=False, weights=None)
    file = tmp_path / "wider.weights.h5"
    wider.save_weights(file)
    whole = file.read_bytes()
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    for content in (whole, whole[: len(whole) // 2], b"<html>"):
        file.write_bytes(content)
        with pytest.raises(UserError, match="MobileNetV2_0.35 cannot be built for 64") as refused:
            build_model("MobileNetV2_0.35", 64, 7)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("channels", "make", "size", "reason"),
    [
        (3, lambda x: keras.layers.GlobalAveragePooling2D()(x), 16, r"gives \[\(None, 3\)\]"),
        (1, lambda x: x, 16, r"takes \(None, 16, 16, 1\); expected photos"),
        (
            3,
            lambda x: keras.layers.Reshape((4, 4, 48))(x),
            24,
            "cannot take photos of 24 pixels, it was made for 16",
        ),
        (3, lambda x: keras.ops.multiply(x, 2.0), 16, "cannot be built upon"),
    ],
)
def test_extractor_that_does_not_fit_is_said(
    tmp_path: Path, channels: int, make: Any, size: int, reason: str
) -> None:
    pixels = keras.Input((16, 16, channels))
    keras.Model(pixels, make(pixels)).save(tmp_path / "base.keras")
    keras.utils.clear_session()
    with pytest.raises(UserError, match=reason) as refused:
        build_model(str(tmp_path / "base.keras"), size, 7)
    assert "\n" not in str(refused.value)


def test_damaged_extractor_is_said(tmp_path: Path) -> None:
    pixels = keras.Input((16, 16, 3))
    path = tmp_path / "base.keras"
    keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels)).save(path)
    build_model(str(path), 16, 7)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"--base {path} is damaged"):
            build_model(str(path), 16, 7)


@pytest.mark.parametrize("size", [64, 96])
def test_network_of_a_run_is_a_base_that_sees_what_the_run_saw(tmp_path: Path, size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    made = build_model("MobileNetV2_0.35", 64, 7, random_weights_for=pixels[:, :64, :64])
    made.save(tmp_path / "model.keras")
    keras.utils.clear_session()
    model = build_model(find_base(str(tmp_path)), size, 3)
    assert model.output_shape == (None, 3)
    # The same layers with the same weights, and nothing of the head that was.
    names = {one.name for one in made.layers if one.weights}
    assert {one.name for one in model.layers if one.weights} == names
    assert image_size_of(str(tmp_path)) == 64
    if size == 64:
        seen = [
            np.asarray(split_at(one, FEATURES)[0](pixels.astype(np.float32)))
            for one in (made, model)
        ]
        np.testing.assert_array_equal(*seen)
    assert TrainConfig(base=str(tmp_path)).run_dir == Path(f"saved_models/on_{tmp_path.name}")


def test_base_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "default_model", lambda: tmp_path / "x.tflite")
    with pytest.raises(UserError, match="--base flowers102: there is no .*model.keras, the Keras"):
        find_base("Flowers102")
    (tmp_path / "model.keras").touch()
    assert find_base("Flowers102") == "flowers102"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: expected the folder of a finished run, with mod"):
        find_base(str(tmp_path / "empty"))


def test_each_base_brings_its_native_size() -> None:
    sizes = {name: image_size_of(name) for name in BASES}
    assert sizes["MobileNetV2"] == 224
    # Tan & Le 2019 and 2021.
    published = (224, 240, 260, 300, 380, 456, 528, 600)
    assert [sizes[f"EfficientNetB{number}"] for number in range(8)] == list(published)
    assert [sizes[f"EfficientNetV2B{number}"] for number in range(4)] == [224, 240, 260, 300]
    assert [sizes[f"EfficientNetV2{letter}"] for letter in "SML"] == [384, 480, 480]
    assert [sizes[f"EfficientNetLite{number}"] for number in range(3)] == [224, 240, 260]
    assert {sizes[name] for name in BASES if name.startswith("MobileNet")} == {224}
    assert all(BASES[name].scaled_inside for name in BASES if name.startswith("MobileNetV3"))
    assert not any(BASES[f"{name}_0.5"].scaled_inside for name in ("MobileNet", "MobileNetV2"))
