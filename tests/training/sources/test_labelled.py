"""Photos of several places as one split: their order, their numbers, and what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

from keras_flowers.training.sources.inspection import FAST, PILLOW, Inspection
from keras_flowers.training.sources.labelled import (
    LabelledPhotos,
    Part,
    label_photos,
    without_autotune,
)
from keras_flowers.training.sources.source import FilePhotos


def part(folder: Path, name: str, count: int, numbers: Sequence[int], start: int = 0) -> Part:
    """Files whose content is their name."""
    (folder / name).mkdir(exist_ok=True)
    for number in range(count):
        (folder / name / f"{number}").write_bytes(f"{name} {number}".encode())
    origins = ["", "me", "you"] * count
    stored = FilePhotos(
        folder / name, [str(n) for n in range(count)], ["x"] * count, None, origins[:count]
    )
    size = len(numbers)
    found = Inspection(
        np.array([f"{start + n:032x}" for n in numbers], "S32"),
        np.array(["x"] * size),
        np.full(size, FAST, np.uint8),
        np.zeros((size, 8, 8, 3), np.uint8),
        np.ones(size, bool),
        np.array([""] * size),
        np.zeros((size, 2), np.int32),
    )
    return Part(stored, np.array(numbers), found, np.array(numbers, np.int64) % 3, name)


@pytest.fixture
def photos(tmp_path: Path) -> LabelledPhotos:
    parts = [
        part(tmp_path, "one", 5, [0, 2, 3], start=0x12345670000000000000000000000000),
        part(tmp_path, "none", 2, []),
        part(tmp_path, "two", 4, [1, 3]),
    ]
    return label_photos(parts, dataset="one + two", split="train", labels=("a", "b", "c"))


def read(photos: LabelledPhotos) -> list[tuple[int, str, int]]:
    return [(int(n), text.decode(), int(k)) for n, text, k in photos.records.as_numpy_iterator()]


def test_photos_stand_one_place_after_the_other(photos: LabelledPhotos) -> None:
    assert read(photos) == [
        (0, "one 0", 0),
        (1, "one 2", 2),
        (2, "one 3", 0),
        (3, "two 1", 1),
        (4, "two 3", 0),
    ]
    assert photos.count == 5
    assert photos.label_numbers.tolist() == [0, 2, 0, 1, 0]
    assert len(photos.parts) == 2
    assert photos.origins == ("one", "you", "one", "me", "two")
    assert len(photos.positions) == 5
    assert sorted(place.split(" ", 1)[0] for place in photos.positions) == ["0", "1", "2", "3", "3"]


def test_some_photos_keep_their_numbers_and_no_others_are_read(
    photos: LabelledPhotos, tmp_path: Path
) -> None:
    (tmp_path / "one" / "0").unlink()
    some = photos.only(np.array([False, True, False, False, True]))
    assert read(some) == [(1, "one 2", 2), (4, "two 3", 0)]
    assert some.count == 2
    # What tells them apart is still of all.
    assert len(some.digests) == 5
    assert photos.only(np.ones(5, bool)) is photos
    assert read(photos.only(np.array([False] * 4 + [True]))) == [(4, "two 3", 0)]


def test_random_views_depend_on_the_content_alone(photos: LabelledPhotos) -> None:
    assert photos.seeds.dtype == np.int32
    assert photos.seeds[:3].tolist() == [0x1234567] * 3
    assert photos.seeds[3:].tolist() == [0, 0]


def test_fingerprint_changes_with_content_classes_and_order(photos: LabelledPhotos) -> None:
    same = photos.fingerprint
    assert len(same) == 32
    others = [
        replace(photos, digests=photos.digests[::-1].copy()),
        replace(photos, label_numbers=photos.label_numbers[::-1].copy()),
        replace(photos, labels=("a", "b", "d")),
    ]
    assert len({same, *(one.fingerprint for one in others)}) == 4
    elsewhere = replace(photos, dataset="moved", split="test", positions=frozenset("x"))
    assert elsewhere.fingerprint == same


def test_one_photo_for_another_reader_is_enough(photos: LabelledPhotos) -> None:
    assert photos.are_upright_jpegs
    routes = photos.routes.copy()
    routes[2] = PILLOW
    assert not replace(photos, routes=routes).are_upright_jpegs


def test_tuning_thread_is_off() -> None:
    assert not without_autotune().autotune.enabled


def test_other_split_is_opened_by_whoever_knows_them(photos: LabelledPhotos) -> None:
    asked: list[str] = []

    def open_split(split: str) -> LabelledPhotos:
        asked.append(split)
        return photos

    assert replace(photos, open_split=open_split).of_split("test[:5]") is photos
    assert asked == ["test[:5]"]
