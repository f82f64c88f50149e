"""The front door: `keras-flowers COMMAND`, which is `python -m keras_flowers COMMAND`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from keras_flowers import __version__
from keras_flowers.commands.exit import exit_with
from keras_flowers.errors import UserError

COMMANDS = {
    "predict": "name the flowers in photos",
    "merge": "make one table of what a long run of predict wrote in parts",
    "similar": "show the training photos that a photo resembles most",
    "page": "name flowers in a browser, on your computer or phone",
    "data": "look at your photos before training: wrong labels, duplicates and more",
    "train": "train a classifier of your own",
    "report": "write a page that tells how good a run is, and where it goes wrong",
    "evaluate": "score a model on labelled photos",
    "compare": "say which of two runs is better, and whether that is chance",
    "export": "write a trained model as SavedModel and TFLite files",
    "verify": "check that all files of a model give the same answers",
    "doubt": "fit when a trained model says that it does not know",
    "cache": "list or delete the features that training keeps",
}
"""A command is a file of this name in commands/, with `main(argv)` and `parser()`, and a row here.

Only the module of the command that was called is imported, so that none slows down another.
"""

HELP = f"""usage: keras-flowers COMMAND [ARGUMENT ...]

Start with: keras-flowers predict PHOTO. It needs no training and no download.

{chr(10).join(f"  {name:<10}{text}" for name, text in COMMANDS.items())}

keras-flowers COMMAND --help explains a command. --version prints the version,
--completion bash (or zsh, tcsh) a script that completes commands with the Tab key.
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command that the first argument names.

    Returns:
        The exit code of the command.

    Raises:
        UserError: There is no such command.
    """
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    first, *others = argv
    if first == "--version":
        print(f"keras_flowers {__version__}")
    elif first == "--completion":
        from keras_flowers.commands.completion import write_completion

        write_completion(others, COMMANDS)
    elif first in COMMANDS:
        code: int = _command(first).main(others)
        return code
    else:
        raise UserError(_unknown(first))
    return 0


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"keras_flowers.commands.{name}")


def _unknown(first: str) -> str:
    import difflib  # here, since naming a photo does not need it

    near = difflib.get_close_matches(first, COMMANDS, n=1)
    advice = (
        f"did you mean {near[0]}?" if near else f"to name a photo: keras-flowers predict {first}"
    )
    return f"{first} is not a command; expected one of {', '.join(COMMANDS)}; {advice}"


def _stopped() -> str:
    """What the command that was called says after Ctrl-C."""
    module = sys.modules.get(f"keras_flowers.commands.{(sys.argv[1:] or [''])[0]}")
    return str(getattr(module, "STOPPED", "stopped"))


def run() -> None:
    """Starts the front door, and ends the process with its exit code."""
    exit_with(lambda: main(sys.argv[1:]), stopped=_stopped)


if __name__ == "__main__":
    run()
