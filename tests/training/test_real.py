"""The main job on the real photographs and weights; skipped where they are not at hand."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.inference.classifier import load_classifier
from keras_flowers.system import available_cores
from keras_flowers.training import data, train
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.evaluate import predict_dataset
from keras_flowers.training.train import TrainResult
from keras_flowers.training.views import View
from tools import draw_how_it_works
from tools.quotes import from_json

ROOT = Path(__file__).parents[2]
SUNFLOWER = ROOT / "docs" / "sunflower.jpg"
SHIPPED = ROOT / "saved_models" / "flowers102"


needs_data = pytest.mark.skipif(
    not {"TFDS_DATA_DIR", "KERAS_HOME"} <= os.environ.keys(),
    reason="oxford_flowers102 and ImageNet weights are not at hand; set TFDS_DATA_DIR, KERAS_HOME",
)


@pytest.fixture(scope="module")
def default_training(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("default")
    # A few test photos, since nothing may be learned from how well the others are named.
    config = TrainConfig(
        test_split="test[:10]", output=str(folder / "run"), cache_dir=str(folder / "cache")
    )
    return train.train_model(config)


@needs_data
def test_default_training_names_real_flowers(default_training: TrainResult) -> None:
    scores = default_training.scores
    assert scores["validation"].photos == 1020
    assert scores["validation"].top1.value > 0.925
    assert scores["validation"].top5.value > 0.975
    assert scores["validation"].calibration_error < 0.03
    classifier = load_classifier(default_training.run.folder)
    assert classifier.predict(SUNFLOWER).name == "sunflower"


@needs_data
def test_how_it_works_explains_the_default_training(
    default_training: TrainResult, tmp_path: Path
) -> None:
    # Another processor computes a little differently, and learns from it.
    told = draw_how_it_works.explain(SUNFLOWER, default_training.run.folder, "sunflower", tmp_path)
    kept = from_json(json.loads((ROOT / "docs" / "how_it_works.json").read_text("utf-8")))
    assert [one.template for one in told] == [one.template for one in kept]
    assert len(told) >= 30
    for now, page in zip(told, kept, strict=True):
        if "test photos" not in now.template:  # of them there are few here
            assert _numbers(now.values) == pytest.approx(_numbers(page.values), rel=0.03, abs=0.03)
    for picture in tmp_path.iterdir():
        assert (ROOT / "docs" / picture.name).is_file()
    assert len(list(tmp_path.iterdir())) == 6


def _numbers(values: Sequence[str]) -> list[float]:
    return [float(one.replace(",", "")) for one in values if re.match(r"-?\d", one)]


@needs_data
def test_int8_that_ships_answers_as_float16_does() -> None:
    # Blended photos, about which it is unsure: the photos themselves it has learned. The more it
    # knows of other flowers, the less sure it is of a blend: 97.6 % are named alike.
    photos = data.load_photos("oxford_flowers102", "validation[:50%]")
    answers = []
    for variant in ("float16", "int8"):
        classifier = load_classifier(
            SHIPPED / f"flowers102_{variant}.tflite", workers=available_cores()
        )
        batches = data.pixels(photos, classifier.image_size, view=View.random(0), mixup=True)
        probabilities, _ = predict_dataset(classifier.probabilities, batches.as_numpy_iterator())
        answers.append(probabilities.argmax(axis=1))
    assert (answers[0] == answers[1]).mean() > 0.97
