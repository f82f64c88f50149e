"""A worker on this machine: one process beside this one, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_flowers.inference.scale.child import Child


class LocalWorker:
    """A process that does tasks.

    Args:
        make: Called in the process to get the function that does a task.
    """

    def __init__(self, make: Callable[[], Callable[[Any, bool], Any]]) -> None:
        self._child = Child(make)

    def call(self, task: Any, careful: bool) -> Any:
        """As `work.Worker.call`."""
        return self._child.call(task, careful)

    def close(self) -> None:
        """Ends the process."""
        self._child.close()
