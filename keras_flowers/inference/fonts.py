"""Which fonts a text is drawn with: names of flowers are written in every script.

DejaVu Sans comes with Matplotlib and has Latin, Greek and Cyrillic letters, but no Chinese,
Japanese, Korean, Thai or Indian ones: these come from the fonts of the system, where it has some.
"""

from __future__ import annotations

import functools
import logging
from typing import Final, NamedTuple

from matplotlib import font_manager

_logger = logging.getLogger(__name__)

FONT: Final = "DejaVu Sans"
"""The first choice: the same chart is the same file everywhere."""

_STAND_IN: Final = "\N{WHITE SQUARE}"


class Drawable(NamedTuple):
    """A text as it can be drawn.

    Attributes:
        text: With a square in place of each character that no font has.
        families: The fonts for it, as Matplotlib takes them: each character is of the first that
            has it.
    """

    text: str
    families: list[str]


def drawable(text: str) -> Drawable:
    """Finds the fonts of a text; says so where a character is in none."""
    lacking = frozenset(text) - {"\n"} - _characters_in(font_manager.findfont(FONT), text)
    if not lacking:
        return Drawable(text, [FONT])
    others, lost = _others_for(lacking)
    squares = str.maketrans(dict.fromkeys(lost, _STAND_IN))
    return Drawable(text.translate(squares), [FONT, *others])


@functools.lru_cache(maxsize=256)
def _others_for(lacking: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Installed fonts that have some characters, and those that none has."""
    families, lost = [], lacking
    # In an order that does not depend on where they lie.
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        # Apple's and Unicode's "Last Resort" has a box for everything.
        if not lost or font.name in families or "Last Resort" in font.name:
            continue
        try:
            found = _characters_in(font.fname, "".join(lost))
        except (OSError, RuntimeError):  # removed since Matplotlib listed it, or damaged
            continue
        if found:
            families.append(font.name)
            lost -= found
    if lost:
        _say_that_some_are_lost()
    return tuple(families), lost


@functools.cache
def _say_that_some_are_lost() -> None:
    """Once: each of a hundred names may have other characters."""
    _logger.warning(
        "no font here has all characters of the names: charts have squares in their place; install "
        "fonts for them, such as Noto (apt install fonts-noto-core fonts-noto-cjk)"
    )


def _characters_in(path: str, text: str) -> frozenset[str]:
    """The characters of a text that a font has."""
    font = font_manager.get_font(path)
    return frozenset(one for one in text if font.get_char_index(ord(one)))
