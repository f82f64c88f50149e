"""Writes what was found: the page, the table and, where asked for, copies of the photos."""

from __future__ import annotations

import logging
from pathlib import Path, PurePath
from typing import Final

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace_all, write_text
from keras_flowers.inference.text import printable
from keras_flowers.training.check import table
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.page import as_html
from keras_flowers.training.sources.source import FilePhotos

_logger = logging.getLogger(__name__)

PAGE: Final = "index.html"
TABLE: Final = "photos.csv"
COPIES: Final = "photos"


def refuse_finished(folder: Path) -> None:
    """Keeps a table that a person may have corrected from being replaced unasked.

    Raises:
        UserError: There is one.
    """
    if (folder / TABLE).exists():
        raise UserError(
            f"{folder / TABLE} is there, perhaps with your corrections; choose another --output, "
            "or replace it with --overwrite"
        )


def write_check(check: DataCheck, folder: Path, *, copies: bool = False) -> None:
    """Writes `index.html` and `photos.csv`, both or none.

    Args:
        check: What was found.
        folder: Where they go; made where it is not there.
        copies: Whether the photos are copied into `photos/` beside them, and the table names the
            copies.
    """
    are_files = all(isinstance(photos, FilePhotos) for photos in check.pieces)
    if not are_files and not copies:
        _logger.warning(
            f"the photos of {check.name} are no files of their own, so that --data cannot take "
            f"{TABLE} back; --copies writes them beside it"
        )
    with atomic_replace_all(folder, last=PAGE) as new:
        files = _copy(check, new / COPIES) if copies else None
        text = table.as_csv(check, files)
        # Not every file's name is text: such a row could not be read again.
        lines = [line for line in text.splitlines(keepends=True) if _is_text(line)]
        write_text(new / TABLE, "".join(lines))
        lost = text.count("\n") - len(lines)
        if lost:
            _logger.warning(
                f"{lost} photos have names that are no UTF-8, and are not in {TABLE}: rename them"
            )
        write_text(new / PAGE, as_html(check, printable(folder / TABLE)))


def _copy(check: DataCheck, folder: Path) -> dict[int, PurePath]:
    """Writes the files of all readable photos; returns their paths as seen from the table."""
    folder.mkdir()
    paths = {}
    for row, read in check.contents(table.order(check)):
        data = read()
        name = f"{row:06}{_suffix(data)}"
        (folder / name).write_bytes(data)
        paths[row] = PurePath(COPIES, name)
    return paths


def _suffix(data: bytes) -> str:
    """How the name of a photo ends; nothing for what is neither JPEG nor PNG: it is read, too."""
    if data.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    return ".png" if data.startswith(b"\x89PNG") else ""


def _is_text(line: str) -> bool:
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
