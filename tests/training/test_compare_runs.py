"""Runs are compared on the photos that all of them have, and chance is told from a difference."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="comparing runs needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training import compare, features, fit, known, metrics
from keras_flowers.training import model as models
from keras_flowers.training.compare import Compared, Comparison, Pair, holm, mcnemar
from keras_flowers.training.views import View


def run(folder: str, **settings: Any) -> Any:
    metadata = SimpleNamespace(provenance={"of": folder})
    return SimpleNamespace(
        folder=Path(folder),
        name=Path(folder).name,
        settings=settings,
        metadata=metadata,
        sources=(),
        photos=lambda split, data_dir: f"{folder} {split} {data_dir}",
    )


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many photos of each split each run has learned."""
    counts: dict[str, int] = {}
    monkeypatch.setattr(compare, "count_learned", lambda photos, *_: counts.get(photos, 0))
    return counts


def test_split_is_validation_unless_one_has_learned_from_it(
    learned: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    runs = [run("a"), run("b")]
    assert compare._open(runs, None, "x") == (["a validation x", "b validation x"], "validation")
    assert compare._open(runs, "train", None) == (["a train None", "b train None"], "train")
    learned["b validation x"] = 1
    with caplog.at_level("INFO"):
        assert compare._open(runs, None, "x") == (["a test x", "b test x"], "test")
    assert caplog.messages == ["b has learned from validation: test is taken"]
    assert compare._open(runs, "validation", "x")[1] == "validation"  # asked for
    for one in runs:
        one.sources = ("holiday", "garden.csv")
    assert compare._open(runs, None, "x") == (["a  x", "b  x"], "holiday + garden.csv")


def test_photos_in_common_have_the_same_name_in_all() -> None:
    def photos(labels: str, **numbers: int) -> Any:
        return SimpleNamespace(
            digests=np.array([one.encode() for one in numbers]),
            label_numbers=list(numbers.values()),
            labels=labels,
        )

    # b is called otherwise, c shows none of the classes of the second, d is of the first alone.
    one, other = photos("xy", a=0, b=0, c=1, d=1, e=1), photos("yx", e=0, c=-1, b=0, a=1)
    assert compare._in_common([one, other]) == ([b"a", b"e"], 3)
    assert compare._in_common([one, one, other]) == ([b"a", b"e"], 3)
    assert compare._in_common([one, photos("xy", f=0)]) == ([], 6)


def test_runs_are_called_by_their_folders_and_by_paths_where_these_are_the_same() -> None:
    assert compare._names([run("x/one"), run("y/two")]) == ["one", "two"]
    paths = compare._names([run("x/one"), run("y/one"), run("y/two")])
    assert paths == [str(Path(one)) for one in ("x/one", "y/one", "y/two")]


def test_settings_that_differ_are_those_that_change_a_model() -> None:
    # What a run does not say is as by default; where it lies is no setting.
    runs = [
        run("a", epochs=7, output="a", cache_dir="c", data_dir="d", export=True, overwrite=True),
        run("b", base="MobileNet", output="b", epochs=7, batch_size=32),
    ]
    found = dict(compare._different_settings(runs))
    assert found == {
        "base": (compare.TrainConfig().base, "MobileNet"),
        "batch_size": (compare.TrainConfig().batch_size, 32),
    }


def compared(name: str, *correct: int) -> Compared:
    probabilities = np.eye(2, dtype=np.float32)[[0] * len(correct)]
    scores = metrics.score(probabilities, 1 - np.array(correct))
    return Compared(run(name), name, scores, np.array(correct, np.bool_))


def test_each_is_compared_with_the_first_and_chance_is_corrected_for_their_number() -> None:
    first = compared("first", *[1] * 10, *[0] * 10)
    better, alike = compared("better", *[1] * 20), compared("alike", 0, *[1] * 10, *[0] * 9)
    pairs = compare._pairs([first, better, alike])
    assert [pair[:5] for pair in pairs] == [
        ("first", "better", 20, 0, 10),
        ("first", "alike", 20, 1, 1),
    ]
    # Ten of ten: 2 / 2 ** 10, twice, since there are two; one of two: certain.
    assert [pair.p for pair in pairs] == pytest.approx([4 / 1024, 1.0])
    assert [pair.points for pair in pairs] == [50, 0]
    assert [pair.is_more_than_chance for pair in pairs] == [True, False]
    assert compare._pairs([first, better])[0].p == pytest.approx(2 / 1024)


def test_chances_are_exact_and_corrected_from_the_smallest_on() -> None:
    assert mcnemar(1, 0) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)
    assert holm([0.5, 0.01, 0.6]) == pytest.approx([1.0, 0.03, 1.0])
    # A larger one is never likelier to be a difference than a smaller one.
    assert holm([0.02, 0.02, 0.015]) == pytest.approx([0.045, 0.045, 0.045])
    assert holm([0.04]) == [0.04]


def test_border_of_chance_and_photos_to_tell() -> None:
    assert Pair("a", "b", 10, 1, 2, 0.0499).is_more_than_chance
    assert not Pair("a", "b", 10, 1, 2, 0.05).is_more_than_chance
    assert Pair("a", "b", 10, 3, 3, 1.0).photos_to_tell is None
    # 3 of 10 differ, by 10 points: 4 * 0.3 / 0.1 ** 2.
    assert Pair("a", "b", 10, 1, 2, 1.0).photos_to_tell == 120
    assert Pair("a", "b", 10, 2, 1, 1.0).points == -10


def test_comparison_as_json_has_all_of_it() -> None:
    one = compared("one", 1, 1, 0)
    made = Comparison(
        (one,), "test", 3, 1, {"one": 2}, 4, (("epochs", (1, None)),), (Pair("a", "b", 3, 1, 0, 1),)
    )
    told = made.as_dict()
    scores = told.pop("runs")
    assert told == {
        "split": "test",
        "photos": 3,
        "left_out": 1,
        "learned": {"one": 2},
        "settings": {"epochs": [1, None]},
        "pairs": [
            {"first": "a", "second": "b", "photos": 3, "only_first": 1, "only_second": 0, "p": 1}
        ],
    }
    assert scores[0]["run"] == "one"
    assert scores[0]["top1"]["value"] == pytest.approx(2 / 3)


def test_runs_are_scored_on_what_is_in_common_and_nothing_in_common_is_refused(
    monkeypatch: pytest.MonkeyPatch, learned: dict[str, int]
) -> None:
    def photos(of: str, *digests: bytes) -> Any:
        return SimpleNamespace(
            of=of,
            digests=np.array(digests),
            label_numbers=[0] * len(digests),
            labels="x",
            origins=tuple(f"from {one.decode()}" for one in digests),
        )

    opened = [photos("a", b"3", b"1", b"2"), photos("b", b"2", b"3", b"9")]
    monkeypatch.setattr(compare, "import_tensorflow", lambda: None)
    monkeypatch.setattr(compare, "count_learned", lambda one, *_: {"a": 0, "b": 2}[one.of])
    monkeypatch.setattr(compare, "_open", lambda runs, split, data_dir: (opened, "holiday"))
    monkeypatch.setattr(compare.dataclasses, "replace", lambda one, **changes: one)
    monkeypatch.setattr(compare, "finished_run", lambda path, what: run(path))
    scored: list[tuple[str, list[bytes], list[str]]] = []

    def score(run: Any, name: str, photos: Any, chosen: Any, origins: Any) -> Compared:
        scored.append((name, chosen, origins))
        return compared(name, *[1] * len(chosen))

    monkeypatch.setattr(compare, "_score", score)
    made = compare.compare_runs(["a", "b"])
    assert scored == [(name, [b"2", b"3"], ["from 2", "from 3"]) for name in ("a", "b")]
    assert (made.split, made.photos, made.left_out, made.sources) == ("holiday", 2, 2, 3)
    assert made.learned == {"b": 2}
    assert made.pairs[0][:5] == ("a", "b", 2, 0, 0)
    opened[1] = photos("b", b"8")
    with pytest.raises(
        UserError, match=r"^a and the others have no photo of holiday in common, so"
    ):
        compare.compare_runs(["a", "b"])
    with pytest.raises(UserError, match="expected two or more different runs"):
        compare.compare_runs(["a"])


def test_run_is_scored_through_its_own_features_on_the_photos_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    def extractor(trunk: str, **options: Any) -> Any:
        made.append((trunk, options))
        return SimpleNamespace(features=lambda photos, views: (photos.split, views))

    # In the order of the features: 1, 2, 3; of these the first is named wrong.
    answers = np.float32([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]])
    classes = np.array([0, 0, 0])
    asked: list[Any] = []
    monkeypatch.setattr(known, "without_known", lambda model: f"{model} without known")
    monkeypatch.setattr(
        models, "split_at", lambda model, layer: (f"{model} below {layer}", f"above {layer}")
    )
    monkeypatch.setattr(features, "FeatureExtractor", extractor)
    monkeypatch.setattr(features, "stored_order", lambda photos: np.array([2, 0, 1]))
    monkeypatch.setattr(fit, "predict_all", lambda *a: asked.append(a) or (answers, classes))
    monkeypatch.setattr(metrics, "score", lambda *given: given)
    one = run("x/mine", seed=3, cache_dir="C")
    one.load_model = lambda: "model"
    photos: Any = SimpleNamespace(split="test", digests=np.array([b"2", b"3", b"1"]))
    found = compare._score(one, "it", photos, [b"2", b"1"], ["s", "t"])
    assert (found.run, found.name) == (one, "it")
    assert found.correct.tolist() == [True, False]
    scored: Any = found.scores
    assert (scored[0].tolist(), scored[2]) == ([[0.75, 0.25], [0.25, 0.75]], ["s", "t"])
    options = {"seed": 3, "folder": Path("C") / "features", "run": "mine"}
    assert made == [("model without known below features", options)]
    assert asked == [("above features", ("test", [View.FULL]))]
    plain = run("y")
    plain.load_model = lambda: "model"
    compare._score(plain, "y", photos, [b"3"], ["s"])
    assert made[1][1]["seed"] == 0


def test_other_photos_are_those_of_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_flowers.training.run_directory import Run

    class OpenedError(Exception):
        pass

    def opened(*given: Any) -> Any:
        raise OpenedError(given)

    monkeypatch.setattr(compare, "import_tensorflow", lambda: None)
    monkeypatch.setattr(compare, "finished_run", lambda path, option: Run.at(f"{option} {path}"))
    monkeypatch.setattr(compare, "_open", opened)
    with pytest.raises(OpenedError) as asked:
        compare.compare_runs(
            ["a", "b"],
            split="train",
            data_dir="D",
            sources=[Path("s")],
            label_map=["l"],
        )
    runs = [
        Run(Path(f"the run {name}"), Path(f"the run {name}") / "model.keras", ("s",), ("l",))
        for name in "ab"
    ]
    assert asked.value.args == ((runs, "train", "D"),)
