"""A function in a process of its own, which may die or hang without taking this one along."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from keras_flowers.inference.scale.work import WorkerDiedError


class Child:
    """A process that holds a function and calls it.

    It ends with its parent, however that ends. What goes there and back is pickled; a Ctrl-C in
    the terminal is the parent's to answer.

    Args:
        make: Called in the child, at the first call, to get the function.
    """

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        # Not multiprocessing: it would import the program that called us, and its pool's processes
        # live on where that is killed. It finds the modules that this process finds.
        places = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": places},
        )
        self._make: Callable[[], Callable[..., Any]] | None = make

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def start(self) -> None:
        """Waits until the function is made; `call` does it otherwise.

        A busy machine takes seconds for it, which what is called afterwards is not to blame for.

        Raises:
            WorkerDiedError: The process died.
        """
        if self._make is not None:
            self._exchange((self._make, ()))
            self._make = None

    def call(self, *arguments: Any, seconds: float | None = None) -> Any:
        """What the function gives, or raises.

        Args:
            arguments: What it is called with.
            seconds: How long it may take.

        Raises:
            WorkerDiedError: The process died, or was killed since it took too long.
        """
        self.start()
        if seconds is None:
            return self._exchange((None, arguments))
        late = threading.Event()
        timer = threading.Timer(seconds, self._stop, (late,))
        timer.start()
        try:
            return self._exchange((None, arguments), late)
        finally:
            timer.cancel()

    def _stop(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _exchange(self, request: tuple[Any, Any], late: threading.Event | None = None) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            is_result, value = pickle.load(self._process.stdout)  # noqa: S301  # our own process
        except (OSError, EOFError, pickle.UnpicklingError):
            is_late = late is not None and late.is_set()
            raise WorkerDiedError(_death(self._process.wait()), is_late=is_late) from None
        if not is_result:
            raise value
        return value

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def _death(code: int) -> str:
    """How a process ended.

    >>> _death(-11), _death(1)
    ('died of SIGSEGV', 'died with the code 1')
    """
    if code < 0:
        return f"died of {signal.Signals(-code).name}"
    return f"died with the code {code}"


def _serve() -> None:
    """Answers what comes through standard input, until that is closed."""
    # What anything here prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # A thread of its own, so that the end of the parent is noticed in the middle of the work.
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    function: Callable[..., Any] | None = None
    while True:
        make, arguments = requests.get()
        try:
            if make is not None:
                function = make()
                answer: tuple[bool, Any] = True, None
            else:
                assert function is not None
                answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, answers)
        answers.flush()


def _receive(requests: queue.SimpleQueue[Any]) -> NoReturn:
    with open(0, "rb", closefd=False) as pipe:
        while True:
            try:
                requests.put(pickle.load(pipe))  # noqa: S301  # of our own parent
            except (EOFError, OSError):
                os._exit(0)


if __name__ == "__main__":
    _serve()
