"""Files of the local disk, and of every file system that pyarrow opens: s3://, gs:// and others."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from keras_flowers.errors import UserError, missing_extra, reason_of
from keras_flowers.inference.formats import is_photo_folder
from keras_flowers.inference.image import MAX_BYTES
from keras_flowers.inference.text import printable

PAUSES = (1.0, 5.0)
"""Seconds before a photo is asked for again, which a busy bucket or a network has refused."""


class Place(NamedTuple):
    """Where a file is, in words that mean the same in another process and on another machine.

    Attributes:
        root: What pyarrow opens its file system by, such as "s3://bucket?region=eu-west-1"; ""
            for a local path.
        path: Its path there, as that file system calls it ("bucket/folder/file").
        size: Its bytes, where a listing said it; -1 otherwise.
        modified: When it was last changed, in nanoseconds since 1970, likewise.
    """

    root: str
    path: str
    size: int = -1
    modified: int = -1


class StoredFile(os.PathLike[str]):
    """A photo in another file system, which is fetched when it is its turn.

    As a path it is its name: no two photos have the same.
    """

    def __init__(self, name: str, place: Place) -> None:
        self._name = name
        self.place = place

    def __fspath__(self) -> str:
        return self._name


class Found(NamedTuple):
    """A file, with the name that its row gives it."""

    name: str
    place: Place


def is_uri(argument: str) -> bool:
    """Whether an argument names something in another file system.

    >>> is_uri("s3://garden/photos"), is_uri("C:/photos"), is_uri("photos/a.jpg")
    (True, False, False)
    """
    return re.match(r"[a-z][a-z0-9+.-]+://", argument, re.IGNORECASE) is not None


def without_secrets(argument: str) -> str:
    """An argument as it may be written down: without user, password and options.

    >>> without_secrets("s3://key:secret@garden/photos?region=eu"), without_secrets("a?.jpg")
    ('s3://garden/photos', 'a?.jpg')
    """
    if not is_uri(argument):
        return argument
    return re.sub(r"//[^/@]*@", "//", argument).partition("?")[0]


@functools.lru_cache(maxsize=64)
def file_system(root: str) -> tuple[Any, str]:
    """The pyarrow file system that a URI names, and the path there.

    Raises:
        UserError: pyarrow is not installed, or cannot open it.
    """
    try:
        from pyarrow import fs
    except ImportError:
        raise missing_extra("pyarrow", "scale") from None
    if root.lower().startswith(("http://", "https://")):
        raise UserError(
            f"{without_secrets(root)} is a page of the web; expected a path, s3://BUCKET/..., "
            "gs://BUCKET/... or another file system: download it first"
        )
    address, mark, options = root.partition("?")
    quoted = urllib.parse.quote(address, safe="/:@%+") + mark + options
    try:
        found, path = fs.FileSystem.from_uri(quoted)
    except Exception as error:
        raise UserError(
            f"{without_secrets(root)} cannot be opened ({reason_of(error)}); expected "
            "s3://BUCKET/..., gs://BUCKET/..., hdfs://HOST/... or abfss://..."
        ) from None
    return found, path


def open_file(place: Place) -> BinaryIO:
    """Opens a file for reading.

    Raises:
        OSError: It is not there, or cannot be read.
        UserError: There is no such file system.
    """
    if not place.root:
        return open(place.path, "rb")
    opened: BinaryIO = file_system(place.root)[0].open_input_file(place.path)
    return opened


def read_bytes(place: Place) -> bytes:
    """All bytes of a photo; what a network refuses is asked for again.

    Raises:
        UserError: It cannot be read, or is larger than any photo.
    """
    for pause in (*PAUSES, None):
        try:
            with open_file(place) as file:
                data = file.read(MAX_BYTES + 1)
            break
        except FileNotFoundError:
            raise UserError(f"{printable(place.path)} does not exist") from None
        except OSError as error:
            if pause is None:
                reason = reason_of(error)
                raise UserError(f"{printable(place.path)} cannot be read ({reason})") from None
            time.sleep(pause)
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{printable(place.path)} has more than {MAX_BYTES >> 20} MiB; expected a photo"
        )
    return bytes(data)


def walk_uri(uri: str) -> Iterator[Found]:
    """The files that a URI stands for: one file, all below a folder, or what a pattern matches.

    Listed folder by folder, in a stable order; only one folder's names are in memory. In a pattern,
    `*` and `[...]` have a meaning; `?` begins the options that pyarrow takes.

    Raises:
        UserError: There is no such file or folder, or it cannot be listed.
    """
    address, mark, options = uri.partition("?")
    fixed = address
    if set(address) & set("*["):
        first = min(address.index(sign) for sign in "*[" if sign in address)
        fixed = address[: address.rindex("/", 0, first)]
    opened, path = file_system(fixed + mark + options)
    name = without_secrets(fixed).rstrip("/")
    path = path.rstrip("/")
    start = Found(name, Place(fixed + mark + options, path))
    try:
        (info,) = opened.get_file_info([path])
        if fixed == address and info.is_file:
            yield Found(name, _as_listed(start.place, info))
            return
        if info.type.name == "NotFound":
            raise UserError(f"there is nothing at {printable(name)}; see what the folder above has")
        pattern = without_secrets(address) if fixed != address else None
        for found in _walk(opened, start):
            if pattern is None or _matches(found.name, pattern):
                yield found
    except OSError as error:
        raise UserError(f"{printable(name)} cannot be listed ({reason_of(error)})") from None


def _as_listed(place: Place, info: Any) -> Place:
    modified = -1 if info.mtime_ns is None else info.mtime_ns
    return place._replace(size=info.size, modified=modified)


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern means a name, as the shell understands it.

    >>> _matches("a/b/c.jpg", "a/*.jpg"), _matches("a/c.jpg", "a/*.jpg")
    (False, True)
    >>> _matches("a/b/c.jpg", "a/**/*.jpg"), _matches("a/c.jpg", "a/**/*.jpg")
    (True, True)
    """
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern.replace("**/", "*"))
    names, patterns = name.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatch.fnmatchcase, names, patterns))


def _walk(opened: Any, folder: Found) -> Iterator[Found]:
    from pyarrow import fs

    infos = opened.get_file_info(fs.FileSelector(folder.place.path))
    infos.sort(key=lambda info: info.base_name)
    for info in infos:
        if info.is_file and info.base_name:
            place = _as_listed(folder.place._replace(path=info.path), info)
            yield Found(f"{folder.name}/{info.base_name}", place)
    for info in infos:
        if not info.is_file and is_photo_folder(info.base_name):
            place = folder.place._replace(path=info.path)
            yield from _walk(opened, Found(f"{folder.name}/{info.base_name}", place))


def beside(table: Place, path: str) -> Place:
    """The file that a row of a table names: absolute, a URI, or relative to the table's folder.

    Raises:
        UserError: A URI of a kind whose paths only its own file system can tell.
    """
    if is_uri(path):
        scheme, _, rest = path.partition("://")
        if scheme not in ("s3", "gs", "gcs"):
            raise UserError(
                f"{printable(path)} cannot be a row of a table; expected a path, s3:// or gs://"
            )
        bucket = rest.partition("/")[0]
        # The options of the table's own address hold for its bucket (its region, its server).
        same = table.root.partition("?")[0].startswith(f"{scheme}://{bucket}")
        return Place(table.root if same else f"{scheme}://{bucket}", rest)
    if table.root:
        return Place(table.root, f"{table.path.rpartition('/')[0]}/{path}")
    return Place("", os.path.join(os.path.dirname(table.path), path))
