"""How far the answers of an exported file may be from those of the model it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

ENOUGH_PHOTOS = 200
"""On fewer photos, half a point of accuracy is less than one photo."""

LOOSE_SHARE = 0.1
"""The share of photos that stands in for tighter ones on fewer than `ENOUGH_PHOTOS` photos."""


@dataclass(frozen=True)
class Limits:
    """How far the answers of an exported file may be from those of the best version of the model.

    Shares are of the photos shown, 0..1. One photo may always fall outside of a share.

    Attributes:
        agreement: Share that must get the same name, where each version reads the files itself.
        difference: By how much a probability may differ on the same pixels; None: no limit.
        accuracy_loss: Share by which the accuracy may be lower; None: no limit.
        bytes_of_base: How large the file may be, by the base of the model.
        loose_on_few: Whether `LOOSE_SHARE` replaces both shares on fewer than `ENOUGH_PHOTOS`.
    """

    agreement: float = 0.995
    difference: float | None = None
    accuracy_loss: float | None = None
    bytes_of_base: Mapping[str, int] = field(default_factory=dict)
    loose_on_few: bool = False

    def differing(self, photos: int) -> int:
        """How many of `photos` may get another name.

        >>> Limits(agreement=0.995).differing(1020), Limits(agreement=0.995).differing(20)
        (5, 1)
        """
        return self._photos(1 - self.agreement, photos)

    def lost(self, photos: int) -> int | None:
        """How many of `photos` fewer may be named correctly; None: no limit."""
        return None if self.accuracy_loss is None else self._photos(self.accuracy_loss, photos)

    def _photos(self, share: float, photos: int) -> int:
        if self.loose_on_few and photos < ENOUGH_PHOTOS:
            share = LOOSE_SHARE
        return max(1, math.floor(share * photos + 1e-9))


EXACT = Limits(difference=1e-3)
"""Of a format that computes what Keras computes, in float32."""

MEDIAPIPE = Limits(agreement=0.98, loose_on_few=True)
"""Of MediaPipe, compared with our predictor on the same file."""

BROWSER = Limits(agreement=0.99, difference=1e-3, loose_on_few=True)
"""Of the page in a browser with a float model, compared with our predictor: on the same pixels, and
on the same file, which the browser decodes itself."""

BROWSER_INT8 = Limits(agreement=0.99, loose_on_few=True)
"""The same with whole numbers, of which one that is rounded otherwise is worth 0.004."""
