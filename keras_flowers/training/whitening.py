"""Whitening of the features within the classes: what makes a linear head on few photos accurate.

Thousands of features vary together, and mostly in ways that do not tell flowers apart: light,
background, distance. Gradient descent follows the directions of large variance first and, with ten
photos a class, separates the training photos along them before it has found the better ones. In
coordinates where photos of one class vary equally in all directions it finds those at once. This is
the first step of linear discriminant analysis (Fisher 1936), with the correlations shrunk as in
Friedman 1989, "Regularized Discriminant Analysis", and the views of a photo counted as photos.

The change of coordinates is linear and folds into the head: the finished model does not contain it.
docs/recipe.md says what it gains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg

from keras_flowers.errors import UserError
from keras_flowers.training.batches import CachedFeatures, MappedRows

Array: TypeAlias = npt.NDArray[np.float32]

_ROWS = 512
"""How many rows are worked on together, in float32."""

_MOST_BYTES = 96 << 20
"""Of the whitened features that are held in memory: less than a tenth of what TensorFlow takes.
More are whitened each time they are read: slower, but memory does not grow with the photos."""


@dataclass(frozen=True)
class Whitening:
    """z = matrix @ (x - centre).

    Attributes:
        centre: float32 [D], the mean of the class means.
        matrix: float32 [D, D], lower triangular, in Fortran's order: what LAPACK gives and takes.
    """

    centre: Array
    matrix: Array

    def apply(self, features: CachedFeatures) -> CachedFeatures:
        """The features in the new coordinates: in memory, where they have room in `_MOST_BYTES`."""
        whitened = [MappedRows(view, self._whiten) for view in features.views]
        if sum(2 * int(np.prod(rows.shape)) for rows in whitened) > _MOST_BYTES:
            return replace(features, views=whitened)
        held = [np.empty(rows.shape, np.float16) for rows in whitened]
        for rows, array in zip(whitened, held, strict=True):
            for piece in _pieces(len(rows)):
                array[piece] = rows[piece]
        return replace(features, views=held)

    def _whiten(self, rows: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
        columns = (np.asarray(rows, np.float32) - self.centre).T
        # The half of the matrix that is zero costs nothing this way.
        product = linalg.blas.strmm(1.0, self.matrix, columns, lower=1, overwrite_b=1)
        whitened: npt.NDArray[np.float16] = product.T.astype(np.float16)
        return whitened

    def fold(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """The dense layer on x that is the dense layer (`kernel` [D, C], `bias` [C]) on z."""
        folded = self.matrix.T @ kernel
        return folded, bias - self.centre @ folded

    def unfold(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """The dense layer on z that is the dense layer (`kernel` [D, C], `bias` [C]) on x."""
        unfolded = linalg.solve_triangular(self.matrix, kernel, trans="T", lower=True)
        return unfolded, bias + self.centre @ kernel


class Moments(NamedTuple):
    """What the whitening is made from.

    Attributes:
        means: float32 [C, D], of each class.
        covariance: float32 [D, D], within the classes; the lower triangle, in Fortran's order.
    """

    means: Array
    covariance: Array


def fit_whitening(moments: Moments, shrinkage: float) -> Whitening:
    """Finds the coordinates in which the features of one class vary equally.

    Args:
        moments: Of the features, from `measure_moments`.
        shrinkage: Above 0: by how much each feature's variance within the classes is raised, as a
            share of it. Directions that seem not to vary, because there are fewer photos than
            features, are then not blown up. With ten photos a class, of 0.3, 1, 2 and 4 the second
            had the least loss on validation: see docs/recipe.md.
    """
    means, covariance = moments
    if not covariance.diagonal().any():
        raise UserError(
            "no two photos of a class differ, so that nothing tells what may vary within it; "
            "expected several photos a class: check --train_split"
        )
    # By each feature's own variance, since those of different layers differ a hundredfold.
    deviations = np.sqrt(covariance.diagonal())
    deviations = np.maximum(deviations, 1e-3 * deviations.mean() + 1e-9)
    correlation = covariance / deviations
    correlation /= deviations[:, None]
    correlation[np.diag_indices_from(correlation)] += np.float32(shrinkage)
    # With correlation = L L^T, the rows of L^-1 (x / deviations) are uncorrelated.
    lower = linalg.cholesky(correlation, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = linalg.lapack.strtri(lower, lower=1, overwrite_c=1)
    inverse /= deviations
    return Whitening(means.mean(axis=0), inverse)


def measure_moments(features: CachedFeatures, classes: int) -> Moments:
    """Class means and the covariance within the classes.

    Args:
        features: Cached features [N, D]; all views are used, and photos count by their weights.
        classes: How many classes there are.
    """
    size = features.views[0].shape[1]
    counted = features.counted(slice(None))
    photos = len(features.views) * np.bincount(features.labels, counted, minlength=classes)
    sums = np.zeros((classes, size), np.float32)
    for rows, labels, weights in _rows(features):
        sums += np.eye(classes, dtype=np.float32)[labels].T @ (rows * weights)
    means = (sums / np.where(photos > 0, photos, 1)[:, None]).astype(np.float32)
    covariance = np.zeros((size, size), np.float32, order="F")
    for rows, labels, weights in _rows(features):
        rest = (rows - means[labels]) * np.sqrt(weights)
        # Half of a symmetric matrix is half of the work.
        covariance = linalg.blas.ssyrk(1.0, rest.T, beta=1.0, c=covariance, lower=1, overwrite_c=1)
    covariance /= np.float32(photos.sum())
    return Moments(means, covariance)


def _rows(features: CachedFeatures) -> Iterator[tuple[Array, npt.NDArray[np.int64], Array]]:
    """Rows [n, D], classes [n] and weights [n, 1] of all views, some at a time."""
    for view in features.views:
        for piece in _pieces(len(view)):
            weights = features.counted(piece)[:, None]
            yield np.asarray(view[piece], np.float32), features.labels[piece], weights


def _pieces(rows: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, rows, _ROWS))
