"""What verification found: a row for each version of the model, each figure beside its limit."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 80
"""Columns of a printed report, at most."""

_NAME = 22
"""Columns of a version's name; a longer one gets a line of its own."""


@dataclass(frozen=True)
class Comparison:
    """How far two versions agree.

    Attributes:
        photos: How many both were shown.
        differing: How many they give different names. Where 8 bits give several classes the same
            probability, any of them will do.
        largest: The largest difference in a probability.
        mean: The mean difference over all photos and classes.
    """

    photos: int
    differing: int
    largest: float
    mean: float


@dataclass(frozen=True)
class Bounds:
    """How far the figures of a row may go; None where there is no limit.

    Attributes:
        largest: The largest difference in a probability on the same pixels.
        differing: How many photos may get another name where each version reads the files itself.
        lost: How many photos fewer may be named correctly.
        bytes: Size of the file.
    """

    largest: float | None = None
    differing: int | None = None
    lost: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Row:
    """What was measured of one version.

    Attributes:
        name: Of the version.
        reference: The version it is compared with; None for the reference itself.
        same_pixels: Both on the pixels that Pillow reads; None for a version that takes nothing but
            files.
        own_reading: Each reading the files itself: Keras as in training, a SavedModel in its graph,
            a TFLite file through Pillow. None for a version that takes nothing but pixels.
        labelled: How many photos it was shown whose class is known.
        correct: How many of these it names correctly.
        change: How many more of these it names correctly than the reference; negative: fewer.
        bytes: Size of the file, or of the files in the folder.
        milliseconds: Median time for one photo, on all cores.
        bounds: How far the figures may go.
    """

    name: str
    reference: str | None
    same_pixels: Comparison | None
    own_reading: Comparison | None
    labelled: int
    correct: int
    change: int
    bytes: int
    milliseconds: float
    bounds: Bounds = Bounds()


@dataclass(frozen=True)
class Report:
    """The result; `print` shows it as two tables of at most 80 columns.

    Attributes:
        source: Which photos.
        photos: How many of them could be read.
        reference: The best version there is, with which the others are compared, and its path.
        rows: The versions, the reference first.
        notes: What to know when reading the tables.
        broken: A sentence for each limit that is exceeded.
    """

    source: str
    photos: int
    reference: str
    rows: list[Row]
    notes: list[str]
    broken: list[str]

    def __str__(self) -> str:
        agreement = [_agreement(row) for row in self.rows]
        costs = [_cost(row) for row in self.rows]
        lines = [
            f"{self.photos} photos: {self.source}",
            f"compared with the best version here: {self.reference}",
            "",
            f"{'':{_NAME}}{'same pixels':^25}{'reads the file itself':^33}".rstrip(),
            _line("version", "  agrees  largest  limit   agrees  differ  limit  largest"),
            *(_line(row.name, cells) for row, cells in zip(self.rows, agreement, strict=True)),
            "",
            _line("version", "  accuracy   change    limit       MB    limit       ms"),
            *(_line(row.name, cells) for row, cells in zip(self.rows, costs, strict=True)),
            "",
            *(line for note in self.notes for line in textwrap.wrap(note, WIDTH)),
        ]
        for sentence in self.broken:
            lines += textwrap.wrap(f"BROKEN: {sentence}", WIDTH, subsequent_indent="  ")
        if not self.broken:
            lines.append("all versions agree within the limits")
        return "\n".join(lines)


def exceeded(row: Row) -> Iterator[str]:
    """A sentence for each limit that a row exceeds. Not-a-number exceeds every limit."""
    same, own, bounds = row.same_pixels, row.own_reading, row.bounds
    if same is not None and bounds.largest is not None and not same.largest <= bounds.largest:
        yield (
            f"{row.name} differs from {row.reference} on the same pixels by up to "
            f"{same.largest:.3g}; at most {bounds.largest:g} is allowed"
        )
    if (
        own is not None
        and bounds.differing is not None
        and (own.differing > bounds.differing or not math.isfinite(own.largest))
    ):
        yield (
            f"{row.name} names {own.differing} of {own.photos} photos otherwise than "
            f"{row.reference} does; at most {bounds.differing} are allowed"
        )
    if bounds.lost is not None and -row.change > bounds.lost:
        yield (
            f"{row.name} names {-row.change} of {row.labelled} photos fewer correctly than "
            f"{row.reference} does; at most {bounds.lost} are allowed"
        )
    if bounds.bytes is not None and row.bytes > bounds.bytes:
        yield f"{row.name} has {row.bytes:,} bytes; at most {bounds.bytes:,} are allowed"


def _line(name: str, cells: str) -> str:
    if len(name) > WIDTH:
        name = f"{name[: WIDTH - 3]}..."
    if len(name) > _NAME:
        name = f"{name}\n{'':{_NAME}}"
    return f"{name:{_NAME}}{cells}".rstrip()


def _agreement(row: Row) -> str:
    same, own, bounds = row.same_pixels, row.own_reading, row.bounds
    cells = ["", "", "", "", "", "", ""]
    if same is not None:
        cells[:3] = _share(same), f"{same.largest:.1e}", _limit(bounds.largest, ".0e")
    if own is not None:
        differing = f"{own.differing}"
        cells[3:] = _share(own), differing, _limit(bounds.differing, "d"), f"{own.largest:.1e}"
    widths = (9, 9, 7, 9, 8, 7, 9)
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cost(row: Row) -> str:
    cells = ["", "", ""]
    if row.labelled:
        cells[0] = f"{row.correct / row.labelled:.2%}"
        if row.reference is not None:
            cells[1] = _points(row.change, row.labelled)
        if row.bounds.lost is not None:
            cells[2] = _points(-row.bounds.lost, row.labelled)
    megabytes = None if row.bounds.bytes is None else row.bounds.bytes / 1e6
    cells += [f"{row.bytes / 1e6:.1f}", _limit(megabytes, ".1f"), f"{row.milliseconds:.1f}"]
    return "".join(f"{cell:>{10 if number == 0 else 9}}" for number, cell in enumerate(cells))


def _share(comparison: Comparison) -> str:
    """The share of equal names, rounded down: 100.00% says that all are equal."""
    agreeing = comparison.photos - comparison.differing
    return f"{10_000 * agreeing // comparison.photos / 10_000:.2%}"


def _points(photos: int, of: int) -> str:
    return f"{100 * photos / of:+.2f}" if photos else "0.00"


def _limit(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
