"""TFDS records -> tf.data of pixels and labels, decoded in parallel, deterministic for a seed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_flowers.errors import UserError
from keras_flowers.system import available_cores
from keras_flowers.training import tf_image
from keras_flowers.training.views import View, seed_of

_SHUFFLE_BUFFER = 512  # JPEG files in memory
_UNBLENDED = 0.25  # share of the photos that are left alone where photos are blended


@dataclass(frozen=True)
class LabelledPhotos:
    """The labelled photos of a split, still as JPEG bytes on disk.

    Attributes:
        dataset: Name and version of the data set, as TFDS writes them.
        split: The TFDS split expression.
        labels: The name of each class.
        count: How many photos there are.
        records: tf.data of (index int64 [], bytes string [], label int64 []) in stored order.
        fingerprint: Changes when the files on disk do; part of the key of kept features.
        positions: Where each photo lies, as (file name, number in the file).
        data_dir: Where TFDS keeps data sets, as `load_photos` takes it.
    """

    dataset: str
    split: str
    labels: tuple[str, ...]
    count: int
    records: tf.data.Dataset
    fingerprint: str
    positions: frozenset[tuple[str, int]]
    data_dir: str | None = None

    def of_split(self, split: str) -> LabelledPhotos:
        """Another split of the same data set."""
        return load_photos(name_to_read(self.dataset), split, self.data_dir)

    @functools.cached_property
    def are_upright_jpegs(self) -> bool:
        """Whether all are JPEG files without EXIF, as in most data sets; they are read once.

        TensorFlow's graph for any other file takes 1.5 ms a photo even where it is not entered:
        three times what decoding does.
        """
        upright = self.records.map(
            lambda _, data, __: tf_image.is_upright_jpeg(data), num_parallel_calls=available_cores()
        )
        return bool(upright.reduce(True, tf.logical_and))


def load_photos(dataset: str, split: str, data_dir: str | None = None) -> LabelledPhotos:
    """Opens a split; downloads and prepares the data set first where it is not there yet.

    Args:
        dataset: A TFDS data set with the features `image` and `label`.
        split: A TFDS split expression, such as `train`, `validation[:50%]`, `train+validation`.
        data_dir: Where TFDS keeps data sets; None: `$TFDS_DATA_DIR`, `~/tensorflow_datasets`.

    Raises:
        UserError: There is no such data set or split, it cannot be downloaded, or it is damaged.
    """
    builder = _builder(dataset, data_dir)
    features = builder.info.features
    if (
        "image" not in features
        or "label" not in features
        or not hasattr(features["label"], "names")
    ):
        raise UserError(
            f"{dataset} has the features {sorted(features)}; expected `image` and a class `label`"
        )
    try:
        info = builder.info.splits[split]
        # JPEG bytes, not pixels: data.py decodes them itself, no larger than needed.
        encoded = {"image": tfds.decode.SkipDecoding()}
        # Reading one file after the other keeps the order, which the index of a photo relies on.
        # TFDS would hold data sets of up to 250 MB in memory, though decoding takes longer.
        options = tfds.ReadConfig(
            interleave_cycle_length=1, skip_prefetch=True, try_autocache=False
        )
        records = builder.as_dataset(split=split, decoders=encoded, read_config=options)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{dataset} has no split {split!r} ({' '.join(str(error).split())[:120]}); "
            f"it has {', '.join(builder.info.splits)}"
        ) from None
    if info.num_examples == 0:
        raise UserError(f"the split {split!r} of {dataset} holds no photos")
    return LabelledPhotos(
        dataset=builder.info.full_name,
        split=split,
        labels=tuple(features["label"].names),
        count=info.num_examples,
        records=records.enumerate().map(_as_record).with_options(without_autotune()),
        fingerprint=_fingerprint(builder.data_path),
        positions=frozenset(
            (part.filename, number)
            for part in info.file_instructions
            for number in range(part.skip, part.skip + part.take)
        ),
        data_dir=data_dir,
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
    """Whether two splits of a data set share a photo."""
    return one.dataset == other.dataset and not one.positions.isdisjoint(other.positions)


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
) -> tf.data.Dataset:
    """Some views of each photo, which is decoded once for all of them; otherwise as `pixels`.

    Args:
        photos: What to read.
        size: Height and width of the result.
        views: `View.FULL`, `View.FLIPPED`, or `View.random(i)` for a random crop, mirrored half of
            the time, with its colours changed a little. Photo, view and seed determine it.
        seed: Of the random views.
        batch_size: Photos in a batch.
        mixup: Whether most photos have the same views of another photo laid over them (mixup,
            Zhang et al. 2018, but for the label, which stays that of the first).
        order: Seed of another order than the stored one.

    Returns:
        tf.data of (uint8 [B, V, height, width, 3] 0..255 RGB, int64 [B] labels).
    """

    def seeds_of(view: int, index: tf.Tensor) -> tf.Tensor:
        return tf.stack([seed_of(seed, view), tf.cast(index, tf.int32)])

    decode = tf_image.decode_jpeg if photos.are_upright_jpegs else tf_image.decode

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def read(index: tf.Tensor, data: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo = decode(data, size)
        whole = tf_image.squash(photo, size)  # TensorFlow leaves it out where no view needs it

        def picture(view: int) -> tf.Tensor:
            if view == View.FULL:
                return whole
            if view == View.FLIPPED:
                return tf.reverse(whole, axis=[1])
            return tf_image.random_view(photo, size, seeds_of(view, index))

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
            read_two if mixup else read, num_parallel_calls=available_cores(), deterministic=True
        )
        .batch(batch_size)
        .prefetch(2)
        .with_options(early)
    )


def _shuffled(records: tf.data.Dataset, seed: int) -> tf.data.Dataset:
    return records.shuffle(_SHUFFLE_BUFFER, seed, reshuffle_each_iteration=False)


def _mixup(one: tf.Tensor, other: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    mixed = share * tf.cast(one, tf.float32) + (1 - share) * tf.cast(other, tf.float32)
    return tf.saturate_cast(tf.round(mixed), tf.uint8)


def some_pixels(photos: LabelledPhotos, image_size: int, count: int = 64) -> npt.NDArray[np.uint8]:
    """The first `count` photos, whole: uint8 [count, image_size, image_size, 3]."""
    batches = pixels(photos, (image_size, image_size), batch_size=count)
    first: npt.NDArray[np.uint8] = next(batches.as_numpy_iterator())[0]
    return first


def without_autotune() -> tf.data.Options:
    """For all that is made of a data set: as many threads as there are cores, and no tuning of it.

    The thread that tunes sleeps 10 ms, 20 ms, 40 ms, ... between its looks, and who drops an
    iterator waits until it wakes up: each pass would last 0.6, 1.3, 2.6, 5.1, ... seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def _as_record(index: tf.Tensor, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
    return index, example["image"], example["label"]


def _builder(dataset: str, data_dir: str | None) -> Any:
    try:
        builder = tfds.builder(dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UserError(
            f"TensorFlow Datasets has no data set {dataset!r}; see tfds.list_builders()"
        ) from None
    except Exception as error:
        raise UserError(f"the data set {dataset} cannot be opened ({_first_line(error)})") from None
    if not Path(builder.data_path).is_dir():
        print(f"{builder.info.full_name} is not in {builder.data_dir} yet: downloading it")
        try:
            builder.download_and_prepare()
        except Exception as error:
            raise UserError(
                f"{dataset} is not at {builder.data_path} and cannot be downloaded "
                f"({_first_line(error)}); name the folder that holds it with --data_dir, "
                "or try everything without a download: python -m keras_flowers.train --demo"
            ) from None
    return builder


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _fingerprint(folder: str) -> str:
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return ",".join(f"{path.name}:{path.stat().st_size}" for path in files)
