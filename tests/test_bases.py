"""Every base can be built, and gives probabilities that depend on the photo."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs the extra [train]")

from keras_flowers.bases import BASES  # noqa: E402
from keras_flowers.errors import UserError  # noqa: E402
from keras_flowers.model import build_model, image_size_of  # noqa: E402

ALL = os.environ.get("KERAS_FLOWERS_ALL_BASES") == "1"
QUICK = ("MobileNet_0.25", "MobileNetV2_0.35", "MobileNetV3Small", "EfficientNetB0")


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
    assert np.abs(probabilities[0] - probabilities[1]).max() > 1e-4
    keras.backend.clear_session()
    gc.collect()


def test_base_that_cannot_take_the_size_is_said() -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(UserError, match="MobileNetV2 cannot be built for 8 pixels"):
        build_model("MobileNetV2", 8, 7, random_weights_for=pixels)


def test_each_base_brings_its_native_size() -> None:
    sizes = {name: image_size_of(name) for name in BASES}
    assert sizes["MobileNetV2"] == 224
    assert sizes["EfficientNetB3"] == 300
    assert sizes["EfficientNetV2S"] == 384
