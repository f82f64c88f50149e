"""The columns of an answer, the same in every table: CSV files, and the parts of a long run."""

from __future__ import annotations

from typing import TypeAlias

from keras_flowers.inference.bulk import Answer
from keras_flowers.inference.exif import CaptureInfo

Cell: TypeAlias = str | float | None


def column_names(top_k: int) -> list[str]:
    """The names of the columns, where an answer has `top_k` names.

    >>> column_names(2)[:5], column_names(2)[5:]
    (['photo', 'name', 'probability', 'name_2', 'probability_2'],
     ['known', 'answer', 'date', 'latitude', 'longitude', 'error'])
    """
    names = [f"{key}_{n}" for n in range(2, top_k + 1) for key in ("name", "probability")]
    return [
        *("photo", "name", "probability"),
        *names,
        *("known", "answer", *CaptureInfo._fields, "error"),
    ]


def cells(answer: Answer, top_k: int) -> list[Cell]:
    """What stands in the columns; None where there is nothing to say."""
    best = answer.prediction
    named: list[Cell] = [None] * (2 * top_k)
    said: list[Cell] = [None, None]
    if best is not None:
        named = [cell for pair in rounded_top(answer, top_k) for cell in pair]
        said = [rounded_known(answer), str(best.answer)]
    return [answer.photo.name, *named, *said, *answer.taken, answer.error or None]


def rounded_top(answer: Answer, top_k: int) -> list[tuple[str, float]]:
    """The `top_k` likeliest names; none for a photo that could not be read."""
    top = answer.prediction.top(top_k) if answer.prediction else []
    return [(name, round(probability, 6)) for name, probability in top]


def rounded_known(answer: Answer) -> float | None:
    """How likely the photo shows one of the classes; None where nothing says it."""
    best = answer.prediction
    return None if best is None or best.known is None else round(best.known, 6)
