"""What a classifier computes on the way from pixels to its logits: maps, features, the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]


class Parts(NamedTuple):
    """What a network has computed on the way from one photo to its logits.

    Attributes:
        maps: For each pooling, float [h, w, channels]: the answers of its maps at each place, times
            what the place counts. Their sums over the places are the pooled maps, up to a factor
            for each.
        features: float [D], one for each channel of all maps, in their order.
        at_rest: float [D], the features of maps that are 0 everywhere.
        kernel: float [D, C].
        bias: float [C]; the logits are features @ kernel + bias.
    """

    maps: Sequence[Array]
    features: Array
    at_rest: Array
    kernel: Array
    bias: Array

    @property
    def logits(self) -> npt.NDArray[np.float64]:
        """float64 [C]."""
        kernel = np.asarray(self.kernel, np.float64)
        return np.asarray(self.features, np.float64) @ kernel + self.bias


PartsFn: TypeAlias = Callable[[npt.NDArray[Any]], Parts]
"""pixels [1, H, W, 3], 0..255 -> what the network computed for them."""


FeaturesFn: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
"""pixels [N, H, W, 3], 0..255 -> features float32 [N, D]."""


class Insides(NamedTuple):
    """What can be seen of a model that is built like those of this package.

    Attributes:
        parts: What it computes for one photo.
        features: What its head sees of many photos.
        is_quantised: Whether these are scaled for 8 bits, and so unlike those of other files of the
            same model.
    """

    parts: PartsFn
    features: FeaturesFn
    is_quantised: bool = False


class Padding(NamedTuple):
    """Rows and columns of zeros that a network puts around maps, in front of a stride of 2.

    They are no places of the photo.
    """

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def cut_off(self, maps: Array) -> Array:
        """The maps [h, w, channels] without them."""
        height, width, _ = maps.shape
        return maps[self.top : height - self.bottom, self.left : width - self.right]
