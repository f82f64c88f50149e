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
from keras_flowers.training.bases import BASES  # noqa: E402
from keras_flowers.training.model import build_model, image_size_of, logits_of, signed_sqrt  # noqa: E402

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
