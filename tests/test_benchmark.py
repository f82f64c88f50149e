"""The arithmetic of the benchmark's table and its command line; nothing is timed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from tools.benchmark import __main__ as command
from tools.benchmark import growth, page, parts
from tools.benchmark.measure import Ran, divide, in_turn, run_python
from tools.benchmark.table import Bound, Figure, format_table
from tools.benchmark.task import find_run


def finished_run(folder: Path, *variants: str) -> Path:
    folder.mkdir(parents=True)
    for name in ("model.keras", "metrics.json", *(f"x_{variant}.tflite" for variant in variants)):
        (folder / name).write_bytes(b"")
    return folder


def test_everything_is_run_once_a_round_and_in_turn() -> None:
    calls: list[str] = []

    def measure(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds * len(calls)

    ours, theirs = in_turn(2, lambda: measure("ours", 1.0), lambda: measure("theirs", 10.0))
    assert calls == ["ours", "theirs", "ours", "theirs"]
    assert (ours, theirs) == ([1.0, 3.0], [20.0, 40.0])
    assert divide(theirs, ours) == [20.0, 40 / 3]


@pytest.mark.parametrize(
    ("kind", "ratios", "holds"),
    [
        ("at least", [9.0, 2.5, 1.0], True),
        ("at least", [9.0, 2.49, 1.0], False),
        ("at most", [9.0, 2.5, 1.0], True),
        ("at most", [9.0, 2.51, 1.0], False),
        ("at least", [float("nan")], False),
        ("at most", [float("nan")], False),
    ],
)
def test_bound_is_held_by_the_median(kind: str, ratios: list[float], holds: bool) -> None:
    figure = Figure(1, "a / b", ratios, Bound(kind, 2.5))
    assert figure.holds is holds
    assert figure.as_dict()["holds"] is holds


def test_table_shows_median_range_bound_and_verdict() -> None:
    figures = [
        Figure(1, "a / b", [3.0, 1.0, 2.0], Bound("at least", 2.5), "4 s : 2 s"),
        Figure(6, "c / d", [0.25]),
    ]
    lines = format_table(figures).splitlines()
    assert lines[2] == "| 1 | a / b | 2 | 1 to 3 | at least 2.5 | **no** | 4 s : 2 s |"
    assert lines[3] == "| 6 | c / d | 0.25 |  |  |  |  |"


def test_growth_compares_the_most_photos_with_the_fewest() -> None:
    rounds = [[Ran(10.0, 100), Ran(18.0, 104), Ran(35.0, 120)]]
    time, memory = growth.ratios("training", [1, 2, 4], rounds)
    assert (time.median, time.holds) == (3.5, True)
    assert (memory.median, memory.holds) == (1.2, False)


def test_command_prints_the_table_writes_json_and_fails_where_a_bound_is_broken(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("the command tells its version")
    for ratio, code in ((2.0, 1), (3.0, 0)):

        def measure(task: object, ratio: float = ratio) -> list[Figure]:
            """Row 3: nothing."""
            return [Figure(3, "a / b", [ratio], Bound("at least", 2.5))]

        monkeypatch.setitem(command.ROWS, 3, measure)
        file = tmp_path / "figures.json"
        assert command.main(["--rows", "3", "--json", str(file)]) == code
        assert f"| 3 | a / b | {ratio:g} |" in capsys.readouterr().out
        content = json.loads(file.read_text())
        assert content["figures"][0]["median"] == ratio
        assert content["hardware"]["cores"] >= 1
        assert {"tensorflow", "keras", "ai-edge-litert"} <= content["versions"].keys()


def test_newest_run_with_all_its_files_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no finished run.*--export"):
        find_run(tmp_path)
    run = finished_run(tmp_path / "whole", "float32", "float16", "int8")
    finished_run(tmp_path / "later", "float32")
    assert find_run(tmp_path).folder == run


def test_run_without_its_tflite_files_is_refused_in_one_line(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", "float32", "float16")
    with pytest.raises(UserError, match=r"has no \*_int8.tflite; expected .* --export"):
        command.main(["--rows", "6", "--run", str(run)])


@pytest.mark.parametrize("argument", ["0", "12", "x"])
def test_row_that_does_not_exist_is_refused(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--rows", argument])
    assert ended.value.code == 2
    assert "--rows" in capsys.readouterr().err


def test_process_that_fails_is_told_with_its_last_line() -> None:
    with pytest.raises(UserError, match="failed: ValueError: of no use"):
        run_python("-c", "raise ValueError('of no use')")
    ran = run_python("-c", "pass")
    assert ran.seconds > 0
    assert ran.peak > 1 << 20


def test_row_that_needs_a_browser_is_left_out_by_name_unless_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path / "run", "float32", "float16", "int8")
    measured: list[int] = []

    def note(row: int) -> Callable[[object], list[Figure]]:
        def measure(task: object) -> list[Figure]:
            measured.append(row)
            return []

        measure.__doc__ = f"Row {row}: nothing."
        return measure

    for row in (*range(1, 9), 11):
        monkeypatch.setitem(command.ROWS, row, note(row))
    monkeypatch.setattr(page, "find_browser", lambda: None)
    assert command.main(["--run", str(run)]) == 0
    assert measured == [1, 2, 3, 4, 5, 6, 7, 8, 11]
    assert "row 9 is left out: there is no browser; pip install" in capsys.readouterr().err
    with pytest.raises(UserError, match="row 9 cannot be measured: there is no browser"):
        command.main(["--run", str(run), "--rows", "9"])


def test_help_says_in_a_line_what_each_row_measures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    rows = capsys.readouterr().out.split("\nrows:\n")[1].split("\n\n")[0].splitlines()
    assert [line[:5] for line in rows] == [f"{row:>3}  " for row in command.ROWS]
    assert all(line.endswith(".") for line in rows)


def test_parts_are_compared_by_what_further_photos_take() -> None:
    single = [[Ran(10.0, 0), Ran(80.0, 0)]]  # 100 photos a second, and the start
    ray = [[Ran(50.0, 200_000_000), Ran(130.0, 210_000_000)]]
    speed, memory, growth_of_memory = parts.figures((1000, 8000), single, ray, 10_000_000)
    assert speed.ratios == [pytest.approx(70 / 80)]
    assert speed.holds is False
    assert memory.ratios == [pytest.approx(0.8)]
    assert growth_of_memory.ratios == [pytest.approx(1.05)]
