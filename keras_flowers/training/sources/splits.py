"""Divides photos into train, validation and test by their content.

The side of a photo is a number drawn from the hash of its bytes (of its group's name, where it has
one): it does not depend on the order, the names or the number of the other photos, so adding
photos moves none. Two exceptions keep the division useful:

- Near duplicates must not stand on two sides. Their first (by hash) decides; those whose own side
  is another are left out. They are not moved, since who adds a photo would move older ones by it.
- A class of at least three photos has one on each side: where chance gives none, the photo that
  is nearest to that side moves. As such a class grows, chance takes over again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from keras_flowers.training.sources.source import SPLITS

SHARES: Final[Mapping[str, float]] = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Of the photos of each class, where a source brings no splits."""


@dataclass(frozen=True)
class Division:
    """Where each photo goes.

    Attributes:
        sides: [N], a split, or "" for a near duplicate that is left out.
        twins: {number: number of the photo, on another side, that it is a near duplicate of}.
        moved: How many were moved so that a small class has photos on each side.
        only_learned: Classes with fewer than three photos: all of theirs are in train.
    """

    sides: npt.NDArray[np.str_]
    twins: Mapping[int, int]
    moved: int
    only_learned: tuple[str, ...]


def divide(
    digests: npt.NDArray[np.bytes_],
    labels: Sequence[str],
    duplicates: npt.NDArray[np.intp],
    groups: Sequence[str] | None = None,
    *,
    shares: Mapping[str, float] = SHARES,
    earlier: Mapping[bytes, str] | None = None,
) -> Division:
    """Divides photos.

    Args:
        digests: [N], the hash of each one's bytes, in hexadecimal.
        labels: The class of each.
        duplicates: int [N], as `duplicates.group_duplicates` returns them.
        groups: What each belongs to, "" for nothing: photos of one group stay together.
        shares: The share of each side, in the order train, validation, test; together 1.
        earlier: The side of digests that were divided before: they keep it.
    """
    drawn = np.array(
        [
            _draw(f"group {groups[number]}".encode() if groups and groups[number] else digest)
            for number, digest in enumerate(digests.tolist())
        ]
    )
    ends = np.cumsum([shares.get(split, 0.0) for split in SPLITS])
    own = np.array(SPLITS)[np.searchsorted(ends, drawn, side="right").clip(0, len(SPLITS) - 1)]
    earlier = earlier or {}
    # As wide as the longest name: a narrower array would cut the names of sides given later.
    own = np.array(
        [earlier.get(digest, side) for digest, side in zip(digests.tolist(), own, strict=True)],
        f"U{max(map(len, SPLITS))}",
    )
    sides, twins = _without_twins(own, digests, duplicates)
    is_settled = np.array([digest in earlier for digest in digests.tolist()], bool)
    moved, only_learned = 0, []
    of_class: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        if sides[number]:
            of_class.setdefault(label, []).append(number)
    # What moves together: a group, or the same photo several times.
    units = np.array(
        [
            f"group {groups[number]}" if groups and groups[number] else f"photo {first}"
            for number, first in enumerate(duplicates.tolist())
        ]
    )
    wanted = [split for split in SPLITS if shares.get(split)]
    for label, numbers in of_class.items():
        members = np.array(numbers)
        if len(set(units[members])) < len(wanted):
            if len(wanted) > 1 and not is_settled[members].any():
                moved += int((sides[members] != "train").sum())
                sides[members] = "train"
                only_learned.append(label)
            continue
        moved += _fill_sides(sides, members, units, drawn, wanted, is_settled)
    return Division(sides, twins, moved, tuple(only_learned))


def _draw(content: bytes) -> float:
    """A number from 0 to 1 (exclusive) that depends on nothing else."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big") / 2.0**56


def _without_twins(
    own: npt.NDArray[np.str_], digests: npt.NDArray[np.bytes_], duplicates: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.str_], dict[int, int]]:
    """The sides, "" for a photo of which a near duplicate on another side comes first."""
    order = np.argsort(digests, kind="stable")
    deciding: dict[int, int] = {}
    for number in order.tolist():
        deciding.setdefault(int(duplicates[number]), number)
    sides, twins = own.copy(), {}
    for number, first in enumerate(duplicates.tolist()):
        if own[number] != own[deciding[first]]:
            sides[number] = ""
            twins[number] = deciding[first]
    return sides, twins


def _fill_sides(
    sides: npt.NDArray[np.str_],
    members: npt.NDArray[np.intp],
    units: npt.NDArray[np.str_],
    drawn: npt.NDArray[np.float64],
    wanted: Sequence[str],
    is_settled: npt.NDArray[np.bool_],
) -> int:
    """Moves units of a class to the sides where it has none; returns how many photos moved."""
    moved = 0
    for split in wanted:
        if (sides[members] == split).any():
            continue
        units_on = {
            side: sorted({str(unit) for unit in units[members][sides[members] == side]})
            for side in wanted
        }
        giving = max(wanted, key=lambda side: len(units_on[side]))
        free = [
            unit
            for unit in units_on[giving]
            if not is_settled[members[units[members] == unit]].any()
        ]
        if len(units_on[giving]) < 2 or not free:
            continue
        # The drawn numbers rise from train to test: the nearest is the last, or the first.
        rises = wanted.index(giving) < wanted.index(split)
        of_unit = {unit: float(drawn[members[units[members] == unit][0]]) for unit in free}
        chosen = max(free, key=lambda unit: of_unit[unit] if rises else -of_unit[unit])
        # All of the unit, whatever class it is in, so that it stays together.
        together = units == chosen
        moved += int(((sides != split) & together & (sides != "")).sum())
        sides[together & (sides != "")] = split
    return moved
