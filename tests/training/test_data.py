"""Photos as tensors: their order, their views, and who lies over whom."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

from keras_flowers.training import data
from keras_flowers.training.sources import inspection
from keras_flowers.training.sources.labelled import LabelledPhotos, Part, label_photos
from keras_flowers.training.sources.source import FilePhotos
from keras_flowers.training.views import View

COUNT = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LabelledPhotos:
    """Plain PNG files: photo n has the red 10 n, the left half darker."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        picture = Image.new("RGB", (40, 30), (10 * number, 100, 50))
        picture.paste((10 * number, 20, 50), (0, 0, 20, 30))
        picture.save(folder / f"{number}.png")
    stored = FilePhotos(folder, [f"{n}.png" for n in range(COUNT)], ["x"] * COUNT)
    found = inspection.inspect(stored, "own")
    part = Part(stored, np.arange(COUNT), found, np.arange(COUNT) % 5, "own")
    return label_photos([part], dataset="own", split="train", labels=tuple("abcde"))


def reds(batches: Any) -> list[int]:
    return [
        round(float(picture[..., 0].mean()) / 10)
        for pictures, _ in batches.as_numpy_iterator()
        for picture in pictures.reshape(-1, *pictures.shape[-3:])
    ]


def test_photos_come_in_stored_order_however_long_each_takes(
    photos: LabelledPhotos, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = data.read_photo

    def slowly(content: bytes, size: tuple[int, int]) -> Image.Image:
        picture = read(content, size)
        time.sleep(0.3 if picture.getpixel((0, 0))[0] in (0, 70) else 0)
        return picture

    monkeypatch.setattr(data, "read_photo", slowly)
    monkeypatch.setattr(data, "available_cores", lambda: 4)
    batches = data.pixels(photos, (8, 8), batch_size=10)
    assert reds(batches) == list(range(COUNT))
    labels = [labels.tolist() for _, labels in batches.as_numpy_iterator()]
    assert [len(some) for some in labels] == [10, 10, 4]
    assert sum(labels, []) == [number % 5 for number in range(COUNT)]


def test_views_of_a_photo_stand_side_by_side(photos: LabelledPhotos) -> None:
    batches = data.pixels_of_views(photos, (8, 6), [View.FULL, View.FLIPPED, View.FULL])
    (pictures, labels), *_ = batches.as_numpy_iterator()
    assert pictures.shape == (COUNT, 3, 8, 6, 3)
    assert pictures.dtype == np.uint8
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(pictures[:, 0], pictures[:, 2])
    np.testing.assert_array_equal(pictures[:, 0], pictures[:, 1, :, ::-1])
    assert pictures[0, 0, 0, 0, 1] == 20
    assert pictures[0, 1, 0, 0, 1] == 100


def test_order_is_that_of_its_seed(photos: LabelledPhotos) -> None:
    def order(seed: int) -> list[int]:
        return reds(data.pixels(photos, (8, 8), order=seed))

    first = order(1)
    assert sorted(first) == list(range(COUNT))
    assert first != list(range(COUNT))
    # Far from their places, not only beside them.
    assert max(abs(place - number) for place, number in enumerate(first)) > 8
    assert order(1) == first
    assert order(2) != first
    assert order(100_000) != order(100_001)


def test_photo_under_another_is_any_and_keeps_its_label(photos: LabelledPhotos) -> None:
    def blended(**options: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        batches = data.pixels(photos, (8, 8), mixup=True, **options)
        parts = list(batches.as_numpy_iterator())
        return np.concatenate([p for p, _ in parts]), np.concatenate([k for _, k in parts])

    pictures, labels = blended()
    assert labels.tolist() == [number % 5 for number in range(COUNT)]
    red = pictures[..., 0].mean((1, 2)) / 10
    moved = np.abs(red - np.arange(COUNT)) > 0.2
    assert 0.4 < moved.mean() < 0.95
    # Over each half lies the same half of the other photo.
    assert np.abs(pictures[:, :, 0, 1].astype(int) - 20).max() <= 1
    np.testing.assert_array_equal(pictures, blended(batch_size=7)[0])
    assert (pictures != blended(seed=1)[0]).any()
    assert (pictures != blended(view=View.FLIPPED)[0][:, :, ::-1]).any()


def test_some_pixels_are_the_first_photos(photos: LabelledPhotos) -> None:
    assert data.some_pixels(photos, 16, 5).shape == (5, 16, 16, 3)
    assert data.some_pixels(photos, 16).shape == (COUNT, 16, 16, 3)
    assert data.some_pixels(photos, 16, 2)[1, 0, 0, 0] == 10


def test_splits_that_share_a_photo_overlap(photos: LabelledPhotos) -> None:
    import dataclasses

    one, other, third = (
        dataclasses.replace(photos, positions=frozenset(places)) for places in ("ab", "bc", "cd")
    )
    assert data.overlap(one, other)
    assert not data.overlap(one, third)
    assert not data.overlap(third, one)


def test_decoding_begins_with_the_first_iterator(photos: LabelledPhotos) -> None:
    options = data.pixels_of_views(photos, (8, 8), [View.FULL]).options()
    assert options.experimental_warm_start
