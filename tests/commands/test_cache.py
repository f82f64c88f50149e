"""`keras-flowers cache`: what is kept, how large and how old it is, and how it goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.commands import cache
from keras_flowers.training.feature_cache import FeatureCache

HOURS = 3600.0


def write(folder: Path, split: str, photos: int, age: float, *runs: str) -> None:
    """Caches some features, in a piece for each run; `age` in seconds."""
    before = set(folder.glob("features/*"))
    for run in runs or ("",):
        about = {"dataset": "oxford_flowers102/2.1.1", "split": split}
        FeatureCache(folder / "features").write(
            {"trunk": "0123456789abcdef", "split": split},  # tells the files of one from another's
            [f"photo {number} {run}" for number in range(photos)],
            np.zeros((photos, 1000), np.float16),
            np.zeros(photos, np.int64),
            {**about, "run": run} if run else about,
        )
    for path in set(folder.glob("features/*")) - before:
        os.utime(path, (time.time() - age,) * 2)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    write(tmp_path, "train", 250, 5 * HOURS, "roses", "MobileNetV2")
    write(tmp_path, "validation", 100, 49 * HOURS)
    return tmp_path


def run(folder: Path, *arguments: str) -> int:
    return cache.main([*arguments, "--cache_dir", str(folder)])


def sizes(folder: Path) -> dict[str, int]:
    return {one.split: one.bytes for one in FeatureCache(folder / "features").entries()}


def test_table_has_size_age_and_origin_the_latest_first(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (filled / "features" / "left.npy").write_bytes(bytes(10))
    os.utime(filled / "features" / "left.npy", (time.time() - 200 * HOURS,) * 2)
    assert run(filled) == 0
    header, train, validation, damaged, empty, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["size", "age", "run", "network", "data", "set", "split"]
    assert train.split()[:6] == ["1.0", "MB", "5", "hours", "MobileNetV2,", "roses"]
    assert train.split()[6:] == ["01234567", "oxford_flowers102/2.1.1", "train"]
    # An earlier version did not write which run it was.
    assert validation.split()[2:6] == ["2", "days", "-", "01234567"]
    assert {len(line[: line.index("oxford")]) for line in (train, validation)} == {
        header.index("data set")
    }
    assert damaged.split() == ["10", "B", "8", "days", "damaged"]
    assert (empty, total) == ("", f"1.2 MB in {filled / 'features'}")


@pytest.mark.parametrize("arguments", [[], ["--clear"], ["--limit", "1GB"]])
def test_empty_cache_is_no_error(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *arguments) == 0
    assert str(tmp_path / "features") in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_clear_deletes_features_and_nothing_else(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (filled / "features" / "notes.txt").touch()
    (filled / "other").touch()
    assert run(filled, "--clear") == 0
    assert capsys.readouterr().out.startswith("deleted 1.2 MB; 0 B are left in ")
    assert sorted(path.name for path in filled.rglob("*.*")) == ["notes.txt"]
    assert (filled / "other").exists()


@pytest.mark.parametrize(
    ("limit", "left"),
    [("5MB", {"train", "validation"}), ("1.1MB", {"train"}), ("1kB", set()), ("0", set())],
)
def test_limit_deletes_the_oldest_first(filled: Path, limit: str, left: set[str]) -> None:
    assert run(filled, "--limit", limit) == 0
    assert sizes(filled).keys() == left
    assert sum(sizes(filled).values()) <= cache.parse_size(limit)


def test_clearing_deletes_empty_files_too() -> None:
    entries: list[Any] = [
        SimpleNamespace(bytes=0, written=1.0),
        SimpleNamespace(bytes=5, written=2.0),
        SimpleNamespace(bytes=0, written=3.0),
    ]
    assert cache.oldest_above(entries, 0) == entries
    assert cache.oldest_above(entries, 4) == entries[:2]
    assert cache.oldest_above(entries, 5) == []


@pytest.mark.parametrize("size", ["", "much", "-1MB", "5XB", "1 2"])
def test_size_that_is_none_is_refused(
    tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, f"--limit={size}")
    assert ended.value.code == 2
    assert "expected a size such as 500MB" in capsys.readouterr().err


def test_sizes_and_ages_change_their_unit_where_it_is_full() -> None:
    sizes = (999, 1000, 999_949, 1_000_000, 999_000_000, 1_000_000_000)
    assert [cache.format_size(size) for size in sizes] == [
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "999.0 MB",
        "1.0 GB",
    ]
    ages = (59, 60, 3599, 3600, 86399, 86400, 172800)
    assert [cache.format_age(age) for age in ages] == [
        "0 minutes",
        "1 minute",
        "59 minutes",
        "1 hour",
        "23 hours",
        "1 day",
        "2 days",
    ]
    units = [cache.parse_size(f"1{unit}") for unit in ("", "B", "k", "KB", "m", "G", "tb")]
    assert units == [1, 1, 10**3, 10**3, 10**6, 10**9, 10**12]


def test_what_another_program_left_is_damaged_and_steers_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "features").mkdir()
    for number, content in enumerate(
        ('{"key": {"trunk": "a"}, "about": []}', "[]", "{}", "no JSON")
    ):
        (tmp_path / "features" / f"{number}.json").write_text(content)
    write(tmp_path, "train", 1, 0.0, "a\x1b[31mrun")
    assert run(tmp_path) == 0
    written = capsys.readouterr().out
    assert "\x1b" not in written
    assert len(written.splitlines()) == 5
    assert "damaged" in written


def test_listing_loads_no_tensorflow(filled: Path) -> None:
    code = (
        "import sys; from keras_flowers.commands import cache\n"
        "cache.main(['--cache_dir', sys.argv[1]])\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, str(filled)], check=True)
