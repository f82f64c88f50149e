"""The verb `evaluate`: scores any model file on labelled photos."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.files import write_json, write_text
from keras_flowers.training import metrics
from keras_flowers.training.evaluate import predict_dataset

if TYPE_CHECKING:
    from keras_flowers.training.data import LabelledPhotos


EXAMPLES = """examples:
  how good the trained model is on photos that it has never seen
      python -m keras_flowers.evaluate saved_models/MobileNetV2/model.keras
  the TFLite file on the second half of the validation photos, with pictures and tables
      python -m keras_flowers.evaluate flowers.tflite --split "validation[50%:]" --report report
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parse(argv)
    from keras_flowers.inference.classifier import load_classifier
    from keras_flowers.system import available_cores, import_tensorflow

    import_tensorflow()
    from tqdm import tqdm

    from keras_flowers.training import data

    classifier = load_classifier(options.model, workers=available_cores())
    provenance = classifier.metadata.provenance
    dataset = options.dataset or str(provenance.get("dataset", "oxford_flowers102")).split("/")[0]
    photos = data.load_photos(dataset, options.split, options.data_dir)
    if photos.labels != classifier.labels:
        raise UserError(
            f"{options.model} has {len(classifier.labels)} classes ({classifier.labels[0]}, ...), "
            f"{photos.dataset} has {len(photos.labels)} ({photos.labels[0]}, ...); "
            "expected the same names in the same order: choose another --dataset"
        )
    batches = data.pixels(photos, classifier.image_size).as_numpy_iterator()
    with tqdm(
        total=photos.count,
        desc=f"{photos.dataset} {photos.split}",
        unit="photo",
        mininterval=0.1 if sys.stderr.isatty() else 10,
    ) as bar:

        def predict(pixels: npt.NDArray[np.uint8]) -> metrics.Probabilities:
            answer = classifier.probabilities(pixels)
            bar.update(len(pixels))
            return answer

        probabilities, labels = predict_dataset(predict, batches)
    scores = metrics.score(probabilities, labels)
    matrix = metrics.confusion_matrix(probabilities, labels, len(photos.labels))
    _print_scores(options.model, provenance, photos, scores, matrix)
    if options.json:
        content = {
            "model": options.model,
            "dataset": photos.dataset,
            "split": photos.split,
            "trained_on": provenance.get("trained_on"),
            **scores.as_dict(),
        }
        write_json(Path(options.json), content)
    if options.report:
        _write_report(Path(options.report), photos.labels, matrix)
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m keras_flowers.evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a .keras, a .tflite or a SavedModel folder")
    parser.add_argument(
        "--split", default="test", help="TFDS split expression (default: %(default)s)"
    )
    parser.add_argument("--dataset", help="TFDS data set (default: the one it was trained on)")
    parser.add_argument(
        "--data_dir", help="where TFDS keeps data sets (default: $TFDS_DATA_DIR, or TFDS's own)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores as JSON")
    parser.add_argument(
        "--report", metavar="DIR", help="also write the confusion matrix and a table of the classes"
    )
    return parser.parse_args(argv)


def _print_scores(
    model: str,
    provenance: dict[str, Any],
    photos: LabelledPhotos,
    scores: metrics.Scores,
    matrix: npt.NDArray[np.int64],
) -> None:
    learned = provenance.get("trained_on", {})
    print(
        f"{model}, trained on {learned.get('photos', '?')} photos ({learned.get('split', '?')})\n\n"
        f"{photos.split} of {photos.dataset}: {scores.photos} photos\n{scores}"
    )
    counts, right = matrix.sum(axis=1), matrix.diagonal()
    shares = right / np.maximum(counts, 1)
    worst = [i for i in np.argsort(shares, kind="stable") if counts[i]][:10]
    print("\nworst classes")
    for i in worst:
        print(f"  {shares[i]:6.1%}  {right[i]} of {counts[i]}  {photos.labels[i]}")
    print("\nmost confused")
    for row, column, count in metrics.most_confused(matrix):
        print(f"  {count:3d}  {photos.labels[row]} taken for {photos.labels[column]}")


def _write_report(folder: Path, labels: Sequence[str], matrix: npt.NDArray[np.int64]) -> None:
    from keras_flowers.inference import chart

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "photos", "right", "accuracy", "predicted", "precision"])
    for i, name in enumerate(labels):
        photos, right, predicted = matrix[i].sum(), matrix[i, i], matrix[:, i].sum()
        accuracy = f"{right / photos:.4f}" if photos else ""
        precision = f"{right / predicted:.4f}" if predicted else ""
        writer.writerow([name, photos, right, accuracy, predicted, precision])
    write_text(folder / "classes.csv", text.getvalue())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["right \\ predicted", *labels])
    writer.writerows([name, *row] for name, row in zip(labels, matrix.tolist(), strict=True))
    write_text(folder / "confusion_matrix.csv", text.getvalue())
    chart.save(chart.draw_confusion_matrix(matrix, labels), folder / "confusion_matrix.png")
    print(f"\nwritten to {folder}/: classes.csv, confusion_matrix.csv, confusion_matrix.png")
