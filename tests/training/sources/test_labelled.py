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
from keras_flowers.training.sources.left_out import LeftOut
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
    assert photos.names == ("0", "2", "3", "1", "3")
    assert photos.subjects == (("", ""),) * 5
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


def test_bytes_of_some_photos_are_read_in_their_order(photos: LabelledPhotos) -> None:
    assert [(row, read()) for row, read in photos.contents([4, 0, 1, 4])] == [
        (0, b"one 0"),
        (1, b"one 2"),
        (4, b"two 3"),
    ]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 2], {"one": [0, 3]}),
        ([2, 3], {"one": [3], "two": [1]}),
        ([4], {"two": [3]}),
        ([0, 1, 2, 3, 4], {"one": [0, 2, 3], "two": [1, 3]}),
    ],
)
def test_part_of_some_photos_is_what_is_theirs(
    photos: LabelledPhotos, numbers: list[int], expected: dict[str, list[int]]
) -> None:
    found = photos.parts_of(np.array(numbers))
    assert {part.name: part.numbers.tolist() for part in found} == expected
    labels = np.concatenate([part.labels for part in found])
    assert labels.tolist() == photos.label_numbers[numbers].tolist()
    digests = np.concatenate([part.found.digests for part in found])
    assert digests.tolist() == photos.digests[numbers].tolist()
    # Sent to a worker, it takes none of the photos before and behind along.
    for part in found:
        alone = part.alone()
        assert [read() for _, read in alone.photos.contents(alone.numbers.tolist())] == [
            read() for _, read in part.photos.contents(part.numbers.tolist())
        ]
        first, last = part.numbers[0], part.numbers[-1]
        assert len(alone.photos.places) == last - first + 1


def test_two_sets_are_joined_with_all_that_is_known_of_them(
    photos: LabelledPhotos, tmp_path: Path
) -> None:
    lost = LeftOut("more", "a", "x.jpg", "it is empty")
    more = label_photos(
        [part(tmp_path, "more", 3, [2])],
        dataset="more",
        split="photos",
        labels=("a", "b", "c"),
        left_out=[lost],
    )
    both = replace(photos, left_out=(lost, lost)).joined_with(more)
    assert (both.dataset, both.split, both.labels) == (
        "one + two + more",
        "train + photos",
        ("a", "b", "c"),
    )
    assert (both.count, both.left_out) == (6, (lost,) * 3)
    assert both.names == (*photos.names, "2")
    assert read(both) == [*read(photos), (5, "more 2", 2)]
