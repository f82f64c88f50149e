"""Fits `known`: how likely a photo shows one of the model's classes at all, and its thresholds.

The score weighs how the logits stand to each other, how far the features lie from those of
training, and columns that answer to photos of none of the classes; `known.KnownScore` says exactly
what. docs/doubt.md says how it was chosen and what it gives.

What it learns from must be new to the logits, since a head is far too sure of the photos that it
has learned. With photos that are labelled `unknown`, heads are trained that each leave out a third
of the sources, for that third. Without any, the validation photos are taken, and each a second time
without the logit of its own class: such a photo is of none of the classes that are left. Drawings
(`drawings.py`) stand for all that is no photo.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.inference.doubt import GAIN, Group, Thresholds
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.drawings import draw_pictures
from keras_flowers.training.features import FeatureExtractor, stored_order
from keras_flowers.training.head import FittedHead, fit_head
from keras_flowers.training.known import KnownScore, with_known
from keras_flowers.training.metrics import loudness, softmax
from keras_flowers.training.model import FEATURES, OUTPUT, split_at
from keras_flowers.training.views import View
from keras_flowers.training.whitening import fit_whitening, measure_moments

if TYPE_CHECKING:
    import keras

    from keras_flowers.training.config import TrainConfig
    from keras_flowers.training.data import LabelledPhotos
    from keras_flowers.training.result import Splits

Array: TypeAlias = npt.NDArray[np.float32]

KEPT = 0.9
"""The share of right answers on the validation photos that the threshold of `known` lets pass,
where photos of other things show what refusing gains."""

KEPT_BLINDLY = 0.98
"""The same where there are none."""

RIGHT_NAMES = 0.97
"""So many of the names that are given without a "perhaps" are right, on the validation photos."""

RIGHT_GROUPS = 0.97
"""So many of the groups that are given are right, on the validation photos."""

COLUMNS = 8
"""How many kinds of photos of none of the classes are told apart. With 1, the error doubles; with
16, no less."""

_FOLDS = 3
_VIEWS = (View.FULL, View.FLIPPED, View.random(0), View.random(1))  # of what the heads learn
_PULL = 0.01  # of the columns to 0, in whitened coordinates; chosen across train.csv's sources
_MOST_PHOTOS = 10_000  # of each kind; more make it no better, and are not held in memory
_FEW_UNKNOWN = 50  # photos say nothing about sources
_LARGE_SOURCE = 0.25  # a source with more than this share of the photos is divided photo by photo
_DRAWN_WEIGHT = 0.1  # of all drawings together, as a share of the photos labelled unknown
_MISTAKEN_WEIGHT = 0.1  # of a photo with a wrong name: neither refusing nor naming it is right
_LOUDNESS = 0.7  # of logits as a head with smoothed labels gives them, before its temperature
_STEPS = 60  # of L-BFGS
_HEAD_STEPS = 160  # of each head, about

_logger = logging.getLogger(__name__)


class Fitted(NamedTuple):
    """What was fitted.

    Attributes:
        model: pixels -> probabilities [N, C + 1], with the class for what it does not know.
        thresholds: From where on an answer is given.
        facts: JSON-ready: what it was fitted on.
    """

    model: keras.Model
    thresholds: Thresholds
    facts: dict[str, Any]


def fit_known(
    model: keras.Model,
    splits: Splits,
    extractor: FeatureExtractor,
    config: TrainConfig,
    checkpoints: Path,
    groups: Sequence[Group] = (),
) -> Fitted | None:
    """Fits `known` for a trained and calibrated model.

    Args:
        model: pixels -> probabilities [N, C].
        splits: The photos of the training.
        extractor: Of its features.
        config: How heads are trained.
        checkpoints: The folder for the states of heads.
        groups: Those that the classes form.

    Returns:
        The model with it; None where there are no photos to fit it on, neither labelled unknown nor
        to choose on, or fewer than two classes.
    """
    classes = len(splits.train.labels)
    if classes < 2 or (splits.validation is None and splits.unknown is None):
        _logger.info(
            "without photos to choose on, or labelled unknown, the model learns no doubt: it names "
            "whatever it is shown"
        )
        return None
    _, tail = split_at(model, FEATURES)
    kernel, bias = model.get_layer(OUTPUT).get_weights()
    drawn = extractor.features_of(draw_pictures(tuple(model.input_shape[1:3])))
    validation = _seen(splits.validation, extractor, kernel, bias)
    strange = _seen(splits.validation_unknown, extractor, kernel, bias)
    drawings = _Seen(drawn, drawn @ kernel + bias, np.full(len(drawn), -1))
    few = splits.unknown is not None and splits.unknown.count < _FEW_UNKNOWN
    if splits.unknown is not None and (validation is None or not few):
        train = _at_most(extractor.features(splits.train, _VIEWS))
        unknown = _at_most(extractor.features(splits.unknown, [View.FULL]))
        score = _fit_across_sources(
            tail, train, splits, drawings, _rows(unknown), config, checkpoints
        )
    else:
        assert validation is not None
        train = _at_most(extractor.features(splits.train, [View.FULL]))
        seen = _seen(splits.unknown, extractor, kernel, bias)
        if seen is not None:
            drawings = _Seen(
                np.concatenate([seen.features, drawings.features]),
                np.concatenate([seen.logits, drawings.logits]),
                np.concatenate([seen.labels, drawings.labels]),
            )
        score = _fit_on_validation(_rows(train), validation, drawings)
    if validation is not None and strange is not None:
        score = _calibrate(score, validation, strange)
    kept = KEPT_BLINDLY if strange is None else KEPT
    fitted = with_known(model, score)
    if validation is None:
        thresholds = Thresholds(0.5, 0.7, 0.9)
    else:
        thresholds = choose_thresholds(
            softmax(validation.logits),
            _known(score, validation),
            validation.labels,
            groups,
            kept,
        )
    facts = {
        "unknown_photos": 0 if splits.unknown is None else splits.unknown.count,
        "chosen_on": "" if splits.validation is None else splits.validation.split,
        "chosen_on_unknown": 0 if strange is None else len(strange.features),
        "kept": kept,
    }
    return Fitted(fitted, thresholds, facts)


class _Seen(NamedTuple):
    """What the model makes of photos: features [N, D], logits [N, C], and their classes or -1."""

    features: Array
    logits: Array
    labels: npt.NDArray[np.int64]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.logits.argmax(axis=1) == self.labels)


def _seen(
    photos: LabelledPhotos | None, extractor: FeatureExtractor, kernel: Array, bias: Array
) -> _Seen | None:
    if photos is None:
        return None
    cached = _at_most(extractor.features(photos, [View.FULL]))
    rows = _rows(cached)
    return _Seen(rows, rows @ kernel + bias, cached.labels)


def _at_most(cached: CachedFeatures) -> CachedFeatures:
    """As many photos as a score needs, which are held in memory here."""
    spread = _spread_over(cached.count())
    return cached if len(spread) == cached.count() else cached.some(spread)


def _spread_over(count: int) -> npt.NDArray[np.intp]:
    """The numbers of at most `_MOST_PHOTOS` photos, evenly spread: any, in the cache's order."""
    return np.arange(0, count, max(-(-count // _MOST_PHOTOS), 1))


def _rows(cached: CachedFeatures) -> Array:
    return np.asarray(cached.views[0][:], np.float32)


def _known(score: KnownScore, seen: _Seen) -> Array:
    return _sigmoid(_odds(score, seen))


def _odds(score: KnownScore, seen: _Seen) -> Array:
    """The logarithm of known / (1 - known): float32 [N]."""
    return np.asarray(score.evidence(seen.logits, seen.features) @ score.weights + score.bias)


def _sigmoid(score: npt.NDArray[Any]) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(score, -50, 50))), np.float32)


def _spread(features: Array) -> tuple[Array, Array]:
    """Mean and deviation of every feature; one that hardly varies must not count for too much."""
    deviation = features.std(axis=0)
    return features.mean(axis=0), deviation + np.float32(0.05) * deviation.mean() + 1e-6


# With photos labelled unknown.


def _fit_across_sources(
    tail: keras.Model,
    train: CachedFeatures,
    splits: Splits,
    drawings: _Seen,
    unknown: Array,
    config: TrainConfig,
    checkpoints: Path,
) -> KnownScore:
    """Fits the score on photos whose sources the heads and columns behind it have not seen."""
    assert splits.unknown is not None
    fold_of = folds(*_origins(splits.train))
    fold_of_unknown = folds(*_origins(splits.unknown))
    kernel, bias = tail.get_layer(OUTPUT).get_weights()
    others = np.concatenate([unknown, drawings.features])
    own = others @ kernel + bias
    features = _rows(train)
    mean, deviation = _spread(features)
    classes = kernel.shape[1]
    logits = np.empty((len(features), classes), np.float32)
    unknown_logits = np.empty((len(unknown), classes), np.float32)
    whitenings = []
    for fold in range(_FOLDS):
        here, strange = fold_of == fold, fold_of_unknown == fold
        head = _train_head(tail, _only(train, ~here), config, checkpoints / f"doubt_{fold}.npz")
        whitenings.append(head.whitening)
        # On photos that neither has seen, both speak equally loud.
        louder = np.float32(loudness(own) / loudness(others @ head.kernel + head.bias))
        head_kernel, head_bias = head.kernel * louder, head.bias * louder
        logits[here] = features[here] @ head_kernel + head_bias
        unknown_logits[strange] = unknown[strange] @ head_kernel + head_bias
    known_evidence, evidence = [], []
    others_logits = np.concatenate([unknown_logits, drawings.logits])
    others_weights = _weights_of_others(len(unknown), len(drawings.features))
    # Of the drawings, every third is new to each fold.
    fold_of_others = np.concatenate([fold_of_unknown, np.arange(len(drawings.features)) % _FOLDS])
    for fold in range(_FOLDS):
        here, strange = fold_of == fold, fold_of_others == fold
        columns = _fit_columns(
            whitenings[fold],
            (features[~here], logits[~here]),
            (others[~strange], others_logits[~strange], others_weights[~strange]),
        )
        part = KnownScore(mean, deviation, *columns, np.zeros(0, np.float32), 0.0)
        known_evidence.append((here, part.evidence(logits[here], features[here])))
        evidence.append((strange, part.evidence(others_logits[strange], others[strange])))
    right = logits.argmax(axis=1) == train.labels
    weights, bias_of_score = _weigh(
        _in_place(known_evidence),
        np.where(right, 1.0, _MISTAKEN_WEIGHT),
        _in_place(evidence),
        others_weights,
    )
    whitening = fit_whitening(measure_moments(train, classes), config.shrinkage)
    columns = _fit_columns(whitening, (features, logits), (others, others_logits, others_weights))
    return KnownScore(mean, deviation, *columns, weights, bias_of_score)


def _weights_of_others(photos: int, drawings: int) -> npt.NDArray[np.float64]:
    weight = _DRAWN_WEIGHT * photos / drawings if photos else 1.0
    return np.concatenate([np.ones(photos), np.full(drawings, weight)])


def _in_place(parts: Sequence[tuple[npt.NDArray[np.bool_], Array]]) -> Array:
    """Rows of parts, each where its mask says."""
    whole = np.empty((len(parts[0][0]), parts[0][1].shape[1]), np.float32)
    for here, rows in parts:
        whole[here] = rows
    return whole


def _only(cached: CachedFeatures, rows: npt.NDArray[np.bool_]) -> CachedFeatures:
    return cached.some(np.flatnonzero(rows))


def _train_head(
    tail: keras.Model, train: CachedFeatures, config: TrainConfig, checkpoint: Path
) -> FittedHead:
    """A head like the model's for other photos."""
    epochs = max(_HEAD_STEPS // train.steps(config.batch_size), 1)
    return fit_head(tail, train, None, config, epochs, checkpoint=checkpoint, title="doubt")


def _origins(photos: LabelledPhotos) -> tuple[list[str], list[str]]:
    """Where each photo comes from, and what tells it from others, in the order of features."""
    order = stored_order(photos)
    order = order[_spread_over(len(order))]
    digests = [digest.decode() for digest in photos.digests[order].tolist()]
    return [photos.origins[number] for number in order.tolist()], digests


def folds(
    origins: Sequence[str], digests: Sequence[str], count: int = _FOLDS
) -> npt.NDArray[np.int64]:
    """Divides photos into parts of which none shares a source with another.

    A source with more than a quarter of all photos is divided itself.

    Args:
        origins: The source of each photo.
        digests: What tells it from others, in hexadecimal.
        count: How many parts.

    Returns:
        The part of each photo, 0 to count - 1.

    >>> folds(["a", "b", "a", "c", "d", "e"], ["0"] * 6).tolist()  # a is large
    [0, 0, 0, 1, 2, 0]
    """
    names, counts = np.unique(origins, return_counts=True)
    large = set(names[counts > _LARGE_SOURCE * len(origins)].tolist())
    part_of: dict[str, int] = {}
    sizes = np.zeros(count, np.int64)
    # The largest first, each to the part that is the smallest.
    for place in np.argsort(-counts, kind="stable").tolist():
        if names[place] not in large:
            part_of[names[place]] = int(sizes.argmin())
            sizes[sizes.argmin()] += counts[place]
    return np.array(
        [
            int(digest[:7], 16) % count if origin in large else part_of[origin]
            for origin, digest in zip(origins, digests, strict=True)
        ],
        np.int64,
    )


def _fit_columns(
    whitening: Any,
    known: tuple[Array, Array],
    others: tuple[Array, Array, npt.NDArray[np.float64]],
) -> tuple[Array, Array]:
    """Columns for photos of none of the classes, beside the logits of those that there are.

    They are trained as a class of `COLUMNS` parts in one softmax with the model's own logits, which
    stay as they are: outlier exposure (Hendrycks et al. 2019), in whitened coordinates.

    Args:
        whitening: Of the features; None: they are standardised.
        known: Features [N, D] and logits [N, C] of photos of the classes.
        others: Features [M, D], logits [M, C] and weights [M] of photos of none of them.

    Returns:
        The kernel [D, K] and offset [K], on features as they are.
    """
    from scipy.optimize import minimize

    features = np.concatenate([known[0], others[0]])
    if whitening is None:
        centre, deviation = _spread(known[0])
        rows = (features - centre) / (deviation * np.float32(features.shape[1] ** 0.5))
    else:
        cached = CachedFeatures([features], np.zeros(len(features), np.int64))
        rows = np.asarray(whitening.apply(cached).views[0][:], np.float32)
    is_known = np.arange(len(rows)) < len(known[0])
    shares = np.concatenate([np.ones(len(known[0])), others[2]])
    shares /= shares.sum()
    quieter = np.float32(_LOUDNESS / max(loudness(known[1]), 1e-6))
    mass = _log_sum(np.concatenate([known[1], others[1]]) * quieter)
    size = rows.shape[1]
    start = np.random.default_rng(0).normal(size=(size, COLUMNS)) * 1e-3
    pull = _PULL if whitening is not None else _PULL / 30

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        kernel = values[:-COLUMNS].reshape(size, COLUMNS)
        columns = rows @ kernel.astype(np.float32) + values[-COLUMNS:]
        odds = mass - _log_sum(columns)
        signed = np.where(is_known, -odds, odds)
        cost = float((shares * np.logaddexp(0, signed)).sum() + 0.5 * pull * (kernel**2).sum())
        slope = shares * (_sigmoid(odds) - is_known)
        back = -slope[:, None] * softmax(columns)
        gradient = rows.T @ back.astype(np.float32)
        return cost, np.concatenate([gradient.ravel() + pull * kernel.ravel(), back.sum(axis=0)])

    first = np.concatenate([start.ravel(), np.full(COLUMNS, mass.mean() - np.log(COLUMNS))])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    kernel = found[:-COLUMNS].reshape(size, COLUMNS).astype(np.float32)
    offset = found[-COLUMNS:].astype(np.float32)
    if whitening is not None:
        kernel, offset = whitening.fold(kernel, offset)
    else:
        kernel = kernel / (deviation * np.float32(size**0.5))[:, None]
        offset = offset - centre @ kernel
    return _without_constants(kernel, offset, known[0])


def _without_constants(kernel: Array, offset: Array, features: Array) -> tuple[Array, Array]:
    """The columns without features that vary by less than the 16 bits in which they are kept say.

    A tuned network has such ones. Whitening makes them large, and then their weights answer to how
    they were rounded, which they are not in a photo that is named.

    Args:
        kernel: float32 [D, K].
        offset: float32 [K].
        features: float32 [N, D], of photos of the classes.
    """
    mean = features.mean(axis=0)
    constant = features.std(axis=0) < np.abs(mean) * np.finfo(np.float16).eps
    offset = offset + mean[constant] @ kernel[constant]
    return np.where(constant[:, None], np.float32(0), kernel), offset


def _log_sum(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    largest = logits.max(axis=1)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)), np.float64)


# Without them.


def _fit_on_validation(train: Array, validation: _Seen, drawings: _Seen) -> KnownScore:
    """Fits the score on photos that were not learned from, with and without their class."""
    mean, deviation = _spread(train)
    weights = np.ones(len(drawings.features))
    columns = _fit_columns(
        None,
        (validation.features, validation.logits),
        (drawings.features, drawings.logits, weights),
    )
    score = KnownScore(mean, deviation, *columns, np.zeros(0, np.float32), 0.0)
    known = score.evidence(validation.logits, validation.features)
    drawn = score.evidence(drawings.logits, drawings.features)
    others, shares = [drawn], [np.full(len(drawn), 0.5 / len(drawn))]
    if validation.logits.shape[1] > 2:
        # As if their class were none of the model's.
        classes = validation.logits.shape[1]
        left = np.arange(classes)[None] != validation.labels[:, None]
        without = validation.logits[left].reshape(-1, classes - 1)
        if classes <= 5:  # the score sees as many logits as ever
            without = np.column_stack([without, without.min(axis=1)])
        others.append(score.evidence(without, validation.features))
        shares.append(np.full(len(without), 1 / len(without)))
    found, bias = _weigh(
        known,
        np.where(validation.is_right, 1.0, _MISTAKEN_WEIGHT),
        np.concatenate(others),
        np.concatenate(shares),
    )
    return KnownScore(mean, deviation, *columns, found, bias)


def _weigh(
    known: Array,
    known_weights: npt.NDArray[np.float64],
    others: Array,
    other_weights: npt.NDArray[np.float64],
) -> tuple[Array, float]:
    """Logistic regression of known against others, both counting equally: weights and bias."""
    from scipy.optimize import minimize

    rows = np.concatenate([known, others]).astype(np.float64)
    is_known = np.arange(len(rows)) < len(known)
    shares = np.concatenate(
        [known_weights / known_weights.sum(), other_weights / other_weights.sum()]
    )
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    rows = (rows - mean) / deviation

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        odds = rows @ values[:-1] + values[-1]
        signed = np.where(is_known, -odds, odds)
        cost = float((shares * np.logaddexp(0, signed)).sum() + 1e-3 * (values[:-1] ** 2).sum())
        slope = shares * (_sigmoid(odds) - is_known)
        gradient = rows.T @ slope + 2e-3 * values[:-1]
        return cost, np.append(gradient, slope.sum())

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / deviation
    return weights.astype(np.float32), float(found[-1] - mean @ weights)


def _calibrate(score: KnownScore, known: _Seen, others: _Seen) -> KnownScore:
    """Slope and offset of the score, so that `known` means it on the validation photos.

    Photos of the classes and others count equally: as if half of all photos showed a class.
    """
    rows, other_rows = (_odds(score, one)[:, None] for one in (known, others))
    (slope,), offset = _weigh(rows, np.ones(len(rows)), other_rows, np.ones(len(other_rows)))
    if slope <= 0:  # too few photos to say anything
        return score
    return replace(score, weights=score.weights * slope, bias=float(score.bias * slope + offset))


def choose_thresholds(
    probabilities: Array,
    known: Array,
    labels: npt.NDArray[np.int64],
    groups: Sequence[Group],
    kept: float,
) -> Thresholds:
    """The thresholds that keep what was promised, on photos that were not learned from.

    Args:
        probabilities: float32 [N, C], of the classes, adding up to 1.
        known: float32 [N].
        labels: int64 [N], the classes.
        groups: That the classes form, in the order in which they are tried.
        kept: The share of the right answers that `known` must let pass.
    """
    right = probabilities.argmax(axis=1) == labels
    least = float(np.quantile(known[right], 1 - kept)) if right.any() else 0.5
    passed = known >= least
    top, right = probabilities.max(axis=1)[passed], right[passed]
    sure = _threshold(lambda threshold: right[top >= threshold], RIGHT_NAMES, 0.5, 0.97)
    if not groups:
        return Thresholds(known=least, sure=sure, group=0.9)
    sums = np.stack([probabilities[passed][:, one.classes].sum(axis=1) for one in groups], axis=1)
    within = np.stack([np.isin(labels[passed], one.classes) for one in groups], axis=1)

    def are_groups_right(threshold: float) -> npt.NDArray[np.bool_]:
        given = (sums >= threshold) & (sums - top[:, None] >= GAIN)
        first = given.argmax(axis=1)  # as `answer` goes through them
        return np.asarray(within[np.arange(len(first)), first][given.any(axis=1)])

    group = _threshold(are_groups_right, RIGHT_GROUPS, 0.8, 0.97)
    return Thresholds(known=least, sure=sure, group=group)


def _threshold(
    right_from: Callable[[float], npt.NDArray[np.bool_]], wanted: float, least: float, most: float
) -> float:
    """The smallest of some thresholds from which on so many are right; `most` where none does.

    Args:
        right_from: For a threshold, whether each answer that it lets pass is right: bool [n].
        wanted: The share of right ones.
        least: The smallest threshold.
        most: The largest.
    """
    for threshold in np.arange(least, most, 0.01):
        right = right_from(float(threshold))
        if len(right) and right.mean() >= wanted:
            return round(float(threshold), 2)
    return most
