"""What Ray is asked for, and how its failures are said; a stand-in takes the place of Ray."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from keras_flowers import __version__
from keras_flowers.errors import UserError
from keras_flowers.inference.scale import ray_workers
from keras_flowers.inference.scale.work import WorkerDiedError

SETTINGS = (
    "RAY_USAGE_STATS_ENABLED",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
)


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__("of a task")
        self.cause = cause


class FakeRay:
    """Keeps what it is asked for; a worker's calls are answered at once, in this process."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self) -> None:
        self.resources: dict[str, float] = {"CPU": 8, "memory": 4 << 30}
        self.failures: list[Exception] = []
        self.started: list[dict[str, Any]] = []
        self.wanted: dict[str, Any] = {}
        self.shutdowns = 0
        self.killed: list[Any] = []

    def init(self, **options: Any) -> None:
        self.started.append(options)
        if self.failures:
            raise self.failures.pop(0)

    def shutdown(self) -> None:
        self.shutdowns += 1

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **wanted: Any) -> Callable[[Any], Any]:
        self.wanted = wanted

        def actor_of(kind: Any) -> Any:
            def make(*arguments: Any) -> Any:
                actor = kind(*arguments)
                return SimpleNamespace(
                    call=SimpleNamespace(remote=lambda *given: lambda: actor.call(*given))
                )

            return SimpleNamespace(remote=make)

        return actor_of

    def get(self, reference: Any) -> Any:
        if not callable(reference):
            return reference
        try:
            return reference()
        except UserError as error:
            raise RayTaskError(error) from None

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    fake: Any = FakeRay()
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is as before when the test is done
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "ray", fake)
    yield fake


def doubled() -> Callable[[Any, bool], Any]:
    def work(task: Any, careful: bool) -> Any:
        if task == "bad":
            raise UserError("this task is wrong")
        if task == "lost":
            raise RayError("The node\ndied")
        return task, careful

    return work


def crew_of(**options: Any) -> Any:
    asked = {"address": None, "workers": None, "cores": 1, "memory_mb": None, **options}
    return ray_workers.ray_workers(doubled, **asked)


def test_ray_on_this_machine_is_small_quiet_and_closed_again(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_workers, "available_cores", lambda: 6)
    with crew_of() as crew:
        assert (crew.workers, ray.shutdowns) == (8, 0)
    assert ray.shutdowns == 1
    assert ray.started == [
        {
            "address": "local",
            "num_cpus": 6,
            "include_dashboard": False,
            "object_store_memory": 256 << 20,
            "logging_level": logging.ERROR,
            "log_to_driver": False,
        }
    ]
    # What a worker dies of is told by us, and done again by us.
    assert ray.wanted == {
        "num_cpus": 1,
        "max_restarts": 0,
        "max_task_retries": 0,
        # One for the thread that works, and one for all others.
        "runtime_env": {"env_vars": {"MALLOC_ARENA_MAX": "2"}},
    }


@pytest.mark.parametrize(
    ("options", "workers", "cpus"),
    [
        ({"workers": 3, "cores": 2}, 3, 6),
        ({"cores": 3}, 2, None),
        ({"memory_mb": 1024}, 4, None),
        ({"memory_mb": 100}, 8, None),
        ({"workers": 5, "memory_mb": 4096}, 5, 5),  # said is said
    ],
)
def test_as_many_workers_as_are_said_or_fit(
    ray: FakeRay, options: dict[str, int], workers: int, cpus: int | None
) -> None:
    with crew_of(**options) as crew:
        assert crew.workers == workers
    if cpus is not None:
        assert ray.started[0]["num_cpus"] == cpus
    assert ray.wanted["num_cpus"] == options.get("cores", 1)
    memory = options.get("memory_mb")
    assert ray.wanted.get("memory") == (None if memory is None else memory << 20)


def test_worker_that_fits_nowhere_is_refused(ray: FakeRay) -> None:
    refused = pytest.raises(
        UserError,
        match=r"^no machine of the cluster has 1 cores and 8192 MiB for a worker; give --worker_",
    )
    with refused, crew_of(memory_mb=8192):
        pass
    with pytest.raises(UserError, match="has 9 cores and 0 MiB"), crew_of(cores=9):
        pass
    assert ray.shutdowns == 2


def test_cluster_is_asked_for_nothing_but_its_address(ray: FakeRay) -> None:
    with crew_of(address="10.0.0.1:6379"):
        pass
    (options,) = ray.started
    assert options == {
        "address": "10.0.0.1:6379",
        "logging_level": logging.ERROR,
        "log_to_driver": False,
    }


def test_ray_sends_nothing_and_lets_nobody_else_in(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew_of(address="auto"):
        assert [os.environ.get(name) for name in SETTINGS] == ["0", "0", None, None]
    # Imported without a token, its own processes would not be let in with one.
    with crew_of():
        assert "RAY_AUTH_MODE" not in os.environ
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.setattr(sys, "meta_path", [_Finder(ray)])
    ray_workers._import_ray(is_local=True)
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(bytes.fromhex(os.environ["RAY_AUTH_TOKEN"])) == 32


class _Finder:
    """Gives the stand-in where Ray is imported for the first time."""

    def __init__(self, ray: FakeRay) -> None:
        self._ray = ray

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        from importlib.machinery import ModuleSpec

        loader: Any = self
        return ModuleSpec(name, loader) if name == "ray" else None

    def create_module(self, spec: Any) -> Any:
        from types import ModuleType

        return ModuleType("ray")

    def exec_module(self, module: Any) -> None:
        module.fake = self._ray


def test_busy_machine_is_given_three_attempts(
    ray: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    ray.failures = [RuntimeError("timed out")] * 2
    with caplog.at_level(logging.WARNING), crew_of():
        pass
    assert [one.message for one in caplog.records] == [
        "Ray did not start (timed out); once more"
    ] * 2
    ray.failures, ray.started = [RuntimeError("timed out")] * 3, []
    with pytest.raises(UserError, match=r"^Ray does not start on this machine \(timed out\)"):
        crew_of().__enter__()
    assert len(ray.started) == 3
    # A cluster that does not answer is not asked again.
    ray.failures, ray.started = [RuntimeError("no such host")], []
    with pytest.raises(UserError, match=r"^Ray does not start at far:1 \(no such host\); expected"):
        crew_of(address="far:1").__enter__()
    assert len(ray.started) == 1


def test_work_is_done_and_its_failures_are_told_apart(ray: FakeRay) -> None:
    with crew_of() as crew:
        worker = crew.new_worker()
        assert worker.call(7, careful=True) == (7, True)
        assert worker.call(7, careful=False) == (7, False)
        with pytest.raises(UserError, match="^this task is wrong$"):
            worker.call("bad", careful=False)
        with pytest.raises(WorkerDiedError, match=r"^was lost \(The node\)$"):
            worker.call("lost", careful=False)
        worker.close()
        assert len(ray.killed) == 1
        shared = crew.share("much")
        assert shared() == "much"


def test_machine_with_another_version_is_refused() -> None:
    actor = ray_workers._Actor(doubled)
    assert actor.call(__version__, 7, False) == (7, False)
    with pytest.raises(UserError, match=f"has keras_flowers {__version__}, this one 0.0.1; instal"):
        actor.call("0.0.1", 7, False)
