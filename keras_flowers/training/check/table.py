"""The table of all photos that `--data` takes back when a person has corrected it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

import numpy as np

from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.sources.source import FilePhotos

COLUMNS: Final = (
    "path",
    "label",
    "finding",
    "suggestion",
    "probability_of_label",
    "split",
    "group",
    "source",
)
"""`sources.table` reads path, label, split, group and source; the others are for people."""


def as_csv(check: DataCheck, copies: Mapping[int, PurePath] | None = None) -> str:
    """One row for each photo that can be read, the most doubtful label first.

    Args:
        check: What was found.
        copies: The file of each photo, where the photos of the source are no files.
    """
    findings = _findings(check)
    doubts = check.doubts
    own = None if doubts is None else doubts.own
    suggestions = None if doubts is None else doubts.suggestions
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in order(check):
        photos, number = check.pieces[check.piece_of[row]], check.numbers[row]
        suggestion, probability = "", ""
        if own is not None and suggestions is not None and not np.isnan(own[row]):
            other = check.labels[suggestions[row]]
            suggestion = other if other != check.names[row] else ""
            probability = f"{own[row]:.4f}"
        writer.writerow(
            (
                path_of(check, row) if copies is None else copies[row],
                check.names[row],
                "; ".join(findings.get(row, ())),
                suggestion,
                probability,
                check.sides[row] if check.splits else "",
                photos.groups[number] if photos.groups else "",
                photos.origins[number] if photos.origins else "",
            )
        )
    return text.getvalue()


def order(check: DataCheck) -> list[int]:
    """The numbers of the readable photos: by the doubt about their labels, then all others."""
    ranked = [] if check.doubts is None else check.doubts.ranking.tolist()
    rest = check.is_readable.copy()
    rest[ranked] = False
    return [*ranked, *np.flatnonzero(rest).tolist()]


def path_of(check: DataCheck, row: int) -> str:
    """Where a photo lies, as seen from anywhere."""
    photos, place = check.pieces[check.piece_of[row]], check.place(row)
    # Not resolved: a link would be shown as what it leads to.
    return str((photos.root / place).absolute()) if isinstance(photos, FilePhotos) else place


def _findings(check: DataCheck) -> dict[int, list[str]]:
    """In a few words, what was found in photos, by their numbers."""
    found: dict[int, list[str]] = {}

    def note(row: int, text: str) -> None:
        found.setdefault(row, []).append(text)

    for row in check.wrong:
        note(row, "the label looks wrong")
    for row in check.strangers:
        note(row, "fits no class")
    for group in check.duplicates:
        for row in group.rows:
            other = next(one for one in group.rows if one != row)
            kind = "same file as" if group.is_exact else "near duplicate of"
            where = [name for name in (check.names[other],) if group.is_between_classes]
            where += [str(check.sides[other])] * group.is_between_splits
            note(row, f"{kind} {check.place(other)}" + (f" ({', '.join(where)})" * bool(where)))
    for row in check.tiny.tolist():
        height, width = check.found.sizes[row].tolist()
        note(row, f"tiny: {width} x {height} pixels")
    return found
