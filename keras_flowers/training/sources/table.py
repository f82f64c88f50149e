"""A table of photos: CSV, JSON lines or Parquet with the columns path, label, and more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from keras_flowers.errors import UserError
from keras_flowers.inference.photo_table import read_rows
from keras_flowers.inference.text import printable
from keras_flowers.training.sources.source import (
    ALL,
    UNKNOWN,
    FilePhotos,
    FileSource,
    Subject,
    in_order,
    normal_split,
)

_COLUMNS: Final = ("path", "label", "split", "group", "source", "kind", "species")
"""What is read of a row; the first two must be there."""


def open_table(path: Path, names: Mapping[str, str] | None = None) -> FileSource:
    """Reads a table; opens none of its photos.

    Args:
        path: A file whose rows have `path` (relative to the table, or absolute) and `label`; where
            there, `split` (train, validation, test), `group` (photos of one plant or burst, which
            stay together), `source` (who took it or where it was found: scores are given for
            each), `kind` and `species` (what it shows, which `evaluate` goes by for photos whose
            label is `unknown`). Other columns are not read.
        names: The name of each label (Udacity's `cat_to_name.json`); None: the label itself.

    Raises:
        UserError: It cannot be read, lacks a column or a label, or names a split that is none.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    rows_with_split = rows = 0
    for number, row in enumerate(_rows(path), start=1):
        cells = [str(row.get(column) or "").strip() for column in _COLUMNS]
        place, label, said, group, origin, *subject = cells
        if not place or not label:
            lacking = "path" if not place else "label"
            raise UserError(
                f"row {number} of {printable(path)} has no {lacking}; expected the columns path, "
                "label and, where there, split, group and source"
            )
        split = normal_split(said) if said else ALL
        if split is None:
            raise UserError(
                f"row {number} of {printable(path)} has the split {said!r}; expected train, "
                "validation or test"
            )
        rows, rows_with_split = rows + 1, rows_with_split + bool(said)
        found.setdefault(split, []).append((place, label, group, origin, *subject))
    if not rows:
        raise UserError(f"{printable(path)} has no rows; expected one for each photo")
    if 0 < rows_with_split < rows:
        raise UserError(
            f"{rows - rows_with_split} of {rows} rows of {printable(path)} name no split; fill in "
            "all of them, or leave the column out to have the photos divided"
        )
    if rows_with_split and "train" not in found:
        raise UserError(
            f"no row of {printable(path)} has the split train; expected photos to learn from, or "
            "leave the column out to have the photos divided"
        )
    written = {label for rows_of in found.values() for _, label, *_ in rows_of}
    order = [name for name in in_order(written) if name != UNKNOWN]
    if names is not None:
        lacking_names = [name for name in order if name not in names]
        if lacking_names:
            raise UserError(f"--category_names has no name for the label {lacking_names[0]!r}")
    named = names or {}
    splits = {}
    for split, rows_of in found.items():
        places, labels, groups, origins, kinds, species = zip(*rows_of, strict=True)
        splits[split] = FilePhotos(
            path.parent,
            places,
            [named.get(label, label) for label in labels],
            groups if any(groups) else None,
            origins if any(origins) else None,
            [*map(Subject, kinds, species)] if any(kinds) or any(species) else None,
        )
    name = f"{path.resolve().parent.name}/{path.name}"
    return FileSource(
        name,
        str(path.resolve()),
        tuple(dict.fromkeys(named.get(label, label) for label in order)),
        splits,
    )


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"the table {printable(path)} cannot be read ({error.strerror})") from None
    with file:
        yield from read_rows(file, str(path), required=_COLUMNS[:2], others=_COLUMNS[2:])
