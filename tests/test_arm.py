"""The base install on 64-bit Arm, as on a Raspberry Pi, under an emulator.

Debian's Python for Arm and the wheels for Arm are unpacked, not installed, so that only `predict`
itself is emulated. It takes minutes and downloads packages: only with KERAS_FLOWERS_ARM=1.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keras_flowers.inference.litert import VERSION_FOR_ARM

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "docs" / "sunflower.jpg"
SHIPPED = ROOT / "saved_models" / "flowers102"
EMULATOR = "qemu-aarch64-static"

needs_emulator = pytest.mark.skipif(
    os.environ.get("KERAS_FLOWERS_ARM") != "1"
    or not (shutil.which(EMULATOR) and shutil.which("debootstrap")),
    reason="no emulated Arm: install qemu-user-static and debootstrap, and ask for it "
    "with KERAS_FLOWERS_ARM=1",
)


def requirements() -> list[str]:
    """The base install as setup.cfg asks for it on Arm, without the markers."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options"]["install_requires"].split("\n")
    chosen = [one for one in lines if one.strip() and "!= " not in one]
    return [one.split(";")[0].strip() for one in chosen]


def test_install_on_arm_takes_the_version_that_is_known_to_run() -> None:
    (litert,) = (one for one in requirements() if one.startswith("ai-edge-litert"))
    bound = tuple(map(int, re.findall(r"<([\d.]+)", litert)[0].split(".")))
    known = tuple(map(int, VERSION_FOR_ARM.split(".")))
    assert known < bound == (*known[:-1], known[-1] + 1)


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `root/` (Python for Arm) and `site/` (the packages)."""
    folder = tmp_path_factory.mktemp("arm")
    root = folder / "root"
    packages = "--include=python3,libstdc++6"
    bootstrap = ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", packages]
    made = subprocess.run([*bootstrap, "bookworm", str(root)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"debootstrap finds no packages here: {made.stdout.strip().splitlines()[-1:]}")
    for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)]
    install(folder / "site", *platforms, *requirements())
    return folder


def install(site: Path, *arguments: str) -> None:
    """Unpacks wheels for Debian's Python 3.11 on Arm."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    subprocess.run([*pip, "--python-version=3.11", f"--target={site}", *arguments], check=True)


def predict(arm: Path, *arguments: str, first: str = "site") -> subprocess.CompletedProcess[str]:
    python = [EMULATOR, "-L", str(arm / "root"), str(arm / "root" / "usr" / "bin" / "python3.11")]
    path = os.pathsep.join(map(str, (arm / first, arm / "site", ROOT)))
    return subprocess.run(
        [*python, "-m", "keras_flowers", "predict", str(PHOTO), "--no_chart", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@needs_emulator
@pytest.mark.parametrize("variant", ["float16", "int8"])
def test_answers_on_arm_are_those_of_this_machine(arm: Path, variant: str) -> None:
    model = SHIPPED / f"flowers102_{variant}.tflite"
    answer = predict(arm, "--model", str(model), "--json")
    assert answer.returncode == 0, answer.stderr
    here = subprocess.run(
        [sys.executable, "-m", "keras_flowers", "predict", str(PHOTO), "--json", "--no_chart"]
        + ["--model", str(model)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    theirs, ours = json.loads(answer.stdout), json.loads(here.stdout)
    assert theirs["name"] == ours["name"] == "sunflower"
    assert theirs["probability"] == pytest.approx(ours["probability"], abs=1e-5)


@needs_emulator
def test_model_that_ships_names_the_sunflower_on_arm(arm: Path) -> None:
    answer = predict(arm)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "sunflower" in answer.stdout.splitlines()[0]


@needs_emulator
def test_runtime_that_crashes_is_one_line_that_says_what_to_install(arm: Path) -> None:
    platform = "--platform=manylinux_2_27_aarch64"
    install(arm / "newest", "--no-deps", platform, "ai-edge-litert==2.3.0")
    answer = predict(arm, first="newest")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    assert f'pip install "ai-edge-litert=={VERSION_FOR_ARM}"' in answer.stderr
