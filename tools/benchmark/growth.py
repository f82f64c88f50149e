"""Row 8 of the benchmark: more photos."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.benchmark.bulk import name_folder
from tools.benchmark.measure import Ran
from tools.benchmark.photos import write_folders
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import TRAIN_PHOTOS, Task
from tools.benchmark.training import run_training


def measure(task: Task) -> list[Figure]:
    """Row 8: time and memory with one, two and four times the photos."""
    counts = [task.effort.growth * factor for factor in (1, 2, 4)]
    with tempfile.TemporaryDirectory() as folder:

        def train(count: int) -> Ran:
            splits = (_training_split(count), "validation[-40:-20]", "validation[-20:]")
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                return run_training(task, splits, Path(folder, "run"), Path(cache))

        trained = [[train(count) for count in counts] for _ in range(task.effort.long_rounds)]
    figures = ratios("training", counts, trained)
    counts = [task.effort.folder * factor for factor in (1, 2, 4)]
    model = task.usual_model
    with tempfile.TemporaryDirectory() as folder:
        folders = write_folders(task, folder, counts)
        named = [
            [name_folder(model, place) for place in folders] for _ in range(task.effort.rounds)
        ]
    return [*figures, *ratios("bulk", counts, named)]


def _training_split(count: int) -> str:
    """That many photos to learn from."""
    if count <= TRAIN_PHOTOS:
        return f"train[:{count}]"
    return f"train+validation[:{count - TRAIN_PHOTOS}]"


def ratios(title: str, counts: Sequence[int], rounds: Sequence[Sequence[Ran]]) -> list[Figure]:
    """The ratios of the last of `counts` to the first, from what each took in each round."""
    seconds = [
        statistics.median(ran.seconds for ran in column) for column in zip(*rounds, strict=True)
    ]
    peaks = [statistics.median(ran.peak for ran in column) for column in zip(*rounds, strict=True)]
    photos = ", ".join(map(str, counts))
    return [
        Figure(
            8,
            f"growth of {title}: time with 4 x the photos / with 1 x",
            [one[-1].seconds / one[0].seconds for one in rounds],
            Bound("at most", 4.3),
            f"{', '.join(f'{one:.1f}' for one in seconds)} s for {photos} photos",
        ),
        Figure(
            8,
            f"growth of {title}: peak memory with 4 x the photos / with 1 x",
            [one[-1].peak / one[0].peak for one in rounds],
            Bound("at most", 1.1),
            f"{', '.join(f'{one / 1e6:.0f}' for one in peaks)} MB",
        ),
    ]
