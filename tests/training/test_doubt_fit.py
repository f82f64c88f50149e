"""How likely a photo shows one of the classes at all: the graph, and how it is fitted."""

# ruff: noqa: E402
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs the extra [train]")

from keras_flowers.inference.doubt import GAIN, groups_of
from keras_flowers.training import doubt, metrics
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.drawings import EACH, draw_pictures
from keras_flowers.training.known import (
    DISTANCE,
    TOP,
    KnownScore,
    answer_layers,
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


def test_louder_distance_with_a_smaller_weight_says_the_same(model: keras.Model) -> None:
    pixels = rows(20, 1)[0][:, None, None]
    asked = score()
    features = model.get_layer(FEATURES).output
    norm = keras.layers.Rescaling(1 / asked.deviation, -asked.mean / asked.deviation)(features)
    strangers = keras.layers.Dense(asked.kernel.shape[1])
    logits = logits_of(model)(model.inputs[0])
    answers, known = answer_layers(logits, norm, strangers(features), asked, louder=16)
    louder = keras.Model(model.inputs[0], answers)
    strangers.set_weights([asked.kernel, asked.offset])
    weights = asked.weights.copy()
    weights[DISTANCE] /= 16
    known.set_weights([weights[:, None], np.array([asked.bias], np.float32)])
    expected = np.asarray(with_known(model, asked)(pixels))
    np.testing.assert_allclose(np.asarray(louder(pixels)), expected, atol=1e-5)


def test_feature_that_varies_only_by_its_rounding_has_no_say() -> None:
    random = np.random.default_rng(6)
    features = random.normal(size=(60, 4)).astype(np.float32)
    features[:, 1] = 2.4394531 + random.choice([0, 0.0019531], size=60)  # a half float and the next
    features[:, 2] = 0  # may wake up for other photos
    kernel, offset = random.normal(size=(4, 3)).astype(np.float32), np.float32([1, 2, 3])
    kept, moved = doubt._without_constants(kernel, offset, features)
    np.testing.assert_array_equal(kept[[0, 2, 3]], kernel[[0, 2, 3]])
    np.testing.assert_array_equal(kept[1], 0)
    np.testing.assert_allclose(moved, offset + 2.44 * kernel[1], atol=0.01)
    np.testing.assert_allclose(features @ kept + moved, features @ kernel + offset, atol=0.01)


def test_model_is_found_again_below_its_doubt(model: keras.Model, tmp_path: Path) -> None:
    pixels = rows(5, 2)[0][:, None, None]
    with_known(model, score()).save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    assert has_known(read)
    assert not has_known(model)
    np.testing.assert_allclose(without_known(read)(pixels), model(pixels), atol=1e-6)
    np.testing.assert_allclose(logits_of(read)(pixels), logits_of(model)(pixels), atol=1e-5)
    again = score_in(read)
    for name, value in vars(score()).items():
        np.testing.assert_allclose(getattr(again, name), value, rtol=1e-4, atol=1e-4, err_msg=name)


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


def test_what_is_fitted_on_is_told_and_how_many_right_answers_are_kept(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubt, "stored_order", lambda photos: np.arange(photos.count))
    monkeypatch.setattr(doubt, "_HEAD_STEPS", 4)
    monkeypatch.setattr(doubt, "_STEPS", 5)
    monkeypatch.setattr(doubt, "draw_pictures", lambda size: np.zeros((24, 1, 1, 3), np.uint8))
    ways: list[str] = []
    for name in ("_fit_across_sources", "_fit_on_validation", "_calibrate"):
        call = getattr(doubt, name)
        monkeypatch.setattr(
            doubt, name, lambda *given, name=name, call=call: (ways.append(name), call(*given))[1]
        )
    train, validation = photos(*rows(60, 1), "train"), photos(*rows(30, 2), "validation")
    unknown, strange = (photos(*rows(count, count, True), "unknown") for count in (50, 20))
    plain = Splits(train, validation, None)

    def facts(splits: Splits) -> dict:
        ways.clear()
        fitted = doubt.fit_known(model, splits, Extractor(), TrainConfig(batch_size=64), tmp_path)
        return fitted.facts

    def told(count: int, chosen_on: str, others: int, kept: float) -> dict:
        return {
            "unknown_photos": count,
            "chosen_on": chosen_on,
            "chosen_on_unknown": others,
            "kept": kept,
        }

    assert facts(plain) == told(0, "validation", 0, doubt.KEPT_BLINDLY)
    assert ways == ["_fit_on_validation"]
    # Of few there are no sources to tell apart: they are shown beside the drawings.
    few = photos(*rows(49, 3, strange=True), "unknown")
    assert facts(plain._replace(unknown=few)) == told(49, "validation", 0, doubt.KEPT_BLINDLY)
    assert ways == ["_fit_on_validation"]
    whole = plain._replace(unknown=unknown, validation_unknown=strange)
    assert facts(whole) == told(50, "validation", 20, doubt.KEPT)
    assert ways == ["_fit_across_sources", "_calibrate"]
    # Nothing to choose thresholds on: those that hold for most models.
    alone = Splits(train, None, None, few)
    fitted = doubt.fit_known(model, alone, Extractor(), TrainConfig(batch_size=64), tmp_path)
    assert fitted.thresholds == doubt.Thresholds(0.5, 0.7, 0.9)
    one = photos(*rows(6, 1), "train")
    one.labels = ("a",)
    whole = whole._replace(train=one)
    assert doubt.fit_known(model, whole, Extractor(), TrainConfig(), tmp_path) is None


def test_no_more_photos_are_held_in_memory_than_make_it_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doubt, "_MOST_PHOTOS", 10)
    assert doubt._spread_over(10).tolist() == list(range(10))
    assert doubt._spread_over(11).tolist() == list(range(0, 11, 2))
    assert doubt._spread_over(21).tolist() == list(range(0, 21, 3))
    assert doubt._spread_over(0).tolist() == []
    cached = CachedFeatures([np.arange(12.0)[:, None]], np.arange(12))
    some = doubt._at_most(cached)
    assert doubt._rows(some).ravel().tolist() == some.labels.tolist() == [0, 2, 4, 6, 8, 10]


def test_parts_are_filled_by_their_sizes() -> None:
    # 6 and 5 of 22 are not more than a quarter; the smallest part gets the next.
    origins = ["a"] * 5 + ["b"] * 5 + ["c"] * 5 + ["d"] * 4 + ["e"] * 3
    parts = doubt.folds(origins, ["0"] * 22)
    by_source = {name: parts[origins.index(name)] for name in "abcde"}
    assert by_source == {"a": 0, "b": 1, "c": 2, "d": 0, "e": 1}
    # A source of exactly a quarter stays together; one photo more and it is divided.
    assert set(doubt.folds(["a"] * 2 + list("bcdefg"), [*"0123", *"0123"]).tolist()[:2]) == {0}
    large = doubt.folds(["a"] * 3 + list("bcdef"), ["1", "5", "9", *"00000"])
    assert large[:3].tolist() == [1, 2, 0]
    assert doubt.folds(["a"] * 4, ["7", "8", "9", "a"], 2).tolist() == [1, 0, 1, 0]


def test_others_weigh_as_much_as_is_said() -> None:
    weights = doubt._weights_of_others(20, 4)
    np.testing.assert_allclose(weights, [*[1] * 20, *[0.5] * 4])  # a tenth of 20, in four
    np.testing.assert_allclose(doubt._weights_of_others(0, 3), [1] * 3)


def test_spread_of_features_is_never_nothing() -> None:
    mean, deviation = doubt._spread(np.float32([[1, 5], [3, 5]]))
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(deviation, [1.025 + 1e-6, 0.025 + 1e-6], rtol=1e-6)


def test_small_sums() -> None:
    logits = np.float32([[0, np.log(3)], [100, 100]])
    np.testing.assert_allclose(doubt._log_sum(logits), [np.log(4), 100 + np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(
        doubt._sigmoid(np.array([0, np.log(3), -99])), [0.5, 0.75, 0], atol=1e-6
    )
    parts = [(np.array([True, False, True]), np.float32([[1], [3]]))]
    parts.append((np.array([False, True, False]), np.float32([[2]])))
    assert doubt._in_place(parts).ravel().tolist() == [1, 2, 3]


def test_weights_are_those_of_a_logistic_regression() -> None:
    random = np.random.default_rng(0)
    known = random.normal((2, 0), 1.0, (80, 2)).astype(np.float32)
    others = random.normal((0, 0.5), (1, 3), (40, 2)).astype(np.float32)
    heavy = np.where(np.arange(80) < 40, 1.0, 0.1)
    weights, bias = doubt._weigh(known, heavy, others, np.ones(40))
    # The slope of what is documented is 0 there, in standardised coordinates.
    rows = np.concatenate([known, others]).astype(np.float64)
    shares = np.concatenate([heavy / heavy.sum(), np.full(40, 1 / 40)])
    signed = np.where(np.arange(120) < 80, 1, -1)
    deviation = rows.std(axis=0)

    def cost(change: np.ndarray) -> float:
        odds = rows @ (weights + change[:2]) + bias + change[2]
        pull = 1e-3 * (((weights + change[:2]) * deviation) ** 2).sum()
        return float((shares * np.log1p(np.exp(-signed * odds))).sum() + pull)

    for number in range(3):
        step = 1e-2 * np.eye(3)[number]
        assert cost(np.zeros(3)) < min(cost(step), cost(-step))
        assert abs(cost(step) - cost(-step)) < 2e-5


@pytest.mark.parametrize("has_whitening", [True, False])
def test_columns_are_where_the_documented_loss_is_least(
    has_whitening: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubt, "_STEPS", 500)
    features, labels = rows(60, 1)
    strange, _ = rows(30, 2, strange=True)
    logits, others = 3 * features[:, :CLASSES], 3 * strange[:, :CLASSES]
    weights = np.where(np.arange(30) < 15, 1.0, 0.5)
    whitening, pull = None, doubt._PULL / 30
    if has_whitening:
        cached = CachedFeatures([features], labels)
        whitening = doubt.fit_whitening(doubt.measure_moments(cached, CLASSES), 1.0)
        pull = doubt._PULL
    kernel, offset = doubt._fit_columns(whitening, (features, logits), (strange, others, weights))
    assert kernel.shape == (SIZE, doubt.COLUMNS) and offset.shape == (doubt.COLUMNS,)
    # Standardised by the known photos, and divided by the root of the number of features.
    centre, deviation = doubt._spread(features)
    inner = kernel * (deviation * SIZE**0.5)[:, None]
    if has_whitening:
        inner = np.linalg.lstsq(whitening.matrix.T.astype(float), kernel.astype(float), rcond=None)[
            0
        ]
    mass = np.concatenate([logits, others]) * (0.7 / metrics.loudness(logits))
    mass = np.log(np.exp(mass).sum(axis=1))
    shares = np.concatenate([np.ones(60), weights])
    shares /= shares.sum()
    signed = np.where(np.arange(90) < 60, 1, -1)
    every = np.concatenate([features, strange]).astype(float)

    def cost(scale: float, shift: float) -> float:
        columns = every @ (kernel * scale) + offset + shift
        odds = mass - np.log(np.exp(columns).sum(axis=1))
        return float(
            (shares * np.log1p(np.exp(-signed * odds))).sum()
            + 0.5 * pull * ((inner * scale) ** 2).sum()
        )

    best = cost(1, 0)
    for scale, shift in ((1.03, 0), (0.97, 0), (1, 0.03), (1, -0.03)):
        assert best < cost(scale, shift)
    assert abs(cost(1, 0.02) - cost(1, -0.02)) < 1e-4
    assert abs(cost(1.005, 0) - cost(0.995, 0)) < 1e-3
    columns = features @ kernel + offset, strange @ kernel + offset
    assert columns[1].max(axis=1).min() > columns[0].max(axis=1).max()


def test_calibrated_score_is_turned_by_both_kinds_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[float]] = []

    def weigh(*parts: np.ndarray) -> tuple[np.ndarray, float]:
        given.append([part.ravel().tolist() for part in parts])
        return np.float32([slopes.pop()]), 0.5

    monkeypatch.setattr(doubt, "_odds", lambda score, seen: np.array(seen, np.float32))
    monkeypatch.setattr(doubt, "_weigh", weigh)
    slopes = [-1.0, 0.0, 2.0]
    turned = doubt._calibrate(score(), [1.0, 2.0], [3.0])  # type: ignore[arg-type]
    assert given == [[[1, 2], [1, 1], [3], [1]]]
    np.testing.assert_allclose(turned.weights, 2 * score().weights)
    assert turned.bias == 2 * 0.25 + 0.5
    while slopes:  # too few photos to say anything
        again = doubt._calibrate(score(), [1.0], [3.0])  # type: ignore[arg-type]
        assert again.bias == 0.25 and (again.weights == score().weights).all()


def test_threshold_is_the_smallest_that_is_right_often_enough() -> None:
    given = np.array([0.5, 0.6, 0.6, 0.7, 0.8])
    right = np.array([False, True, False, True, True])

    def right_from(threshold: float) -> np.ndarray:
        return right[given >= threshold - 1e-9]

    assert doubt._threshold(right_from, 0.75, 0.5, 0.95) == 0.51
    assert doubt._threshold(right_from, 0.6, 0.5, 0.95) == 0.5  # three of five are enough
    assert doubt._threshold(right_from, 0.9, 0.5, 0.95) == 0.61
    assert doubt._threshold(lambda threshold: right[:0], 0.9, 0.5, 0.95) == 0.95
    assert doubt._threshold(lambda threshold: right[:1], 0.9, 0.8, 0.97) == 0.97


def test_known_is_chosen_by_the_right_answers_alone() -> None:
    probabilities = np.float32([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.8, 0.2]])
    known = np.float32([0.2, 0.4, 0.6, 0.01])
    labels = np.array([0, 0, 0, 1])
    found = doubt.choose_thresholds(probabilities, known, labels, [], kept=0.5)
    assert found.known == pytest.approx(0.4)
    assert found.sure == 0.5  # all that pass are right
    # None is right: nothing can be promised.
    none = doubt.choose_thresholds(probabilities, known, np.ones(4, int), [], kept=0.5)
    assert none.known == 0.5


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
    assert found.sure == 0.97 or correct[alone].mean() >= doubt.RIGHT_NAMES
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
