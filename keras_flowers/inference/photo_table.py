"""The rows of a table of photos: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from keras_flowers.errors import UserError, missing_extra
from keras_flowers.inference.text import printable

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"})
"""The endings of the files that are read as tables."""


def read_rows(
    file: BinaryIO, name: str, *, required: Sequence[str], others: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Reads the rows of a table, one after the other.

    Args:
        file: The open table.
        name: Its path; the ending says what it is.
        required: The columns that must be there, in lower case.
        others: Those that are read, too, where they are there.

    Raises:
        UserError: It cannot be read, or lacks a column.
    """
    suffix = os.path.splitext(name)[1].lower()
    try:
        if suffix == ".parquet":
            yield from _parquet_rows(file, name, required, others)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            is_csv = suffix in (".csv", ".tsv")
            yield from _csv_rows(text, name, required) if is_csv else _json_rows(text)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"the table {printable(name)} cannot be read ({reason})") from None


def _csv_rows(
    file: Iterable[str], name: str, required: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    lines = iter(file)
    header = next(lines, "")
    # Spreadsheets of some countries write semicolons.
    separator = max(",;\t", key=header.count)
    columns = next(csv.reader([header], delimiter=separator), [])
    columns = [column.strip().lower() for column in columns]
    _check(name, columns, required)
    for cells in csv.reader(lines, delimiter=separator):
        if cells:
            yield dict(zip(columns, cells, strict=False))


def _json_rows(file: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object; expected JSON lines")
            yield row


def _parquet_rows(
    file: BinaryIO, name: str, required: Sequence[str], others: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "scale") from None
    table = pyarrow.parquet.ParquetFile(file)
    names = table.schema_arrow.names
    _check(name, names, required)
    there = [column for column in names if column in {*required, *others}]
    for batch in table.iter_batches(columns=there):
        yield from batch.to_pylist()


def _check(name: str, columns: Sequence[str], required: Sequence[str]) -> None:
    if not set(required) <= set(columns):
        *first, last = required
        wanted = f"{', '.join(first)} and {last}" if first else last
        raise UserError(
            f"{printable(name)} has the columns {', '.join(columns) or '(none)'}; expected "
            f"{wanted} among them"
        )
