"""The history of a training in the folder of its run: a table, TensorBoard's files, a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.files import write_text
from keras_flowers.inference import chart
from keras_flowers.training.run_directory import Run

if TYPE_CHECKING:
    from keras_flowers.training.fit import History


def write_history(run: Run, history: History) -> None:
    """Writes `history.csv`, `logs/` and, of several epochs, `learning_curves.png`."""
    write_text(run.history_path, _as_csv(history))
    if len(history) > 1:  # a point is no curve
        chart.save(chart.draw_learning_curves(comparable(history)), run.curves_path)
    _write_logs(run.logs, history)


def comparable(history: History) -> list[Mapping[str, float]]:
    """The history with the losses that a reader can compare, where all epochs have them."""
    if not all("log_loss" in row for row in history):
        return [{key: value for key, value in row.items() if key != "val_loss"} for row in history]
    return [{**row, "loss": row["log_loss"], "val_loss": row["val_log_loss"]} for row in history]


# Keras's CSVLogger and TensorBoard callbacks write while training runs. They would change the
# folder of a finished run before the new run is whole, write the epochs before an interruption a
# second time, and lack the columns that are measured between two epochs.


def _as_csv(history: History) -> str:
    columns = dict.fromkeys(column for row in history for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _write_logs(folder: Path, history: History) -> None:
    """Writes TensorBoard's event files: `train` and `validation` as two runs of one chart."""
    import tensorflow as tf

    for name, prefix in (("train", ""), ("validation", "val_")):
        columns = [
            column
            for column in ("loss", "accuracy", "log_loss", "learning_rate")
            if any(prefix + column in row for row in history)
        ]
        if not columns:
            continue
        with tf.summary.create_file_writer(str(folder / name)).as_default():
            for row in history:
                for column in columns:
                    if prefix + column in row:
                        tf.summary.scalar(column, row[prefix + column], step=int(row["epoch"]))
