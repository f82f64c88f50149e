"""Row 6 of the benchmark: the TFLite files of a run beside one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_flowers.export.formats import TFLITE_VARIANTS
from keras_flowers.system import available_cores
from tools.benchmark.measure import divide, in_new_process, in_turn, milliseconds, timed
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task


def measure(task: Task) -> list[Figure]:
    """Row 6: what half and quarter precision are worth."""
    names = TFLITE_VARIANTS
    paths = [task.tflite(name) for name in names]
    sizes = [path.stat().st_size for path in paths]
    figures = [
        Figure(
            6,
            f"variants: size of {name} / float32",
            [size / sizes[0]],
            detail=f"{size / 1e6:.1f} MB : {sizes[0] / 1e6:.1f} MB",
        )
        for name, size in zip(names[1:], sizes[1:], strict=True)
    ]
    for threads in sorted({1, min(2, available_cores())}):
        seconds = in_new_process(latencies, paths, threads, 2 * task.effort.rounds)
        for name, each in zip(names[1:], seconds[1:], strict=True):
            figures.append(
                Figure(
                    6,
                    f"variants: latency of {name} / float32, {threads} thread{'s' * (threads > 1)}",
                    divide(each, seconds[0]),
                    Bound("at most", 0.5) if name == "int8" else None,
                    f"{milliseconds(each, 1)} a photo : {milliseconds(seconds[0], 1)}",
                )
            )
    return figures


def latencies(paths: Sequence[Path], threads: int, rounds: int) -> list[list[float]]:
    """Seconds for a picture, the mean of twenty, in each round, for each file."""
    from ai_edge_litert.interpreter import Interpreter

    times = 20

    def latency(path: Path) -> Callable[[], float]:
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
        (taken,) = interpreter.get_input_details()
        noise = np.random.default_rng(0).integers(0, 256, taken["shape"])
        interpreter.set_tensor(taken["index"], noise.astype(taken["dtype"]))
        time_all = timed(lambda: [interpreter.invoke() for _ in range(times)])
        time_all()  # the warm-up
        return lambda: time_all() / times

    return in_turn(rounds, *map(latency, paths))
