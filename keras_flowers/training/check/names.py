"""Classes that may be one flower under two names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.training.check.doubts import LEAST_PHOTOS, Doubts

ALIKE: Final = 0.25
"""The mean probability that each of two classes has for the photos of the other, from which they
may be one flower: if they were, it would be a half."""

_LEAST_LETTERS = 7  # "rose" and "nose" are two words; "sunflower" and "sunflowr" are one


class DoubleClass(NamedTuple):
    """Two classes that may be one.

    Attributes:
        one: The number of a class.
        other: That of the other.
        reason: What they have in common.
    """

    one: int
    other: int
    reason: str


def double_names(names: Sequence[str]) -> list[DoubleClass]:
    """Classes whose names differ in what is often a slip: spelling, a plural, one letter.

    >>> [(one.one, one.other, one.reason) for one in double_names(["rose", "tulip", "Roses"])]
    [(0, 2, 'singular and plural')]
    """
    found = []
    plain = [re.sub(r"[\W_]+", "", name.casefold()) for name in names]
    for one, other in combinations(range(len(names)), 2):
        if plain[one] == plain[other] and plain[one]:
            found.append(DoubleClass(one, other, "the same letters"))
        elif plain[one] in _plurals(plain[other]) or plain[other] in _plurals(plain[one]):
            found.append(DoubleClass(one, other, "singular and plural"))
        elif min(len(plain[one]), len(plain[other])) >= _LEAST_LETTERS and _is_one_slip_away(
            plain[one], plain[other]
        ):
            found.append(DoubleClass(one, other, "one letter"))
    return found


def doubles_by_look(doubts: Doubts) -> list[DoubleClass]:
    """Classes whose photos are taken for those of the other, both ways; the most alike first."""
    judged = np.flatnonzero(doubts.is_judged)
    classes = doubts.probabilities.shape[1]
    labels = doubts.labels[judged]
    photos = np.bincount(labels, minlength=classes)
    sums: npt.NDArray[np.float64] = np.zeros((classes, classes))
    np.add.at(sums, labels, doubts.probabilities[judged])
    means = sums / np.maximum(photos, 1)[:, None]
    both = np.triu(np.minimum(means, means.T), k=1)
    both[photos < LEAST_PHOTOS] = both[:, photos < LEAST_PHOTOS] = 0
    order = np.argsort(-both, axis=None, kind="stable")[: int((both >= ALIKE).sum())]
    return [
        DoubleClass(
            int(one),
            int(other),
            f"their photos look alike: {means[one, other]:.0%} and {means[other, one]:.0%}",
        )
        for one, other in zip(*np.unravel_index(order, both.shape), strict=True)
    ]


def _plurals(name: str) -> set[str]:
    return {f"{name}s", f"{name}es"} | ({f"{name[:-1]}ies"} if name.endswith("y") else set())


def _is_one_slip_away(one: str, other: str) -> bool:
    """Whether one letter too many, missing, wrong or exchanged with its neighbour is all."""
    if abs(len(one) - len(other)) > 1:
        return False
    if one.isdigit() or other.isdigit() or re.sub(r"\d", "", one) == re.sub(r"\d", "", other):
        return False  # numbers count something
    start = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    rest, their_rest = one[start:], other[start:]
    return (
        rest[1:] == their_rest[1:]
        or rest[1:] == their_rest
        or rest == their_rest[1:]
        or (rest[1::-1] == their_rest[:2] and rest[2:] == their_rest[2:])
    )
