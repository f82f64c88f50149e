"""A long run cut into parts, the same ones each time: from the arguments to numbered work."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import PhotoInput
from keras_flowers.inference.scale import shards
from keras_flowers.inference.scale.inputs import Input
from keras_flowers.inference.scale.places import Place, StoredFile

PHOTOS_OF_A_PART = 512
"""Photos answered at a time by a worker, and lost where it is killed: some ten seconds of work.
Smaller parts cost a file each, of which file systems do not like hundreds of thousands."""


class Part(NamedTuple):
    """Some of the photos of a run, in their order.

    Attributes:
        number: From 0.
        inputs: Photos as files; or one shard, or a piece of one.
        photos: How many photos there are; None where only reading tells.
    """

    number: int
    inputs: tuple[Input, ...]
    photos: int | None


class Plan:
    """The parts of a run; they lie on the disk, so that ten million photos take no memory.

    Attributes:
        digest: Of the names and sizes of all inputs: the same for the same work.
        photos: How many photos there are, without those of the shards whose number nobody knows.
        unknown: How many such shards there are.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._starts: list[int] = []
        self._photos: list[int | None] = []
        self._times: list[str] = []
        self._digest = hashlib.sha256()
        self.photos = 0
        self.unknown = 0

    @property
    def digest(self) -> str:
        """Hexadecimal."""
        return self._digest.hexdigest()

    def __len__(self) -> int:
        return len(self._starts)

    def photos_of(self, number: int) -> int | None:
        """How many photos a part has; None where only reading tells."""
        return self._photos[number]

    def times_of(self, number: int) -> str:
        """A digest of when the photos or shards of a part were last changed, as they were listed.

        It is not in `digest`: a photo that is replaced, or copied, costs its part and not the run.
        """
        return self._times[number]

    def part(self, number: int) -> Part:
        """One of the parts."""
        self._file.seek(self._starts[number])
        rows = json.loads(self._file.readline())
        inputs = tuple(
            Input(name, Place(*place), error, None if piece is None else (piece[0], piece[1]), n)
            for name, place, error, piece, n in rows
        )
        return Part(number, inputs, self._photos[number])

    def _add(self, inputs: list[Input]) -> None:
        self._starts.append(self._file.tell())
        self._file.write(json.dumps(inputs, separators=(",", ":")).encode("ascii") + b"\n")
        photos = _photos_in(inputs)
        self._photos.append(photos)
        times = [one.place.modified for one in inputs]
        self._times.append(hashlib.sha256(str(times).encode()).hexdigest())
        self.photos += photos or 0
        self.unknown += photos is None
        for one in inputs:
            said = [one.name, one.place.size, one.error, one.rows]
            self._digest.update(json.dumps(said).encode("ascii") + b"\n")


def _photos_in(inputs: Iterable[Input]) -> int | None:
    numbers = [one.photos for one in inputs]
    return None if None in numbers else sum(number or 0 for number in numbers)


@contextmanager
def cut(inputs: Iterable[Input], photos_of_a_part: int, folder: Path) -> Iterator[Plan]:
    """Cuts the inputs of a run into parts.

    Args:
        inputs: As `find_all` gives them; taken once, as they come.
        photos_of_a_part: How many files make a part; a shard, or a piece of one, is a part.
        folder: Where the list of them is kept meanwhile, in a file without a name: it is gone with
            the process, however that ends.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        plan = Plan(file)
        together: list[Input] = []
        for one in inputs:
            if one.is_shard:
                if together:
                    plan._add(together)
                    together = []
                plan._add([one])
                continue
            together.append(one)
            if len(together) == photos_of_a_part:
                plan._add(together)
                together = []
        if together:
            plan._add(together)
        yield plan


def photos_of(part: Part) -> Iterator[PhotoInput]:
    """The photos of a part; those of the shards are read as they are taken."""
    for one in part.inputs:
        if one.error:
            yield PhotoInput(one.name, UserError(one.error))
        elif one.rows is not None:
            yield from shards.read_parquet(one.place, one.name, one.rows)
        elif one.is_shard:
            yield from shards.read_tar(one.place, one.name)
        elif one.place.root:
            yield PhotoInput(one.name, StoredFile(one.name, one.place))
        else:
            yield PhotoInput(one.name, one.place.path)
