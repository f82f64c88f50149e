"""The engine Ray: kills of workers and of the command, deadly photos, and rows that are the same.

KERAS_FLOWERS_RAY_KILLS says how often each is killed; otherwise twice.
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
PHOTOS, PHOTOS_OF_A_PART, SECONDS = 120, 10, "0.05"
"""How many photos, how many make a part, and how long each takes, so that a kill meets some."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `photos`, two of which cannot be read; one kills what tries."""
    place = tmp_path / "place"
    (place / "photos").mkdir(parents=True)
    monkeypatch.chdir(place)
    for number in range(PHOTOS):
        colour = list(COLOURS.values())[number % 3]
        Image.new("RGB", (40 + number, 30), colour).save(f"photos/{number:04}.png")
    Path("photos/0017.png").write_text("<html>")
    Path("photos/0055.png").write_bytes(KILLS)
    return place


def start(model: Path, home: Path) -> Any:
    """Starts the command; a photo takes long enough to be met by a kill."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "keras_flowers", "predict", "photos", "--model", str(model)]
    command += ["--output", "out/", "--engine", "ray", "--workers", "2"]
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


def parts() -> int:
    return len(list(Path("out").rglob("*.parquet")))


def test_kills_lose_nothing_and_double_nothing(
    colour_model: Path, place: Path, tmp_path: Path
) -> None:
    choose = random.Random(0)
    home = tmp_path / "home"
    for _ in range(KILLED):  # the command
        before = parts()
        process = start(colour_model, home)
        wait_for(lambda before=before: parts() > before, process)
        time.sleep(choose.uniform(0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        # The workers end with it; helpers of Ray's own take a minute to notice.
        wait_for(lambda: not workers(home))
        if parts() > PHOTOS // PHOTOS_OF_A_PART // 2:
            for path in sorted(Path("out").rglob("*.parquet"))[1:]:
                path.unlink()
    process = start(colour_model, home)
    for _ in range(KILLED):  # a worker
        there = wait_for(lambda: workers(home), process)
        time.sleep(choose.uniform(0, 0.5))
        with suppress(ProcessLookupError):
            os.kill(choose.choice(there), signal.SIGKILL)
        time.sleep(1)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 1, said
    assert f"{PHOTOS - 2} of {PHOTOS} photos named" in said
    assert "2 could not be read" in said

    wanted = {
        "manifest.json",
        *(f"parts/0000/part-{n:07}.parquet" for n in range(PHOTOS // PHOTOS_OF_A_PART)),
    }
    files = {one.relative_to("out").as_posix() for one in Path("out").rglob("*") if one.is_file()}
    assert files == wanted
    assert merge.main(["out", "--output", "merged.csv"]) == 0
    rows = rows_of("merged.csv")
    assert len({row.pop("model") for row in rows}) == 1
    assert "kills what reads it: the process died of SIGSEGV" in rows.pop(55)["error"]
    Path("photos/0055.png").unlink()
    predict.main(["photos", "--model", str(colour_model), "--output", "single.csv"])
    assert rows == rows_of("single.csv")
    assert not (home / ".ray").exists(), "Ray's token stays out of the home folder"
