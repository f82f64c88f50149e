"""What a run folder holds, and the way from a model back to its photos."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.metadata import Metadata, add_to_archive
from keras_flowers.training.run_directory import Run, size_of

PROVENANCE = {"dataset": "a_set/a_config/1.2.3", "trained_on": {"split": "train", "photos": 2}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose model no Keras can load: only what lies beside the weights is read here."""
    path = tmp_path / "tulips"
    (path / "saved_model" / "1").mkdir(parents=True)
    with zipfile.ZipFile(path / "model.keras", "w"):
        pass
    add_to_archive(path / "model.keras", Metadata(("poppy", "rose"), (32, 32), PROVENANCE))
    settings = {"data_dir": "/their/data", "cache_dir": "/their/cache", "overwrite": True}
    (path / "config.json").write_text(json.dumps({"settings": settings}))
    (path / "tulips_int8.tflite").touch()
    return path


def test_run_knows_its_name_its_files_and_whether_it_is_finished(folder: Path) -> None:
    run = Run.open(folder)
    assert run == Run.open(folder / "model.keras") == Run.at(folder)
    assert run.name == "tulips"
    assert run.tflite_files() == [run.tflite_path("int8")]
    assert run.saved_model == folder / "saved_model" / "1"
    assert not run.is_finished
    run.refuse_finished()
    run.metrics_path.write_text('{"scores": {"test": {}}}')
    assert run.is_finished
    assert run.metrics["scores"] == {"test": {}}
    with pytest.raises(UserError, match=f"keras-flowers evaluate {folder}"):
        run.refuse_finished()


def test_settings_and_metadata_are_read_once(folder: Path) -> None:
    run = Run.open(folder)
    assert run.settings == {"data_dir": "/their/data", "cache_dir": "/their/cache"}
    assert run.metadata.labels == ("poppy", "rose")
    for path in (run.config_path, run.model_path):
        path.unlink()
    assert run.settings["data_dir"] == "/their/data"
    assert run.metadata.image_size == (32, 32)


def test_model_outside_of_a_run_is_called_as_its_file_and_has_no_settings(folder: Path) -> None:
    (folder / "model.keras").rename(folder / "mine.keras")
    run = Run.open(folder / "mine.keras")
    assert (run.name, run.settings, run.metadata.labels) == ("mine", {}, ("poppy", "rose"))


def test_run_around_a_model_file_is_found(folder: Path, tmp_path: Path) -> None:
    for name in ("", "model.keras", "tulips_int8.tflite", "saved_model", "saved_model/1"):
        assert Run.around(folder / name) == Run.at(folder)
    (folder / "other").mkdir()
    for path in (tmp_path, tmp_path / "x.tflite", folder / "other", folder / "mine.keras"):
        assert Run.around(path) is None


@pytest.mark.parametrize("name", ["nothing", "nothing.keras", "empty"])
def test_no_model_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="expected a .keras model or the folder of a finished run"):
        Run.open(tmp_path / name)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scores": 3}'])
def test_damaged_scores_are_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match="metrics.json"):
        assert Run.at(tmp_path).metrics


def test_photos_are_those_of_the_version_and_folder_of_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [train]")
    from keras_flowers.training import data

    asked: list[tuple[Any, ...]] = []

    def load_photos(*arguments: Any) -> Any:
        asked.append(arguments)
        return type("Photos", (), {"labels": ("poppy", "rose"), "dataset": "a_set"})

    monkeypatch.setattr(data, "load_photos", load_photos)
    run = Run.open(folder)
    run.photos("test[:2]")
    run.photos("train", "/elsewhere")
    cache = Path("/their/cache")
    assert asked == [
        ("a_set/a_config:1.2.3", "test[:2]", "/their/data", cache),
        ("a_set/a_config:1.2.3", "train", "/elsewhere", cache),
    ]


def test_size_is_that_of_a_file_or_of_all_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(bytes(7))
    (tmp_path / "a" / "b" / "y").write_bytes(bytes(5))
    assert size_of(tmp_path / "a" / "x") == 7
    assert size_of(tmp_path) == 12
    assert size_of(tmp_path / "none") == 0
