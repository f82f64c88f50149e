"""`keras-flowers train`: which settings reach the library, and what is printed of its result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keras_flowers.commands import train
from keras_flowers.errors import UserError
from keras_flowers.training import metrics
from keras_flowers.training.config import ResolvedConfig, TrainConfig
from keras_flowers.training.report import report
from keras_flowers.training.report.report import RunReport
from keras_flowers.training.result import TrainResult
from keras_flowers.training.run_directory import Run

SCORES = metrics.score(np.eye(2, dtype=np.float32), np.array([0, 1]))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The configs that the library was called with; it trains nothing."""
    configs: list[TrainConfig] = []

    def train_model(config: TrainConfig) -> TrainResult:
        configs.append(config)
        learned = {"split": config.train_split, "photos": 20}
        resolved = ResolvedConfig(config, image_size=224, epochs=5)
        return TrainResult(
            Run.at(config.run_dir), resolved, learned, {"test": SCORES}, 0.5, None, 61.4
        )

    monkeypatch.setattr(train, "train_model", train_model)
    return configs


def test_result_and_the_next_command_are_printed(
    trained: list[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--seed", "3", "--output", "mine"]) == 0
    assert trained == [TrainConfig(seed=3, output="mine")]
    assert capsys.readouterr().out.splitlines() == [
        "",
        "MobileNetV2, trained on 20 photos (train) in 61 s",
        "",
        "test: 2 photos",
        *str(SCORES).splitlines(),
        "",
        "written to mine/; tensorboard --logdir mine/logs shows the training",
        "next: keras-flowers predict PHOTO --model mine",
    ]


def test_list_of_what_was_left_out_is_named(
    trained: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "left_out.csv").touch()
    assert train.main(["--output", str(tmp_path)]) == 0
    said = f"photos that were left out, and why: {tmp_path / 'left_out.csv'}\n"
    assert said in capsys.readouterr().out


def test_report_is_written_of_the_finished_run(
    trained: list[TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def report_run(model: Path, **options: object) -> RunReport:
        assert len(trained) == 1  # first it is trained
        assert options == {"data_dir": "photos"}
        return RunReport(findings=None, html=f"<h1>{model}</h1>")  # type: ignore[arg-type]

    monkeypatch.setattr(report, "report_run", report_run)
    assert train.main(["--report", "--data_dir", "photos", "--output", str(tmp_path)]) == 0
    path = tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == f"<h1>{tmp_path}</h1>"
    assert f"report: {path}\nnext: " in capsys.readouterr().out


def test_bad_option_is_refused_before_anything_is_done(trained: list[TrainConfig]) -> None:
    with pytest.raises(UserError, match="--views: expected 1 to 100, got 0"):
        train.main(["--views", "0"])
    assert trained == []


def test_finished_run_of_the_same_settings_is_known_by_its_settings_and_its_temperature(
    tmp_path: Path,
) -> None:
    run = Run.at(tmp_path)
    config = TrainConfig(output=str(tmp_path))
    run.config_path.write_text(json.dumps({"settings": ResolvedConfig(config, 224, 5).settings()}))
    assert not train._is_trained(config, run, demo=False)
    run.metrics_path.write_text('{"scores": {}, "temperature": 0.5}')
    run = Run.at(tmp_path)
    for same in ({}, {"image_size": 224}, {"epochs": 5}, {"export": True}):
        changed = TrainConfig(output=str(tmp_path), **same)
        assert train._is_trained(changed, run, demo=False), same
    for other in ({"seed": 1}, {"epochs": 6}, {"overwrite": True}, {"base": "MobileNet"}):
        changed = TrainConfig(output=str(tmp_path), **other)
        assert not train._is_trained(changed, run, demo=False), other


def test_all_bases_are_in_the_help_in_lines_that_fit_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    listed = text[text.index("\nbases:\n") : text.index("\nexamples:\n")]
    assert len(listed.split()) == 33
    assert max(map(len, listed.splitlines())) <= 80
    assert "  MobileNetV2 " in listed
