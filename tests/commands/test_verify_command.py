"""`keras-flowers verify`: which photos it shows, what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets", reason="verifying needs the extra [train]")

import export_fixtures
from export_fixtures import Exported

from keras_flowers.commands import verify as command
from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.export import artifacts, verify
from keras_flowers.export.report import Report


def report(broken: list[str]) -> Report:
    return Report("somewhere", 5, "Keras (model.keras)", [], [], broken)


def test_options_reach_the_verification_and_the_report_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Any, ...]] = []

    def verified(run: Path, photos: Path | None, **options: Any) -> Report:
        asked.append((run, photos, options))
        return report([] if len(asked) == 1 else ["it differs"])

    monkeypatch.setattr(verify, "verify_model", verified)
    options = ["--limit", "5", "--split", "validation", "--data_dir", "d"]
    assert command.main(["run", *options, "--data", "a", "--data", "b", "--label_map", "m"]) == 0
    assert capsys.readouterr().out == f"{report([])}\n"
    assert command.main(["run", "--photos", str(tmp_path)]) == EXIT_SOME_FAILED
    assert capsys.readouterr().out.endswith("BROKEN: it differs\n")
    assert asked == [
        (
            Path("run"),
            None,
            {
                "split": "validation",
                "data_dir": "d",
                "limit": 5,
                "sources": ["a", "b"],
                "label_map": ["m"],
            },
        ),
        (
            Path("run"),
            tmp_path,
            {"split": None, "data_dir": None, "limit": None, "sources": [], "label_map": []},
        ),
    ]


def test_photos_of_a_folder_are_shown(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(exported.photos[number])
    main = export_fixtures.tool("verify").main
    assert main([str(exported.run), "--photos", str(tmp_path), "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"2 photos: {tmp_path}"
    assert lines[-1] == "all versions agree within the limits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none is not a folder; expected the folder of a run"),
        (["none", "--limit", "0"], "argument --limit: expected 1 or more"),
        (["none", "--split", "test", "--photos", "x"], "not allowed with argument --split"),
        (["none", "--data", "a", "--photos", "x"], "not allowed with argument --data"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: command.main(arguments))
    assert ended.value.code == EXIT_BAD_INPUT
    assert message in capsys.readouterr().err


WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "keras", "tensorflow_datasets"):
    sys.modules[name] = None  # importing it is an ImportError
from keras_flowers.__main__ import main
from keras_flowers.commands.exit import exit_with
exit_with(lambda: main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["verify", "export"])
def test_where_tensorflow_is_not_installed_it_is_one_line(name: str, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "saved_models" / "flowers102"
    (tmp_path / "model.keras").touch()
    folder = shipped if name == "verify" else tmp_path
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, name, str(folder)],
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (EXIT_BAD_INPUT, "")
    assert ended.stderr.startswith("error: this needs the package keras, which is not installed; ")
    assert ended.stderr.count("\n") == 1
