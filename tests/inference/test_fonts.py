"""Fonts: of the system where DejaVu lacks a character, squares where all do, and no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.font_manager import FontEntry
from PIL import Image

from keras_flowers.inference import chart, fonts
from keras_flowers.inference.fonts import FONT, drawable


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fonts of a system that has three beside DejaVu, and the characters of each."""
    of_file = {
        "/a.ttf": "\u0e14\u82b1",
        "/b.otf": "\u82b1\u8475",
        "/boxes.ttf": "\u0e14\u82b1\u8475\u0b95",
    }
    names = {"/a.ttf": "Thai", "/b.otf": "Chinese", "/boxes.ttf": "Last Resort High-Efficiency"}
    manager = font_manager.fontManager
    dejavu = [font for font in manager.ttflist if font.name == FONT]
    names["/gone.ttf"] = "A Font"
    others = [FontEntry(fname=path, name=name) for path, name in names.items()]
    monkeypatch.setattr(manager, "ttflist", [*others[::-1], *dejavu])
    real = fonts._characters_in

    def characters_in(path: str, text: str) -> frozenset[str]:
        return frozenset(text) & set(of_file[path]) if path in of_file else real(path, text)

    monkeypatch.setattr(fonts, "_characters_in", characters_in)
    cached = (fonts._others_for, fonts._say_that_some_are_lost)
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


def test_usual_names_are_drawn_with_the_font_that_is_everywhere(system: None) -> None:
    for name in ("rose", "Gerät\nüber zwei Zeilen", "Подсолнечник", "Ηλίανθος"):
        assert drawable(name) == (name, [FONT])


def test_other_scripts_are_drawn_with_fonts_of_the_system(system: None) -> None:
    assert drawable("rose \u8475") == ("rose \u8475", [FONT, "Chinese"])
    # The first by name that has some, and another only for what is left.
    assert drawable("\u82b1\u0e14") == ("\u82b1\u0e14", [FONT, "Chinese", "Thai"])


def test_character_of_no_font_is_a_square_and_that_is_said_once(
    system: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert drawable("a\u0b95b\u82b1") == ("a\u25a1b\u82b1", [FONT, "Chinese"])
        assert drawable("\u0b95\u0b95") == ("\u25a1\u25a1", [FONT])
        assert drawable("\u0b9e") == ("\u25a1", [FONT])
    assert [one.message.split(":")[0] for one in caplog.records] == [
        "no font here has all characters of the names"
    ]


def test_charts_of_any_names_are_drawn_without_a_warning(tmp_path: Path) -> None:
    names = ["\u5411\u65e5\u8475", "\u0e14\u0e2d\u0e01", "\u0b95", "rose"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = chart.draw_prediction(Image.new("RGB", (64, 48)), [(name, 0.25) for name in names])
        figure.savefig(tmp_path / "prediction.png")
        matrix = chart.draw_confusion_matrix(np.eye(len(names), dtype=int), names)
        matrix.savefig(tmp_path / "matrix.png")
