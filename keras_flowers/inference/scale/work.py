"""Work on many workers: each task is done once, also where workers die of it."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from keras_flowers.errors import UserError

_logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
"""How often a task is tried: the second time as the first, from the third time on with care."""

Task = TypeVar("Task")


class WorkerDiedError(Exception):
    """The process or the machine that worked on a task is gone; its text says how.

    Attributes:
        is_late: It was killed, since it took too long.
    """

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


class Worker(Protocol):
    """Something that works on one task at a time, elsewhere."""

    def call(self, task: Any, careful: bool) -> Any:
        """Does a task and gives what comes of it.

        Args:
            task: What is to be done.
            careful: Workers died of it before: find out why, and leave that out.

        Raises:
            WorkerDiedError: The worker died; another one is made then.
        """

    def close(self) -> None:
        """Ends it."""


def do_all(
    tasks: Iterable[Task], new_worker: Callable[[], Worker], workers: int
) -> Generator[tuple[Task, Any], None, None]:
    """Does all tasks on some workers, and gives each with what came of it, as they are done.

    Args:
        tasks: Taken as they are needed.
        new_worker: Starts a worker.
        workers: How many there are.

    Raises:
        UserError: Workers die again and again of the same task; or what a worker raised.
    """
    idle: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
    for _ in range(workers):
        idle.put(None)
    made: set[Worker] = set()
    ended = threading.Event()

    def do(task: Task) -> Any:
        worker = idle.get()
        try:
            for attempt in itertools.count():
                if worker is None:
                    worker = new_worker()
                    made.add(worker)
                try:
                    return worker.call(task, attempt > 1)
                except WorkerDiedError as death:
                    made.discard(worker)
                    worker.close()
                    worker = None
                    if ended.is_set():
                        raise
                    if attempt + 1 == MAX_ATTEMPTS:
                        raise UserError(
                            f"{MAX_ATTEMPTS} workers died of the same part, the last one "
                            f"{death}; see whether the memory is enough for so many workers"
                        ) from None
                    _logger.warning("a worker %s; its work is done again", death)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(workers)
    doing: dict[Future[Any], Task] = {}
    coming = iter(tasks)
    try:
        while True:
            # One more than there are workers, so that none waits for the next task.
            for task in itertools.islice(coming, workers + 1 - len(doing)):
                doing[pool.submit(do, task)] = task
            if not doing:
                return
            # Not without limit: a Ctrl-C would not be heard on Windows.
            done, _ = wait(doing, timeout=1, return_when=FIRST_COMPLETED)
            for one in done:
                yield doing.pop(one), one.result()
    finally:
        ended.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in list(made):
            worker.close()
