"""The folder of a long run: what was asked, the finished parts, and one table of them all."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_flowers import __version__
from keras_flowers.errors import UserError, reason_of
from keras_flowers.files import atomic_replace, read_json, write_json
from keras_flowers.inference.scale.naming import import_pyarrow
from keras_flowers.inference.text import printable

if TYPE_CHECKING:
    import pyarrow

MANIFEST = "manifest.json"
PARTS = "parts"

ENDINGS = (".parquet", ".csv")
"""What one table may be written as."""

_WHAT = {
    "version": "another version of keras_flowers",
    "model": "another model",
    "options": "other options",
    "inputs": "other photos",
}
"""What must be the same for a run to go on, in the order in which it is looked at."""


class Count(NamedTuple):
    """How many photos have a row, and how many of these could not be read."""

    photos: int = 0
    failed: int = 0

    def __add__(self, other: object) -> Count:
        assert isinstance(other, Count)
        return Count(self.photos + other.photos, self.failed + other.failed)


class RunFolder:
    """A folder with the manifest of a run and its parts.

    Attributes:
        path: The folder.
        manifest: What was asked: `version` of the package, `model` (name and digest), `inputs`
            (digest, number of photos and of parts) and `options`; and the `arguments`, which may be
            others as long as they mean the same photos.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        asked = [manifest.get(key) for key in _WHAT]
        self._key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @classmethod
    def begin(cls, path: Path, manifest: Mapping[str, Any]) -> RunFolder:
        """Begins a run, or goes on with the one that is there.

        Args:
            path: The folder, which may be there.
            manifest: What is asked, without `version`.

        Raises:
            UserError: It holds another run, or something else.
        """
        manifest = json.loads(json.dumps({"version": __version__, **manifest}))
        file = path / MANIFEST
        if not file.exists():
            if path.is_dir() and any(one.name[0] != "." for one in path.iterdir()):
                raise UserError(
                    f"{printable(path)} holds other things; expected a new folder, or one in which "
                    "this run was begun"
                )
            # The same, whoever is first: several shards may begin at a time.
            write_json(file, manifest)
        old = cls.open(path)
        for key, what in _WHAT.items():
            then, now = old.manifest.get(key), manifest[key]
            if then != now:
                raise UserError(
                    f"{printable(path)} was begun with {what} ({_difference(then, now)}); choose "
                    "another --output, or delete the folder"
                )
        return old

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in a folder.

        Raises:
            UserError: There is none.
        """
        file = path / MANIFEST
        if not file.is_file():
            raise UserError(
                f"{printable(path)} has no {MANIFEST}; expected a folder that keras-flowers "
                "predict PHOTOS --output FOLDER/ wrote"
            )
        manifest = read_json(file)
        if not isinstance(manifest, dict) or not isinstance(manifest.get("inputs"), dict):
            raise UserError(
                f"{printable(file)} is not the manifest of a run; choose another folder"
            )
        return cls(path, manifest)

    @property
    def parts(self) -> int:
        """How many parts the run has."""
        return int(self.manifest["inputs"]["parts"])

    def file(self, number: int) -> Path:
        """Where the rows of a part are, once all of them are there."""
        # In folders of a thousand, since some file systems are slow with more.
        return self.path / PARTS / f"{number // 1000:04}" / f"part-{number:07}.parquet"

    def is_done(self, number: int) -> bool:
        """Whether a part has its rows."""
        return self.file(number).is_file()

    def write(self, number: int, table: pyarrow.Table, times: str) -> Count:
        """Writes the rows of a part, all or none of them; a second time they are the same.

        Args:
            number: Which part.
            table: Its rows.
            times: What stands for the times at which its photos were last changed.
        """
        from pyarrow import parquet

        count = _count(table)
        said = {
            "keras_flowers": __version__,
            "run": self._key,
            "part": str(number),
            "failed": str(count.failed),
            "times": times,
        }
        with atomic_replace(self.file(number)) as temporary:
            parquet.write_table(table.replace_schema_metadata(said), temporary)
        return count

    def forget(self, number: int) -> None:
        """Removes the rows of a part."""
        self.file(number).unlink()

    def count(self, number: int, times: str) -> Count | None:
        """How many rows a finished part has; reads its last bytes alone.

        Args:
            number: Which part.
            times: As for `write`.

        Returns:
            None where its photos were changed since.

        Raises:
            UserError: It is damaged, or of another run or place.
        """
        with self._opened(number) as (file, said):
            if said.get(b"times") != times.encode():
                return None
            return Count(file.metadata.num_rows, int(said[b"failed"]))

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[Any, Mapping[bytes, bytes]]]:
        import_pyarrow()
        from pyarrow import parquet

        path = self.file(number)
        advice = "delete it, and let the same command write it anew"
        try:
            file = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            reason = reason_of(error)
            raise UserError(f"{printable(path)} is damaged ({reason}); {advice}") from None
        with file:
            said = file.schema_arrow.metadata or {}
            if (said.get(b"run"), said.get(b"part")) != (self._key.encode(), b"%d" % number):
                raise UserError(f"{printable(path)} is a part of another run; {advice}")
            yield file, said

    def merge(self, output: Path) -> Count:
        """Checks that every part is there once, and writes the rows of all, in their order.

        One part is in memory at a time.

        Args:
            output: A .parquet, or a .csv; replaced once all is written.

        Returns:
            What is in the table.

        Raises:
            UserError: Parts are missing, damaged or of another run, or `output` ends otherwise.
        """
        if output.suffix.lower() not in ENDINGS:
            raise UserError(
                f"a table cannot be written as {output.name}; expected a name that ends in "
                f"{' or '.join(ENDINGS)}"
            )
        self._check_complete()
        with atomic_replace(output) as temporary:
            write = _write_parquet if output.suffix.lower() == ".parquet" else _write_csv
            return write(temporary, self._tables())

    def _check_complete(self) -> None:
        missing = [number for number in range(self.parts) if not self.is_done(number)]
        if missing:
            few = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise UserError(
                f"{len(missing)} of the {self.parts} parts in {printable(self.path)} are missing "
                f"({few}); run the command that began them again: it does what is left"
            )
        wanted = {self.file(number) for number in range(self.parts)}
        for path in sorted((self.path / PARTS).rglob("*.parquet")):
            if path not in wanted:
                raise UserError(f"{printable(path)} is no part of this run; move it elsewhere")

    def _tables(self) -> Iterator[pyarrow.Table]:
        for number in range(self.parts):
            with self._opened(number) as (file, _):
                try:
                    yield file.read()
                except (OSError, ValueError) as error:
                    raise UserError(
                        f"{printable(self.file(number))} is damaged ({reason_of(error)}); delete "
                        "it, and let the same command write it anew"
                    ) from None


def _difference(then: Any, now: Any) -> str:
    """What is not the same any more.

    >>> _difference({"a": 1, "b": 2}, {"a": 1, "b": 3})
    'b: 2 then, 3 now'
    """
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [key for key in now if then.get(key) != now[key]]
        return "; ".join(f"{key}: {_difference(then.get(key), now[key])}" for key in keys)
    return f"{str(then)[:80]} then, {str(now)[:80]} now"


def _count(table: pyarrow.Table) -> Count:
    return Count(len(table), len(table) - int(table["error"].null_count))


def _write_parquet(path: Path, tables: Iterator[pyarrow.Table]) -> Count:
    from pyarrow import parquet

    total, writer = Count(), None
    try:
        for table in tables:
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema.remove_metadata())
            writer.write_table(table)
            total += _count(table)
    finally:
        if writer is not None:
            writer.close()
    return total


def _write_csv(path: Path, tables: Iterator[pyarrow.Table]) -> Count:
    total = Count()
    with open(path, "w", encoding="utf-8", newline="") as file:
        # The module that writes the rows of a single machine, so that they are the same bytes.
        writer = csv.writer(file, lineterminator="\n")
        for table in tables:
            if not total.photos:
                writer.writerow(table.column_names)
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
            total += _count(table)
    return total


def shard_of(parts: int, shard: tuple[int, int]) -> Sequence[int]:
    """The parts that one of several processes does: every one is of exactly one of them.

    Args:
        parts: How many there are.
        shard: Which process, from 1, and of how many.

    >>> [list(shard_of(5, (number, 2))) for number in (1, 2)]
    [[0, 2, 4], [1, 3]]
    """
    number, of = shard
    return range(number - 1, parts, of)
