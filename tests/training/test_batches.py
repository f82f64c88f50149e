"""What training is fed with: every view once an epoch, in an order that can be resumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import tensorflow as tf

from keras_flowers.training import batches as batches_module
from keras_flowers.training.batches import CachedFeatures, StreamedPhotos
from keras_flowers.training.views import View

PHOTOS, VIEWS = 7, 3
LABELS = np.array([4, 1, 0, 3, 3, 2, 1], np.int64)

EPOCHS = [View.random(0), View.random(1), View.field(2), View.random(3)]
"""The view of each."""


def features(targets: bool = False) -> CachedFeatures:
    """Row `view * 100 + photo` for each view of each photo."""
    views = [
        (100 * view + np.arange(PHOTOS))[:, None].astype(np.float16) + np.zeros((1, 2), np.float16)
        for view in range(VIEWS)
    ]
    answers = [-rows.astype(np.float32) for rows in views] if targets else None
    return CachedFeatures(views, LABELS, answers)


def numbers(rows: npt.NDArray[Any]) -> list[int]:
    return [int(one) for one in rows[:, 0]]


@pytest.mark.parametrize("batch_size", [1, 4, 5, 21, 30])
def test_epoch_has_each_view_of_each_photo_once(batch_size: int) -> None:
    found = list(features().batches(batch_size, 0, range(1)))
    assert len(found) == features().steps(batch_size) == -(-PHOTOS * VIEWS // batch_size)
    assert all(len(rows) == batch_size for rows, *_ in found[:-1])
    rows = np.concatenate([rows for rows, *_ in found])
    assert rows.dtype == np.float32
    assert sorted(numbers(rows)) == [100 * v + p for v in range(VIEWS) for p in range(PHOTOS)]
    labels = np.concatenate([labels for _, labels, _ in found])
    assert labels.tolist() == [LABELS[number % 100] for number in numbers(rows)]
    assert all(weights.tolist() == [1.0] * len(rows) for rows, _, weights in found)
    assert numbers(rows) != sorted(numbers(rows))


def test_answers_of_a_teacher_stay_with_their_view() -> None:
    for rows, targets, _ in features(targets=True).batches(4, 0, range(2)):
        np.testing.assert_array_equal(targets, -rows)
    assert not features(targets=True).is_as_predicted()
    assert features().is_as_predicted()


def test_weights_stay_with_their_photo_in_every_view() -> None:
    weights = np.linspace(0.5, 1.5, PHOTOS).astype(np.float32)
    weighted = replace(features(), weights=weights)
    for rows, _, found in weighted.batches(4, 0, range(2)):
        assert found.tolist() == [weights[number % 100] for number in numbers(rows)]
        assert found.dtype == np.float32
    assert weighted.counted(slice(2, 4)).tolist() == weights[2:4].tolist()
    assert weighted.checksum() != features().checksum()


def test_order_depends_on_seed_and_epoch_and_on_nothing_before() -> None:
    def order(seed: int, epochs: range) -> list[int]:
        return [n for rows, *_ in features().batches(4, seed, epochs) for n in numbers(rows)]

    both = order(0, range(2))
    assert order(0, range(1)) + order(0, range(1, 2)) == both
    assert both[:21] != both[21:]
    assert order(1, range(1)) != order(0, range(1))


def test_whole_is_the_first_view_in_stored_order() -> None:
    found = list(features().whole(3))
    assert [numbers(rows) for rows, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]
    assert np.concatenate([labels for _, labels in found]).tolist() == LABELS.tolist()
    every_second = list(features().whole(2, every=2))
    assert [numbers(rows) for rows, _ in every_second] == [[0, 2], [4, 6]]
    assert [labels.tolist() for _, labels in every_second] == [[4, 0], [3, 1]]
    assert every_second[0][0].dtype == np.float32


def test_checksum_is_of_views_labels_and_answers() -> None:
    same = features().checksum()
    assert features().checksum() == same
    changed = features()
    changed.views[1][3, 1] += 1
    labels = CachedFeatures(features().views, np.roll(LABELS, 1))
    answers = [features(targets=True), features(targets=True)]
    assert answers[1].targets is not None
    answers[1].targets[2][0, 0] = 9
    sums = [same, changed.checksum(), labels.checksum(), *(one.checksum() for one in answers)]
    assert len(set(sums)) == 5
    assert features().count() == PHOTOS


def test_streamed_photos_have_a_view_for_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    @dataclass
    class Photos:
        dataset, split, fingerprint, count = "a_set", "train", "f", 10
        records: Any = tf.data.Dataset.from_tensor_slices(([0, 1], ["one", "other"], [3, 1]))

    def pixels(photos: Any, size: tuple[int, int], **options: Any) -> tf.data.Dataset:
        asked.append({"size": size, **options})
        labels = [int(label) for _, _, label in photos.records.as_numpy_iterator()]
        return tf.data.Dataset.from_tensors((np.ones((2, 4, 5, 3), np.uint8), labels))

    monkeypatch.setattr(batches_module.data, "pixels", pixels)
    photos: Any = Photos()
    plain = StreamedPhotos(photos, (4, 5), seed=2, views=EPOCHS)
    for _, labels, weights in plain.batches(8, 1, range(2, 4)):
        assert (labels.tolist(), weights.tolist()) == ([3, 1], [1.0, 1.0])
    assert [one["view"] for one in asked] == [View.field(2), View.random(3)]
    assert [one["order"] for one in asked] == [1002, 1003]
    assert {(one["size"], one["seed"], one["batch_size"], one["mixup"]) for one in asked} == {
        ((4, 5), 2, 8, False)
    }

    def teach(pixels: np.ndarray, numbers: np.ndarray, view: int) -> np.ndarray:
        return pixels[:, 0, 0] * 7 + 10 * numbers[:, None] + 100 * view

    taught = StreamedPhotos(photos, (4, 5), 2, EPOCHS, teach, "b")
    ((_, answers, _),) = taught.batches(8, 1, range(1))
    assert answers.tolist() == [[7 + 100 * EPOCHS[0]] * 3, [17 + 100 * EPOCHS[0]] * 3]
    assert asked[-1]["mixup"] is True
    assert (plain.steps(3), plain.steps(5), plain.count()) == (4, 2, 10)
    assert plain.is_as_predicted() and taught.is_as_predicted()
    others = [
        StreamedPhotos(photos, (4, 5), seed, views)
        for seed, views in ((3, EPOCHS), (2, EPOCHS[:3]))
    ]
    assert len({one.checksum() for one in (plain, taught, *others)}) == 4
