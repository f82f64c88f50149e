"""Tables of photos as spreadsheets, programs and databases write them."""

from __future__ import annotations

import io
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.photo_table import read_rows


def rows(name: str, content: str | bytes, *, required: Any = ("path",), others: Any = ()) -> Any:
    data = content.encode() if isinstance(content, str) else content
    return [
        dict(row) for row in read_rows(io.BytesIO(data), name, required=required, others=others)
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "path,label\na.jpg,rose\n\nb.jpg,\n"),
        ("a.CSV", "\ufeffPath ;Label\na.jpg;rose\nb.jpg;\n"),
        ("a.tsv", "path\tlabel\na.jpg\trose\nb.jpg\t\n"),
        ("a.jsonl", '{"path": "a.jpg", "label": "rose"}\n\n{"path": "b.jpg", "label": ""}\n'),
        ("a.json", '\ufeff{"path": "a.jpg", "label": "rose"}\n{"path": "b.jpg", "label": ""}'),
    ],
)
def test_rows_are_the_same_from_every_kind_of_table(name: str, content: str) -> None:
    assert rows(name, content) == [
        {"path": "a.jpg", "label": "rose"},
        {"path": "b.jpg", "label": ""},
    ]


def test_cells_that_are_missing_or_too_many_are_left_out() -> None:
    assert rows("a.csv", 'path,label\n"a, b.jpg"\nc.jpg,x,y\n') == [
        {"path": "a, b.jpg"},
        {"path": "c.jpg", "label": "x"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", r"a.csv has the columns \(none\); expected path and label among them"),
        ("a.csv", "path,x\n", "a.csv has the columns path, x; expected path and label among them"),
        ("a.jsonl", '{"path": "a"}\n[1]\n', r"cannot be read \(line 2 is no object; expected JSON"),
        ("a.jsonl", "{", "the table a.jsonl cannot be read"),
        ("a.csv", b"path,label\n\xff\n", "the table a.csv cannot be read"),
    ],
)
def test_table_that_cannot_be_read_is_one_line(
    name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        rows(name, content, required=("path", "label"))
    assert "\n" not in str(refused.value)


def test_reason_of_a_bad_table_is_short() -> None:
    with pytest.raises(UserError) as refused:
        rows("a.jsonl", "x" * 1000)
    assert len(str(refused.value)) < 170
    with pytest.raises(UserError, match=r"expected path, label and split among them"):
        rows("a.csv", "a\n", required=("path", "label", "split"))
    with pytest.raises(UserError, match=r"expected path among them"):
        rows("a.csv", "a\n")


def test_of_a_large_table_only_the_columns_in_use_are_read() -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra [scale]")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    table = pa.table({"path": ["a.jpg", "b.jpg"], "label": ["x", None], "bytes": [b"1", b"2"]})
    parquet.write_table(table, file, row_group_size=1)
    assert rows("a.parquet", file.getvalue(), others=("label",)) == [
        {"path": "a.jpg", "label": "x"},
        {"path": "b.jpg", "label": None},
    ]
    assert rows("a.PARQUET", file.getvalue()) == [{"path": "a.jpg"}, {"path": "b.jpg"}]
    with pytest.raises(UserError, match="has the columns path, label, bytes; expected file among"):
        rows("a.parquet", file.getvalue(), required=("file",))
    with pytest.raises(UserError, match="the table a.parquet cannot be read"):
        rows("a.parquet", b"no parquet")
