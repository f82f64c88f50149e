"""The head's start in closed form: linear discriminant analysis of the kept features.

With ten photos a class and thousands of features, gradient descent alone finds a direction that
separates the training photos and goes no further. Discriminant analysis asks first in which
directions photos of one class differ among themselves, and gives those little weight (Fisher 1936;
with the shrinkage of Friedman 1989, "Regularized Discriminant Analysis", and the views of a photo
counted as photos of its class). The result is exactly a softmax layer:

    covariance  S = mean over views of (x - m_c)(x - m_c)^T,  shrunk to  S + shrinkage diag(S)
    kernel      W = S^-1 [m_1 ... m_C]
    bias        b_c = -1/2 m_c^T S^-1 m_c

What it gains over gradient descent alone is in docs/recipe.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg

from keras_flowers.features import KeptFeatures

Array: TypeAlias = npt.NDArray[np.float32]

_ROWS = 512  # read together: the features may be larger than memory


def discriminants(
    features: KeptFeatures, classes: int, shrinkages: Sequence[float]
) -> list[tuple[Array, Array]]:
    """The softmax layer of the discriminant analysis for each shrinkage.

    Args:
        features: Kept features [N, D]; all views are used.
        classes: C, how many classes there are; each must have a photo.
        shrinkages: Shares of each feature's variance that are added to it, above 0. Relative to the
            feature's own variance, since those of different layers differ a hundredfold.

    Returns:
        kernel float32 [D, C] and bias float32 [C] for each shrinkage.
    """
    means, covariance = _moments(features, classes)
    # Logits do not change with a common shift of the features; small numbers keep precision.
    centre = means.mean(axis=0)
    centred = means - centre
    # Solved for features of unit variance: what is shrunk is their correlation, and those that
    # vary a thousandfold less than others do not spoil the precision.
    deviations = np.sqrt(covariance.diagonal())
    deviations = np.maximum(deviations, 1e-3 * deviations.mean() + 1e-9)
    correlation = covariance / np.outer(deviations, deviations)
    layers = []
    for shrinkage in shrinkages:
        shrunk = correlation + np.diag(np.full(len(correlation), shrinkage, np.float32))
        scaled = linalg.solve(shrunk, (centred / deviations).T, assume_a="pos", overwrite_a=True)
        kernel = scaled / deviations[:, None]
        bias = -0.5 * np.sum(centred.T * kernel, axis=0) - centre @ kernel
        layers.append((kernel.astype(np.float32), bias.astype(np.float32)))
    return layers


def _moments(features: KeptFeatures, classes: int) -> tuple[Array, Array]:
    """Class means [C, D] and the covariance within the classes [D, D]."""
    size = features.views[0].shape[1]
    photos = np.bincount(features.labels, minlength=classes)
    means = np.zeros((classes, size), np.float64)
    for rows, labels in _pieces(features):
        np.add.at(means, labels, rows)
    means /= np.maximum(photos, 1)[:, None] * len(features.views)
    covariance = np.zeros((size, size), np.float32)
    for rows, labels in _pieces(features):
        rest = rows - means[labels].astype(np.float32)
        covariance += rest.T @ rest
    return means.astype(np.float32), covariance / (len(features.labels) * len(features.views))


def _pieces(features: KeptFeatures) -> Iterator[tuple[Array, npt.NDArray[np.int64]]]:
    for view in features.views:
        for start in range(0, len(view), _ROWS):
            piece = slice(start, start + _ROWS)
            yield np.asarray(view[piece], np.float32), features.labels[piece]
