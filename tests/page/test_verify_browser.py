"""`verify` shows the photos to the page in a real browser, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from export_fixtures import Exported

from keras_flowers.export import artifacts, browser
from keras_flowers.export.formats import TFLITE_VARIANTS
from keras_flowers.export.verify import verify_model

PHOTOS = 12


@pytest.fixture(autouse=True)
def with_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    if browser.find_browser() is None:
        pytest.skip("Chromium or the extra [page-test], which drives it, is not installed")
    monkeypatch.setattr(artifacts, "has_browser", lambda: True)
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)


@pytest.mark.usefixtures("site")
def test_page_answers_as_our_predictor_does(exported: Exported) -> None:
    report = verify_model(exported.run, limit=PHOTOS)
    assert report.broken == []
    rows = {row.name: row for row in report.rows if row.name.startswith("browser ")}
    assert list(rows) == [f"browser {variant}" for variant in TFLITE_VARIANTS]
    for variant, row in zip(TFLITE_VARIANTS, rows.values(), strict=True):
        assert row.reference == f"TFLite {variant}"
        assert row.same_pixels.photos == row.own_reading.photos == PHOTOS
        assert row.own_reading.differing == 0
        assert row.milliseconds > 0
    assert rows["browser float32"].same_pixels.largest < 1e-4
    assert rows["browser float32"].bounds.largest == 1e-3
    assert any(note.startswith("browser: what keras-flowers page serves") for note in report.notes)


@pytest.mark.usefixtures("site")
def test_page_that_reads_photos_otherwise_is_found(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchanged(function: Any) -> Any:
        return lambda photos: function(photos)[:, ::-1]

    load = artifacts._in_browser

    def spoiled(path: Path, name: str, limits: Any, model: Any, order: Any) -> Any:
        exchanged_model = model._replace(classify_files=exchanged(model.classify_files))
        return load(path, name, limits, exchanged_model, order)

    monkeypatch.setattr(artifacts, "_in_browser", spoiled)
    report = verify_model(exported.run, limit=PHOTOS)
    assert [sentence.split(" names ")[0] for sentence in report.broken] == [
        f"browser {variant}" for variant in TFLITE_VARIANTS
    ]
