"""Work on workers that die: every task is done once, and what a task raises is heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.scale import local_worker
from keras_flowers.inference.scale.child import Child
from keras_flowers.inference.scale.work import MAX_ATTEMPTS, WorkerDiedError, do_all

ROOT = Path(__file__).parents[3]


class Mortal:
    """A worker that dies of the tasks that `deaths` names, as often as it says."""

    def __init__(self, deaths: Counter[int], log: list[tuple[int, bool]]) -> None:
        self.deaths = deaths
        self.log = log
        self.closed = False

    def call(self, task: int, careful: bool) -> int:
        assert not self.closed, "what has died is not asked again"
        self.log.append((task, careful))
        if self.deaths[task] > 0:
            self.deaths[task] -= 1
            raise WorkerDiedError("died of SIGSEGV")
        if task < 0:
            raise UserError(f"no such task: {task}")
        return task * task

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_done_once_and_with_care_after_two_deaths(workers: int) -> None:
    log: list[tuple[int, bool]] = []
    deaths = Counter({2: 1, 5: 2, 7: 4})
    results = list(do_all(range(10), partial(Mortal, deaths, log), workers))
    assert sorted(results) == [(task, task * task) for task in range(10)]
    tried = {task: [careful for one, careful in log if one == task] for task in range(10)}
    assert tried[0] == [False]
    assert tried[2] == [False, False]
    assert tried[5] == [False, False, True]
    assert tried[7] == [False, False, True, True, True]


def test_task_that_kills_everyone_ends_the_run() -> None:
    deaths = Counter({1: MAX_ATTEMPTS})
    with pytest.raises(UserError, match="6 workers died of the same part, the last one died of S"):
        list(do_all(range(3), partial(Mortal, deaths, []), 1))


def test_what_a_worker_raises_is_raised_and_workers_are_ended() -> None:
    made: list[Mortal] = []

    def new() -> Mortal:
        made.append(Mortal(Counter(), []))
        return made[-1]

    with pytest.raises(UserError, match="no such task: -1"):
        list(do_all([1, 2, -1, 3], new, 2))
    assert made and all(worker.closed for worker in made)


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = do_all(tasks(), partial(Mortal, Counter(), []), 2)
    for _ in range(5):
        next(results)
    assert taken <= 9
    results.close()


# A process of its own.


def make_double() -> Callable[[Any], Any]:
    loaded = os.getpid()

    def double(value: Any) -> Any:
        if value == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if value == "sleep":
            time.sleep(60)
        if value == "print":
            print("this is no answer")
        if value == "raise":
            raise UserError("expected a number")
        return value * 2, loaded

    return double


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
    child = Child(make_double)
    yield child
    child.close()


def test_child_makes_its_function_once_and_answers(child: Child) -> None:
    assert child.call(3) == (6, child.pid)
    assert child.call("print") == ("printprint", child.pid)
    with pytest.raises(UserError, match="expected a number"):
        child.call("raise")
    assert child.call([1]) == ([1, 1], child.pid)


def test_death_of_a_child_is_told_from_its_being_late(child: Child) -> None:
    with pytest.raises(WorkerDiedError, match="died of SIGKILL") as died:
        child.call("die")
    assert not died.value.is_late
    with pytest.raises(WorkerDiedError):
        child.call(1)


def test_child_that_takes_too_long_is_killed(child: Child) -> None:
    child.call(1)
    with pytest.raises(WorkerDiedError) as died:
        child.call("sleep", seconds=0.2)
    assert died.value.is_late


def test_child_ends_with_a_parent_that_is_killed_while_it_works(tmp_path: Path) -> None:
    code = (
        "import test_work, sys; from keras_flowers.inference.scale.child import Child\n"
        "child = Child(test_work.make_double); child.call(1)\n"
        "print(child.pid, flush=True); child.call('sleep')"
    )
    places = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": places},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_threads_end_with_a_run_that_is_given_up() -> None:
    before = threading.active_count()
    results = do_all(range(100), partial(Mortal, Counter(), []), 3)
    next(results)
    results.close()
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_worker_on_this_machine_hands_tasks_to_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Here:
        def __init__(self, make: Callable[[], Any]) -> None:
            self.do = make()

        def call(self, *given: Any) -> Any:
            return self.do(*given)

        def close(self) -> None:
            calls.append("closed")

    monkeypatch.setattr(local_worker, "Child", Here)
    worker = local_worker.LocalWorker(lambda: lambda task, careful: (task, careful))
    assert worker.call("task", True) == ("task", True)
    assert worker.call("task", False) == ("task", False)
    worker.close()
    assert calls == ["closed"]
