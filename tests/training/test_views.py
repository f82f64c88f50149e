"""Random views: which part of a photo, how often mirrored, how often under another photo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import tensorflow as tf

from keras_flowers.training import data, tf_image

HEIGHT, WIDTH = 120, 200
PLACES = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
PLACES[..., 0], PLACES[..., 1] = np.arange(WIDTH)[None], np.arange(HEIGHT)[:, None]
COUNT = 400


@pytest.fixture(scope="module")
def parts() -> list[tuple[float, float, float, float, bool]]:
    """Left, top, width and height as shares of the photo, and whether it is mirrored."""
    found = []
    whole: list[Any] = []
    resize = tf_image.resize
    try:
        tf_image.resize = lambda crop, size: whole.append(crop) or tf.cast(crop, tf.float32)
        for seed in range(COUNT):
            view = tf_image.random_view(tf.constant(PLACES), (9, 9), tf.constant([seed, 7])).numpy()
            crop = whole[-1].numpy()
            height, width, _ = crop.shape
            left, top = crop[0, 0, 0] / WIDTH, crop[0, 0, 1] / HEIGHT
            is_mirrored = view[:, 0, 0].mean() > view[:, -1, 0].mean()
            found.append((left, top, width / WIDTH, height / HEIGHT, bool(is_mirrored)))
    finally:
        tf_image.resize = resize
    return found


def test_parts_have_a_third_to_all_of_the_photo(parts: list[tuple[float, ...]]) -> None:
    _, _, width, height, _ = np.array(parts).T
    area = width * height
    assert 0.30 < area.min() < 0.42
    assert area.max() > 0.93
    aspect = width / height
    assert 1.22 < aspect.max() < 1.31 and 0.76 < aspect.min() < 0.82
    assert width.max() <= 1 and height.max() <= 1


def test_parts_lie_anywhere_in_the_photo(parts: list[tuple[float, ...]]) -> None:
    left, top, width, height, _ = np.array(parts).T
    assert (left + width).max() <= 1.0 + 1e-6 and (top + height).max() <= 1.0 + 1e-6
    across, down = left / np.maximum(1 - width, 0.05), top / np.maximum(1 - height, 0.05)
    small = (width < 0.9) & (height < 0.9)
    for place in (across[small], down[small]):
        assert place.min() < 0.1 and place.max() > 0.9
        assert 0.4 < place.mean() < 0.6
    # Across and down are chosen independently.
    assert abs(np.corrcoef(across[small], down[small])[0, 1]) < 0.2


def test_half_of_the_views_are_mirrored(parts: list[tuple[float, ...]]) -> None:
    assert 0.42 < np.mean([one[-1] for one in parts]) < 0.58


def test_seed_determines_the_view() -> None:
    views = [
        tf_image.random_view(tf.constant(PLACES), (20, 30), tf.constant(seed)).numpy()
        for seed in ((1, 2), (1, 2), (1, 3), (2, 2))
    ]
    assert views[0].shape == (20, 30, 3)
    assert views[0].dtype == np.uint8
    np.testing.assert_array_equal(views[0], views[1])
    assert all((views[0] != other).mean() > 0.1 for other in views[2:])


def test_quarter_of_the_photos_is_left_alone_where_photos_are_blended() -> None:
    assert data._UNBLENDED == 0.25
    one, other = tf.zeros((2, 2, 3), tf.uint8), tf.fill((2, 2, 3), tf.constant(200, tf.uint8))
    assert data._mixup(other, one, tf.constant(1.0)).numpy().max() == 200
    assert data._mixup(other, one, tf.constant(0.25)).numpy().tolist() == [[[50] * 3] * 2] * 2
    assert data._mixup(one, other, tf.constant(0.998)).numpy().max() == 0  # rounded, not cut
