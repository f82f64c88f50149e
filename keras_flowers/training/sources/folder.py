"""A folder with a folder of photos for each class, or train/, val/ and test/ of such folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from keras_flowers.errors import UserError
from keras_flowers.inference.formats import find_photos
from keras_flowers.inference.text import printable
from keras_flowers.progress import progress_bar
from keras_flowers.training.sources.source import (
    ALL,
    UNKNOWN,
    FilePhotos,
    FileSource,
    in_order,
    normal_split,
)

_logger = logging.getLogger(__name__)

_LAYOUT = "expected a folder of photos for each class, or train/, validation/ and test/ with such"


def open_folder(folder: Path, names: Mapping[str, str] | None = None) -> FileSource:
    """Lists the photos of a folder; reads none.

    Args:
        folder: Keras's, torchvision's, Ultralytics's, TFDS's or Udacity's layout.
        names: The name of each class folder (Udacity's `cat_to_name.json`); None: its own.

    Raises:
        UserError: It has no folders with photos, or `names` lacks one.
    """
    parts = _parts_of(folder)
    splits = {}
    bar = progress_bar(total=None, unit=" photos", description=f"listing {printable(folder)}")
    with bar:
        for split, parents in parts.items():
            places, labels = [], []
            for parent in parents:
                for one in _folders_in(parent):
                    name = _name_of(one, names)
                    # Links are read where they lead, but named as they stand here.
                    found = find_photos(one, _warn)
                    places += [str(path.relative_to(folder)) for path in found]
                    labels += [name] * len(found)
                    bar.update(len(found))
            splits[split] = FilePhotos(folder, places, labels)
    counted = {label for photos in splits.values() for label in photos.labels}
    if not counted:
        raise UserError(f"{printable(folder)} has no folders with photos in them; {_LAYOUT}")
    folders = [
        one for parents in parts.values() for parent in parents for one in _folders_in(parent)
    ]
    order = in_order(one.name for one in folders)
    labels = [
        _name_of(one, names) for one in sorted(folders, key=lambda one: order.index(one.name))
    ]
    in_classes = [name for name in dict.fromkeys(labels) if name in counted and name != UNKNOWN]
    loose = sum(len(list(_files_in(parent))) for parents in parts.values() for parent in parents)
    if loose:
        _logger.warning(
            f"{printable(folder)}: {loose} files lie in no class's folder and are not read"
        )
    return FileSource(folder.resolve().name, str(folder.resolve()), tuple(in_classes), splits)


def _parts_of(folder: Path) -> dict[str, list[Path]]:
    """The folders that hold the folders of classes, by split."""
    parts: dict[str, list[Path]] = {}
    others = []
    for one in _folders_in(folder):
        split = normal_split(one.name)
        # A class may be called "test": a split has folders in it.
        if split is not None and any(_folders_in(one)):
            parts.setdefault(split, []).append(one)
        else:
            others.append(one.name)
    if "train" not in parts:
        return {ALL: [folder]}
    if others:
        _logger.warning(
            f"{printable(folder)} has splits; beside them these are not read: {', '.join(others)}"
        )
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def _folders_in(folder: Path) -> list[Path]:
    try:
        # What starts with a dot or @ belongs to programs (.git, .thumbnails, @eaDir of a NAS).
        return sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0] not in ".@")
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be listed ({error.strerror})") from None


def _files_in(folder: Path) -> Iterator[Path]:
    return (one for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))


def _name_of(folder: Path, names: Mapping[str, str] | None) -> str:
    if names is None or folder.name == UNKNOWN:
        return folder.name
    if folder.name not in names:
        raise UserError(
            f"--category_names has no name for the folder {printable(folder.name)}; expected one "
            "for each folder of photos"
        )
    return names[folder.name]


def _warn(error: OSError) -> None:
    _logger.warning(f"{error.filename} cannot be listed ({error.strerror}): its photos are missing")
