"""Tables of photos: columns, separators, names, and rows that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from keras_flowers.training.sources.source import FileSource
from keras_flowers.training.sources.table import open_table


def table(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_columns_come_in_any_order_and_cells_are_trimmed(tmp_path: Path) -> None:
    content = "Label;note; PATH ;group;source\n rose ;x; a.jpg ;g1; me\n\naster;;b.jpg;;\n"
    source = open_table(table(tmp_path, content))
    assert isinstance(source, FileSource)
    assert source.name == f"{tmp_path.name}/t.csv"
    photos = source.photos("photos")
    assert photos.root == tmp_path
    assert (photos.places, photos.labels) == (["a.jpg", "b.jpg"], ["rose", "aster"])
    assert (photos.groups, photos.origins) == (["g1", ""], ["me", ""])
    assert source.labels == ("aster", "rose")


def test_what_a_photo_shows_is_read_beside_its_label(tmp_path: Path) -> None:
    content = "path,label,kind,species\na.jpg,rose,known,rosa canina\nb.jpg,unknown,no flower,\n"
    photos = open_table(table(tmp_path, content)).photos("photos")
    assert photos.subjects == [("known", "rosa canina"), ("no flower", "")]
    assert photos.select([1]).subjects == [("no flower", "")]
    plain = open_table(table(tmp_path, "path,label\na.jpg,rose\n")).photos("photos")
    assert plain.subjects is None


def test_tabs_separate_and_commas_within_are_text(tmp_path: Path) -> None:
    source = open_table(table(tmp_path, "path\tlabel\na,b.jpg\trose, red\n", "t.tsv"))
    assert source.photos("photos").places == ["a,b.jpg"]
    assert source.labels == ("rose, red",)


def test_unknown_is_no_class_and_numbers_are_in_order(tmp_path: Path) -> None:
    rows = "path,label\na.jpg,10\nb.jpg,unknown\nc.jpg,9\n"
    assert open_table(table(tmp_path, rows)).labels == ("9", "10")
    assert open_table(table(tmp_path, rows.replace("unknown", "1"))).labels == ("1", "9", "10")


def test_names_are_those_of_the_file(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.jpg,2\nb.jpg,1\nc.jpg,3\n")
    names = {"1": "rose", "2": "aster", "3": "rose"}
    source = open_table(path, names)
    assert source.labels == ("rose", "aster")
    assert source.photos("photos").labels == ["aster", "rose", "rose"]
    with pytest.raises(UserError, match="--category_names has no name for the label '3'"):
        open_table(path, {"1": "rose", "2": "aster"})


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "t.jsonl",
            '{"path": "a.jpg", "label": "x"}\n\n[1]\n',
            "line 3 is no object; expected JSON",
        ),
        ("t.jsonl", '{"path": "a.jpg"\n', r"t.jsonl cannot be read \(Expecting"),
        ("t.jsonl", '{"path": null, "label": "x"}\n', "row 1 of .* has no path"),
        ("t.csv", b"\xff\xfepath", r"t.csv cannot be read \('utf-8' codec"),
        ("t.csv", "", r"has the columns \(none\); expected path and label among them"),
        ("t.csv", "path,label\na.jpg\n", "row 1 of .* has no label"),
        ("t.csv", "path,label\n,rose\n", "row 1 of .* has no path"),
        ("t.csv", "path,label,split\na,b,train\nc,d,\ne,f,\n", "2 of 3 rows of .* name no split"),
        ("t.parquet", b"no parquet", "t.parquet cannot be read"),
    ],
)
def test_rows_that_say_too_little_are_refused(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(UserError, match=expected):
        open_table(table(tmp_path, content, name))


def test_parquet_without_the_columns_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = pyarrow.Table.from_pylist([{"path": "a.jpg", "class": "rose"}])
    parquet.write_table(rows, tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has the columns path, class; expected path and label"):
        open_table(tmp_path / "t.parquet")


def test_numbers_in_json_are_labels(tmp_path: Path) -> None:
    rows = [{"path": "a.jpg", "label": 7, "split": "train"}, {"path": "b.jpg", "label": 0.5}]
    path = table(tmp_path, "\n".join(map(json.dumps, rows[:1])), "t.jsonl")
    assert open_table(path).labels == ("7",)
    with pytest.raises(UserError, match="1 of 2 rows"):
        open_table(table(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl"))
