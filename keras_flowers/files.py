"""Files that are whole or not there: written beside their place and renamed, by one writer."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from keras_flowers.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has none; two runs into one folder are not told apart there.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to (a file or a folder), then renames it.

    Whoever reads `path` sees the old content or the new, never half of it, also when the process
    is killed or the disk is full. The temporary name keeps the ending, since Keras and Matplotlib
    choose the format by it. A folder that was at `path` is removed once the new one is complete.
    """
    with _holder(path) as holder:
        written = holder / path.name
        yield written
        _write_through(written)
        _move(written, path, holder)


@contextmanager
def atomic_replace_all(folder: Path, last: str) -> Iterator[Path]:
    """Gives a temporary folder, whose content then replaces what has the same names in `folder`.

    Nothing in `folder` changes before all of it is written. The presence of the file `last` says
    that the others belong together: the old one goes first and the new one comes last.
    """
    with _holder(folder / last) as holder:
        written = holder / "new"
        written.mkdir()
        yield written
        _write_through(written)
        (folder / last).unlink(missing_ok=True)
        for one in sorted(written.iterdir(), key=lambda one: one.name == last):
            _move(one, folder / one.name, holder)


@contextmanager
def _holder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` to write in; those that killed processes left are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            with ExitStack() as turn:
                # One after the other, so that nobody takes a new folder for one that was left. A
                # file system that cannot lock folders keeps what was left.
                with suppress(OSError):
                    turn.enter_context(_locked(path.parent, wait=True))
                for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
                    _remove_if_left(left, path.parent)
                holder = _make_beside(path)
                stack.callback(shutil.rmtree, holder, ignore_errors=True)
                with suppress(OSError):
                    stack.enter_context(_locked(holder))
            yield holder
        except Exception as error:
            raise _refusal(error, path) or error from None


def _make_beside(path: Path) -> Path:
    # What is renamed out of it has the ordinary permissions, while mkdtemp makes folders that only
    # their owner may read.
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))


def _remove_if_left(holder: Path, folder: Path) -> None:
    with suppress(OSError), _locked(holder):
        for old in (holder / "old").glob("*"):
            if not (folder / old.name).exists():
                os.rename(old, folder / old.name)
        shutil.rmtree(holder)


def _refusal(error: Exception, path: Path) -> OSError | None:
    """What the system refused, with the place; TensorFlow and HDF5 hide it in their own errors."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        reason = os.strerror(number)
        if getattr(error, "errno", None) == number or reason in str(error):
            return OSError(number, reason, str(path))
    return None


def _write_through(path: Path) -> None:
    """Waits until the file or folder is on the disk: a rename may get there before the content."""
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def _move(written: Path, path: Path, holder: Path) -> None:
    if written.is_dir() and path.exists():
        (holder / "old").mkdir(exist_ok=True)
        os.rename(path, holder / "old" / path.name)
    os.replace(written, path)


def refuse_to_overwrite(path: Path, inputs: Iterable[str | Path], what: str) -> None:
    """Refuses to write `what` to a path at which an input lies, under whatever name.

    Raises:
        UserError: `path` is one of `inputs`.
    """
    if any(os.path.exists(one) and path.exists() and path.samefile(one) for one in inputs):
        raise UserError(f"{path} would be overwritten by the {what}; choose another name")


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with atomic_replace(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: `path` is not JSON in UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); correct or delete it") from None


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process; the operating system lets go even after a kill.

    Removes what killed writers left in it. Where nothing was written, removes the folders that it
    made: `folder` itself and those above it.

    Raises:
        UserError: another process holds it.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    lock.touch()
    with ExitStack() as stack:
        try:
            if fcntl is not None:
                stack.enter_context(_locked(lock))
        except BlockingIOError:
            raise UserError(
                f"another run is writing to {folder}; wait for it or choose another --output"
            ) from None
        for left in folder.glob(".*.part"):
            _remove_if_left(left, folder)
        try:
            yield
        finally:
            if made and list(folder.iterdir()) == [lock]:
                lock.unlink()
                with suppress(OSError):  # another process may have written into one of them
                    for one in made:
                        one.rmdir()


@contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a file or folder.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: The file system cannot lock it.
    """
    if fcntl is None:
        raise OSError("this system cannot lock files")
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
