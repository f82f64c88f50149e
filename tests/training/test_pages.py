"""Pages about photos: text is text, tables say what are numbers, nothing may be loaded."""

from __future__ import annotations

import base64
import hashlib
import io

import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets", reason="such pages need the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training import pages


def test_document_loads_nothing_and_runs_its_own_script_alone() -> None:
    plain = pages.as_document("a < b", "<p>body</p>", style="x { }")
    assert "<title>a &lt; b</title>" in plain
    assert "<p>body</p>" in plain and "x { }</style>" in plain
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert f'content="{policy}">' in plain
    assert "<script" not in plain
    script = "let a = 1;"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    running = pages.as_document("a", "b", script=script)
    assert f"content=\"{policy}; script-src 'sha256-{digest}'\">" in running
    assert f"b\n<script>{script}</script>" in running


def test_table_marks_its_columns_of_numbers() -> None:
    made = pages.as_table(("a", "b"), [("1", "2"), ("3", "4")], numbers=[1], kind="sortable")
    assert made == (
        '<div class="wide" tabindex="0"><table class=\'sortable\'>'
        '<thead><tr><th scope="col">a</th><th scope="col" class="number">b</th></tr></thead>'
        '<tbody>\n<tr><td>1</td><td class="number">2</td></tr>\n'
        '<tr><td>3</td><td class="number">4</td></tr>\n</tbody></table></div>'
    )
    assert "<table><thead>" in pages.as_table(("a",), [])


def test_pictures_are_shown_or_said_to_be_gone_or_kept_back() -> None:
    assert pages.as_picture(None, 1, "a") == ""
    assert pages.as_picture({}, 1, "a") == '<span class="none">cannot be read now</span>'
    assert pages.as_picture({1: "data:x"}, 1, "a") == (
        '<img src="data:x" alt="a" decoding="async">'
    )
    assert pages.as_grid(["a", "b"]) == '<div class="grid">\na\nb\n</div>'
    assert pages.as_grid([], small=True).startswith('<div class="grid small">')


def test_thumbnails_are_small_and_those_that_cannot_be_read_are_missing() -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 200), "red").save(file, "PNG")

    def gone() -> bytes:
        raise OSError("gone")

    def refused() -> bytes:
        raise UserError("refused")

    reads = dict.fromkeys(range(40), file.getvalue)
    reads |= {3: gone, 5: refused, 7: lambda: b"no photo"}
    found = pages.thumbnails(reads.items(), len(reads))
    assert sorted(found) == [number for number in range(40) if number not in (3, 5, 7)]
    data = base64.b64decode(found[39].partition("base64,")[2])
    assert Image.open(io.BytesIO(data)).size == (112, 56)
