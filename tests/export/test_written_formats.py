"""Which files an export writes, where to, from what, and what it says of each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="exporting needs the extra [train]")

from keras_flowers.export import export
from keras_flowers.export.export import AccuracyChange
from keras_flowers.inference import classifier as classifiers
from keras_flowers.training import data
from keras_flowers.training.run_directory import Run


@dataclasses.dataclass(frozen=True)
class Format:
    """Writes what it is given into its file."""

    name: str
    given: list[Any]

    def path(self, run: Run) -> Path:
        return run.folder / f"{self.name}.bin"

    def write(self, model: Any, run: Run, path: Path, data_dir: str | None) -> None:
        self.given.append((model, run, path, data_dir))
        path.write_bytes(bytes(1_250_000))


def test_every_format_gets_the_model_its_photos_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[Any] = []
    asked: list[Any] = []
    formats = [Format("a", given), Format("b", given)]
    monkeypatch.setattr(export, "formats_named", lambda names: asked.append(names) or formats)
    monkeypatch.setattr(Run, "load_model", lambda run: f"model of {run.folder.name}")
    run = Run.at(tmp_path / "run")
    run.folder.mkdir()
    with caplog.at_level("INFO"):
        written = export.export_model(run, ["b", "a"], data_dir="D")
    assert asked == [["b", "a"]]
    paths = [run.folder / f"{name}.bin" for name in "ab"]
    assert written == dict(zip("ab", paths, strict=True))
    assert given == [("model of run", run, path, "D") for path in paths]
    assert caplog.messages == [f"   1.2 MB  {path}" for path in paths]

    # Of other photos, and elsewhere: the model and its name stay those of the run.
    given.clear()
    (tmp_path / "out").mkdir()
    export.export_model(run, output=tmp_path / "out", sources=["s"], label_map=["l"])
    assert asked[1] is None
    named = dataclasses.replace(run, sources=("s",), label_map=("l",))
    assert given == [("model of run", named, tmp_path / "out" / f"{n}.bin", None) for n in "ab"]


def test_run_may_be_called_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(export, "formats_named", lambda names: [])
    monkeypatch.setattr(Run, "open", lambda path: opened.append(path) or Run.at(path))
    monkeypatch.setattr(Run, "load_model", lambda run: None)
    assert export.export_model(str(tmp_path)) == {}
    assert opened == [tmp_path]


def test_change_of_accuracy_is_counted_on_the_photos_to_choose_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    photos = SimpleNamespace(dataset="beds", split="validation")
    classes = np.array([0, 1, 1])

    def load(path: Path, workers: int) -> Any:
        # The file names one photo less than the Keras model.
        named = [0, 1, 0] if path.name == "a.tflite" else [0, 1, 1]
        return SimpleNamespace(
            image_size=(8, 6), probabilities=lambda pixels: np.eye(2, dtype=np.float32)[named]
        )

    def pixels(of: Any, size: tuple[int, int]) -> Any:
        asked.append((of, size))
        return SimpleNamespace(as_numpy_iterator=lambda: [(np.zeros((3, 8, 6, 3)), classes)])

    monkeypatch.setattr(classifiers, "load_classifier", load)
    monkeypatch.setattr(data, "pixels", pixels)
    splits: list[Any] = []
    monkeypatch.setattr(Run, "photos", lambda run, *given: splits.append(given) or photos)
    for settings in ({}, {"validation_split": "test[:9]"}):
        monkeypatch.setattr(Run, "settings", settings)
        found = export.measure_accuracy_change(Run.at(tmp_path), Path("a.tflite"), data_dir="D")
        assert found == AccuracyChange("beds, split validation", 3, 2, 3)
    assert splits == [("validation", "D"), ("test[:9]", "D")]
    assert asked == [(photos, (8, 6))] * 4
    assert str(found) == (
        "66.67% accuracy on the 3 photos of beds, split validation; the Keras model: 100.00%, "
        "a change of -33.33 points"
    )
