"""The user's mistake as an exception: one line that says what to do next."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: what was expected, what was received, what to do next."""


def missing_extra(package: str, extra: str) -> UserError:
    """The error for a package that only the optional dependencies `extra` install.

    >>> print(missing_extra("tensorflow", "train"))
    this needs the package tensorflow, which is not installed;
    run: pip install "keras_flowers[train]"
    """
    return UserError(
        f"this needs the package {package}, which is not installed; "
        f'run: pip install "keras_flowers[{extra}]"'
    )


def reason_of(error: BaseException) -> str:
    """What a foreign error says, in one line: its first line, or its kind where it says nothing.

    >>> reason_of(ValueError("no such layer\\n  at line 3")), reason_of(EOFError())
    ('no such layer', 'EOFError')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
