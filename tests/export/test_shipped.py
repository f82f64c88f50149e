"""The model that comes with the package: whole, what it says it is, and right about a sunflower."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_flowers import load_classifier
from keras_flowers.commands import predict
from keras_flowers.inference.classifier import default_model
from keras_flowers.inference.flowers import FLOWER_NAMES
from keras_flowers.inference.labels import read_labels
from keras_flowers.inference.metadata import read_metadata

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "saved_models" / "flowers102"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A sunflower under a name that gives nothing away."""
    return Path(shutil.copy(ROOT / "docs" / "sunflower.jpg", tmp_path / "photo.jpg"))


def test_sunflower_is_named_without_a_word_about_the_model(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    assert predict.main(["photo.jpg"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("photo.jpg: sunflower (Helianthus annuus)\n")
    assert output.err == ""
    assert (photo.parent / "photo_flower.png").stat().st_size > 10_000


@pytest.mark.parametrize("variant", ["float16", "int8"])
def test_each_file_is_sure_of_the_sunflower(photo: Path, variant: str) -> None:
    prediction = load_classifier(SHIPPED / f"flowers102_{variant}.tflite").predict(photo)
    assert prediction.name == "sunflower"
    assert prediction.probability > 0.9


@pytest.mark.parametrize("variant", ["float16", "int8"])
def test_what_is_no_flower_gets_no_name(variant: str) -> None:
    classifier = load_classifier(SHIPPED / f"flowers102_{variant}.tflite")
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8)
    chart = np.full((320, 320, 3), 255, np.uint8)
    for bar, height in enumerate((250, 120, 60, 30)):
        chart[300 - height : 300, 40 + 60 * bar : 80 + 60 * bar] = (40, 90, 160)
    for picture in (noise, chart, np.full((320, 320, 3), 128, np.uint8)):
        prediction = classifier.predict(Image.fromarray(picture))
        assert str(prediction.answer).startswith("none of the 102 flowers"), prediction


def test_files_are_small_and_know_where_they_come_from() -> None:
    scores = json.loads((SHIPPED / "metrics.json").read_text())
    assert scores["trained_on"] == {"split": "train+validation", "photos": 3259}
    assert scores["scores"]["test"]["photos"] == 1020
    assert scores["scores"]["test"]["top1"]["value"] >= 0.965
    assert scores["scores"]["test"]["top5"]["value"] >= 0.99
    assert scores["scores"]["test"]["expected_calibration_error"] <= 0.03
    assert read_labels(SHIPPED / "labels.txt") == FLOWER_NAMES
    for variant, most in (("float16", 5_000_000), ("int8", 3_000_000)):
        path = SHIPPED / f"flowers102_{variant}.tflite"
        assert path.stat().st_size <= most
        metadata = read_metadata(path)
        assert metadata.labels == FLOWER_NAMES
        assert metadata.provenance["trained_on"] == scores["trained_on"]
        assert metadata.provenance["scores"] == scores["scores"]


def test_model_is_found_beside_the_package() -> None:
    assert default_model().is_file()
    assert load_classifier().labels == FLOWER_NAMES
