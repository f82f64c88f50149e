"""The documents name files, functions and commands that exist, and their code blocks run."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import Block, blocks_of, problems_of_python, problems_of_shell

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_pages_tell_to_type_is_understood(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language, f"{block}: say the language behind the fence; text for output"
        if block.language == "sh":
            assert list(problems_of_shell(block.code)) == [], block
        elif block.language == "python":
            assert list(problems_of_python(block.code)) == [], block
        assert block.why_not is None or len(block.why_not) > 10, f"{block}: why is it not run?"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("keras-flowers train --datta photos", "unrecognized arguments: --datta photos"),
        ("ls && keras-flowers predict x.jpg --top_k", "expected one argument"),
        ("python -m keras_flowers grow", "grow is no command"),
        ("python -m tools.benchmark --rows 99", "invalid choice"),
        ("python tools/results.py --recipes none", "invalid choice"),
        ('pip install ".[train,grow]"', "no extra grow"),
        ("npm --prefix page run grow", "no such script"),
        ("keras-flowers train --data a \\\n    --epochs many  # a remark", "invalid int value"),
    ],
)
def test_mistake_in_a_command_line_is_found(code: str, problem: str) -> None:
    (found,) = problems_of_shell(code)
    assert problem in found


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("from keras_flowers.inference import image", "is not public"),
        ("from keras_flowers import grow", "keras_flowers.grow is not public"),
        ("from keras_flowers import TrainConfig\nTrainConfig(epoch=3)", "argument 'epoch'"),
        ("from keras_flowers import evaluate_model\nevaluate_model()", "'model'"),
    ],
)
def test_mistake_in_a_python_block_is_found(code: str, problem: str) -> None:
    (found,) = problems_of_python(code)
    assert problem in found


RUN = [
    block
    for page in PAGES
    for block in blocks_of(page)
    if block.why_not is None and block.language in ("sh", "python")
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of somebody who reads the pages: what the blocks name lies in it."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "saved_models").mkdir()
    (folder / "saved_models" / "flowers102").symlink_to(ROOT / "saved_models" / "flowers102")
    (folder / "holiday").mkdir()
    for name in ("photo.jpg", "holiday/one.jpg"):
        shutil.copy(ROOT / "docs" / "sunflower.jpg", folder / name)
    return folder


@pytest.mark.parametrize("block", [one for one in RUN if one.language == "sh"], ids=str)
def test_shell_block_runs(block: Block, reader: Path) -> None:
    # The package is there already; that it can be installed is shown by .ci/run.
    script = f"set -euo pipefail\npip() {{ :; }}\n{block.code}"
    process = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=reader,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
    )
    assert process.returncode == 0, process.stderr
    written = [path.read_text() for path in reader.glob("holiday.csv")]
    assert "sunflower" in process.stdout or "sunflower" in "".join(written)


@pytest.mark.parametrize("block", [one for one in RUN if one.language == "python"], ids=str)
def test_python_block_runs(
    block: Block,
    reader: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("tensorflow", "mediapipe"):
        if f"import {module}" in block.code:
            pytest.importorskip(module)
    monkeypatch.chdir(reader)
    exec(compile(block.code, str(block), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines()[-1].startswith("sunflower")


def test_most_kinds_of_use_are_run() -> None:
    code = "\n".join(block.code for block in RUN)
    for what in ("predict holiday/", "load_classifier", "saved_model_cli", "mediapipe"):
        assert what in code
    # In the README above all.
    assert any(block.page == "README.md" for block in RUN)


def test_notebook_is_kept_without_answers_and_understood() -> None:
    # With them, it would say what an earlier model answered.
    notebook = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 8
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    code = "\n".join("".join(cell["source"]) for cell in cells)
    drawn = "keras_flowers.training.synthetic."
    assert [one for one in problems_of_python(code) if not one.startswith(drawn)] == []
    for name in ("load_classifier", "train_model", "evaluate_model", "export_model"):
        assert name in code
