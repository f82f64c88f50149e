"""Trains a softmax head on whitened features, for features as they are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_flowers.training import fit
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.model import OUTPUT, build_head
from keras_flowers.training.whitening import Array, Whitening, fit_whitening, measure_moments


class FittedHead(NamedTuple):
    """A trained head.

    Attributes:
        kernel: float32 [D, C], for features that are not whitened.
        bias: float32 [C].
        whitening: Of the features that it learned from.
        history: One row an epoch.
    """

    kernel: Array
    bias: Array
    whitening: Whitening
    history: fit.History


def fit_head(
    tail: keras.Model,
    train: CachedFeatures,
    validation: CachedFeatures | None,
    config: TrainConfig,
    epochs: int,
    *,
    checkpoint: Path,
    title: str,
    start: tuple[Array, Array] | None = None,
) -> FittedHead:
    """Trains a head like that of `tail`, which stays as it is.

    Args:
        tail: features [N, D] -> probabilities [N, C].
        train: What to learn from.
        validation: What to watch; it changes nothing.
        config: How to train it.
        epochs: Passes over all of `train`.
        checkpoint: The file for the state.
        title: What the progress bar calls this.
        start: The kernel [D, K] and bias [K] of a head to go on from, for features that are not
            whitened, of the first K classes; None: all begin at zero.
    """
    moments = measure_moments(train, tail.output_shape[-1])
    whitening = fit_whitening(moments, config.shrinkage)
    head = build_head(tail, config.dropout, config.seed)
    if start is not None:
        head.get_layer(OUTPUT).set_weights(_begun(*start, whitening, moments.means))
    history = fit.fit(
        head,
        whitening.apply(train),
        whitening.apply(validation) if validation else None,
        fit.FitSettings(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            label_smoothing=config.label_smoothing,
            seed=config.seed,
        ),
        checkpoint=checkpoint,
        title=title,
    )
    kernel, bias = whitening.fold(*head.get_layer(OUTPUT).get_weights())
    return FittedHead(kernel, bias, whitening, history)


def _begun(kernel: Array, bias: Array, whitening: Whitening, means: Array) -> tuple[Array, Array]:
    """The head to begin with, for whitened features, where some classes are known already.

    A new class begins where its photos lie on average, at the known ones' length.

    Args:
        kernel: [D, K], of the first K classes, for features that are not whitened.
        bias: [K].
        whitening: Of the features.
        means: [C, D], the mean features of all classes.

    Returns:
        kernel [D, C] and bias [C].
    """
    kernel, bias = whitening.unfold(kernel, bias)
    centres = whitening.matrix @ (means - whitening.centre).T
    old, new = centres[:, : len(bias)], centres[:, len(bias) :]
    # Least squares: the head's columns as multiples of the centres of their classes.
    length = float((kernel * old).sum() / (old * old).sum())
    return (
        np.hstack([kernel, length * new]).astype(np.float32),
        np.append(bias, np.full(new.shape[1], bias.mean())).astype(np.float32),
    )
