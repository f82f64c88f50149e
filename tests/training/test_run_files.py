"""What a finished training writes, to the last fact; nothing is trained."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="training needs the extra [train]")

import keras_flowers
from keras_flowers.inference.doubt import Doubt, Thresholds
from keras_flowers.inference.metadata import read_metadata
from keras_flowers.training import history, metrics, run_files
from keras_flowers.training.config import ResolvedConfig, TrainConfig
from keras_flowers.training.result import Splits, TrainResult
from keras_flowers.training.run_directory import Run
from keras_flowers.training.sources.left_out import LeftOut

SCORES = metrics.score(np.eye(2, dtype=np.float32), np.array([0, 1]))
LEARNED = {"split": "train", "photos": 20}
DOUBT = Doubt(Thresholds(0.1, 0.7, 0.9), fitted={"kept": 0.9})


def photos(*left_out: str, division: str | None = None) -> Any:
    return SimpleNamespace(
        labels=("rose", "größe"),
        dataset="beds",
        left_out=[LeftOut("beds", "rose", name, "it is empty") for name in left_out],
        division=None if division is None else lambda: division,
    )


def write(
    folder: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> TrainResult:
    """Writes a run, whose history and model are stand-ins; the epochs that were to be drawn."""
    doubt = changes.pop("doubt", None)
    asked = TrainConfig(output=str(folder), seed=3, **changes)
    result = TrainResult(
        Run.at(folder),
        ResolvedConfig(asked, image_size=96, epochs=7),
        LEARNED,
        {"validation": SCORES, "test": SCORES},
        0.25,
        doubt,
        61.44,
    )
    monkeypatch.setattr(
        history, "write_history", lambda run, rows: run.history_path.write_text(str(rows))
    )
    model: Any = SimpleNamespace(save=lambda path: zipfile.ZipFile(path, "w").close())
    run_files.write_run(result, model, splits, [{"epoch": 1.0}])
    return result


def test_everything_is_written_that_is_known_of_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    result = write(
        folder,
        Splits(photos(), None, photos(), None, None),
        monkeypatch,
        base="MobileNet_0.25",
        fine_tune="all",
        teacher=("runs/one", "two"),
        start_from="runs/old",
        doubt=DOUBT,
    )
    scores = {"validation": SCORES.as_dict(), "test": SCORES.as_dict()}
    assert json.loads((folder / "metrics.json").read_text()) == {
        "trained_on": LEARNED,
        "scores": scores,
        "temperature": 0.25,
        "doubt": DOUBT.as_dict(),
        "seconds": 61.4,
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"] == json.loads(json.dumps(result.config.settings()))
    assert config["versions"]["keras_flowers"] == keras_flowers.__version__
    assert config["versions"]["python"].count(".") == 2
    metadata = read_metadata(folder / "model.keras")
    assert (metadata.labels, metadata.image_size) == (("rose", "größe"), (96, 96))
    assert metadata.doubt == DOUBT
    assert metadata.provenance == {
        "package": f"keras_flowers {keras_flowers.__version__}",
        "base": "MobileNet_0.25",
        # Not where they lay on the machine that trained.
        "start_from": "old",
        "fine_tune": "all",
        "teacher": ["one", "two"],
        "dataset": "beds",
        "trained_on": LEARNED,
        "scores": scores,
        "seed": 3,
        "date": metadata.provenance["date"],
    }
    date = datetime.date.fromisoformat(metadata.provenance["date"])
    assert abs((datetime.date.today() - date).days) <= 1
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "rose\ngröße\n"
    assert (folder / "history.csv").read_text() == "[{'epoch': 1.0}]"
    assert not (folder / "split.csv").exists() and not (folder / "left_out.csv").exists()


def test_what_is_not_known_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine", Splits(photos(), None, photos(), None, None), monkeypatch)
    facts = read_metadata(tmp_path / "mine" / "model.keras").provenance
    assert (facts["start_from"], facts["fine_tune"], facts["teacher"]) == (None, None, [])
    assert json.loads((tmp_path / "mine" / "metrics.json").read_text())["doubt"] is None


def test_photos_that_were_left_out_are_listed_once_and_old_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    train = photos("a.jpg", "b.jpg", division="the division\n")
    splits = Splits(train, photos("b.jpg"), photos("c.jpg", "a.jpg"), None, photos("d.jpg"))
    write(folder, splits, monkeypatch)
    (folder / "checkpoints").mkdir()
    (folder / "learning_curves.png").touch()
    rows = (folder / "left_out.csv").read_text().splitlines()
    assert rows[0] == "source,class,photo,reason"
    assert [row.split(",")[2] for row in rows[1:]] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert (folder / "split.csv").read_text() == "the division\n"
    # A run that replaces it, on photos that bring their splits, of which all can be read.
    write(folder, Splits(photos(), None, photos(), None, None), monkeypatch)
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == {
        "config.json",
        "history.csv",
        "labels.txt",
        "metrics.json",
        "model.keras",
    }
