"""The command `merge`: one table of all parts that `predict --output FOLDER/` wrote."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.inference.text import printable

_EXAMPLES = """
examples:
  check that every part is there once, and write answers.parquet
    keras-flowers merge answers/

  a table for spreadsheets
    keras-flowers merge answers/ --output answers.csv

exit code: 0 the table is written; 2 parts are missing or damaged, or a mistake in the command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    show_messages()
    options = parser().parse_args(argv)
    # Here, since the parser alone is asked for by --completion.
    from keras_flowers.inference.scale.folder import RunFolder

    folder: Path = options.folder
    output: Path = options.output or folder.resolve().with_name(f"{folder.resolve().name}.parquet")
    run = RunFolder.open(folder)
    count = run.merge(output)
    failed = f"; {count.failed} could not be read, as their rows say" if count.failed else ""
    print(f"{printable(output)}: {count.photos} photos, each once (parts: {run.parts}){failed}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers merge",
        description="Checks that a long run is complete, and writes its rows as one table.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="what keras-flowers predict PHOTOS --output FOLDER/ wrote",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to: .parquet or .csv (default: FOLDER.parquet, beside the folder)",
    )
    return parser


if __name__ == "__main__":
    exit_with(main)
