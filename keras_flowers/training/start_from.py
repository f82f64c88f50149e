"""Goes on from a finished model: with its network, and with what its head knows of each class."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_flowers.errors import UserError
from keras_flowers.inference.keras_insides import FEATURES, OUTPUT
from keras_flowers.training.bases import find_base
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.evaluate import count_learned
from keras_flowers.training.metrics import fit_temperature, log_loss, softmax
from keras_flowers.training.result import Splits
from keras_flowers.training.run_directory import Run, finished_run

if TYPE_CHECKING:
    import keras

    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.new_classes import Apart
    from keras_flowers.training.whitening import Array

GENTLER = 0.3
"""The learning rate of a head that goes on, as a share of that of one that begins anew, which would
move it as far again as it has come: old classes lose by that. Chosen on validation."""

_MOST_LOST = 0.005  # of the accuracy on old classes, for new ones to be named
_ROWS = 256  # of features that are answered together
_OFFSETS = 0.05 * np.arange(-60, 60)  # of logits, before their temperature

_logger = logging.getLogger(__name__)


class Start(NamedTuple):
    """A finished model, as it was before it was calibrated and could doubt.

    Attributes:
        run: Where it lies.
        model: pixels [N, H, W, 3] -> probabilities [N, K].
        temperature: By which its logits were divided.
    """

    run: Run
    model: keras.Model
    temperature: float

    @property
    def head(self) -> tuple[Array, Array]:
        """Its kernel float32 [D, K] and bias float32 [K], on features that are not whitened."""
        kernel, bias = self.model.get_layer(OUTPUT).get_weights()
        return kernel, bias

    def is_to_grow(self, classes: int) -> bool:
        """Whether its head is to be fitted by `grow_head` in order to know so many classes.

        A tuned network knows its own photos by heart, other than those of new classes: a head that
        goes on learning both unlearns how sure it is of the former, in place of the latter.
        """
        is_tuned = bool(self.run.metadata.provenance.get("fine_tune"))
        return is_tuned and classes > len(self.head[1])

    def keeps_head(self, config: TrainConfig, labels: tuple[str, ...]) -> bool:
        """Whether the head stays as it is: the base is to be trained behind it, for its classes."""
        return config.fine_tune is not None and labels == self.run.metadata.labels

    def with_classes(self, count: int, seed: int) -> keras.Model:
        """The model with so many classes, of which the first are its own.

        Args:
            count: How many; as many as it has, or more.
            seed: Of all that is random afterwards.

        Returns:
            pixels -> probabilities [N, count]; it shares what lies below the head. The weights of
            new classes are zero.
        """
        import keras

        keras.utils.set_random_seed(seed)  # as `build_model` does
        kernel, bias = self.head
        new = count - len(bias)
        head = keras.layers.Dense(count, activation="softmax", name=OUTPUT)
        features = self.model.get_layer(FEATURES).output
        model = keras.Model(self.model.inputs[0], head(features), name="flowers")
        head.set_weights([np.pad(kernel, ((0, 0), (0, new))), np.pad(bias, (0, new))])
        return model


def gentler(config: TrainConfig) -> TrainConfig:
    """The settings by which a head that knows its classes goes on to learn."""
    return dataclasses.replace(config, learning_rate=GENTLER * config.learning_rate)


def find_start(config: TrainConfig) -> Run | None:
    """The run that a training goes on from; None: it begins anew.

    Raises:
        UserError: There is no such run, or it has another base or image size than is asked for.
    """
    if config.start_from is None:
        return None
    run = finished_run(config.start_from, "--start_from")
    made = str(run.settings.get("base", ""))
    if config.base != made and not _is_same_base(config.base, made):
        raise UserError(
            f"--base {config.base}: {run.folder} was built upon {made}; leave --base out, or begin "
            "anew without --start_from"
        )
    size = run.metadata.image_size
    if config.image_size is not None and size != (config.image_size, config.image_size):
        raise UserError(
            f"--image_size {config.image_size}: {run.folder} takes {(size or '?')[0]} pixels; "
            "leave --image_size out, or begin anew without --start_from"
        )
    return run


def _is_same_base(one: str, other: str) -> bool:
    try:
        return find_base(one) == find_base(other)
    except UserError:  # a file that is not there any more
        return Path(one).absolute() == Path(other).absolute()


def load_start(run: Run, splits: Splits) -> Start:
    """Loads the model of a run, as it was before it was calibrated.

    Args:
        run: The finished run.
        splits: The photos of the training that goes on from it.

    Raises:
        UserError: Its model cannot be loaded, it knows a class that `splits` has no photos of, or
            it has learned photos that are to be scored.
    """
    from keras_flowers.training.known import without_known

    known, labels = run.metadata.labels, splits.train.labels
    if labels[: len(known)] != known:
        lost = [name for name in known if name not in labels]
        raise UserError(
            f"{splits.train.dataset} "
            + (f"has no class {lost[0]!r}" if lost else "has the classes in another order")
            + f", which {run.folder} knows; a head forgets what it is not shown: give the photos "
            "that it was trained on with --data, too"
        )
    refuse_learned(run, splits)
    temperature = float(run.metrics.get("temperature") or 1.0)
    model = without_known(run.load_model())
    head = model.get_layer(OUTPUT)
    head.set_weights([weight * temperature for weight in head.get_weights()])
    new = [repr(name) for name in labels[len(known) :]]
    _logger.info(
        f"goes on from {run.folder}: its network and its {len(known)} classes are taken over"
        + (f"; new: {', '.join(new[:5])}" if new else "")
        + (f" and {len(new) - 5} more" if len(new) > 5 else "")
    )
    return Start(run, model, temperature)


def balance_new(
    kernel: Array,
    bias: Array,
    start: tuple[Array, Array],
    validation: CachedFeatures,
    apart: Apart | None = None,
) -> Array:
    """Shifts the biases of new classes as photos ask for that were not learned from.

    Beside classes with many photos, and features that these have shaped, those with few are named
    too rarely, or too readily where the old photos are all of one kind. The offset is that of the
    least log loss where new and old classes count equally, of those that cost the old ones at most
    half a point of their accuracy; none is added where all cost more.

    Args:
        kernel: float32 [D, C], of a head that has gone on.
        bias: float32 [C].
        start: The kernel [D, K] and bias [K] of the head that it went on from.
        validation: Photos that were not learned from.
        apart: More of them, of new classes: those that are learned from, each as it is answered
            where it is not. None: there are none.

    Returns:
        The biases [C]; the same ones where no class is new, or no photo shows an old or a new one.
    """
    known = len(start[1])
    logits, before, labels = [], [], []
    for rows, of_rows in validation.whole(_ROWS):
        logits.append(rows @ kernel + bias)
        before.append((rows @ start[0] + start[1]).argmax(axis=1))
        labels.append(of_rows)
    right = np.concatenate(before) == np.concatenate(labels)
    if apart is not None:
        logits.append(apart.logits)
        labels.append(apart.labels)
    scores, correct = np.concatenate(logits), np.concatenate(labels)
    old = correct < known
    if not old.any() or old.all():
        return bias
    least = right[old[: len(right)]].mean() - _MOST_LOST
    temperature = fit_temperature(softmax(scores), correct).temperature

    def loss(raised: Array) -> float:
        answers = softmax(raised / np.float32(temperature))
        return log_loss(answers[old], correct[old]) + log_loss(answers[~old], correct[~old])

    best, found = np.inf, 0.0
    for offset in _OFFSETS.tolist():
        raised = scores.copy()
        raised[:, known:] += offset
        if (raised.argmax(axis=1) == correct)[old].mean() < least:
            continue
        if (cost := loss(raised)) < best:
            best, found = cost, offset
    if found:
        _logger.info(
            f"new classes are named {np.exp(found / temperature):.1f} times as readily, as photos "
            "ask for that were not learned from"
        )
    return np.append(bias[:known], bias[known:] + np.float32(found)).astype(np.float32)


def refuse_learned(run: Run, splits: Splits) -> None:
    """Keeps photos that a model was trained on from being scored by one that is made of it.

    Raises:
        UserError: There are such photos.
    """
    for photos in (splits.validation, splits.test):
        learned = 0 if photos is None else count_learned(photos, run.metadata.provenance, run)
        if photos is not None and learned:
            raise UserError(
                f"{run.folder} was trained on {learned} of the photos of {photos.split}: a score "
                "on them would be worth nothing; choose other splits, such as those that it was "
                f"trained with: --train_split {run.settings.get('train_split', 'train')}"
            )
