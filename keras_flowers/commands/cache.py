"""Lists or deletes the features that training keeps, so that the next training is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.messages import show_messages
from keras_flowers.inference.text import printable
from keras_flowers.training.config import cache_folder
from keras_flowers.training.feature_cache import CacheEntry, FeatureCache

EXAMPLES = """examples:
  what is there, the latest first
      keras-flowers cache
  keep at most 500 MB: the oldest go first
      keras-flowers cache --limit 500MB
  delete everything
      keras-flowers cache --clear

Deleted features are computed again when a training needs them. Delete nothing while one runs.
The features of the test split are there, too: a second training of the same base reads them. Those
that only a fine-tuned network gives are deleted by its own training, when that is finished.
"""

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers cache",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    deletes = parser.add_mutually_exclusive_group()
    deletes.add_argument("--clear", action="store_true", help="delete all cached features")
    deletes.add_argument(
        "--limit",
        metavar="SIZE",
        type=parse_size,
        help="delete the oldest until the rest takes at most SIZE, such as 500MB or 2GB",
    )
    parser.add_argument(
        "--cache_dir",
        metavar="FOLDER",
        help="the cache, as keras-flowers train takes it (default: the same as there)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    folder = cache_folder(options.cache_dir) / "features"
    entries = FeatureCache(folder).entries()
    if not options.clear and options.limit is None:
        print(format_entries(entries, folder))
        return 0
    limit = 0 if options.clear else options.limit
    old = oldest_above(entries, limit)
    for entry in old:
        entry.delete()
    freed, total = sum(entry.bytes for entry in old), sum(entry.bytes for entry in entries)
    print(f"deleted {format_size(freed)}; {format_size(total - freed)} are left in {folder}")
    return 0


def oldest_above(entries: Sequence[CacheEntry], limit: int) -> list[CacheEntry]:
    """The entries to delete, the oldest first, so that the rest takes at most `limit` bytes."""
    total, old = sum(entry.bytes for entry in entries), []
    for entry in sorted(entries, key=lambda entry: entry.written):
        # With a limit of 0 everything goes, empty files too.
        if total <= limit and limit:
            break
        old.append(entry)
        total -= entry.bytes
    return old


def format_entries(entries: Sequence[CacheEntry], folder: Path) -> str:
    """A table: size, age, which run ran which network over which photos."""
    if not entries:
        return f"no cached features in {folder}"
    rows = [("size", "age", "run", "network", "data set", "split")]
    for one in entries:
        known = ("damaged", "", "", "")
        if one.dataset:
            runs = printable(", ".join(one.runs) or "-")
            known = (runs, one.network[:8], printable(one.dataset), printable(one.split))
        rows.append((format_size(one.bytes), format_age(one.age_seconds), *known))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{size:>{widths[0]}}  {age:>{widths[1]}}  {run:<{widths[2]}}  {network:<{widths[3]}}  "
        f"{dataset:<{widths[4]}}  {split}".rstrip()
        for size, age, run, network, dataset, split in rows
    ]
    total = format_size(sum(one.bytes for one in entries))
    return "\n".join([*lines, f"\n{total} in {folder}"])


def parse_size(text: str) -> int:
    """Bytes of a size as people write it.

    >>> parse_size("500MB"), parse_size("1.5 g"), parse_size("1000")
    (500000000, 1500000000, 1000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:B)?", text.strip().upper())
    if not found:
        raise argparse.ArgumentTypeError(f"expected a size such as 500MB or 2GB, got {text}")
    return int(float(found[1]) * _UNITS[found[2]])


def format_size(size: int) -> str:
    """A size to read.

    >>> format_size(0), format_size(999), format_size(93_100_000), format_size(2_600_000_000)
    ('0 B', '999 B', '93.1 MB', '2.6 GB')
    """
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_of:
            return f"{size / bytes_of:.1f} {unit}"
    return f"{size} B"


def format_age(seconds: float) -> str:
    """An age to read.

    >>> format_age(59), format_age(60), format_age(7200), format_age(86400 * 400)
    ('0 minutes', '1 minute', '2 hours', '400 days')
    """
    units = (("day", 86400), ("hour", 3600), ("minute", 60))
    unit, length = next((one for one in units if seconds >= one[1]), units[-1])
    count = int(seconds // length)
    return f"{count} {unit}{'' if count == 1 else 's'}"
