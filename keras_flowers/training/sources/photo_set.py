"""The photos of one or several sources as one set, divided into train, validation and test."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training.sources.inspection import Inspection
from keras_flowers.training.sources.labelled import LabelledPhotos, Part, label_photos
from keras_flowers.training.sources.left_out import LeftOut
from keras_flowers.training.sources.source import ALL, SPLITS, UNKNOWN, StoredPhotos, slices_of


class Piece(NamedTuple):
    """The photos of one split that a source brings."""

    source: int
    split: str
    photos: StoredPhotos


@dataclass(frozen=True)
class PhotoSet:
    """The photos of all sources, one row each, in the order of the sources.

    Attributes:
        name: The sources' names.
        labels: The names of the classes.
        pieces: Where the photos lie.
        source_names: The name of each source.
        piece_of: int [N], the piece that each photo is of.
        numbers: int [N], its number in the piece.
        found: What was found in each.
        label_numbers: int64 [N], its class; -1 for none of the classes.
        sides: [N], its split: train, validation, test, or `unknown`; "" where it is left out.
        left_out: What is left out, and why.
    """

    name: str
    labels: tuple[str, ...]
    pieces: Sequence[Piece]
    source_names: Sequence[str]
    piece_of: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.intp]
    found: Inspection
    label_numbers: npt.NDArray[np.int64]
    sides: npt.NDArray[np.str_]
    left_out: tuple[LeftOut, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many photos each split has."""
        sides, counts = np.unique(self.sides[self.sides != ""], return_counts=True)
        found = dict(zip(sides.tolist(), counts.tolist(), strict=True))
        return {side: found[side] for side in (*SPLITS, ALL, UNKNOWN) if side in found}

    def photos(self, expression: str) -> LabelledPhotos:
        """The photos of a split expression, such as `train`, `validation[:50%]`, `train+test`.

        Raises:
            UserError: There is no such split, or it holds no photos.
        """
        slices = slices_of(expression, self.counts, self.name)
        rows = [np.flatnonzero(self.sides == side)[start:end] for side, start, end in slices]
        parts = [
            self._part(piece, some[self.piece_of[some] == piece])
            for some in rows
            for piece in range(len(self.pieces))
        ]
        return label_photos(
            parts,
            dataset=self.name,
            split=expression,
            labels=self.labels,
            left_out=self.left_out,
            unknown_count=self.counts.get(UNKNOWN, 0),
            open_split=self.photos,
            division=self.as_csv,
        )

    def _part(self, piece: int, rows: npt.NDArray[np.intp]) -> Part:
        return Part(
            self.pieces[piece].photos,
            self.numbers[rows],
            self.found.rows(rows),
            self.label_numbers[rows],
            self.source_names[self.pieces[piece].source],
            self.pieces[piece].source,
        )

    def as_csv(self) -> str:
        """The table `split.csv` of a run: which photo is on which side."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("digest", "split", "class", "source", "photo"))
        places = [piece.photos.places for piece in self.pieces]
        names = [self.source_names[piece.source] for piece in self.pieces]
        rows = zip(
            self.found.digests.tolist(),
            self.sides.tolist(),
            self.label_numbers.tolist(),
            self.piece_of.tolist(),
            self.numbers.tolist(),
            strict=True,
        )
        for digest, side, label, piece, number in rows:
            if side:
                name = self.labels[label] if label >= 0 else UNKNOWN
                place = places[piece][number].encode("utf-8", "backslashreplace").decode()
                writer.writerow((digest.decode(), side, name, names[piece], place))
        return text.getvalue()


def read_division(path: Path) -> dict[bytes, str]:
    """The side of each photo in the `split.csv` of a run.

    Those that were labelled unknown are on none: where one has got a name since, it is divided.

    Raises:
        UserError: It is none.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            sides = {row["digest"].encode(): row["split"] for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read ({error}); expected the split.csv of a run"
        ) from None
    return {digest: side for digest, side in sides.items() if side != UNKNOWN}
