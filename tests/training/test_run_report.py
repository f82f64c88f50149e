"""The report of a run: everything is in it, it loads nothing, and without photos it shows none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets", reason="a report needs the extra [train]")

from keras_flowers.__main__ import main
from keras_flowers.errors import UserError
from keras_flowers.training import metrics
from keras_flowers.training.report.report import RunReport, report_run

if TYPE_CHECKING:
    from export_fixtures import Exported
    from playwright.sync_api import Browser

SECTIONS = (
    "scores",
    "settings",
    "curves",
    "reliability",
    "doubt",
    "confused",
    "mistakes",
    "classes",
    "photos",
    "files",
    "again",
)
OTHERS = 5  # photos that show nothing
SWAPPED = 4  # photos of the first class under the name of the second, and the other way round


@pytest.fixture(scope="module")
def folder(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's test photos as a folder for each class, some in the wrong one, and one twice."""
    from keras_flowers.inference.metadata import read_metadata

    labels = read_metadata(exported.run / "model.keras").labels
    place = tmp_path_factory.mktemp("report") / "holiday"
    seen = dict.fromkeys(labels, 0)
    for data, number in zip(exported.photos, exported.classes, strict=True):
        name = labels[int(number)]
        seen[name] += 1
        if number < 2 and seen[name] <= SWAPPED:
            name = labels[1 - int(number)]
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / f"{len(list((place / name).iterdir())):03}.jpg").write_bytes(data)
    first = place / labels[4]
    shutil.copy(next(first.iterdir()), first / "twice.jpg")
    (place / "unknown").mkdir()
    for number in range(OTHERS):
        noise = np.random.default_rng(number).integers(0, 256, (70, 90, 3), np.uint8)
        Image.fromarray(noise).save(place / "unknown" / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def report(exported: Exported, folder: Path) -> RunReport:
    """How the run's model does on that folder."""
    return report_run(exported.run, sources=[str(folder)], quick=True)


def test_report_loads_nothing_and_has_all_sections(report: RunReport) -> None:
    page = report.html
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|iframe|object|embed|base)\b|url\(|@import", page)
    for address in re.findall(r"""(?:src|href)=["']([^"']*)""", page):
        assert address.startswith(("data:image/", "#")), address[:40]
    for name in SECTIONS:
        assert f'id="{name}"' in page
        assert f'href="#{name}"' in page


def test_mislabelled_photos_are_the_most_confident_mistakes(report: RunReport) -> None:
    findings = report.findings
    labels = findings.evaluation.labels
    swapped = {(labels[0], labels[1]), (labels[1], labels[0])}
    mistakes = findings.mistakes
    assert len(mistakes) >= SWAPPED
    assert [one.probability for one in mistakes] == sorted(
        (one.probability for one in mistakes), reverse=True
    )
    assert sum((one.given, one.right) in swapped for one in mistakes) >= SWAPPED
    counts = {pair.classes: sum(pair.counts) for pair in findings.pairs}
    assert counts[0, 1] >= SWAPPED
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    for one in mistakes:
        # What it is called by mistake is what the training photos like it are.
        assert len(one.pictures) == 3
        assert len(one.nearest) == 3
        assert one.name in report.html
        assert all(photo.digest in findings.training_pictures for photo in one.nearest)
    assert sum(one.nearest[0].name == one.given for one in mistakes) >= SWAPPED


def test_what_thresholds_refuse_is_told_of_known_and_unknown_photos(report: RunReport) -> None:
    evaluation = report.findings.evaluation
    known, others = evaluation.answers
    assert (known.photos, others.photos) == (evaluation.scores.photos, OTHERS)
    text = report.html[report.html.index('id="doubt"') : report.html.index('id="confused"')]
    assert f"<td>{others.kind}</td>" in text
    assert f'<th scope="col" class="number">{others.kind}: refused</th>' in text
    half = evaluation.coverage[50]
    refused = (f"{half.least:.1%}", f"{1 - half.coverage:.1%}", f"{half.accuracy:.1%}")
    for one in (*refused, f"{1 - half.others[others.kind]:.1%}"):
        assert f'<td class="number">{one}</td>' in text


def test_what_is_said_of_the_photos_is_what_the_data_check_finds(report: RunReport) -> None:
    (check,) = report.findings.checks
    assert sum(len(one.rows) - 1 for one in check.duplicates) >= 1
    assert "The same photo several times in a class" in report.html
    assert "Labels were not judged." in report.html


def test_every_file_of_the_model_is_measured(report: RunReport, exported: Exported) -> None:
    files = {one.name: one for one in report.findings.files}
    assert {path.name for path in exported.run.glob("*.tflite")} < set(files)
    assert {"model.keras", "saved_model/1"} < set(files)
    assert "base.keras" not in files  # what it was built upon names nothing
    for name, one in files.items():
        if name.endswith((".tflite", ".keras")):
            assert one.size == (exported.run / name).stat().st_size
        assert 0 < one.milliseconds < 10_000
        assert name in report.html


def test_answers_before_the_temperature_are_those_of_the_undivided_logits(
    report: RunReport,
) -> None:
    import dataclasses

    logits = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    evaluation = dataclasses.replace(
        report.findings.evaluation, probabilities=metrics.softmax(logits / 0.4)
    )
    findings = dataclasses.replace(report.findings, evaluation=evaluation, temperature=0.4)
    assert findings.uncalibrated is not None
    np.testing.assert_allclose(findings.uncalibrated, metrics.softmax(logits), atol=1e-5)
    assert dataclasses.replace(findings, temperature=None).uncalibrated is None


def test_notebook_shows_the_page_in_a_frame_of_its_own(report: RunReport) -> None:
    shown = report._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert shown.count("<") == 2  # the page is inside as text
    assert "% of " in repr(report)


def test_command_writes_the_page_without_photos(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "told.html"
    command = ["report", str(exported.run), "--no_photos", "--quick", "--output", str(path)]
    assert main(command) == 0
    assert f"report: {path}" in capsys.readouterr().out
    page = path.read_text(encoding="utf-8")
    # Charts are drawn in lines; a photo is a JPEG.
    assert {address[:18] for address in re.findall(r'src="([^"]*)', page)} <= {"data:image/svg+xml"}
    assert "image/jpeg" not in page
    for name in SECTIONS:
        assert f'id="{name}"' in page


@pytest.mark.parametrize("name", ["report.pdf", "."])
def test_bad_place_is_refused_before_anything_is_done(
    exported: Exported, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match="expected a file name like report.html"):
        main(["report", str(exported.run), "--output", str(tmp_path / name)])


def test_tables_sort_in_a_browser_that_asks_nobody(
    report: RunReport, tmp_path: Path, browser: Browser
) -> None:
    path = report.save(tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 800, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(path.as_uri())
    shown = page.evaluate("[...document.images].map(one => one.complete && one.naturalWidth > 0)")
    assert len(shown) > 10
    assert all(shown)
    assert asked.count("file") == 1
    assert set(asked) <= {"file", "data"}
    head = "#classes ~ .wide th"
    cells = "#classes ~ .wide tbody tr td:first-child"
    page.locator(head).first.get_by_role("button").click()
    names = page.locator(cells).all_inner_texts()
    assert names == sorted(names)
    page.locator(head).first.get_by_role("button").click()
    assert page.locator(cells).all_inner_texts() == names[::-1]
    photos = page.locator("#classes ~ .wide tbody tr td:nth-child(2)")
    page.locator(head).nth(1).get_by_role("button").click()
    counts = [int(text) for text in photos.all_inner_texts()]
    assert counts == sorted(counts)
    assert errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
