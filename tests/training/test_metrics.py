"""Accuracies, intervals and calibration against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keras_flowers.training import metrics

PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5]], np.float32
)
LABELS = np.array([0, 1, 0, 2])


def test_score_counts_every_photo() -> None:
    scores = metrics.score(PROBABILITIES, LABELS)
    assert scores.photos == 4
    assert scores.top1.value == 0.75
    assert scores.top5.value == 1.0
    assert scores.per_class.value == pytest.approx((0.5 + 1 + 1) / 3)
    assert scores.log_loss == pytest.approx(-np.log([0.7, 0.6, 0.4, 0.5]).mean(), rel=1e-6)


def test_no_photos_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no photos"):
        metrics.score(np.empty((0, 3), np.float32), np.empty(0, int))


def test_interval_is_that_of_wilson() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", example 81 of 263.
    share = metrics.wilson_interval(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)


def test_interval_never_leaves_0_to_1() -> None:
    assert metrics.wilson_interval(0, 10).low == 0
    assert metrics.wilson_interval(10, 10).high == pytest.approx(1)
    assert metrics.wilson_interval(10, 10).low < 0.75


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    sure = np.tile(np.float32([0.9, 0.1]), (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert metrics.expected_calibration_error(sure, labels) == pytest.approx(0.3, abs=1e-6)
    labels = np.array([0] * 9 + [1])
    assert metrics.expected_calibration_error(sure, labels) == pytest.approx(0.0, abs=1e-6)


def test_calibration_undoes_overconfidence() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 5))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1)  # a draw from softmax(logits)
    too_sure = metrics.softmax(logits * 3)
    found = metrics.fit_temperature(too_sure, labels)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert found.log_loss == pytest.approx(
        metrics.score(metrics.softmax(logits), labels).log_loss, rel=0.01
    )
    assert found.log_loss < metrics.score(too_sure, labels).log_loss


def test_confusions_are_listed_from_the_commonest() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2, 0]]
    labels = np.array([0, 0, 0, 1, 2, 2])
    matrix = metrics.confusion_matrix(probabilities, labels, 3)
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert metrics.most_confused(matrix) == [(0, 1, 2), (2, 0, 1)]
