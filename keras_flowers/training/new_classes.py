"""Adds classes to the head of a finished model, the old ones being changed as little as it takes.

The columns of a linear head that know most about a class with few photos lie among the centres of
the classes, in coordinates where photos of one class vary equally in all directions (`whitening`).
So the change is sought among them alone, which makes it a small convex problem that is solved to
the end: logistic regression on calibrated logits, each column pulled to where it began (a Gaussian
prior). Old columns begin as they are, new ones along the centre of their photos ("weight
imprinting": Qi et al. 2018, "Low-Shot Learning with Imprinted Weights"). The biases of old classes
stay: a network has learned its own photos by heart, and would have them raised or lowered as these
and not others need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import log_softmax

from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.feature_cache import Rows
from keras_flowers.training.metrics import log_loss, softmax
from keras_flowers.training.whitening import Array, Whitening

if TYPE_CHECKING:
    from keras_flowers.training.fit import History

LENGTH = 3.0
"""How long a new column is at first, as a multiple of what the old ones are for their centres."""

PULL = 10.0
"""Of each column to where it began: the inverse of the variance that is expected of its weights."""

COUNTED = 3.0
"""How much a photo of a new class counts, as a multiple of one of an old class."""

# Each chosen on photos that docs/own_flowers.md names.

_FOLDS = 5
_MOST_OLD = 1200  # photos: more change nothing but the time that it takes
_STEPS = 60
_ROWS = 256  # of features that are read together


class Apart(NamedTuple):
    """Photos of new classes, answered by heads that have not learned them.

    Attributes:
        logits: float32 [N, C].
        labels: int64 [N].
    """

    logits: Array
    labels: npt.NDArray[np.int64]

    def joined_with(self, other: Apart) -> Apart:
        """These and others."""
        labels = np.append(self.labels, other.labels)
        return Apart(np.concatenate([self.logits, other.logits]), labels)


class Grown(NamedTuple):
    """A head that knows more classes.

    Attributes:
        kernel: float32 [D, C], for features that are not whitened.
        bias: float32 [C].
        apart: The photos of its new classes; none where one of these has a single photo.
        history: One row: the log loss and the accuracy on what was learned from.
    """

    kernel: Array
    bias: Array
    apart: Apart
    history: History


class _Photos(NamedTuple):
    """Views of photos, as far as the problem has to know them.

    Attributes:
        coordinates: float32 [N, M]: the first K along the centres of old classes.
        logits: float32 [N, K], what is said of the old classes, calibrated.
        labels: int64 [N].
        weights: float32 [N], how much each counts.
        folds: int64 [N], the part that a photo of a new class belongs to; -1: of an old one.
    """

    coordinates: Array
    logits: Array
    labels: npt.NDArray[np.int64]
    weights: Array
    folds: npt.NDArray[np.int64]

    def some(self, chosen: npt.NDArray[np.bool_]) -> _Photos:
        """Those that are chosen: bool [N]."""
        return _Photos(
            self.coordinates[chosen],
            self.logits[chosen],
            self.labels[chosen],
            self.weights[chosen],
            self.folds[chosen],
        )

    def joined_with(self, other: _Photos) -> _Photos:
        """These and others."""
        return _Photos(
            np.concatenate([self.coordinates, other.coordinates]),
            np.concatenate([self.logits, other.logits]),
            np.append(self.labels, other.labels),
            np.append(self.weights, other.weights),
            np.append(self.folds, other.folds),
        )


def grow_head(
    start: tuple[Array, Array],
    temperature: float,
    train: CachedFeatures,
    means: Array,
    whitening: Whitening,
) -> Grown:
    """Fits a head that knows the classes of another one, and new ones.

    Args:
        start: The other's kernel [D, K] and bias [K], for features that are not whitened.
        temperature: By which its logits are divided.
        train: Photos of all classes. Of old ones the first view counts, of new ones all do.
        means: float32 [C, D], the mean features of all classes, of which the old ones come first.
        whitening: Of the features.

    Returns:
        The head; its logits, too, are to be divided by the temperature.
    """
    scale = np.float32(temperature)
    kernel, bias = whitening.unfold(start[0] / scale, start[1] / scale)
    known, classes = len(bias), len(means)
    centres = whitening.matrix @ (means[:known] - whitening.centre).T
    length = LENGTH * float((kernel * centres).sum() / (centres * centres).sum())

    old, new = (np.flatnonzero(of_new) for of_new in (train.labels < known, train.labels >= known))
    every = -(-len(old) // _MOST_OLD)
    kept = CachedFeatures(train.views[:1], train.labels, weights=train.weights).some(old[::every])
    kept, added = whitening.apply(kept), whitening.apply(train.some(new))
    folds = _folds(added.labels)
    parts = [  # so that the centre of a class without one of its parts is among the directions
        np.mean([_mean(view, (added.labels == label) & (folds == fold)) for view in added.views], 0)
        for label in range(known, classes)
        for fold in range(folds.max() + 1)
    ]
    basis: Array = np.linalg.qr(np.column_stack([centres, *parts]).astype(np.float32))[0]

    def seen(features: CachedFeatures, counted: float, folds: npt.NDArray[np.int64]) -> _Photos:
        several = len(features.views)
        rows = np.vstack([_product(view, np.hstack([basis, kernel])) for view in features.views])
        weights = features.counted(slice(None)) * np.float32(counted / several)
        repeated = (np.tile(array, several) for array in (features.labels, weights, folds))
        return _Photos(rows[:, : basis.shape[1]], rows[:, basis.shape[1] :] + bias, *repeated)

    photos = seen(kept, len(old) / len(kept.labels), np.full(len(kept.labels), -1))
    photos = photos.joined_with(seen(added, COUNTED, folds))
    fitted = _fit(photos, classes, length)
    whole = np.arange(len(photos.labels)) < len(kept.labels) + len(new)  # in their first view
    apart = Apart(np.zeros((0, classes), np.float32), np.zeros(0, np.int64))
    for fold in range(folds.max() + 1) if folds.any() else ():
        left_out = photos.some(whole & (photos.folds == fold))
        logits = _fit(photos.some(photos.folds != fold), classes, length).logits(left_out)
        apart = apart.joined_with(Apart(logits * scale, left_out.labels))
    grown: Array = np.pad(kernel, ((0, 0), (0, classes - known))) + basis @ fitted.columns
    kernel, bias = whitening.fold(grown * scale, np.append(bias, fitted.bias) * scale)
    return Grown(kernel, bias, apart, fitted.history(photos))


class _Fitted(NamedTuple):
    """What comes to the logits of the old classes, and makes those of the new ones.

    Attributes:
        columns: float32 [M, C], of coordinates.
        bias: float32 [C - K], of the new classes.
    """

    columns: Array
    bias: Array

    def logits(self, photos: _Photos) -> Array:
        """What it says of photos: float32 [N, C]."""
        begun = np.pad(photos.logits, ((0, 0), (0, len(self.bias))))
        begun[:, -len(self.bias) :] += self.bias
        logits: Array = begun + photos.coordinates @ self.columns
        return logits

    def history(self, photos: _Photos) -> History:
        """How well it knows photos."""
        logits = self.logits(photos)
        loss = log_loss(softmax(logits), photos.labels)
        right = (logits.argmax(axis=1) == photos.labels).mean()
        return [{"epoch": 1.0, "loss": float(loss), "accuracy": float(right)}]


def _fit(photos: _Photos, classes: int, length: float) -> _Fitted:
    """Solves the problem.

    Args:
        photos: To be learned.
        classes: C.
        length: Of a new column at first, as a multiple of the centre of its class.
    """
    size, known = photos.coordinates.shape[1], photos.logits.shape[1]
    new = [
        photos.coordinates[photos.labels == label].mean(axis=0) for label in range(known, classes)
    ]
    # The first coordinates are those along the centres of old classes.
    directions: Array = np.linalg.qr(np.column_stack([np.eye(size, known), *new]))[0]
    directions = directions.astype(np.float32)
    rows = photos.coordinates @ directions
    begun = np.zeros((rows.shape[1], classes), np.float32)
    begun[:, known:] = length * directions.T @ np.transpose(new)
    first = _Fitted(directions @ begun, np.zeros(classes - known, np.float32))
    logits = first.logits(photos)
    targets = np.eye(classes, dtype=np.float32)[photos.labels]
    weights = photos.weights[:, None]

    def split(values: npt.NDArray[np.float64]) -> tuple[Array, Array]:
        change, shift = np.split(values.astype(np.float32), [begun.size])
        return change.reshape(begun.shape), shift

    def cost(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        change, shift = split(values)
        said = logits + rows @ change
        said[:, known:] += shift
        log_likely = log_softmax(said, axis=1)
        slope = (np.exp(log_likely) - targets) * weights
        gradient = rows.T @ slope + np.float32(PULL) * change
        loss = -(weights * targets * log_likely).sum(dtype=np.float64)
        loss += PULL / 2 * np.square(change).sum(dtype=np.float64)
        return loss, np.append(gradient, slope[:, known:].sum(axis=0)).astype(np.float64)

    nothing = np.zeros(begun.size + classes - known)
    found = optimize.minimize(
        cost, nothing, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}
    )
    change, shift = split(found.x)
    return _Fitted(directions @ (begun + change), shift)


def _folds(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Divides the photos of each class alike: into as many parts as the smallest class allows."""
    counts = np.unique(labels, return_counts=True)[1]
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        folds[of_class] = np.arange(len(of_class)) % min(_FOLDS, counts.min())
    return folds


def _mean(view: npt.NDArray[np.float16] | Rows, chosen: npt.NDArray[np.bool_]) -> Array:
    mean: Array = np.asarray(view[np.flatnonzero(chosen)], np.float32).mean(axis=0)
    return mean


def _product(view: npt.NDArray[np.float16] | Rows, matrix: Array) -> Array:
    """The rows of a view times a matrix, some at a time."""
    pieces = range(0, len(view), _ROWS)
    return np.vstack(
        [np.asarray(view[start : start + _ROWS], np.float32) @ matrix for start in pieces]
    )
