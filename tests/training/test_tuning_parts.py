"""What fine-tuning gives to `fit`, and which teachers it refuses; nothing is trained here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")


from keras_flowers.training import fine_tune
from keras_flowers.training.batches import CachedFeatures, StreamedPhotos
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.fine_tune import ALL
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

    def answers(teachers: Any, photos: Any, views: Any, *others: Any) -> list[Any]:
        found.update(teachers=teachers, taught=photos.split, asked=views, others=others)
        return [f"answers in {view}" for view in views]

    Extractor.asked, Extractor.splits = [], []
    monkeypatch.setattr(fine_tune, "fit", fit)
    monkeypatch.setattr(fine_tune, "split_at", lambda model, layer: (f"below {layer}", "tail"))
    monkeypatch.setattr(fine_tune, "unfreeze_base", lambda tail: found.update(unfrozen=tail))
    monkeypatch.setattr(fine_tune, "answers", answers)
    yield found


def tuned(
    given: dict[str, Any],
    validation: Any = PHOTOS,
    teachers: Any = (),
    train: Any = PHOTOS,
    **settings: Any,
) -> None:
    model = SimpleNamespace(input_shape=(None, 32, 24, 3))
    history = fine_tune.fine_tune(
        TrainConfig(**settings),
        model,  # type: ignore[arg-type]
        teachers,
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


def test_answers_of_teachers_are_learned_and_not_smoothed(given: dict[str, Any]) -> None:
    settings = {"fine_tune": "block", "fine_tune_views": 2, "distillation_temperature": 2.0}
    tuned(given, teachers=["a", "b"], **settings)
    views = [View.random(n) for n in range(2)]
    assert Extractor.asked == [("below block", views, True), ("below block", [View.FULL], False)]
    assert given["settings"].label_smoothing == 0.0
    assert (given["teachers"], given["asked"]) == (["a", "b"], views)
    assert given["others"] == (2.0, Extractor)
    assert given["train"].targets == [f"answers in {view}" for view in views]


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
    tuned(given, train=some, teachers=["a"], fine_tune="block", fine_tune_views=1)
    assert Extractor.splits == ["train+unknown", "train"]  # validation as it is
    assert given["taught"] == "train+unknown"
    # Labels are needed to learn from them.
    Extractor.splits.clear()
    tuned(given, train=some, fine_tune="block", fine_tune_views=1)
    assert Extractor.splits == ["train", "train"]


def test_all_of_the_base_learns_photos_as_they_stream(given: dict[str, Any]) -> None:
    tuned(given, fine_tune=ALL, seed=5)
    train = given["train"]
    assert isinstance(train, StreamedPhotos)
    assert (train.size, train.seed, train.teach, train.teacher_key) == ((32, 24), 5, None, "")
    assert isinstance(given["validation"], StreamedPhotos)
    assert given["validation"].size == (32, 24)
    assert given["tail"].input_shape == (None, 32, 24, 3)
    assert given["title"] == "fine-tuning all"
    tuned(given, None, fine_tune=ALL)
    assert given["validation"] is None
    assert Extractor.asked == []


def test_teachers_answer_for_photos_as_they_stream(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def answers_to_pixels(*given: Any) -> tuple[str, str]:
        asked.append(given)
        return "taught", "by them"

    monkeypatch.setattr(fine_tune, "answers_to_pixels", answers_to_pixels)
    tuned(given, teachers=["a", "b"], fine_tune=ALL, distillation_temperature=3.0)
    assert asked == [(["a", "b"], PHOTOS, 3.0)]
    assert (given["train"].teach, given["train"].teacher_key) == ("taught", "by them")
