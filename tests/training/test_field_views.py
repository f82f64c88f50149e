"""Views as in the field, made of photos that are drawn here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from keras_flowers.training import field_views
from keras_flowers.training.views import View

Pixels = npt.NDArray[np.uint8]

SIZE = (96, 96)


@pytest.fixture(scope="module")
def flower() -> Pixels:
    """A red disk on green, which fills most of the photo: uint8 [120, 160, 3]."""
    rows, columns = np.mgrid[:120, :160]
    inside = ((rows - 60) / 52) ** 2 + ((columns - 80) / 70) ** 2 < 1
    return np.where(inside[..., None], [220, 20, 20], [20, 120, 20]).astype(np.uint8)


def _view(photo: Pixels, index: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Pixels:
    picture: Pixels = field_views.field_view(photo, size, tf.constant([seed, 5]), index).numpy()
    return picture


def _red(picture: Pixels) -> npt.NDArray[np.bool_]:
    red = picture[..., 0].astype(int) > picture[..., 1].astype(int) + 40
    return np.asarray(red)


@pytest.mark.parametrize("index", range(len(field_views.FIELD_VIEWS)))
@pytest.mark.parametrize("size", [(96, 96), (33, 70), (224, 224)])
def test_seed_determines_a_view_of_any_size(
    flower: Pixels, index: int, size: tuple[int, int]
) -> None:
    one = _view(flower, index, 1, size)
    assert one.shape == (*size, 3) and one.dtype == np.uint8
    assert np.array_equal(one, _view(flower, index, 1, size))
    assert not np.array_equal(one, _view(flower, index, 2, size))


# Red, green and blue on average and the deviation of all, for two seeds of each kind of view.
SEEN = """
157.5 41.0 18.2 78.1
178.8 43.0 20.6 88.2
88.0 77.7 27.0 53.4
96.3 63.2 12.0 64.6
159.4 42.0 18.9 79.3
179.9 42.2 20.6 87.8
166.9 38.0 18.5 81.2
178.5 45.5 21.8 90.4
"""


def test_view_of_a_seed_is_what_it_was(flower: Pixels) -> None:
    """Cached features are found by a view's number: it must mean the same picture for ever."""
    found = []
    for index in range(len(field_views.FIELD_VIEWS)):
        for seed in (1, 2):
            picture = _view(flower, index, seed, (48, 64)).astype(float)
            found.append([*picture.mean(axis=(0, 1)), picture.std()])
    expected = [[float(one) for one in line.split()] for line in SEEN.strip().splitlines()]
    np.testing.assert_allclose(found, expected, atol=0.6)


def test_kinds_come_in_turn(flower: Pixels) -> None:
    count = len(field_views.FIELD_VIEWS)
    assert np.array_equal(_view(flower, 1), _view(flower, 1 + count))
    assert len({_view(flower, index).tobytes() for index in range(count)}) == count


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_each_part_of_a_bed_shows_the_flower(flower: Pixels, rows: int) -> None:
    picture = field_views.crowd(rows)(flower, (96, 96), tf.constant([3, 4])).numpy()
    side = 96 // rows
    for row in range(0, 96, side):
        for column in range(0, 96, side):
            part = _red(picture[row : row + side, column : column + side])
            assert 0.2 < part.mean()
    # Between the flowers is what lies around one: not one flower that fills the picture.
    assert _red(picture).mean() < 0.97


def test_flower_far_away_is_small_before_what_lies_around_it() -> None:
    rows, columns = np.mgrid[:120, :160]
    inside = ((rows - 60) / 30) ** 2 + ((columns - 80) / 40) ** 2 < 1
    photo = np.where(inside[..., None], [220, 20, 20], [20, 120, 20]).astype(np.uint8)
    shares = [_red(_view(photo, 1, seed)).mean() for seed in range(40)]
    assert 0.01 < min(shares) < 0.06
    assert np.median(shares) < 0.6 * _red(photo).mean() and max(shares) < 1.1 * _red(photo).mean()


def test_views_of_the_field_have_numbers_of_their_own() -> None:
    numbers = [View.FULL, View.FLIPPED]
    numbers += [View.random(index) for index in range(View.RANDOM_COUNT)]
    numbers += [View.field(index) for index in range(View.FIELD_COUNT)]
    assert sorted(numbers) == list(range(View.COUNT))
    assert View.field_index(View.field(7)) == 7
    assert View.field_index(View.random(View.RANDOM_COUNT - 1)) is None
    assert View.is_random(View.field(0))
