"""Cached features: in pieces, believed only where whole, listed and deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_flowers.commands.messages import show_messages
from keras_flowers.training.feature_cache import FeatureCache, NpyRows, PiecedRows

KEY: dict[str, Any] = {"trunk": "abc", "dataset": "a_set/1.0.0", "split": "train", "view": 0}
ROWS = np.arange(24, dtype=np.float16).reshape(6, 4)
NAMES = [str(number) for number in range(6)]
LABELS = np.array([3, 1, 4, 1, 5, 9])


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    show_messages()
    return FeatureCache(tmp_path / "features")


def write(cache: FeatureCache, *numbers: int, key: dict[str, Any] = KEY) -> None:
    some = list(numbers)
    about = {"dataset": key["dataset"], "split": key["split"]}
    cache.write(key, [NAMES[number] for number in some], ROWS[some], LABELS[some], about)


def test_pieces_are_one_view_in_the_order_asked_for(cache: FeatureCache) -> None:
    write(cache, 4, 5)
    write(cache, 0, 1, 2, 3)
    found = cache.read(KEY, NAMES)
    assert isinstance(found.rows, PiecedRows)
    assert found.rows.shape == (6, 4)
    assert found.labels.tolist() == LABELS.tolist()
    for some in (slice(None), slice(2, 5), np.array([5, 0, 5]), np.array([], int)):
        np.testing.assert_array_equal(found.rows[some], ROWS[some])
    backwards = cache.read(KEY, NAMES[::-1])
    assert backwards.rows is not None
    np.testing.assert_array_equal(backwards.rows[:], ROWS[::-1])
    assert backwards.labels.tolist() == LABELS[::-1].tolist()


def test_photos_that_are_not_cached_are_missing(cache: FeatureCache) -> None:
    write(cache, 0, 1, 2)
    found = cache.read(KEY, NAMES)
    assert found.rows is None
    assert found.missing.tolist() == [False] * 3 + [True] * 3
    assert cache.read({**KEY, "view": 1}, NAMES).missing.all()


def test_some_of_the_photos_of_a_piece_are_those_asked_for(cache: FeatureCache) -> None:
    write(cache, *range(6))
    whole = cache.read(KEY, NAMES)
    assert isinstance(whole.rows, NpyRows)
    for names in (NAMES[:2], NAMES[3:], ["5", "1"]):
        found = cache.read(KEY, names)
        assert found.rows is not None
        assert len(found.rows) == len(names)
        np.testing.assert_array_equal(found.rows[:], ROWS[[int(name) for name in names]])


def test_file_of_an_earlier_version_is_known_and_not_used(
    cache: FeatureCache, tmp_path: Path
) -> None:
    assert not cache.holds_earlier_version("abc")
    write(cache, *range(6))
    assert not cache.holds_earlier_version("abc")
    (sidecar,) = (tmp_path / "features").glob("*.json")
    content = json.loads(sidecar.read_text())
    del content["photos"]
    earlier = sidecar.with_name(sidecar.stem.split("-")[0] + ".json")
    sidecar.with_suffix(".npy").rename(earlier.with_suffix(".npy"))
    sidecar.unlink()
    earlier.write_text(json.dumps(content))
    assert cache.holds_earlier_version("abc")
    assert not cache.holds_earlier_version("other")
    assert cache.read(KEY, NAMES).missing.all()
    (entry,) = cache.entries()  # to be listed and deleted
    assert len(entry.paths) == 2


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"{}"]
)
def test_damaged_piece_is_said_and_missing(
    cache: FeatureCache,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    suffix: str,
    damage: Any,
) -> None:
    write(cache, 0, 1, 2)
    write(cache, 3, 4, 5)
    file = next(
        path
        for path in (tmp_path / "features").glob(f"*{suffix}")
        if json.loads(path.with_suffix(".json").read_text())["photos"] == NAMES[3:]
    )
    file.write_bytes(damage(file.read_bytes()))
    assert cache.read(KEY, NAMES).missing.tolist() == [False] * 3 + [True] * 3
    assert "are damaged: they are made again" in capsys.readouterr().err


def test_entries_tell_network_data_set_split_size_and_age(
    cache: FeatureCache, tmp_path: Path
) -> None:
    write(cache, 0, 1, 2)
    write(cache, 3, 4, 5)
    write(cache, 0, key={**KEY, "split": "validation"})
    for path in (tmp_path / "features").iterdir():
        os.utime(path, (1000, 1000 if '"train"' not in path.read_text(errors="replace") else 2000))
    (tmp_path / "features" / "lone.npy").write_bytes(b"123")
    os.utime(tmp_path / "features" / "lone.npy", (1, 1))
    entries = cache.entries()
    assert [(entry.network, entry.dataset, entry.split) for entry in entries] == [
        ("abc", "a_set/1.0.0", "train"),
        ("abc", "a_set/1.0.0", "validation"),
        ("", "", ""),
    ]
    assert [len(entry.paths) for entry in entries] == [4, 2, 1]
    assert [entry.written for entry in entries] == [2000, 1000, 1]
    assert entries[0].bytes == sum(path.stat().st_size for path in entries[0].paths)
    assert entries[2].bytes == 3
    assert entries[0].age_seconds > 1e9
    entries[0].delete()
    assert [entry.split for entry in cache.entries()] == ["validation", ""]
    assert not any(path.exists() for path in entries[0].paths)


def test_size_is_that_of_all_files(cache: FeatureCache, tmp_path: Path) -> None:
    assert cache.bytes == 0
    write(cache, 0, 1)
    files = list((tmp_path / "features").iterdir())
    assert len(files) == 2
    assert cache.bytes == sum(len(one.read_bytes()) for one in files) > 100


def test_empty_cache_has_no_entries(cache: FeatureCache) -> None:
    assert cache.entries() == []


def test_size_of_the_cache_is_that_of_its_files(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    assert cache.bytes == 0
    (tmp_path / "a.npy").write_bytes(bytes(10))
    (tmp_path / "b.json").write_bytes(bytes(5))
    (tmp_path / "being made").mkdir()
    assert cache.bytes == 15
    assert FeatureCache(tmp_path / "none").bytes == 0
