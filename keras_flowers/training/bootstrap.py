"""Intervals of scores on photos of several sources, by drawing sources anew."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

LEAST_SOURCES: Final = 10
"""Of fewer sources, too few different draws can be made."""

_DRAWS = 2000  # the ends of the intervals then vary by a tenth of their width
_AT_A_TIME = 1 << 22  # counts of sources in memory


class Interval(NamedTuple):
    """95 % of the draws lie between, both 0..1."""

    low: float
    high: float


class Intervals(NamedTuple):
    """Those of some shares of all photos, and of a mean over classes.

    Attributes:
        shares: One for each row of `hits`.
        per_class: Of the mean over the classes of the share that `hits[0]` is of each.
    """

    shares: list[Interval]
    per_class: Interval


def intervals_over_sources(
    source_of: npt.NDArray[np.integer[Any]],
    labels: npt.NDArray[np.integer[Any]],
    hits: npt.NDArray[np.bool_],
) -> Intervals:
    """The percentile bootstrap whose units are sources, not photos.

    Photos of one source resemble each other: the same garden, camera and person. Ten of them tell
    less about the next source than ten of ten sources do, so that intervals of single photos would
    be too narrow. Each draw has as many sources as there are, with replacement, each with all of
    its photos (Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for Inference with
    Clustered Errors"). The draws are the same each time.

    Args:
        source_of: int [N], the source of each photo, 0..S-1.
        labels: int [N], the class of each, from 0.
        hits: bool [K, N], what shares are of: of each photo whether it counts.
    """
    from scipy import sparse

    shape = (int(source_of.max()) + 1, int(labels.max()) + 1)
    photos, correct = (
        sparse.csr_array((counted.astype(np.int64), (source_of, labels)), shape=shape)
        for counted in (np.ones(len(labels)), hits[0])
    )
    sizes = np.bincount(source_of)
    hits_of = np.stack([np.bincount(source_of, weights=one) for one in hits], axis=1)  # [S, K]
    random = np.random.default_rng(0)
    at_a_time = max(_AT_A_TIME // len(sizes), 1)
    shares, means = [], []
    for start in range(0, _DRAWS, at_a_time):
        count = min(at_a_time, _DRAWS - start)
        # How often each source is in each draw.
        weights = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=count)
        shares.append((weights @ hits_of) / (weights @ sizes)[:, None])
        in_class = weights @ photos  # [draws, C]
        accuracy = (weights @ correct) / np.maximum(in_class, 1)
        # As in the score itself, a class without a photo is left out.
        means.append(accuracy.sum(axis=1) / (in_class > 0).sum(axis=1))
    return Intervals(
        [_middle(one) for one in np.concatenate(shares).T], _middle(np.concatenate(means))
    )


def _middle(draws: npt.NDArray[np.float64]) -> Interval:
    return Interval(*np.quantile(draws, (0.025, 0.975)).tolist())
