"""The engine Ray: kills of workers and of the command, deadly photos, and rows that are the same.

KERAS_FLOWERS_RAY_KILLS says how many commands are killed, and how many others lose a worker;
otherwise two. KERAS_FLOWERS_RAY_PHOTOS says how many photos each names; otherwise 120.
"""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import COLOURS
from deadly_photos import KILLS, python_path
from PIL import Image

from keras_flowers.commands import merge, predict

pytest.importorskip("ray", reason="the engine ray needs the extra [scale]")
pytest.importorskip("pyarrow")

KILLED = int(os.environ.get("KERAS_FLOWERS_RAY_KILLS", "2"))
PHOTOS = int(os.environ.get("KERAS_FLOWERS_RAY_PHOTOS", "120"))
PHOTOS_OF_A_PART = max(PHOTOS // 50, 10)
SECONDS = str(6 / PHOTOS)
"""How long a photo takes at least, so that a kill meets some."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `photos`, two of which cannot be read; one kills what tries."""
    place = tmp_path / "place"
    (place / "photos").mkdir(parents=True)
    monkeypatch.chdir(place)
    for number in range(PHOTOS):
        colour = list(COLOURS.values())[number % 3]
        Image.new("RGB", (40 + number % 200, 30), colour).save(f"photos/{number:04}.png")
    Path("photos/0017.png").write_text("<html>")
    Path("photos/0055.png").write_bytes(KILLS)
    return place


def start(model: Path, home: Path, output: str) -> Any:
    """Starts the command; a photo takes long enough to be met by a kill."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "keras_flowers", "predict", "photos", "--model", str(model)]
    command += ["--output", f"{output}/", "--engine", "ray", "--workers", "2"]
    return subprocess.Popen(
        [*command, "--part_photos", str(PHOTOS_OF_A_PART)],
        env={
            **os.environ,
            "PYTHONPATH": python_path(home),
            "HOME": str(home),
            "SECONDS_OF_A_PHOTO": SECONDS,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers(home: Path) -> list[int]:
    """The processes of Ray that name photos, under this home folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ours = f"HOME={home}\0".encode() in (folder / "environ").read_bytes()
            if is_ours and b"_Actor" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def wait_for(condition: Any, process: Any = None) -> Any:
    """What the condition gives, once it holds; a busy machine starts Ray in minutes."""
    end = time.monotonic() + 400
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process is None or process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def rows_of(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def parts(folder: str) -> int:
    return len(list(Path(folder).rglob("*.parquet")))


def wait_for_a_random_moment(folder: str, home: Path, process: Any) -> None:
    """Waits until any number of further parts are done, at most half of all, and then a little.

    So there is still something to kill.
    """
    there = parts(folder)
    wanted = random.randint(there, max(there, PHOTOS // PHOTOS_OF_A_PART // 2))
    wait_for(lambda: parts(folder) >= wanted and workers(home), process)
    time.sleep(random.uniform(0, PHOTOS_OF_A_PART * float(SECONDS)))


def check(folder: str) -> list[dict[str, str]]:
    """That a run left its parts and nothing else; gives its rows."""
    wanted = {
        "manifest.json",
        *(f"parts/0000/part-{n:07}.parquet" for n in range(-(-PHOTOS // PHOTOS_OF_A_PART))),
    }
    files = {one.relative_to(folder).as_posix() for one in Path(folder).rglob("*") if one.is_file()}
    assert files == wanted
    assert merge.main([folder, "--output", "merged.csv"]) == 0
    rows = rows_of("merged.csv")
    assert len({row.pop("model") for row in rows}) == 1
    return rows


def test_kills_lose_nothing_and_double_nothing(
    colour_model: Path, place: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    answers = []
    # Moments that differ from run to run: what they meet differs anyway.
    for number in range(KILLED):
        folder = f"out{number}"
        process = start(colour_model, home, folder)
        wait_for_a_random_moment(folder, home, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        # The workers end with it; helpers of Ray's own take a minute to notice.
        wait_for(lambda: not workers(home))
        before = parts(folder)

        process = start(colour_model, home, folder)
        wait_for_a_random_moment(folder, home, process)
        os.kill(random.choice(wait_for(lambda: workers(home), process)), signal.SIGKILL)
        said = process.communicate(timeout=600)[1]
        assert process.returncode == 1, said
        assert "its work is done again" in said
        assert f"{PHOTOS - 2} of {PHOTOS} photos named" in said
        assert "2 could not be read" in said
        answers.append(check(folder))
        print(f"killed with {before} parts done; a worker of the next command, too")
        if not number:
            # It has killed workers enough.
            deadly = answers[0][55]
            assert "kills what reads it: the process died of SIGSEGV" in deadly["error"]
            Path("photos/0055.png").write_text("<html>")
    predict.main(["photos", "--model", str(colour_model), "--output", "single.csv"])
    single = rows_of("single.csv")
    answers[0][55] = single[55]
    assert all(rows == single for rows in answers)
    assert not (home / ".ray").exists(), "Ray's token stays out of the home folder"
