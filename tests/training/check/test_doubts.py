"""Exchanged labels and strangers are found, and nothing is found where there is nothing."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("scipy", reason="judging labels needs the extra [train]")
pytest.importorskip("tensorflow", reason="judging labels needs the extra [train]")

from keras_flowers.training.check import doubts as doubts_module
from keras_flowers.training.check.doubts import Doubts, judge
from keras_flowers.training.check.names import doubles_by_look
from keras_flowers.training.metrics import softmax

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


def test_two_classes_of_three_photos_are_the_fewest_that_are_judged() -> None:
    # Of five folds one is empty then.
    features, labels = drawn(1)
    rows = np.r_[0:3, EACH : EACH + 3]
    doubts = judge(features[rows], labels[rows], np.arange(6))
    assert doubts is not None
    assert doubts.is_judged.all()
    assert (doubts.suggestions == labels[rows]).all()
    rows = rows[:-1]
    assert judge(features[rows], labels[rows], np.arange(5)) is None


def test_one_flower_under_two_names_is_found_by_its_look() -> None:
    features, labels = drawn(5)
    half = np.flatnonzero(labels == 2)[::2]
    labels[half] = CLASSES
    doubts = judge(features, labels, np.arange(len(labels)))
    assert doubts is not None
    assert [(one.one, one.other) for one in doubles_by_look(doubts)] == [(2, CLASSES)]


def doubts_of(rows: list[tuple[int, float, float]]) -> Doubts:
    """Photos of two classes: the label, the probability of class 0, the distance."""
    labels, first, distances = (np.array(one) for one in zip(*rows, strict=True))
    probabilities = np.stack([first, 1 - first], axis=1).astype(np.float32)
    probabilities[np.isnan(distances)] = np.nan
    return Doubts(probabilities, distances.astype(np.float32), labels)


def test_label_looks_wrong_where_another_is_as_likely_as_it_is_for_its_own_photos() -> None:
    doubts = doubts_of(
        [
            (0, 1.0, 0.0),
            (0, 0.25, 0.0),  # 1 has 0.75 for it, which is what its own photos have on average
            (1, 0.0, 0.0),
            (1, 0.5, 0.0),  # 0 is no likelier than 1 is: it comes first, and has too little
            (0, 0.0, 4.0),
            (0, 0.0, 4.1),  # a stranger, not mislabelled
            (1, 0.9, np.nan),
            (0, 0.3125, 0.0),
        ]
    )
    assert doubts.is_judged.tolist() == [True] * 6 + [False, True]
    assert doubts.fits_no_class.tolist() == [False] * 5 + [True, False, False]
    assert doubts.suggestions.tolist() == [0, 1, 1, 0, 1, 1, -1, 1]
    np.testing.assert_allclose(doubts.own, [1, 0.25, 1, 0.5, 0, 0, np.nan, 0.3125])
    assert doubts.looks_wrong.tolist() == [False, True, False, True, True, False, False, False]
    assert doubts.ranking.tolist() == [4, 5, 1, 7, 3, 0, 2]
    assert not doubts_of([(0, 0.5, np.nan)]).looks_wrong.any()


def test_classes_that_look_alike_both_ways_may_be_one() -> None:
    # Class 0 has 0.3 for photos of 1, and 1 has 0.25 for those of 0; the third is apart.
    rows = [[0.75, 0.25, 0.0]] * 3 + [[0.3, 0.7, 0.0]] * 3 + [[0.0, 0.24, 0.76]] * 3
    labels = np.repeat(np.arange(3), 3)
    distances = np.zeros(9, np.float32)
    found = doubles_by_look(Doubts(np.float32(rows), distances, labels))
    assert [(one.one, one.other) for one in found] == [(0, 1)]
    assert found[0].reason == "their photos look alike: 25% and 30%"
    distances[0] = np.nan  # two photos of a class say nothing
    assert doubles_by_look(Doubts(np.float32(rows), distances, labels)) == []
    less = [[0.76, 0.24, 0.0]] * 3 + rows[3:]
    assert doubles_by_look(Doubts(np.float32(less), np.zeros(9, np.float32), labels)) == []


def test_pairs_that_look_alike_most_come_first() -> None:
    rows = [[0.7, 0.3, 0.0]] * 3 + [[0.3, 0.3, 0.4]] * 3 + [[0.0, 0.4, 0.6]] * 3
    found = doubles_by_look(
        Doubts(np.float32(rows), np.zeros(9, np.float32), np.repeat(np.arange(3), 3))
    )
    assert [(one.one, one.other) for one in found] == [(1, 2), (0, 1)]


def test_folds_are_even_and_keep_near_duplicates_together() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2] * 2 + [-1])
    first = np.arange(12)
    assert doubts_module._fold(labels, first).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, -1, -1, -1]
    first[5] = 0
    assert doubts_module._fold(labels, first).tolist()[:6] == [0, 1, 2, 3, 4, 0]
    first[8] = 6  # two pictures of a class are too few, however many photos show them
    assert doubts_module._fold(labels, first).tolist()[6:] == [-1] * 6
    # One that is in two classes is in one fold.
    first = np.arange(12)
    first[7] = 3
    assert doubts_module._fold(labels, first).tolist()[:9] == [0, 1, 2, 3, 4, 0, 1, 3, 3]


def test_distance_is_in_deviations_from_the_middle() -> None:
    features, labels = drawn(6)
    features += 2 * np.random.default_rng(7).normal(size=features.shape).astype(np.float16)
    found = judge(features, labels, np.arange(len(labels)))
    assert found is not None
    assert np.median(found.distances) == pytest.approx(0, abs=0.01)
    assert np.median(np.abs(found.distances)) == pytest.approx(1 / 1.4826, abs=0.01)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    # The temperature that fits the labels best: no other makes them likelier.
    own = np.log(found.probabilities)
    loss = [
        -np.log(softmax(scale * own)[np.arange(len(labels)), labels]).mean()
        for scale in (0.95, 1, 1.05)
    ]
    assert loss[1] < min(loss[0], loss[2])


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
