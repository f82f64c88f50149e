"""Goes on from a finished model: with its network, and with what its head knows of each class."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

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
    from keras_flowers.training.whitening import Array

GENTLER = 0.3
"""The learning rate of a head that goes on, as a share of that of one that begins anew, which would
move it as far again as it has come: old classes lose by that. Chosen on validation."""

LONGER = 2.0
"""How long the columns of new classes are at first upon a tuned network, as a multiple of what the
old ones are for the photos that they have learned by heart. Chosen on validation."""

_MOST_LOST = 0.005  # of the accuracy on old classes, for new ones to be named
_ROWS = 256  # of features that are answered together
_OFFSETS = np.arange(0.05, 3, 0.05)  # of logits, before their temperature

_logger = logging.getLogger(__name__)


class Way(NamedTuple):
    """How a head goes on.

    Attributes:
        config: The settings of its training.
        train: What it learns from.
        temperature: By which its logits are divided meanwhile.
        length: Of the columns of new classes at first, as a multiple of that of old ones.
    """

    config: TrainConfig
    train: CachedFeatures
    temperature: float = 1.0
    length: float = 1.0


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

    def way(
        self, config: TrainConfig, train: CachedFeatures, classes: int, *, is_watched: bool
    ) -> Way:
        """How the head goes on to know so many classes.

        A tuned network knows its own photos by heart, other than those of new classes. Smoothed
        labels would have the head unlearn how sure it is of the former, in place of learning the
        latter, so it learns from calibrated logits and plain labels. Where no validation photos
        keep the old classes from losing by that, its answers to their photos are learned in place
        of the labels (Li and Hoiem 2016, "Learning without Forgetting").

        Args:
            config: The settings of its training.
            train: Photos of all classes.
            classes: How many these are.
            is_watched: Whether there are validation photos.
        """
        if classes == len(self.head[1]) or not self.run.metadata.provenance.get("fine_tune"):
            gentler = dataclasses.replace(config, learning_rate=GENTLER * config.learning_rate)
            return Way(gentler, train)
        if not is_watched:
            targets = [self._answers(train, classes)] * len(train.views)
            train = dataclasses.replace(train, targets=targets)
        plain = dataclasses.replace(config, label_smoothing=0.0)
        return Way(plain, train, self.temperature, LONGER)

    def _answers(self, train: CachedFeatures, classes: int) -> npt.NDArray[np.float16]:
        """What is to be answered to each photo [N, classes], in all of its views."""
        kernel, bias = self.head
        known = len(bias)
        targets = np.zeros((train.count(), classes), np.float16)
        start = 0
        for rows, labels in train.whole(_ROWS):
            answers = softmax((rows @ kernel + bias) / np.float32(self.temperature))
            part = targets[start : start + len(rows)]
            part[:, :known] = np.where((labels < known)[:, None], answers, 0)
            new = np.flatnonzero(labels >= known)
            part[new, labels[new]] = 1
            start += len(rows)
        return targets

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


def favour_new(
    kernel: Array, bias: Array, start: tuple[Array, Array], validation: CachedFeatures
) -> Array:
    """Raises the biases of new classes as validation asks for.

    Beside classes with many photos, and features that these have shaped, those with few are named
    too rarely. The offset is that of the least log loss where new and old classes count equally,
    but none that costs the old ones more than half a point of their accuracy.

    Args:
        kernel: float32 [D, C], of a head that has gone on.
        bias: float32 [C].
        start: The kernel [D, K] and bias [K] of the head that it went on from.
        validation: Photos that were not learned from.

    Returns:
        The biases [C]; the same ones where no class is new, or no photo shows an old or a new one.
    """
    known = len(start[1])
    logits, before, labels = [], [], []
    for rows, of_rows in validation.whole(_ROWS):
        logits.append(rows @ kernel + bias)
        before.append((rows @ start[0] + start[1]).argmax(axis=1))
        labels.append(of_rows)
    scores, correct = np.concatenate(logits), np.concatenate(labels)
    old = correct < known
    if not old.any() or old.all():
        return bias
    least = (np.concatenate(before) == correct)[old].mean() - _MOST_LOST
    temperature = fit_temperature(softmax(scores), correct).temperature

    def loss(raised: Array) -> float:
        answers = softmax(raised / np.float32(temperature))
        return log_loss(answers[old], correct[old]) + log_loss(answers[~old], correct[~old])

    best, found = loss(scores), 0.0
    for offset in _OFFSETS.tolist():
        raised = scores.copy()
        raised[:, known:] += offset
        if (raised.argmax(axis=1) == correct)[old].mean() < least:
            break
        if (cost := loss(raised)) < best:
            best, found = cost, offset
    if found:
        _logger.info(
            f"new classes are named {np.exp(found / temperature):.1f} times as readily, as "
            "validation asks for"
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
