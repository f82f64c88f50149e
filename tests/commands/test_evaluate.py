"""`keras-flowers evaluate`: what it prints and writes of an evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.commands import evaluate
from keras_flowers.inference.doubt import Doubt, Thresholds
from keras_flowers.training import metrics
from keras_flowers.training.answers import (
    SHARES,
    AnswerCounts,
    CoveragePoint,
    OtherPhotos,
    Separation,
)
from keras_flowers.training.evaluate import Evaluation
from keras_flowers.training.sources.source import Subject

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.02, 0.97, 0.01]], np.float32)
CLASSES = np.array([0, 1, 0])
SOURCES = ("garden", "a wood whose name is far too long for a line\n", "garden")

NOTHING_ASKED = {
    "split": None,
    "dataset": None,
    "data_dir": None,
    "sources": [],
    "label_map": [],
    "taxonomy": None,
}
"""What the library gets of options that are not given."""


def evaluation_of(
    answers: metrics.Probabilities, classes: Any, sources: tuple[str, ...], **other: Any
) -> Evaluation:
    """An evaluation of answers about three flowers; `other` says what else it is of."""
    facts: dict[str, Any] = {
        "model": Path("x"),
        "provenance": {},
        "dataset": "holiday",
        "split": "photos",
        "labels": ("poppy", "rose", "iris"),
        "image_size": (32, 32),
        "unknown_count": 0,
        "learned_count": 0,
        **other,
    }
    return Evaluation(
        scores=metrics.score(answers, classes, sources),
        confusion_matrix=metrics.confusion_matrix(answers, classes, answers.shape[1]),
        probabilities=answers,
        classes=classes,
        sources=sources,
        **facts,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """How the library was called; it answers with three photos."""
    calls: list[tuple[Any, ...]] = []

    def evaluate_model(model: str, **options: Any) -> Evaluation:
        calls.append((model, options))
        return evaluation_of(
            PROBABILITIES,
            CLASSES,
            SOURCES,
            model=Path(model),
            provenance={"trained_on": {"split": "train", "photos": 20}},
            dataset="a_set/1.0.0",
            split=options["split"] or "test",
            image_size=(32, 24),
            unknown_count=9,
            learned_count=2,
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
        "test of a_set/1.0.0: 3 photos of 2 classes",
        "each one whole, squashed to 32 x 24 pixels",
        "9 other photos show none of the classes: not scored",
        "the model was trained on 2 of them: this is no test",
        "  top-1               66.67%  (95 % interval 20.8% to 93.9%)",
        "  top-5               100.00%  (95 % interval 43.9% to 100.0%)",
        "  mean per class      75.00%  (95 % interval 15.8% to 100.0%)",
        "  calibration error   55.67%",
        "  sure and wrong      33.33%  (95 % interval 6.1% to 79.2%)",
        "  wrong with more than 90% counts as sure and wrong;",
        "  intervals: of photos that have nothing to do with each other",
        "",
        "how sure it says it is, and how often it is right",
        "  says             photos    on average   right",
        "   60.0% to  66.7%      1       60.0%   100.0%",
        "   66.7% to  73.3%      1       70.0%   100.0%",
        "   93.3% to 100.0%      1       97.0%     0.0%",
        "",
        "sources with the most photos, of 2",
        "  photos    right  on average says  sure and wrong  source",
        "       2    50.0%            83.5%               1  garden",
        "       1   100.0%            60.0%               0  'a wood whose name is far...",
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
    assert list(content) == [
        "model",
        "dataset",
        "split",
        "trained_on",
        "protocol",
        "photos",
        "classes",
        "intervals_over",
        "top1",
        "top5",
        "mean_per_class",
        "sure_and_wrong",
        "expected_calibration_error",
        "log_loss",
        "answers",
        "coverage",
        "separations",
        "reliability",
        "by_source",
        "by_class",
    ]
    assert (content["dataset"], content["split"]) == ("a_set/1.0.0", "test")
    assert content["model"] == "x.tflite"
    assert content["trained_on"] == {"split": "train", "photos": 20}
    assert content["top1"]["value"] == pytest.approx(2 / 3)
    assert list(csv.reader((report / "classes.csv").open())) == [
        ["class", "photos", "correct", "accuracy", "predicted", "precision"],
        ["poppy", "2", "1", "0.5000", "1", "1.0000"],
        ["rose", "1", "1", "1.0000", "2", "0.5000"],
        ["iris", "0", "0", "", "0", ""],
    ]
    assert content["protocol"] == {
        "image_size": [32, 24],
        "resize": "whole photo squashed",
        "left_out_unknown": 9,
        "learned_from": 2,
    }
    assert content["intervals_over"] == "photos"
    assert [(one["name"], one["accuracy"]) for one in content["by_class"]] == [
        ("poppy", 0.5),
        ("rose", 1.0),
    ]
    assert [(one["name"], one["sure_and_wrong"]) for one in content["by_source"]] == [
        (SOURCES[0], 1),
        (SOURCES[1], 0),
    ]
    assert sum(one["photos"] for one in content["reliability"]) == 3
    rows = list(csv.reader((report / "sources.csv").open()))
    assert rows[0] == ["source", "photos", "correct", "mean_probability", "sure_and_wrong"]
    assert [(row[0], row[1], row[2], row[4]) for row in rows[1:]] == [
        (SOURCES[0], "2", "1", "1"),
        (SOURCES[1], "1", "1", "0"),
    ]
    rows = list(csv.reader((report / "reliability.csv").open()))
    assert len(rows) == 16
    assert [row[2] for row in rows[1:] if row[2] != "0"] == ["1", "1", "1"]
    assert list(csv.reader((report / "confusion_matrix.csv").open())) == [
        ["true \\ predicted", "poppy", "rose", "iris"],
        ["poppy", "1", "1", "0"],
        ["rose", "0", "1", "0"],
        ["iris", "0", "0", "0"],
    ]
    assert (report / "confusion_matrix.png").stat().st_size > 1000


def test_what_is_said_of_other_photos_is_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    others = OtherPhotos(
        np.array([[0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.5, 0.3, 0.2]], np.float32),
        np.array([0.9, 0.2, 0.1], np.float32),
        (Subject("other flower", "tulip"), Subject("no flower"), Subject("no flower")),
        (("Tulipa", "Liliaceae"), ("", ""), ("", "")),
    )
    evaluation = evaluation_of(
        PROBABILITIES,
        CLASSES,
        SOURCES,
        known=np.array([0.9, 0.9, 0.1], np.float32),
        doubt=Doubt(Thresholds(known=0.5, sure=0.65, group=0.9)),
        others=others,
        unknown_count=3,
    )
    monkeypatch.setattr(evaluate, "evaluate_model", lambda *_, **__: evaluation)
    assert evaluate.main(["x.tflite", "--json", str(tmp_path / "scores.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 other photos show none of the classes: counted by what is said of them" in lines
    start = lines.index("what it says, in per cent of the photos of a kind")
    assert [line.split() for line in lines[start + 2 : start + 5]] == [
        ["3", "33.3", "0.0", "33.3", "0.0", "33.3", "of", "its", "classes"],
        ["2", "0.0", "0.0", "0.0", "0.0", "100.0", "no", "flower"],
        ["1", "0.0", "100.0", "0.0", "0.0", "0.0", "other", "flower"],
    ]
    curve = lines.index("where only the surest answers are taken")
    assert lines[curve + 1].split("  ")[1:] == [
        "share taken",
        "named right",
        "no flower, too",
        "other flower, too",
    ]
    assert lines[curve + 2].split() == ["100.0%", "66.7%", "0.0%", "100.0%"]
    assert max(map(len, lines)) <= 80
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["answers"]["thresholds"] == {"known": 0.5, "sure": 0.65, "group": 0.9}
    assert [one["refused"] for one in content["answers"]["by_kind"]] == [1, 2, 0]
    assert len(content["coverage"]) == 100


def test_every_line_fits_a_terminal(
    asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(["x.tflite"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_intervals_say_that_they_are_of_sources(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = np.eye(3, dtype=np.float32)[[0, 1] * 8]
    sources = tuple(f"garden {n % 12}" for n in range(16))
    evaluation = evaluation_of(answers, np.zeros(16, int), sources)
    monkeypatch.setattr(evaluate, "evaluate_model", lambda *_, **__: evaluation)
    evaluate.main(["x"])
    text = capsys.readouterr().out
    assert "  intervals: of 12 sources drawn anew, since photos of one are alike\n" in text
    assert "sources with the most photos, of 12\n" in text
    assert "none of the classes" not in text
    assert "no test" not in text
    assert evaluation.as_dict()["intervals_over"] == "sources"


def test_help_names_the_command_and_no_types(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: keras-flowers evaluate ")
    assert "python -m" not in text


def test_answers_are_a_table_with_what_is_judged_of_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kinds = ("of its classes", "other flowers of a kind", "a stick or a label")
    rows = [
        AnswerCounts(kinds[0], 8, 4, 1, 1, 0, 1, 0, 0, 1),
        AnswerCounts(kinds[1], 7, 0, 1, 0, 1, 1, 2, 1, 1),
        AnswerCounts(kinds[2], 3, 0, 0, 0, 0, 0, 0, 0, 3),
    ]
    others = dict(zip(kinds[1:], (0.25, 0.125), strict=True))
    shown: Any = SimpleNamespace(
        answers=rows,
        separations=[Separation(kinds[1], 0.98765, 0.1234)],
        coverage=[CoveragePoint(0.0, share, 1 - share / 4, others) for share in SHARES],
    )
    evaluate._print_answers(shown)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "what it says, in per cent of the photos of a kind",
        "  photos   right name  wrong name  perhaps  group  none of them",
        "       8         50.0        12.5     12.5   12.5          12.5  of its classes",
        "       7          0.0        14.3     14.3   57.1          14.3  other flowers...",
        "       3          0.0         0.0      0.0    0.0         100.0  a stick or a label",
        "  groups, of its classes: 1 of 1 right",
        "  groups, other flowers of a kind: 1 of 3 right; of 1 nobody says",
        "  right names against other flowers of: AUROC 0.988, 12.3% named at 90% kept",
        "",
        "where only the surest answers are taken",
        "  share taken  named right  other flowers of, too  a stick or a lab, too",
        *(
            f"  {share:>11}  {right:>11}                  25.0%                  12.5%"
            for share, right in (
                ("100.0%", "75.0%"),
                ("95.0%", "76.2%"),
                ("90.0%", "77.5%"),
                ("80.0%", "80.0%"),
                ("70.0%", "82.5%"),
                ("50.0%", "87.5%"),
            )
        ),
    ]


def test_lists_in_the_terminal_end_after_ten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tuple(f"flower {number:02}" for number in range(12))
    classes = np.arange(12)
    # Each is taken for the next one, but for the last.
    answers = np.eye(12, dtype=np.float32)[np.minimum(classes + 1, 11)]
    # As long as a line has room for.
    beds = tuple(f"{number:02} is the number of this bed." for number in range(12))
    assert len(beds[0]) == 29
    evaluation = evaluation_of(answers, classes, beds, labels=labels)
    monkeypatch.setattr(evaluate, "evaluate_model", lambda *_, **__: evaluation)
    evaluate.main(["x"])
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("sources with the most photos, of 12")
    assert [line.rpartition("  ")[2] for line in lines[first + 2 : first + 13]] == [
        *beds[:10],
        "",
    ]
    first = lines.index("classes with the lowest accuracy")
    assert lines[first + 1 : first + 12] == [
        *(f"    0.0%  0 of 1  {name}" for name in labels[:10]),
        "",
    ]
    first = lines.index("most confused")
    assert lines[first + 1 :] == [
        f"    1  true {one}, predicted {other}"
        for one, other in zip(labels[:10], labels[1:11], strict=True)
    ]
