"""Answers as rows: text to read, CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import Answer
from keras_flowers.inference.columns import cells, column_names, rounded_known, rounded_top
from keras_flowers.inference.text import percent, printable

FORMATS = ("text", "csv", "json", "jsonl")
"""text to read; csv with a header; json, one array; jsonl, an object a line."""

_BY_ENDING = {
    "": "text",
    ".txt": "text",
    ".log": "text",
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def format_for(output: Path | None, asked: str | None) -> str:
    """The format of the rows: as asked, or as the ending of the file says.

    An array in a `.jsonl`, or lines in a `.json`, could not be read by what opens such files: of
    the two, the ending decides.

    Raises:
        UserError: Rows of text cannot be written under such a name.

    >>> format_for(Path("rows.csv"), None), format_for(Path("rows.json"), "jsonl")
    ('csv', 'json')
    """
    if output is None:
        return asked or "text"
    ending = output.suffix.lower()
    if ending not in _BY_ENDING:
        raise UserError(
            f"rows of text cannot be written as {output.name}; expected a name that ends in .csv "
            "(spreadsheets open it), .json, .jsonl or .txt"
        )
    by_ending = _BY_ENDING[ending]
    if asked is None or (asked.startswith("json") and by_ending.startswith("json")):
        return by_ending
    return asked


class Rows:
    """Writes answers as they come, each whole before the next; a context that ends the last row.

    Args:
        file: Where to.
        format: One of `FORMATS`.
        top_k: How many names a row has ("text" has one).
        photo_width: "text": characters of the longest name of a photo.
        name_width: "text": characters of the longest name of a flower.
    """

    def __init__(
        self, file: TextIO, format: str, top_k: int, *, photo_width: int = 0, name_width: int = 0
    ) -> None:
        self._file = file
        self._format = format
        self._top_k = top_k
        self._photo_width = photo_width
        self._name_width = name_width
        self._count = 0
        if format == "csv":
            import csv  # here, since it would slow down the naming of a photo by as much

            self._csv = csv.writer(file, lineterminator="\n")
            self._csv.writerow(column_names(top_k))

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._format == "json":  # also after Ctrl-C: what is answered can be read
            print("\n]" if self._count else "[]", file=self._file, flush=True)

    def write(self, answer: Answer) -> None:
        """Writes one row, down to the file."""
        if self._format == "csv":
            self._csv.writerow(cells(answer, self._top_k))
        elif self._format == "text":
            print(self._line(answer), file=self._file)
        elif self._format == "jsonl":
            print(json.dumps(self._content(answer)), file=self._file)
        else:
            before = ",\n" if self._count else "[\n"
            print(before + json.dumps(self._content(answer)), end="", file=self._file)
        self._count += 1
        self._file.flush()

    def _line(self, answer: Answer) -> str:
        best = answer.prediction
        if best is None:
            result = f"error: {answer.error}"
        elif best.answer.kind == "name":  # not rounded: 0.9999999 is not certain
            result = f"{best.name:<{self._name_width}}  {percent(best.probability):>6}"
            if best.answer.warning:
                result += f"  ({best.answer.warning})"
        else:
            result = str(best.answer)
        return f"{printable(answer.photo.name):<{self._photo_width}}  {result}"

    def _content(self, answer: Answer) -> dict[str, Any]:
        top = rounded_top(answer, self._top_k)
        name, probability = top[0] if top else (None, None)
        best = answer.prediction
        said = None if best is None else best.answer
        return {
            "photo": answer.photo.name,
            "name": name,
            "probability": probability,
            "top": [{"name": name, "probability": p} for name, p in top],
            "known": rounded_known(answer),
            "answer": said and {"kind": said.kind, "text": said.text, "warning": said.warning},
            **answer.taken._asdict(),
            "error": answer.error or None,
        }


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Opens the file that rows go to; standard output for None."""
    if path is None:
        yield sys.stdout
        return
    # Rows go into the file itself as they come: after an interruption, what is answered is there.
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file
