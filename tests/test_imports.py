"""What only predicts loads no TensorFlow: a Raspberry Pi has none, and waits seconds for it."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_flowers
from keras_flowers.__main__ import COMMANDS

HEAVY = (
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "jax",
    "torch",
    "scipy",
    "pandas",
    "mediapipe",
)
DRAWING = ("matplotlib",)


def loaded(code: str, *candidates: str, path: Path | None = None) -> set[str]:
    """Which of the packages `candidates` a fresh process has loaded after `code`."""
    report = (
        "\nimport sys; "
        f"print('LOADED', *({{name.split('.')[0] for name in sys.modules}} & set({candidates})))"
    )
    process = run_code(code + report, path=path)
    process.check_returncode()
    return set(process.stdout.splitlines()[-1].split()[1:])


def run_code(
    code: str, *, path: Path | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `code` in a fresh process that imports this package, and what is in `path`."""
    places = [str(Path(keras_flowers.__file__).parents[1]), *([str(path)] if path else [])]
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with an empty package `tensorflow`."""
    (tmp_path / "tensorflow.py").touch()
    return tmp_path


def test_check_can_fail(stand_in: Path) -> None:
    assert loaded("import tensorflow", *HEAVY, path=stand_in) == {"tensorflow"}
    assert loaded("import matplotlib", *DRAWING) == {"matplotlib"}


def test_package_loads_nothing() -> None:
    assert loaded("import keras_flowers", *HEAVY, *DRAWING, "numpy", "PIL") == set()


def inference_modules(package: str = "keras_flowers.inference") -> list[str]:
    """Every module of the wing, by name, so that a new file is checked without being listed."""
    places = importlib.import_module(package).__path__
    return [one.name for one in pkgutil.walk_packages(places, f"{package}.")]


def test_whole_wing_of_inference_loads_no_tensorflow_and_no_pyplot() -> None:
    modules = inference_modules()
    assert {"keras_flowers.inference.classifier", "keras_flowers.inference.image"} <= set(modules)
    code = "\n".join(f"import {module}" for module in modules)
    assert loaded(code, *HEAVY, "cv2") == set()
    assert loaded("import keras_flowers.inference.classifier", *DRAWING) == set()


def test_module_of_inference_that_loads_scipy_would_be_found(tmp_path: Path) -> None:
    package = tmp_path / "wing"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "fast.py").write_text("import scipy")
    (tmp_path / "scipy.py").touch()
    names = [one.name for one in pkgutil.walk_packages([str(package)], "wing.")]
    assert names == ["wing.fast"]
    assert loaded("import wing.fast", *HEAVY, path=tmp_path) == {"scipy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_no_tensorflow(command: str) -> None:
    code = f"import keras_flowers.commands.{command} as command; command.parser().format_help()"
    assert loaded(code, *HEAVY) == set()


def test_help_of_the_measures_on_other_flowers_loads_no_tensorflow() -> None:
    modules = "tools.going_on", "tools.new_flowers"
    code = "\n".join(f"import {one}; {one}.parser().format_help()" for one in modules)
    assert loaded(code, "tensorflow", "keras", path=Path(__file__).parents[1]) == set()


def test_chart_loads_no_tensorflow_and_no_pyplot() -> None:
    code = (
        "import keras_flowers.inference.chart, sys; assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert loaded(code, *HEAVY) == set()


def test_naming_a_photo_loads_no_tensorflow(
    colour_model: Path, colour_photos: Path, tmp_path: Path
) -> None:
    # The command runs where importing TensorFlow is an error: it does not try and recover either.
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    arguments = [str(colour_photos / "cyan.png"), "--model", str(colour_model)]
    run = "from keras_flowers.commands import predict; assert predict.main({}) == 0"
    code = run.format([*arguments, "--no_chart"])
    assert loaded(code, *HEAVY, *DRAWING, path=tmp_path) == set()
    code = run.format([*arguments, "--chart", str(tmp_path / "chart.png")])
    assert loaded(code, *HEAVY, *DRAWING, path=tmp_path) == {"matplotlib"}


def test_classifier_in_python_loads_no_tensorflow(colour_model: Path, colour_photos: Path) -> None:
    code = (
        "from keras_flowers import load_classifier\n"
        f"answer = load_classifier({str(colour_model)!r}).predict("
        f"{str(colour_photos / 'yellow.png')!r})\n"
        "assert answer.name == 'yellow'"
    )
    assert loaded(code, *HEAVY, *DRAWING) == set()


def test_training_without_tensorflow_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(keras=None)\n"
        "from keras_flowers.commands import exit, train\n"
        "exit.exit_with(train.main)"
    )
    process = run_code(code, cwd=tmp_path)
    assert process.returncode == 2
    assert 'run: pip install ".[train]"' in process.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
