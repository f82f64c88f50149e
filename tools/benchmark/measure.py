"""How things are timed: in turn, in processes of their own, against a bare loop."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.system import available_cores


class Ran(NamedTuple):
    """What a process took: seconds from start to end, and the most bytes of memory at a time."""

    seconds: float
    peak: int


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """`function` as one that gives the seconds it took."""

    def measure() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return measure


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """What each of `measures` gives in each round; in a round, all are run one after the other."""
    results: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, so_far in zip(measures, results, strict=True):
            so_far.append(measure())
    return results


def divide(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round.

    >>> divide([1.0, 2.0], [2.0, 8.0])
    [0.5, 0.25]
    """
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def run_python(*arguments: str | Path) -> Ran:
    """Runs Python with `arguments` to its end, without showing what it prints.

    Raises:
        UserError: It fails.
    """
    command = [sys.executable, *map(str, arguments)]
    # pip compiles what it installs; a checkout is compiled at its first start, unless this forbids.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or ["no word"]
            raise UserError(f"{' '.join(command)} failed: {lines[-1]}")
    return Ran(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def in_new_process(function: Callable[..., Any], *arguments: Any, cores: int = 0) -> Any:
    """What `function(*arguments)` gives in a process of its own, on `cores` cores; 0: on all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _silence_and_pin, (cores,)) as pool:
        return pool.submit(function, *arguments).result()


def _silence_and_pin(cores: int) -> None:
    # Progress bars would tear up ours. What fails comes back as an exception.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def bare_loop(content: bytes, pixels: npt.NDArray[Any]) -> Callable[[], None]:
    """A function that does nothing but run a TFLite model over ready pixels, on all cores.

    Args:
        content: The bytes of a `.tflite` file.
        pixels: uint8 [N, H, W, 3], 0..255.
    """
    from ai_edge_litert.interpreter import Interpreter

    cores = available_cores()
    interpreters = [Interpreter(model_content=content, num_threads=1) for _ in range(cores)]
    for one in interpreters:
        one.allocate_tensors()
    (taken,) = interpreters[0].get_input_details()
    given = interpreters[0].get_output_details()[0]
    ready = pixels.astype(taken["dtype"])

    def run_share(number: int) -> None:
        interpreter = interpreters[number]
        for picture in ready[number::cores]:
            interpreter.set_tensor(taken["index"], picture[None])
            interpreter.invoke()
            interpreter.get_tensor(given["index"])

    def run() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(run_share, range(cores)))

    return run


def milliseconds(seconds: Sequence[float], photos: int) -> str:
    """The median, for one photo.

    >>> milliseconds([1.0, 3.0, 2.0], 100)
    '20.0 ms'
    """
    return f"{statistics.median(seconds) / photos * 1e3:.1f} ms"


def epoch_clock() -> Any:
    """A Keras callback that notes in `seconds` how long each epoch took, validation included."""
    import keras

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self._started)

    return Clock()
