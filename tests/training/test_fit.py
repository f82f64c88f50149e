"""How a tail is trained: its schedule, its history, its checkpoints, what it is watched on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import keras

from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.training import fit as fit_module
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.fit import FitSettings, fit, predict, predict_all

SETTINGS = FitSettings(4, 8, 0.05, 0.0, 0.1, seed=0)


def examples(seed: int, photos: int = 40) -> CachedFeatures:
    """Features that tell two classes apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, photos)
    rows = rng.normal(size=(photos, 3)) + 6 * (labels[:, None] - 0.5)
    return CachedFeatures([rows.astype(np.float16)], labels.astype(np.int64))


def tail_of(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax")(inputs))


def trained(folder: Path, **options: Any) -> tuple[list[dict[str, float]], keras.Model]:
    tail = options.pop("tail", None) or tail_of()
    settings = dataclasses.replace(SETTINGS, **options.pop("settings", {}))
    train, validation = options.pop("train", examples(1)), options.pop("validation", examples(2))
    checkpoint = folder / "head.npz"
    history = fit(tail, train, validation, settings, checkpoint=checkpoint, title="head", **options)
    return history, tail


def test_each_epoch_is_a_row_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, float]] = []
    history, _ = trained(tmp_path, on_epoch=told.append, settings={"learning_rate": 1.0})
    assert told == history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert set(history[0]) == {
        "epoch",
        "loss",
        "accuracy",
        "learning_rate",
        "val_accuracy",
        "val_log_loss",
        "log_loss",
    }
    assert history[-1]["val_accuracy"] > 0.95
    assert history[-1]["loss"] < history[0]["loss"]
    shown = capsys.readouterr().err
    last = history[-1]
    assert f"loss={last['loss']:.3f}, val_accuracy={last['val_accuracy']:.3f}]" in shown
    assert "head: 100%" in shown
    assert "20/20" in shown
    assert "step/s" in shown


def test_learning_rate_falls_to_zero_along_a_cosine(tmp_path: Path) -> None:
    history, _ = trained(tmp_path)
    expected = [0.05 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in (1, 2, 3, 4)]
    np.testing.assert_allclose([row["learning_rate"] for row in history], expected, atol=1e-7)


def test_learning_rate_rises_first_where_it_is_to_warm_up() -> None:
    schedule = fit_module._schedule(dataclasses.replace(SETTINGS, warmup=0.25), 40)
    found = [float(schedule(step)) for step in (0, 5, 10, 25, 40)]
    np.testing.assert_allclose(found, [0.0, 0.025, 0.05, 0.025, 0.0], atol=1e-7)
    # Less than half a step is none.
    none = fit_module._schedule(dataclasses.replace(SETTINGS, warmup=0.01), 40)
    assert float(none(0)) == pytest.approx(0.05)


def test_weights_decay_but_not_biases(tmp_path: Path) -> None:
    none = CachedFeatures([np.zeros((8, 3), np.float16)], np.arange(8, dtype=np.int64) % 2)
    tail = tail_of()
    tail.set_weights([np.ones((3, 2), np.float32), np.ones(2, np.float32)])
    settings = {"weight_decay": 1.0, "label_smoothing": 0.0, "epochs": 3}
    trained(tmp_path, tail=tail, train=none, validation=None, settings=settings)
    kernel, bias = tail.get_weights()
    # Nothing is learned from zeros: decay alone moves the kernel, by each step's rate.
    rates = [0.05 * (1 + np.cos(np.pi * step / 3)) / 2 for step in range(3)]
    np.testing.assert_allclose(kernel, np.prod([1 - rate for rate in rates]), rtol=1e-5)
    np.testing.assert_allclose(bias, 1.0)


def test_smoothing_is_part_of_the_loss(tmp_path: Path) -> None:
    history, tail = trained(tmp_path, settings={"epochs": 1, "learning_rate": 1e-12})
    tail.set_weights(tail_of().get_weights())
    answers, labels = predict_all(tail, examples(1))
    targets = 0.9 * np.eye(2)[labels] + 0.05
    expected = -(targets * np.log(answers)).sum(1).mean()
    assert history[0]["loss"] == pytest.approx(expected, rel=1e-3)


def test_photo_that_counts_twice_weighs_twice_in_the_loss(tmp_path: Path) -> None:
    train = examples(1)
    weights = np.where(train.labels == 1, 2.0, 0.5).astype(np.float32)
    weighted = dataclasses.replace(train, weights=weights)
    settings = {"epochs": 1, "learning_rate": 1e-12, "label_smoothing": 0.0, "batch_size": 40}
    history, tail = trained(tmp_path, train=weighted, settings=settings)
    tail.set_weights(tail_of().get_weights())
    answers, labels = predict_all(tail, train)
    losses = -np.log(answers[np.arange(40), labels])
    assert history[0]["loss"] == pytest.approx((weights * losses).mean(), rel=1e-3)
    # What a person reads counts photos.
    assert history[0]["accuracy"] == pytest.approx((answers.argmax(1) == labels).mean())


def test_without_validation_nothing_is_watched(tmp_path: Path) -> None:
    history, _ = trained(tmp_path, validation=None)
    assert set(history[0]) == {"epoch", "loss", "accuracy", "learning_rate"}


def test_loss_of_photos_that_lie_over_each_other_is_not_compared(tmp_path: Path) -> None:
    train = examples(1)
    taught = CachedFeatures(train.views, train.labels, [np.eye(2, dtype=np.float32)[train.labels]])
    history, _ = trained(tmp_path, train=taught)
    assert "val_log_loss" in history[0]
    assert "log_loss" not in history[0]


def test_comparable_losses_are_calibrated_and_on_some_of_the_photos(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tail = tail_of()
    tail.set_weights([np.array([[-9, 9], [-9, 9], [-9, 9]], np.float32), np.zeros(2, np.float32)])
    asked: list[int] = []

    class Watched(CachedFeatures):
        def whole(self, batch_size: int, every: int = 1) -> Any:
            asked.append(every)
            return super().whole(batch_size, every)

    assert fit_module._SAMPLE == 512
    monkeypatch.setattr(fit_module, "_SAMPLE", 10)
    train = examples(1)
    # Sure of itself, and wrong now and then.
    validation = examples(2)
    validation.labels[:6] = 1 - validation.labels[:6]
    row = fit_module._comparable_losses(tail, Watched(train.views, train.labels), validation)
    assert asked == [4]  # 40 photos for a sample of 10
    answers, labels = predict_all(tail, validation)
    raw = -np.log(np.maximum(answers[np.arange(len(labels)), labels], 1e-30)).mean()
    assert row["val_log_loss"] < raw / 5
    assert row["log_loss"] < row["val_log_loss"]
    assert row["val_accuracy"] == (answers.argmax(1) == labels).mean()
    few = Watched([view[:5] for view in train.views], train.labels[:5])
    fit_module._comparable_losses(tail, few, examples(2))
    assert asked[-1] == 1


def test_answers_come_with_their_labels() -> None:
    train = examples(1)
    answers, labels = predict(tail_of(), train.whole(7))
    assert answers.shape == (40, 2)
    assert labels.tolist() == train.labels.tolist()
    np.testing.assert_allclose(answers, predict_all(tail_of(), train)[0], atol=1e-6)
    assert fit_module.ROWS == 256


def test_finished_training_is_taken_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, tail = trained(tmp_path)
    monkeypatch.setattr(fit_module, "_dataset", None)  # nothing is trained any more
    again, other = trained(tmp_path)
    assert again == history
    for one, two in zip(tail.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_checkpoints_are_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    assert fit_module.SECONDS_BETWEEN_CHECKPOINTS == 5.0
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_CHECKPOINTS", seconds)
    saved: list[int] = []
    save = fit_module._State.save

    def remember(state: Any, history: list[dict[str, float]]) -> None:
        saved.append(len(history))
        save(state, history)

    monkeypatch.setattr(fit_module._State, "save", remember)
    trained(tmp_path)
    assert saved == ([1, 2, 3, 4, 4] if seconds == 0 else [4])


def test_interrupted_training_says_where_it_goes_on_and_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    expected, straight = trained(tmp_path / "straight")
    monkeypatch.setattr(fit_module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", on_epoch=stop)
    capsys.readouterr()
    history, tail = trained(tmp_path / "stopped")
    assert "head: going on after epoch 2 of 4\n" in capsys.readouterr().out
    assert history == expected
    for one, two in zip(straight.get_weights(), tail.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"learning_rate": 0.06}},
        {"train": examples(3)},
        {"validation": examples(3)},
        {"tail": None, "seed": 5},
    ],
    ids=["settings", "photos", "validation", "weights"],
)
def test_checkpoint_of_anything_else_is_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    show_messages()
    trained(tmp_path)
    capsys.readouterr()
    if change.pop("seed", None) is not None:
        change["tail"] = tail_of(5)
    trained(tmp_path, **change)
    assert "is of other settings or photos: training starts anew" in capsys.readouterr().err


def test_loss_that_is_no_number_is_said_with_its_epoch(tmp_path: Path) -> None:
    train = examples(1)
    train.views[0][0, 0] = np.inf  # type: ignore[index]
    with pytest.raises(UserError, match="the loss became nan in epoch 1; try a smaller --learning"):
        trained(tmp_path, train=train, validation=None)


def test_batches_are_filled_up_for_several_devices_by_rows_that_count_nothing() -> None:
    inputs, correct = np.arange(10).reshape(5, 2), np.arange(5)
    weights = np.float32([1, 2, 3, 4, 5])
    (filled,) = fit_module._filled_up(iter([(inputs, correct, weights)]), 3)
    assert filled[0].tolist() == [*inputs.tolist(), [0, 1]]
    assert filled[1].tolist() == [0, 1, 2, 3, 4, 0]
    np.testing.assert_allclose(filled[2], [1.2, 2.4, 3.6, 4.8, 6, 0])  # 6 rows in place of 5
    for devices in (1, 5):
        (same,) = fit_module._filled_up(iter([(inputs, correct, weights)]), devices)
        assert [one.tolist() for one in same] == [
            inputs.tolist(),
            correct.tolist(),
            [1, 2, 3, 4, 5],
        ]
    # Fewer rows than devices: each has at least one.
    one_row = (inputs[:1], correct[:1], weights[:1])
    (many,) = fit_module._filled_up(iter([one_row]), 4)
    assert many[0].tolist() == [[0, 1]] * 4
    assert many[2].tolist() == [4, 0, 0, 0]
