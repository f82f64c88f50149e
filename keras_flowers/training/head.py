"""Trains a softmax head on whitened features, for features as they are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import keras

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
    """
    whitening = fit_whitening(measure_moments(train, tail.output_shape[-1]), config.shrinkage)
    head = build_head(tail, config.dropout, config.seed)
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
