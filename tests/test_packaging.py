"""What is installed is what the clone holds, under one version."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_flowers

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_every_folder_of_the_package_is_installed(setup: configparser.ConfigParser) -> None:
    folders = (path.parent for path in (ROOT / "keras_flowers").rglob("__init__.py"))
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    # The model that ships is installed as a package, from where training wrote it.
    assert set(setup["options"]["packages"].split()) == names | {"keras_flowers.flowers102"}


def test_console_script_starts_the_front_door(setup: configparser.ConfigParser) -> None:
    line = setup["options.entry_points"]["console_scripts"].strip()
    name, module, function = re.split(r" = |:", line)
    code = f"import sys; sys.argv = ['{name}', '--version']; import {module} as m; m.{function}()"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (process.returncode, name) == (0, "keras-flowers")
    assert process.stdout == f"keras_flowers {keras_flowers.__version__}\n"


def test_citation_has_the_version_of_the_package() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {keras_flowers.__version__}\n" in text


def test_hooks_run_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for entry in re.findall(r"entry: (.+)", hooks):
        assert any(line.startswith(entry) for line in ci), entry


SKIPPED = """
import pytest
def test_real():
    pytest.skip("the photographs are not at hand; set {variable}")
"""


@pytest.mark.parametrize(
    ("variable", "asked", "code"),
    [("TFDS_DATA_DIR", "1", 1), ("TFDS_DATA_DIR", "", 0), ("a screen", "1", 0)],
)
def test_skip_for_want_of_the_real_data_fails_where_it_is_asked_for(
    tmp_path: Path, variable: str, asked: str, code: int
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_real.py").write_text(SKIPPED.format(variable=variable))
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_FLOWERS_NO_SKIPS": asked},
    )
    assert process.returncode == code, process.stdout
