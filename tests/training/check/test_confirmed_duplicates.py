"""Photos that look alike when they are tiny are the same photo only if their details are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bad_photos import encode
from PIL import Image, ImageOps

pytest.importorskip("tensorflow_datasets", reason="the check needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training.check import duplicates
from keras_flowers.training.check.duplicates import (
    DuplicateGroup,
    confirm_duplicates,
    sort_duplicates,
)


def test_groups_are_divided_where_details_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[list[int]] = []
    details = {row: np.float32(number) for row, number in enumerate((1, 1, 2, 2, 1, 5, 5, 7))}
    details[6] = None  # cannot be read any more

    def contents(rows: Any) -> Any:
        looked.append(list(rows))
        return [(row, row) for row in rows]

    monkeypatch.setattr(duplicates, "_details", details.get)
    monkeypatch.setattr(
        duplicates, "_are_alike", lambda one, other: one is not None and one == other
    )
    first = np.array([0, 0, 0, 0, 0, 5, 5, 7])
    digests = np.array([b"a", b"b", b"c", b"c", b"d", b"e", b"f", b"g"])
    assert confirm_duplicates(first, digests, contents).tolist() == [0, 0, 2, 2, 0, 5, 6, 7]
    assert looked == [[0, 1, 2, 3, 4, 5, 6]]
    # The same file is the same photo, whatever its details; nothing is read for that.
    looked.clear()
    same = np.array([b"a"] * 5 + [b"e"] * 2 + [b"g"])
    assert confirm_duplicates(first, same, contents).tolist() == first.tolist()
    assert looked == [[]]


def test_what_joins_two_photos_joins_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_details", lambda row: row)
    alike = {(0, 2), (1, 2)}
    monkeypatch.setattr(duplicates, "_are_alike", lambda one, other: (one, other) in alike)
    digests = np.array([b"a", b"b", b"c"])
    contents: Any = lambda rows: [(row, row) for row in rows]  # noqa: E731
    assert confirm_duplicates(np.zeros(3, int), digests, contents).tolist() == [0, 0, 0]


def test_groups_say_what_they_mean() -> None:
    groups = sort_duplicates(
        np.array([0, 0, 2, 3, 3, 3]),
        np.array([b"a", b"a", b"b", b"c", b"c", b"d"]),
        ["rose", "rose", "x", "tulip", "aster", "tulip"],
        np.array(["all", "all", "train", "test", "train", "train"]),
    )
    assert groups == (
        DuplicateGroup((0, 1), True, ("rose",), ()),
        DuplicateGroup((3, 4, 5), False, ("aster", "tulip"), ("train", "test")),
    )
    assert [one.is_between_classes for one in groups] == [False, True]
    assert [one.is_between_splits for one in groups] == [False, True]


def test_details_are_those_of_the_same_picture_mirrored_or_smaller() -> None:
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8))
    picture = small.resize((240, 240), Image.Resampling.BICUBIC)
    other = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((240, 240))

    def details(shown: Image.Image) -> Any:
        return duplicates._details(lambda: encode(shown, "PNG"))

    one = details(picture)
    assert one.shape == (16, 16, 3)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert one.sum() == pytest.approx(0, abs=1e-3)
    for same in (picture.resize((120, 100)), ImageOps.mirror(picture), picture):
        assert duplicates._are_alike(one, details(same))
    assert not duplicates._are_alike(one, details(other))
    assert not duplicates._are_alike(one, details(ImageOps.flip(picture)))
    assert not duplicates._are_alike(one, None) and not duplicates._are_alike(None, one)
    assert duplicates._details(lambda: b"no photo") is None
    plain = details(Image.new("RGB", (50, 50), "red"))
    assert not plain.any()  # not divided by nothing


def test_photo_is_decoded_just_large_enough_for_its_details(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def read(data: bytes, size: tuple[int, int]) -> Image.Image:
        asked.append((data, size))
        return Image.new("RGB", size)

    monkeypatch.setattr(duplicates, "read_photo", read)
    assert duplicates._details(lambda: b"photo") is not None
    assert asked == [(b"photo", (64, 64))]  # four pixels for each of 16, so that none is mixed


@pytest.mark.parametrize("error", [OSError("gone"), UserError("no photo")])
def test_photo_that_cannot_be_read_any_more_has_no_details(error: Exception) -> None:
    def read() -> bytes:
        raise error

    assert duplicates._details(read) is None


def test_least_correlation_is_included() -> None:
    one = np.zeros((16, 16, 3), np.float32)
    one[0, 0, 0] = 1
    for share, alike in ((duplicates.DETAIL + 1e-4, True), (duplicates.DETAIL - 1e-3, False)):
        assert duplicates._are_alike(one, share * one) is alike
        assert duplicates._are_alike(one, share * one[:, ::-1]) is alike
