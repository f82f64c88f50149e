"""How numbers and paths are shown to people, in text and in pictures."""

from __future__ import annotations

import os
import re

from keras_flowers.errors import UserError


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


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Says what to do with the address of something on the web, where a path is expected.

    Raises:
        UserError: `path` is such an address, and nothing on this disk is called so.

    >>> refuse_url("a.jpg"), refuse_url("C:/a.jpg")
    (None, None)
    """
    # One slash, since a Path has no second one; Windows' drives have a single letter.
    is_url = re.match("[a-z][a-z0-9+.-]+:/", os.fspath(path), re.IGNORECASE)
    if is_url and not os.path.lexists(path):
        raise UserError(f"{printable(path)} is a URL; download it first, and give the file")
