"""Photos that are there more than once, and what that means: a wrong label, a leak, or a waste."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference.image import read_photo
from keras_flowers.training.sources.source import SPLITS, Read

DETAIL: Final = 0.65
"""Least correlation of the details of near duplicates, at 16 x 16. Of Oxford's 3,060 photos, the 51
pairs of two classes that look alike at 8 x 8 (a yellow flower on grass) reach 0.56; 180 photos that
were saved again, halved, brightened, mirrored or cut on one side by 4 % reach 0.69."""

_SIDE = 16


@dataclass(frozen=True)
class DuplicateGroup:
    """Photos that show the same picture.

    Attributes:
        rows: Their numbers, ascending.
        is_exact: Whether they are the same file, byte for byte.
        classes: The names of the classes that they are in.
        splits: The splits that they are in, of those that the source brings.
    """

    rows: tuple[int, ...]
    is_exact: bool
    classes: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def is_between_classes(self) -> bool:
        """Whether one of the labels must be wrong."""
        return len(self.classes) > 1

    @property
    def is_between_splits(self) -> bool:
        """Whether a photo that is scored was learned from."""
        return len(self.splits) > 1


def confirm_duplicates(
    first: npt.NDArray[np.intp],
    digests: npt.NDArray[np.bytes_],
    contents: Callable[[Sequence[int]], Iterable[tuple[int, Read]]],
) -> npt.NDArray[np.intp]:
    """Looks closer at photos that look alike when they are tiny.

    A division into splits loses little where two flowers are taken for one photo; who is told that
    a photo has two labels loses time.

    Args:
        first: int [N], as `group_duplicates` returns it.
        digests: S32 [N].
        contents: Gives numbers and readers of photos.

    Returns:
        int [N], as `first`, of those that are the same photo.
    """
    members: dict[int, list[int]] = {}
    for row, group in enumerate(first.tolist()):
        members.setdefault(group, []).append(row)
    groups = [rows for rows in members.values() if len(rows) > 1]
    unsure = [rows for rows in groups if len(set(digests[rows].tolist())) > 1]
    details = {
        row: found
        for row, read in contents([row for rows in unsure for row in rows])
        if (found := _details(read)) is not None
    }
    confirmed: npt.NDArray[np.intp] = np.arange(len(first))
    for rows in groups:
        for one, other in combinations(rows, 2):  # ascending: what joins `one` is settled
            if confirmed[other] != confirmed[one] and (
                digests[one] == digests[other] or _are_alike(details.get(one), details.get(other))
            ):
                low, high = sorted((confirmed[one], confirmed[other]))
                confirmed[[row for row in rows if confirmed[row] == high]] = low
    return confirmed


def sort_duplicates(
    first: npt.NDArray[np.intp],
    digests: npt.NDArray[np.bytes_],
    names: Sequence[str],
    sides: npt.NDArray[np.str_],
) -> tuple[DuplicateGroup, ...]:
    """The groups of more than one photo, in the order of their first.

    Args:
        first: int [N], as `confirm_duplicates` returns it.
        digests: S32 [N].
        names: [N], the class of each.
        sides: [N], the split of each; what is none of `SPLITS` is not counted as one.
    """
    members: dict[int, list[int]] = {}
    for row, group in enumerate(first.tolist()):
        members.setdefault(group, []).append(row)
    return tuple(
        DuplicateGroup(
            rows=tuple(rows),
            is_exact=len(set(digests[rows].tolist())) == 1,
            classes=tuple(sorted({names[row] for row in rows})),
            splits=tuple(split for split in SPLITS if split in sides[rows]),
        )
        for rows in members.values()
        if len(rows) > 1
    )


def _details(read: Read) -> npt.NDArray[np.float32] | None:
    """What a photo has at 16 x 16 and not at 8 x 8, [16, 16, 3] of length 1; None: unreadable."""
    try:
        photo = read_photo(read(), (4 * _SIDE, 4 * _SIDE))
    except (OSError, UserError):
        return None
    fine = photo.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    coarse = fine.resize((_SIDE // 2, _SIDE // 2), Image.Resampling.BOX)
    smooth = coarse.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    rest = np.asarray(fine, np.float32) - np.asarray(smooth, np.float32)
    rest -= rest.mean()
    return rest / max(float(np.linalg.norm(rest)), 1e-6)


def _are_alike(one: npt.NDArray[np.float32] | None, other: npt.NDArray[np.float32] | None) -> bool:
    if one is None or other is None:
        return False
    return bool(max((one * other).sum(), (one[:, ::-1] * other).sum()) >= DETAIL)
