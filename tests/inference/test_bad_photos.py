"""No photo, however odd, broken or hostile, stops the others or ends in a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bad_photos
import pytest
from bad_photos import Corpus

from keras_flowers.commands import predict
from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with

GIBIBYTE = 1 << 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return bad_photos.make(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def bulk_run(
    corpus: Corpus, colour_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The whole folder through the command line, in a process of its own."""
    rows = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    # Linux keeps the largest memory of the program that the process started as in ru_maxrss, so
    # ask for that of this program.
    program = "\n".join(
        [
            "import runpy, sys",
            "try:",
            "    runpy.run_module('keras_flowers.predict', run_name='__main__', alter_sys=True)",
            "finally:",
            "    status = open('/proc/self/status').read()",
            "    print(status.split('VmHWM:')[1].split()[0])",
        ]
    )
    process = subprocess.run(
        [sys.executable, "-c", program, corpus.folder, "--model", colour_model, "--output", rows],
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    return {
        "rows": {Path(line["photo"]).name: line for line in lines},
        "code": process.returncode,
        "errors": process.stderr,
        "bytes": int(process.stdout) * 1024,
    }


def test_good_photos_are_answered(corpus: Corpus, bulk_run: dict[str, Any]) -> None:
    for name, colour in corpus.good.items():
        row = bulk_run["rows"][name]
        assert row["error"] is None, name
        if colour is not None:
            assert row["name"] == colour, name
            assert row["probability"] > 0.9, name


def test_bad_photos_are_reported_with_their_reason(
    corpus: Corpus, bulk_run: dict[str, Any]
) -> None:
    for name, reason in corpus.bad.items():
        row = bulk_run["rows"][name]
        assert reason in row["error"], name
        assert row["name"] is None
        assert row["top"] == []


def test_cut_photos_are_refused_but_for_those_that_lack_only_their_end(
    corpus: Corpus, bulk_run: dict[str, Any]
) -> None:
    for name in corpus.cut:
        row = bulk_run["rows"][name]
        assert row["error"] or row["name"] == "yellow", name
    read = [name for name in corpus.cut if not bulk_run["rows"][name]["error"]]
    assert len(read) <= len(corpus.cut) // 20


def test_every_photo_has_one_row_and_the_bad_ones_are_counted(
    corpus: Corpus, bulk_run: dict[str, Any]
) -> None:
    rows = bulk_run["rows"]
    assert rows.keys() == {*corpus.good, *corpus.bad, *corpus.cut}
    failed = sum(row["error"] is not None for row in rows.values())
    assert f"{failed} could not be read; their rows say why" in bulk_run["errors"]
    assert bulk_run["code"] == EXIT_SOME_FAILED


def test_nothing_but_the_summary_is_on_standard_error(bulk_run: dict[str, Any]) -> None:
    assert bulk_run["errors"].count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_stays_below_a_gibibyte(bulk_run: dict[str, Any]) -> None:
    assert bulk_run["bytes"] < GIBIBYTE


def test_one_bad_photo_is_one_line_and_exit_code_2(
    corpus: Corpus, colour_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [*corpus.bad, "none.jpg", "folder.jpg"]:
        with pytest.raises(SystemExit) as caught:
            arguments = [str(corpus.folder / name), "--model", str(colour_model)]
            exit_with(lambda arguments=arguments: predict.main(arguments))
        output = capsys.readouterr()
        assert caught.value.code == EXIT_BAD_INPUT, name
        assert output.out == ""
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1, name


def test_one_photo_with_an_odd_name_is_answered(
    corpus: Corpus,
    colour_model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(corpus.folder)
    for name in bad_photos.ODD_NAMES:
        assert predict.main(["--no_chart", "--model", str(colour_model), "--", name]) == 0
        output = capsys.readouterr().out
        first_line, empty_line, best, *_ = output.splitlines()
        assert first_line.endswith(f": {corpus.good[name]}")
        assert (empty_line, best.split()[0]) == ("", corpus.good[name])
        assert "\x1b" not in output
