"""The architecture as a test: who may import whom, and who may talk to people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import keras_flowers

PACKAGE = Path(keras_flowers.__file__).parent

WINGS = ("inference", "training", "export", "commands")
"""From the bottom to the top: a wing imports from itself and those before it."""

FRONTS = {"__init__", "__main__", "train", "predict", "evaluate"}
"""Files at the top that start a command or name the public API: they may import anything."""

NO_TENSORFLOW = ("tensorflow", "keras", "tensorflow_datasets", "scipy", "absl")


def modules() -> list[Path]:
    # The model that ships is installed as a folder of the package; in a clone it lies elsewhere.
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "flowers102" not in path.parts]


def layer_of(path: Path, package: Path = PACKAGE) -> int | None:
    """0 for what all share, then 1 and up for the wings; None for the fronts."""
    parts = path.relative_to(package).parts
    if len(parts) > 1:
        return WINGS.index(parts[0]) + 1
    return None if path.stem in FRONTS else 0


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything that is imported, at the top or in a function.

    What is imported for its type alone counts, too: it is knowledge of the other wing all the same.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which wing is meant"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def arrows_up(path: Path, text: str, package: Path = PACKAGE) -> list[str]:
    """The imports in `text` that go from a lower wing to a higher one."""
    layer = layer_of(path, package)
    if layer is None:
        return []
    wrong = []
    for line, name in imported(ast.parse(text)):
        parts = name.split(".")
        if parts[0] != "keras_flowers" or len(parts) < 2:
            continue
        target = WINGS.index(parts[1]) + 1 if parts[1] in WINGS else 0
        if parts[1] in FRONTS - {"__init__"} or target > layer:
            wrong.append(f"{path.name}:{line} {name}")
    return wrong


def talk(path: Path, text: str) -> list[str]:
    """Where a file prints, writes to a standard stream or knows the command line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("print", "input"):
                found.append(f"{path.name}:{node.lineno} {node.func.id}()")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "sys.stdout.write",
            "sys.stderr.write",
        ):
            found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    for line, name in imported(ast.parse(text)):
        if name.split(".")[0] in ("argparse", "getopt", "click"):
            found.append(f"{path.name}:{line} {name}")
    return found


def heavy_at_the_top(path: Path, text: str) -> list[str]:
    """What a file imports of TensorFlow and its kin when it is imported itself."""
    found: list[str] = []

    def look(statements: list[ast.stmt]) -> None:
        for one in statements:
            if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING":
                continue
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(one, ast.Import | ast.ImportFrom):
                found.extend(
                    f"{path.name}:{line} {name}"
                    for line, name in imported(one)
                    if name.split(".")[0] in NO_TENSORFLOW
                )
            for field in ("body", "orelse", "finalbody", "handlers"):
                look(getattr(one, field, []))

    look(ast.parse(text).body)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    assert arrows_up(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "statement", "wrong"),
    [
        ("training/train.py", "from keras_flowers.export import verify", True),
        ("training/train.py", "def f():\n    import keras_flowers.export.verify", True),
        ("training/train.py", "from keras_flowers import export", True),
        ("inference/image.py", "from keras_flowers.training.config import TrainConfig", True),
        ("export/verify.py", "from keras_flowers.commands.exit import exit_with", True),
        ("files.py", "from keras_flowers.inference.image import read_pixels", True),
        ("inference/image.py", "from keras_flowers.predict import main", True),
        ("inference/image.py", "from keras_flowers import __version__", False),
        ("commands/train.py", "from keras_flowers.export.verify import verify_model", False),
        ("export/verify.py", "from keras_flowers.training import metrics", False),
        ("training/train.py", "from keras_flowers.errors import UserError", False),
        ("__main__.py", "from keras_flowers.commands.exit import exit_with", False),
    ],
)
def test_arrow_up_is_found(file: str, statement: str, wrong: bool) -> None:
    assert bool(arrows_up(PACKAGE / file, statement)) is wrong


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if layer_of(path) in (0, 1, 2, 3)],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_only_commands_talk_to_people(path: Path) -> None:
    assert talk(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("def f():\n    print('done')", True),
        ("import sys\nsys.stderr.write('done')", True),
        ("import argparse", True),
        ("def f():\n    from argparse import ArgumentParser", True),
        ("text = 'print() in a text'", False),
        ("logger.info('done')", False),
    ],
)
def test_talk_is_found(statement: str, found: bool) -> None:
    assert bool(talk(PACKAGE / "training" / "train.py", statement)) is found


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if layer_of(path) in (None, 0, 1, 4)],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_what_predicts_or_starts_a_command_imports_no_tensorflow_at_its_top(path: Path) -> None:
    assert heavy_at_the_top(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import tensorflow as tf", True),
        ("try:\n    from keras import layers\nexcept ImportError:\n    pass", True),
        ("class A:\n    import scipy.special", True),
        ("if TYPE_CHECKING:\n    import keras", False),
        ("def f():\n    import tensorflow", False),
    ],
)
def test_tensorflow_at_the_top_is_found(statement: str, found: bool) -> None:
    assert bool(heavy_at_the_top(PACKAGE / "inference" / "image.py", statement)) is found


def test_wings_are_the_folders() -> None:
    folders = {path.parent.name for path in modules() if path.name == "__init__.py"}
    assert folders == {"keras_flowers", *WINGS} | {
        path.parent.name for path in PACKAGE.glob("*/*/__init__.py")
    }
