"""The user's mistake as an exception: one line that says what to do next."""

from __future__ import annotations


class UserError(Exception):
    """What the user can fix: what was expected, what was received, what to do next.

    Every command prints it as one line and exits with the code 2.
    """


def missing_extra(package: str, extra: str) -> UserError:
    """The error for a package that only the optional dependencies `extra` install.

    This project is not on PyPI, and somebody else may register its name there: the message names
    no command that would ask PyPI for it.

    >>> print(missing_extra("tensorflow", "train"))
    this needs the package tensorflow, which is not installed; in a clone of keras_flowers run:
    pip install ".[train]"; with a wheel run: pip install "./keras_flowers-...[train]"
    """
    from keras_flowers import __version__

    wheel = f"./keras_flowers-{__version__}-py3-none-any.whl"
    return UserError(
        f"this needs the package {package}, which is not installed; in a clone of keras_flowers "
        f'run: pip install ".[{extra}]"; with a wheel run: pip install "{wheel}[{extra}]"'
    )


def reason_of(error: BaseException) -> str:
    """What a foreign error says, in one line: its first line, or its kind where it says nothing.

    >>> reason_of(ValueError("no such layer\\n  at line 3")), reason_of(EOFError())
    ('no such layer', 'EOFError')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).strip().splitlines()), "")[:200] or type(error).__name__
