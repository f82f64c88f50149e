"""What `fit` reads: cached features, or the photos themselves as they stream from the disk."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.training import data
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.feature_cache import Rows, checksum_of
from keras_flowers.training.views import seed_of

PredictFn: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
TeachFn: TypeAlias = Callable[
    [npt.NDArray[Any], npt.NDArray[np.integer[Any]], int], npt.NDArray[np.float32]
]
"""pixels [B, H, W, 3], the photos' numbers int [B], their view -> what to answer [B, classes]."""
Batch: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""What goes in, and what is correct: int64 [B] classes or float32 [B, classes] probabilities."""
WeightedBatch: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32]]
"""The same with how much each row counts: float32 [B], 1 on average over all rows."""


class SomeRows:
    """Some rows of others [N, ...], read when they are asked for.

    Args:
        rows: The others.
        numbers: int [M], which of them.
    """

    def __init__(
        self, rows: npt.NDArray[Any] | Rows, numbers: npt.NDArray[np.integer[Any]]
    ) -> None:
        self._rows, self._numbers = rows, numbers
        self.shape: tuple[int, ...] = (len(numbers), *rows.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(self._rows[self._numbers[rows]])


class MappedRows:
    """Rows [N, ...] of which each is changed when it is read.

    Args:
        rows: As they are.
        change: rows [n, ...] -> rows of the same shape.
    """

    def __init__(
        self,
        rows: npt.NDArray[Any] | Rows,
        change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
    ) -> None:
        self._rows, self._change = rows, change
        self.shape: tuple[int, ...] = rows.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._change(self._rows[rows])


class MeanRows:
    """The mean of the same rows [N, ...] of several, taken when it is read.

    Args:
        several: Each one's rows.
        counted: bool [len(several), N], whose row counts; at least one's does.
        factors: float32 [len(several)], by which each one's rows are multiplied.
    """

    def __init__(
        self,
        several: Sequence[npt.NDArray[Any] | Rows],
        counted: npt.NDArray[np.bool_],
        factors: npt.NDArray[np.float32],
    ) -> None:
        self._several, self._counted, self._factors = several, counted, factors
        self.shape: tuple[int, ...] = several[0].shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        read = np.stack(
            [
                np.asarray(one[rows], np.float32) * factor
                for one, factor in zip(self._several, self._factors, strict=True)
            ]
        )
        counted = self._counted[:, rows].reshape(read.shape[:2] + (1,) * (read.ndim - 2))
        mean: npt.NDArray[np.float32] = read.mean(axis=0, where=counted)
        return mean


@dataclass(frozen=True)
class CachedFeatures:
    """What the frozen part gave for a split.

    Attributes:
        views: One array [N, ...] a view, float16, in memory or on disk.
        labels: int64 [N].
        targets: One array [N, classes] a view, what to answer; None: the labels.
        weights: float32 [N], how much each photo counts, 1 on average; None: all alike.
    """

    views: Sequence[npt.NDArray[np.float16] | Rows]
    labels: npt.NDArray[np.int64]
    targets: Sequence[npt.NDArray[np.floating[Any]] | Rows] | None = None
    weights: npt.NDArray[np.float32] | None = None

    def some(self, photos: npt.NDArray[np.integer[Any]]) -> CachedFeatures:
        """Those of some photos, by their numbers; the rows stay where they are."""
        return CachedFeatures(
            [SomeRows(view, photos) for view in self.views],
            self.labels[photos],
            None if self.targets is None else [SomeRows(one, photos) for one in self.targets],
            None if self.weights is None else self.weights[photos],
        )

    def counted(self, photos: slice | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """How much each of some photos counts: float32 [n]."""
        if self.weights is not None:
            return self.weights[photos]
        return np.ones(len(self.labels[photos]), np.float32)

    def batches(self, batch_size: int, seed: int, epochs: range) -> Iterator[WeightedBatch]:
        """Every view of every photo once an epoch, in an order that seed and epoch determine.

        An epoch's order does not depend on the epochs before, so a resumed training sees what an
        uninterrupted one would have seen.
        """
        photos = len(self.labels)
        for epoch in epochs:
            order = np.random.default_rng((seed, epoch)).permutation(len(self.views) * photos)
            for start in range(0, len(order), batch_size):
                view, photo = np.divmod(order[start : start + batch_size], photos)
                rows = _gather(self.views, view, photo)
                weights = self.counted(photo)
                if self.targets is None:
                    yield rows, self.labels[photo], weights
                else:
                    yield rows, _gather(self.targets, view, photo), weights

    def whole(self, batch_size: int, every: int = 1) -> Iterator[Batch]:
        """The first view of every photo once, or of every so many-th, in stored order."""
        photos = np.arange(0, len(self.labels), every)
        for start in range(0, len(photos), batch_size):
            some = photos[start : start + batch_size]  # no others are read
            yield np.asarray(self.views[0][some], np.float32), self.labels[some]

    def is_as_predicted(self) -> bool:
        """Whether no photo lies over another, as where a teacher's answers are learned."""
        return self.targets is None

    def count(self) -> int:
        """How many photos there are."""
        return len(self.labels)

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return -(-len(self.views) * len(self.labels) // batch_size)

    def checksum(self) -> int:
        """A number that other features, labels or weights do not have."""
        arrays = [*self.views, *(self.targets or ()), self.counted(slice(None))]
        return zlib.crc32(repr([self.labels.tolist(), *map(checksum_of, arrays)]).encode())


@dataclass(frozen=True)
class StreamedPhotos:
    """The photos themselves in place of features: for training all of the base.

    Attributes:
        photos: The photos.
        size: Height and width of the model's input.
        seed: Of the random views.
        views: The view of each epoch; none are needed where nothing is learned.
        teach: Says what to answer; None: the labels.
        teacher_key: What tells those who say it from others.
    """

    photos: LabelledPhotos
    size: tuple[int, int]
    seed: int
    views: Sequence[int]
    teach: TeachFn | None = None
    teacher_key: str = ""

    def batches(self, batch_size: int, seed: int, epochs: range) -> Iterator[WeightedBatch]:
        """A view of every photo once an epoch; see `CachedFeatures.batches`."""
        photos = self.photos
        if self.teach is not None:  # which photos they are, in place of what they are called
            numbered = photos.records.map(lambda number, content, _: (number, content, number))
            photos = replace(photos, records=numbered)
        for epoch in epochs:
            view = self.views[epoch]
            batches = data.pixels(
                photos,
                self.size,
                view=view,
                seed=self.seed,
                batch_size=batch_size,
                mixup=self.teach is not None,
                order=seed_of(seed, epoch),
            )
            for pixels, labels in batches.as_numpy_iterator():
                correct = labels if self.teach is None else self.teach(pixels, labels, view)
                yield pixels, correct, np.ones(len(labels), np.float32)

    def whole(self, batch_size: int, every: int = 1) -> Iterator[Batch]:
        """Every photo, or every so many-th, as it is seen at prediction, in stored order."""
        photos = self.photos
        if every > 1:
            photos = replace(photos, records=photos.records.shard(every, 0))
        batches: Iterator[Batch] = data.pixels(
            photos, self.size, batch_size=batch_size
        ).as_numpy_iterator()
        return batches

    def is_as_predicted(self) -> bool:
        """Always: `whole` lays no photo over another."""
        return True

    def count(self) -> int:
        """How many photos there are."""
        return self.photos.count

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return -(-self.photos.count // batch_size)

    def checksum(self) -> int:
        """A number that other photos, views or answers do not have."""
        photos = self.photos
        facts = (photos.dataset, photos.split, photos.fingerprint, self.seed, list(self.views))
        return zlib.crc32(repr((*facts, self.teacher_key)).encode())


def _gather(
    arrays: Sequence[npt.NDArray[Any] | Rows],
    view: npt.NDArray[np.integer[Any]],
    photo: npt.NDArray[Any],
) -> npt.NDArray[np.float32]:
    """The rows `arrays[view[i]][photo[i]]`."""
    rows = np.empty((len(photo), *arrays[0].shape[1:]), np.float32)
    for number, array in enumerate(arrays):
        here = view == number
        rows[here] = array[photo[here]]
    return rows
