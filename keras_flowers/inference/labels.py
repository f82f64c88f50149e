"""Label files: the names of a model's classes, as text a line each or as JSON with numbers."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_flowers.errors import UserError, reason_of

_BLANK = " \t\ufeff"
"""What editors leave around a name; the last is the byte order mark, also between joined files."""

_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no name may contain: control characters, which could also steer the
terminal a name is printed to, halves of surrogate pairs, which UTF-8 cannot hold, line ends."""


def parse_labels(text: str, *, source: str = "the label file") -> tuple[str, ...]:
    r"""Takes the names from the text of a label file, one a line in index order.

    A byte order mark, Windows line ends, spaces around a name and empty lines at the end are
    accepted: editors add them.

    Args:
        text: The whole text.
        source: What to call the text in an error.

    Returns:
        The names; the one on line `i` (from 1) is that of class `i - 1`.

    Raises:
        UserError: There is no name, a line before the last name is empty, a name occurs twice or
            contains a control character.

    >>> parse_labels("daisy\r\nrose\r\n")
    ('daisy', 'rose')
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    names = [line.strip(_BLANK) for line in lines]
    while names and not names[-1]:
        names.pop()
    _check_names(names, source=source, place="line")
    return tuple(names)


def format_labels(names: Sequence[str]) -> str:
    r"""Writes names as the text of a label file, which `parse_labels` reads back unchanged.

    Args:
        names: One a class, in index order.

    Returns:
        One name a line, each line ended by a line feed.

    Raises:
        UserError: A label file cannot hold these names: there are none, one is empty, occurs twice,
            has spaces around it or contains a line break or another control character.

    >>> format_labels(["daisy", "rose"])
    'daisy\nrose\n'
    """
    _check_names(names, source="the list of names", place="item")
    text = "".join(f"{name}\n" for name in names)
    if parse_labels(text) != tuple(names):
        spaced = next(name for name in names if name != name.strip(_BLANK))
        raise UserError(
            f"the list of names has spaces or a byte order mark around {spaced!r}; "
            "expected the bare name: remove them"
        )
    return text


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a label file: UTF-8 text, one name a line in index order.

    Args:
        path: The file, such as the `label.labels.txt` that TFDS keeps beside its records.

    Returns:
        The names, as `parse_labels` takes them from the text.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or is refused by `parse_labels`.
    """
    return parse_labels(_read_text(path), source=os.fspath(path))


def read_category_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads names from a JSON file keyed by class number, as Udacity's `cat_to_name.json`.

    Its numbers are Oxford's, counted from 1 and written as text, in no order: {"21": "fire lily",
    "3": "canterbury bells", ...}. TFDS's class index is that number minus 1. The `label_map.json`
    of the TensorFlow course counts from 0, as TFDS does. Sorting the keys as text ("1", "10",
    "100", ...) instead gives 91 of the 102 flowers another one's name.

    Args:
        path: The file: one object with a name for each of "1" to "N", or of "0" to "N - 1".

    Returns:
        The N names in TFDS's order: by their numbers, the smallest first.

    Raises:
        UserError: The file cannot be read or is not JSON in UTF-8, its keys are neither exactly "1"
            to "N" nor "0" to "N - 1", or a name is not a text, is empty, occurs twice or contains a
            control character.
    """
    source = os.fspath(path)
    expected = 'expected {"1": "a name", "2": "a name", ...} with a name for every number'
    try:
        named = json.loads(_read_text(path), object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        reason = reason_of(error)
        raise UserError(f"{source} is not usable JSON ({reason}); {expected}: correct it") from None
    if not isinstance(named, dict):
        raise UserError(
            f"{source} holds a JSON {type(named).__name__}, not an object; {expected}. "
            "For a plain list of names use a text file, one name a line"
        )
    # The course of Udacity counts from 1, TensorFlow's from 0; with every number there, the first
    # one tells which.
    first = 0 if "0" in named else 1
    numbers = [str(number) for number in range(first, first + len(named))]
    missing = next((number for number in numbers if number not in named), None)
    if missing is not None:
        surplus = min(named.keys() - set(numbers))
        raise UserError(
            f"{source} has no name for {missing}; expected a name for each of {first} to "
            f"{numbers[-1]}, received {surplus!r}: correct the numbers"
        )
    names = [named[number] for number in numbers]
    for number, name in zip(numbers, names, strict=True):
        if not isinstance(name, str):
            raise UserError(
                f"{source}: number {number} has a JSON {type(name).__name__} for a name; "
                "expected a text: correct it"
            )
    names = [name.strip(_BLANK) for name in names]
    _check_names(names, source=source, place="number")
    return tuple(names)


def _check_names(names: Iterable[str], *, source: str, place: str) -> None:
    """Refuses what would make a name ambiguous or break a line; `place` is what `names` counts."""
    first_place: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip(_BLANK):
            raise UserError(
                f"{source}: {place} {number} is empty; expected a name for every class: "
                "fill it in or remove it"
            )
        if any(unicodedata.category(character) in _UNWRITABLE for character in name):
            raise UserError(
                f"{source}: {place} {number} is {name[:40]!r}, with a control character; "
                "expected a name in plain text: remove the character"
            )
        if name in first_place:
            raise UserError(
                f"{source}: {place} {number} repeats {name!r} of {place} {first_place[name]}; "
                "expected a different name for every class: rename or remove one"
            )
        first_place[name] = number
    if not first_place:
        raise UserError(f"{source} is empty; expected a name for every class: write them into it")


def _read_text(path: str | os.PathLike[str]) -> str:
    source = os.fspath(path)
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{source} does not exist; expected the path of a label file") from None
    except IsADirectoryError:
        raise UserError(f"{source} is a folder; expected the path of a label file") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{source} is not text in UTF-8, as a label file must be; save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{source} cannot be read ({reason_of(error)}); choose another label file"
        ) from None


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python's own reading keeps the last of them and would silently lose a name.
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {repeated!r} occurs more than once")
    return members
