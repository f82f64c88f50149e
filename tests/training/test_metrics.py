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


def test_interval_of_the_mean_per_class_is_that_of_its_classes() -> None:
    share = metrics.score(PROBABILITIES, LABELS).per_class
    # 1 of 2, 1 of 1 and 1 of 1, with two hits and two misses more in each: 3/6, 3/5 and 3/5.
    variance = 0.5 * 0.5 / 2 + 2 * 0.6 * 0.4 / 1
    assert share.low == pytest.approx(5 / 6 - 1.959964 * variance**0.5 / 3)
    assert share.high == 1.0
    labels = np.repeat(np.arange(2), 50)
    answers = np.eye(2, dtype=np.float32)[np.r_[labels[:90], 1 - labels[90:]]]
    share = metrics.score(answers, labels).per_class  # 50 of 50 and 40 of 50
    half = 1.959964 * ((52 / 54 * 2 / 54 + 42 / 54 * 12 / 54) / 50) ** 0.5 / 2
    assert (share.value, share.low, share.high) == pytest.approx((0.9, 0.9 - half, 0.9 + half))


def test_class_without_photos_is_left_out_of_the_mean() -> None:
    answers = np.eye(4, dtype=np.float32)[[0, 0, 3]]
    assert metrics.score(answers, np.array([0, 0, 2])).per_class.value == 0.5


def test_printed_scores_are_these(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(metrics.score(PROBABILITIES, LABELS)).splitlines() == [
        "  top-1               75.00%  (95 % interval 30.1% to 95.4%)",
        "  top-5               100.00%  (95 % interval 51.0% to 100.0%)",
        "  mean per class      83.33%  (95 % interval 32.5% to 100.0%)",
        "  calibration error   17.50%",
        "  sure and wrong       0.00%  (95 % interval 0.0% to 49.0%)",
    ]


def test_wrong_and_sure_is_counted_among_all_photos() -> None:
    answers = np.float32([[0.95, 0.05], [0.05, 0.95], [0.1, 0.9], [0.4, 0.6]])
    scores = metrics.score(answers, np.zeros(4, int))
    # One right and sure, one wrong and sure, one wrong with just 0.9, one wrong and unsure.
    assert scores.sure_and_wrong.value == 0.25
    assert scores.as_dict()["sure_and_wrong"]["value"] == 0.25


def test_reliability_table_holds_every_photo_and_gives_the_calibration_error() -> None:
    random = np.random.default_rng(0)
    answers = metrics.softmax(random.normal(0, 2, (500, 4)))
    answers[0] = [1, 0, 0, 0]  # belongs to the last bin, not to one behind it
    labels = random.integers(0, 4, 500)
    table = metrics.reliability(answers, labels, bins=10)
    assert [round(one.low, 9) for one in table] == [n / 10 for n in range(10)]
    assert sum(one.photos for one in table) == 500
    assert table[0].photos == table[1].photos == 0  # nobody is less sure than one in four
    surest = answers.max(1)
    for one in table[3:]:
        here = (surest >= one.low) & ((surest < one.high) | (one.high == 1))
        assert one.photos == here.sum()
        assert one.confidence == pytest.approx(surest[here].mean())
        assert one.accuracy == pytest.approx((answers.argmax(1) == labels)[here].mean())
    gaps = [one.photos * abs(one.accuracy - one.confidence) / 500 for one in table]
    assert metrics.expected_calibration_error(answers, labels, 10) == pytest.approx(sum(gaps))


def test_parts_are_scored_each_alone() -> None:
    parts = ["garden", "wood", "garden", "garden"]
    found = metrics.score_parts(PROBABILITIES, LABELS, parts)
    assert [(one.name, one.photos, one.correct) for one in found] == [
        ("garden", 3, 2),
        ("wood", 1, 1),
    ]
    assert found[0].accuracy == pytest.approx(2 / 3)
    assert found[0].confidence == pytest.approx((0.7 + 0.5 + 0.5) / 3)
    assert [one.sure_and_wrong for one in found] == [0, 0]
    sure = metrics.score_parts(np.float32([[0.99, 0.01]]), np.array([1]), ["wood"])
    assert sure[0].sure_and_wrong == 1


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


@pytest.mark.parametrize(("row", "temperature"), [([0.5001, 0.4999], 0.01), ([0.1, 0.9], 100.0)])
def test_temperature_is_searched_between_a_hundredth_and_a_hundred(
    row: list[float], temperature: float
) -> None:
    # Too unsure of what is always right, or too sure of what is always wrong.
    found = metrics.fit_temperature(np.array([row] * 3), np.zeros(3, np.int64))
    assert found.temperature == pytest.approx(temperature, rel=0.001)


def test_confusions_are_listed_from_the_commonest() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 1, 1, 2, 0]]
    labels = np.array([0, 0, 0, 1, 2, 2])
    matrix = metrics.confusion_matrix(probabilities, labels, 3)
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert metrics.most_confused(matrix) == [(0, 1, 2), (2, 0, 1)]
    # Equally frequent ones come in the order of the classes, however many there are.
    alike = np.ones((20, 20), np.int64)
    pairs = [(row, column, 1) for row in range(20) for column in range(20) if row != column]
    assert metrics.most_confused(alike, 100) == pairs[:100]


def test_answer_that_is_unsure_among_very_many_is_measured_beside_a_sure_one() -> None:
    # At the smallest temperature that is tried, a row's own largest logit must be its measure.
    probabilities = np.full((2, 20_000), 1 / 20_000, np.float32)
    probabilities[0] = 0
    probabilities[0, 7] = 1
    found = metrics.log_loss(probabilities, np.array([7, 3]), 0.01)
    assert found == pytest.approx(np.log(20_000) / 2, rel=1e-6)
