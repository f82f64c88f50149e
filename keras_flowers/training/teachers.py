"""Finished models that teach another: which of them answers about which photo, and their mean.

A model answers best about what it learned from. On Oxford's validation photos, shown as random
crops, the mean logits of two models that also learned from the field name 96.0 %, together with
one that learned from Oxford's photos alone 97.5 %; shown as in the field (`field_views.py`), which
that one has never seen, 92.8 % and 91.4 %. So each answers about the photos of its own sources, in
the views it knows.

Who knows less is surer: the logits of that one lie a third further apart about the same photos.
They are brought to the level of those who answer about all, or the student would learn to be surer
of one source than of others. docs/recipe.md has the figures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training import data
from keras_flowers.training.batches import MappedRows, MeanRows, PredictFn, TeachFn
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.features import FeatureExtractor, digest_of, engine_for, stored_order
from keras_flowers.training.metrics import loudness, softmax
from keras_flowers.training.model import logits_of
from keras_flowers.training.run_directory import Run
from keras_flowers.training.views import View

_MOST_COMPARED = 10_000
"""Of so many photos at most the logits of teachers are compared."""

ExtractorOf: TypeAlias = Callable[[keras.Model], FeatureExtractor]
"""`features.FeatureExtractor` but for its seed and folder."""


@dataclass(frozen=True)
class Teacher:
    """A finished model that answers about what it learned from.

    Attributes:
        network: pixels [N, H, W, 3] 0..255 -> logits [N, classes].
        sources: The names of the sources that it learned from.
        in_field: Whether it learned from views as in the field.
    """

    network: keras.Model
    sources: frozenset[str]
    in_field: bool

    def knows(self, sources: Sequence[str], view: int) -> npt.NDArray[np.bool_]:
        """Which photos of these sources it learned from, shown like this: bool [N]."""
        shown = self.in_field or View.field_index(view) is None
        return np.array([shown and source in self.sources for source in sources], bool)


def load_teachers(
    paths: Sequence[Path], train: LabelledPhotos, scored: Sequence[LabelledPhotos], image_size: int
) -> list[Teacher]:
    """Loads finished models as teachers.

    Args:
        paths: Their run folders or `.keras` files.
        train: What the student learns from.
        scored: The splits that the student is scored on.
        image_size: Height and width of the student's input in pixels.

    Raises:
        UserError: One is not there, knows other classes, sees another size, or has seen photos of
            `scored`.
    """
    return [_load(path, train, scored, image_size) for path in paths]


def _load(
    path: Path, train: LabelledPhotos, scored: Sequence[LabelledPhotos], image_size: int
) -> Teacher:
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
    shown = [run.settings.get(name, 1) for name in ("field_views", "fine_tune_field_views")]
    return Teacher(
        logits_of(model),
        frozenset(str(metadata.provenance.get("dataset", "")).split(" + ")),
        in_field=any(shown),  # a model outside of its run does not say
    )


def who_answers(
    teachers: Sequence[Teacher], photos: LabelledPhotos, view: int
) -> npt.NDArray[np.bool_]:
    """Which teachers answer about which photos in a view: all, where none learned from it.

    Returns:
        bool [teachers, photos], the photos as they stand in `photos`.
    """
    knowing = np.array([teacher.knows(photos.source_names, view) for teacher in teachers])
    return knowing | ~knowing.any(axis=0)


def answers(
    teachers: Sequence[Teacher],
    photos: LabelledPhotos,
    views: Sequence[int],
    temperature: float,
    extractor_of: ExtractorOf,
) -> list[MappedRows]:
    """What the teachers say about photos that lie over each other; each one's logits are cached.

    Args:
        teachers: Who answers.
        photos: The photos.
        views: The views of them.
        temperature: Divides the mean of the logits.
        extractor_of: Makes what runs a network over photos.

    Returns:
        For each view probabilities [photos, classes], in the order of the features.
    """
    order = stored_order(photos)
    answering = {view: who_answers(teachers, photos, view)[:, order] for view in views}
    given: dict[int, list[Any]] = {view: [] for view in views}
    for number, teacher in enumerate(teachers):
        asked = [view for view in views if answering[view][number].any()]
        if asked:
            logits = extractor_of(teacher.network).features(photos, asked, mixup=True)
            for view, rows in zip(asked, logits.views, strict=True):
                given[view].append(rows)
    return [
        MappedRows(
            _mean_of(given[view], answering[view][answering[view].any(axis=1)]),
            lambda logits: _softened(logits, temperature),
        )
        for view in views
    ]


def _mean_of(given: Sequence[Any], counted: npt.NDArray[np.bool_]) -> MeanRows:
    """The mean of the logits [N, classes] of those who answer, at one level."""
    shared = np.flatnonzero(counted.all(axis=0))[:_MOST_COMPARED]
    said = [np.asarray(rows[shared], np.float32) for rows in given]
    return MeanRows(given, counted, at_one_level(said, np.asarray(counted.all(axis=1))))


def answers_to_pixels(
    teachers: Sequence[Teacher], photos: LabelledPhotos, temperature: float
) -> tuple[TeachFn, str]:
    """The same for pixels as they stream, and what tells these teachers from others.

    Args:
        teachers: Who answers.
        photos: The photos.
        temperature: Divides the mean of the logits.
    """
    engines: list[PredictFn] = [engine_for(teacher.network)[0] for teacher in teachers]
    factors = _factors_of_streams(teachers, engines, photos)

    @functools.lru_cache(maxsize=1)  # an epoch has one view
    def answering_in(view: int) -> npt.NDArray[np.bool_]:
        return who_answers(teachers, photos, view)

    def teach(
        pixels: npt.NDArray[Any], numbers: npt.NDArray[np.integer[Any]], view: int
    ) -> npt.NDArray[np.float32]:
        answering = answering_in(view)[:, numbers]
        # Each is asked about its own photos only.
        logits = np.zeros((len(pixels), len(photos.labels)), np.float32)
        for run, factor, own in zip(engines, factors, answering, strict=True):
            if own.any():
                logits[own] += factor * run(pixels[own])
        return _softened(logits / answering.sum(axis=0)[:, None], temperature)

    digests = " ".join(digest_of(teacher.network) for teacher in teachers)
    return teach, f"{digests} {temperature}"


def _factors_of_streams(
    teachers: Sequence[Teacher], engines: Sequence[PredictFn], photos: LabelledPhotos
) -> npt.NDArray[np.float32]:
    answering = who_answers(teachers, photos, View.FULL)
    is_general = np.asarray(answering.all(axis=1))
    shared = np.asarray(answering.all(axis=0))
    if is_general.all() or not shared.any():
        return np.ones(len(teachers), np.float32)
    pixels = data.some_pixels(photos.only(shared), teachers[0].network.input_shape[1])
    return at_one_level([np.asarray(run(pixels), np.float32) for run in engines], is_general)


def at_one_level(
    said: Sequence[npt.NDArray[np.float32]], is_general: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """By what each teacher's logits are multiplied, so that all speak equally loud.

    Args:
        said: Each one's logits [N, classes] about the same photos.
        is_general: bool [len(said)], who answers about all photos; these stay as they are.

    Returns:
        float32 [len(said)]; 1 where there are no such photos, or nobody to compare with.
    """
    factors = np.ones(len(said), np.float32)
    if len(said[0]) and is_general.any():
        levels = np.array([loudness(logits) for logits in said])
        factors[~is_general] = levels[is_general].mean() / levels[~is_general]
    return factors


def _softened(logits: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float32]:
    return softmax(np.asarray(logits, np.float32) / temperature)
