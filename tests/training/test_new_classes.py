"""Classes that are added to a finished head: what it learns of them, and what the old ones keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.training import new_classes
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.new_classes import Grown, grow_head
from keras_flowers.training.whitening import fit_whitening, measure_moments

KNOWN, CLASSES, SIZE, TEMPERATURE = 4, 6, 12, 0.5

CENTRES = np.random.default_rng(1).normal(0, 1, (CLASSES, SIZE))
"""Of each class; the last two are new."""


def photos(seed: int, each: int, labels: Any = range(CLASSES)) -> CachedFeatures:
    """So many photos of each class, in two views."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.array(labels), each)
    views = [CENTRES[numbers] + random.normal(0, 0.6, (len(numbers), SIZE)) for _ in range(2)]
    return CachedFeatures([view.astype(np.float16) for view in views], numbers.astype(np.int64))


def joined(one: CachedFeatures, other: CachedFeatures) -> CachedFeatures:
    views = [np.vstack([a[:], b[:]]) for a, b in zip(one.views, other.views, strict=True)]
    return CachedFeatures(views, np.append(one.labels, other.labels))


def finished() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A head that knows the first classes, before its logits are divided."""
    kernel = TEMPERATURE * CENTRES[:KNOWN].T / 0.36
    bias = -TEMPERATURE * (CENTRES[:KNOWN] ** 2).sum(axis=1) / 0.72
    return kernel.astype(np.float32), bias.astype(np.float32)


def grown(new: int = 8) -> Grown:
    train = joined(photos(2, 60, range(KNOWN)), photos(3, new, range(KNOWN, CLASSES)))
    return grown_on(train)


def grown_on(train: CachedFeatures) -> Grown:
    moments = measure_moments(train, CLASSES)
    return grow_head(
        finished(), TEMPERATURE, train, moments.means, fit_whitening(moments, shrinkage=0.5)
    )


def right(kernel: Any, bias: Any, of: CachedFeatures) -> npt.NDArray[np.bool_]:
    return (of.views[0][:].astype(np.float32) @ kernel + bias).argmax(axis=1) == of.labels


def test_new_classes_are_known_and_old_ones_are_not_forgotten() -> None:
    found, others = grown(), photos(4, 200)
    new = others.labels >= KNOWN
    named = right(found.kernel, found.bias, others)
    assert named[new].mean() > 0.85
    before = right(*finished(), others)[~new].mean()
    assert named[~new].mean() > before - 0.05
    assert (found.kernel.dtype, found.bias.dtype) == (np.float32, np.float32)
    assert found.kernel.shape == (SIZE, CLASSES)
    (row,) = found.history
    assert row["epoch"] == 1
    assert 0 < row["loss"] < 0.5
    assert row["accuracy"] > 0.85
    np.testing.assert_array_equal(grown().kernel, found.kernel)  # the same each time


def test_old_columns_change_among_the_centres_of_the_classes_and_their_biases_as_that_moves_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, bias = finished()
    loose = grown()
    monkeypatch.setattr(new_classes, "PULL", 1e6)
    found = grown()
    np.testing.assert_allclose(found.kernel[:, :KNOWN], kernel, atol=0.01)
    np.testing.assert_allclose(found.bias[:KNOWN], bias, atol=0.03)
    moved = [np.abs(one.kernel[:, :KNOWN] - kernel).max() for one in (found, loose)]
    assert moved[1] > 10 * moved[0]


def test_photos_of_new_classes_are_answered_by_heads_that_have_not_learned_them() -> None:
    found = grown(new=7)
    assert sorted(found.apart.labels.tolist()) == [4] * 7 + [5] * 7
    assert found.apart.logits.shape == (14, CLASSES)
    assert (found.apart.logits.argmax(axis=1) == found.apart.labels).mean() > 0.6
    # A photo that resembles another class is vouched for by none but itself.
    learned = photos(3, 7, range(KNOWN, CLASSES))
    strange = int(np.flatnonzero(learned.labels == 5)[0])
    for view in learned.views:
        view[strange] = CENTRES[0]
    train = joined(photos(2, 60, range(KNOWN)), learned)
    apart = grown_on(train).apart
    of_five = apart.logits[apart.labels == 5]
    assert (of_five.argmax(axis=1) == 0).sum() >= 1


def test_class_with_a_single_photo_is_learned_and_nothing_is_left_out() -> None:
    found = grown(new=1)
    assert len(found.apart.labels) == 0
    learned = photos(3, 1, range(KNOWN, CLASSES))
    assert right(found.kernel, found.bias, learned).all()


def test_some_of_many_old_photos_count_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_classes, "_MOST_OLD", 61)
    asked: list[Any] = []
    fit = new_classes._fit
    monkeypatch.setattr(
        new_classes, "_fit", lambda photos, *given: asked.append(photos) or fit(photos, *given)
    )
    grown()
    learned = asked[0]
    old = learned.labels < KNOWN
    assert old.sum() == 60  # every fourth of 240
    assert learned.weights[old].sum() == pytest.approx(240)
    # Two views of 16 photos.
    assert learned.weights[~old].sum() == pytest.approx(16 * new_classes.COUNTED)


@pytest.mark.parametrize(("counts", "folds"), [((7, 5), 5), ((3, 9), 3), ((1, 4), 1)])
def test_each_class_has_photos_in_each_part(counts: tuple[int, int], folds: int) -> None:
    labels = np.repeat([4, 5], counts)
    found = new_classes._folds(labels)
    for label in (4, 5):
        assert set(found[labels == label].tolist()) == set(range(folds))
