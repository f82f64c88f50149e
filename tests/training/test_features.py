"""Features: on which engine, in which batches, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import keras
import tensorflow as tf

from keras_flowers.errors import UserError
from keras_flowers.training import feature_pass, features
from keras_flowers.training.feature_cache import FeatureCache
from keras_flowers.training.features import FeatureExtractor, digest_of, engine_for
from keras_flowers.training.views import View


@pytest.fixture
def trunk() -> keras.Model:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 3))
    return keras.Model(
        pixels, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels))
    )


class Photos:
    """What an extractor asks of photos."""

    dataset, split, fingerprint = "a_set", "train", "finger"

    def __init__(self, *digests: str) -> None:
        self.digests = np.array(digests, "S32")


def test_gpu_is_used_where_there_is_one(
    trunk: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    run, name = engine_for(trunk)
    assert name == "Keras on a GPU"
    assert run == trunk.predict_on_batch


def test_without_a_gpu_all_cores_are(trunk: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "available_cores", lambda: 2)
    made: list[int] = []
    make = features.LiteRTModel

    def note(content: bytes, *, workers: int = 1) -> Any:
        made.append(workers)
        return make(content, workers=workers)

    monkeypatch.setattr(features, "LiteRTModel", note)
    run, name = engine_for(trunk)
    assert (name, made) == ("LiteRT on 2 cores", [2])  # a photo for each at a time
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    expected = np.asarray(trunk(pixels.astype(np.float32)))
    np.testing.assert_allclose(run(pixels), expected, rtol=1e-4, atol=1e-3)


def test_key_holds_what_the_features_depend_on(trunk: keras.Model, tmp_path: Path) -> None:
    extractor = FeatureExtractor(trunk, seed=3, folder=tmp_path)
    photos: Any = Photos("a")
    common = {"trunk": digest_of(trunk), "image_size": [8, 8]}
    plain = extractor._key(photos, View.FULL, mixup=False)
    assert (
        plain.items() >= {**common, "files": None, "view": 0, "blend": False, "seed": None}.items()
    )
    random = extractor._key(photos, View.random(0), mixup=False)
    assert random.items() >= {**common, "files": None, "view": 2, "seed": 3}.items()
    blended = extractor._key(photos, View.FULL, mixup=True)
    assert blended.items() >= {"files": "finger", "blend": True, "seed": 3}.items()
    assert {plain["rule"], random["rule"], blended["rule"]} == {features._CACHE_VERSION}


def test_network_is_forgotten_with_all_its_views_and_no_other(
    trunk: keras.Model, tmp_path: Path
) -> None:
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path)
    cache = FeatureCache(tmp_path)
    rows, labels = np.zeros((1, 4), np.float16), np.zeros(1, np.int64)
    about = {"dataset": "a_set", "split": "train"}
    of_network = [{"trunk": digest_of(trunk), "view": view} for view in (0, 1)]
    other = {"trunk": "abc", "view": 0}
    for key in (*of_network, other):
        cache.write(key, ["a photo"], rows, labels, about)
    extractor.forget()
    assert [one.network for one in cache.entries()] == ["abc"]
    assert all(cache.read(key, ["a photo"]).missing.all() for key in of_network)
    assert not cache.read(other, ["a photo"]).missing.any()


def test_same_photo_twice_has_two_names() -> None:
    photos: Any = Photos("a", "b", "a", "a")
    assert features._names(photos) == ["a", "b", "a 2", "a 3"]


def batches(*sizes: int) -> Any:
    start = 0
    for size in sizes:
        numbers = np.arange(start, start + size)
        yield numbers[:, None].astype(np.float16), numbers
        start += size


@pytest.mark.parametrize("given", [(7,), (3, 4), (1,) * 7, (2, 5), (6, 1)])
def test_rows_are_regrouped_in_their_order(given: tuple[int, ...]) -> None:
    found = list(features._regrouped(batches(*given), [2, 4, 1]))
    assert [labels.tolist() for _, labels in found] == [[0, 1], [2, 3, 4, 5], [6]]
    for rows, labels in found:
        assert rows[:, 0].tolist() == labels.tolist()
        assert rows.flags.c_contiguous


@pytest.mark.parametrize("given", [(3,), (3, 3), (8,), (4, 4)])
def test_more_or_fewer_rows_than_promised_are_refused(given: tuple[int, ...]) -> None:
    expected = f"the data set has {sum(given)} photos but promised 7; prepare it again"
    with pytest.raises(UserError, match=expected):
        list(features._regrouped(batches(*given), [2, 4, 1]))


def test_no_piece_is_written_that_is_too_short() -> None:
    pieces: list[int] = []
    with pytest.raises(UserError, match="has 3 photos but promised 7"):
        for _, labels in features._regrouped(batches(3), [2, 4, 1]):
            pieces.append(len(labels))  # noqa: PERF401  # what came before the refusal
    assert pieces == [2]


def test_features_that_are_no_numbers_are_refused(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path)
    extractor.__dict__["_engine"] = (lambda pixels: np.full((len(pixels), 4), 7e4), "a test")
    pixels = tf.data.Dataset.from_tensors((np.zeros((1, 1, 8, 8, 3), np.uint8), [0]))
    monkeypatch.setattr(feature_pass.data, "pixels_of_views", lambda *_, **__: pixels)
    with pytest.raises(UserError, match="gives features that are not finite numbers"):  # in float16
        list(extractor._passed(Photos("a"), [0], False, extractor._bar(Photos("a"), 1)))  # type: ignore[arg-type]


def test_bar_counts_views_of_a_split(
    trunk: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FeatureExtractor(trunk, seed=0, folder=tmp_path)._bar(Photos("a"), 5) as bar:  # type: ignore[arg-type]
        assert (bar.total, bar.unit, bar.desc) == (5, "view", "train: features")


def test_least_memory_is_a_photo_and_the_most_is_twenty_mebibytes() -> None:
    assert feature_pass.photos_at_a_time((224, 224), 1) == (20 << 20) // (224 * 224 * 3)
    assert feature_pass.photos_at_a_time((4000, 4000), 1) == 1


def test_pictures_are_run_a_few_at_a_time_in_their_order(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path)
    given: list[int] = []

    def run(pixels: np.ndarray) -> np.ndarray:
        given.append(len(pixels))
        return pixels[:, 0, 0, :1].astype(np.float16)

    asked: list[Any] = []
    extractor.__dict__["_engine"] = (run, "a test")
    monkeypatch.setattr(features, "photos_at_a_time", lambda *size: asked.append(size) or 2)
    pixels = np.zeros((5, 8, 8, 3), np.uint8)
    pixels[..., 0] = np.arange(5)[:, None, None]
    found = extractor.features_of(pixels)
    assert (found[:, 0].tolist(), found.dtype) == ([0, 1, 2, 3, 4], np.float32)
    assert (given, asked) == ([2, 2, 1], [((8, 8), 1)])
    assert list(tmp_path.iterdir()) == []  # nothing is cached


class Stored(Photos):
    """Photos with classes, of which `features` asks only these things."""

    def __init__(self, *digests: str, weights: Any = None) -> None:
        super().__init__(*digests)
        self.count = len(digests)
        self.label_numbers = np.arange(self.count)
        self.weights = weights


def test_features_come_by_content_with_the_labels_and_weights_of_now(
    trunk: keras.Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos: Any = Stored("c", "a", "b", weights=np.float32([3, 1, 2]))
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path, run="mine")
    cache = FeatureCache(tmp_path)
    about = {"dataset": "a_set", "split": "train"}
    for view, add in ((View.FULL, 0), (View.FLIPPED, 10)):
        rows = np.float16([[30], [10], [20]]) + np.float16(add)
        # Under other labels: a photo may have moved to another class since.
        key = extractor._key(photos, view, mixup=False)
        cache.write(key, ["c", "a", "b"], rows, np.array([7, 7, 7]), about)
    with caplog.at_level("INFO"):
        found = extractor.features(photos, [View.FULL, View.FLIPPED])
    assert [rows[:].ravel().tolist() for rows in found.views] == [[10, 20, 30], [20, 30, 40]]
    assert found.labels.tolist() == [1, 2, 0]
    assert found.weights is not None and found.weights.tolist() == [1, 2, 3]
    assert caplog.messages == ["train: 2 x 3 cached features are used"]
    unweighted: Any = Stored("a", "c")
    assert extractor.features(unweighted, [View.FULL]).weights is None


def test_only_what_is_missing_is_run_view_by_view_where_photos_are_mixed(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos: Any = Stored("a", "b", "c")
    photos.only = lambda wanted: wanted.tolist()
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path, run="mine")
    passes: list[Any] = []
    totals: list[int] = []

    def passed(some: Any, views: Any, mixup: bool, bar: Any) -> Any:
        passes.append((some, list(views), mixup))
        count = sum(some)
        yield np.zeros((count, len(views), 4), np.float16), np.zeros(count, np.int64)

    bar = extractor._bar
    monkeypatch.setattr(extractor, "_passed", passed)
    monkeypatch.setattr(extractor, "_bar", lambda p, total: totals.append(total) or bar(p, total))
    FeatureCache(tmp_path).write(
        extractor._key(photos, View.FULL, mixup=False),
        ["b"],
        np.zeros((1, 4), np.float16),
        np.zeros(1, np.int64),
        {"dataset": "a_set", "split": "train"},
    )
    extractor.features(photos, [View.FULL])
    assert passes == [([True, False, True], [0], False)]
    views = [View.random(number) for number in range(6)]
    extractor.features(photos, views)
    everything = [True] * 3
    assert passes[1:] == [(everything, views[:4], False), (everything, views[4:], False)]
    extractor.features(photos, views[:2], mixup=True)
    assert passes[3:] == [(everything, [view], True) for view in views[:2]]
    assert totals == [2, 18, 6]
    assert {run for one in FeatureCache(tmp_path).entries() for run in one.runs} == {"mine"}


def test_workers_get_what_is_missing_and_their_rows_go_to_each_view(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    written: list[Any] = []
    rows = np.arange(16).reshape(2, 2, 4).astype(np.float16)

    def by_workers(_: Any, *given: Any) -> Any:
        asked.append((*given[:3], [group.tolist() for group in given[3]]))
        return [(np.array([0, 2]), rows)]

    monkeypatch.setattr(FeatureExtractor, "_by_workers", by_workers)
    monkeypatch.setattr(FeatureCache, "write", lambda _, *given: written.append(given))
    crew: Any = lambda: "crew"  # noqa: E731
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path, run="mine", crew=crew)
    photos: Any = Photos("a", "b", "c")
    photos.label_numbers = np.array([5, 6, 7])
    missing = {View.FULL: np.array([True, False, True]), 1: np.array([True, False, False])}
    keys: Any = {View.FULL: "whole", 1: "mirrored"}
    extractor._run(photos, keys, missing, ["a", "b", "c"], False)
    assert asked == [("crew", photos, [View.FULL, 1], [[0, 2]])]
    about = {"dataset": "a_set", "split": "train", "run": "mine"}
    for place, (key, names, features_of, labels, said) in enumerate(written):
        assert (key, names, said) == (keys[[View.FULL, 1][place]], ["a", "c"], about)
        assert features_of.tolist() == rows[:, place].tolist()
        assert labels.tolist() == [5, 7]
    assert len(written) == 2
