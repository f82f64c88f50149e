"""The files of cached features: what a frozen network gave for photos, so that it runs but once.

A view of a split is kept in pieces of some hundred photos, each an array `KEY-PIECE.npy` with a
`KEY-PIECE.json` beside it that says what it holds. An interruption loses no more than a piece, and
photos that are added later are pieces of their own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.files import atomic_replace, write_json

_logger = logging.getLogger(__name__)

Key: TypeAlias = dict[str, Any]
"""Everything that the features of a view depend on, but for the photos: JSON-ready."""

_PIECE_PHOTOS, _PIECE_BYTES = 256, 64 << 20
"""How large a piece is at most: some seconds of work, and little enough to be held in memory."""


class NpyRows:
    """An array [N, ...] in a `.npy` file, of which only the rows in use are in memory.

    Args:
        path: The file.

    Raises:
        OSError, ValueError: There is none, or it is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shape: tuple[int, ...] = self._map().shape

    def _map(self) -> npt.NDArray[Any]:
        mapped: npt.NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return mapped

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        # Mapped anew: what was read through a map counts as memory in use for as long as it lasts.
        return np.array(self._map()[rows])


class PiecedRows:
    """Rows that lie in several files, as one array [N, ...].

    Args:
        pieces: The files.
        piece: int [N], in which of them each row lies.
        row: int [N], and where in it.
    """

    def __init__(
        self, pieces: Sequence[NpyRows], piece: npt.NDArray[np.intp], row: npt.NDArray[np.intp]
    ) -> None:
        self._pieces, self._piece, self._row = pieces, piece, row
        self.shape: tuple[int, ...] = (len(row), *pieces[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        piece, row = self._piece[rows], self._row[rows]
        found = np.empty((len(row), *self.shape[1:]), np.float16)
        for number in np.unique(piece):
            here = piece == number
            found[here] = self._pieces[number][row[here]]
        return found


class Rows(Protocol):
    """Rows [N, ...] of which only those in use are in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, ..."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]: ...


class CachedView(NamedTuple):
    """What is cached of a view.

    Attributes:
        rows: float16 [N, ...], None where photos are missing.
        labels: int64 [N]; undefined for those missing.
        missing: bool [N], which photos are not cached.
    """

    rows: Rows | None
    labels: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_]


class FeatureCache:
    """The cached features in a folder.

    Args:
        folder: Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: Key, photos: Sequence[str]) -> CachedView:
        """Looks up a view; what is damaged is said, and counts as missing.

        Args:
            key: Of the view.
            photos: What tells the photos apart, in the order wanted.
        """
        place = {photo: number for number, photo in enumerate(photos)}
        labels = np.zeros(len(photos), np.int64)
        piece = np.full(len(photos), -1, np.intp)
        row = np.zeros(len(photos), np.intp)
        pieces: list[NpyRows] = []
        for sidecar in sorted(self._folder.glob(f"{_name(key)}-*.json")):
            found = _read_piece(sidecar, key)
            if found is None:
                continue
            rows, names, their_labels = found
            here = [(place[name], number) for number, name in enumerate(names) if name in place]
            if not here:
                continue
            wanted, there = (np.array(numbers, np.intp) for numbers in zip(*here, strict=True))
            piece[wanted], row[wanted] = len(pieces), there
            labels[wanted] = their_labels[there]
            pieces.append(rows)
        missing = piece < 0
        if missing.any():
            return CachedView(None, labels, missing)
        if len(pieces) == 1 and np.array_equal(row, np.arange(len(pieces[0]))):
            return CachedView(pieces[0], labels, missing)
        return CachedView(PiecedRows(pieces, piece, row), labels, missing)

    def write(
        self,
        key: Key,
        photos: Sequence[str],
        rows: npt.NDArray[np.float16],
        labels: npt.NDArray[np.int64],
        about: Mapping[str, str],
    ) -> None:
        """Keeps the features of some photos.

        Args:
            key: Of the view.
            photos: What tells them apart.
            rows: float16 [M, ...].
            labels: int64 [M].
            about: `dataset`, `split` and `run`, for people: a photo is found wherever it lies.
        """
        digest = hashlib.sha256("\n".join(photos).encode()).hexdigest()[:12]
        path = self._folder / f"{_name(key)}-{digest}.npy"
        with atomic_replace(path) as temporary, open(temporary, "wb") as file:
            # Not through a memory map: a full disk would end the process with a bus error. Not
            # through NumPy either, whose error does not say that the disk is full.
            np.lib.format.write_array_header_1_0(
                file,
                {
                    "descr": np.lib.format.dtype_to_descr(rows.dtype),
                    "fortran_order": False,
                    "shape": rows.shape,
                },
            )
            file.write(np.ascontiguousarray(rows).tobytes())
        # Written last: features without it are not believed.
        sidecar = {
            "key": key,
            "about": dict(about),
            "checksum": checksum_of(rows),
            "photos": list(photos),
            "labels": labels.tolist(),
        }
        write_json(path.with_suffix(".json"), sidecar)

    def holds_earlier_version(self, trunk: str) -> bool:
        """Whether features of a network are here that an earlier version of this package wrote.

        It told photos apart by their numbers in a split, in a file for each view.
        """
        for sidecar in self._folder.glob("*.json"):
            if "-" in sidecar.stem:
                continue
            try:
                if json.loads(sidecar.read_text(encoding="utf-8"))["key"]["trunk"] == trunk:
                    return True
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return False

    @property
    def bytes(self) -> int:
        """The size of all its files."""
        return sum(one.stat().st_size for one in self._folder.glob("*") if one.is_file())

    def entries(self) -> list[CacheEntry]:
        """What is cached, by network, data set and split; the latest first."""
        grouped: dict[tuple[str, str, str], list[Path]] = {}
        runs: dict[tuple[str, str, str], set[str]] = {}
        for sidecar in self._folder.glob("*.json"):
            try:
                content = json.loads(sidecar.read_text(encoding="utf-8"))
                key = content["key"]
                about = content.get("about", key)  # earlier versions had it in the key
                facts = (str(key["trunk"]), str(about["dataset"]), str(about["split"]))
                if run := about.get("run"):  # earlier versions did not say
                    runs.setdefault(facts, set()).add(str(run))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                facts = ("", "", "")
            grouped.setdefault(facts, []).extend([sidecar, sidecar.with_suffix(".npy")])
        known = {path for paths in grouped.values() for path in paths}
        # Of a training that was killed between the two, or of another program.
        lone = [path for path in self._folder.glob("*.npy") if path not in known]
        if lone:
            grouped.setdefault(("", "", ""), []).extend(lone)
        entries = []
        for (trunk, dataset, split), paths in grouped.items():
            there = [(path, path.stat()) for path in paths if path.is_file()]
            size = sum(one.st_size for _, one in there)
            written = max(one.st_mtime for _, one in there)
            names = tuple(path for path, _ in there)
            of_runs = tuple(sorted(runs.get((trunk, dataset, split), ())))
            entries.append(CacheEntry(trunk, dataset, split, of_runs, size, written, names))
        return sorted(entries, key=lambda entry: -entry.written)


@dataclass(frozen=True)
class CacheEntry:
    """The cached features of a split, of one network.

    Attributes:
        network: What tells the network from others, in hexadecimal; "" where the files are
            damaged or incomplete.
        dataset: Name and version of the data set; "" as above.
        split: Which photos of it; "" as above.
        runs: The runs that wrote them, by the names of their folders, sorted; none where it is not
            known.
        bytes: Size of all files.
        written: When the last of them was written, in seconds since 1970.
        paths: The files.
    """

    network: str
    dataset: str
    split: str
    runs: tuple[str, ...]
    bytes: int
    written: float
    paths: tuple[Path, ...]

    @property
    def age_seconds(self) -> float:
        """How long ago the last file was written."""
        return max(time.time() - self.written, 0.0)

    def delete(self) -> None:
        """Removes the files; what is needed again is computed again."""
        # What describes an array first: an array alone is not believed.
        for path in sorted(self.paths, key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)


def photos_of_a_piece(row_bytes: int) -> int:
    """How many photos go into a piece, for features of so many bytes a photo.

    >>> photos_of_a_piece(8_000), photos_of_a_piece(1 << 20)
    (256, 64)
    """
    return min(_PIECE_PHOTOS, max(_PIECE_BYTES // row_bytes, 1))


def checksum_of(rows: npt.NDArray[Any] | Rows) -> int:
    """A number that other rows do not have."""
    checksum = 0
    for start in range(0, len(rows), 256):  # in parts: the array may be larger than memory
        checksum = zlib.crc32(rows[start : start + 256].tobytes(), checksum)
    return checksum


def _read_piece(sidecar: Path, key: Key) -> tuple[NpyRows, list[str], npt.NDArray[np.int64]] | None:
    """Rows, names and labels of a piece; None, with a word why, where it is not whole."""
    path = sidecar.with_suffix(".npy")
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        rows = NpyRows(path)
        names, labels = content["photos"], np.array(content["labels"], np.int64)
        whole = (
            content["key"] == key
            and len(rows) == len(labels) == len(names)
            and checksum_of(rows) == content["checksum"]
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        _logger.warning(f"cached features {path} are damaged: they are made again")
        return None
    return rows, names, labels


def _name(key: Key) -> str:
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]


def pieces(total: npt.NDArray[np.bool_], size: int) -> Iterator[npt.NDArray[np.intp]]:
    """The numbers of the photos that are True in `total`, in groups within multiples of `size`.

    >>> [group.tolist() for group in pieces(np.array([1, 0, 1, 1, 1], bool), 2)]
    [[0], [2, 3], [4]]
    """
    numbers = np.flatnonzero(total)
    if len(numbers):
        yield from np.split(numbers, np.flatnonzero(np.diff(numbers // size)) + 1)
