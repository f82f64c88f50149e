"""Labelled photos of a split, from one source or several, ready to be decoded."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_flowers.training.sources.inspection import FAST, Inspection
from keras_flowers.training.sources.left_out import LeftOut
from keras_flowers.training.sources.source import Read, StoredPhotos, Subject


@dataclass(frozen=True)
class Part:
    """Photos of a split that come from one place.

    Attributes:
        photos: Where they lie.
        numbers: int [n], which of them, ascending.
        found: What was found in these n.
        labels: int64 [n], their classes; -1 for none of the classes.
        name: Of the source.
        source: Its number among those of the data set.
    """

    photos: StoredPhotos
    numbers: npt.NDArray[np.intp]
    found: Inspection
    labels: npt.NDArray[np.int64]
    name: str
    source: int = 0

    def some(self, rows: npt.NDArray[Any]) -> Part:
        """Some of the n, by their places among them."""
        return replace(
            self,
            numbers=self.numbers[rows],
            found=self.found.rows(rows),
            labels=self.labels[rows],
        )

    def alone(self) -> Part:
        """The same without the photos that lie before or behind them: little to be sent."""
        first, end = int(self.numbers[0]), int(self.numbers[-1]) + 1
        return replace(self, photos=self.photos.span(first, end), numbers=self.numbers - first)

    @property
    def positions(self) -> list[str]:
        """Where each of the n lies, as `positions_of` says it."""
        positions = positions_of(self.photos)
        return [positions[number] for number in self.numbers.tolist()]

    @property
    def origins(self) -> list[str]:
        """Who took each of the n, or where it was found: the source itself, where none is said."""
        origins = self.photos.origins or [""] * len(self.photos.places)
        return [origins[number] or self.name for number in self.numbers.tolist()]

    @property
    def subjects(self) -> list[Subject]:
        """What each of the n shows, as its source says it."""
        subjects = self.photos.subjects or [Subject()] * len(self.photos.places)
        return [subjects[number] for number in self.numbers.tolist()]


@dataclass(frozen=True)
class LabelledPhotos:
    """The labelled photos of a split, still as files' bytes on disk.

    Attributes:
        dataset: Name and version of the data set, or the names of the sources.
        split: The split expression.
        labels: The name of each class.
        count: How many photos there are.
        records: tf.data of (index int64 [], bytes string [], label int64 []), index from 0 in
            stored order.
        digests: S32 [count], the hash of each one's bytes: the same photo, wherever it lies.
        routes: uint8 [count], `inspection.FAST` or `PILLOW`: who decodes it.
        label_numbers: int64 [count], the classes; -1 for none of the classes.
        positions: Where each photo lies: no two photos have the same.
        parts: Where they come from.
        left_out: The photos of all its sources that are not used, and why.
        unknown_count: How many photos of its sources show none of the classes; they stand in the
            split `unknown`.
        open_split: Opens another split of the same sources.
        division: Gives the table `split.csv` of the sources; None where they brought all splits.
        weights: float32 [count], how much each counts in training, 1 on average; None: all alike.
    """

    dataset: str
    split: str
    labels: tuple[str, ...]
    count: int
    records: tf.data.Dataset
    digests: npt.NDArray[np.bytes_]
    routes: npt.NDArray[np.uint8]
    label_numbers: npt.NDArray[np.int64]
    positions: frozenset[str]
    parts: tuple[Part, ...] = field(default=(), repr=False)
    left_out: tuple[LeftOut, ...] = ()
    unknown_count: int = 0
    open_split: Callable[[str], LabelledPhotos] | None = field(default=None, repr=False)
    division: Callable[[], str] | None = field(default=None, repr=False)
    weights: npt.NDArray[np.float32] | None = None

    def only(self, wanted: npt.NDArray[np.bool_]) -> LabelledPhotos:
        """Some of the photos, with the indices that they have among all; reads no others."""
        if wanted.all():
            return self
        indexes = np.flatnonzero(wanted)
        records = _records(self.parts_of(indexes), indexes)
        return replace(self, count=len(indexes), records=records)

    def parts_of(self, numbers: npt.NDArray[np.intp]) -> list[Part]:
        """Where some of the photos come from, by their ascending numbers among all."""
        chosen, start = [], 0
        for part in self.parts:
            end = start + len(part.numbers)
            first, last = np.searchsorted(numbers, (start, end))
            if first < last:
                chosen.append(part.some(numbers[first:last] - start))
            start = end
        return chosen

    def contents(self, rows: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Some of the photos, ascending and each once, and what reads their bytes.

        Args:
            rows: Which of `count`, in any order.
        """
        wanted, start = np.unique(np.asarray(rows, np.intp)), 0
        for part in self.parts:
            here = wanted[(wanted >= start) & (wanted < start + len(part.numbers))]
            reads = part.photos.contents(part.numbers[here - start].tolist())
            for row, (_, read) in zip(here.tolist(), reads, strict=True):
                yield row, read
            start += len(part.numbers)

    def joined_with(self, other: LabelledPhotos) -> LabelledPhotos:
        """These photos, then those of another set of the same classes."""
        return label_photos(
            [*self.parts, *other.parts],
            dataset=f"{self.dataset} + {other.dataset}",
            split=f"{self.split} + {other.split}",
            labels=self.labels,
            left_out=[*self.left_out, *other.left_out],
        )

    def of_split(self, split: str) -> LabelledPhotos:
        """Another split of the same data set."""
        assert self.open_split is not None
        return self.open_split(split)

    @functools.cached_property
    def origins(self) -> tuple[str, ...]:
        """For each of `count` photos who took it or where it was found; see `Part.origins`."""
        return tuple(origin for part in self.parts for origin in part.origins)

    @functools.cached_property
    def source_names(self) -> tuple[str, ...]:
        """For each of `count` photos the name of its source."""
        return tuple(part.name for part in self.parts for _ in part.numbers)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """What the data set calls each of `count` photos, wherever this machine keeps it."""
        found: list[str] = []
        for part in self.parts:
            names = part.photos.names
            found += [names[number] for number in part.numbers.tolist()]
        return tuple(found)

    @functools.cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """What each of `count` photos shows, besides its label; see `Part.subjects`."""
        return tuple(subject for part in self.parts for subject in part.subjects)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes with content, classes or order of the photos, and with nothing else."""
        digest = hashlib.sha256(repr((self.digests.shape, self.labels)).encode())
        digest.update(self.digests.tobytes())
        digest.update(self.label_numbers.tobytes())
        return digest.hexdigest()[:32]

    @functools.cached_property
    def are_upright_jpegs(self) -> bool:
        """Whether TensorFlow decodes all of them, and no other reader is needed."""
        return bool((self.routes == FAST).all())

    @functools.cached_property
    def seeds(self) -> npt.NDArray[np.int32]:
        """int32 [count], of each one's random views: they depend on its content alone."""
        return np.array([int(digest[:7], 16) for digest in self.digests.tolist()], np.int32)


def label_photos(
    parts: Sequence[Part],
    *,
    dataset: str,
    split: str,
    labels: tuple[str, ...],
    left_out: Sequence[LeftOut] = (),
    unknown_count: int = 0,
    open_split: Callable[[str], LabelledPhotos] | None = None,
    division: Callable[[], str] | None = None,
) -> LabelledPhotos:
    """Puts the photos of several places one after the other."""
    parts = [part for part in parts if len(part.numbers)]
    numbers = np.concatenate([part.labels for part in parts])
    return LabelledPhotos(
        dataset=dataset,
        split=split,
        labels=labels,
        count=len(numbers),
        records=_records(parts, np.arange(len(numbers))),
        digests=np.concatenate([part.found.digests for part in parts]),
        routes=np.concatenate([part.found.routes for part in parts]),
        label_numbers=numbers,
        positions=frozenset(place for part in parts for place in part.positions),
        parts=tuple(parts),
        left_out=tuple(left_out),
        unknown_count=unknown_count,
        open_split=open_split,
        division=division,
    )


def weigh(
    photos: LabelledPhotos, of_sources: Sequence[float] = (), *, balance_classes: bool = False
) -> LabelledPhotos:
    """The same photos with how much each counts in training.

    Args:
        photos: To learn from; each shows one of the classes.
        of_sources: How much a photo of each source counts; none: all alike.
        balance_classes: Whether all photos of a class together count as much as those of any other.
    """
    if not of_sources and not balance_classes:
        return photos
    weights = np.concatenate(
        [
            np.full(len(part.numbers), of_sources[part.source] if of_sources else 1.0)
            for part in photos.parts
        ]
    )
    if balance_classes:
        weights /= np.bincount(photos.label_numbers, weights)[photos.label_numbers]
    # 1 on average, so that the learning rate means the same.
    return replace(photos, weights=(weights / weights.mean()).astype(np.float32))


def _records(parts: Sequence[Part], indexes: npt.NDArray[np.intp]) -> tf.data.Dataset:
    parts = [part for part in parts if len(part.numbers)]
    contents = functools.reduce(
        lambda one, other: one.concatenate(other),
        [part.photos.records(part.numbers.tolist()) for part in parts],
    )
    labels = np.concatenate([part.labels for part in parts])
    facts = tf.data.Dataset.from_tensor_slices((indexes.astype(np.int64), labels))
    records = tf.data.Dataset.zip(facts, contents)
    return records.map(lambda fact, content: (fact[0], content, fact[1])).with_options(
        without_autotune()
    )


def positions_of(photos: StoredPhotos) -> list[str]:
    """Where each photo lies, in a word that no other photo has; reads none."""
    # A stamp tells apart what has the same name in two data sets.
    return [f"{place} {stamp}" for place, stamp in zip(photos.places, photos.stamps, strict=True)]


def without_autotune() -> tf.data.Options:
    """For all that is made of a data set: as many threads as there are cores, and no tuning of it.

    The thread that tunes sleeps 10 ms, 20 ms, 40 ms, ... between its looks, and who drops an
    iterator waits until it wakes up: each pass would last 0.6, 1.3, 2.6, 5.1, ... seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
