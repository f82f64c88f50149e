"""Intervals over sources: as wide as the sources differ, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from keras_flowers.training import metrics
from keras_flowers.training.bootstrap import LEAST_SOURCES, intervals_over_sources


def _answers(correct: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[np.where(correct, 0, 1)]


def test_interval_is_that_of_the_sources_where_photos_of_one_are_alike() -> None:
    # 40 sources of 25 photos each, in every one of which all photos are right or all are wrong.
    source_of = np.repeat(np.arange(40), 25)
    correct = source_of % 4 != 0
    found = intervals_over_sources(source_of, np.zeros(1000, int), correct[None])
    (share,) = found.shares
    # As for 30 of 40 independent ones, not 750 of 1,000.
    half = 1.96 * (0.75 * 0.25 / 40) ** 0.5
    assert share == pytest.approx((0.75 - half, 0.75 + half), abs=0.02)
    assert found.per_class == share  # of one class
    assert found == intervals_over_sources(source_of, np.zeros(1000, int), correct[None])


def test_interval_is_that_of_the_photos_where_each_is_a_source() -> None:
    random = np.random.default_rng(0)
    correct = random.random(1000) < 0.8
    (share,) = intervals_over_sources(np.arange(1000), np.zeros(1000, int), correct[None]).shares
    wilson = metrics.wilson_interval(int(correct.sum()), 1000)
    assert share == pytest.approx((wilson.low, wilson.high), abs=0.004)


def test_mean_over_classes_leaves_out_classes_that_a_draw_lacks() -> None:
    # A class that lies in one source only, and is always right: no draw makes it wrong.
    source_of = np.arange(20)
    labels = (source_of == 0).astype(int)
    always = intervals_over_sources(source_of, labels, np.ones((1, 20), bool))
    assert always.per_class == always.shares[0] == (1.0, 1.0)
    right_alone = intervals_over_sources(source_of, labels, (source_of == 0)[None])
    # Half where the draw has the class, nothing where it has not.
    assert right_alone.per_class == (0.0, 0.5)


def test_memory_holds_some_draws_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    source_of, labels = random.integers(0, 30, 300), random.integers(0, 9, 300)
    source_of[:30] = np.arange(30)
    hits = random.random((2, 300)) < 0.6
    whole = intervals_over_sources(source_of, labels, hits)
    for numbers in (64, 1):  # of the latter, more sources than numbers
        monkeypatch.setattr("keras_flowers.training.bootstrap._AT_A_TIME", numbers)
        assert intervals_over_sources(source_of, labels, hits) == whole


def test_few_sources_are_not_drawn() -> None:
    correct = np.arange(90) % 4 > 0
    labels = np.zeros(90, int)
    few = [str(n % (LEAST_SOURCES - 1)) for n in range(90)]
    assert metrics.score(_answers(correct), labels, few) == metrics.score(_answers(correct), labels)
    enough = [str(n % LEAST_SOURCES) for n in range(90)]
    scores = metrics.score(_answers(correct), labels, enough)
    assert scores.sources == LEAST_SOURCES
    assert scores.top1.value == pytest.approx(67 / 90)
    assert scores.top1.low < 67 / 90 < scores.top1.high
