"""Trains the base behind the trained head: on labels, or to answer as a teacher does.

The head stays as it is and the base comes to meet it. The labels alone teach the base next to
nothing, since the head names every training photo correctly from the start. A teacher's answers
about photos that are laid over each other (mixup) are never used up: Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent". docs/recipe.md has the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_flowers.training.batches import StreamedPhotos
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.devices import gpus, trained_on_all
from keras_flowers.training.fit import Examples, FitSettings, History, fit
from keras_flowers.training.model import split_at, unfreeze_base
from keras_flowers.training.sources.source import UNKNOWN
from keras_flowers.training.teachers import ExtractorOf, Teacher, answers, answers_to_pixels
from keras_flowers.training.views import View

ALL = "all"
"""What `--fine_tune` calls the whole base, instead of the layers behind one."""

BATCH_SIZE = 32

WARMUP = 0.05
"""Share of the training in which the learning rate rises from 0: at once, it would tear apart what
the base has learned."""


def fine_tune(
    config: TrainConfig,
    model: keras.Model,
    teachers: Sequence[Teacher],
    train: LabelledPhotos,
    validation: LabelledPhotos | None,
    *,
    extractor_of: ExtractorOf,
    checkpoint: Path,
) -> History:
    """Trains the base of `model` in place: all of it, or what lies behind a layer.

    In the latter case the layers below are run once for each view, and their output is cached.

    Args:
        config: `fine_tune` (a layer, or `ALL`) and the settings that go with it.
        model: With a trained head, not yet calibrated.
        teachers: Whose answers are learned; without any, the labels are.
        train: The photos to learn from.
        validation: The photos to watch; they change nothing.
        extractor_of: Makes what runs a network over photos.
        checkpoint: The file for the state.
    """
    layer = config.fine_tune or ALL
    taught = bool(teachers)
    if taught and train.unknown_count:
        # Whatever they show: a teacher needs no labels.
        train = train.of_split(f"{train.split}+{UNKNOWN}")
    temperature = config.distillation_temperature
    to_learn: Examples
    to_watch: Examples | None = None
    if layer == ALL:
        tail, size = model, (model.input_shape[1], model.input_shape[2])
        to_learn = StreamedPhotos(train, size, config.seed, _views_by_epoch(config))
        if taught:
            teach, key = answers_to_pixels(teachers, train, temperature)
            to_learn = dataclasses.replace(to_learn, teach=teach, teacher_key=key)
        if validation is not None:
            to_watch = StreamedPhotos(validation, size, config.seed, ())
    else:
        trunk, tail = split_at(model, layer)
        views = [
            *map(View.random, range(config.fine_tune_views)),
            *map(View.field, range(config.fine_tune_field_views)),
        ]
        extractor = extractor_of(trunk)
        to_learn = extractor.features(train, views, mixup=taught)
        if taught:
            targets = answers(teachers, train, views, temperature, extractor_of)
            to_learn = dataclasses.replace(to_learn, targets=targets)
        if validation is not None:
            to_watch = extractor.features(validation, [View.FULL])
    with trained_on_all(tail, gpus()) as student:
        unfreeze_base(student)
        return fit(
            student,
            to_learn,
            to_watch,
            FitSettings(
                epochs=config.fine_tune_epochs,
                batch_size=BATCH_SIZE,
                learning_rate=config.fine_tune_learning_rate,
                weight_decay=config.weight_decay,
                label_smoothing=0.0 if taught else config.label_smoothing,
                seed=config.seed,
                warmup=WARMUP,
            ),
            checkpoint=checkpoint,
            title=f"fine-tuning {layer}",
        )


def _views_by_epoch(config: TrainConfig) -> list[int]:
    """The view of each epoch over streamed photos: random crops, evenly mixed with field views."""
    epochs = config.fine_tune_epochs
    in_field = min(config.fine_tune_field_views, epochs)
    kinds = ((View.random, epochs - in_field), (View.field, in_field))
    placed = [((i + 0.5) / count, view(i)) for view, count in kinds for i in range(count)]
    return [view for _, view in sorted(placed)]
