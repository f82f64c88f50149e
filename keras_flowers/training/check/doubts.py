"""Which labels look wrong and which photos fit no class, by the features of the frozen base.

Each photo is judged by photos of other folds only. The judge is the head's first step in closed
form: features whitened within the classes (see `whitening.py`), compared with the mean of each
class by their cosine, at the temperature that fits the labels best. Of 2,040 photos of Oxford with
5 % of the labels exchanged, all of these were in the first tenth of the ranking (one draw).

The ranking is by the probability of the given label, which Northcutt et al. 2021, "Confident
Learning", call self-confidence and their package cleanlab uses by default; so is the rule for what
is pointed at. Both are a few lines of NumPy: cleanlab would bring pandas and scikit-learn for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from keras_flowers.training import metrics
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.whitening import fit_whitening, measure_moments

FOLDS: Final = 5
"""In how many parts the photos are divided: each is judged by the others."""

LEAST_PHOTOS: Final = 3
"""Of a class, near duplicates counted once, so that its labels are judged."""

FAR: Final = 4.0
"""From how many standard deviations a photo counts as farther from every class than photos are. Of
100 photos without flowers among 2,040 of Oxford, 98 lie beyond, and 0.3 % of Oxford's own; it was
chosen on these."""

_SHRINKAGE = 1.0  # As `TrainConfig.shrinkage` is by default.


@dataclass(frozen=True)
class Doubts:
    """What the base says about the labels.

    Attributes:
        probabilities: float32 [N, C], of each class, from photos of other folds; NaN where a photo
            was not judged.
        distances: float32 [N], from the nearest class, in standard deviations above the median of
            all photos; NaN where a photo was not judged.
        labels: int64 [N], the given labels; -1 for none of the classes.
    """

    probabilities: metrics.Probabilities
    distances: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @property
    def is_judged(self) -> npt.NDArray[np.bool_]:
        """bool [N], whether there were enough photos of its class to judge a photo."""
        return ~np.isnan(self.distances)

    @property
    def own(self) -> npt.NDArray[np.float32]:
        """float32 [N], the probability of the given label; NaN where it was not judged."""
        own = self.probabilities[np.arange(len(self.labels)), self.labels]
        return np.where(self.is_judged, own, np.float32(np.nan))

    @property
    def suggestions(self) -> npt.NDArray[np.int64]:
        """int64 [N], the likeliest class; -1 where a photo was not judged."""
        return np.where(
            self.is_judged, np.nan_to_num(self.probabilities, nan=-1.0).argmax(axis=1), -1
        ).astype(np.int64)

    @property
    def ranking(self) -> npt.NDArray[np.intp]:
        """The numbers of the photos that were judged, the most doubtful label first."""
        # NaN comes last.
        return np.argsort(self.own, kind="stable")[: int(self.is_judged.sum())]

    @property
    def fits_no_class(self) -> npt.NDArray[np.bool_]:
        """bool [N], whether a photo is farther from every class than photos usually are."""
        return np.nan_to_num(self.distances, nan=-np.inf) > FAR

    @property
    def looks_wrong(self) -> npt.NDArray[np.bool_]:
        """bool [N], whether another class is as likely as it is, on average, for its own photos.

        The thresholds of confident learning: they ask more of classes that are easily told apart.
        """
        wrong = np.zeros(len(self.labels), np.bool_)
        judged = np.flatnonzero(self.is_judged)
        if not len(judged):
            return wrong
        own, labels = self.own[judged], self.labels[judged]
        classes = self.probabilities.shape[1]
        photos = np.bincount(labels, minlength=classes)
        means = np.bincount(labels, weights=own, minlength=classes) / np.maximum(photos, 1)
        suggested = self.suggestions[judged]
        likely = self.probabilities[judged, suggested] >= means[suggested]
        wrong[judged] = (suggested != labels) & likely & ~self.fits_no_class[judged]
        return wrong


def judge(
    features: npt.NDArray[np.float16], labels: npt.NDArray[np.int64], first: npt.NDArray[np.intp]
) -> Doubts | None:
    """Judges the label of each photo by photos of other folds.

    Args:
        features: float16 [N, D], of the frozen base.
        labels: int64 [N]; -1 for none of the classes: not judged, and nothing is judged by them.
        first: int [N], as `group_duplicates` returns it. Near duplicates are in one fold: a photo
            with a wrong label would otherwise be vouched for by its copy.

    Returns:
        The doubts; None where fewer than two classes have `LEAST_PHOTOS`.
    """
    folds = _fold(labels, first)
    classes = int(labels.max(initial=-1)) + 1
    known = np.unique(labels[folds >= 0])
    if len(known) < 2:
        return None
    cosines = np.full((len(labels), classes), -1.0, np.float32)
    squares = np.full(len(labels), np.nan, np.float32)
    for fold in range(FOLDS):
        judged = np.flatnonzero(folds == fold)
        if not len(judged):
            continue
        others = np.flatnonzero((folds >= 0) & (folds != fold))
        # The numbers of the classes that are there, without gaps.
        there, number = np.unique(labels[others], return_inverse=True)
        moments = measure_moments(CachedFeatures([features[others]], number), len(there))
        whitening = fit_whitening(moments, _SHRINKAGE)

        def whitened(rows: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
            alone = CachedFeatures([rows], np.zeros(len(rows), np.int64))
            return np.asarray(whitening.apply(alone).views[0][:], np.float32)  # noqa: B023

        means, rows = whitened(moments.means.astype(np.float16)), whitened(features[judged])
        products = rows @ means.T
        lengths, mean_lengths = (rows**2).sum(axis=1), (means**2).sum(axis=1)
        cosines[np.ix_(judged, there)] = products / np.maximum(
            np.sqrt(np.outer(lengths, mean_lengths)), 1e-6
        )
        squares[judged] = (lengths[:, None] - 2 * products + mean_lengths).min(axis=1)
    judged = np.flatnonzero(folds >= 0)
    first_guess = metrics.softmax(cosines[judged])
    temperature = metrics.fit_temperature(first_guess, labels[judged]).temperature
    probabilities = np.full_like(cosines, np.nan)
    probabilities[judged] = metrics.softmax(cosines[judged] / temperature)
    middle = np.median(squares[judged])
    # Of a normal distribution, 1.4826 times the median deviation is the standard deviation; unlike
    # that one, it does not grow with the photos that are looked for.
    width = 1.4826 * np.median(np.abs(squares[judged] - middle))
    distances = (squares - middle) / max(float(width), 1e-6)
    return Doubts(probabilities, distances.astype(np.float32), labels)


def _fold(labels: npt.NDArray[np.int64], first: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The fold of each photo; -1 where there are too few of its class.

    Each class is spread evenly; what are near duplicates of one another stays together.
    """
    folds = np.full(len(labels), -1, np.intp)
    of_group: dict[int, int] = {}
    for label in np.unique(labels[labels >= 0]).tolist():
        rows = np.flatnonzero(labels == label)
        groups = dict.fromkeys(first[rows].tolist())
        if len(groups) < LEAST_PHOTOS:
            continue
        for number, group in enumerate(groups):
            of_group.setdefault(group, (number + label) % FOLDS)
        folds[rows] = [of_group[group] for group in first[rows].tolist()]
    return folds
