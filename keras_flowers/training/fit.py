"""Trains the tail of the network on examples; goes on after an interruption, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace
from keras_flowers.progress import progress_bar
from keras_flowers.training import data, metrics
from keras_flowers.training.batches import Batch, WeightedBatch

_logger = logging.getLogger(__name__)

History: TypeAlias = list[dict[str, float]]
"""One row an epoch."""

ROWS = 256
"""How many features are answered together."""

_SAMPLE = 512
"""On how many of the training photos, evenly spread, the loss after an epoch is measured."""

SECONDS_BETWEEN_CHECKPOINTS = 5.0
"""An epoch of a head takes a fraction of a second; writing after each would take longer than it."""


class Examples(Protocol):
    """What a tail is trained or watched on, as `batches.py` has two kinds of it."""

    def batches(self, batch_size: int, seed: int, epochs: range) -> Iterator[WeightedBatch]:
        """Everything once an epoch, in an order that seed and epoch determine."""

    def whole(self, batch_size: int, every: int = 1) -> Iterator[Batch]:
        """Every photo once, or every so many-th, with its label, in stored order."""

    def is_as_predicted(self) -> bool:
        """Whether `whole` shows photos as prediction sees them, none laid over another."""

    def count(self) -> int:
        """How many photos there are."""

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""

    def checksum(self) -> int:
        """A number that other examples do not have."""


@dataclass(frozen=True)
class FitSettings:
    """How a tail is trained; `config.TrainConfig` says what each one means."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    seed: int
    warmup: float = 0.0


def fit(
    tail: keras.Model,
    train: Examples,
    validation: Examples | None,
    settings: FitSettings,
    *,
    checkpoint: Path,
    title: str,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> History:
    """Trains the trainable layers of `tail` in place, with AdamW and a cosine schedule.

    The state is written to `checkpoint` every few seconds and when done; a call with the same
    arguments begins there. What the last epoch leaves is the result: the learning rate has fallen
    to zero by then, so no epoch needs to be picked.

    Args:
        tail: features [N, ...] -> probabilities [N, classes].
        train: What to learn from.
        validation: What to watch; it changes nothing.
        settings: How to train.
        checkpoint: The file for the state.
        title: What the progress bar calls this.
        on_epoch: Called with each new row of the history.

    Returns:
        One row an epoch, with epoch (from 1), loss, accuracy and learning_rate: what training
        minimises and meets on its way, dropout and label smoothing included. With validation also
        val_accuracy, val_log_loss and, where the training photos can be shown as in prediction,
        log_loss: see `_comparable_losses`.

    Raises:
        UserError: The loss is not a finite number.
    """
    steps = train.steps(settings.batch_size)
    optimizer = keras.optimizers.AdamW(
        _schedule(settings, settings.epochs * steps), weight_decay=settings.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(tail.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    tail.compile(optimizer, loss, metrics=["accuracy"])
    state = _State(
        variables=[*tail.variables, *optimizer.variables],
        key={
            **dataclasses.asdict(settings),
            "layers": [_without_name(layer) for layer in tail.layers],
            "start": [_checksum(variable) for variable in tail.variables],
            "inputs": [one.checksum() for one in (train, validation) if one is not None],
        },
        path=checkpoint,
    )
    history = state.restore()
    if len(history) == settings.epochs:
        return history
    if history:
        _logger.info(f"{title}: going on after epoch {len(history)} of {settings.epochs}")
    epochs = range(len(history), settings.epochs)
    to_learn = _dataset(
        lambda: train.batches(settings.batch_size, settings.seed, epochs), len(epochs) * steps, tail
    )
    with progress_bar(
        total=settings.epochs * steps, initial=len(history) * steps, unit="step", description=title
    ) as bar:
        recorder = _Recorder(history, state, bar, train, validation, on_epoch)
        tail.fit(
            to_learn,
            steps_per_epoch=steps,
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            callbacks=[recorder],
            shuffle=False,
            verbose=0,
        )
    state.save(history)
    return history


def predict(tail: keras.Model, batches: Iterator[Batch]) -> tuple[metrics.Probabilities, Any]:
    """Answers for examples.

    Args:
        tail: features [N, ...] -> probabilities [N, classes].
        batches: Features and labels, as `whole` gives them.

    Returns:
        probabilities float32 [photos, classes] and labels int64 [photos].
    """
    answers = [(np.asarray(tail(rows, training=False)), labels) for rows, labels in batches]
    probabilities, labels = zip(*answers, strict=True)
    return np.concatenate(probabilities), np.concatenate(labels)


def predict_all(tail: keras.Model, examples: Examples) -> tuple[metrics.Probabilities, Any]:
    """`predict` for every photo of `examples`, as prediction would see it."""
    return predict(tail, examples.whole(ROWS))


def _comparable_losses(
    tail: keras.Model, train: Examples, validation: Examples
) -> dict[str, float]:
    """Losses that tell learning by heart from learning, at the end of an epoch.

    The loss that training minimises has smoothed labels, dropout and random views in it, and the
    probabilities are not yet calibrated: next to it, a validation loss would look like overfitting.
    These are log losses of photos as prediction sees them, both at the temperature that fits the
    validation photos best.
    """
    answers, labels = predict_all(tail, validation)
    fitted = metrics.fit_temperature(answers, labels)
    row = {
        "val_accuracy": float(metrics.top_k_correct(answers, labels, 1).mean()),
        "val_log_loss": fitted.log_loss,
    }
    if train.is_as_predicted():
        every = max(train.count() // _SAMPLE, 1)
        answers, labels = predict(tail, train.whole(ROWS, every))
        row["log_loss"] = metrics.log_loss(answers, labels, fitted.temperature)
    return row


def _schedule(settings: FitSettings, steps: int) -> Any:
    schedule = keras.optimizers.schedules.CosineDecay
    warmup = round(settings.warmup * steps)
    if not warmup:
        return schedule(settings.learning_rate, steps)
    return schedule(0.0, steps - warmup, warmup_target=settings.learning_rate, warmup_steps=warmup)


@dataclass(frozen=True)
class _State:
    """Everything an epoch changes, in one file: weights, optimiser, dropout's random state.

    Keras's `BackupAndRestore` writes in place, so that a kill while it writes loses everything. It
    does not notice that settings or photos are others than before, and keeps no history.
    """

    variables: list[Any]
    key: dict[str, Any]
    path: Path

    def save(self, history: History) -> None:
        with atomic_replace(self.path) as temporary:
            values = [np.asarray(variable) for variable in self.variables]
            note = json.dumps({"key": self.key, "history": history})
            with open(temporary, "wb") as file:
                arrays = {f"v{i}": value for i, value in enumerate(values)}
                np.savez(file, allow_pickle=False, note=np.array(note), **arrays)

    def restore(self) -> History:
        """Takes over a checkpoint of the same settings and returns its history; else []."""
        if not self.path.is_file():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as saved:
                note = json.loads(str(saved["note"]))
                key, history = note["key"], note["history"]
                values = [saved[f"v{i}"] for i in range(len(saved.files) - 1)]
        except Exception:  # a zip archive can be damaged in many ways
            _logger.warning(f"checkpoint {self.path} is damaged: training starts anew")
            return []
        shapes = [tuple(variable.shape) for variable in self.variables]
        if key != self.key or [value.shape for value in values] != shapes:
            _logger.warning(
                f"checkpoint {self.path} is of other settings or photos: training starts anew"
            )
            return []
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return list(history)


def _without_name(layer: keras.Layer) -> dict[str, Any]:
    # Names are numbered through the process. JSON makes lists of tuples, as they come back.
    config = {key: value for key, value in layer.get_config().items() if key != "name"}
    comparable: dict[str, Any] = json.loads(json.dumps(config))
    return comparable


def _checksum(variable: keras.Variable) -> int:
    return zlib.crc32(np.asarray(variable).tobytes())


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(
        self,
        history: History,
        state: _State,
        bar: Any,
        train: Examples,
        validation: Examples | None,
        on_epoch: Callable[[dict[str, float]], None],
    ) -> None:
        super().__init__()
        self._history, self._state, self._bar, self._on_epoch = history, state, bar, on_epoch
        self._train, self._validation = train, validation
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        if not np.isfinite(row["loss"]):
            raise UserError(
                f"the loss became {row['loss']} in epoch {epoch + 1}; try a smaller --learning_rate"
            )
        if self._validation is not None:
            row |= _comparable_losses(self.model, self._train, self._validation)
        self._history.append(row)
        self._bar.set_postfix(
            {name: f"{row[name]:.3f}" for name in ("loss", "val_accuracy") if name in row},
            refresh=False,
        )
        if time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
            self._state.save(self._history)
            self._saved = time.monotonic()
        self._on_epoch(row)


def _with_probabilities(batches: Iterator[WeightedBatch], classes: int) -> Iterator[WeightedBatch]:
    """Classes as probabilities: label smoothing needs targets that are not integers."""
    rows = np.eye(classes, dtype=np.float32)
    for inputs, correct, weights in batches:
        yield inputs, rows[correct] if correct.ndim == 1 else correct, weights


def _filled_up(batches: Iterator[WeightedBatch], devices: int) -> Iterator[WeightedBatch]:
    """Batches that can be divided evenly among devices, by rows that count nothing.

    Keras takes the mean of each device's rows, then the mean of these: with 5 rows on one and 4 on
    another, the 4 would count for more; with none on one, it fails.
    """
    for inputs, correct, weights in batches:
        count = len(inputs)
        rows = np.arange(-(-count // devices) * devices)
        # As much in a mean over more rows as before.
        scaled = weights[rows % count] * np.float32(len(rows) / count)
        yield inputs[rows % count], correct[rows % count], np.where(rows < count, scaled, 0)


def _dataset(
    batches: Callable[[], Iterator[WeightedBatch]], steps: int, tail: keras.Model
) -> tf.data.Dataset:
    """Batches for `tail`: each pass is what `batches` gives, `steps` of them."""
    classes = tail.output_shape[-1]
    devices = tf.distribute.get_strategy().num_replicas_in_sync

    def generate() -> Iterator[WeightedBatch]:
        made = _with_probabilities(batches(), classes)
        return made if devices == 1 else _filled_up(made, devices)

    signature = (
        tf.TensorSpec((None, *tail.input_shape[1:]), tf.float32),
        tf.TensorSpec((None, classes), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    )
    return (
        tf.data.Dataset.from_generator(generate, output_signature=signature)
        # Of an unknown length, Keras would go on where the last validation ended.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(1)
        .with_options(data.without_autotune())
    )
