"""How every command line ends: a result, or one line on standard error; never a traceback."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from keras_flowers.errors import UserError
from keras_flowers.system import open_standard_streams

EXIT_SOME_FAILED = 1
"""Exit code when part of the input was answered and part could not be, or a bound was broken."""

EXIT_BAD_INPUT = 2
"""Exit code when nothing was done because of what was given; argparse uses the same one."""

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells report it."""


def exit_with(main: Callable[[], int], *, stopped: str | Callable[[], str] = "stopped") -> None:
    """Calls a command line's `main` and exits the process with what it returns.

    A `UserError`, and what the operating system refuses (no such file, disk full, no permission),
    become one line on standard error.

    Args:
        main: The command line; returns the exit code.
        stopped: What to say after Ctrl-C, or a function that returns it.
    """
    open_standard_streams()
    try:
        with _ctrl_c_as_itself():
            code = main()
            sys.stdout.flush()
    except UserError as error:
        code = _fail(str(error))
    except KeyboardInterrupt:
        print(f"\n{stopped if isinstance(stopped, str) else stopped()}", file=sys.stderr)
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
    """Raises KeyboardInterrupt for every error after Ctrl-C, and prints none of them.

    Libraries in C that meet it give it other names: "ImportError: initialization failed" while they
    are loaded, RuntimeError in TensorFlow's graphs. Some print a traceback of it besides
    (TensorFlow inside of `tf.nest`, Cython), and what clears objects away prints and drops it.
    """
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    # In a script's background jobs it is ignored, and has to stay so.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    hooks = sys.excepthook, sys.unraisablehook
    again: list[threading.Timer] = []

    def print_error(kind: type[BaseException], *error: Any) -> None:
        if not pressed:
            hooks[0](kind, *error)

    def print_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if not pressed:
            hooks[1](dropped)
        elif isinstance(dropped.exc_value, KeyboardInterrupt):
            # Once more, as soon as Python is out of where it was lost.
            again.append(threading.Timer(0.05, _press_ctrl_c))
            again[-1].start()

    signal.signal(signal.SIGINT, note)
    sys.excepthook, sys.unraisablehook = print_error, print_dropped
    try:
        yield
    except BaseException as error:
        if not pressed:
            raise
        # Objects that were interrupted while they were made complain when they are cleared away:
        # now, while nothing of it is printed.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, Exception):
            raise KeyboardInterrupt from error
        raise
    finally:
        for timer in again:
            timer.cancel()
        sys.excepthook, sys.unraisablehook = hooks
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _press_ctrl_c() -> None:
    """Interrupts the main thread from another one, also while it waits."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:  # Windows, where this ends waiting, too
        signal.raise_signal(signal.SIGINT)


def escaped(text: str) -> str:
    """One line of text, with what would steer a terminal made visible.

    >>> print(escaped("a name\\x1b[31m of a file"))
    a name\\x1b[31m of a file
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fail(message: str) -> int:
    print(f"error: {escaped(' '.join(message.split()))}", file=sys.stderr)
    return EXIT_BAD_INPUT
