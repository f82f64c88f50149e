"""The photos that the versions of a model are verified on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.errors import UserError
from keras_flowers.inference import formats
from keras_flowers.inference.text import printable

if TYPE_CHECKING:
    from keras_flowers.training.data import LabelledPhotos


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
    paths = formats.find_photos(folder)[:limit]
    if not paths:
        missing = "holds no photos" if folder.is_dir() else "is not a folder"
        raise UserError(f"{printable(folder)} {missing}; expected a folder of photos")
    items = (
        (
            printable(path),
            path.read_bytes(),
            labels.index(path.parent.name) if path.parent.name in labels else -1,
        )
        for path in paths
    )
    return VerificationPhotos(printable(folder), len(paths), items)
