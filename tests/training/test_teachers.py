"""Who teaches: which finished models are refused, and who answers about which photo."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

import keras

from keras_flowers.errors import UserError
from keras_flowers.training import teachers
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.model import FEATURES, OUTPUT
from keras_flowers.training.teachers import Teacher, load_teachers
from keras_flowers.training.views import View


class Finished:
    """A run that knows what the test says it does."""

    def __init__(self, **facts: Any) -> None:
        provenance = facts.pop("provenance", {"trained_on": {"split": "train"}})
        self.settings = facts.pop("settings", {})
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
    monkeypatch.setattr(teachers.Run, "open", lambda _: Finished(**facts))
    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set")
    with pytest.raises(UserError, match=expected):
        load_teachers([path], train, [], 32)


def test_teacher_that_saw_a_photo_of_any_score_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setattr(teachers.Run, "open", lambda _: Finished())
    monkeypatch.setattr(teachers, "logits_of", lambda model: f"logits of {model}")
    asked: list[str] = []

    def of_split(split: str) -> Any:
        asked.append(split)
        return SimpleNamespace(positions=frozenset({"1", "2"}))

    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set", of_split=of_split)
    scored: list[Any] = [
        SimpleNamespace(positions=frozenset(places), split=name)
        for name, places in (("validation", {"3"}), ("test", {"4", "5"}))
    ]
    (teacher,) = load_teachers([path], train, scored, 32)
    assert teacher.network == "logits of model"
    assert asked == ["train"]
    scored[1].positions = frozenset({"2", "5"})
    with pytest.raises(UserError, match="was trained on train, which shares photos with test: the"):
        load_teachers([path], train, scored, 32)


@pytest.mark.parametrize(
    ("settings", "in_field"),
    [
        ({}, True),  # a model outside of its run does not say
        ({"field_views": 0, "fine_tune_field_views": 0}, False),
        ({"field_views": 4, "fine_tune_field_views": 0}, True),
        ({"field_views": 0, "fine_tune_field_views": 2}, True),
    ],
)
def test_teacher_knows_the_sources_and_views_it_learned_from(
    settings: dict[str, int], in_field: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = {"trained_on": {"split": "train"}, "dataset": "a_set/1.0.0 + beds/train.csv"}
    finished = Finished(provenance=learned, settings=settings)
    monkeypatch.setattr(teachers.Run, "open", lambda _: finished)
    monkeypatch.setattr(teachers, "logits_of", lambda model: model)
    train: Any = SimpleNamespace(labels=("a", "b"), dataset="a_set", of_split=lambda split: None)
    (teacher,) = load_teachers([tmp_path], train, [], 32)
    sources = ["a_set/1.0.0", "other", "beds/train.csv"]
    assert teacher.knows(sources, View.random(3)).tolist() == [True, False, True]
    assert teacher.knows(sources, View.FULL).tolist() == [True, False, True]
    assert teacher.knows(sources, View.field(0)).tolist() == [in_field, False, in_field]


def constant(*logits: float) -> keras.Model:
    """pixels [N, 4, 4, 3] -> these logits for whatever they show."""
    pixels = keras.Input((4, 4, 3), name="image")
    features = keras.layers.GlobalAveragePooling2D(name=FEATURES)(pixels)
    output = keras.layers.Dense(len(logits), name=OUTPUT)
    model = keras.Model(pixels, output(features))
    output.set_weights([np.zeros((3, len(logits)), np.float32), np.array(logits, np.float32)])
    return model


SOURCES = ("garden", "garden", "beds", "street")
"""Of four photos, which stand as 2, 0, 3, 1 where their features are kept."""

FOUR: Any = SimpleNamespace(source_names=SOURCES, labels=("a", "b"))

EVERYWHERE = Teacher(constant(0.0, 2.0), frozenset({"garden", "beds"}), in_field=True)
IN_GARDENS = Teacher(constant(6.0, 0.0), frozenset({"garden"}), in_field=False)
"""Three times as sure: brought to the level of the other, it says (2, 0)."""

MEANS = {
    # The last photo's source taught nobody, so that all answer.
    View.random(0): [0.0, 0.0, 2.0, 0.0],
    # Nobody else has seen views as in the field, and nobody at all such a photo from the street.
    View.field(1): [2.0, 2.0, 2.0, 0.0],
}
"""By what the second logit of each photo is larger."""


def answered(second: list[float], temperature: float) -> np.ndarray:
    """The probabilities [N, 2] where the second logit is larger by `second`."""
    of_second = 1 / (1 + np.exp(-np.array(second) / temperature))
    return np.stack([1 - of_second, of_second], axis=1)


def test_each_teacher_answers_about_what_it_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    order = np.array([2, 0, 3, 1])
    monkeypatch.setattr(teachers, "stored_order", lambda photos: order)
    asked: list[tuple[list[int], bool]] = []

    class Extractor:
        def __init__(self, network: keras.Model) -> None:
            self.network = network

        def features(self, photos: Any, views: list[int], *, mixup: bool) -> CachedFeatures:
            asked.append((views, mixup))
            rows = np.asarray(self.network(np.zeros((4, 4, 4, 3), np.float32)), np.float16)
            return CachedFeatures([rows] * len(views), np.zeros(4, np.int64))

    extractor_of: Any = Extractor
    views = list(MEANS)
    found = teachers.answers([EVERYWHERE, IN_GARDENS], FOUR, views, 2.0, extractor_of)
    for rows, means in zip(found, MEANS.values(), strict=True):
        np.testing.assert_allclose(rows[:], answered(means, 2.0)[order], rtol=1e-3)
        np.testing.assert_allclose(rows[np.array([3, 0])], rows[:][[3, 0]])
        assert (len(rows), rows.shape) == (4, (4, 2))
    assert asked == [(views, True), (views, True)]
    # Who has nothing to say is not asked.
    asked.clear()
    known: Any = SimpleNamespace(**{**vars(FOUR), "source_names": ("garden", "beds") * 2})
    teachers.answers([EVERYWHERE, IN_GARDENS], known, views, 2.0, extractor_of)
    assert asked == [(views, True), (views[:1], True)]


def test_teachers_of_streamed_photos_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def engine_for(network: keras.Model) -> tuple[Any, str]:
        def run(pixels: np.ndarray) -> np.ndarray:
            seen.append(len(pixels))
            return np.asarray(network(pixels))

        return run, "here"

    def some_pixels(photos: Any, image_size: int) -> np.ndarray:
        assert image_size == 4
        return np.zeros((len(photos), 4, 4, 3), np.uint8)

    monkeypatch.setattr(teachers, "engine_for", engine_for)
    monkeypatch.setattr(teachers.data, "some_pixels", some_pixels)
    photos: Any = SimpleNamespace(**vars(FOUR), only=lambda wanted: np.flatnonzero(wanted))
    teach, key = teachers.answers_to_pixels([EVERYWHERE, IN_GARDENS], photos, 3.0)
    assert seen == [3, 3]  # how loud each speaks about what both know, or nobody
    seen.clear()
    pixels, numbers = np.zeros((3, 4, 4, 3), np.float32), np.array([3, 2, 0])
    for view, means in MEANS.items():
        expected = answered(means, 3.0)[numbers]
        np.testing.assert_allclose(teach(pixels, numbers, view), expected, rtol=1e-5)
    assert seen == [3, 2, 3, 1]  # each about its own photos only
    others = [
        teachers.answers_to_pixels(some, photos, temperature)[1]
        for some, temperature in (([EVERYWHERE], 3.0), ([EVERYWHERE, IN_GARDENS], 2.0))
    ]
    assert len({key, *others}) == 3


def test_all_speak_as_loud_as_those_who_know_everything() -> None:
    said = [np.float32([[level, -level]] * 3) for level in (1, 3, 8, 0.5)]
    factors = teachers.at_one_level(said, np.array([True, True, False, False]))
    assert factors.tolist() == [1, 1, 0.25, 4]
    # With nobody to compare with, and about no photo, nobody is changed.
    assert teachers.at_one_level(said, np.array([False] * 4)).tolist() == [1] * 4
    nothing = [one[:0] for one in said]
    assert teachers.at_one_level(nothing, np.array([True, True, False, True])).tolist() == [1] * 4


def test_teacher_from_other_sources_answers_about_all() -> None:
    stranger = Teacher(constant(1.0, 1.0), frozenset({"elsewhere"}), in_field=False)
    for view in MEANS:
        assert teachers.who_answers([stranger], FOUR, view).tolist() == [[True] * 4]
