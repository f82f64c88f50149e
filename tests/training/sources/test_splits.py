"""How photos are divided: shares, groups, small classes, near duplicates, earlier divisions."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from keras_flowers.training.sources.splits import SHARES, Division, divide


def digests_of(count: int, start: int = 0) -> npt.NDArray[np.bytes_]:
    words = [hashlib.blake2b(str(start + n).encode(), digest_size=16) for n in range(count)]
    return np.array([word.hexdigest() for word in words], "S32")


def drawn(digest: bytes) -> float:
    """What decides the side, worked out anew."""
    return int(hashlib.blake2b(digest, digest_size=7).hexdigest(), 16) / 2**56


def alone(count: int) -> npt.NDArray[np.intp]:
    return np.arange(count)


def counts(division: Division) -> dict[str, int]:
    names, found = np.unique(division.sides, return_counts=True)
    return dict(zip(names.tolist(), found.tolist(), strict=True))


def test_sides_are_drawn_from_the_content_in_the_promised_shares() -> None:
    digests = digests_of(3000)
    division = divide(digests, ["rose"] * 3000, alone(3000))
    expected = [
        "train" if drawn(one) < 0.7 else "validation" if drawn(one) < 0.85 else "test"
        for one in digests.tolist()
    ]
    assert division.sides.tolist() == expected
    assert (division.moved, division.only_learned, division.twins) == (0, (), {})
    assert SHARES == {"train": 0.7, "validation": 0.15, "test": 0.15}


def test_shares_may_be_of_two_sides() -> None:
    digests = digests_of(2000)
    division = divide(
        digests, ["rose"] * 2000, alone(2000), shares={"validation": 0.2, "train": 0.8}
    )
    assert [side == "validation" for side in division.sides.tolist()] == [
        drawn(one) >= 0.8 for one in digests.tolist()
    ]
    everything = divide(digests, ["rose"] * 2000, alone(2000), shares={"train": 1.0})
    assert counts(everything) == {"train": 2000}


def test_group_is_drawn_by_its_name() -> None:
    digests, names = digests_of(400), [f"plant {n % 40}" for n in range(400)]
    names[:20] = [""] * 20
    division = divide(digests, ["rose"] * 400, alone(400), names)
    for number in range(400):
        word = f"group {names[number]}".encode() if names[number] else digests[number]
        side = "train" if drawn(word) < 0.7 else "validation" if drawn(word) < 0.85 else "test"
        assert division.sides[number] == side


@pytest.mark.parametrize("count", [3, 4, 7])
def test_class_of_three_has_photos_on_each_side(count: int) -> None:
    for start in range(0, 600, 10):
        digests = digests_of(count, start)
        division = divide(digests, ["rose"] * count, alone(count))
        assert set(division.sides.tolist()) == {"train", "validation", "test"}
        assert division.only_learned == ()
        plain = divide(
            digests_of(count + 3000, start), ["rose"] * (count + 3000), alone(count + 3000)
        )
        changed = int((division.sides != plain.sides[:count]).sum())
        assert division.moved >= changed
        assert (division.moved > 0) == (changed > 0)


def test_photo_nearest_to_the_side_moves() -> None:
    # Nine in train, one in test: validation gets the last of train, not any.
    every = digests_of(200)
    numbers = np.array([drawn(one) for one in every.tolist()])
    train, test = np.flatnonzero(numbers < 0.7)[:9], np.flatnonzero(numbers > 0.85)[:1]
    digests = every[np.concatenate([train, test])]
    division = divide(digests, ["rose"] * 10, alone(10))
    (moved,) = np.flatnonzero(division.sides == "validation")
    assert moved == int(np.argmax(numbers[train]))
    assert division.moved == 1
    # Nine in test: the first of them.
    test = np.flatnonzero(numbers > 0.85)[:9]
    digests = every[np.concatenate([test, np.flatnonzero(numbers < 0.7)[:1]])]
    division = divide(digests, ["rose"] * 10, alone(10))
    (moved,) = np.flatnonzero(division.sides == "validation")
    assert moved == int(np.argmin(numbers[test]))


def test_small_classes_are_only_learned_from() -> None:
    every = digests_of(100)
    # Two whose own sides are validation and test.
    numbers = np.array([drawn(one) for one in every.tolist()])
    held = np.concatenate([np.flatnonzero((numbers > 0.7) & (numbers < 0.85))[:1],
                           np.flatnonzero(numbers > 0.85)[:1]])  # fmt: skip
    division = divide(every[held], ["rose", "rose"], alone(2))
    assert division.sides.tolist() == ["train", "train"]
    assert (division.moved, division.only_learned) == (2, ("rose",))


def test_first_by_content_of_near_duplicates_decides_and_others_are_left_out() -> None:
    digests = digests_of(60)
    order = np.argsort(digests)
    numbers = np.array([drawn(one) for one in digests.tolist()])
    own = np.where(numbers < 0.7, "train", np.where(numbers < 0.85, "validation", "test"))
    first = int(order[0])
    other = next(int(n) for n in order[1:] if own[n] != own[first])
    like = next(int(n) for n in order[1:] if own[n] == own[first])
    duplicates = alone(60)
    group = sorted((first, other, like))
    duplicates[group] = group[0]
    division = divide(digests, ["rose"] * 60, duplicates)
    assert division.sides[other] == ""
    assert dict(division.twins) == {other: first}
    assert division.sides[first] == division.sides[like] == own[first]


def test_earlier_sides_stay_whatever_is_drawn() -> None:
    digests = digests_of(50)
    earlier = dict.fromkeys(digests[:45].tolist(), "validation")
    division = divide(digests, ["rose"] * 50, alone(50), earlier=earlier)
    assert division.sides[:45].tolist() == ["validation"] * 45
    # A class that was divided before is not made one that is only learned from.
    few = divide(digests[:2], ["rose"] * 2, alone(2), earlier=earlier)
    assert few.sides.tolist() == ["validation", "validation"]
    assert few.only_learned == ()


def test_group_that_moves_takes_its_photos_of_other_classes_with_it() -> None:
    for start in range(0, 400, 20):
        digests = digests_of(12, start)
        labels = ["rose", "aster"] * 6
        groups = [f"bed {n // 4} {start}" for n in range(12)]
        division = divide(digests, labels, alone(12), groups)
        for group in set(groups):
            sides = {division.sides[n] for n in range(12) if groups[n] == group}
            assert len(sides) == 1
        assert set(division.sides.tolist()) == {"train", "validation", "test"}
        assert division.moved % 4 == 0


def test_same_photo_several_times_counts_once() -> None:
    # Three files of one photo are not three photos: there is nothing to put on another side.
    digests = digests_of(3)
    division = divide(digests[[0, 0, 0]], ["rose"] * 3, np.zeros(3, np.intp))
    assert division.sides.tolist() == ["train"] * 3
    assert division.only_learned == ("rose",)


def test_near_duplicate_that_is_left_out_comes_back_with_no_small_class() -> None:
    seen = 0
    for start in range(0, 400, 4):
        digests = digests_of(4, start)
        # Two photos of a rose that is on another side as its near duplicate, and two asters.
        division = divide(digests, ["rose", "rose", "aster", "aster"], np.array([0, 0, 2, 3]))
        assert division.only_learned == ("rose", "aster")
        for number in division.twins:
            seen += 1
            assert division.sides[number] == ""
            assert division.sides[1 - number] == "train"
        kept = [number for number in range(4) if number not in division.twins]
        assert set(division.sides[kept].tolist()) == {"train"}
        drawn_elsewhere = sum(drawn(digests[number]) >= 0.7 for number in kept)
        assert division.moved == drawn_elsewhere
    assert seen > 10
