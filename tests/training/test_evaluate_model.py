"""`evaluate_model`: every kind of model file on a table of photos, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="evaluating needs the extra [train]")

from keras_flowers import evaluate_model
from keras_flowers.errors import UserError
from keras_flowers.inference.metadata import Metadata, read_metadata
from keras_flowers.training import evaluate, synthetic
from keras_flowers.training.answers import KNOWN, UNKNOWN_KIND
from keras_flowers.training.sources import open_photos
from keras_flowers.training.sources.source import Subject

if TYPE_CHECKING:
    from export_fixtures import Exported

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(exported: Exported, tmp_path: Path) -> Path:
    """The test photos as files, from twelve sources; every fifth is said to be no flower."""
    names = read_metadata(exported.run / "model.keras").labels
    rows = [("path", "label", "source")]
    for number, (photo, place) in enumerate(zip(exported.photos, exported.classes, strict=True)):
        (tmp_path / f"{number}.jpg").write_bytes(photo)
        label = "unknown" if number % 5 == 0 else names[place]
        rows.append((f"{number}.jpg", label, f"garden {number % 12}"))
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "photos.csv"


def test_every_kind_of_model_is_scored_by_source(exported: Exported, table: Path) -> None:
    run = exported.run
    files = ["model.keras", "saved_model/1", f"{run.name}_float32.tflite"]
    found = [evaluate_model(run / file, sources=[str(table)]) for file in files]
    count = len(exported.photos)
    unknown = len(range(0, count, 5))
    for one in found:
        assert one.scores.photos == count - unknown == len(one.sources)
        assert one.unknown_count == unknown
        assert one.others is not None
        assert [(row.kind, row.photos) for row in one.answers] == [
            (KNOWN, count - unknown),
            (UNKNOWN_KIND, unknown),
        ]
        assert one.scores.sources == 12
        assert sum(part.photos for part in one.by_source) == one.scores.photos
        assert sum(part.correct for part in one.by_source) == one.confusion_matrix.trace()
        assert sum(part.correct for part in one.by_class) == one.confusion_matrix.trace()
        # The answers stand beside the sources of their own photos.
        expected = [f"garden {number % 12}" for number in range(count) if number % 5]
        assert list(one.sources) == expected
        assert one.classes.tolist() == [c for n, c in enumerate(exported.classes) if n % 5]
    for one in found[1:]:
        assert one.scores.top1 == found[0].scores.top1
        assert one.scores.calibration_error == pytest.approx(
            found[0].scores.calibration_error, abs=1e-4
        )


def test_photos_of_none_of_the_classes_are_not_scored(exported: Exported, table: Path) -> None:
    with pytest.raises(UserError, match="'unknown' of .* has photos of none of the classes") as no:
        evaluate_model(exported.run / "model.keras", sources=[str(table)], split="unknown")
    assert "\n" not in str(no.value)


def test_photos_that_were_learned_from_are_counted(exported: Exported, table: Path) -> None:
    file = exported.run / f"{exported.run.name}_int8.tflite"
    learned = evaluate_model(file, split="train[:7]+test[:3]")
    assert (learned.scores.photos, learned.learned_count) == (10, 7)
    assert learned.as_dict()["protocol"]["learned_from"] == 7
    # A run on photos of its own says by their content where each was.
    labels = read_metadata(file).labels
    photos = open_photos([str(table)], labels=labels, divide=False).photos("photos")
    digests = photos.digests.tolist()
    shutil.copytree(exported.run, table.parent / "run")
    sides = ["train", "train", "validation", "test"]
    rows = [(one.decode(), side) for one, side in zip(digests, sides, strict=False)]
    with (table.parent / "run" / "split.csv").open("w", newline="") as division:
        csv.writer(division).writerows([("digest", "split"), *rows])
    again = evaluate_model(table.parent / "run" / file.name, sources=[str(table)])
    assert again.learned_count == 2


def test_data_set_is_one_source(exported: Exported) -> None:
    evaluation = evaluate_model(exported.run / f"{exported.run.name}_int8.tflite")
    assert evaluation.learned_count == 0
    assert len(evaluation.by_source) == 1
    assert evaluation.scores.sources == evaluation.unknown_count == 0
    assert synthetic.DATASET in evaluation.sources[0]


@pytest.mark.skipif(
    not os.environ.get("KERAS_FLOWERS_FIELD"),
    reason="the photos from outside of the data set are not at hand; set KERAS_FLOWERS_FIELD",
)
def test_model_that_ships_is_as_good_in_the_field_as_its_card_says() -> None:
    field = Path(os.environ["KERAS_FLOWERS_FIELD"]) / "validation.csv"
    evaluation = evaluate_model(ROOT / "saved_models" / "flowers102", sources=[str(field)])
    results = json.loads((ROOT / "docs" / "results.json").read_text())  # the card is made of it
    said = next(run["field"] for run in results["flowers102"] if run["seed"] == 0)
    scores = evaluation.scores.as_dict()
    for key in ("photos", "classes"):
        assert scores[key] == said[key]
    assert len(evaluation.by_source) == said["sources"]
    # Two photos of the 445, since engines differ.
    for key in ("mean_per_class", "top1", "top5", "sure_and_wrong"):
        assert scores[key]["value"] == pytest.approx(said[key]["value"], abs=0.005), key
    error = "expected_calibration_error"
    assert scores[error] == pytest.approx(said[error], abs=0.005)


def test_every_option_reaches_the_photos_and_the_model_is_told_of_what_it_learned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With nothing loaded: what is asked for, and of which photos it is said."""
    asked: list[Any] = []
    metadata = Metadata(("a", "b"), (8, 8), {"base": "x"}, doubt=None)
    answers = {"known": np.float32([[0.9, 0.1], [0.2, 0.8]]), "strange": np.float32([[0.5, 0.5]])}
    classifier = SimpleNamespace(
        metadata=metadata, image_size=(8, 8), divided=lambda outputs: (outputs, None)
    )
    strange = SimpleNamespace(
        subjects=(Subject("flower", "dog's own"),), name="strange", split="unknown"
    )
    photos = SimpleNamespace(
        name="known",
        dataset="beds",
        split="test",
        labels=("a", "b"),
        label_numbers=np.array([0, 1]),
        origins=("me", "you"),
        unknown_count=1,
        of_split=lambda split: strange if split == "unknown" else None,
    )
    learned = {"known": 1, "strange": 3}
    monkeypatch.setattr(evaluate, "import_tensorflow", lambda: None)
    monkeypatch.setattr(
        evaluate,
        "load_classifier",
        lambda path, **options: asked.append((path, options)) or classifier,
    )
    monkeypatch.setattr(evaluate, "available_cores", lambda: 3)
    monkeypatch.setattr(
        evaluate, "photos_of", lambda *given, **options: asked.append((given, options)) or photos
    )
    monkeypatch.setattr(
        evaluate, "_answers", lambda one, of: (answers[of.name], np.arange(len(answers[of.name])))
    )
    monkeypatch.setattr(evaluate, "count_learned", lambda of, said, run: learned[of.name])
    # Only the table says what that is: it begins with no genus.
    (tmp_path / "t.csv").write_text("label,genus,family\ndog's own,Rosa,Rosaceae\n")
    path = tmp_path / "m.tflite"
    found = evaluate_model(
        path,
        split="s",
        dataset="d",
        data_dir="D",
        sources=["x"],
        label_map=["m"],
        taxonomy=tmp_path / "t.csv",
    )
    assert asked == [
        (path, {"workers": 3}),
        (
            (path, metadata, "s"),
            {"run": None, "dataset": "d", "data_dir": "D", "sources": ["x"], "label_map": ["m"]},
        ),
    ]
    assert (found.learned_count, found.unknown_count, found.sources) == (4, 1, ("me", "you"))
    assert (found.dataset, found.split, found.labels) == ("beds", "test", ("a", "b"))
    assert found.others is not None
    assert found.others.places == (("Rosa", "Rosaceae"),)
    assert found.confusion_matrix.tolist() == [[1, 0], [0, 1]]
    # Of the run's own photos, those of no class may have been learned from: nothing is said.
    unsaid = evaluate_model(path, sources=["x"])
    assert unsaid.others is not None and unsaid.others.places == (("", ""),)
    plain = evaluate_model(path)
    assert (plain.others, plain.learned_count, plain.unknown_count) == (None, 1, 1)
