"""The photos of a source that are not used, each with the reason."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from keras_flowers.errors import UserError

_logger = logging.getLogger(__name__)

MOST: Final = 0.1
"""Share of unreadable photos above which something is wrong with the source itself."""


_LISTED: Final = 200
"""Unreadable photos that are named, each in a line, where there are too many to go on."""


class LeftOut(NamedTuple):
    """A photo that is not used."""

    source: str
    label: str
    place: str
    reason: str


def as_csv(left_out: Sequence[LeftOut]) -> str:
    """The table `left_out.csv` of a run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source", "class", "photo", "reason"))
    writer.writerows(left_out)
    return text.getvalue()


def check_unreadable(
    unreadable: Sequence[LeftOut], photos: int, source: str, *, strict: bool
) -> None:
    """Says how many photos cannot be read, and stops where there are too many.

    Args:
        unreadable: Those.
        photos: How many there are with them.
        source: The source's name.
        strict: Whether one is too many.

    Raises:
        UserError: More than a tenth are, or one is and `strict` is true.
    """
    if not unreadable:
        return
    first = "; ".join(f"{one.place} ({one.reason})" for one in unreadable[:3])
    rest = f"; and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
    said = f"{len(unreadable)} of {photos} photos of {source} cannot be read: {first}{rest}"
    too_many = len(unreadable) > max(MOST * photos, 1)
    if (strict or too_many) and len(unreadable) > 3:
        # No run is made whose list would have them all.
        for one in unreadable[:_LISTED]:
            _logger.warning(f"cannot be read: {one.place} ({one.reason})")
    if strict:
        raise UserError(f"{said}; mend or remove them, or run without --strict")
    if too_many:
        raise UserError(
            f"{said}; expected at most a tenth: check that these are photos, and remove what is not"
        )
    _logger.warning(f"{said}; left out")
