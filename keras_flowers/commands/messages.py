"""Shows on the terminal what the library says through `logging`."""

from __future__ import annotations

import logging
import sys

from keras_flowers.commands.exit import escaped


def show_messages() -> None:
    """Prints what `keras_flowers` logs: information on standard output, the rest on standard error.

    The library itself never prints: inside of somebody's program its messages go where theirs go.
    """
    logger = logging.getLogger("keras_flowers")
    if not any(isinstance(one, _ToTerminal) for one in logger.handlers):
        logger.addHandler(_ToTerminal())
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _ToTerminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Looked up anew: both streams may have been replaced since.
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        if stream is not None:
            lines = map(escaped, record.getMessage().split("\n"))
            print("\n".join(lines), file=stream, flush=True)
