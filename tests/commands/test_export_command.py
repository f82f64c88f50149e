"""`keras-flowers export`: what it writes, where, and what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets", reason="exporting needs the extra [train]")

import export_fixtures
from export_fixtures import Exported

from keras_flowers.commands import export
from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.export import export as export_module
from keras_flowers.export import photos as photos_module
from keras_flowers.export import verify
from keras_flowers.export.formats import FORMAT_NAMES, FORMATS
from keras_flowers.export.photos import VerificationPhotos
from keras_flowers.export.report import Report
from keras_flowers.training.run_directory import Run


@pytest.fixture
def lone_model(exported: Exported, tmp_path: Path) -> Path:
    """The Keras model alone, in a folder that is no run."""
    return Path(shutil.copy(exported.run / "model.keras", tmp_path / "lone.keras"))


@pytest.fixture
def bare(exported: Exported, tmp_path: Path) -> Path:
    """A run from which nothing was exported."""
    run = tmp_path / "bare"
    run.mkdir()
    for name in ("model.keras", "config.json"):
        shutil.copy(exported.run / name, run)
    return run


def test_help_explains_each_format_and_option() -> None:
    text = export.parser().format_help()
    for name in FORMAT_NAMES:
        assert f"\n  {name:<12} " in text
    for option in ("--formats FORMAT", "--output FOLDER", "--data_dir FOLDER", "--verify"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 100


def test_formats_are_written_beside_the_model_or_where_told(
    lone_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main([str(lone_model), "--formats", "float32"]) == 0
    path = tmp_path / "lone_float32.tflite"
    size = path.stat().st_size / 1e6
    assert capsys.readouterr().out == f"{size:6.1f} MB  {path}\n"
    there = tmp_path / "there"
    assert export.main([str(lone_model), "--formats", "float16", "--output", str(there)]) == 0
    assert [one.name for one in there.iterdir()] == ["lone_float16.tflite"]


def test_int8_says_its_accuracy(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(bare), "--formats", "int8"]) == 0
    written, accuracy = capsys.readouterr().out.splitlines()
    assert written.endswith(f"MB  {bare / 'bare_int8.tflite'}")
    assert accuracy.startswith("int8: ")
    assert "% accuracy on the 80 photos of drawn_flowers/1.0.0, split validation" in accuracy


def test_verify_ends_with_the_report_and_its_verdict(
    exported: Exported,
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def copied(model: object, run: Run, path: Path, data_dir: str | None) -> None:
        del model, run, data_dir
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2_100_000)

    shown: list[tuple[Path, Path, int]] = []

    def verified(run: Run, photos: VerificationPhotos) -> Report:
        shown.append((run.model_path, run.folder, photos.count))
        broken = [] if len(shown) == 1 else ["it differs"]
        return Report(photos.source, photos.count, "Keras", [], [], broken)

    for one in FORMATS:
        monkeypatch.setitem(one.__dict__, "write", copied)
    monkeypatch.setattr(verify, "verify_model", verified)
    command = [str(bare), "--verify", "--formats", "float16"]
    assert export.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"   2.1 MB  {bare / 'bare_float16.tflite'}"
    assert lines[1:3] == ["", "80 photos: drawn_flowers/1.0.0, split test"]
    assert lines[-1] == "all versions agree within the limits"
    assert export.main([*command, "--output", str(tmp_path / "there")]) == EXIT_SOME_FAILED
    assert capsys.readouterr().out.endswith("BROKEN: it differs\n")
    model = bare / "model.keras"
    assert shown == [(model, bare, 80), (model, tmp_path / "there", 80)]
    assert not export.export_and_verify(bare)
    assert sorted(path.name for path in bare.glob("*.tflite")) == [
        "bare_float16.tflite",
        "bare_float32.tflite",
        "bare_int8.tflite",
    ]


def test_every_option_reaches_what_exports_and_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def record(place: Any, name: str, answer: Any) -> None:
        def call(*given: Any, **options: Any) -> Any:
            asked.append((name, *given, options))
            return answer

        monkeypatch.setattr(place, name, call)

    record(export_module, "export_model", {"float32": "a", "int8": "b"})
    record(export_module, "measure_accuracy_change", "as good")
    record(photos_module, "photos_of_split", "the first of them")
    record(verify, "verify_model", SimpleNamespace(broken=[]))
    record(Run, "photos", "photos")
    (tmp_path / "model.keras").touch()
    (tmp_path / "config.json").write_text(json.dumps({"settings": {"test_split": "test[:9]"}}))
    run = Run.at(tmp_path)
    files = ("export_model", run, None, {"output": None, "data_dir": None})
    assert export.main([str(tmp_path)]) == 0
    assert asked == [files, ("measure_accuracy_change", run, "b", {"data_dir": None})]
    assert capsys.readouterr().out == "int8: as good\n"
    asked.clear()
    command = [str(tmp_path), "--output", "there", "--data_dir", "D", "--verify"]
    command += ["--formats", "int8", "float16", "--data", "s", "--data", "t", "--label_map", "l"]
    assert export.main(command) == 0
    own = Run(run.folder, run.model_path, ("s", "t"), ("l",))
    there = Run(Path("there"), run.model_path, ("s", "t"), ("l",))
    assert asked == [
        ("export_model", own, ["int8", "float16"], {"output": Path("there"), "data_dir": "D"}),
        ("photos", own, "test[:9]", "D", {}),
        ("photos_of_split", "photos", {"limit": export.VERIFIED_PHOTOS}),
        ("verify_model", there, "the first of them", {}),
    ]
    asked.clear()
    assert export.export_and_verify(tmp_path, data_dir="E")
    assert asked[:2] == [
        ("export_model", run, None, {"output": None, "data_dir": "E"}),
        ("photos", run, "test[:9]", "E", {}),
    ]
    assert asked[3][1] == run


# In a clone.


def test_tools_export_beside_the_model_or_where_they_are_told(
    lone_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = export_fixtures.tool("export_tflite")
    assert tool.main([str(lone_model), "--variants", "float32"]) == 0
    assert (tmp_path / "lone_float32.tflite").is_file()
    assert f"MB  {tmp_path / 'lone_float32.tflite'}" in capsys.readouterr().out
    assert tool.main([str(lone_model), "--variants", "float16", "--output", f"{tmp_path}/a"]) == 0
    assert (tmp_path / "a" / "lone_float16.tflite").is_file()
    tool = export_fixtures.tool("export_saved_model")
    assert tool.main([str(lone_model)]) == 0
    assert (tmp_path / "saved_model" / "1" / "saved_model.pb").is_file()
    assert tool.main([str(lone_model), "--output", f"{tmp_path}/served"]) == 0
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()


@pytest.mark.parametrize("name", ["export_saved_model", "export_tflite"])
def test_tools_end_in_one_line_without_a_model(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: export_fixtures.tool(name).main([str(tmp_path / "none")]))
    assert ended.value.code == EXIT_BAD_INPUT
    assert capsys.readouterr().err.count("\n") == 1
