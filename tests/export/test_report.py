"""A report shows each figure beside its limit, rounded so that nobody is misled."""

from __future__ import annotations

import dataclasses

import pytest

from keras_flowers.export.formats import FORMATS
from keras_flowers.export.limits import BROWSER, BROWSER_INT8, EXACT, MEDIAPIPE, Limits
from keras_flowers.export.report import WIDTH, Bounds, Comparison, Report, Row, exceeded

KERAS = Row("Keras", None, None, None, 1020, 1001, 0, 10_400_000, 34.04)
FLOAT32 = Row(
    "TFLite float32",
    "Keras",
    Comparison(photos=1020, differing=0, largest=2.38e-7, mean=1e-9),
    Comparison(photos=1020, differing=1, largest=0.0312, mean=1e-4),
    labelled=1020,
    correct=1002,
    change=1,
    bytes=9_140_000,
    milliseconds=12.06,
    bounds=Bounds(largest=1e-3, differing=5),
)
INT8 = Row(
    "TFLite int8",
    "Keras",
    Comparison(photos=1020, differing=12, largest=0.21, mean=1e-3),
    Comparison(photos=1020, differing=13, largest=0.25, mean=1e-3),
    labelled=1020,
    correct=997,
    change=-4,
    bytes=2_849_000,
    milliseconds=7.5,
    bounds=Bounds(differing=102, lost=5, bytes=3_000_000),
)
FILES = Row(
    "SavedModel image_bytes",
    "Keras",
    None,
    Comparison(photos=100_000, differing=1, largest=1.0, mean=0.0),
    labelled=0,
    correct=0,
    change=0,
    bytes=11_000_000,
    milliseconds=120.0,
    bounds=Bounds(differing=500),
)
REPORT = Report("flowers, split test", 1020, "Keras (run/model.keras)", [], ["a note"], [])


def test_tables_are_exactly_these() -> None:
    report = dataclasses.replace(REPORT, rows=[KERAS, FLOAT32, INT8, FILES])
    assert str(report).splitlines() == [
        "1020 photos: flowers, split test",
        "compared with the best version here: Keras (run/model.keras)",
        "",
        "                             same pixels             reads the file itself",
        "version                 agrees  largest  limit   agrees  differ  limit  largest",
        "Keras",
        "TFLite float32          100.00%  2.4e-07  1e-03   99.90%       1      5  3.1e-02",
        "TFLite int8              98.82%  2.1e-01          98.72%      13    102  2.5e-01",
        "SavedModel image_bytes                            99.99%       1    500  1.0e+00",
        "",
        "version                 accuracy   change    limit       MB    limit       ms",
        "Keras                     98.14%                       10.4              34.0",
        "TFLite float32            98.24%    +0.10               9.1              12.1",
        "TFLite int8               97.75%    -0.39    -0.49      2.8      3.0      7.5",
        "SavedModel image_bytes                                 11.0             120.0",
        "",
        "a note",
        "all versions agree within the limits",
    ]


def test_equal_answers_alone_are_a_hundred_percent() -> None:
    for differing, shown in ((0, "100.00%"), (1, " 99.99%"), (99_999, "  0.00%")):
        row = dataclasses.replace(
            FILES, own_reading=dataclasses.replace(FILES.own_reading, differing=differing)
        )
        line = str(dataclasses.replace(REPORT, rows=[row])).splitlines()[5]
        assert line[47:56] == f"  {shown}"


def test_no_line_is_wider_than_a_terminal() -> None:
    long = "TFLite " + "very_" * 30 + "long.tflite"
    rows = [KERAS, FLOAT32, dataclasses.replace(INT8, name=long)]
    broken = [" ".join(["word"] * 60)]
    report = dataclasses.replace(REPORT, rows=rows, notes=["note " * 40], broken=broken)
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= WIDTH == 80
    at = lines.index(f"{long[:77]}...")
    assert lines[at + 1].split() == ["98.82%", "2.1e-01", "98.72%", "13", "102", "2.5e-01"]
    assert "all versions agree within the limits" not in lines
    assert [line for line in lines if line.startswith("BROKEN: word ")]


def test_a_limit_may_be_reached_but_not_exceeded() -> None:
    at_limit = dataclasses.replace(
        INT8,
        own_reading=dataclasses.replace(INT8.own_reading, differing=102),
        change=-5,
        bytes=3_000_000,
    )
    assert list(exceeded(at_limit)) == []
    beyond = dataclasses.replace(
        INT8,
        own_reading=dataclasses.replace(INT8.own_reading, differing=103),
        change=-6,
        bytes=3_000_001,
    )
    assert list(exceeded(beyond)) == [
        "TFLite int8 names 103 of 1020 photos otherwise than Keras does; at most 102 are allowed",
        "TFLite int8 names 6 of 1020 photos fewer correctly than Keras does; at most 5 are allowed",
        "TFLite int8 has 3,000,001 bytes; at most 3,000,000 are allowed",
    ]
    assert list(exceeded(dataclasses.replace(INT8, change=9))) == []
    exact = dataclasses.replace(
        FLOAT32, same_pixels=dataclasses.replace(FLOAT32.same_pixels, largest=0.00101)
    )
    assert list(exceeded(exact)) == [
        "TFLite float32 differs from Keras on the same pixels by up to 0.00101; "
        "at most 0.001 is allowed"
    ]


def test_what_is_not_a_number_exceeds_every_limit() -> None:
    nothing = Comparison(photos=20, differing=0, largest=float("nan"), mean=float("nan"))
    row = dataclasses.replace(FLOAT32, same_pixels=nothing, own_reading=nothing)
    assert len(list(exceeded(row))) == 2


@pytest.mark.parametrize(
    ("limits", "photos", "differing", "lost"),
    [
        (EXACT, 1020, 5, None),
        (EXACT, 20, 1, None),
        (FORMATS[2].limits, 1020, 5, None),
        (FORMATS[3].limits, 1020, 102, 5),
        (FORMATS[3].limits, 200, 20, 1),
        (FORMATS[3].limits, 199, 19, 19),
        (FORMATS[3].limits, 5, 1, 1),
        (MEDIAPIPE, 200, 4, None),
        (MEDIAPIPE, 199, 19, None),
        (BROWSER, 200, 2, None),
        (BROWSER, 199, 19, None),
        (BROWSER_INT8, 200, 2, None),
        (BROWSER_INT8, 199, 19, None),
        (Limits(accuracy_loss=0.0), 1000, 5, 1),
    ],
)
def test_limits_in_photos(limits: Limits, photos: int, differing: int, lost: int | None) -> None:
    assert (limits.differing(photos), limits.lost(photos)) == (differing, lost)


def test_limits_of_the_formats() -> None:
    limits = {one.name: one.limits for one in FORMATS}
    assert limits["saved_model"] == limits["float32"] == EXACT
    assert EXACT.difference == BROWSER.difference == 1e-3
    assert (MEDIAPIPE.difference, BROWSER_INT8.difference) == (None, None)
    assert limits["float16"].difference is None
    assert limits["int8"].bytes_of_base == {"MobileNetV2": 3_000_000}
