"""Rows are aligned as text, read by `csv` and `json`, and whole also where a run was stopped."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from keras_flowers.commands.rows import FORMATS, Rows, format_for, open_output
from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import Answer, PhotoInput
from keras_flowers.inference.exif import CaptureInfo
from keras_flowers.inference.prediction import Prediction

LABELS = ("rose", "english marigold")


def answer(name: str, rose: float) -> Answer:
    prediction = Prediction(LABELS, np.array([rose, 1 - rose], np.float32))
    return Answer(
        PhotoInput(name, b""), prediction, CaptureInfo("2024-05-01T09:30:00", -33.5, 18.25)
    )


GOOD = answer("a.jpg", 0.75)
BAD = Answer(PhotoInput("longer.jpg", b""), error="is empty")


def written(format: str, *answers: Answer) -> str:
    file = io.StringIO()
    with Rows(file, format, top_k=2, photo_width=10, name_width=16) as rows:
        for one in answers:
            rows.write(one)
    return file.getvalue()


def test_text_is_aligned() -> None:
    assert written("text", GOOD, BAD, answer("b.jpg", 0.0)).splitlines() == [
        "a.jpg       rose               75.0%",
        "longer.jpg  error: is empty",
        "b.jpg       english marigold  100.0%",
    ]


def test_csv_has_a_header_and_a_row_each() -> None:
    first, second = csv.DictReader(io.StringIO(written("csv", GOOD, BAD)))
    assert first == {
        "photo": "a.jpg",
        "name": "rose",
        "probability": "0.75",
        "name_2": "english marigold",
        "probability_2": "0.25",
        "known": "",
        "answer": "rose",
        "date": "2024-05-01T09:30:00",
        "latitude": "-33.5",
        "longitude": "18.25",
        "error": "",
    }
    assert second == {**dict.fromkeys(first, ""), "photo": "longer.jpg", "error": "is empty"}


def test_csv_is_written_alike_on_every_system() -> None:
    odd = answer('a, "b".jpg', 1 / 3)
    assert written("csv", odd) == (
        "photo,name,probability,name_2,probability_2,known,answer,date,latitude,longitude,error\n"
        '"a, ""b"".jpg",english marigold,0.666667,rose,0.333333,,english marigold,'
        "2024-05-01T09:30:00,-33.5,18.25,\n"
    )


@pytest.mark.parametrize("answers", [(), (GOOD,), (GOOD, BAD)])
def test_json_is_one_array_and_jsonl_an_object_a_line(answers: tuple[Answer, ...]) -> None:
    array = json.loads(written("json", *answers))
    lines = [json.loads(line) for line in written("jsonl", *answers).splitlines()]
    assert array == lines
    assert [row["photo"] for row in array] == [one.photo.name for one in answers]


def test_json_says_all_there_is() -> None:
    good, bad = json.loads(written("json", GOOD, BAD))
    assert good == {
        "photo": "a.jpg",
        "name": "rose",
        "probability": 0.75,
        "top": [
            {"name": "rose", "probability": 0.75},
            {"name": "english marigold", "probability": 0.25},
        ],
        "known": None,
        "answer": {"kind": "name", "text": "rose", "warning": ""},
        "date": "2024-05-01T09:30:00",
        "latitude": -33.5,
        "longitude": 18.25,
        "error": None,
    }
    assert (bad["name"], bad["top"], bad["error"]) == (None, [], "is empty")


def test_array_of_a_run_that_was_stopped_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    with (
        pytest.raises(KeyboardInterrupt),
        open_output(path) as file,
        Rows(file, "json", top_k=1) as rows,
    ):
        rows.write(GOOD)
        assert '"rose"' in path.read_text()  # there already, not in a buffer
        raise KeyboardInterrupt
    assert [row["name"] for row in json.loads(path.read_text())] == ["rose"]


@pytest.mark.parametrize(
    ("output", "asked", "format"),
    [
        (None, None, "text"),
        (None, "json", "json"),
        ("rows", None, "text"),
        ("rows.txt", None, "text"),
        ("rows.log", None, "text"),
        ("rows.CSV", None, "csv"),
        ("rows.json", None, "json"),
        ("rows.jsonl", None, "jsonl"),
        ("rows.ndjson", None, "jsonl"),
        ("rows.json", "jsonl", "json"),
        ("rows.jsonl", "json", "jsonl"),
        ("rows.txt", "csv", "csv"),
        ("/dev/stdout", "json", "json"),
    ],
)
def test_ending_chooses_the_format(output: str | None, asked: str | None, format: str) -> None:
    assert format_for(Path(output) if output else None, asked) == format


@pytest.mark.parametrize("asked", [None, *FORMATS])
@pytest.mark.parametrize("name", ["x.xlsx", "x.XLS", "x.ods", "x.parquet", "x.png", "x.pdf"])
def test_text_is_not_written_under_the_name_of_something_else(name: str, asked: str | None) -> None:
    with pytest.raises(UserError, match=rf"cannot be written as {name}; .*\.csv .spreadsheets"):
        format_for(Path(name), asked)
