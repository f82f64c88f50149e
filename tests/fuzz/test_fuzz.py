"""Some hundred mutated photos and models; `fuzz.py` does as many as one likes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import fuzz
import pytest

from keras_flowers.errors import UserError

TIMES = int(os.environ.get("KERAS_FLOWERS_FUZZ", "1"))
"""How many times as many cases as in a plain run."""


def test_mutated_files_are_answered_or_refused() -> None:
    pytest.importorskip("tensorflow", reason="making the models needs TensorFlow")
    counts = {"--photos": 400, "--models": 200, "--saved_models": 20}
    arguments = [str(part) for kind, count in counts.items() for part in (kind, count * TIMES)]
    process = subprocess.run(
        [sys.executable, fuzz.__file__, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert process.returncode == 0, process.stdout
    kinds = ("photo_case", "tflite_case", "metadata_case", "keras_case", "saved_model_case")
    for kind, line in zip(kinds, process.stdout.splitlines(), strict=True):
        assert line.startswith(kind)
        assert "'refused': " in line


def test_every_fault_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 1)

    def make(folder: Path) -> fuzz.Case:
        def run(number: int) -> None:
            if number == 1:
                raise UserError("no photo")
            if number == 2:
                raise UserError("two\nlines")
            if number == 3:
                raise ZeroDivisionError
            if number == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 5:
                os._exit(0)
            if number == 6:
                time.sleep(60)

        return run

    outcome = fuzz.run_cases(make, tmp_path, range(8))
    assert outcome == {
        "answered": 2,
        "refused": 1,
        "two lines: two": 1,
        "Traceback (most recent call last):": 1,
        "end by SIGKILL": 1,
        "end by exit": 1,
        "more than 1 s": 1,
    }
    output = capsys.readouterr().out
    assert "make 3: Traceback" in output
    assert "ZeroDivisionError" in output
    assert "make 4: end by SIGKILL" in output


def test_memory_beyond_the_limit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is in memory now, not the most that ever was: a case is a fork, and starts with that.
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    used = resident * resource.getpagesize()
    monkeypatch.setattr(fuzz, "MAX_BYTES", used + (64 << 20))

    def make(folder: Path) -> fuzz.Case:
        return lambda number: len(bytearray(b"x" * (number << 20))) and None

    monkeypatch.setattr(fuzz, "photo_case", make)
    outcome = fuzz.run_cases(make, tmp_path, [1, 500, 2])
    (found,) = outcome.keys() - {"answered"}
    assert found.endswith(" MiB of memory")
    assert outcome["answered"] == 2
