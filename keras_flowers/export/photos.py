"""The photos that exported files are calibrated and verified on; bad ones are left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference import formats, image

if TYPE_CHECKING:
    from keras_flowers.training.data import LabelledPhotos

logger = logging.getLogger(__name__)

_BATCH = 25
_READ_BY_ALL = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp"})


@dataclass(frozen=True)
class VerificationPhotos:
    """The photos to verify on.

    Attributes:
        source: Where they are from, in words.
        count: How many there are.
        items: For each its name, the bytes of its file, and its class or -1 where nobody says.
    """

    source: str
    count: int
    items: Iterable[tuple[str, bytes, int]]


def photos_of_split(photos: LabelledPhotos, *, limit: int | None = None) -> VerificationPhotos:
    """The first photos of a split.

    Args:
        photos: The split.
        limit: How many; None for all.
    """
    count = photos.count if limit is None else min(photos.count, limit)
    records = photos.records.take(count).as_numpy_iterator()
    items = ((f"photo {index}", content, int(label)) for index, content, label in records)
    return VerificationPhotos(f"{photos.dataset}, split {photos.split}", count, items)


def photos_of_folder(
    folder: Path, labels: Sequence[str], *, limit: int | None = None
) -> VerificationPhotos:
    """The first photos in a folder; those in a subfolder called as a class count as labelled.

    Args:
        folder: Where the photos are.
        labels: The names of the classes.
        limit: How many; None for all.

    Raises:
        UserError: There are none.
    """
    found = formats.find_photos(folder)
    paths = [path for path in found if path.suffix.lower() in _READ_BY_ALL][:limit]
    if not paths:
        missing = "holds no photos" if folder.is_dir() else "is not a folder"
        raise UserError(
            f"{folder} {missing}; expected a folder of photos: {', '.join(sorted(_READ_BY_ALL))}"
        )
    items = (
        (
            image.printable(path),
            path.read_bytes(),
            labels.index(path.parent.name) if path.parent.name in labels else -1,
        )
        for path in paths
    )
    return VerificationPhotos(image.printable(folder), len(paths), items)


def readable_batches(
    photos: LabelledPhotos, size: tuple[int, int]
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Reads labelled photos as training does; warns of those that cannot be read.

    Args:
        photos: What to read.
        size: Height and width of the result.

    Yields:
        uint8 [N, height, width, 3] 0..255 RGB, and int64 [N] labels.

    Raises:
        UserError: None of them can be read.
    """
    import tensorflow as tf

    from keras_flowers.training import tf_image

    files = tf.TensorSpec([None], tf.string)
    read = tf.function(lambda files: tf_image.read_pixels(files, size), [files], autograph=False)
    found = 0
    for indices, contents, labels in photos.records.batch(_BATCH).as_numpy_iterator():
        pixels, readable = (one.numpy() for one in read(contents))
        for index in indices[~readable]:
            logger.warning("left out photo %d of %s: it cannot be read", index, photos.dataset)
        if readable.any():
            found += int(readable.sum())
            yield pixels[readable], labels[readable]
    if not found:
        raise UserError(
            f"no photo of {photos.dataset}, split {photos.split}, can be read; "
            "remove the data set, so that it is prepared anew"
        )
