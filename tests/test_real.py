"""The main job on the real photographs and weights; skipped where they are not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers import train
from keras_flowers.classifier import load_classifier
from keras_flowers.config import TrainConfig

SUNFLOWER = Path(__file__).parents[1] / "docs" / "sunflower.jpg"


@pytest.mark.skipif(
    not {"TFDS_DATA_DIR", "KERAS_HOME"} <= os.environ.keys(),
    reason="oxford_flowers102 and ImageNet weights are not at hand; set TFDS_DATA_DIR, KERAS_HOME",
)
def test_default_training_names_real_flowers(tmp_path: Path) -> None:
    # A few test photos, since nothing may be learned from how well the others are named.
    config = TrainConfig(
        test_split="test[:10]", output=str(tmp_path / "run"), cache_dir=str(tmp_path / "cache")
    )
    scores = train.train_and_evaluate(config)
    assert scores["validation"].photos == 1020
    assert scores["validation"].top1.value > 0.925
    assert scores["validation"].top5.value > 0.975
    assert scores["validation"].calibration_error < 0.03
    assert load_classifier(config.run_dir).predict(SUNFLOWER).name == "sunflower"
