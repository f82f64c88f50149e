"""Shows on the terminal what the library says through `logging`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from keras_flowers.commands.exit import escaped
from keras_flowers.system import is_verbose


def show_messages() -> None:
    """Prints what `keras_flowers` logs: information on standard output, the rest on standard error.

    The library itself never prints: inside of somebody's program its messages go where theirs go.
    What TensorFlow itself reports in Python (retraced functions and the like) is not shown, unless
    `--verbose` asks for it.
    """
    if not is_verbose():
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Many fonts of other scripts are not there in bold: no news to who reads a chart.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    logger = logging.getLogger("keras_flowers")
    if not any(isinstance(one, _ToTerminal) for one in logger.handlers):
        logger.addHandler(_ToTerminal())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def add_verbose(parser: argparse.ArgumentParser) -> None:
    """Gives a command that uses TensorFlow the option `--verbose`."""
    parser.add_argument(
        "--verbose",
        action=_Verbose,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="also show what TensorFlow reports",
    )


class _Verbose(argparse.Action):
    def __call__(self, *_: Any) -> None:
        # TensorFlow reads it while it is imported, and so do the processes that are started.
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        logging.getLogger("tensorflow").setLevel(logging.NOTSET)


class _ToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Looked up anew: both streams may have been replaced since.
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        if stream is not None:
            lines = map(escaped, record.getMessage().split("\n"))
            print("\n".join(lines), file=stream, flush=True)
