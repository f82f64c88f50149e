"""Runs a predict function over labelled photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from keras_flowers.training import metrics

Predict = Callable[[npt.NDArray[np.uint8]], metrics.Probabilities]


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
    for pixels, right in batches:
        answers.append(predict(pixels))
        labels.append(right)
    return np.concatenate(answers), np.concatenate(labels)
