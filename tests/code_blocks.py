"""The code blocks of the documents, and what can be checked of them without running them."""

from __future__ import annotations

import argparse
import ast
import configparser
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras_flowers
from keras_flowers.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]

NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n\Z", re.DOTALL)
"""The comment right above a block that is not run; it says why."""

_FENCE = re.compile(r"^(```+)([^\n]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: Its page, by the path in the repository.
        line: Where it begins.
        language: What stands behind the fence.
        code: What it says.
        why_not: The reason why it is not run; None for one that is.
    """

    page: str
    line: int
    language: str
    code: str
    why_not: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, from top to bottom."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = []
    for fence in _FENCE.finditer(text):
        above = NOT_RUN.search(text[: fence.start()])
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(name, line, fence[2], fence[3], above[1] if above else None))
    return found


def problems_of_shell(code: str) -> Iterator[str]:
    """What the programs named in a shell block would not take, by their own parsers."""
    for words in _commands(code):
        program, *rest = words
        try:
            if program == "keras-flowers":
                _parse_ours(rest)
            elif program == "pip":
                yield from _problems_of_pip(rest)
            elif program in ("python", "python3"):
                _parse_python(rest)
            elif program == "npm" and "run" in rest:
                scripts = json.loads((ROOT / "page" / "package.json").read_text())["scripts"]
                if rest[rest.index("run") + 1] not in scripts:
                    yield f"{' '.join(words)}: no such script"
        except _RefusedError as refusal:
            yield f"{' '.join(words)}: {refusal}"


def problems_of_python(code: str) -> Iterator[str]:
    """Names of ours that a Python block imports and that are not public, and arguments amiss."""
    tree = ast.parse(code)
    ours = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_flowers"):
            for alias in node.names:
                if node.module != "keras_flowers" or alias.name not in keras_flowers.__all__:
                    yield f"{node.module}.{alias.name} is not public"
                else:
                    ours.add(alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ours:
            function = getattr(keras_flowers, node.func.id)
            named = {one.arg: None for one in node.keywords if one.arg}
            try:
                inspect.signature(function).bind(*[None] * len(node.args), **named)
            except TypeError as error:
                yield f"{node.func.id}: {error}"


class _RefusedError(Exception):
    pass


def _commands(code: str) -> Iterator[list[str]]:
    """The words of each command in a shell block."""
    # A variable stands for a number wherever a parser looks at what it gets.
    numbered = re.sub(r"\$\w+", "1", code)
    for line in numbered.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if re.fullmatch(r"[|&;]+", word):
                if words:
                    yield words
                words = []
            elif re.fullmatch(r"[<>]+", word) or "=" in word and not words:
                continue
            else:
                words.append(word)


def _parse_ours(words: list[str]) -> None:
    if not words or words[0] in ("--version", "--completion"):
        return
    name, *arguments = words
    if name not in COMMANDS:
        raise _RefusedError(f"{name} is no command")
    _parse(importlib.import_module(f"keras_flowers.commands.{name}").parser(), arguments)


def _parse_python(words: list[str]) -> None:
    if words[:2] == ["-m", "keras_flowers"]:
        _parse_ours(words[2:])
    elif words[:1] == ["-m"] and words[1].startswith("tools."):
        module = importlib.import_module(words[1])
        if hasattr(module, "__path__"):  # a package
            module = importlib.import_module(f"{words[1]}.__main__")
        _parse(module.parser(), words[2:])
    elif words[0].startswith("tools/"):
        name = words[0].removesuffix(".py").replace("/", ".")
        _parse(importlib.import_module(name).parser(), words[1:])


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> None:
    def refuse(message: str) -> None:
        raise _RefusedError(message)

    parser.error = refuse  # type: ignore[assignment, method-assign]
    parser.parse_args(words)


def _problems_of_pip(words: list[str]) -> Iterator[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for extras in re.findall(r"\.\[([\w,-]+)\]", " ".join(words)):
        for extra in extras.split(","):
            if extra not in setup["options.extras_require"]:
                yield f"pip {' '.join(words)}: there is no extra {extra}"
