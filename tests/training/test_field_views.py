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


# Red, green and blue on average and the deviation of all, for three seeds of each kind of view.
SEEN = """
157.5 71.0 90.1 75.8
178.8 78.4 105.1 84.1
179.5 75.5 88.7 82.9
91.9 109.6 70.7 58.6
94.8 93.5 55.3 69.0
89.3 82.1 62.2 52.9
159.4 71.2 94.1 76.9
179.9 77.4 102.5 83.6
175.9 70.1 91.5 81.6
166.9 72.2 88.3 78.0
178.5 80.7 109.5 86.6
176.0 65.2 88.6 79.5
"""


def test_view_of_a_seed_is_what_it_was(flower: Pixels) -> None:
    """Cached features are found by a view's number: it must mean the same picture for ever."""
    uneven = flower.copy()  # so that each edge is another one
    uneven[..., 2] = np.arange(120)[:, None] + np.arange(160) // 2
    uneven[:30, :, 1] = 240
    found = []
    for index in range(len(field_views.FIELD_VIEWS)):
        for seed in (1, 2, 3):
            picture = _view(uneven, index, seed, (48, 64)).astype(float)
            found.append([*picture.mean(axis=(0, 1)), picture.std()])
    expected = [[float(one) for one in line.split()] for line in SEEN.strip().splitlines()]
    np.testing.assert_allclose(found, expected, atol=0.3)


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
