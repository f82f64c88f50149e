"""What a training is made with and what it gives: its photos by split, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_flowers.inference.doubt import Doubt
from keras_flowers.training.config import ResolvedConfig
from keras_flowers.training.run_directory import Run

if TYPE_CHECKING:
    from keras_flowers.training.data import LabelledPhotos
    from keras_flowers.training.metrics import Scores


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        run: Its folder, finished.
        config: The settings, with what was chosen.
        trained_on: What it learned from: `split` and the number of `photos`.
        scores: By split expression: validation, where it was not learned from, and test.
        temperature: By which the logits of the model are divided.
        doubt: What is said of doubtful answers; None where the model could learn no doubt.
        seconds: How long it took.
    """

    run: Run
    config: ResolvedConfig
    trained_on: dict[str, Any]
    scores: dict[str, Scores]
    temperature: float
    doubt: Doubt | None
    seconds: float


class Splits(NamedTuple):
    """The photos of a training.

    Attributes:
        train: To learn from.
        validation: To choose on; None where they are among those that are learned from.
        test: To score once, at the end.
        unknown: Photos of none of the classes, to learn doubt from; None where there are none.
        validation_unknown: The same to choose on, of other sources.
    """

    train: LabelledPhotos
    validation: LabelledPhotos | None
    test: LabelledPhotos
    unknown: LabelledPhotos | None = None
    validation_unknown: LabelledPhotos | None = None
