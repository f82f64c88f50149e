"""Writes the script with which a shell completes `keras-flowers` with the Tab key."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence

from keras_flowers.errors import UserError

SHELLS = ("bash", "zsh", "tcsh")


def write_completion(arguments: Sequence[str], commands: Mapping[str, str]) -> None:
    """Prints the script for the shell in `arguments`.

    The script is written once and knows every option, so that the Tab key starts no Python, and no
    command has to look whether it was called for completion.

    Args:
        arguments: What followed `--completion`: the name of a shell.
        commands: Each command with what it does.

    Raises:
        UserError: The shell is not one of `SHELLS`, or the package shtab is not installed.
    """
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        got = " ".join(arguments) or "nothing"
        raise UserError(f"--completion: expected one of {', '.join(SHELLS)}, got {got}")
    try:
        import shtab
    except ImportError:
        raise UserError(
            "--completion needs the package shtab, which is not installed; run: pip install shtab"
        ) from None
    print(shtab.complete(_parser(commands), shell=arguments[0]))


def _parser(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """One parser of all commands."""
    import shtab

    parser = argparse.ArgumentParser(prog="keras-flowers")
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers()
    for name, text in commands.items():
        command = importlib.import_module(f"keras_flowers.commands.{name}").parser()
        for action in command._actions:
            # Every other value is a file or folder often enough to offer those.
            if action.choices is None and action.nargs != 0 and action.type not in (int, float):
                action.complete = shtab.FILE
        subparsers.add_parser(name, parents=[command], add_help=False, help=text)
    return parser
