"""How numbers and paths are shown to people, in text and in pictures."""

from __future__ import annotations

import os


def percent(probability: float) -> str:
    """`probability`, 0..1, as a percentage that says never or certain of nothing that is neither.

    >>> percent(0.25), percent(0.0004), percent(0.9996), percent(1.0)
    ('25.0%', '<0.1%', '>99.9%', '100.0%')
    """
    if 0 < probability < 0.0005:
        return "<0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{probability:.1%}"


def printable(path: str | os.PathLike[str]) -> str:
    r"""The path in one line that any terminal can show.

    >>> print(printable("my flower.jpg"), printable("two\nlines.jpg"))
    my flower.jpg 'two\nlines.jpg'
    """
    text = os.fspath(path)
    return text if text and text.isprintable() else repr(text)
