"""What fine-tuning gives to `fit`, and which teachers it refuses; nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import keras

from keras_flowers.errors import UserError
from keras_flowers.training import fine_tune
from keras_flowers.training.batches import CachedFeatures, StreamedPhotos
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.fine_tune import ALL, load_teacher
from keras_flowers.training.model import FEATURES, OUTPUT
from keras_flowers.training.views import View

PHOTOS: Any = SimpleNamespace(
    dataset="a_set", split="train", fingerprint="f", count=3, unknown_count=0
)
LABELS = np.array([1, 0, 1], np.int64)


class Extractor:
    """Gives rows that say which network and view they are of; remembers what it was asked."""

    asked: list[tuple[str, list[int], bool]] = []
    splits: list[str] = []

    def __init__(self, network: str) -> None:
        self.network = network

    def features(self, photos: Any, views: Any, *, mixup: bool = False) -> CachedFeatures:
        self.asked.append((self.network, list(views), mixup))
        self.splits.append(photos.split)
        rows = [np.full((3, 2), view, np.float16) for view in views]
        rows[0][:, 1] += 7
        return CachedFeatures(rows, LABELS)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What `fit` is called with."""
    found: dict[str, Any] = {}

    def fit(tail: Any, train: Any, validation: Any, settings: Any, **options: Any) -> list[Any]:
        found.update(tail=tail, train=train, validation=validation, settings=settings, **options)
        return [{"epoch": 1}]

    Extractor.asked, Extractor.splits = [], []
    monkeypatch.setattr(fine_tune, "fit", fit)
    monkeypatch.setattr(fine_tune, "split_at", lambda model, layer: (f"below {layer}", "tail"))
    monkeypatch.setattr(fine_tune, "unfreeze_base", lambda tail: found.update(unfrozen=tail))
    monkeypatch.setattr(fine_tune, "digest_of", lambda model: "digest")
    yield found


def tuned(
    given: dict[str, Any],
    validation: Any = PHOTOS,
    teacher: Any = None,
    train: Any = PHOTOS,
    **settings: Any,
) -> None:
    model = SimpleNamespace(input_shape=(None, 32, 24, 3))
    history = fine_tune.fine_tune(
        TrainConfig(**settings),
        model,  # type: ignore[arg-type]
        teacher,
        train,
        validation,
        extractor_of=Extractor,  # type: ignore[arg-type]
        checkpoint=Path("state"),
    )
    assert history == [{"epoch": 1}]
    assert given["unfrozen"] == given["tail"]
    assert given["checkpoint"] == Path("state")


def test_layers_behind_one_learn_cached_views(given: dict[str, Any]) -> None:
    tuned(given, fine_tune="block", fine_tune_views=3, fine_tune_epochs=2, label_smoothing=0.2)
    assert given["tail"] == "tail"
    views = [View.random(n) for n in range(3)]
    assert Extractor.asked == [("below block", views, False), ("below block", [View.FULL], False)]
    assert given["train"].targets is None
    assert len(given["validation"].views) == 1
    settings = given["settings"]
    assert (settings.epochs, settings.label_smoothing) == (2, 0.2)
    assert (settings.batch_size, settings.warmup) == (32, 0.05)  # of the published results
    assert settings.learning_rate == TrainConfig.fine_tune_learning_rate
    assert settings.weight_decay == TrainConfig.weight_decay
    assert given["title"] == "fine-tuning block"
    tuned(given, None, fine_tune="block", fine_tune_views=1)
    assert given["validation"] is None


def test_answers_of_a_teacher_are_softened_and_not_smoothed(given: dict[str, Any]) -> None:
    tuned(
        given, teacher="teacher", fine_tune="block", fine_tune_views=2, distillation_temperature=2.0
    )
    views = [View.random(n) for n in range(2)]
    assert Extractor.asked[:2] == [("below block", views, True), ("teacher", views, True)]
    assert given["settings"].label_smoothing == 0.0
    first, second = given["train"].targets
    # Logits (2, 9) and (3, 3), divided by the temperature.
    np.testing.assert_allclose(
        first[:1][0], np.exp([1.0, 4.5]) / np.exp([1.0, 4.5]).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(second[:], 0.5)


def test_views_as_in_the_field_follow_the_crops(given: dict[str, Any]) -> None:
    tuned(given, fine_tune="block", fine_tune_views=2, fine_tune_field_views=3)
    views = [View.random(0), View.random(1), *(View.field(n) for n in range(3))]
    assert Extractor.asked[0] == ("below block", views, False)
    # Streamed, an epoch has one view: the two kinds take turns.
    tuned(given, fine_tune=ALL, fine_tune_epochs=5, fine_tune_field_views=2)
    kinds = [View.field_index(view) for view in given["train"].views]
    assert kinds == [None, 0, None, 1, None]
    tuned(given, fine_tune=ALL, fine_tune_epochs=2, fine_tune_field_views=9)
    assert given["train"].views == [View.field(0), View.field(1)]


def test_teacher_answers_about_photos_without_a_label_too(given: dict[str, Any]) -> None:
    def of_split(split: str) -> Any:
        return SimpleNamespace(split=split, dataset="a_set", fingerprint="g", count=5)

    some: Any = SimpleNamespace(**{**vars(PHOTOS), "unknown_count": 2, "of_split": of_split})
    tuned(given, train=some, teacher="teacher", fine_tune="block", fine_tune_views=1)
    assert Extractor.splits == ["train+unknown", "train+unknown", "train"]  # validation as it is
    # Labels are needed to learn from them.
    Extractor.splits.clear()
    tuned(given, train=some, fine_tune="block", fine_tune_views=1)
    assert Extractor.splits == ["train", "train"]


def test_all_of_the_base_learns_photos_as_they_stream(given: dict[str, Any]) -> None:
    tuned(given, fine_tune=ALL, seed=5)
    train = given["train"]
    assert isinstance(train, StreamedPhotos)
    assert (train.size, train.seed, train.teacher, train.teacher_key) == ((32, 24), 5, None, "")
    assert isinstance(given["validation"], StreamedPhotos)
    assert given["validation"].size == (32, 24)
    assert given["tail"].input_shape == (None, 32, 24, 3)
    assert given["title"] == "fine-tuning all"
    tuned(given, None, fine_tune=ALL)
    assert given["validation"] is None
    assert Extractor.asked == []


def test_teacher_answers_for_photos_as_they_stream(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tune, "engine_for", lambda model: (lambda pixels: pixels * 3.0, "a"))
    tuned(given, teacher="teacher", fine_tune=ALL, distillation_temperature=3.0)
    train = given["train"]
    assert train.teacher_key == "digest 3.0"
    found = train.teacher(np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(found, [[1 / (1 + np.e), np.e / (1 + np.e)]], rtol=1e-5)


class Teacher:
    """A run that knows what the test says it does."""

    def __init__(self, **facts: Any) -> None:
        provenance = facts.pop("provenance", {"trained_on": {"split": "train"}})
        self.metadata = SimpleNamespace(
            **{"labels": ("a", "b"), "image_size": (32, 32), "provenance": provenance, **facts}
        )

    def load_model(self) -> str:
        return "model"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"labels": ("a", "c")}, "--teacher .*run knows other classes than a_set"),
        ({"image_size": (32, 40)}, r"takes \(32, 40\) pixels; .*train it with --image_size 32"),
        ({"provenance": {}}, "does not say what it was trained on; train it again"),
        ({"provenance": {"trained_on": {}}}, "does not say what it was trained on"),
    ],
)
def test_teacher_that_cannot_teach_is_refused(
    facts: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setattr(fine_tune.Run, "open", lambda _: Teacher(**facts))
    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set")
    with pytest.raises(UserError, match=expected):
        load_teacher([path], train, [], 32)


def test_teacher_that_saw_a_photo_of_any_score_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setattr(fine_tune.Run, "open", lambda _: Teacher())
    monkeypatch.setattr(fine_tune, "logits_of", lambda model: f"logits of {model}")
    asked: list[str] = []

    def of_split(split: str) -> Any:
        asked.append(split)
        return SimpleNamespace(positions=frozenset({"1", "2"}))

    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set", of_split=of_split)
    scored: list[Any] = [
        SimpleNamespace(positions=frozenset(places), split=name)
        for name, places in (("validation", {"3"}), ("test", {"4", "5"}))
    ]
    assert load_teacher([path], train, scored, 32) == "logits of model"
    assert asked == ["train"]
    scored[1].positions = frozenset({"2", "5"})
    with pytest.raises(UserError, match="was trained on train, which shares photos with test: the"):
        load_teacher([path], train, scored, 32)


def test_several_teachers_answer_with_the_mean_of_their_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def network(scale: float) -> keras.Model:
        pixels = keras.Input((4, 4, 3), name="image")
        features = keras.layers.GlobalAveragePooling2D(name=FEATURES)(pixels)
        output = keras.layers.Dense(2, "softmax", name=OUTPUT)
        model = keras.Model(pixels, output(features))
        output.set_weights([np.full((3, 2), scale, np.float32), np.array([0, scale], np.float32)])
        return model

    networks = {"one": network(1.0), "other": network(3.0)}
    for name in networks:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(
        fine_tune.Run,
        "open",
        lambda path: SimpleNamespace(
            metadata=Teacher().metadata, load_model=lambda: networks[path.name]
        ),
    )
    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set", of_split=lambda split: None)
    teacher = load_teacher([tmp_path / name for name in networks], train, [], 32)
    pixels = np.full((5, 4, 4, 3), 2.0, np.float32)
    np.testing.assert_allclose(teacher(pixels), [[12.0, 14.0]] * 5)
