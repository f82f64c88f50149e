"""What the arguments of a long run stand for: photos as files, and shards with photos inside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.bulk import STDIN, expand, no_photos, photos_at
from keras_flowers.inference.formats import is_photo_name
from keras_flowers.inference.photo_table import SUFFIXES, read_rows
from keras_flowers.inference.scale import shards
from keras_flowers.inference.scale.places import (
    Found,
    Place,
    beside,
    is_uri,
    open_file,
    walk_uri,
    without_secrets,
)
from keras_flowers.inference.text import printable


class Input(NamedTuple):
    """A photo, or a file with photos inside.

    Attributes:
        name: What its row is called, or what the rows of its photos begin with.
        place: Where it is.
        error: Why it cannot be read, where that is known already.
        rows: For a piece of a Parquet file: its first row group, and the first that is not of it.
        photos: How many photos are inside; None where only reading it tells.
    """

    name: str
    place: Place
    error: str = ""
    rows: tuple[int, int] | None = None
    photos: int | None = 1

    @property
    def is_shard(self) -> bool:
        """Whether it is a file with photos inside."""
        return self.photos != 1 or self.rows is not None


def find_all(arguments: Sequence[str], photos_of_a_piece: int) -> Iterator[Input]:
    """The photos and shards that the arguments stand for, in their order, as they are found.

    Args:
        arguments: Paths and patterns as `bulk.find_inputs` takes them, but for "-"; addresses that
            pyarrow opens (s3://, gs://, ...); each may be a photo, a folder, a table with a column
            `path` (CSV, JSON lines, Parquet), a Parquet file with the bytes of photos inside, or a
            .tar with photos inside. Of a folder without photos, its .parquet and .tar files are
            taken.
        photos_of_a_piece: Parquet files are cut between row groups, into pieces of about so many.

    Raises:
        UserError: There are no photos, or an argument is something else.
    """
    if STDIN in arguments:
        raise UserError("- is a single photo, which needs no parts; leave --output FOLDER out")
    count = 0
    for argument in arguments:
        for one in _local(argument, arguments) if not is_uri(argument) else _remote(argument):
            for each in _within(one, photos_of_a_piece):
                count += 1
                yield each
    if not count:
        raise no_photos(list(map(without_secrets, arguments)))


def _local(argument: str, arguments: Sequence[str]) -> Iterator[Input]:
    for path in expand([argument]):
        if os.path.isdir(path):
            count = 0
            for photo in photos_at(path, arguments):
                count += 1
                yield _photo(photo.name, photo.source)
            if not count:
                yield from _local_shards(Path(path))
        elif _ending(path) in {*SUFFIXES, *shards.TAR_SUFFIXES}:
            yield Input(path, _listed(path), photos=None)
        else:
            for photo in photos_at(path, arguments):
                yield _photo(photo.name, photo.source)


def _photo(name: str, source: Any) -> Input:
    if isinstance(source, UserError):
        return Input(name, Place("", name), str(source).removeprefix(f"{printable(name)} "))
    return Input(name, _listed(os.fspath(source)))


def _local_shards(folder: Path) -> Iterator[Input]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _ending(path.name) in shards.SUFFIXES:
            yield Input(str(path), _listed(str(path)), photos=None)


def _listed(path: str) -> Place:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Place("", path)
    return Place("", path, status.st_size, status.st_mtime_ns)


def _remote(argument: str) -> Iterator[Input]:
    found_photo = False
    left: list[Found] = []
    is_one = "*" not in argument and _ending(without_secrets(argument)) != ""
    for found in walk_uri(argument):
        ending = _ending(found.name)
        if is_photo_name(found.name.rpartition("/")[2]):
            found_photo = True
            yield Input(found.name, found.place)
        elif ending in shards.SUFFIXES or (is_one and ending in SUFFIXES):
            left.append(found)
    if not found_photo:
        for found in left:
            yield Input(found.name, found.place, photos=None)


def _ending(name: str) -> str:
    """The ending by which tables and shards are known; of "a.tar.gz", both.

    >>> _ending("a.TAR.gz"), _ending("b.csv"), _ending("c.tar")
    ('.tar.gz', '.csv', '.tar')
    """
    stem, last = os.path.splitext(name.lower())
    return ".tar" + last if last in (".gz", ".bz2", ".xz") and stem.endswith(".tar") else last


def _within(one: Input, photos_of_a_piece: int) -> Iterator[Input]:
    """What a table stands for, and the pieces of a shard; a photo itself."""
    ending = _ending(one.name)
    if one.photos is not None or ending in shards.TAR_SUFFIXES:
        yield one
        return
    if ending == ".parquet":
        pieces = shards.pieces_of_parquet(one.place, one.name, photos_of_a_piece)
        if pieces is not None:
            for rows, photos in pieces:
                yield one._replace(rows=rows, photos=photos)
            return
    yield from _of_table(one)


def _of_table(table: Input) -> Iterator[Input]:
    try:
        file = open_file(table.place)
    except OSError as error:
        reason = reason_of(error)
        raise UserError(f"the table {printable(table.name)} cannot be read ({reason})") from None
    with file:
        for number, row in enumerate(read_rows(file, table.name, required=["path"]), start=1):
            path = str(row.get("path") or "").strip()
            if not path:
                raise UserError(f"row {number} of {printable(table.name)} has no path")
            # The row is called as the table calls it, so that both can be joined.
            yield Input(path, beside(table.place, path))
