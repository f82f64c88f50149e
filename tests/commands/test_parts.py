"""Long runs: parts, shares, kills and one table, with the answers of a single machine."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import COLOURS
from deadly_photos import HANGS, KILLS, python_path
from PIL import Image

from keras_flowers.commands import merge, parts, predict
from keras_flowers.errors import UserError
from keras_flowers.inference.scale.folder import Count, RunFolder

pa = pytest.importorskip("pyarrow", reason="parts need the extra [scale]")
parquet = pytest.importorskip("pyarrow.parquet")

Row = dict[str, str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def run(colour_model: Path) -> Any:
    """Runs `predict` with the colour model."""

    def run(*arguments: object) -> int:
        return predict.main(["--model", str(colour_model), *map(str, arguments)])

    return run


def write_photos(count: int, folder: str = "photos") -> None:
    Path(folder).mkdir()
    for number in range(count):
        colour = list(COLOURS.values())[number % 3]
        Image.new("RGB", (40 + number, 30), colour).save(f"{folder}/{number:04}.png")


def rows_of(path: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def single(run: Any) -> list[Row]:
    """What one machine says, in one go."""
    run("photos", "--output", "single.csv")
    return rows_of("single.csv")


def merged(folder: str = "out") -> list[Row]:
    """The rows of a run; the model's digest, which all have, is looked at and taken away."""
    assert merge.main([folder, "--output", "merged.csv"]) == 0
    rows = rows_of("merged.csv")
    assert len({row.pop("model") for row in rows}) == 1
    return rows


def files(folder: str = "out") -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()
    )


PARTS = ["manifest.json", *(f"parts/0000/part-{number:07}.parquet" for number in range(3))]


def test_parts_hold_the_rows_of_a_single_machine(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(10)
    Path("photos/0004.png").write_text("<html>")
    assert run("photos", "--output", "out/", "--part_photos", 4, "--top_k", 2) == 1
    told = capsys.readouterr()
    assert "9 of 10 photos named, 10 of them now" in told.err
    assert told.err.endswith("all parts are there; one table: keras-flowers merge out\n")
    assert told.out == ""  # the answers are in the folder
    assert files() == PARTS
    run("photos", "--output", "single.csv", "--top_k", 2)
    assert merged() == rows_of("single.csv")
    said = capsys.readouterr().out
    assert "merged.csv: 10 photos, each once (parts: 3); 1 could not be read" in said
    # Once more: nothing is left to do, and the parts are as large as they were.
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.parquet")}
    assert run("./photos/", "--output", "out", "--top_k", 2) == 1
    assert "9 of 10 photos named; 1 could not" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.parquet")}
    assert merge.main(["out"]) == 0
    table = parquet.read_table("out.parquet")
    assert table.column_names == ["photo", *list(merged()[0])[1:], "model"]
    assert table.column("probability").type == pa.float64()
    assert table.column("error").null_count == 9
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["arguments"] == ["photos"]
    counts = {key: value for key, value in manifest["inputs"].items() if key != "sha256"}
    assert counts == {"photos": 10, "shards_of_unknown_size": 0, "parts": 3}
    nothing = dict.fromkeys(("thresholds", "labels", "scale"))
    assert manifest["options"] == {"top_k": 2, **nothing, "part_photos": 4}
    assert manifest["model"]["sha256"] == table.column("model")[0].as_py()


def test_shares_do_all_between_them(run: Any) -> None:
    write_photos(10)
    for share, done in (("2/2", 1), ("1/2", 3)):
        assert run("photos", "--output", "out/", "--part_photos", 4, "--shard", share) == 0
        assert len(files()) == 1 + done
        if done == 1:
            with pytest.raises(UserError, match=r"2 of the 3 parts in out are missing \(0, 2\)"):
                merge.main(["out"])
    assert merged() == single(run)


def test_other_work_in_the_same_folder_is_refused(run: Any, colour_model: Path) -> None:
    write_photos(4)
    run("photos", "--output", "out/")
    begun = files()

    def refused(expected: str, *arguments: object) -> None:
        with pytest.raises(UserError, match=expected):
            run(*arguments)

    refused("out was begun with other options", "photos", "--output", "out/", "--top_k", 1)
    refused("part_photos: 512 then, 2 now", "photos", "--output", "out/", "--part_photos", 2)
    other = Path("other.tflite")
    shutil.copy(colour_model, other)
    with zipfile.ZipFile(other, "a") as archive:
        archive.comment = b"of another day"
    refused("was begun with another model", "photos", "--output", "out", "--model", other)
    Image.new("RGB", (9, 9)).save("photos/new.png")
    refused("other photos .*photos: 4 then, 5 now", "photos", "--output", "out/")
    assert files() == begun
    Path("things").mkdir()
    Path("things/a.txt").touch()
    refused("things holds other things", "photos", "--output", "things/")
    Path("none").mkdir()
    refused("there are no photos in none", "none", "--output", "new/")
    assert not Path("new").exists()


def test_photo_replaced_by_one_of_equal_size_is_answered_again(
    run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(6)
    first, second = Path("photos/0000.png"), Path("photos/0001.png")
    # What follows the end of a PNG is not read.
    size = max(first.stat().st_size, second.stat().st_size)
    first.write_bytes(first.read_bytes().ljust(size, b"\0"))
    run("photos", "--output", "out/", "--part_photos", 2)
    before = merged()
    capsys.readouterr()
    first.write_bytes(second.read_bytes().ljust(size, b"\0"))
    os.utime(first, ns=(0, 0))  # also where the new one is older
    assert run("photos", "--output", "out/", "--part_photos", 2) == 0
    said = capsys.readouterr().err
    assert "1 part is done again: photos were changed since" in said
    assert "6 of 6 photos named, 2 of them now" in said
    after = merged()
    assert after == single(run)
    assert after[0] != before[0] and after[1:] == before[1:]


def test_merge_finds_what_is_not_right(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(6)
    run("photos", "--output", "out/", "--part_photos", 2)
    run("photos", "--output", "other/", "--part_photos", 2, "--top_k", 1)
    first, second = RunFolder.open(Path("out")).file(0), RunFolder.open(Path("out")).file(1)
    content = first.read_bytes()

    def refused(expected: str) -> None:
        with pytest.raises(UserError, match=expected):
            merge.main(["out"])
        assert not Path("out.parquet").exists()

    first.write_bytes(content[:-100])
    refused("part-0000000.parquet is damaged")
    first.write_bytes(second.read_bytes())
    refused("part-0000000.parquet is a part of another run")
    first.write_bytes(RunFolder.open(Path("other")).file(0).read_bytes())
    refused("part-0000000.parquet is a part of another run")
    first.write_bytes(content)
    stray = first.with_name("part-0000009.parquet")
    stray.write_bytes(content)
    refused("part-0000009.parquet is no part of this run")
    stray.unlink()
    with pytest.raises(UserError, match=r"written as out.txt; expected .* \.parquet or \.csv"):
        merge.main(["out", "--output", "out.txt"])
    with pytest.raises(UserError, match=r"photos has no manifest\.json"):
        merge.main(["photos"])
    assert merge.main(["out"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("out.parquet: 6 photos, each once (parts: 3)\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--shard", "1/2"], "--shard is for --output FOLDER/"),
        (["--engine", "ray", "--output", "a.csv"], "--engine is for --output FOLDER/"),
        (["--output", "a/", "--ray_address", "auto"], "--ray_address is for --engine ray"),
        (["--output", "a/", "--workers", "2"], "--workers is for --engine ray"),
        (["--output", "a/", "--part_photos", "0"], "--part_photos is 0; expected more than 0"),
        (["--output", "a/", "--format", "csv"], "--format does not go with --output FOLDER/"),
        (["--output", "a/", "--explain"], "--explain does not go with --output FOLDER/"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Any, arguments: list[str], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        run("photos", *arguments)
    assert not Path("a").exists()


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b"])
def test_share_that_is_none_is_refused(
    run: Any, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("photos", "--output", "a/", "--shard", share)
    assert "expected I/N, such as 1/4 to 4/4" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "options"), [("pyarrow", []), ("ray", ["--engine", "ray"])])
def test_package_that_is_not_installed_is_named(
    run: Any, package: str, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(1)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package {package}, .* \"\.\[scale\]\""):
        run("photos", "--output", "a/", *options)


# What is said.


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(
        **{"shard": None, "part_photos": None, "engine": None, "output": Path("out"), **given}
    )


@pytest.mark.parametrize(
    ("total", "done", "shard", "said"),
    [
        ((10, 0), (0, 0), None, "10 of 10 photos named"),
        ((10, 1), (0, 0), None, "9 of 10 photos named; 1 could not be read; its row says why"),
        (
            (9, 2),
            (4, 0),
            None,
            "7 of 9 photos named, 4 of them now, 2.0/s; 2 could not be read; th",
        ),
        ((9, 0), (1, 0), (2, 3), "9 of 9 photos named, share 2 of 3, 1 of them now, 0.5/s"),
    ],
)
def test_summary_counts_this_call_and_those_before(
    total: Any, done: Any, shard: Any, said: str
) -> None:
    text = parts._summary(Count(*total), Count(*done), 2.0, options(shard=shard))
    assert text.startswith(said)
    assert text.endswith("their rows say why") or text == said
    assert parts._summary(Count(5), Count(5), 0.0, options()).endswith("5000000.0/s")


def test_advice_is_the_next_command() -> None:
    assert parts._advice(Path("a b"), True) == (
        "all parts are there; one table: keras-flowers merge a b"
    )
    assert parts._advice(Path("a"), False) == (
        "parts are missing; the other shares, or the same command, do what is left"
    )


def test_work_is_done_here_or_by_ray_as_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_flowers.inference.scale import ray_workers

    asked: list[Any] = []

    @contextmanager
    def started(make: Any, **given: Any) -> Any:
        asked.append(given)
        yield "crew"

    monkeypatch.setattr(ray_workers, "ray_workers", started)
    job: Any = "job"
    with parts._crew(job, options()) as crew:
        assert crew.workers == 1  # its threads take all cores
    assert asked == []
    elsewhere = {"ray_address": "a:1", "workers": 3, "worker_cores": 2, "worker_memory": 500}
    with parts._crew(job, options(engine="ray", **elsewhere)) as crew:
        assert crew == "crew"
    assert asked == [{"address": "a:1", "workers": 3, "cores": 2, "memory_mb": 500}]


def test_parts_are_as_large_as_the_run_was_begun_with() -> None:
    assert parts._photos_of_a_part(options()) == 512
    assert parts._photos_of_a_part(options(part_photos=7)) == 7
    Path("out").mkdir()
    manifest: dict[str, Any] = {"inputs": {"parts": 1}, "options": {"part_photos": 9}}
    for manifest["options"], count in (({"part_photos": 9}, 9), ({}, 512)):
        Path("out/manifest.json").write_text(json.dumps(manifest))
        assert parts._photos_of_a_part(options()) == count
    del manifest["options"]
    Path("out/manifest.json").write_text(json.dumps(manifest))
    assert parts._photos_of_a_part(options()) == 512


def test_bar_expects_of_unknown_shards_what_those_before_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bar:
        def __init__(self, **given: Any) -> None:
            self.total, self.n, self.closed = given["total"], 0, False

        def set_postfix(self, failed: int, refresh: bool) -> None:
            self.failed = failed

        def update(self, count: int) -> None:
            self.n += count

        def close(self) -> None:
            self.closed = True

    made: list[Bar] = []
    monkeypatch.setattr(
        parts, "progress_bar", lambda **given: made.append(Bar(**given)) or made[-1]
    )
    plan: Any = {0: 4, 1: None, 2: None, 3: None, 4: 6}
    plan_of: Any = type("Plan", (), {"photos_of": staticmethod(plan.get)})
    with parts._progress(plan_of, [0, 1, 2, 3, 4]) as show:
        (bar,) = made
        assert bar.total == 10
        show(False, Count(4, 1), 1)
        assert (bar.total, bar.n, bar.failed) == (10, 4, 1)
        show(True, Count(5), 1)  # three of five each
        assert (bar.total, bar.n) == (25, 9)
        show(True, Count(10), 2)  # now of 7.5
        assert (bar.total, bar.n, bar.failed) == (10 + 15 + 7, 19, 2)
        show(True, Count(1), 2)
        assert bar.total == 26
    assert bar.closed
    with parts._progress(plan_of, [1]):
        assert made[-1].total is None


def test_folder_that_stays_empty_is_not_left_behind() -> None:
    with parts._made(Path("a/new")):
        assert Path("a/new").is_dir()
    assert not Path("a/new").exists()
    with parts._made(Path("a/new")):
        Path("a/new/x").touch()
    assert Path("a/new/x").exists()
    Path("old").mkdir()
    with parts._made(Path("old")):
        pass
    assert Path("old").is_dir()


# Deaths.


def start(model: Path, *arguments: str, folder: Path, seconds: float = 0.0) -> Any:
    """Starts the command in a process of its own, where photos may kill, and take so long."""
    command = [sys.executable, "-m", "keras_flowers", "predict", "photos", "--model", str(model)]
    return subprocess.Popen(
        [*command, "--output", "out/", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": python_path(folder),
            "SECONDS_OF_A_PHOTO": str(seconds),
        },
        stderr=subprocess.PIPE,
        text=True,
    )


def worker_of(pid: int) -> int:
    """The process that names photos for the command, once it is there."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lists = Path(f"/proc/{pid}/task").glob("*/children")  # of each of its threads
        for child in " ".join(one.read_text() for one in lists).split():
            with suppress(OSError):
                if b"scale.child" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.01)
    raise AssertionError("no worker was started")


def test_photo_that_kills_or_hangs_its_reader_costs_its_own_row(
    run: Any, colour_model: Path, tmp_path: Path
) -> None:
    write_photos(9)
    Path("photos/0002.png").write_bytes(KILLS)
    Path("photos/0007.png").write_bytes(HANGS)
    process = start(colour_model, "--part_photos", "5", "--photo_seconds", "4", folder=tmp_path)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1, said
    assert "a worker died of SIGSEGV; its work is done again" in said
    assert "7 of 9 photos named" in said
    rows = merged()
    assert "kills what reads it: the process died of SIGSEGV" in rows[2]["error"]
    assert "took longer than 4 s to read" in rows[7]["error"]
    good = [row for number, row in enumerate(rows) if number not in (2, 7)]
    for row in (rows[2], rows[7]):
        Path(row["photo"]).unlink()
    assert good == single(run)


def test_kills_of_the_worker_and_of_the_command_lose_and_double_nothing(
    run: Any, colour_model: Path, tmp_path: Path
) -> None:
    write_photos(24)
    choose = random.Random(1)
    arguments = ("--part_photos", "8")
    for victim in ("command", "worker", "command", "worker"):
        for path in sorted(Path("out").rglob("*.parquet"))[1:]:
            path.unlink()  # so that there is something to kill
        process = start(colour_model, *arguments, folder=tmp_path, seconds=0.1)
        worker = worker_of(process.pid)
        time.sleep(choose.uniform(0, 1))
        if victim == "command":
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        else:
            os.kill(worker, signal.SIGKILL)
            said = process.communicate(timeout=120)[1]
            assert process.returncode == 0, said
            assert "24 of 24 photos named" in said
            assert files() == PARTS
            assert merged() == single(run)
