"""How likely a photo shows one of the classes at all: the graph, and how it is fitted."""

# ruff: noqa: E402
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs the extra [train]")

from keras_flowers.inference.doubt import GAIN, groups_of
from keras_flowers.training import doubt
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.drawings import EACH, draw_pictures
from keras_flowers.training.known import (
    TOP,
    KnownScore,
    has_known,
    score_in,
    with_known,
    without_known,
)
from keras_flowers.training.model import FEATURES, OUTPUT, logits_of
from keras_flowers.training.result import Splits

CLASSES, SIZE = 6, 24


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A head alone, on pictures of 1 x 1 pixels with `SIZE` channels, each class a channel."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((1, 1, SIZE), name="pixels")
    features = keras.layers.Identity(name=FEATURES)(keras.layers.Flatten()(pixels))
    head = keras.layers.Dense(CLASSES, activation="softmax", name=OUTPUT)
    made = keras.Model(pixels, head(features))
    head.set_weights([4 * np.eye(SIZE, CLASSES, dtype=np.float32), np.zeros(CLASSES, np.float32)])
    return made


def rows(count: int, seed: int, strange: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Features of photos and their classes; strange ones are of the last channels instead."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    places = labels + (CLASSES + 2 if strange else 0)
    features = random.normal(0, 0.3, (count, SIZE))
    features[np.arange(count), places] += 2
    return features.astype(np.float32), labels.astype(np.int64)


def score(seed: int = 0) -> KnownScore:
    random = np.random.default_rng(seed)
    drawn = [
        random.normal(size=shape).astype(np.float32)
        for shape in ((SIZE,), (SIZE, 3), (3,), (TOP + 4,))
    ]
    mean, kernel, offset, weights = drawn
    return KnownScore(mean, np.abs(mean) + 0.5, kernel, offset, weights, 0.25)


def test_graph_gives_what_numpy_gives_and_adds_up_to_one(model: keras.Model) -> None:
    features, _ = rows(20, 1)
    pixels = features[:, None, None]
    whole = with_known(model, score())
    answers = np.asarray(whole(pixels))
    evidence = score().evidence(np.asarray(logits_of(model)(pixels)), features)
    known = 1 / (1 + np.exp(-(evidence @ score().weights + score().bias)))
    np.testing.assert_allclose(1 - answers[:, -1], known, atol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        answers[:, :-1], np.asarray(model(pixels)) * known[:, None], atol=1e-5
    )


def test_model_is_found_again_below_its_doubt(model: keras.Model, tmp_path: Path) -> None:
    pixels = rows(5, 2)[0][:, None, None]
    with_known(model, score()).save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    assert has_known(read)
    assert not has_known(model)
    np.testing.assert_allclose(without_known(read)(pixels), model(pixels), atol=1e-6)
    np.testing.assert_allclose(logits_of(read)(pixels), logits_of(model)(pixels), atol=1e-5)
    again = score_in(read)
    np.testing.assert_allclose(again.deviation, score().deviation, rtol=1e-5)
    np.testing.assert_allclose(again.weights, score().weights)


def test_pictures_of_nothing_differ_and_are_the_same_each_time() -> None:
    pictures = draw_pictures((24, 32))
    assert (pictures.shape, pictures.dtype) == ((8 * EACH, 24, 32, 3), np.uint8)
    assert len({one.tobytes() for one in pictures}) == len(pictures)
    np.testing.assert_array_equal(pictures, draw_pictures((24, 32)))


def test_parts_share_no_source_but_a_large_one() -> None:
    origins = [f"s{number % 20}" for number in range(200)] + ["large"] * 150
    digests = [f"{number:07x}" for number in range(350)]
    parts = doubt.folds(origins, digests)
    for name in {*origins} - {"large"}:
        assert np.ptp(parts[[one == name for one in origins]]) == 0
    assert set(parts[200:].tolist()) == {0, 1, 2}


class Photos(SimpleNamespace):
    """As much of `LabelledPhotos` as fitting needs."""


def photos(features: np.ndarray, labels: np.ndarray, split: str) -> Photos:
    count = len(features)
    return Photos(
        features=features,
        labels=tuple("abcdef"),
        numbers=labels,
        split=split,
        count=count,
        origins=tuple(f"s{number % 12}" for number in range(count)),
        digests=np.array([f"{number:07x}".encode() for number in range(count)]),
    )


class Extractor:
    def features(self, photos: Photos, views: list[int]) -> CachedFeatures:
        return CachedFeatures([photos.features for _ in views], photos.numbers)

    def features_of(self, pixels: np.ndarray) -> np.ndarray:
        return np.random.default_rng(9).normal(0, 1.5, (len(pixels), SIZE)).astype(np.float32)


@pytest.mark.parametrize("has_unknown", [True, False])
def test_strange_photos_are_not_known_and_others_are(
    model: keras.Model, tmp_path: Path, has_unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubt, "stored_order", lambda photos: np.arange(photos.count))
    monkeypatch.setattr(doubt, "_HEAD_STEPS", 20)
    monkeypatch.setattr(doubt, "draw_pictures", lambda size: np.zeros((24, 1, 1, 3), np.uint8))
    splits = Splits(photos(*rows(240, 1), "train"), photos(*rows(120, 2), "validation"), None)
    if has_unknown:
        splits = splits._replace(
            unknown=photos(*rows(120, 3, strange=True), "unknown"),
            validation_unknown=photos(*rows(60, 4, strange=True), "unknown"),
        )
    config = TrainConfig(batch_size=64)
    fitted = doubt.fit_known(model, splits, Extractor(), config, tmp_path)
    assert fitted is not None
    known, strange = (
        1 - np.asarray(fitted.model(rows(60, seed, strange)[0][:, None, None]))[:, -1]
        for seed, strange in ((5, False), (6, True))
    )
    assert (known >= fitted.thresholds.known).mean() > 0.8
    assert (strange < fitted.thresholds.known).mean() > 0.8
    assert fitted.facts["unknown_photos"] == (120 if has_unknown else 0)


def test_without_photos_to_fit_it_on_the_model_stays_as_it_was(
    model: keras.Model, tmp_path: Path
) -> None:
    splits = Splits(photos(*rows(12, 1), "train"), None, None)
    assert doubt.fit_known(model, splits, Extractor(), TrainConfig(), tmp_path) is None


def test_thresholds_keep_what_they_promise() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    sure = random.uniform(0.3, 1, 400)
    right = random.random(400) < sure
    named = np.where(right, labels, (labels + 1) % 4)
    probabilities = np.full((400, 4), (1 - sure)[:, None] / 3, np.float32)
    probabilities[np.arange(400), named] = sure
    known = random.random(400).astype(np.float32)
    names = ("sweet william", "carnation", "rose", "lotus")
    groups = groups_of(names)
    found = doubt.choose_thresholds(probabilities, known, labels, groups, kept=0.9)
    correct = probabilities.argmax(axis=1) == labels
    assert (known[correct] >= found.known).mean() == pytest.approx(0.9, abs=0.01)
    alone = (probabilities.max(axis=1) >= found.sure) & (known >= found.known)
    assert found.sure == 0.95 or correct[alone].mean() >= doubt.RIGHT_NAMES
    assert 0.8 <= found.group <= 0.97
    given = (probabilities[:, :2].sum(axis=1) >= found.group) & (known >= found.known)
    given &= probabilities[:, :2].sum(axis=1) - probabilities.max(axis=1) >= GAIN
    assert found.group == 0.97 or (labels[given] < 2).mean() >= doubt.RIGHT_GROUPS


def test_threshold_of_groups_rises_until_they_are_right() -> None:
    # Between two pinks; of those whose sum is below 0.9, half are roses.
    sums = np.linspace(0.8, 0.99, 200)
    probabilities = np.stack([sums / 2, sums / 2, 1 - sums], axis=1).astype(np.float32)
    labels = np.where((sums < 0.9) & (np.arange(200) % 2 == 0), 2, 0)
    names = ("sweet william", "carnation", "rose")
    known = np.ones(200, np.float32)
    found = doubt.choose_thresholds(probabilities, known, labels, groups_of(names), kept=0.9)
    assert found.group == pytest.approx(0.9, abs=0.021)
    assert doubt.choose_thresholds(probabilities, known, labels, [], kept=0.9).group == 0.9
