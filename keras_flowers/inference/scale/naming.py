"""What a worker does: it names the photos of a part, and gives a table with a row for each."""

from __future__ import annotations

import faulthandler
import functools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_flowers.errors import UserError, missing_extra
from keras_flowers.files import atomic_replace
from keras_flowers.inference.bulk import PhotoInput, Read, predict_photos, read_input
from keras_flowers.inference.classifier import Classifier, Origin, load_again
from keras_flowers.inference.columns import Cell, cells, column_names
from keras_flowers.inference.image import load_readers
from keras_flowers.inference.scale.child import Child
from keras_flowers.inference.scale.places import StoredFile, read_bytes
from keras_flowers.inference.scale.plan import Part, photos_of
from keras_flowers.inference.scale.work import WorkerDiedError

if TYPE_CHECKING:
    import pyarrow

NUMBERS = ("probability", "known", "latitude", "longitude")
"""What the names of the columns of numbers begin with; the others are text."""


@dataclass(frozen=True)
class Job:
    """What all workers are told.

    Attributes:
        origin: The model, and how it is loaded.
        labels: The names of its classes.
        thresholds: From where on something is said; None for a model without doubt.
        digest: Of the model's files: in every row.
        top_k: How many names a row has.
        cores: How many threads read photos; the model has as many.
        photo_seconds: A photo that takes longer to read is given up.
        content: The model's file, for machines where it may not be; None where it is surely there.
    """

    origin: Origin
    labels: tuple[str, ...]
    thresholds: Mapping[str, float] | None
    digest: str
    top_k: int
    cores: int
    photo_seconds: float
    content: bytes | None = None


def start_naming(job: Job) -> Callable[[Part, bool], pyarrow.Table]:
    """Loads the model, once, and gives what names the photos of a part with it.

    Raises:
        UserError: The model is not on this machine, or another one is in its place.
    """
    origin = job.origin._replace(path=_here(job))
    classifier = load_again(origin, job.labels, job.thresholds)
    # The same threads for all parts. glibc gives a new thread memory that is its own, and keeps it
    # when the thread ends: a worker of Ray, which has many threads, grew by 8 MB with each part.
    threads = ThreadPoolExecutor(job.cores)
    # The bytes of its file are not needed any more.
    return functools.partial(_name_part, classifier, replace(job, content=None), threads)


def _here(job: Job) -> Path:
    """Where the model is on this machine; it is written there where it came along."""
    path = job.origin.path
    if path.exists() and digest_of_model(path) == job.digest:
        return path
    if job.content is None:
        raise UserError(
            f"{path} is not on every machine, or not the same; expected a .tflite or a .keras "
            "file, which is sent along, or a folder that all machines share"
        )
    copy = Path(tempfile.gettempdir(), f"keras_flowers-{job.digest[:16]}", path.name)
    # Looked at before it is used, since others may write there, too.
    if not copy.is_file() or digest_of_model(copy) != job.digest:
        with atomic_replace(copy) as temporary:
            temporary.write_bytes(job.content)
    return copy


def _name_part(
    classifier: Classifier, job: Job, threads: ThreadPoolExecutor, part: Part, careful: bool
) -> pyarrow.Table:
    """A row for each photo of a part, in their order.

    Args:
        classifier: The loaded model.
        job: What is to be done.
        threads: What photos are read by.
        part: The photos.
        careful: Each photo is read in a process of its own, one after the other, so that one which
            kills its decoder, or takes for ever, costs its own row.
    """
    names = column_names(job.top_k)
    rows: list[list[Cell]] = []
    with _careful_reader(job) if careful else _watched_reader(job.photo_seconds) as read:
        answers = predict_photos(
            classifier,
            photos_of(part),
            workers=1 if careful else job.cores,
            read=read,
            threads=None if careful else threads,
        )
        rows.extend(cells(answer, job.top_k) for answer in answers)
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    return _table(names, columns, job.digest, len(rows))


def _read(photo: PhotoInput, size: tuple[int, int]) -> Read:
    if isinstance(photo.source, StoredFile):
        photo = PhotoInput(photo.name, read_bytes(photo.source.place))
    return read_input(photo, size)


@contextmanager
def _watched_reader(seconds: float) -> Iterator[Callable[[PhotoInput, tuple[int, int]], Read]]:
    """Reads photos; where photos are being read and none is done for so long, the process ends.

    A decoder in C that hangs may hold Python's lock, and no thread of Python's would notice.
    """
    lock = threading.Lock()
    reading = 0

    def count(change: int) -> None:
        nonlocal reading
        with lock:
            reading += change
            if reading:
                faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            else:
                faulthandler.cancel_dump_traceback_later()

    def read(photo: PhotoInput, size: tuple[int, int]) -> Read:
        count(1)
        try:
            return _read(photo, size)
        finally:
            count(-1)

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        try:
            yield read
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _careful_reader(job: Job) -> Iterator[Callable[[PhotoInput, tuple[int, int]], Read]]:
    child: Child | None = None

    def read(photo: PhotoInput, size: tuple[int, int]) -> Read:
        nonlocal child
        if child is None:
            child = Child(_start_reading)
            # Before the photo is read: it is not to blame where the process cannot start.
            child.start()
        try:
            read_photo: Read = child.call(photo, size, seconds=job.photo_seconds)
            return read_photo
        except WorkerDiedError as death:
            child = None
            reason = (
                f"took longer than {job.photo_seconds:g} s to read"
                if death.is_late
                else f"kills what reads it: the process {death}"
            )
            raise UserError(f"{reason}; save it anew, with another program") from None

    try:
        yield read
    finally:
        if child is not None:
            child.close()


def _start_reading() -> Callable[[PhotoInput, tuple[int, int]], Read]:
    load_readers()
    return _read


def _table(
    names: list[str], columns: Mapping[str, tuple[Cell, ...]], digest: str, count: int
) -> pyarrow.Table:
    pyarrow = import_pyarrow()
    arrays: list[Any] = []
    fields = []
    for name in names:
        kind = pyarrow.float64() if name.startswith(NUMBERS) else pyarrow.string()
        values = [_valid_text(cell) for cell in columns.get(name, ())]
        arrays.append(pyarrow.array(values, kind))
        fields.append(pyarrow.field(name, kind))
    arrays.append(pyarrow.array([digest] * count, pyarrow.string()))
    fields.append(pyarrow.field("model", pyarrow.string()))
    return pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields))


def _valid_text(cell: Cell) -> Cell:
    # A file name may be any bytes; text in Parquet may not.
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell


def import_pyarrow() -> Any:
    """The package pyarrow.

    Raises:
        UserError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("pyarrow", "scale") from None
    return pyarrow


def digest_of_model(path: Path) -> str:
    """The SHA-256 of a model's file, or of all files of its folder and their names."""
    import hashlib

    digest = hashlib.sha256()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.read_bytes())
    return digest.hexdigest()
