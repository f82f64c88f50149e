"""Where labelled photos come from: folders, tables, TFDS sets, or several of them at once.

Photos are read in place. A TFDS data set made of a folder would bring TFDS's split expressions for
nothing, at the price of a copy of all photos on disk, to be made again whenever one is added; and
its name is the same for every folder. Read in place, a photo is known by the hash of its bytes:
wherever it lies, its split, its random views and its cached features stay the same.

A new kind of source is one new file: something with the `name`, `labels`, `counts` and `photos`
of `source.Source` (`FileSource` does for everything that is files), and a line in `open_source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.errors import UserError
from keras_flowers.files import read_json
from keras_flowers.inference.photo_table import SUFFIXES
from keras_flowers.inference.text import printable, refuse_url
from keras_flowers.training.sources.folder import open_folder
from keras_flowers.training.sources.label_map import NO_FILE, read_label_map
from keras_flowers.training.sources.source import Source
from keras_flowers.training.sources.table import open_table

if TYPE_CHECKING:
    from keras_flowers.training.sources.photo_set import PhotoSet

__all__ = ["Source", "is_there", "open_photos", "open_source"]

_TFDS = "tfds:"


def open_source(
    text: str, *, data_dir: str | None = None, category_names: str | None = None
) -> Source:
    """Opens a source by what a user calls it.

    Args:
        text: A folder, a table (`.csv`, `.jsonl`, `.parquet`), or a TFDS data set: its name, with
            or without `tfds:` in front, or the folder of a prepared version.
        data_dir: Where TFDS keeps data sets.
        category_names: A JSON file with the name of each class folder or label.

    Raises:
        UserError: There is no such source, or it holds no labelled photos.
    """
    from keras_flowers.training.sources.tfds import is_prepared, open_tfds

    names = None if category_names is None else _read_names(Path(category_names))
    path = Path(text).expanduser()
    if (name := _tfds_name(text)) is not None:
        return open_tfds(name, data_dir)
    if path.is_dir():
        return open_tfds(text) if is_prepared(path) else open_folder(path, names)
    refuse_url(text)
    if path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise UserError(f"{printable(text)} does not exist; expected a table of photos")
        return open_table(path, names)
    raise UserError(
        f"--data {printable(text)} does not exist; expected a folder of photos, a table "
        "(.csv, .jsonl, .parquet) or the name of a TFDS data set"
    )


def is_there(text: str) -> bool:
    """Whether a source that is a folder or a table lies where it says; true of TFDS data sets."""
    return _tfds_name(text) is not None or Path(text).expanduser().exists()


def check_available(data: Sequence[str], data_dir: str | None) -> None:
    """Refuses sources that are TFDS data sets and cannot be had, in seconds and without TensorFlow.

    Args:
        data: Sources, as `open_source` takes them; those that are files are not looked at.
        data_dir: Where TFDS keeps data sets.

    Raises:
        UserError: There is no such data set, or it would have to be downloaded and no server of it
            can be reached.
    """
    names = [name for name in map(_tfds_name, data) if name is not None]
    needed = ("tensorflow", "keras", "tensorflow_datasets")
    if not names or not all(map(find_spec, needed)):  # what is missing is said where it is imported
        return
    from keras_flowers.training.sources import tfds

    for name in names:
        tfds.check_available(name, data_dir)


def open_photos(
    data: Sequence[str],
    *,
    data_dir: str | None = None,
    category_names: str | None = None,
    label_map: Sequence[str] = (),
    cache_dir: Path | None = None,
    strict: bool = False,
    division: Path | None = None,
    labels: tuple[str, ...] | None = None,
    new_labels: bool = False,
    divide: bool = True,
) -> PhotoSet:
    """Opens sources, looks into their photos, and divides those that come without splits.

    Args:
        data: The sources, as `open_source` takes them; the first decides the classes' order.
        data_dir: Where TFDS keeps data sets.
        category_names: A JSON file with the names of class folders or labels.
        label_map: Files of `their name,our name`: one for all sources, or one for each in their
            order, with `-` for none.
        cache_dir: Where what is found in photos is kept; None: nowhere.
        strict: Refuses a source with a photo that cannot be read.
        division: The `split.csv` of an earlier run, whose photos keep their sides.
        labels: The classes of a model that is there already; None: those of the sources.
        new_labels: Whether the sources may add to `labels`; there are photos to learn each of all
            classes from then.
        divide: Whether sources without splits are divided; else all is in the split `photos`.

    Raises:
        UserError: What is wrong with a source, or with what was asked of it.
    """
    from keras_flowers.training.sources.join import join_sources
    from keras_flowers.training.sources.photo_set import read_division

    if len(label_map) not in (0, 1, len(data)):
        raise UserError(
            f"{len(label_map)} --label_map for {len(data)} --data; expected one for all, or one "
            "for each (- for none)"
        )
    maps = list(label_map) * len(data) if len(label_map) == 1 else list(label_map)
    read = [read_label_map(Path(one)) for one in maps or [NO_FILE] * len(data)]
    return join_sources(
        [open_source(one, data_dir=data_dir, category_names=category_names) for one in data],
        read,
        cache_dir=cache_dir,
        strict=strict,
        earlier=None if division is None else read_division(division),
        labels=labels,
        new_labels=new_labels,
        divide=divide,
    )


def _tfds_name(text: str) -> str | None:
    """What TFDS calls a source; None for what lies, or should lie, in a file."""
    if text.startswith(_TFDS):
        return text.removeprefix(_TFDS)
    path = Path(text).expanduser()
    is_file = path.is_dir() or path.suffix.lower() in SUFFIXES
    is_name = re.fullmatch(r"[A-Za-z]\w*(/\w+)?(:[\d.*]+)?", text)
    return text if is_name and not is_file else None


def _read_names(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        raise UserError(f"--category_names {printable(path)} does not exist")
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(one, str) for one in content.values()):
        raise UserError(
            f"--category_names {printable(path)}: expected a JSON object of names by folder, such "
            'as {"1": "pink primrose"}'
        )
    return content
