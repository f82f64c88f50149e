"""Every figure of a report's page, from an evaluation that can be counted by hand."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="a report needs the extra [train]")

from keras_flowers.commands import report as command
from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import Doubt, Thresholds
from keras_flowers.inference.similar import SimilarPhoto
from keras_flowers.training import metrics
from keras_flowers.training.answers import OtherPhotos
from keras_flowers.training.check.sections import MOST, Most, Section
from keras_flowers.training.evaluate import Evaluation
from keras_flowers.training.report import page, report
from keras_flowers.training.report.findings import (
    ConfusedPair,
    Findings,
    Mistake,
    ModelFile,
    find_pairs,
)
from keras_flowers.training.report.report import RunReport, check_page_path
from keras_flowers.training.run_directory import Run
from keras_flowers.training.sources.source import Subject

LABELS = ("daisy", "lotus", "rose <wild>")
PROBABILITIES = np.float32(
    [
        [0.95, 0.03, 0.02],
        [0.50, 0.30, 0.20],
        [0.05, 0.94, 0.01],  # a daisy, called lotus
        [0.30, 0.60, 0.10],  # a daisy, called lotus
        [0.10, 0.85, 0.05],
        [0.71, 0.19, 0.10],  # a lotus, called daisy
        [0.00, 0.00, 1.00],
        [0.20, 0.30, 0.50],
    ]
)
CLASSES = np.array([0, 0, 0, 0, 1, 1, 2, 2])
NAMES = tuple(f"bed/{number}.jpg" for number in range(len(CLASSES)))


def evaluation(**changes: Any) -> Evaluation:
    """Eight photos of three classes, three of them named wrong."""
    made = Evaluation(
        model=Path("runs/mine"),
        provenance={
            "base": "MobileNet",
            "dataset": "beds",
            "trained_on": {"split": "train", "photos": 12},
            "scores": {},
            "seed": 3,
            "none": None,
        },
        dataset="beds",
        split="validation",
        labels=LABELS,
        image_size=(224, 192),
        scores=metrics.score(PROBABILITIES, CLASSES),
        confusion_matrix=metrics.confusion_matrix(PROBABILITIES, CLASSES, 3),
        probabilities=PROBABILITIES,
        classes=CLASSES,
        sources=("a",) * 5 + ("b",) * 3,
        unknown_count=0,
        learned_count=0,
        photos=SimpleNamespace(fingerprint="f00", labels=LABELS, names=NAMES),  # type: ignore[arg-type]
    )
    return dataclasses.replace(made, **changes)


def findings(**changes: Any) -> Findings:
    """What is told of them, without a run, pictures or files."""
    evaluated = changes.pop("evaluation", evaluation())
    made = Findings(
        model=Path("runs/mine"),
        run=None,
        evaluation=evaluated,
        is_own_data=False,
        temperature=None,
        history=(),
        pairs=find_pairs(evaluated),
        mistakes=(),
        why_no_nearest="",
        files=(),
        checks=(),
        pictures=None,
        training_pictures={},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run, as far as its files say."""
    made = Run.at(tmp_path / "mine")
    made.folder.mkdir()
    settings = {"base": "MobileNet", "data": ["beds"], "views": 3, "export": True, "teacher": []}
    made.config_path.write_text(json.dumps({"settings": settings, "versions": {"keras": "3.15"}}))
    share = {"value": 0.875, "interval95": [0.5, 0.995]}
    scores = {"validation": {"photos": 1234, "top1": share, "top5": {}, "mean_per_class": share}}
    made.metrics_path.write_text(
        json.dumps({"scores": scores, "temperature": 0.5, "seconds": 1234.4})
    )
    provenance = {"trained_on": {"split": "train", "photos": 12}, "dataset": "beds"}
    from keras_flowers.inference.metadata import Metadata, add_to_archive

    add_to_archive(made.model_path, Metadata(LABELS, (224, 192), provenance))
    return made


def said(part: str) -> str:
    """HTML as a reader sees it: cells parted by |, other pieces by a space."""
    part = re.sub(r"</t[dh]><t[dh][^>]*>", " | ", part)
    part = re.sub(r"</tr>\s*(</?t(head|body)>\s*)*<tr>", " || ", part)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split())


def test_scores_are_tiles_with_their_intervals() -> None:
    assert said(page._scores(findings())) == (
        "named right 62.5% 30.6% to 86.3% right name among five 100.0% 67.6% to 100.0% "
        "mean of the classes 66.7% 31.0% to 100.0% sure and wrong 12.5% 2.2% to 47.1% "
        "calibration error 41.9% 15 ranges log loss 0.933 nats "
        "The range below each share is its 95 % interval. Intervals hold for photos that have "
        "nothing to do with each other. An answer is sure above 90%. "
        "By source source | photos | right | says on average | sure and wrong || "
        "a | 5 | 60.0% | 76.8% | 1 || b | 3 | 66.7% | 73.7% | 0"
    )
    scores = dataclasses.replace(evaluation().scores, sources=12)
    over = said(page._scores(findings(evaluation=evaluation(scores=scores, sources=("a",) * 8))))
    assert "Intervals are of 12 sources drawn anew, since photos of one are alike." in over
    assert "By source" not in over  # there is one


def test_photos_that_were_learned_or_are_of_no_class_are_told_of(run: Run) -> None:
    learned = evaluation(learned_count=1234, unknown_count=1)
    shown = said(page._scores(findings(evaluation=learned, run=run)))
    assert shown.startswith(
        "The model was trained on 1,234 of these photos: this is no test. named"
    )
    assert " 1 other photo shows none of the classes: not scored. As training " in shown
    others = OtherPhotos(PROBABILITIES[:1], None, (Subject(),), (("", ""),))
    told = said(page._scores(findings(evaluation=dataclasses.replace(learned, others=others))))
    assert "of the classes: not scored; Doubt tells what is said of them." in told
    assert (
        "split | photos | right | among five | mean of classes | sure and wrong || validation | "
        "1,234 | 87.5% (50.0% to 99.5%) | | 87.5% (50.0% to 99.5%) | By source"
    ) in shown


def test_settings_are_those_of_the_run_or_what_the_model_says(run: Run) -> None:
    assert said(page._settings(findings())) == (
        "base MobileNet trained on 12 photos (train) data set beds classes 3"
    )
    assert said(page._settings(findings(run=run, temperature=0.5))) == (
        "base MobileNet trained on 12 photos (train) data set beds classes 3 temperature 0.5000 "
        "training took 1,234 s views 3 export yes"
    )
    nothing = said(page._settings(findings(evaluation=evaluation(provenance={}))))
    assert nothing == "trained on ? photos (?) classes 3"
    assert [page._value(one) for one in (False, (1, "b"), "a\nb")] == ["no", "1, b", "'a\\nb'"]


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """What the function of that name is asked to draw from now on; it is drawn, too."""
    drawn: list[Any] = []
    draw = getattr(page.chart, name)
    monkeypatch.setattr(page.chart, name, lambda asked: drawn.append(asked) or draw(asked))
    return drawn


RELIABILITY = (
    "On the dashed line it is right as often as it says. The size of a point is how many answers "
    "it stands for. says | photos | on average | right || 47% to 53% | 2 | 50.0% | 100.0% || "
    "60% to 67% | 1 | 60.0% | 0.0% || 67% to 73% | 1 | 71.0% | 0.0% || 80% to 87% | 1 | 85.0% | "
    "100.0% || 93% to 100% | 3 | 96.3% | 66.7%"
)


def test_reliability_is_told_before_and_after_the_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = recorded(monkeypatch, "draw_reliability")
    assert said(page._reliability(findings())) == RELIABILITY
    told = said(page._reliability(findings(temperature=0.5)))
    assert told == (
        "The logits were divided by 0.500, the temperature that was fitted on photos that were "
        f"chosen on. {RELIABILITY}"
    )
    (alone,), (before, after) = drawn
    assert alone == after
    assert after[0] == "As it answers: 41.9% off"
    np.testing.assert_allclose(after[1][0], (0.5, 1.0, 2))
    assert re.fullmatch(r"Before the temperature: \d\d\.\d% off", before[0])
    # Halved logits: of 0.5, 0.3 and 0.2 the roots count.
    np.testing.assert_allclose(before[1][0], (0.4154, 1.0, 2), atol=1e-4)
    assert sum(count for *_, count in before[1]) == 8


def test_doubt_has_what_is_said_of_each_kind_and_what_silence_would_gain() -> None:
    plain = said(page._doubt(findings()))
    assert plain == (
        "The model names whatever it is shown: nothing was fitted that tells when it does not "
        "know. keras-flowers doubt RUN fits it. photos | count | right name | wrong name | right "
        "perhaps | wrong perhaps | genus or family | refused || of its classes | 8 | 62.5% | "
        "37.5% | 0.0% | 0.0% | 0.0% | 0.0% No photos of other things were shown to it here: "
        "--data with photos labelled unknown tells how many of them get a name. If it answered "
        "only when confident The confidence is the probability of the first name. Each line is a "
        "threshold, and what it refuses. confidence from | known photos refused | right of the "
        "rest || 50.0% | 0.0% | 62.5% || 50.0% | 0.0% | 62.5% || 50.0% | 0.0% | 62.5% || 50.0% | "
        "0.0% | 62.5% || 50.0% | 12.5% | 57.1% || 60.0% | 25.0% | 50.0% || 60.0% | 25.0% | 50.0% "
        "|| 85.0% | 50.0% | 75.0%"
    )
    others = OtherPhotos(
        np.float32([[0.9, 0.05, 0.05], [0.4, 0.3, 0.3]]),
        np.float32([0.1, 0.9]),
        (Subject("other <plant>"),) * 2,
        (("", ""),) * 2,
    )
    known = np.full(8, 0.9, np.float32)
    doubting = evaluation(known=known, doubt=Doubt(Thresholds(0.4, 0.7, 0.9)), others=others)
    told = said(page._doubt(findings(evaluation=doubting)))
    assert told.startswith(
        "It says none of these below known = 0.400, gives a name alone from 70% on, and a genus or "
        "family from 90% on. photos | count | "
    )
    assert "refused || of its classes | 8 | 37.5% | 25.0% | 37.5% | 0.0% | 0.0% | 0.0% || " in told
    assert " || other <plant> | 2 | 0.0% | 0.0% | 0.0% | 50.0% | 0.0% | 50.0% If it" in told
    assert "The confidence is the probability of the first name, times known . Each" in told
    assert "right of the rest | other <plant>: refused || 45.0% | 0.0% | 62.5% | 100.0%" in told
    assert told.endswith("|| 76.5% | 50.0% | 75.0% | 100.0%")
    assert "No photos of other things" not in told


def test_curve_of_coverage_is_drawn_from_a_fifth_of_the_photos_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = recorded(monkeypatch, "draw_coverage")
    page._coverage(evaluation())
    assert min(coverage for coverage, *_ in drawn[0]) == 0.25  # two of eight
    assert drawn[0][0] == (1.0, 0.625, {})


def test_learning_curves_are_drawn_where_there_is_a_history() -> None:
    assert said(page._curves(findings())) == (
        "The run has no history.csv , so there is nothing to draw."
    )
    history = [{"epoch": 1.0, "loss": 1.0, "accuracy": 0.5}]
    assert said(page._curves(findings(history=history))) == (
        "It learned in a single step, so there is no curve to draw."
    )
    history.append({"epoch": 2.0, "loss": 0.5, "accuracy": 0.75})
    assert page._curves(findings(history=history)).startswith(
        '<img class="chart" src="data:image/svg+xml;base64,'
    )


def test_pairs_are_told_with_their_counts_and_photos() -> None:
    told = (
        "The pairs with the most mistakes. Left a photo of each that is named right, then those "
        "that were not. daisy and lotus 2 x daisy called lotus; 1 x lotus called daisy"
    )
    assert said(page._pairs(findings())) == told
    pictures = {row: f"data:{row}" for row in range(8) if row != 5}
    shown = page._pairs(findings(pictures=pictures))
    assert re.findall(r'src="data:(\d)" alt="([^"]*)"', shown) == [
        ("0", "daisy"),
        ("4", "lotus"),
        ("2", "daisy"),
        ("3", "daisy"),
    ]
    assert said(shown).startswith(
        f"{told} daisy named right lotus named right daisy called lotus, 94.0% cannot be read now "
        "lotus called daisy, 71.0% daisy called lotus, 60.0%"
    )
    one_way = ConfusedPair((0, 2), (3, 0), (), (-1, -1))
    shown = said(page._pairs(findings(pairs=[one_way], pictures={})))
    assert shown.endswith("daisy and rose <wild> 3 x daisy called rose <wild>")
    assert said(page._pairs(findings(pairs=[]))) == "No photo was given another name."


def test_mistakes_are_told_with_their_evidence_and_what_they_resemble() -> None:
    assert said(page._mistakes(findings())) == "There are none: every photo was named right."
    near = tuple(
        SimilarPhoto(0.987 - 0.2 * number, "lotus", f"{number}.jpg", f"d{number}")
        for number in range(2)
    )
    one = Mistake(
        2, "bed/2.jpg", "lotus", "daisy", 0.94, 0.05, ("data:a", "data:b", "data:c"), near
    )
    head = (
        "lotus, it says with 94.0%; labelled daisy, which it gives 5.0% bed/2.jpg "
        "the photo labelled daisy for and against lotus for and against daisy"
    )
    told = said(page._mistakes(findings(mistakes=[one])))
    assert told.endswith(
        "bed/2.jpg resembles these training photos: lotus (0.jpg) 0.99, lotus (1.jpg) 0.79"
    )
    assert "Red places speak for a name, blue ones against it." in told
    with_pictures = findings(mistakes=[one], pictures={}, training_pictures={"d1": "data:d"})
    shown = page._mistakes(with_pictures)
    assert said(shown).endswith(
        f"{head} resembles these training photos not at hand lotus similarity 0.99 0.jpg "
        "lotus similarity 0.79 1.jpg"
    )
    assert re.findall(r'src="data:(.)" alt="([^"]*)"', shown) == [
        ("a", "the photo labelled daisy"),
        ("b", "for and against lotus"),
        ("c", "for and against daisy"),
        ("d", "lotus"),
    ]
    alone = one._replace(pictures=(), nearest=())
    told = said(page._mistakes(findings(mistakes=[alone], why_no_nearest="they are gone")))
    assert "Without the training photos that they resemble: they are gone." in told
    assert told.endswith("which it gives 5.0% bed/2.jpg")


def test_classes_stand_by_how_often_they_are_recognised() -> None:
    assert said(page._classes(findings())).endswith(
        "class | photos | named right | right when named | says on average | sure and wrong | "
        "most often called || daisy | 4 | 50.0% | 66.7% | 74.8% | 1 | lotus (2) || lotus | 2 | "
        "50.0% | 33.3% | 78.0% | 0 | daisy (1) || rose <wild> | 2 | 100.0% | 100.0% | 75.0% | 0 |"
    )
    # A class whose name is never given has no share of right ones among them.
    never = np.float32([[0.9, 0.1, 0.0]] * 8)
    matrix = metrics.confusion_matrix(never, CLASSES, 3)
    told = evaluation(probabilities=never, confusion_matrix=matrix)
    assert "lotus | 2 | 0.0% | | 90.0% | 0 | daisy (2)" in said(
        page._classes(findings(evaluation=told))
    )


def tables_in(part: str) -> list[tuple[str, str]]:
    """The class of each table, and for each of its columns whether it holds numbers (1) or not."""
    found = re.findall(r"<table(?: class='(\w+)')?><thead><tr>(.*?)</tr></thead>", part)
    return [
        (kind, "".join("1" if "number" in head else "0" for head in re.findall("<th[^>]*>", heads)))
        for kind, heads in found
    ]


def test_tables_sort_where_they_are_long_and_align_their_numbers(run: Run) -> None:
    files = [ModelFile("a.tflite", 1, 1.0)]
    whole = findings(run=run, files=files)
    assert tables_in(page._scores(whole)) == [("", "011111"), ("sortable", "01111")]
    assert tables_in(page._reliability(whole)) == [("", "0111")]
    assert tables_in(page._doubt(whole)) == [("", "01111111"), ("", "111")]
    assert tables_in(page._classes(whole)) == [("sortable", "0111110")]
    assert tables_in(page._files(whole)) == [("sortable", "011")]
    assert tables_in(page._again(whole)) == [("", "00")]


def test_no_more_than_forty_sources_are_listed() -> None:
    one = evaluation().by_source[0]
    of_many = evaluation()
    of_many.__dict__["by_source"] = [one._replace(name=f"{n}") for n in range(41)]
    assert page._sources(findings(evaluation=of_many)).count("<tr>") == 1 + 40


def test_check_of_the_photos_shows_a_glance_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = [
        Section("tiny", "Tiny photos", 2, "", "small", "BODY"),
        Section("labels", "Labels that look wrong", 0, "", "", ""),
    ]
    monkeypatch.setattr(
        page, "sections_of", lambda check, most, **options: asked.append((most, options)) or found
    )
    checks: Any = [
        SimpleNamespace(
            name="beds", labels=("a",), is_readable=np.array([True, False]), doubts=doubts
        )
        for doubts in (None, object())
    ]
    shown = page._photos(findings(checks=checks, pictures={}))
    assert re.findall('<h3 id="([^"]*)">', shown) == ["tiny-1", "tiny-2"]
    assert said(shown).startswith(
        "beds: 1 photos of 1 class. Labels were not judged. Nothing found: labels that look wrong. "
        "keras-flowers data shows all of it, with a table to correct. Tiny photos: 2 small BODY"
    )
    assert shown.count("Labels were not judged.") == 1
    page._photos(findings(checks=checks[:1]))
    assert [options["with_photos"] for _, options in asked] == [True, True, False]
    glance = asked[0][0]
    assert glance == Most(wrong=12, strangers=6, tiny=6, groups=6, in_a_group=4, lines=20)
    assert all(few < many for few, many in zip(glance, MOST, strict=True))


def test_files_have_their_size_and_time() -> None:
    assert said(page._files(findings())) == "There are none beside it."
    files = [ModelFile("a.tflite", 1_250_000, 12.345), ModelFile("b", 40_000, 0.06)]
    told = said(page._files(findings(files=files)))
    assert told.endswith("file | MB | ms || a.tflite | 1.2 | 12.3 || b | 0.0 | 0.1")
    assert " of the machine that wrote this report (" in told


def test_what_repeats_it_is_two_commands_and_the_settings(run: Run) -> None:
    alone = said(page._again(findings()))
    assert alone.startswith("keras-flowers evaluate runs/mine --split validation fact | value || ")
    assert alone.endswith(
        "|| scored photos | beds, validation: 8 || their fingerprint | f00 || base (model) | "
        "MobileNet || dataset (model) | beds || seed (model) | 3"
    )
    whole = said(page._again(findings(run=run)))
    assert whole.startswith("keras-flowers train --config config.json --output again keras-flowers")
    assert '"views": 3' in whole and whole.endswith('"versions": { "keras": "3.15" } }')
    tested = said(page._again(findings(evaluation=evaluation(split="test"), model=Path("a b"))))
    assert tested.startswith("keras-flowers evaluate 'a b' fact")
    assert "--split" not in said(page._again(findings(is_own_data=True)))
    assert "fingerprint | not known" in said(
        page._again(findings(evaluation=evaluation(photos=None)))
    )


def test_head_of_the_page_says_what_was_scored_and_how() -> None:
    whole = page.as_html(findings())
    assert "<title>mine: report</title>" in whole
    names = "scores settings curves reliability doubt confused mistakes classes photos files again"
    for pattern in (r'href="#(\w+)">', r'aria-labelledby="(\w+)">\n<h2', r'<h2 id="(\w+)">'):
        assert re.findall(pattern, whole) == names.split()
    body = said(whole[whole.index("<header>") :])
    assert body.startswith(
        "mine: report beds, validation: 8 photos of 3 classes, each whole, squashed to 224 x 192 "
        "pixels. Scores Settings Learning curves What a stated probability is worth Doubt"
    )
    assert "The photos that it was made of are not here, so they were not looked at." in body


@pytest.mark.parametrize("name", ["report.pdf", "report", "folder.html"])
def test_page_that_cannot_be_called_so_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(UserError, match=r"cannot be written to .*; expected a file name like rep"):
        check_page_path(tmp_path / name)
    made = RunReport(findings(), "<p>")
    with pytest.raises(UserError, match="expected a file name like report.html"):
        made.save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html"]


def test_report_is_saved_and_shown(tmp_path: Path) -> None:
    made = RunReport(findings(), "<p class='x'>größer & \"kleiner\"</p>")
    for name in ("a.html", "b.HTM"):
        assert made.save(str(tmp_path / name)) == tmp_path / name
        assert (tmp_path / name).read_text(encoding="utf-8") == made.html
    assert repr(made) == "<RunReport of runs/mine: 62.5% of 8>"
    assert made._repr_html_() == (
        '<iframe srcdoc="&lt;p class=&#x27;x&#x27;&gt;größer &amp; &quot;kleiner&quot;&lt;/p&gt;" '
        'sandbox="allow-scripts" style="width: 100%; border: 0" height="720"></iframe>'
    )


def test_command_writes_it_beside_the_run_or_under_the_name_of_the_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        report, "report_run", lambda *a, **b: asked.append((a, b)) or RunReport(findings(), "x")
    )
    assert command.main([str(tmp_path)]) == 0
    assert asked == [
        (
            (tmp_path,),
            {
                "sources": [],
                "label_map": [],
                "split": None,
                "data_dir": None,
                "with_photos": True,
                "quick": False,
            },
        )
    ]
    said_of_it = capsys.readouterr().out
    assert said_of_it.startswith("8 photos\n  top-1               62.50%  (95 % interval 30.6%")
    assert said_of_it.endswith(f"\n\nreport: {tmp_path / 'report.html'}\n")
    (tmp_path / "model.keras").touch()
    options = ["--data", "in my/garden photos!.csv", "--no_photos", "--quick", "--split", "test"]
    command.main([str(tmp_path / "model.keras"), *options])
    assert (tmp_path / "report_garden_photos.html").exists()
    assert asked[1][1]["with_photos"] is False and asked[1][1]["quick"] is True
    assert asked[1][1]["sources"] == ["in my/garden photos!.csv"]
    assert asked[1][1]["split"] == "test"
    assert command._page_of(["!!"]) == "report_data.html"
    command.main([str(tmp_path), "--output", str(tmp_path / "x.htm")])
    assert (tmp_path / "x.htm").exists()
    with pytest.raises(UserError, match="expected a file name like report.html"):
        command.main([str(tmp_path), "--output", str(tmp_path)])
    assert len(asked) == 3  # refused before minutes are spent
