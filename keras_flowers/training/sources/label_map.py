"""Which of our classes the labels of somebody else's photos are."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from keras_flowers.errors import UserError
from keras_flowers.inference.text import printable
from keras_flowers.training.sources.source import UNKNOWN

NO_FILE: Final = "-"
"""In the place of a label map: a source's labels are ours."""

LEAVE_OUT: Final = "-"
"""In the place of our name: their photos of this label are not read."""


def read_label_map(path: Path) -> dict[str, str]:
    """Reads lines of `their name,our name`; `-` or `unknown` in place of ours.

    Args:
        path: The file; `-` for none, where another source has one.

    Raises:
        UserError: It cannot be read, or a line is none such.
    """
    if str(path) == NO_FILE:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"the label map {printable(path)} cannot be read ({error})") from None
    found: dict[str, str] = {}
    for number, cells in enumerate(csv.reader(text.splitlines()), start=1):
        names = [cell.strip() for cell in cells]
        if not any(names) or names[0].startswith("#"):
            continue
        if len(names) != 2 or not all(names):
            raise UserError(
                f"line {number} of {printable(path)} is {','.join(cells)!r}; expected "
                "`their name,our name`, with - for leave out, or unknown"
            )
        theirs, ours = names
        if found.get(theirs, ours) != ours:
            raise UserError(f"{printable(path)} maps {theirs!r} twice; expected one line for each")
        found[theirs] = ours
    return found


def map_labels(
    theirs: Sequence[str], ours: Sequence[str], label_map: Mapping[str, str], source: str
) -> dict[str, str]:
    """Our name, `unknown` or `-` for each of their labels.

    A label that the map does not name is ours where only capitals, hyphens or underscores differ.
    A name in the map that is not among ours becomes a new class.

    Raises:
        UserError: A label is none of ours and the map does not name it, or the other way round.
    """
    known = {_plain(name): name for name in ours}
    found, lost = {}, []
    for label in theirs:
        if label in label_map:
            mapped = label_map[label]
            special = mapped in (LEAVE_OUT, UNKNOWN)
            found[label] = mapped if special else known.get(_plain(mapped), mapped)
        elif _plain(label) in known or label == UNKNOWN:
            found[label] = known.get(_plain(label), label)
        else:
            lost.append(label)
    if lost:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise UserError(
            f"{source} has labels that are none of our classes: {shown}; name each in a file for "
            f'--label_map, one a line: "{lost[0]},our name", or "{lost[0]},-" to leave it out, or '
            f'"{lost[0]},{lost[0]}" to add the class'
        )
    stray = sorted(set(label_map) - set(theirs))
    if stray and not set(label_map) & set(theirs):
        raise UserError(
            f"--label_map names {stray[0]!r}, and {source} has no such label; it has "
            f"{', '.join(list(theirs)[:5])}"
        )
    return found


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())
