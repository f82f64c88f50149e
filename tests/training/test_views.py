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


def test_view_of_a_seed_is_what_it_was() -> None:
    """Cached features are found by a view's number: it must mean the same picture for ever."""
    found = []
    for seed in range(4):
        view = tf_image.random_view(tf.constant(PLACES), (20, 30), tf.constant([seed, 7])).numpy()
        found.append([*view.astype(float).mean(axis=(0, 1)), view.std()])
    expected = [
        [93.7, 47.2, 0.0, 53.2],
        [118.3, 64.7, 0.0, 61.8],
        [115.9, 69.2, 0.0, 67.9],
        [105.1, 75.6, 7.2, 47.6],
    ]
    np.testing.assert_allclose(found, expected, atol=0.6)


def test_colours_change_as_documented() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 6, 3)).astype(np.float32)
    for number in range(6):
        seed = tf.constant([number, 3])
        flip, *drawn = tf.random.stateless_uniform([4], seed).numpy().tolist()
        brightness, contrast, saturation = (0.8 + 0.4 * one for one in drawn)
        turned = pixels[:, ::-1] if flip < 0.5 else pixels
        grey = turned @ np.array([0.2989, 0.587, 0.114])
        coloured = saturation * turned + (1 - saturation) * grey[..., None]
        expected = brightness * (contrast * coloured + (1 - contrast) * turned.mean())
        found = tf_image.change_colours(tf.constant(pixels), seed).numpy()
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_part_has_at_least_a_pixel_and_begins_where_it_is_said() -> None:
    photo = tf.constant(PLACES)
    part = tf_image.cut(photo, tf.constant([0.25, 0.5]), tf.constant([0.5, 0.1])).numpy()
    assert part.shape == (60, 20, 3)
    assert part[0, 0].tolist() == [100, 30, 0]
    tiny = tf_image.cut(photo, tf.constant([0.5, 0.5]), tf.constant([0.0, 0.001])).numpy()
    assert tiny.shape == (1, 1, 3)
    rounded = tf_image.to_bytes(tf.constant([-3.0, 1.4, 1.6, 300.0])).numpy()
    assert rounded.tolist() == [0, 1, 2, 255]


def test_quarter_of_the_photos_is_left_alone_where_photos_are_blended() -> None:
    assert data._UNBLENDED == 0.25
    one, other = tf.zeros((2, 2, 3), tf.uint8), tf.fill((2, 2, 3), tf.constant(200, tf.uint8))
    assert data._mixup(other, one, tf.constant(1.0)).numpy().max() == 200
    assert data._mixup(other, one, tf.constant(0.25)).numpy().tolist() == [[[50] * 3] * 2] * 2
    assert data._mixup(one, other, tf.constant(0.998)).numpy().max() == 0  # rounded, not cut
