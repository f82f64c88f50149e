"""Exchanged labels and strangers are found, and nothing is found where there is nothing."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("scipy", reason="judging labels needs the extra [train]")
pytest.importorskip("tensorflow", reason="judging labels needs the extra [train]")

from keras_flowers.training.check.doubts import Doubts, judge
from keras_flowers.training.check.names import doubles_by_look

CLASSES, EACH, SIZE = 6, 30, 40


def drawn(seed: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """Features of classes that overlap a little, and their labels."""
    numbers = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), EACH)
    means = numbers.normal(size=(CLASSES, SIZE))
    features = means[labels] + 0.7 * numbers.normal(size=(len(labels), SIZE))
    return features.astype(np.float16), labels


def exchanged(
    labels: npt.NDArray[np.int64], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Labels of which some have moved on to the next of the chosen photos, and which these are."""
    chosen = np.random.default_rng(seed).permutation(len(labels))[: round(share * len(labels))]
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    wrong = labels.copy()
    wrong[chosen] = np.roll(labels[chosen], len(chosen) // 2)
    return wrong, chosen[wrong[chosen] != labels[chosen]]


def found_in_first_tenth(doubts: Doubts, wrong: npt.NDArray[np.intp]) -> float:
    first = doubts.ranking[: len(doubts.labels) // 10]
    return len(set(first.tolist()) & set(wrong.tolist())) / len(wrong)


@pytest.mark.parametrize("seed", range(3))
def test_exchanged_labels_stand_in_the_first_tenth(seed: int) -> None:
    features, labels = drawn(seed)
    given, wrong = exchanged(labels, 0.05, seed)
    assert len(wrong) >= 7
    doubts = judge(features, given, np.arange(len(given)))
    assert doubts is not None
    assert found_in_first_tenth(doubts, wrong) >= 0.8
    named = doubts.suggestions[wrong] == labels[wrong]
    assert named.mean() >= 0.8
    assert doubts.looks_wrong[wrong].mean() >= 0.6
    right = np.setdiff1d(np.arange(len(labels)), wrong)
    assert doubts.looks_wrong[right].mean() <= 0.03


def test_features_that_say_nothing_find_nothing() -> None:
    _, labels = drawn(0)
    noise = np.random.default_rng(1).normal(size=(len(labels), SIZE)).astype(np.float16)
    given, wrong = exchanged(labels, 0.05, 0)
    doubts = judge(noise, given, np.arange(len(given)))
    assert doubts is not None
    assert found_in_first_tenth(doubts, wrong) < 0.5


def test_strangers_are_far_from_every_class_and_not_called_mislabelled() -> None:
    features, labels = drawn(2)
    strangers = np.array([5, 70, 160])
    features[strangers] = 4 * np.random.default_rng(3).normal(size=(3, SIZE))
    doubts = judge(features, labels, np.arange(len(labels)))
    assert doubts is not None
    assert doubts.fits_no_class[strangers].all()
    assert doubts.fits_no_class.sum() <= len(strangers) + 2
    assert not doubts.looks_wrong[strangers].any()


def test_copy_does_not_vouch_for_a_wrong_label() -> None:
    features, labels = drawn(4)
    given = labels.copy()
    given[[0, 1]] = 3
    features[1] = features[0]  # a near duplicate, with the same wrong label
    first = np.arange(len(labels))
    first[1] = 0
    doubts = judge(features, given, first)
    assert doubts is not None
    assert set(doubts.ranking[:2].tolist()) == {0, 1}


def test_classes_of_too_few_photos_are_not_judged() -> None:
    features, labels = drawn(0)
    labels[:EACH] = -1
    labels[:2] = 0
    doubts = judge(features, labels, np.arange(len(labels)))
    assert doubts is not None
    assert not doubts.is_judged[:EACH].any()
    assert doubts.is_judged[EACH:].all()
    assert np.isnan(doubts.own[:EACH]).all()
    assert (doubts.suggestions[:EACH] == -1).all()
    assert len(doubts.ranking) == len(labels) - EACH
    assert judge(features[:2], labels[:2], np.arange(2)) is None


def test_one_flower_under_two_names_is_found_by_its_look() -> None:
    features, labels = drawn(5)
    half = np.flatnonzero(labels == 2)[::2]
    labels[half] = CLASSES
    doubts = judge(features, labels, np.arange(len(labels)))
    assert doubts is not None
    assert [(one.one, one.other) for one in doubles_by_look(doubts)] == [(2, CLASSES)]


@pytest.mark.skipif(
    not {"TFDS_DATA_DIR", "KERAS_HOME"} <= os.environ.keys(),
    reason="oxford_flowers102 and ImageNet weights are not at hand; set TFDS_DATA_DIR, KERAS_HOME",
)
def test_exchanged_labels_of_real_flowers_are_found(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from keras_flowers.training.check.check import base_features
    from keras_flowers.training.data import load_photos

    photos = load_photos("oxford_flowers102", "train")
    # Small, so that it takes seconds; the base and the size by default find more.
    features = base_features("MobileNetV2_0.35", 96, tmp_path_factory.mktemp("cache"))(photos)
    given, wrong = exchanged(photos.label_numbers, 0.05, 0)
    doubts = judge(features, given, np.arange(len(given)))
    assert doubts is not None
    assert len(wrong) == 51
    assert found_in_first_tenth(doubts, wrong) >= 0.8
