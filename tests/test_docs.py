"""The documents name files, functions and commands that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import keras_flowers
from keras_flowers.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("saved_models/flowers102/*.md")),
]


def _problems(text: str, folder: Path) -> Iterator[str]:
    """What a page in `folder` names and is not there.

    A link `[module.name](path/to/module.py)`, its text in code, promises that the module defines
    the name.
    """
    for label, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:|#", target):
            continue
        path = folder / target.partition("#")[0]
        if not path.exists():
            yield target
        elif path.suffix == ".py" and (named := re.fullmatch(r"`(\w+)\.(\w+)`", label)):
            module, name = named.groups()
            if module != path.stem or name not in _definitions(path):
                yield f"{module}.{name}"
    for module in re.findall(r"python -m ((?:keras_flowers|tools)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        if not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
            yield module
    for command in re.findall(r"(?<![/\w.])keras-flowers ([a-z]\w*)", text):
        if command not in COMMANDS:
            yield f"keras-flowers {command}"
    for script in re.findall(r"python ((?:tools|tests)/[\w/]+\.py)", text):
        if not (ROOT / script).is_file():
            yield script

    for file in re.findall(r"`((?:keras_flowers|tools|tests)/[\w/]+(?:\.\w+)?)`", text):
        if not (ROOT / file).exists():
            yield file
    yield from _missing_tests(text)


def _missing_tests(text: str) -> Iterator[str]:
    """The tests that a page names and that are not there.

    A page names them as `folder/test_file.py::test_name`; "…" stands for the rest of a name, and a
    name that begins with it is of the file before.
    """
    names: set[str] = set()
    for file, test in re.findall(r"`((?:[\w/]+/)?test_\w+\.py)?(?:::)?(test_\w+…?|…\w+…?)?`", text):
        if file:
            path = ROOT / "tests" / file
            names = _definitions(path) if path.is_file() else set()
            if not names:
                yield file
        pattern = re.escape(test).replace("…", ".*")
        if test and not any(re.fullmatch(pattern, name) for name in names):
            yield test


def _definitions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert list(_problems(page.read_text(encoding="utf-8"), page.parent)) == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("[a page](docs/nowhere.md)", "docs/nowhere.md"),
        ("![a picture](docs/nowhere.png)", "docs/nowhere.png"),
        ("[`model.grow`](keras_flowers/training/model.py)", "model.grow"),
        ("[`fit.build_model`](keras_flowers/training/model.py)", "fit.build_model"),
        ("python -m keras_flowers.grow", "keras_flowers.grow"),
        ("python -m tools.grow", "tools.grow"),
        ("python -m keras_flowers.training", "keras_flowers.training"),
        ("python tools/grow.py", "tools/grow.py"),
        ("in `tools/grow/`", "tools/grow/"),
        ("`keras-flowers grow PHOTO`", "keras-flowers grow"),
        ("see `keras_flowers/presets.py`", "keras_flowers/presets.py"),
        ("`training/test_grow.py`", "training/test_grow.py"),
        ("`test_docs.py::test_grow_…`", "test_grow_…"),
        ("`test_docs.py::test_what_…`, `…of_no_use…`", "…of_no_use…"),
    ],
)
def test_what_does_not_exist_is_found(text: str, missing: str) -> None:
    assert list(_problems(text, ROOT)) == [missing]


def test_every_picture_is_shown() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    # The README shows the prediction and the page; the pictures of docs begin as this photo.
    made_by_hand = {"prediction.png", "page.jpg", "sunflower.jpg"}
    pictures = {path.name for kind in ("png", "jpg") for path in ROOT.glob(f"docs/*.{kind}")}
    assert {name for name in pictures - made_by_hand if f"({name})" not in shown} == set()


def _python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_readme_imports_public_names_only() -> None:
    blocks = _python_blocks(ROOT / "README.md")
    nodes = [node for block in blocks for node in ast.walk(ast.parse(block))]
    imports = [one for one in nodes if isinstance(one, ast.ImportFrom)]
    ours = [one for one in imports if one.module and one.module.startswith("keras_flowers")]
    assert {one.module for one in ours} == {"keras_flowers"}
    names = {alias.name for one in ours for alias in one.names}
    assert {"load_classifier", "train_model"} <= names <= set(keras_flowers.__all__)


def test_readme_predicts_in_python() -> None:
    block = next(one for one in _python_blocks(ROOT / "README.md") if "load_classifier" in one)
    process = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert process.stdout.splitlines()[-1].startswith("sunflower 0.99")
