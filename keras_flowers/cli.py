"""How every command line ends: a result, or one line on standard error; never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keras_flowers.errors import UserError

EXIT_SOME_FAILED = 1
"""Exit code when part of the input was answered and part could not be, or a bound was broken."""

EXIT_BAD_INPUT = 2
"""Exit code when nothing was done because of what was given; argparse uses the same one."""

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells report it."""


def run(main: Callable[[], int], *, stopped: str = "stopped") -> None:
    """Calls a command line's `main` and exits the process with what it returns.

    A `UserError`, and what the operating system refuses (no such file, disk full, no permission),
    become one line on standard error.

    Args:
        main: The command line; returns the exit code.
        stopped: What to say after Ctrl-C.
    """
    try:
        with _ctrl_c_as_itself():
            code = main()
            sys.stdout.flush()
    except UserError as error:
        code = _fail(str(error))
    except KeyboardInterrupt:
        print(f"\n{stopped}", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_SOME_FAILED
    except OSError as error:
        reason = error.strerror or str(error)
        code = _fail(f"{reason}: {error.filename}" if error.filename else reason)
    sys.exit(code)


@contextmanager
def _ctrl_c_as_itself() -> Iterator[None]:
    """Raises KeyboardInterrupt for every error that one led to.

    Libraries in C give it other names: while they are loaded, "ImportError: initialization failed".
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise


def _fail(message: str) -> int:
    line = " ".join(message.split())
    # A file's name may hold what steers a terminal.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"error: {shown}", file=sys.stderr)
    return EXIT_BAD_INPUT
