"""Scores any model file on labelled photos, and any predict function on batches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_flowers.inference.classifier import load_classifier
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores, import_tensorflow
from keras_flowers.training import metrics
from keras_flowers.training.run_directory import Run, photos_of

Predict = Callable[[npt.NDArray[np.uint8]], metrics.Probabilities]


@dataclass(frozen=True)
class Evaluation:
    """How a model does on the photos of a split.

    Attributes:
        model: The model file or folder.
        provenance: Where the model comes from, as it says itself.
        dataset: Name and version of the data set.
        split: TFDS split expression.
        labels: The name of each class.
        scores: Accuracies with their intervals, calibration, log loss.
        confusion_matrix: int64 [C, C]: row the true class, column the predicted one.
        probabilities: float32 [photos, C], the answer for each photo.
        classes: int64 [photos], the true class of each.
    """

    model: Path
    provenance: dict[str, Any]
    dataset: str
    split: str
    labels: tuple[str, ...]
    scores: metrics.Scores
    confusion_matrix: npt.NDArray[np.int64]
    probabilities: metrics.Probabilities
    classes: npt.NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the scores, of what and on what."""
        return {
            "model": str(self.model),
            "dataset": self.dataset,
            "split": self.split,
            "trained_on": self.provenance.get("trained_on"),
            **self.scores.as_dict(),
        }


def evaluate_model(
    model: str | Path,
    *,
    split: str | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
) -> Evaluation:
    """Scores a model file on the photos of a split; every photo counts.

    Args:
        model: A `.keras` or `.tflite` file, a SavedModel folder or the folder of a run.
        split: Split expression; None: test, or all photos of `sources` without splits.
        dataset: TFDS data set; None: the one that the model was trained on, in the same version.
        data_dir: Where TFDS keeps it; None: where training had it from, or TFDS's own folder.
        sources: Photos of other sources: folders, tables or data sets, as --data takes them.
        label_map: Files that say which of the model's classes their labels are.

    Returns:
        The scores, the confusion matrix, and the answer for each photo.

    Raises:
        UserError: The model cannot be loaded, the data set cannot be had, or their classes differ.
    """
    import_tensorflow()
    from keras_flowers.training import data

    path = Path(model)
    classifier = load_classifier(path, workers=available_cores())
    photos = photos_of(
        path,
        classifier.metadata,
        split,
        run=Run.around(path),
        dataset=dataset,
        data_dir=data_dir,
        sources=sources,
        label_map=label_map,
    )
    batches = data.pixels(photos, classifier.image_size).as_numpy_iterator()
    with progress_bar(
        total=photos.count, unit="photo", description=f"{photos.dataset} {photos.split}"
    ) as bar:

        def predict(pixels: npt.NDArray[np.uint8]) -> metrics.Probabilities:
            answer = classifier.probabilities(pixels)
            bar.update(len(pixels))
            return answer

        probabilities, classes = predict_dataset(predict, batches)
    return Evaluation(
        model=path,
        provenance=classifier.metadata.provenance,
        dataset=photos.dataset,
        split=photos.split,
        labels=photos.labels,
        scores=metrics.score(probabilities, classes),
        confusion_matrix=metrics.confusion_matrix(probabilities, classes, len(photos.labels)),
        probabilities=probabilities,
        classes=classes,
    )


def predict_dataset(
    predict: Predict, batches: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]
) -> tuple[metrics.Probabilities, npt.NDArray[np.int64]]:
    """Runs a predict function over labelled photos; every photo counts, the last batch too.

    Args:
        predict: pixels uint8 [N, H, W, 3] 0..255 -> probabilities float32 [N, C].
        batches: (pixels, labels) as `predict` takes them.

    Returns:
        probabilities [photos, C] and labels [photos], as `metrics.score` takes them.
    """
    answers, labels = [], []
    for pixels, correct in batches:
        answers.append(predict(pixels))
        labels.append(correct)
    return np.concatenate(answers), np.concatenate(labels)
