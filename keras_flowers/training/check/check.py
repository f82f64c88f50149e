"""Looks at the photos of a source: counts, what cannot be read, duplicates, doubtful labels."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training.check.doubts import Doubts, judge
from keras_flowers.training.check.duplicates import (
    DuplicateGroup,
    confirm_duplicates,
    sort_duplicates,
)
from keras_flowers.training.check.names import DoubleClass, double_names, doubles_by_look
from keras_flowers.training.sources.duplicates import group_duplicates
from keras_flowers.training.sources.inspection import Inspection, inspect_split, joined
from keras_flowers.training.sources.label_map import LEAVE_OUT, map_labels
from keras_flowers.training.sources.labelled import LabelledPhotos, Part, label_photos
from keras_flowers.training.sources.source import SPLITS, UNKNOWN, Read, Source, StoredPhotos

_logger = logging.getLogger(__name__)

FeaturesFn: TypeAlias = Callable[[LabelledPhotos], npt.NDArray[np.float16]]
"""Features [N, D] of the frozen base for the whole view of each photo, in stored order."""

TINY: Final = 0.5
"""Photos whose shorter side is less than this share of the network's input are called tiny: each of
their pixels would be shown more than four times."""


@dataclass(frozen=True)
class DataCheck:
    """What was found in the photos of a source, one row each in the order of its splits.

    Attributes:
        name: Of the source.
        labels: The names of the classes.
        pieces: The photos of each split that the source brings, or of all.
        piece_of: int [N], the piece that each photo is of.
        numbers: int [N], its number in the piece.
        sides: [N], its split as the source calls it; `source.ALL` where it brings none.
        names: [N], its class; `unknown` for none of them.
        found: What was found in each.
        duplicates: Photos that are there more than once.
        doubles: Classes that may be one.
        doubts: Which labels look wrong; None where it was not asked for or there are too few
            photos.
        least_side: Shorter side in pixels below which photos are tiny.
    """

    name: str
    labels: tuple[str, ...]
    pieces: Sequence[StoredPhotos]
    piece_of: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.intp]
    sides: npt.NDArray[np.str_]
    names: Sequence[str]
    found: Inspection
    duplicates: tuple[DuplicateGroup, ...]
    doubles: tuple[DoubleClass, ...]
    doubts: Doubts | None
    least_side: int

    @property
    def is_readable(self) -> npt.NDArray[np.bool_]:
        """bool [N]."""
        return np.asarray(self.found.reasons == "", np.bool_)

    @property
    def tiny(self) -> npt.NDArray[np.intp]:
        """The numbers of the tiny photos, the smallest first."""
        shorter = self.found.sizes.min(axis=1)
        tiny = np.flatnonzero(self.is_readable & (shorter < self.least_side))
        return tiny[np.argsort(shorter[tiny], kind="stable")]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the source brings; none where training divides the photos."""
        return tuple(split for split in SPLITS if (self.sides == split).any())

    @property
    def wrong(self) -> list[int]:
        """The numbers of the photos whose labels look wrong, the most doubtful first."""
        if self.doubts is None:
            return []
        looks_wrong = self.doubts.looks_wrong
        return [row for row in self.doubts.ranking.tolist() if looks_wrong[row]]

    @property
    def strangers(self) -> list[int]:
        """The numbers of the photos that fit no class, the farthest first."""
        if self.doubts is None:
            return []
        far = np.flatnonzero(self.doubts.fits_no_class)
        return [int(row) for row in far[np.argsort(-self.doubts.distances[far], kind="stable")]]

    @functools.cached_property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many readable photos there are, by class and split."""
        readable = np.flatnonzero(self.is_readable).tolist()
        return Counter((self.names[row], str(self.sides[row])) for row in readable)

    @functools.cached_property
    def photos_of(self) -> Counter[str]:
        """How many readable photos each class has, those with none too."""
        found = Counter(dict.fromkeys(self.labels, 0))
        for (name, _), count in self.counts.items():
            found[name] += count
        return found

    @functools.cached_property
    def _places(self) -> list[Sequence[str]]:
        return [photos.places for photos in self.pieces]

    def place(self, row: int) -> str:
        """Where a photo lies."""
        return str(self._places[self.piece_of[row]][self.numbers[row]])

    def contents(self, rows: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Each of `rows` once, in ascending order, with what reads its bytes."""
        return _contents(self.pieces, self.piece_of, self.numbers, rows)


def base_features(base: str, image_size: int, cache_dir: Path) -> FeaturesFn:
    """What a frozen base sees in photos, as training sees it: what is cached serves both.

    Args:
        base: As `model.build_model` takes it.
        image_size: Height and width of its input in pixels.
        cache_dir: Where features are cached.
    """

    def run(photos: LabelledPhotos) -> npt.NDArray[np.float16]:
        from keras_flowers.training.features import FeatureExtractor
        from keras_flowers.training.model import FEATURES, build_model, split_at
        from keras_flowers.training.views import View

        trunk = split_at(build_model(base, image_size, 2), FEATURES)[0]
        folder = cache_dir / "features"
        extractor = FeatureExtractor(trunk, seed=0, folder=folder, run="data check")
        # The content decides the order there: with numbers for labels, they say which is where.
        numbered = replace(photos, label_numbers=np.arange(photos.count))
        found = extractor.features(numbered, [View.FULL])
        rows = np.asarray(found.views[0][:], np.float16)
        return rows[np.argsort(found.labels)]

    return run


def check_data(
    source: Source,
    *,
    image_size: int,
    features: FeaturesFn | None,
    label_map: Mapping[str, str] | None = None,
    cache_dir: Path | None = None,
) -> DataCheck:
    """Looks at all photos of a source.

    Args:
        source: The source.
        image_size: Height and width in pixels of the network's input.
        features: Gives what labels are judged by; None: they are not judged.
        label_map: As `label_map.read_label_map` returns it.
        cache_dir: Where what is found in photos is kept; None: nowhere.

    Raises:
        UserError: There are no labelled photos, none can be read, or the map does not fit.
    """
    label_map = label_map or {}
    known = [label_map.get(name, name) for name in source.labels]
    mapped = map_labels(source.labels, known, label_map, source.name)
    labels = tuple(
        dict.fromkeys(name for name in mapped.values() if name not in (LEAVE_OUT, UNKNOWN))
    )
    splits = [split for split, count in source.counts.items() if count]
    opened = [inspect_split(source, split, cache_dir, with_looks=True) for split in splits]
    found = joined([one for _, one in opened])
    counts = [len(one.digests) for _, one in opened]
    names = np.array([mapped.get(label, label) for label in found.labels.tolist()])
    used = np.flatnonzero(names != LEAVE_OUT)
    found, names = found.rows(used), names[used]
    if not (found.reasons == "").any():
        raise UserError(
            f"none of the {len(names)} photos of {source.name} can be read; expected photos: "
            + "; ".join(found.reasons[:2].tolist())
        )
    piece_of = np.repeat(np.arange(len(splits)), counts)[used]
    numbers = np.concatenate([np.arange(count) for count in counts])[used]
    sides = np.repeat(np.array(splits, "U32"), counts)[used]
    readable = np.flatnonzero(found.reasons == "")
    seen = found.rows(readable)
    first = np.arange(len(names))
    first[readable] = readable[group_duplicates(seen.digests, seen.looks, seen.has_look)]
    pieces = [photos for photos, _ in opened]
    contents = functools.partial(_contents, pieces, piece_of, numbers)
    first = confirm_duplicates(first, found.digests, contents)
    place_of = {name: number for number, name in enumerate(labels)}
    label_numbers = np.array([place_of.get(name, -1) for name in names.tolist()], np.int64)
    doubts = None
    if features is not None:
        parts = [
            Part(
                pieces[piece],
                numbers[rows],
                found.rows(rows),
                label_numbers[rows],
                source.name,
            )
            for piece in range(len(pieces))
            for rows in [readable[piece_of[readable] == piece]]
        ]
        photos = label_photos(parts, dataset=source.name, split="+".join(splits), labels=labels)
        doubts = _judge(photos, features, readable, first, label_numbers)
    doubles = {(one.one, one.other): one for one in doubles_by_look(doubts)} if doubts else {}
    # Where both speak for it, the names are what a person sees at once.
    doubles |= {(one.one, one.other): one for one in double_names(labels)}
    return DataCheck(
        name=source.name,
        labels=labels,
        pieces=pieces,
        piece_of=piece_of,
        numbers=numbers,
        sides=sides,
        names=names.tolist(),
        found=found,
        duplicates=sort_duplicates(first, found.digests, names.tolist(), sides),
        doubles=tuple(doubles.values()),
        doubts=doubts,
        least_side=round(TINY * image_size),
    )


def _judge(
    photos: LabelledPhotos,
    features: FeaturesFn,
    readable: npt.NDArray[np.intp],
    first: npt.NDArray[np.intp],
    labels: npt.NDArray[np.int64],
) -> Doubts | None:
    """The doubts about all photos, of which some are readable and have features."""
    found = judge(features(photos), labels[readable], first[readable])
    if found is None:
        _logger.warning(
            "labels are not judged: that takes two classes with three photos each, near duplicates "
            "counted once"
        )
        return None
    classes = found.probabilities.shape[1]
    probabilities = np.full((len(labels), classes), np.nan, np.float32)
    probabilities[readable] = found.probabilities
    distances = np.full(len(labels), np.nan, np.float32)
    distances[readable] = found.distances
    return Doubts(probabilities, distances, labels)


def _contents(
    pieces: Sequence[StoredPhotos],
    piece_of: npt.NDArray[np.intp],
    numbers: npt.NDArray[np.intp],
    rows: Sequence[int],
) -> Iterator[tuple[int, Read]]:
    """As `DataCheck.contents`."""
    wanted = np.unique(np.asarray(rows, np.intp))
    for piece, photos in enumerate(pieces):
        here = wanted[piece_of[wanted] == piece]
        reads = photos.contents(numbers[here].tolist())
        for row, (_, read) in zip(here.tolist(), reads, strict=True):
            yield row, read
