"""What a worker elsewhere does of the feature pass: the frozen part, run over some photos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.inference.scale.work import Worker, WorkerDiedError
from keras_flowers.system import import_tensorflow
from keras_flowers.training.sources.labelled import Part


class FeatureTask(NamedTuple):
    """Some photos, in some views.

    Attributes:
        number: Which of the tasks it is.
        network: Gives the bytes of a TFLite file, pixels [N, H, W, 3] 0..255 -> features [N, ...].
        digest: What tells it from other networks.
        parts: Where the photos lie, as the worker finds them too.
        views: As `data.pixels_of_views` numbers them.
        seed: Of the random views.
    """

    number: int
    network: Callable[[], bytes]
    digest: str
    parts: tuple[Part, ...]
    views: tuple[int, ...]
    seed: int


DoTask: TypeAlias = Callable[[FeatureTask, bool], npt.NDArray[np.float16]]


class KeptWorkers:
    """Workers that are still there for the next pass, since each takes seconds to start.

    Args:
        new_worker: Starts one.
    """

    def __init__(self, new_worker: Callable[[], Worker]) -> None:
        self._new_worker = new_worker
        self._idle: list[Worker] = []

    def __call__(self) -> Worker:
        """One that is idle, or a new one."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = self._new_worker()
        return _KeptWorker(worker, self._idle)


class _KeptWorker:
    def __init__(self, worker: Worker, idle: list[Worker]) -> None:
        self._worker, self._idle = worker, idle
        self._is_alive = True

    def call(self, task: Any, careful: bool) -> Any:
        try:
            return self._worker.call(task, careful)
        except WorkerDiedError:
            self._is_alive = False
            raise

    def close(self) -> None:
        if self._is_alive:
            self._idle.append(self._worker)
        else:
            self._worker.close()


def start_worker(cores: int) -> DoTask:
    """`make_worker` in a process of its own, of which TensorFlow too uses so many cores."""
    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    tf.config.experimental.enable_op_determinism()
    return make_worker(cores)


def make_worker(cores: int) -> DoTask:
    """Makes the function that does a task and gives float16 [N, V, ...]; it keeps one network.

    Args:
        cores: How many of them it uses.
    """
    from keras_flowers.inference.litert import LiteRTModel
    from keras_flowers.training.feature_pass import run_views
    from keras_flowers.training.sources.labelled import label_photos

    kept: dict[str, LiteRTModel] = {}

    def do(task: FeatureTask, careful: bool) -> npt.NDArray[np.float16]:
        del careful  # a photo that kills its reader has killed the training when it was checked
        if task.digest not in kept:
            kept.clear()
            kept[task.digest] = LiteRTModel(task.network(), workers=cores, threads=1)
        model = kept[task.digest]
        photos = label_photos(task.parts, dataset="", split="", labels=())
        batches = run_views(
            photos,
            task.views,
            model.image_size,
            lambda: lambda pixels: model(pixels)[0],
            seed=task.seed,
            threads=cores,
        )
        return np.concatenate([features for features, _ in batches])

    return do
