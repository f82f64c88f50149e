"""Labelled photos -> tf.data of pixels and labels, decoded in parallel; a seed fixes all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_flowers.inference.image import read_photo
from keras_flowers.system import available_cores
from keras_flowers.training import tf_image
from keras_flowers.training.field_views import field_view
from keras_flowers.training.sources.inspection import FAST, inspect_split
from keras_flowers.training.sources.labelled import (
    LabelledPhotos,
    Part,
    label_photos,
    without_autotune,
)
from keras_flowers.training.sources.left_out import LeftOut, check_unreadable
from keras_flowers.training.sources.tfds import open_tfds
from keras_flowers.training.views import View, seed_of

__all__ = [
    "LabelledPhotos",
    "load_photos",
    "name_to_read",
    "overlap",
    "pixels",
    "pixels_of_views",
    "some_pixels",
    "without_autotune",
]

_SHUFFLE_BUFFER = 512  # JPEG files in memory
_UNBLENDED = 0.25  # share of the photos that are left alone where photos are blended


def load_photos(
    dataset: str, split: str, data_dir: str | None = None, cache_dir: Path | None = None
) -> LabelledPhotos:
    """Opens a split; downloads and prepares the data set first where it is not there yet.

    Args:
        dataset: A TFDS data set with the features `image` and `label`.
        split: A TFDS split expression, such as `train`, `validation[:50%]`, `train+validation`.
        data_dir: Where TFDS keeps data sets; None: `$TFDS_DATA_DIR`, `~/tensorflow_datasets`.
        cache_dir: Where what is found in photos is kept; None: nowhere.

    Raises:
        UserError: There is no such data set or split, it cannot be downloaded, or it is damaged.
    """
    source = open_tfds(dataset, data_dir)
    stored, found = inspect_split(source, split, cache_dir, with_looks=False)
    unreadable = np.flatnonzero(found.reasons != "")
    places = stored.places if len(unreadable) else []
    left_out = [
        LeftOut(source.name, str(found.labels[row]), places[row], str(found.reasons[row]))
        for row in unreadable.tolist()
    ]
    check_unreadable(left_out, len(found.reasons), f"{source.name} {split}", strict=False)
    readable = np.flatnonzero(found.reasons == "")
    place_of = {name: number for number, name in enumerate(source.labels)}
    found = found.rows(readable)
    numbers = np.array([place_of[label] for label in found.labels.tolist()], np.int64)
    return label_photos(
        [Part(stored, readable, found, numbers, source.name)],
        dataset=source.name,
        split=split,
        labels=source.labels,
        left_out=left_out,
        open_split=lambda other: load_photos(dataset, other, data_dir, cache_dir),
    )


def name_to_read(full_name: str) -> str:
    """What `load_photos` calls a data set that `LabelledPhotos.dataset` names.

    Where TFDS writes name/version it reads name:version.

    >>> name_to_read("oxford_flowers102/2.1.1"), name_to_read("a_set/a_config/1.0.0")
    ('oxford_flowers102:2.1.1', 'a_set/a_config:1.0.0')
    """
    name, _, version = full_name.rpartition("/")
    return f"{name}:{version}" if name else full_name


def overlap(one: LabelledPhotos, other: LabelledPhotos) -> bool:
    """Whether two splits share a photo (not a copy of it)."""
    return not one.positions.isdisjoint(other.positions)


def pixels(
    photos: LabelledPhotos,
    size: tuple[int, int],
    *,
    view: int = View.FULL,
    batch_size: int = 64,
    **options: Any,
) -> tf.data.Dataset:
    """One view of each photo, once, in stored order; the last partial batch too.

    Args:
        photos: What to read.
        size: Height and width of the result.
        view: As in `pixels_of_views`.
        batch_size: Photos in a batch.
        **options: As `pixels_of_views` takes them.

    Returns:
        tf.data of (uint8 [B, height, width, 3] 0..255 RGB, int64 [B] labels).
    """
    batches = pixels_of_views(photos, size, [view], batch_size=batch_size, **options)
    return batches.map(lambda pictures, labels: (tf.squeeze(pictures, axis=1), labels))


def pixels_of_views(
    photos: LabelledPhotos,
    size: tuple[int, int],
    views: Sequence[int],
    *,
    seed: int = 0,
    batch_size: int = 64,
    mixup: bool = False,
    order: int | None = None,
    threads: int | None = None,
) -> tf.data.Dataset:
    """Some views of each photo, which is decoded once for all of them; otherwise as `pixels`.

    Args:
        photos: What to read.
        size: Height and width of the result.
        views: `View.FULL`, `View.FLIPPED`, or `View.random(i)` for a random crop, mirrored half of
            the time, with its colours changed a little, or `View.field(i)`. Photo, view and seed
            determine it.
        seed: Of the random views.
        batch_size: Photos in a batch.
        mixup: Whether most photos have the same views of another photo laid over them (mixup,
            Zhang et al. 2018, but for the label, which stays that of the first).
        order: Seed of another order than the stored one.
        threads: How many decode; None: one for each core.

    Returns:
        tf.data of (uint8 [B, V, height, width, 3] 0..255 RGB, int64 [B] labels).
    """

    def seeds_of(view: int, index: tf.Tensor) -> tf.Tensor:
        return tf.stack([seed_of(seed, view), tf.gather(photos.seeds, index)])

    decode = _decoder(photos, size)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def read(index: tf.Tensor, data: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo = decode(index, data)
        whole = tf_image.squash(photo, size)  # TensorFlow leaves it out where no view needs it

        def picture(view: int) -> tf.Tensor:
            if view == View.FULL:
                return whole
            if view == View.FLIPPED:
                return tf.reverse(whole, axis=[1])
            seeds = seeds_of(view, index)
            in_field = View.field_index(view)
            if in_field is not None:
                return field_view(photo, size, seeds, in_field)
            return tf_image.random_view(photo, size, seeds)

        # Not tf.stack: that copies even a single one.
        pictures = tf.concat([picture(view)[None] for view in views], axis=0)
        return tf.ensure_shape(pictures, (len(views), *size, 3)), label

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def read_two(one: tuple[tf.Tensor, ...], other: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        pictures, label = read(*one)
        seeds = [seeds_of(view, one[0]) for view in views]
        shares = [tf.random.stateless_uniform([1, 1, 1], s, 0, 1 / (1 - _UNBLENDED)) for s in seeds]
        return _mixup(pictures, read(*other)[0], tf.minimum(tf.stack(shares), 1.0)), label

    records = photos.records if order is None else _shuffled(photos.records, order)
    if mixup:
        records = tf.data.Dataset.zip(records, _shuffled(records, seed_of(seed, views[0])))
    early = tf.data.Options()
    early.experimental_warm_start = True  # decodes as soon as there is an iterator
    return (
        records.map(
            read_two if mixup else read,
            num_parallel_calls=threads or available_cores(),
            deterministic=True,
        )
        .batch(batch_size)
        .prefetch(2)
        .with_options(early)
    )


def _decoder(
    photos: LabelledPhotos, size: tuple[int, int]
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """(index, bytes) -> uint8 [h, w, 3] that covers `size`, by each photo's own route."""
    if photos.are_upright_jpegs:
        return lambda _, data: tf_image.decode_jpeg(data, size)

    def through_pillow(data: bytes) -> npt.NDArray[np.uint8]:
        return np.asarray(read_photo(data, size))

    def decode(index: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        photo = tf.cond(
            tf.gather(photos.routes, index) == FAST,
            lambda: tf_image.decode_jpeg(data, size),
            lambda: tf.numpy_function(through_pillow, [data], tf.uint8, stateful=False),
        )
        return tf.ensure_shape(photo, (None, None, 3))

    return decode


def _shuffled(records: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    return records.shuffle(_SHUFFLE_BUFFER, seed, reshuffle_each_iteration=False)


def _mixup(one: tf.Tensor, other: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    mixed = share * tf.cast(one, tf.float32) + (1 - share) * tf.cast(other, tf.float32)
    return tf_image.to_bytes(mixed)


def some_pixels(photos: LabelledPhotos, image_size: int, count: int = 64) -> npt.NDArray[np.uint8]:
    """The first `count` photos, whole: uint8 [count, image_size, image_size, 3]."""
    batches = pixels(photos, (image_size, image_size), batch_size=count)
    first: npt.NDArray[np.uint8] = next(batches.as_numpy_iterator())[0]
    return first
