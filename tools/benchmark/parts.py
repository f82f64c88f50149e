"""Row 10 of the benchmark: photos in parts, named by workers of Ray."""

from __future__ import annotations

import importlib.util
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from keras_flowers.errors import UserError
from tools.benchmark.bulk import name_folder
from tools.benchmark.measure import Ran
from tools.benchmark.photos import write_folders
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task

FACTORS = (2, 16)
"""How many times the photos of row 5 are named: 1,000 and 8,000."""

WORKER_MB = 250
"""What a worker may take besides the model."""

MARK = "KERAS_FLOWERS_BENCHMARK"
"""A variable by which the processes of a command are known, Ray's workers too."""


def missing() -> str | None:
    """What this row needs and is not there; None where nothing is missing."""
    there = all(importlib.util.find_spec(name) for name in ("ray", "pyarrow"))
    return None if there else "the extra [scale] is not installed"


def measure(task: Task) -> list[Figure]:
    """Row 10: the same photos in parts on Ray, against a single process; memory of a worker."""
    if (lacking := missing()) is not None:
        raise UserError(f"row 10 cannot be measured: {lacking}")
    counts = [task.effort.folder * factor for factor in FACTORS]
    model = task.usual_model
    with tempfile.TemporaryDirectory() as folder:
        folders = write_folders(task, folder, counts)
        single: list[list[Ran]] = []
        parts: list[list[Ran]] = []
        for _ in range(task.effort.long_rounds):
            single.append([name_folder(model, place) for place in folders])
            parts.append([name_in_parts(model, place) for place in folders])
    return figures(counts, single, parts, model.stat().st_size)


def figures(
    counts: Sequence[int],
    single: Sequence[Sequence[Ran]],
    parts: Sequence[Sequence[Ran]],
    model_bytes: int,
) -> list[Figure]:
    """What the runs over the smaller and the larger number of photos say, round by round.

    Args:
        counts: The two numbers.
        single: What a single process took for each, in each round.
        parts: What Ray took; `peak` is the most that one of its workers had.
        model_bytes: The size of the model's file.
    """
    # What only the further photos take: neither side's start counts.
    more = counts[-1] - counts[0]
    alone = [more / (one[-1].seconds - one[0].seconds) for one in single]
    together = [more / (one[-1].seconds - one[0].seconds) for one in parts]
    peaks = [one[-1].peak for one in parts]
    photos = " and ".join(f"{count:,}" for count in counts)
    return [
        Figure(
            10,
            "parts on Ray: speed / single process, after the start",
            [ours / theirs for ours, theirs in zip(together, alone, strict=True)],
            Bound("at least", 0.9),
            f"{statistics.median(together):.1f} photos a second : {statistics.median(alone):.1f}; "
            f"from {photos} photos",
        ),
        Figure(
            10,
            f"parts on Ray: memory of a worker besides the model / {WORKER_MB} MB",
            [(peak - model_bytes) / (WORKER_MB * 1e6) for peak in peaks],
            Bound("at most", 1.0),
            f"{statistics.median(peaks) / 1e6:.0f} MB, the model {model_bytes / 1e6:.1f}",
        ),
        Figure(
            10,
            "parts on Ray: memory of a worker with 8 x the photos / with 1 x",
            [one[-1].peak / one[0].peak for one in parts],
            Bound("at most", 1.1),
            f"{photos} photos",
        ),
    ]


def name_in_parts(model: Path, folder: Path) -> Ran:
    """Names the photos in a folder with Ray; `peak` is the most that a worker had.

    It looks twice a second: what a large photo takes for a moment, it may miss.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-m", "keras_flowers", "predict", str(folder), "--model"]
        command += [str(model), "--output", f"{place}/out/", "--engine", "ray"]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=errors, stderr=errors, env={**os.environ, MARK: mark}
        )
        peak = 0
        while process.poll() is None:
            peak = max([peak, *map(memory_of, workers_of(mark))])
            time.sleep(0.5)
        seconds = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            raise UserError(f"{' '.join(command)} failed: {errors.read().decode()[-300:]}")
    return Ran(seconds, peak)


def workers_of(mark: str) -> list[int]:
    """The processes of Ray's workers whose command was started with `MARK` set to `mark`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_worker = (folder / "cmdline").read_bytes().startswith(b"ray::")
            if is_worker and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def memory_of(pid: int) -> int:
    """Bytes of a process: what it has alone, and its share of what several have; 0 if it ended.

    The system calls it the proportional set size. In the resident size, each worker would count the
    libraries that all of them share as its own.
    """
    with suppress(OSError):
        said = Path(f"/proc/{pid}/smaps_rollup").read_text()
        if found := re.search(r"^Pss:\s+(\d+) kB", said, re.MULTILINE):
            return int(found[1]) * 1024
    return 0
