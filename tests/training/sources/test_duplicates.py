"""Near duplicates: the two limits, mirrors, chains, and photos without a look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from keras_flowers.training.sources import duplicates
from keras_flowers.training.sources.duplicates import group_duplicates

SHAPE = (8, 8, 3)


def blots(seed: int) -> npt.NDArray[np.float64]:
    """A coarse picture: the same in squares of 2 x 2, so without details."""
    coarse = np.random.default_rng(seed).normal(size=(4, 4, 3))
    return coarse.repeat(2, 0).repeat(2, 1)


def details(seed: int) -> npt.NDArray[np.float64]:
    """A fine picture, whose means of 2 x 2 are zero."""
    fine = np.random.default_rng(seed).normal(size=(4, 2, 4, 2, 3))
    return (fine - fine.mean(axis=(1, 3), keepdims=True)).reshape(SHAPE)


def unit(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = picture - picture.mean()
    return centred / np.linalg.norm(centred)


def mixed(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], share: float
) -> npt.NDArray[np.float64]:
    """A picture that correlates by `share` with `one`."""
    first = unit(one)
    second = unit(other)
    second = unit(second - (second * first).sum() * first)
    return share * first + np.sqrt(1 - share**2) * second


def look(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(128 + 500 * picture), 0, 255).astype(np.uint8)


def groups(*pictures: npt.NDArray[np.uint8], known: bool = True) -> list[int]:
    digests = np.array([f"{n:032}" for n in range(len(pictures))], "S32")
    return group_duplicates(digests, np.stack(pictures), np.full(len(pictures), known)).tolist()


def test_looks_correlate_by_0_93() -> None:
    fine = unit(details(9))
    base = 0.9 * unit(blots(1)) + 0.43 * fine
    for share, together in ((0.95, True), (0.94, True), (0.92, False), (0.90, False)):
        other = 0.9 * mixed(blots(1), blots(2), (share - 0.43**2) / (1 - 0.43**2)) + 0.43 * fine
        found = float((unit(base) * unit(other)).sum())
        assert abs(found - share) < 0.01
        assert groups(look(base), look(other)) == ([0, 0] if together else [0, 1])


def test_details_correlate_by_0_75() -> None:
    for share, together in ((0.85, True), (0.78, True), (0.72, False), (0.3, False)):
        base = unit(blots(1)) + 0.2 * unit(details(5))
        other = unit(blots(1)) + 0.2 * mixed(details(5), details(6), share)
        assert (unit(base) * unit(other)).sum() > 0.95
        assert groups(look(base), look(other)) == ([0, 0] if together else [0, 1])


def test_mirrored_photo_is_the_same_and_one_turned_over_is_not() -> None:
    base = look(unit(blots(3)) + 0.3 * unit(details(4)))
    assert groups(base, base[:, ::-1]) == [0, 0]
    assert groups(base, base[::-1]) == [0, 1]
    assert groups(base, 255 - base) == [0, 1]


def test_chain_is_one_group_with_the_lowest_number() -> None:
    fine = unit(details(9))
    chain = [
        look(0.9 * mixed(blots(1), blots(2), share) + 0.43 * fine) for share in (1.0, 0.94, 0.78)
    ]
    other = look(unit(blots(7)) + 0.3 * fine)
    assert groups(chain[0], chain[2]) == [0, 1]
    assert groups(other, *chain) == [0, 1, 1, 1]
    assert groups(chain[2], other, chain[0], chain[1]) == [0, 1, 0, 0]


def test_files_of_the_same_content_belong_together_without_a_look() -> None:
    base = look(unit(blots(1)))
    assert groups(base, base, known=False) == [0, 1]
    digests = np.array(["b", "a", "b", "a", "c"], "S32")
    looks = np.stack([base] * 5)
    assert group_duplicates(digests, looks, np.zeros(5, bool)).tolist() == [0, 1, 0, 1, 4]


@pytest.mark.parametrize("rows", [64, 100])
def test_many_photos_are_compared_in_parts(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (300, *SHAPE)).astype(np.uint8)
    pairs = {(3, 290), (70, 71), (130, 299), (10, 66)}
    for one, other in pairs:
        looks[other] = looks[one]
    expected = list(range(300))
    for one, other in pairs:
        expected[other] = one
    digests = np.array([f"{n:032}" for n in range(300)], "S32")
    monkeypatch.setattr(duplicates, "_ROWS", rows)
    assert group_duplicates(digests, looks, np.ones(300, bool)).tolist() == expected
