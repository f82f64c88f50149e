"""Trains the base behind the trained head: on labels, or to answer as a teacher does.

The head stays as it is and the base comes to meet it. The labels alone teach the base next to
nothing, since the head names every training photo correctly from the start. A teacher's answers
about photos that are laid over each other (mixup) are never used up: Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent". docs/recipe.md has the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training import data
from keras_flowers.training.batches import MappedRows, StreamedPhotos
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.devices import gpus, trained_on_all
from keras_flowers.training.features import FeatureExtractor, digest_of, engine_for
from keras_flowers.training.fit import Examples, FitSettings, History, fit
from keras_flowers.training.metrics import softmax
from keras_flowers.training.model import logits_of, split_at, unfreeze_base
from keras_flowers.training.run_directory import Run
from keras_flowers.training.sources.source import UNKNOWN
from keras_flowers.training.views import View

ALL = "all"
"""What `--fine_tune` calls the whole base, instead of the layers behind one."""

BATCH_SIZE = 32

WARMUP = 0.05
"""Share of the training in which the learning rate rises from 0: at once, it would tear apart what
the base has learned."""


def load_teacher(
    paths: Sequence[Path], train: LabelledPhotos, scored: list[LabelledPhotos], image_size: int
) -> keras.Model:
    """Loads finished models as one teacher.

    Args:
        paths: Their run folders or `.keras` files.
        train: What the student learns from.
        scored: The splits that the student is scored on.
        image_size: Height and width of the student's input in pixels.

    Returns:
        pixels -> logits [N, classes], the mean of the models'.

    Raises:
        UserError: There is none, it knows other classes, sees another size, or has seen photos of
            `scored`.
    """
    models = [_load_teacher(path, train, scored, image_size) for path in paths]
    if len(models) == 1:
        return models[0]
    first = models[0].inputs[0]
    pixels = keras.Input(first.shape[1:], dtype=first.dtype)
    # Each under a name of its own, as Keras asks of the parts of a model.
    named = [
        keras.Model(one.inputs[0], one.outputs[0], name=f"teacher_{number}")
        for number, one in enumerate(models)
    ]
    return keras.Model(pixels, keras.layers.average([one(pixels) for one in named]))


def _load_teacher(
    path: Path, train: LabelledPhotos, scored: list[LabelledPhotos], image_size: int
) -> keras.Model:
    if not path.exists():
        raise UserError(
            f"--teacher {path} does not exist; train it first: keras-flowers train --image_size "
            f"{image_size} --output {path}, with the base that is to teach"
        )
    run = Run.open(path)
    model, metadata = run.load_model(), run.metadata
    if metadata.labels != train.labels:
        raise UserError(f"--teacher {path} knows other classes than {train.dataset}")
    if metadata.image_size != (image_size, image_size):
        raise UserError(
            f"--teacher {path} takes {metadata.image_size} pixels; expected those of the student: "
            f"train it with --image_size {image_size}"
        )
    learned = metadata.provenance.get("trained_on", {}).get("split")
    if learned is None:
        raise UserError(f"--teacher {path} does not say what it was trained on; train it again")
    seen = train.of_split(learned)
    for photos in scored:
        if data.overlap(photos, seen):
            raise UserError(
                f"--teacher {path} was trained on {learned}, which shares photos with "
                f"{photos.split}: the student's score on them would be worth nothing"
            )
    return logits_of(model)


def fine_tune(
    config: TrainConfig,
    model: keras.Model,
    teacher: keras.Model | None,
    train: LabelledPhotos,
    validation: LabelledPhotos | None,
    *,
    extractor_of: Callable[[keras.Model], FeatureExtractor],
    checkpoint: Path,
) -> History:
    """Trains the base of `model` in place: all of it, or what lies behind a layer.

    In the latter case the layers below are run once for each view, and their output is cached.

    Args:
        config: `fine_tune` (a layer, or `ALL`) and the settings that go with it.
        model: With a trained head, not yet calibrated.
        teacher: pixels -> logits; None: the labels are learned.
        train: The photos to learn from.
        validation: The photos to watch; they change nothing.
        extractor_of: `features.FeatureExtractor` but for its seed and folder.
        checkpoint: The file for the state.
    """
    layer = config.fine_tune or ALL
    mixup = teacher is not None
    if teacher is not None and train.unknown_count:
        # Whatever they show: a teacher needs no labels.
        train = train.of_split(f"{train.split}+{UNKNOWN}")
    to_learn: Examples
    to_watch: Examples | None = None

    def softened(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return softmax(np.asarray(logits, np.float32) / config.distillation_temperature)

    if layer == ALL:
        tail, size = model, (model.input_shape[1], model.input_shape[2])
        run_teacher = engine_for(teacher)[0] if teacher is not None else None
        to_learn = StreamedPhotos(
            train,
            size,
            config.seed,
            _views_by_epoch(config),
            teacher=None if run_teacher is None else lambda pixels: softened(run_teacher(pixels)),
            teacher_key=f"{digest_of(teacher)} {config.distillation_temperature}" if mixup else "",
        )
        if validation is not None:
            to_watch = StreamedPhotos(validation, size, config.seed, ())
    else:
        trunk, tail = split_at(model, layer)
        views = [
            *map(View.random, range(config.fine_tune_views)),
            *map(View.field, range(config.fine_tune_field_views)),
        ]
        extractor = extractor_of(trunk)
        cached = extractor.features(train, views, mixup=mixup)
        if teacher is not None:
            answers = extractor_of(teacher).features(train, views, mixup=mixup)
            targets = [MappedRows(one, softened) for one in answers.views]
            cached = dataclasses.replace(cached, targets=targets)
        to_learn = cached
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
                label_smoothing=0.0 if mixup else config.label_smoothing,
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
