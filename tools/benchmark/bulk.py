"""Row 5 of the benchmark: a folder of photos."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from keras_flowers.system import available_cores
from tools.benchmark.measure import (
    Ran,
    bare_loop,
    divide,
    in_new_process,
    in_turn,
    milliseconds,
    run_python,
    timed,
)
from tools.benchmark.photos import write_photos
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task


def measure(task: Task) -> list[Figure]:
    """Row 5: a folder of photos to a table."""
    count = task.effort.folder
    model = task.usual_model
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(write_photos, task, folder, count)
        ours, bare = in_turn(
            task.effort.rounds,
            lambda: name_folder(model, Path(folder)).seconds,
            lambda: in_new_process(_bare_bulk, model, folder),
        )
    return [
        Figure(
            5,
            "bulk: speed / bare LiteRT loop on ready pixels",
            divide(bare, ours),
            Bound("at least", 0.8),
            f"{milliseconds(ours, count)} a photo of {count}, the process from start to end : "
            f"{milliseconds(bare, count)}",
        )
    ]


def name_folder(model: Path, folder: Path) -> Ran:
    """Names the photos in a folder, as the command line does."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place, "table.csv")
        return run_python(
            "-m", "keras_flowers", "predict", folder, "--model", model, "--output", table
        )


def _bare_bulk(model: Path, folder: str) -> float:
    from keras_flowers.inference.image import read_pixels
    from keras_flowers.inference.litert import LiteRTModel

    content = model.read_bytes()
    size = LiteRTModel(content).image_size
    pixels = np.stack([read_pixels(path, size) for path in sorted(Path(folder).iterdir())])
    run = bare_loop(content, pixels[: 2 * available_cores()])
    run()
    return timed(bare_loop(content, pixels))()
