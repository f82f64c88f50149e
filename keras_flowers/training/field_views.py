"""Views in which a tidy photo looks as flowers do where people meet them.

A flower that fills a photo teaches nothing about a bed of them, or about one at the far end of a
lawn. Each view here is made of one photo alone, so that its features can be cached with that photo;
docs/recipe.md says what each kind is worth, and which were tried and left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import tensorflow as tf

from keras_flowers.training.tf_image import change_colours, cut, resize, to_bytes

_Kind: TypeAlias = Callable[[tf.Tensor, tuple[int, int], tf.Tensor], tf.Tensor]

_LEAST_SHARE, _MOST_SHARE = 0.3, 0.7  # of the picture's side, that a flower far away takes
_SOFT_EDGE = 0.35  # of the ellipse's radius, over which it fades into the background
_BACKGROUND_SIDE = 6  # pixels that are left of a background: as blurred as behind a near flower


def crowd(rows: int) -> _Kind:
    """A bed of flowers: `rows` x `rows` parts of the photo, each cut and coloured anew."""

    def view(photo: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
        count = rows * rows
        seeds = tf.random.split(seed, 6)
        sides = tf.sqrt(tf.random.stateless_uniform([count, 1], seeds[0], 0.3, 1.0))
        aspect = tf.exp(tf.random.stateless_uniform([count, 1], seeds[1], -0.25, 0.25))
        sides = tf.minimum(sides * tf.concat([aspect, 1 / aspect], axis=1), 1.0)
        corners = tf.random.stateless_uniform([count, 2], seeds[2]) * (1.0 - sides)
        tile = [-(-side // rows) for side in size]
        # Small before it is cut: parts that are shrunk by leaving pixels out would be grainy.
        small = resize(photo, (2 * tile[0], 2 * tile[1]))
        boxes = tf.concat([corners, corners + sides], axis=1)
        tiles = tf.image.crop_and_resize(small[None], boxes, tf.zeros([count], tf.int32), tile)
        mirrored = tf.random.stateless_uniform([count, 1, 1, 1], seeds[3]) < 0.5
        tiles = tf.where(mirrored, tf.reverse(tiles, axis=[2]), tiles)
        # Of each channel, and of all three: light from elsewhere, more or less of it.
        tiles *= tf.random.stateless_uniform([count, 1, 1, 3], seeds[4], 0.92, 1.08)
        tiles *= tf.random.stateless_uniform([count, 1, 1, 1], seeds[5], 0.8, 1.2)
        grid = tf.reshape(tiles, [rows, rows, *tile, 3])
        picture = tf.reshape(tf.transpose(grid, [0, 2, 1, 3, 4]), [rows * tile[0], -1, 3])
        return to_bytes(picture[: size[0], : size[1]])

    return view


def far_away(photo: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """The flower small, in an ellipse that fades into a blurred piece of the photo's own edge."""
    height, width = size
    seeds = tf.random.split(seed, 5)
    background = _background(photo, size, seeds[0])
    # The middle of the photo, where its flower is most often.
    part = tf.random.stateless_uniform([], seeds[1], 0.7, 1.0)
    flower = cut(photo, (1 - part) / 2, part)
    share = tf.random.stateless_uniform([], seeds[2], _LEAST_SHARE, _MOST_SHARE)
    # A box of the picture, from which each place of the picture is looked up in the flower.
    corner = tf.random.stateless_uniform([2], seeds[3]) * (1.15 - share) - 0.075  # may be cut off
    rows = ((tf.range(height, dtype=tf.float32) + 0.5) / height - corner[0]) / share
    columns = ((tf.range(width, dtype=tf.float32) + 0.5) / width - corner[1]) / share
    box = tf.stack([-corner[0], -corner[1], 1 - corner[0], 1 - corner[1]]) / share
    side = tf.cast(tf.math.ceil(share * height), tf.int32)
    small = tf.image.resize(tf.cast(flower, tf.float32), tf.stack([side, side]), antialias=True)
    placed = tf.image.crop_and_resize(small[None], box[None], [0], size)[0]
    radius = tf.sqrt((2 * rows[:, None] - 1) ** 2 + (2 * columns[None, :] - 1) ** 2)
    opaque = tf.clip_by_value((1.0 - radius) / _SOFT_EDGE, 0.0, 1.0)[..., None]
    picture = opaque * placed + (1 - opaque) * background
    return to_bytes(change_colours(picture, seeds[4]))


FIELD_VIEWS: Final[tuple[_Kind, ...]] = (crowd(3), far_away, crowd(4), crowd(2))
"""In the order in which they are taken in turn; each uint8 [h, w, 3], (height, width), int32 [2]
-> uint8 [height, width, 3]."""


def field_view(photo: tf.Tensor, size: tuple[int, int], seed: tf.Tensor, index: int) -> tf.Tensor:
    """The view `index` of those as in the field.

    Args:
        photo: uint8 [h, w, 3].
        size: Height and width of the result.
        seed: int32 [2]; with `index` it determines the view.
        index: Which, 0 or more: the kinds of `FIELD_VIEWS` in turn.

    Returns:
        uint8 [height, width, 3].
    """
    return FIELD_VIEWS[index % len(FIELD_VIEWS)](photo, size, seed)


def _background(photo: tf.Tensor, size: tuple[int, int], seed: tf.Tensor) -> tf.Tensor:
    """float32 [height, width, 3]: an edge of the photo, so blurred that it shows no flower."""
    small = tf.image.resize(tf.cast(photo, tf.float32), (32, 32), "area")
    strip = tf.where(
        tf.random.stateless_uniform([], seed) < 0.5, small[:8], tf.transpose(small, [1, 0, 2])[:8]
    )
    strip = tf.image.resize(strip, (_BACKGROUND_SIDE, _BACKGROUND_SIDE))
    return tf.image.resize(strip, size, "bicubic")
