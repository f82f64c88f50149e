"""Workers that Ray runs: on the cores of this machine, or on those of a cluster."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from keras_flowers import __version__
from keras_flowers.errors import UserError, missing_extra, reason_of
from keras_flowers.inference.scale.work import Worker, WorkerDiedError
from keras_flowers.system import available_cores, standard_error_held_back

OBJECT_STORE_BYTES = 256 << 20
"""Shared memory of a machine's workers where this package starts Ray: a model and some tables go
through it. Ray itself would take 30 % of the memory."""


START_ATTEMPTS = 3
"""Where a machine is busy, Ray gives up starting after 15 seconds, which cannot be set (ray#65983).
"""

_logger = logging.getLogger(__name__)


def _in_each_task(value: Any) -> Callable[[], Any]:
    return functools.partial(_itself, value)


def _itself(value: Any) -> Any:
    return value


class Crew(NamedTuple):
    """The workers that can be had.

    Attributes:
        new_worker: Starts one.
        workers: How many there are to be.
        share: Gives what a worker gets a value from that many tasks need, so that each of them
            need not hold it.
    """

    new_worker: Callable[[], Worker]
    workers: int
    share: Callable[[Any], Callable[[], Any]] = _in_each_task


@contextmanager
def ray_workers(
    make: Callable[[], Callable[[Any, bool], Any]],
    *,
    address: str | None,
    workers: int | None,
    cores: int,
    memory_mb: int | None,
) -> Iterator[Crew]:
    """Connects to Ray, or starts it on this machine for as long as it is needed.

    Neither usage statistics nor a token in the home folder: where this starts Ray, the token that
    protects it lives in the environment of its processes only.

    Args:
        make: Called once in each worker to get the function that does a task.
        address: Of a cluster, such as "10.0.0.1:6379" or "auto"; None: this machine alone.
        workers: How many processes; None: as many as there are cores for.
        cores: How many each of them may use.
        memory_mb: MiB that are set aside for each of them: on no machine are more workers than fit.

    Raises:
        UserError: Ray is not installed, or does not answer.
    """
    ray = _import_ray(is_local=address is None)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        total = available_cores() if workers is None else workers * cores
        options |= {
            "address": "local",
            "num_cpus": total,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    else:
        options["address"] = address
    _start(ray, options)
    try:
        count = workers or int(ray.cluster_resources().get("CPU", 1)) // cores
        if memory_mb is not None and workers is None:
            count = min(count, int(ray.cluster_resources().get("memory", 0)) // (memory_mb << 20))
        if count < 1:
            raise UserError(
                f"no machine of the cluster has {cores} cores and {memory_mb or 0} MiB for a "
                "worker; give --worker_cores or --worker_memory a smaller number"
            )
        wanted: dict[str, Any] = {
            "num_cpus": cores,
            "max_restarts": 0,
            "max_task_retries": 0,
            # glibc gives each new thread memory of its own, eight times as often as the machine has
            # cores, and keeps it: with each task a worker would grow by what its threads took.
            "runtime_env": {"env_vars": {"MALLOC_ARENA_MAX": str(cores + 1)}},
        }
        if memory_mb is not None:
            wanted["memory"] = memory_mb << 20
        actor = ray.remote(**wanted)(_Actor)
        shared = ray.put(make)
        yield Crew(
            lambda: _RayWorker(ray, actor, shared), count, lambda value: _Shared(ray.put(value))
        )
    finally:
        ray.shutdown()


def _import_ray(*, is_local: bool) -> Any:
    # Read while Ray is imported, and by the processes that it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # In a program that has imported Ray without a token, its own processes would not let it in.
    if is_local and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "scale") from None
    return ray


def _start(ray: Any, options: dict[str, Any]) -> None:
    for attempt in range(START_ATTEMPTS):
        try:
            with standard_error_held_back():
                ray.init(**options)
            return
        except Exception as error:
            ray.shutdown()
            is_local = options["address"] == "local"
            if is_local and attempt + 1 < START_ATTEMPTS:
                _logger.warning("Ray did not start (%s); once more", reason_of(error))
                continue
            where = "on this machine" if is_local else f"at {options['address']}"
            raise UserError(
                f"Ray does not start {where} ({reason_of(error)}); expected --ray_address "
                "HOST:PORT of a cluster of the same version, or a machine that is less busy"
            ) from None


class _Shared:
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def __call__(self) -> Any:
        import ray

        return ray.get(self._reference)


class _Actor:
    """What lives in a worker's process; the work is made at the first task.

    So what goes wrong with it is the task's error, with its own words, and not a dead actor.
    """

    def __init__(self, make: Callable[[], Callable[[Any, bool], Any]]) -> None:
        self._make = make
        self._function: Callable[[Any, bool], Any] | None = None

    def call(self, version: str, task: Any, careful: bool) -> Any:
        if version != __version__:
            raise UserError(
                f"a machine of the cluster has keras_flowers {__version__}, this one {version}; "
                "install the same on all of them"
            )
        if self._function is None:
            self._function = self._make()
        return self._function(task, careful)


class _RayWorker:
    def __init__(self, ray: Any, actor: Any, make: Any) -> None:
        self._ray = ray
        self._actor = actor.remote(make)

    def call(self, task: Any, careful: bool) -> Any:
        try:
            return self._ray.get(self._actor.call.remote(__version__, task, careful))
        except self._ray.exceptions.RayTaskError as error:
            # As it was raised there.
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise WorkerDiedError(f"was lost ({reason_of(error)})") from None

    def close(self) -> None:
        self._ray.kill(self._actor)
