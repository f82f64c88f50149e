"""Workers of the feature pass: they stay for the next one, unless they died."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.inference.scale.work import WorkerDiedError, do_all
from keras_flowers.training import feature_worker
from keras_flowers.training.feature_worker import KeptWorkers


class Counted:
    """A worker that dies of the task "deadly" once."""

    made = closed = 0

    def __init__(self) -> None:
        Counted.made += 1

    def call(self, task: Any, careful: bool) -> Any:
        if task == "deadly" and Counted.closed == 0:
            raise WorkerDiedError("died")
        return task

    def close(self) -> None:
        Counted.closed += 1


def test_workers_stay_for_the_next_pass_unless_they_died() -> None:
    new_worker = KeptWorkers(Counted)
    for passes in range(3):
        assert [done for _, done in do_all([passes], new_worker, 1)] == [passes]
    assert (Counted.made, Counted.closed) == (1, 0)
    assert [done for _, done in do_all(["deadly"], new_worker, 1)] == ["deadly"]
    assert (Counted.made, Counted.closed) == (2, 1)


def test_tensorflow_uses_no_more_cores_than_the_worker_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    called: list[Any] = []
    threads, names = tf.config.threading, ("intra", "inter")
    for name in names:
        monkeypatch.setattr(
            threads,
            f"set_{name}_op_parallelism_threads",
            lambda cores, name=name: called.append((name, cores)),
        )
    monkeypatch.setattr(
        tf.config.experimental, "enable_op_determinism", lambda: called.append("determinism")
    )
    monkeypatch.setattr(feature_worker, "make_worker", lambda cores: f"uses {cores}")
    assert feature_worker.start_worker(3) == "uses 3"
    assert called == [("intra", 3), ("inter", 3), "determinism"]
