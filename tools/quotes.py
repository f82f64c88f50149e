"""Sentences of a page whose numbers a tool computes: said, put into the page, and compared with it.

A template is a piece of the page with a field, as of `str.format`, for each value. Line breaks do
not matter, so that a sentence may be wrapped.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keras_flowers.errors import UserError

_NUMBER = r"-?\d[\d,]*(?:\.\d+)?%?"
_WORDS = r"[^|]{1,60}?"
"""A name as it stands in a page: short, and in one cell of a table."""


@dataclass(frozen=True)
class Quote:
    """A template and its values.

    >>> quote = Quote.of("The weighted sum is {:.3f}.", 0.8734)
    >>> quote.text
    'The weighted sum is 0.873.'
    >>> quote.put_into("So it is. The weighted\\nsum is 0.912. It is large.")
    'So it is. The weighted\\nsum is 0.873. It is large.'
    """

    template: str
    values: tuple[str, ...]

    @classmethod
    def of(cls, template: str, *values: Any) -> Quote:
        """Formats each value as the field of the template says."""
        forms = [f"{{:{form}}}" for _, field, form, _ in _parse(template) if field is not None]
        if len(forms) != len(values):
            raise ValueError(f"{len(values)} values for the {len(forms)} fields of {template!r}")
        if template.strip().endswith("}"):
            raise ValueError(f"{template!r} does not say where its last value ends")
        return cls(
            template, tuple(form.format(one) for form, one in zip(forms, values, strict=True))
        )

    @property
    def text(self) -> str:
        """The template with its values."""
        values = iter(self.values)
        return "".join(
            literal + (next(values) if field is not None else "")
            for literal, field, _, _ in _parse(self.template)
        )

    def put_into(self, page: str) -> str:
        """The page with these values in the place of those that it has.

        Raises:
            UserError: The page does not hold the template, or more than once.
        """
        found = list(re.finditer(self._pattern(), page))
        if len(found) != 1:
            raise UserError(
                f"the page holds {self.text!r}, with any values, {len(found)} times; expected it "
                "once: write it there, or change it in the tool"
            )
        for number in reversed(range(len(self.values))):
            start, end = found[0].span(number + 1)
            page = page[:start] + self.values[number] + page[end:]
        return page

    def spans(self, page: str) -> list[tuple[int, int]]:
        """Where the page says exactly this."""
        words = map(re.escape, self.text.split())
        pattern = r"\s+".join(words)
        return [one.span() for one in re.finditer(rf"(?<!\S){pattern}(?!\S)", page)]

    def _pattern(self) -> str:
        pattern = ""
        values = iter(self.values)
        for literal, field, _, _ in _parse(self.template):
            pattern += re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(literal))
            if field is not None:
                pattern += f"({_NUMBER if re.fullmatch(_NUMBER, next(values)) else _WORDS})"
        return rf"(?<!\S){pattern}(?!\S)"


class Said(list[Quote]):
    """What a tool has said so far."""

    def __call__(self, template: str, *values: Any) -> None:
        """Prints the template with its values, and keeps it."""
        quote = Quote.of(template, *values)
        print(quote.text)
        self.append(quote)

    def put_into(self, page: str) -> str:
        """The page with the values of every quote."""
        for one in self:
            page = one.put_into(page)
        return page


def as_json(quotes: Iterable[Quote]) -> list[dict[str, Any]]:
    """JSON-ready: each template with its values."""
    return [{"template": one.template, "values": list(one.values)} for one in quotes]


def from_json(content: Iterable[dict[str, Any]]) -> list[Quote]:
    """The reverse of `as_json`."""
    return [Quote(str(one["template"]), tuple(map(str, one["values"]))) for one in content]


def _parse(template: str) -> Iterable[tuple[str, str | None, str | None, str | None]]:
    return string.Formatter().parse(template)
