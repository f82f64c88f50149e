"""What a source of labelled photos is: the seam that folders, tables and TFDS sets stand behind."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from keras_flowers.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

UNKNOWN: Final = "unknown"
"""The label of photos that show none of the classes."""

SPLITS: Final = ("train", "validation", "test")
"""The splits that every source has in the end, whether it brings them or they are made."""

ALL: Final = "photos"
"""The only split of a source that brings none. Not "all", which means something to TFDS."""

Read: TypeAlias = Callable[[], bytes]
"""Gives the bytes of a photo's file. Raises OSError or UserError where it cannot be read."""


class Subject(NamedTuple):
    """What a photo shows, as a table says it beside the label; "" where it says nothing.

    Attributes:
        kind: In a word, such as `other flower` or `no flower`.
        species: The plant, in words of the table.
    """

    kind: str = ""
    species: str = ""


class StoredPhotos(Protocol):
    """Photos where they lie, in a stable order."""

    @property
    def places(self) -> Sequence[str]:
        """Where each lies, as a person finds it."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """What the data set calls each, on any machine."""
        ...

    @property
    def stamps(self) -> Sequence[str]:
        """A word for each that changes when its content does."""
        ...

    @property
    def labels(self) -> Sequence[str] | None:
        """The label of each; None where only `contents` tells."""
        ...

    @property
    def groups(self) -> Sequence[str] | None:
        """What each belongs to (a plant, a burst), "" for nothing; None where nobody knows."""
        ...

    @property
    def origins(self) -> Sequence[str] | None:
        """Who took each or where it was found, "" for nobody knows; None where all are alike."""
        ...

    @property
    def subjects(self) -> Sequence[Subject] | None:
        """What each shows, besides its label; None where nobody says."""
        ...

    def span(self, first: int, end: int) -> StoredPhotos:
        """Those from one number on, before another; without the others, they can be pickled."""
        ...

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[str, Read]]:
        """The label of each photo in `wanted` (ascending numbers), and how its bytes are read."""
        ...

    def records(self, wanted: Sequence[int]) -> tf.data.Dataset:
        """tf.data of the bytes (string []) of the photos in `wanted` (ascending numbers)."""
        ...


class Source(Protocol):
    """Labelled photos of one place."""

    @property
    def name(self) -> str:
        """What it is called in messages and in a model's provenance."""
        ...

    @property
    def location(self) -> str:
        """Where it lies; no two sources have the same."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, in their order; without `UNKNOWN`."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """How many photos each split holds that it brings; only `ALL` where it brings none."""
        ...

    def photos(self, expression: str) -> StoredPhotos:
        """The photos of a split expression, such as `train[:50%]+test`."""
        ...


@dataclass(frozen=True)
class FilePhotos:
    """Photos that are files: what folders and tables hold.

    Attributes:
        root: The folder that `places` start from.
        places: Their paths, relative to `root` or absolute.
        labels: The label of each.
        groups: As `StoredPhotos`.
        origins: As `StoredPhotos`.
        subjects: As `StoredPhotos`.
    """

    root: Path
    places: Sequence[str]
    labels: Sequence[str]
    groups: Sequence[str] | None = None
    origins: Sequence[str] | None = None
    subjects: Sequence[Subject] | None = None

    @property
    def names(self) -> Sequence[str]:
        """As `StoredPhotos.names`: their paths."""
        return self.places

    @property
    def stamps(self) -> list[str]:
        """Path, size and time of change: what tells without reading that a file is the same."""
        return [self._stamp(place) for place in self.places]

    def _stamp(self, place: str) -> str:
        path = self.root / place
        try:
            status = path.stat()
        except (OSError, ValueError):
            return f"{path} is not there"
        return f"{path} {status.st_size} {status.st_mtime_ns}"

    def span(self, first: int, end: int) -> FilePhotos:
        """As `StoredPhotos.span`."""
        return self.select(range(first, end))

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[str, Read]]:
        """As `StoredPhotos.contents`."""
        for number in wanted:
            yield self.labels[number], functools.partial(_read, self.root / self.places[number])

    def records(self, wanted: Sequence[int]) -> tf.data.Dataset:
        """As `StoredPhotos.records`."""
        import os

        import tensorflow as tf

        paths = [os.fsencode(self.root / self.places[number]) for number in wanted]
        files = tf.data.Dataset.from_tensor_slices(tf.constant(paths, tf.string, [len(paths)]))
        return files.map(tf.io.read_file, num_parallel_calls=2, deterministic=True)

    def select(self, numbers: Sequence[int]) -> FilePhotos:
        """Some of them, in the order of `numbers`."""
        return FilePhotos(
            self.root,
            [self.places[number] for number in numbers],
            [self.labels[number] for number in numbers],
            None if self.groups is None else [self.groups[number] for number in numbers],
            None if self.origins is None else [self.origins[number] for number in numbers],
            None if self.subjects is None else [self.subjects[number] for number in numbers],
        )


@dataclass(frozen=True)
class FileSource:
    """A source whose photos are files.

    Attributes:
        name: As `Source`.
        location: As `Source`.
        labels: As `Source`.
        splits: The photos of each split that it brings; only `ALL` where it brings none.
    """

    name: str
    location: str
    labels: tuple[str, ...]
    splits: Mapping[str, FilePhotos]

    @property
    def counts(self) -> dict[str, int]:
        """As `Source`."""
        return {split: len(photos.places) for split, photos in self.splits.items()}

    def photos(self, expression: str) -> FilePhotos:
        """As `Source.photos`."""
        pieces = [
            self.splits[split].select(range(start, end))
            for split, start, end in slices_of(expression, self.counts, self.name)
        ]
        groups = [group for piece in pieces for group in piece.groups or [""] * len(piece.places)]
        origins = [one for piece in pieces for one in piece.origins or [""] * len(piece.places)]
        subjects = [
            one for piece in pieces for one in piece.subjects or [Subject()] * len(piece.places)
        ]
        return FilePhotos(
            pieces[0].root,
            [place for piece in pieces for place in piece.places],
            [label for piece in pieces for label in piece.labels],
            groups if any(groups) else None,
            origins if any(origins) else None,
            subjects if any(map(any, subjects)) else None,
        )


def slices_of(expression: str, counts: Mapping[str, int], name: str) -> list[tuple[str, int, int]]:
    """What a split expression, as TFDS reads them, means: (split, first photo, end).

    Raises:
        UserError: It names a split that there is not, or cannot be understood.
    """
    import tensorflow_datasets as tfds

    try:
        known = {split: SimpleNamespace(num_examples=count) for split, count in counts.items()}
        read = tfds.core.ReadInstruction.from_spec(expression).to_absolute(known)
    except (AssertionError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{name} has no split {expression!r} ({reason}); it has {', '.join(counts)}"
        ) from None
    found = [
        (one.splitname, one.from_ or 0, counts[one.splitname] if one.to is None else one.to)
        for one in read
    ]
    if not sum(end - start for _, start, end in found):
        raise UserError(f"the split {expression!r} of {name} holds no photos")
    return found


def normal_split(name: str) -> str | None:
    """The split that a folder or a table's cell names in one of the usual words.

    >>> normal_split("valid"), normal_split("Testing"), normal_split("roses")
    ('validation', 'test', None)
    """
    words = {
        "train": ("train", "training"),
        "validation": ("validation", "valid", "val", "dev"),
        "test": ("test", "testing"),
    }
    return next((split for split, known in words.items() if name.strip().lower() in known), None)


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of classes: numbers by their value, everything else as text.

    >>> in_order(["10", "9", "1"]), in_order(["rose", "daisy", "rose"])
    (['1', '9', '10'], ['daisy', 'rose'])
    >>> in_order(["10", "unknown", "9"])  # which is no class
    ['9', '10', 'unknown']
    """
    once = set(names)
    if all(re.fullmatch(r"\d{1,9}", name) for name in once - {UNKNOWN}):
        return sorted(once, key=lambda name: (name == UNKNOWN, name != UNKNOWN and int(name), name))
    return sorted(once)


def _read(path: Path) -> bytes:
    """The bytes of a file that may be a photo.

    Raises:
        UserError: It cannot be read, or its ending says that it is none; "it" is its name, since
            the list of what is left out names its place already.
    """
    from keras_flowers.inference.formats import kind_of, refusal_of
    from keras_flowers.inference.image import read_file

    content = read_file(path, "it")
    kind = kind_of(content, path.suffix)
    if kind is not None:
        raise UserError(f"it {refusal_of(kind)}")
    return content
