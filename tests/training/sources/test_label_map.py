"""Label maps: how they are read, which labels they change, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from keras_flowers.training.sources.label_map import map_labels, read_label_map

OURS = ("rose", "sun flower", "Aster")


def test_lines_comments_and_quotes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text(
        '\ufeffrosa , rose\n\n# a comment, of two parts\n"red, old",rose\nrosa,rose\ncat,-\n,\n',
        encoding="utf-8",
    )
    assert read_label_map(path) == {"rosa": "rose", "red, old": "rose", "cat": "-"}


def test_dash_in_the_place_of_a_map_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_label_map(Path("-")) == {}
    (tmp_path / "-").write_text("a,b\n")  # a file of that name is given with its folder
    assert read_label_map(tmp_path / "-") == {"a": "b"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\nrose\n", r"line 2 of .*map.csv is 'rose'; expected `their name,our name`"),
        (b"a,b,c\n", "line 1 of .*map.csv is 'a,b,c'"),
        (b"a,\n", "line 1 of .*map.csv is 'a,'"),
        (b",b\n", "line 1 of .*map.csv is ',b'"),
        (b"a,b\na,c\n", "map.csv maps 'a' twice; expected one line for each"),
        (b"\xff\xfe\x00", "the label map .*map.csv cannot be read"),
        (None, "the label map .*map.csv cannot be read"),
    ],
)
def test_damaged_map_is_refused(tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "map.csv").write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_label_map(tmp_path / "map.csv")


def test_labels_are_ours_where_only_the_spelling_differs() -> None:
    theirs = ["ROSE", "Sun-Flower", "sun_flower", "aster", "unknown"]
    assert map_labels(theirs, OURS, {}, "theirs") == {
        "ROSE": "rose",
        "Sun-Flower": "sun flower",
        "sun_flower": "sun flower",
        "aster": "Aster",
        "unknown": "unknown",
    }


def test_map_comes_before_the_spelling_and_may_add_a_class() -> None:
    label_map = {"rose": "-", "cat": "unknown", "tulipa": "tulip", "sol": "SUN_FLOWER", "no": "x"}
    assert map_labels(["rose", "cat", "tulipa", "sol"], OURS, label_map, "theirs") == {
        "rose": "-",
        "cat": "unknown",
        "tulipa": "tulip",
        "sol": "sun flower",
    }


def test_labels_that_are_none_of_ours_are_named_with_what_to_write() -> None:
    with pytest.raises(UserError) as refused:
        map_labels(list("abcde"), OURS, {}, "theirs")
    said = str(refused.value)
    assert "theirs has labels that are none of our classes: a, b, c, d, e; name each" in said
    assert '"a,our name", or "a,-" to leave it out, or "a,a" to add the class' in said
    with pytest.raises(UserError, match="a, b, c, d, e and 2 more; name each"):
        map_labels(list("abcdefg"), OURS, {}, "theirs")


def test_map_of_another_source_is_refused() -> None:
    # One that names some of the labels may be made for several sources.
    assert map_labels(["rose"], OURS, {"rose": "rose", "cat": "-"}, "theirs") == {"rose": "rose"}
    with pytest.raises(UserError, match="--label_map names 'cat', and theirs has no such label"):
        map_labels(["rose", "aster"], OURS, {"dog": "-", "cat": "-"}, "theirs")
