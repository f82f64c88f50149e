"""Scores any model file on labelled photos."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources
from keras_flowers.files import write_json, write_text
from keras_flowers.training import metrics
from keras_flowers.training.evaluate import Evaluation, evaluate_model

EXAMPLES = """examples:
  on your own photos, a folder for each class
      keras-flowers evaluate saved_models/MobileNetV2 --data holiday
  how good the trained model is on photos that it has never seen
      keras-flowers evaluate saved_models/MobileNetV2
  a TFLite file on the second half of the validation photos, with pictures and tables
      keras-flowers evaluate flowers.tflite --split "validation[50%:]" --report report
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    options = parser().parse_args(argv)
    evaluation = evaluate_model(
        options.model,
        split=options.split,
        dataset=options.dataset,
        data_dir=options.data_dir,
        sources=options.data,
        label_map=options.label_map,
    )
    _print_scores(evaluation)
    if options.json:
        write_json(Path(options.json), evaluation.as_dict())
    if options.report:
        _write_report(Path(options.report), evaluation)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="keras-flowers evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        "model", metavar="MODEL", help="a run folder, a .keras, a .tflite or a SavedModel folder"
    )
    photos = options.add_argument_group("data")
    photos.add_argument(
        "--split",
        metavar="SPLIT",
        help="split expression, such as validation[:50%%] (default: test; all of --data that has "
        "no splits)",
    )
    add_sources(photos)
    photos.add_argument(
        "--dataset", metavar="NAME", help="TFDS data set (default: the one it was trained on)"
    )
    photos.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="where TFDS keeps data sets (default: as in training, or TFDS's own)",
    )
    places = options.add_argument_group("where things go")
    places.add_argument("--json", metavar="FILE", help="also write the scores as JSON")
    places.add_argument(
        "--report",
        metavar="FOLDER",
        help="also write the confusion matrix and a table of the classes",
    )
    add_verbose(options)
    return options


def _print_scores(evaluation: Evaluation) -> None:
    learned = evaluation.provenance.get("trained_on", {})
    print(
        f"{evaluation.model}, trained on {learned.get('photos', '?')} photos "
        f"({learned.get('split', '?')})\n\n"
        f"{evaluation.split} of {evaluation.dataset}: {evaluation.scores.photos} photos\n"
        f"{evaluation.scores}"
    )
    matrix, labels = evaluation.confusion_matrix, evaluation.labels
    counts, correct = matrix.sum(axis=1), matrix.diagonal()
    shares = correct / np.maximum(counts, 1)
    worst = [i for i in np.argsort(shares, kind="stable") if counts[i]][:10]
    print("\nclasses with the lowest accuracy")
    for i in worst:
        print(f"  {shares[i]:6.1%}  {correct[i]} of {counts[i]}  {labels[i]}")
    print("\nmost confused")
    for row, column, count in metrics.most_confused(matrix):
        print(f"  {count:3d}  true {labels[row]}, predicted {labels[column]}")


def _write_report(folder: Path, evaluation: Evaluation) -> None:
    from keras_flowers.inference import chart

    matrix, labels = evaluation.confusion_matrix, evaluation.labels
    rows = []
    for i, name in enumerate(labels):
        photos, correct, predicted = matrix[i].sum(), matrix[i, i], matrix[:, i].sum()
        accuracy = f"{correct / photos:.4f}" if photos else ""
        precision = f"{correct / predicted:.4f}" if predicted else ""
        rows.append([name, photos, correct, accuracy, predicted, precision])
    header = ["class", "photos", "correct", "accuracy", "predicted", "precision"]
    _write_csv(folder / "classes.csv", header, rows)
    _write_csv(
        folder / "confusion_matrix.csv",
        ["true \\ predicted", *labels],
        ([name, *row] for name, row in zip(labels, matrix.tolist(), strict=True)),
    )
    chart.save(chart.draw_confusion_matrix(matrix, labels), folder / "confusion_matrix.png")
    print(f"\nwritten to {folder}/: classes.csv, confusion_matrix.csv, confusion_matrix.png")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
