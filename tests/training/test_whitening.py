"""Whitening: its coordinates against plain linear algebra, and its fold into a layer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training import whitening as whitening_module
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.whitening import fit_whitening, measure_moments


def test_whitened_features_vary_equally_within_the_classes() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 500)
    mixing = random.normal(0, 1, (6, 6)) * [1, 2, 30, 1, 1, 0.1]
    means = random.normal(0, 5, (4, 6))
    views = [
        (means[labels] + random.normal(0, 1, (2000, 6)) @ mixing).astype(np.float16)
        for _ in range(2)
    ]
    features = CachedFeatures(views, labels)
    whitening = fit_whitening(measure_moments(features, 4), shrinkage=1e-6)
    rows = np.concatenate(whitening.apply(features).views).astype(np.float64)
    classes = np.tile(labels, 2)
    rest = rows - np.stack([rows[classes == c].mean(0) for c in range(4)])[classes]
    np.testing.assert_allclose(rest.T @ rest / len(rest), np.eye(6), atol=0.05)


def test_whitening_is_the_inverse_root_of_the_correlation_with_shrinkage_on_its_diagonal() -> None:
    random = np.random.default_rng(1)
    labels = np.arange(40) % 4
    views = [random.normal(3, [1, 5, 0.2], (40, 3)).astype(np.float16) for _ in range(2)]
    features = CachedFeatures(views, labels)
    whitening = fit_whitening(measure_moments(features, 4), TrainConfig().shrinkage)
    rows, classes = np.concatenate(views).astype(np.float64), np.tile(labels, 2)
    means = np.stack([rows[classes == one].mean(axis=0) for one in range(4)])
    covariance = np.cov((rows - means[classes]).T, bias=True)
    deviations = np.sqrt(covariance.diagonal())
    correlation = covariance / np.outer(deviations, deviations) + np.eye(3)  # the default is 1
    expected = np.linalg.inv(np.linalg.cholesky(correlation)) / deviations
    np.testing.assert_allclose(whitening.matrix, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whitening.centre, means.mean(axis=0), rtol=1e-5)


def test_photo_that_counts_twice_is_whitened_as_if_it_were_there_twice() -> None:
    random = np.random.default_rng(2)
    labels = np.arange(30) % 3
    views = [random.normal(3, [1, 5, 0.2], (30, 3)).astype(np.float16) for _ in range(2)]
    twice = labels == 1
    twice[:6] = True
    weights = np.where(twice, 2.0, 1.0).astype(np.float32)
    weighted = CachedFeatures(views, labels, weights=weights / weights.mean())
    again = np.concatenate([np.arange(30), np.flatnonzero(twice)])
    repeated = CachedFeatures([view[again] for view in views], labels[again])
    for found, expected in zip(
        measure_moments(weighted, 3), measure_moments(repeated, 3), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    whitening = fit_whitening(measure_moments(weighted, 3), 1.0)
    assert whitening.apply(weighted).weights is weighted.weights


def test_feature_that_never_varies_is_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4)).astype(np.float16)
    rows[:, 2] = 3
    features = CachedFeatures([rows], np.arange(60, dtype=np.int64) % 3)
    moments = measure_moments(features, 3)
    whitening = fit_whitening(moments, 1.0)
    deviations = np.sqrt(moments.covariance.diagonal())
    assert deviations[2] < 1e-3
    # As if it varied by a thousandth of what the others do.
    expected = 1 / (1e-3 * deviations.mean() + 1e-9)
    found = np.abs(whitening.matrix[2]).max()
    assert expected / 2 < found < 2 * expected
    assert np.isfinite(whitening.apply(features).views[0]).all()


def test_features_without_room_in_memory_are_whitened_when_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(3)
    labels = np.arange(40) % 4
    views = [random.normal(3, [1, 5, 0.2], (40, 3)).astype(np.float16) for _ in range(2)]
    features = CachedFeatures(views, labels)
    whitening = fit_whitening(measure_moments(features, 4), 1.0)
    size = 2 * 40 * 3 * 2  # bytes
    monkeypatch.setattr(whitening_module, "_MOST_BYTES", size)
    held = whitening.apply(features)
    monkeypatch.setattr(whitening_module, "_MOST_BYTES", size - 1)
    read = whitening.apply(features)
    assert [type(view) is np.ndarray for view in (*held.views, *read.views)] == [True] * 2 + [
        False
    ] * 2
    assert read.checksum() == held.checksum()
    for one, other in zip(
        read.batches(16, 0, range(1)), held.batches(16, 0, range(1)), strict=True
    ):
        for found, expected in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_photos_that_do_not_differ_within_a_class_are_said() -> None:
    features = CachedFeatures([np.eye(4, dtype=np.float16)], np.arange(4))
    with pytest.raises(UserError, match="no two photos of a class differ"):
        fit_whitening(measure_moments(features, 4), shrinkage=1.0)


def test_folded_layer_gives_the_logits_of_the_layer_on_whitened_features() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = CachedFeatures([random.normal(2, 3, (60, 5)).astype(np.float16)], labels)
    whitening = fit_whitening(measure_moments(features, 3), shrinkage=0.3)
    kernel, bias = random.normal(0, 1, (5, 3)), random.normal(0, 1, 3)
    folded_kernel, folded_bias = whitening.fold(kernel, bias)
    np.testing.assert_allclose(
        features.views[0].astype(np.float64) @ folded_kernel + folded_bias,
        whitening.apply(features).views[0].astype(np.float64) @ kernel + bias,
        atol=1e-2,
    )
