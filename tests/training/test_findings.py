"""What a report is made of: pairs, mistakes, files, history, each from what can be counted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets", reason="a report needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.inference.chart import fullest
from keras_flowers.inference.similar import SimilarPhoto
from keras_flowers.training import metrics
from keras_flowers.training.config import cache_folder
from keras_flowers.training.report import findings
from keras_flowers.training.report.findings import ConfusedPair, find_pairs
from keras_flowers.training.run_directory import Run

LABELS = ("aster", "begonia", "crocus")


def evaluation(*answers: tuple[int, int, float]) -> Any:
    """Photos of (class, name given, probability)."""
    probabilities = np.empty((len(answers), 3), np.float32)
    for row, (_, given, probability) in enumerate(answers):
        probabilities[row] = (1 - probability) / 2
        probabilities[row, given] = probability
    classes = np.array([one for one, *_ in answers])

    def contents(rows: list[int]) -> Any:
        def read(row: int) -> bytes:
            if row == 1:
                raise OSError("gone")
            return b"%d" % row

        return [(row, lambda row=row: read(row)) for row in sorted(rows)]

    photos = SimpleNamespace(
        labels=LABELS, names=[f"{row}.jpg" for row in range(len(answers))], contents=contents
    )
    return SimpleNamespace(
        probabilities=probabilities,
        classes=classes,
        labels=LABELS,
        photos=photos,
        confusion_matrix=metrics.confusion_matrix(probabilities, classes, 3),
    )


def test_pairs_count_both_ways_and_show_the_surest() -> None:
    asked = evaluation(
        (0, 1, 0.6), (1, 0, 0.9), (0, 1, 0.7), (0, 1, 0.8), (1, 0, 0.95),  # five of 0 and 1
        (2, 0, 0.5), (1, 2, 0.5),
        (0, 0, 0.6), (0, 0, 0.99), (0, 0, 0.7), (1, 1, 0.6),
    )  # fmt: skip
    assert find_pairs(asked) == [
        ConfusedPair((0, 1), (3, 2), (4, 1, 3, 2), (8, 10)),
        # As often as each other: in the order of their classes; no crocus is named right.
        ConfusedPair((0, 2), (0, 1), (5,), (8, -1)),
        ConfusedPair((1, 2), (1, 0), (6,), (10, -1)),
    ]


def test_no_more_pairs_are_shown_than_a_page_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = evaluation((0, 1, 0.6), (1, 0, 0.6), (2, 0, 0.6), (1, 2, 0.6))
    monkeypatch.setattr(findings, "PAIRS", 2)
    assert [one.classes for one in find_pairs(asked)] == [(0, 1), (0, 2)]
    assert (findings.OF_A_PAIR, findings.MISTAKES, findings.NEAREST) == (4, 12, 3)


def test_mistakes_come_by_their_confidence_and_gone_photos_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = evaluation((0, 0, 0.9), (0, 1, 0.8), (2, 1, 0.6), (1, 2, 0.9))
    drawn: list[Any] = []
    monkeypatch.setattr(findings, "_draw_mistake", lambda *given: drawn.append(given) or ("a",))
    classifier: Any = SimpleNamespace(explain=lambda data: b"why " + data)
    found, contents = findings._mistakes(classifier, asked, with_photos=True)
    assert [(one.row, one.name, one.given, one.right) for one in found] == [
        (3, "3.jpg", "crocus", "begonia"),
        (1, "1.jpg", "begonia", "aster"),
        (2, "2.jpg", "begonia", "crocus"),
    ]
    assert found[0].probability == pytest.approx(0.9)
    assert found[0].probability_of_right == pytest.approx(0.05)
    assert [one.pictures for one in found] == [("a",), (), ("a",)]
    assert contents == {3: b"3", 2: b"2"}
    assert drawn[0] == (b"why 3", b"3", ["crocus", "begonia"])
    assert caplog.messages == ["1.jpg cannot be read any more"]
    drawn.clear()
    found, contents = findings._mistakes(classifier, asked, with_photos=False)
    assert drawn == [] and found[0].pictures == () and set(contents) == {2, 3}
    monkeypatch.setattr(findings, "MISTAKES", 1)
    assert [one.row for one in findings._mistakes(classifier, asked, with_photos=False)[0]] == [3]


def test_mistake_is_drawn_with_what_its_places_say_for_both_names_on_one_scale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def read(data: bytes, size: tuple[int, int]) -> Image.Image:
        asked.append((data, size))
        return Image.new("RGB", (896, 448), "red")

    def places(photo: Image.Image, said: Any, limit: float, side: int) -> Image.Image:
        asked.append((photo.size, said.tolist(), limit, side))
        return Image.new("RGB", (8, 4), "blue")

    pictures: list[Any] = []
    monkeypatch.setattr(findings, "read_photo", read)
    monkeypatch.setattr(findings, "draw_places", places)
    monkeypatch.setattr(
        findings, "as_data", lambda picture, *given: pictures.append((picture.size, given)) or "x"
    )
    of = {"crocus": np.float64([[1, 3]]), "aster": np.float64([[-5, 0]])}
    evidence: Any = SimpleNamespace(of=of.__getitem__)
    assert findings._draw_mistake(evidence, b"photo", ["crocus", "aster"]) == ("x",) * 3
    limit = fullest([[1, 3], [-5, 0]])
    assert asked == [
        (b"photo", (224, 224)),
        ((224, 112), [[1, 3]], limit, 224),
        ((224, 112), [[-5, 0]], limit, 224),
    ]
    assert pictures == [((224, 112), (80,)), ((8, 4), (80,)), ((8, 4), (80,))]


@pytest.fixture
def similar(tmp_path: Path) -> Any:
    """A classifier with an index, for which each photo resembles two others."""
    (tmp_path / "similar.npz").touch()
    near = [SimilarPhoto(0.9, "aster", f"{one}.jpg", one) for one in ("d1", "d2")]
    return SimpleNamespace(
        similar_path=tmp_path / "similar.npz", similar=lambda data, count: near[:count]
    )


def test_mistakes_have_what_they_resemble_or_why_not(
    similar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = findings.Mistake(2, "a", "b", "c", 0.9, 0.1)
    gone = one._replace(row=5)

    def of(*mistakes: Any, with_photos: bool = True) -> Any:
        return findings._with_nearest(
            tmp_path, similar, list(mistakes), {2: b"2"}, "d", with_photos=with_photos
        )

    def no(*given: Any, **options: Any) -> Any:
        raise UserError("the photos are gone")

    monkeypatch.setattr(findings, "read_photos", lambda *_, data_dir: {"d2": data_dir.encode()})
    monkeypatch.setattr(
        findings, "thumbnails", lambda reads, total: {row: read().decode() for row, read in reads}
    )
    assert of() == ([], "", {})
    found, why, pictures = of(one, gone)
    assert [len(each.nearest) for each in found] == [2, 0]
    assert (why, pictures) == ("", {"d2": "d"})
    assert of(one, with_photos=False)[1:] == ("", {})
    monkeypatch.setattr(findings, "read_photos", no)
    found, why, pictures = of(one)
    assert (len(found[0].nearest), why, pictures) == (2, "the photos are gone", {})
    made: list[Any] = []
    monkeypatch.setattr(
        findings, "write_index", lambda *given, **options: made.append((given, options))
    )
    similar.similar_path.unlink()
    of(one, with_photos=False)
    assert made == [((tmp_path,), {"data_dir": "d", "download": False})]
    monkeypatch.setattr(findings, "write_index", no)
    assert of(one) == ([one], "the photos are gone", {})


def test_history_is_read_as_numbers_and_a_bad_one_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run.at(tmp_path)
    assert findings._history(None) == findings._history(run) == []
    run.history_path.write_text("epoch,loss,val_loss\n1,2.5,\n2,1.5,1.75\n")
    assert findings._history(run) == [
        {"epoch": 1.0, "loss": 2.5},
        {"epoch": 2.0, "loss": 1.5, "val_loss": 1.75},
    ]
    run.history_path.write_text("epoch,loss\n1,much\n")
    assert findings._history(run) == []
    assert caplog.messages == [
        f"{run.history_path} cannot be read; the report is without learning curves"
    ]
    assert findings._temperature(None) is None
    assert findings._temperature(run) is None  # not finished


def test_temperature_is_that_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.at(tmp_path)
    run.metrics_path.write_text(json.dumps({"scores": {}, "temperature": 2}))
    monkeypatch.setattr(Run, "is_finished", property(lambda self: True))
    assert findings._temperature(run) == 2.0
    run.metrics_path.write_text('{"scores": {}}')
    assert findings._temperature(Run.at(tmp_path)) is None


def test_time_of_a_photo_is_the_median_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first call is not timed; then three take 1 s, and 12 take 2 s.
    clock = iter([time for number in range(15) for time in (0, 1 if number < 3 else 2)])
    monkeypatch.setattr(findings.time, "perf_counter", lambda: next(clock))
    asked: list[int] = []
    classifier: Any = SimpleNamespace(outputs=lambda pixels: asked.append(len(pixels)))
    assert findings._milliseconds(classifier, np.zeros((1, 2, 2, 3), np.uint8)) == 2000
    assert asked == [1] * 16


def test_photos_are_checked_where_they_are_each_with_its_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"their {name},our {name}\n")
    looked: list[Any] = []
    cached: str | None = str(tmp_path / "cache")

    def check(source: Any, **options: Any) -> Any:
        assert options["cache_dir"] == cache_folder(cached)
        looked.append((source, options["image_size"], options["features"], options["label_map"]))
        if source[0] == "bad":
            raise UserError("no photos")
        return source[0]

    monkeypatch.setattr(findings, "check_data", check)
    monkeypatch.setattr(findings, "read_label_map", lambda path: path.name)
    monkeypatch.setattr(findings, "is_there", lambda one: one != "gone")
    monkeypatch.setattr(
        findings,
        "open_source",
        lambda one, data_dir, category_names: (one, data_dir, category_names),
    )
    monkeypatch.setattr(findings, "base_features", lambda *given: given)
    run: Any = SimpleNamespace(
        settings={
            "data": ["x", "gone", "bad"],
            "label_map": [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "a")],
            "base": "MobileNetV2",
            "data_dir": "D",
            "category_names": "N",
            "cache_dir": cached,
        }
    )
    metadata = SimpleNamespace(provenance={"dataset": "drawn + other"})
    classifier: Any = SimpleNamespace(metadata=metadata, image_size=(96, 64))
    with caplog.at_level("INFO"):
        assert findings._checks(run, classifier, (), (), None, quick=False) == ["x"]
    base = ("MobileNetV2", 96, tmp_path / "cache")
    assert looked == [(("x", "D", "N"), 96, base, "a"), (("bad", "D", "N"), 96, base, "a")]
    assert caplog.messages == [
        "gone is not here: the report says nothing of its photos",
        "the photos of bad were not looked at: no photos",
    ]
    looked.clear()
    one_map = (str(tmp_path / "b"),)
    assert findings._checks(run, classifier, ("y", "z"), one_map, "E", quick=True) == ["y", "z"]
    assert looked == [(("y", "E", None), 96, None, "b"), (("z", "E", None), 96, None, "b")]
    looked.clear()
    cached = None  # without a run, where training keeps it
    findings._checks(None, classifier, (), (), None, quick=False)
    assert looked == [(("tfds:drawn", None, None), 96, None, None)]


def test_photos_of_a_source_without_a_map_beside_one_that_has_one_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "map.csv").write_text("rosa,rose\n")
    looked: list[Any] = []
    monkeypatch.setattr(findings, "is_there", lambda one: True)
    monkeypatch.setattr(findings, "open_source", lambda one, **_: one)
    monkeypatch.setattr(
        findings, "check_data", lambda one, **options: looked.append((one, options["label_map"]))
    )
    maps = ["-", str(tmp_path / "map.csv")]
    run: Any = SimpleNamespace(settings={"data": ["x", "y"], "label_map": maps})
    metadata = SimpleNamespace(provenance={})
    classifier: Any = SimpleNamespace(metadata=metadata, image_size=(96, 96))
    findings._checks(run, classifier, (), (), None, quick=True)
    assert looked == [("x", {}), ("y", {"rosa": "rose"})]
    assert caplog.messages == []


def test_every_option_of_a_report_reaches_what_gathers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def record(name: str, answer: Any) -> None:
        monkeypatch.setattr(findings, name, lambda *a, **b: asked.update({name: (a, b)}) or answer)

    photos = SimpleNamespace(contents=lambda rows: [(row, None) for row in rows])
    evaluated = SimpleNamespace(photos=photos)
    pairs = [
        ConfusedPair((0, 1), (1, 0), (4, 2), (7, -1)),
        ConfusedPair((0, 2), (1, 0), (2,), (1, 3)),
    ]
    record("evaluate_model", evaluated)
    record("load_classifier", "classifier")
    record("find_pairs", pairs)
    record("_mistakes", ("mistakes", "contents"))
    record("_with_nearest", ("with nearest", "why", "training pictures"))
    record("thumbnails", "pictures")
    record("measure_files", "files")
    record("_checks", "checks")
    path = tmp_path / "m.tflite"
    found = findings.gather(
        path, sources=["s"], label_map=["l"], split="p", data_dir="D", quick=True
    )
    options = {"split": "p", "data_dir": "D", "sources": ["s"], "label_map": ["l"]}
    assert asked == {
        "evaluate_model": ((path,), options),
        "load_classifier": ((path,), {}),
        "find_pairs": ((evaluated,), {}),
        "_mistakes": (("classifier", evaluated), {"with_photos": True}),
        "_with_nearest": (
            (path, "classifier", "mistakes", "contents", "D"),
            {"with_photos": True},
        ),
        "thumbnails": (([(row, None) for row in (1, 2, 3, 4, 7)], 5), {}),
        "measure_files": ((path, "classifier"), {}),
        "_checks": ((None, "classifier", ["s"], ["l"], "D"), {"quick": True}),
    }
    assert (found.pairs, found.mistakes, found.why_no_nearest) == (pairs, "with nearest", "why")
    assert (found.pictures, found.training_pictures) == ("pictures", "training pictures")
    assert (found.files, found.checks, found.is_own_data) == ("files", "checks", True)
    asked.clear()
    alone = findings.gather(path, with_photos=False)
    assert "thumbnails" not in asked
    assert (alone.pictures, alone.is_own_data) == (None, False)
    assert asked["_mistakes"][1] == asked["_with_nearest"][1] == {"with_photos": False}
    assert asked["_checks"][1] == {"quick": False}


def test_files_that_name_no_flowers_are_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "saved_model" / "1").mkdir(parents=True)
    files = [tmp_path / name for name in ("a.tflite", "base.keras", "saved_model/1")]
    for file in files[:2]:
        file.write_bytes(bytes(7))
    timed: list[Any] = []

    def load(path: Path) -> str:
        if path.suffix == ".keras":
            raise UserError("it has no names")
        return path.name

    monkeypatch.setattr(findings, "models_in", lambda folder: files if folder == tmp_path else [])
    monkeypatch.setattr(findings, "load_classifier", load)
    monkeypatch.setattr(
        findings, "_milliseconds", lambda one, pixels: timed.append((one, pixels)) or 2.5
    )
    classifier: Any = SimpleNamespace(image_size=(8, 6))
    for path in (tmp_path, files[0]):  # a file of the model stands for all of them
        with caplog.at_level("INFO"):
            found = findings.measure_files(path, classifier)
        assert found == [("a.tflite", 7, 2.5), ("saved_model/1", 0, 2.5)]
    assert caplog.messages == [f"{files[1]} is not timed: it has no names"] * 2
    assert [one for one, _ in timed] == ["a.tflite", "1"] * 2
    pixels = timed[0][1]
    assert (pixels.shape, pixels.dtype) == ((1, 8, 6, 3), np.uint8)
    assert len(np.unique(pixels)) > 50  # a plain picture could be answered sooner
