"""Accuracies with their intervals, calibration and confusions, from probabilities and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.training.bootstrap import LEAST_SOURCES, intervals_over_sources

Probabilities: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.integer[Any]]

SURE: Final = 0.9
"""The probability above which an answer counts as sure."""

_BINS = 15  # of the calibration error, as in the literature

_Z95 = 1.959964  # 97.5 % quantile of the normal distribution: both tails of a 95 % interval


@dataclass(frozen=True)
class Proportion:
    """A share with its 95 % interval, all 0..1."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:6.2%}  (95 % interval {self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True)
class Scores:
    """How good a classifier is on labelled photos.

    Attributes:
        photos: How many photos were scored.
        classes: How many classes these are of.
        sources: How many sources they are from, where the intervals are of sources drawn anew; 0
            where all photos count as independent.
        top1: Share of photos whose likeliest class is the correct one; Wilson score interval.
        top5: Share whose correct class is among the five likeliest; Wilson score interval.
        per_class: Mean over the classes of the top-1 accuracy in each; normal interval from the
            binomial variance of each class. Classes without a photo are left out.
        sure_and_wrong: Share of all photos to which a wrong answer is given with more than
            `SURE`; Wilson score interval.
        calibration_error: Expected calibration error, 15 bins of equal width, 0..1 (Guo et al.
            2017, "On Calibration of Modern Neural Networks").
        log_loss: Mean cross-entropy in nats.
    """

    photos: int
    classes: int
    sources: int
    top1: Proportion
    top5: Proportion
    per_class: Proportion
    sure_and_wrong: Proportion
    calibration_error: float
    log_loss: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        shares = {
            name: {"value": share.value, "interval95": [share.low, share.high]}
            for name, share in (
                ("top1", self.top1),
                ("top5", self.top5),
                ("mean_per_class", self.per_class),
                ("sure_and_wrong", self.sure_and_wrong),
            )
        }
        return {
            "photos": self.photos,
            "classes": self.classes,
            "intervals_over": "sources" if self.sources else "photos",
            **shares,
            "expected_calibration_error": self.calibration_error,
            "log_loss": self.log_loss,
        }

    def __str__(self) -> str:
        return "\n".join(
            (
                f"  top-1               {self.top1}",
                f"  top-5               {self.top5}",
                f"  mean per class      {self.per_class}",
                f"  calibration error   {self.calibration_error:6.2%}",
                f"  sure and wrong      {self.sure_and_wrong}",
            )
        )


def score(
    probabilities: Probabilities, labels: Labels, sources: Sequence[str] | None = None
) -> Scores:
    """Scores predictions.

    Args:
        probabilities: float [N, C], rows sum to 1.
        labels: int [N], the correct class of each row, 0..C-1.
        sources: The source of each photo. Where there are at least ten, the intervals are those of
            `intervals_over_sources`; with fewer or None, all photos count as independent.

    Raises:
        ValueError: There are no photos.
    """
    if len(labels) == 0:
        raise ValueError("no photos to score")
    hits = np.stack(
        [
            top_k_correct(probabilities, labels, 1),
            top_k_correct(probabilities, labels, 5),
            is_sure_and_wrong(probabilities, labels),
        ]
    )
    shares = [wilson_interval(int(one.sum()), len(labels)) for one in hits]
    per_class = _mean_per_class(hits[0], labels)
    names, source_of = np.unique([] if sources is None else sources, return_inverse=True)
    from_many = len(names) >= LEAST_SOURCES
    if from_many:
        found = intervals_over_sources(source_of, labels, hits)
        shares = [
            Proportion(share.value, *interval)
            for share, interval in zip(shares, found.shares, strict=True)
        ]
        per_class = Proportion(per_class.value, *found.per_class)
    chosen = probabilities[np.arange(len(labels)), labels]
    return Scores(
        photos=len(labels),
        classes=len(np.unique(labels)),
        sources=len(names) if from_many else 0,
        top1=shares[0],
        top5=shares[1],
        per_class=per_class,
        sure_and_wrong=shares[2],
        calibration_error=expected_calibration_error(probabilities, labels),
        log_loss=float(-np.log(np.maximum(chosen, 1e-12)).mean()),
    )


def top_k_correct(probabilities: Probabilities, labels: Labels, k: int) -> npt.NDArray[np.bool_]:
    """Whether the correct class is among the `k` likeliest: bool [N].

    Classes of equal probability count by index, as `Prediction.top` lists them.

    >>> top_k_correct(np.float32([[0.2, 0.5, 0.3]]), np.array([2]), 1)
    array([False])
    >>> top_k_correct(np.float32([[0.2, 0.5, 0.3]]), np.array([2]), 2)
    array([ True])
    """
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    found: npt.NDArray[np.bool_] = (likeliest == np.asarray(labels)[:, None]).any(axis=1)
    return found


def wilson_interval(correct: int, photos: int) -> Proportion:
    """The share `correct / photos` with its 95 % score interval (Wilson 1927).

    Unlike the normal interval it stays within 0..1 and holds for shares near 1.

    >>> print(wilson_interval(867, 1020))
    85.00%  (95 % interval 82.7% to 87.1%)
    """
    share, z2 = correct / photos, _Z95**2
    middle = (share + z2 / (2 * photos)) / (1 + z2 / photos)
    half = _Z95 * math.sqrt(share * (1 - share) / photos + z2 / (4 * photos**2)) / (1 + z2 / photos)
    return Proportion(share, max(middle - half, 0.0), min(middle + half, 1.0))


def is_sure_and_wrong(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.bool_]:
    """Whether a wrong answer is given with a probability above `SURE`: bool [N].

    >>> is_sure_and_wrong(np.float32([[0.95, 0.05], [0.95, 0.05], [0.2, 0.8]]), np.array([0, 1, 0]))
    array([False,  True, False])
    """
    correct = top_k_correct(probabilities, labels, 1)
    return np.asarray(~correct & (probabilities.max(axis=1) > SURE))


class ReliabilityBin(NamedTuple):
    """The photos whose likeliest class has a probability in one range.

    Attributes:
        low: From where the range goes; the last one includes 1.
        high: Up to where, exclusive.
        photos: How many answers lie in it.
        confidence: Their mean probability; 0 where there are none.
        accuracy: The share of them that is correct; 0 where there are none.
    """

    low: float
    high: float
    photos: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: Probabilities, labels: Labels, bins: int = _BINS
) -> list[ReliabilityBin]:
    """What a stated probability is worth: the table behind a reliability diagram.

    >>> reliability(np.float32([[0.75, 0.25], [0.25, 0.75]]), np.array([0, 0]), bins=2)[1]
    ReliabilityBin(low=0.5, high=1.0, photos=2, confidence=0.75, accuracy=0.5)
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = top_k_correct(probabilities, labels, 1)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    photos = np.bincount(index, minlength=bins)
    sums = [
        np.bincount(index, weights=weights, minlength=bins) for weights in (confidence, correct)
    ]
    means = [(one / np.maximum(photos, 1)).tolist() for one in sums]
    edges = (np.arange(bins + 1) / bins).tolist()
    return [
        ReliabilityBin(*row)
        for row in zip(edges[:-1], edges[1:], photos.tolist(), *means, strict=True)
    ]


def expected_calibration_error(
    probabilities: Probabilities, labels: Labels, bins: int = _BINS
) -> float:
    """How far stated confidence and accuracy lie apart, 0..1 (Guo et al. 2017, equation 3)."""
    table = reliability(probabilities, labels, bins)
    return sum(one.photos * abs(one.accuracy - one.confidence) for one in table) / len(labels)


class PartScores(NamedTuple):
    """How a classifier does on some of the photos: those of one source, or of one class.

    Attributes:
        name: Of the source or class.
        photos: How many there are.
        correct: How many of them are named correctly.
        confidence: The mean probability of the likeliest class.
        sure_and_wrong: How many are given a wrong name with more than `SURE`.
    """

    name: str
    photos: int
    correct: int
    confidence: float
    sure_and_wrong: int

    @property
    def accuracy(self) -> float:
        """Share of the photos that are named correctly."""
        return self.correct / self.photos


def score_parts(
    probabilities: Probabilities, labels: Labels, parts: Sequence[str]
) -> list[PartScores]:
    """Scores the photos of each part; the parts with the most photos first, then by name.

    Args:
        probabilities: float [N, C].
        labels: int [N].
        parts: The part that each photo belongs to.
    """
    names, part_of, photos = np.unique(parts, return_inverse=True, return_counts=True)
    sums = [
        np.bincount(part_of, weights=weights, minlength=len(names))
        for weights in (
            top_k_correct(probabilities, labels, 1),
            probabilities.max(axis=1),
            is_sure_and_wrong(probabilities, labels),
        )
    ]
    return [
        PartScores(
            name=str(names[part]),
            photos=int(photos[part]),
            correct=int(sums[0][part]),
            confidence=float(sums[1][part] / photos[part]),
            sure_and_wrong=int(sums[2][part]),
        )
        for part in np.argsort(-photos, kind="stable").tolist()
    ]


def confusion_matrix(
    probabilities: Probabilities, labels: Labels, classes: int
) -> npt.NDArray[np.int64]:
    """Counts [C, C]: row the true class, column the predicted one."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(labels), probabilities.argmax(axis=1)), 1)
    return matrix


def most_confused(matrix: npt.NDArray[np.int64], pairs: int = 10) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: (true class, predicted class, count), the commonest first."""
    mistakes = matrix.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:pairs]
    rows, columns = np.unravel_index(order, mistakes.shape)
    return [
        (int(row), int(column), int(mistakes[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if mistakes[row, column]
    ]


def _mean_per_class(correct: npt.NDArray[np.bool_], labels: Labels) -> Proportion:
    photos = np.bincount(labels)
    seen = photos > 0
    shares = np.bincount(labels, weights=correct)[seen] / photos[seen]
    # Agresti-Coull: two hits and two misses more in each class, since a class with every photo
    # correct would otherwise count as certain.
    smooth = (shares * photos[seen] + 2) / (photos[seen] + 4)
    error = math.sqrt(float((smooth * (1 - smooth) / photos[seen]).sum())) / int(seen.sum())
    mean = float(shares.mean())
    return Proportion(mean, max(mean - _Z95 * error, 0.0), min(mean + _Z95 * error, 1.0))


def softmax(logits: npt.NDArray[np.floating[Any]]) -> Probabilities:
    """Probabilities float32 [N, C] from logits [N, C]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


class TemperatureFit(NamedTuple):
    """What calibrates probabilities, and how good they are then.

    Attributes:
        temperature: T of softmax(logits / T), 0.01..100; above 1 where the model is too sure of
            itself.
        log_loss: The mean of -log(probability of the correct class), with it.
    """

    temperature: float
    log_loss: float


def loudness(logits: npt.NDArray[np.floating[Any]]) -> float:
    """How far the logits [N, C] of a photo lie apart: their deviation from the photo's mean.

    >>> loudness(np.array([[1.0, 3.0], [11.0, 13.0]]))
    1.0
    """
    return float((logits - logits.mean(axis=1, keepdims=True)).std())


def fit_temperature(probabilities: Probabilities, labels: Labels) -> TemperatureFit:
    """The temperature of least log loss (Guo et al. 2017).

    Args:
        probabilities: float [N, C], of photos that were not trained on.
        labels: int [N].
    """
    from scipy.optimize import minimize_scalar

    logits = _logits_of(probabilities)
    found = minimize_scalar(
        lambda log_temperature: _log_loss(logits, labels, math.exp(log_temperature)),
        bounds=(math.log(0.01), math.log(100)),
        method="bounded",
    )
    return TemperatureFit(math.exp(float(found.x)), float(found.fun))


def log_loss(probabilities: Probabilities, labels: Labels, temperature: float = 1.0) -> float:
    """Mean cross-entropy in nats of softmax(logits / temperature).

    >>> round(log_loss(np.float32([[0.2, 0.8]]), np.array([1])), 4)  # -log(0.8)
    0.2231
    >>> round(log_loss(np.float32([[0.2, 0.8]]), np.array([1]), 0.5), 4)  # odds of 16 to 1
    0.0606
    """
    return _log_loss(_logits_of(probabilities), labels, temperature)


def _logits_of(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """The logits, up to a constant in each row, which softmax does not see."""
    logits: npt.NDArray[np.float64] = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    logits -= logits.max(axis=1, keepdims=True)
    return logits


def _log_loss(logits: npt.NDArray[np.float64], labels: Labels, temperature: float) -> float:
    chosen = logits[np.arange(len(labels)), labels]
    log_sum = np.log(np.exp(logits / temperature).sum(axis=1))
    return float((log_sum - chosen / temperature).mean())
