"""What is written of a training's epochs: one table, two runs of one chart, comparable losses."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the logs are written with TensorFlow")

import tensorflow as tf

from keras_flowers.training.history import comparable, write_history
from keras_flowers.training.run_directory import Run

ROWS = [
    {"epoch": 1, "loss": 2.5, "accuracy": 0.25, "learning_rate": 1.0, "val_accuracy": 0.5},
    {"epoch": 2, "loss": 1.5, "accuracy": 0.75, "learning_rate": 0.5, "val_loss": 0.125},
]


def logged(folder: Path) -> list[tuple[str, int, float]]:
    found = []
    for path in folder.glob("events*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.append((value.tag, event.step, float(tf.make_ndarray(value.tensor))))
    return sorted(found)


def test_table_logs_and_picture_are_written(tmp_path: Path) -> None:
    run = Run.at(tmp_path)
    write_history(run, ROWS)
    assert run.history_path.read_text() == (
        "epoch,loss,accuracy,learning_rate,val_accuracy,val_loss\n"
        "1,2.5,0.25,1.0,0.5,\n"
        "2,1.5,0.75,0.5,,0.125\n"
    )
    assert logged(run.logs / "train") == [
        ("accuracy", 1, 0.25),
        ("accuracy", 2, 0.75),
        ("learning_rate", 1, 1.0),
        ("learning_rate", 2, 0.5),
        ("loss", 1, 2.5),
        ("loss", 2, 1.5),
    ]
    assert logged(run.logs / "validation") == [("accuracy", 1, 0.5), ("loss", 2, 0.125)]
    assert run.curves_path.read_bytes().startswith(b"\x89PNG")


def test_without_validation_there_is_no_log_of_it(tmp_path: Path) -> None:
    run = Run.at(tmp_path)
    write_history(run, [{"epoch": 1, "loss": 2.5, "accuracy": 0.25}])
    assert not (run.logs / "validation").exists()
    assert run.history_path.exists() and not run.curves_path.exists()  # a point is no curve


def test_losses_are_drawn_only_where_they_can_be_compared() -> None:
    assert comparable(ROWS) == [ROWS[0], {k: v for k, v in ROWS[1].items() if k != "val_loss"}]
    both = [{"epoch": 1, "loss": 2.0, "log_loss": 0.5, "val_log_loss": 0.75, "accuracy": 0.5}]
    assert comparable(both) == [{**both[0], "loss": 0.5, "val_loss": 0.75}]
    assert comparable([*both, {"epoch": 2, "loss": 1.0, "val_loss": 9.0}])[0] == both[0]
