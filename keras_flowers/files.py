"""Files that are whole or not there: written beside their place and renamed, by one writer."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keras_flowers.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has none; two runs into one folder are not told apart there.
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to (a file or a folder), then renames it.

    Whoever reads `path` sees the old content or the new, never half of it, also when the process
    is killed or the disk is full. The temporary name keeps the ending, since Keras and Matplotlib
    choose the format by it. A folder that was at `path` is removed once the new one is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    # mkdtemp makes folders that only their owner may read; what is renamed out of this one has
    # the ordinary permissions.
    written = holder / path.name
    try:
        yield written
        if written.is_dir():
            if path.exists():
                os.rename(path, holder / "old")
        else:
            with open(written, "rb") as file:
                os.fsync(file.fileno())
        os.replace(written, path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
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
def only_writer(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process; the operating system lets go even after a kill.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another run is writing to {folder}; wait for it or choose another --output"
            ) from None
        yield
