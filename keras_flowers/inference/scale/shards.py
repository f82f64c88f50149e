"""Parquet and tar files that hold the bytes of photos."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any

from keras_flowers.errors import UserError, missing_extra, reason_of
from keras_flowers.inference.bulk import PhotoInput
from keras_flowers.inference.formats import is_photo_name
from keras_flowers.inference.image import MAX_BYTES
from keras_flowers.inference.scale.places import Place, open_file
from keras_flowers.inference.text import printable

TAR_SUFFIXES = frozenset({".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"})

SUFFIXES = TAR_SUFFIXES | {".parquet"}
"""The endings of the files that are taken for shards in a folder without photos."""

_CONTENT = ("bytes", "image", "photo", "content", "jpg", "jpeg")
"""The columns that are looked at for the bytes of photos, in this order: plain bytes, or a struct
with the fields `bytes` and `path`, as the Hugging Face Hub's data sets have them."""

_NAMES = ("path", "name", "file_name", "filename", "photo", "__key__", "key", "id")
"""The columns that are looked at for what a photo is called."""

_ROWS_AT_A_TIME = 16

_TOO_LARGE = UserError(f"the photo has more than {MAX_BYTES >> 20} MiB; make it smaller first")


def pieces_of_parquet(
    place: Place, name: str, photos: int
) -> list[tuple[tuple[int, int], int]] | None:
    """Where to cut a Parquet file with photos inside.

    Args:
        place: The file.
        name: What it is called.
        photos: About how many a piece is to have; a row group is never cut.

    Returns:
        For each piece its first row group and the first that is not of it, and its photos; None
        for a file without a column of bytes, which is a table.

    Raises:
        UserError: It cannot be read.
    """
    try:
        shard = open_file(place)
    except OSError as error:
        raise UserError(f"{printable(name)} cannot be read ({reason_of(error)})") from None
    with shard as file:
        opened = _parquet(file, name)
        if _content_column(opened.schema_arrow) is None:
            return None
        pieces: list[tuple[tuple[int, int], int]] = []
        first = count = 0
        for group in range(opened.num_row_groups):
            rows = opened.metadata.row_group(group).num_rows
            if count and count + rows > photos:
                pieces.append(((first, group), count))
                first, count = group, 0
            count += rows
        if count:
            pieces.append(((first, opened.num_row_groups), count))
        return pieces


def read_parquet(place: Place, name: str, rows: tuple[int, int]) -> Iterator[PhotoInput]:
    """The photos in some row groups, called FILE#NAME, or FILE#NUMBER where the rows have no name.

    A few are in memory at a time, however large the row groups are. A file that is damaged gives
    what comes before, and then a row of its own.

    Raises:
        UserError: Another file system does not give the file.
    """
    try:
        with open_file(place) as file:
            yield from _rows(_parquet(file, name), name, rows)
    except (OSError, ValueError, UserError) as error:
        yield _broken(place, name, error)


def _rows(opened: Any, name: str, rows: tuple[int, int]) -> Iterator[PhotoInput]:
    column = _content_column(opened.schema_arrow)
    if column is None:
        raise ValueError("it has no column of bytes any more")
    called = _name_column(opened.schema_arrow, column)
    first, end = rows
    number = sum(opened.metadata.row_group(group).num_rows for group in range(first))
    wanted = [column, *([called] if called else [])]
    for batch in opened.iter_batches(_ROWS_AT_A_TIME, list(range(first, end)), columns=wanted):
        for row in batch.to_pylist():
            content: Any = row[column]
            label = row[called] if called else None
            if isinstance(content, dict):
                content, label = content.get("bytes"), content.get("path") or label
            label = number if label is None else label
            yield PhotoInput(f"{name}#{label}", _checked(content))
            number += 1


def _broken(place: Place, name: str, error: Exception) -> PhotoInput:
    """The row of a shard that cannot be read whole.

    Raises:
        UserError: It is in another file system, which may give it another time: no row may say for
            good what a network did.
    """
    reason = f"{printable(name)} cannot be read whole ({reason_of(error)})"
    if place.root and isinstance(error, OSError):
        raise UserError(f"{reason}; run the same command again, which does what is left") from None
    return PhotoInput(name, UserError(f"{reason}; what is in front of it is answered"))


def _checked(content: bytes | None) -> bytes | UserError:
    if content is None:
        return UserError("the row has no bytes; expected those of a photo")
    return _TOO_LARGE if len(content) > MAX_BYTES else content


def _parquet(file: Any, name: str) -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "scale") from None
    try:
        # Without these, whole row groups would be read at once.
        return pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, ValueError) as error:
        raise UserError(f"{printable(name)} cannot be read ({reason_of(error)})") from None


def _content_column(schema: Any) -> str | None:
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(
                kind.field(number).name == "bytes" and holds_bytes(kind.field(number).type)
                for number in range(kind.num_fields)
            )
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    there = {field.name: field.type for field in schema}
    return next((one for one in _CONTENT if one in there and holds_bytes(there[one])), None)


def _name_column(schema: Any, content: str) -> str | None:
    return next((one for one in _NAMES if one in schema.names and one != content), None)


def read_tar(place: Place, name: str) -> Iterator[PhotoInput]:
    """The photos in a tar file, called FILE#NAME; other files in it are passed over.

    A tar file that is damaged or cut off gives what comes before, and then a row of its own.

    Raises:
        UserError: Another file system does not give the file.
    """
    try:
        with open_file(place) as file, tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                if not member.isfile() or not is_photo_name(member.name.rpartition("/")[2]):
                    continue
                if member.size > MAX_BYTES:
                    yield PhotoInput(f"{name}#{member.name}", _TOO_LARGE)
                    continue
                content = archive.extractfile(member)
                yield PhotoInput(f"{name}#{member.name}", content.read() if content else b"")
    except (OSError, EOFError, tarfile.TarError, UserError) as error:
        yield _broken(place, name, error)
