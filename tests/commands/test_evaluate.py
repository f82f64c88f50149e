"""`keras-flowers evaluate`: what it prints and writes of an evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keras_flowers.commands import evaluate
from keras_flowers.training import metrics
from keras_flowers.training.evaluate import Evaluation

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.4, 0.5, 0.1]], np.float32)
CLASSES = np.array([0, 1, 0])

NOTHING_ASKED = {
    "split": None,
    "dataset": None,
    "data_dir": None,
    "sources": [],
    "label_map": [],
}
"""What the library gets of options that are not given."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How the library was called; it answers with three photos."""
    calls: list[tuple[Any, ...]] = []

    def evaluate_model(model: str, **options: Any) -> Evaluation:
        calls.append((model, options))
        return Evaluation(
            model=Path(model),
            provenance={"trained_on": {"split": "train", "photos": 20}},
            dataset="a_set/1.0.0",
            split=options["split"] or "test",
            labels=("poppy", "rose", "iris"),
            scores=metrics.score(PROBABILITIES, CLASSES),
            confusion_matrix=metrics.confusion_matrix(PROBABILITIES, CLASSES, 3),
            probabilities=PROBABILITIES,
            classes=CLASSES,
        )

    monkeypatch.setattr(evaluate, "evaluate_model", evaluate_model)
    return calls


def test_scores_worst_classes_and_confusions_are_printed(
    asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main(["x.tflite"]) == 0
    assert asked == [("x.tflite", NOTHING_ASKED)]
    assert capsys.readouterr().out.splitlines() == [
        "x.tflite, trained on 20 photos (train)",
        "",
        "test of a_set/1.0.0: 3 photos",
        *str(metrics.score(PROBABILITIES, CLASSES)).splitlines(),
        "",
        "classes with the lowest accuracy",
        "   50.0%  1 of 2  poppy",
        "  100.0%  1 of 1  rose",
        "",
        "most confused",
        "    1  true poppy, predicted rose",
    ]


def test_options_reach_the_library(asked: list[tuple[Any, ...]]) -> None:
    evaluate.main(["m", "--split", "test[:5]", "--dataset", "other", "--data_dir", "there"])
    assert asked == [
        ("m", {**NOTHING_ASKED, "split": "test[:5]", "dataset": "other", "data_dir": "there"})
    ]


def test_scores_and_tables_are_written(asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    scores, report = tmp_path / "scores.json", tmp_path / "report"
    assert evaluate.main(["x.tflite", "--json", str(scores), "--report", str(report)]) == 0
    content = json.loads(scores.read_text())
    assert content["model"] == "x.tflite"
    assert content["trained_on"] == {"split": "train", "photos": 20}
    assert content["top1"]["value"] == pytest.approx(2 / 3)
    assert list(csv.reader((report / "classes.csv").open())) == [
        ["class", "photos", "correct", "accuracy", "predicted", "precision"],
        ["poppy", "2", "1", "0.5000", "1", "1.0000"],
        ["rose", "1", "1", "1.0000", "2", "0.5000"],
        ["iris", "0", "0", "", "0", ""],
    ]
    assert list(csv.reader((report / "confusion_matrix.csv").open())) == [
        ["true \\ predicted", "poppy", "rose", "iris"],
        ["poppy", "1", "1", "0"],
        ["rose", "0", "1", "0"],
        ["iris", "0", "0", "0"],
    ]
    assert (report / "confusion_matrix.png").stat().st_size > 1000


def test_help_names_the_command_and_no_types(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: keras-flowers evaluate ")
    assert "python -m" not in text
