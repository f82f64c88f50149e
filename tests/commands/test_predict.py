"""Photos in, names out: as a table, as rows, from files, folders, standard input and a camera."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bad_photos import encode
from conftest import COLOURS
from PIL import ExifTags, Image

from keras_flowers.commands import predict
from keras_flowers.commands.rows import Rows
from keras_flowers.errors import UserError
from keras_flowers.inference import bulk, camera, chart, tflite_insides
from keras_flowers.inference.ahead import PHOTOS_AT_A_TIME
from keras_flowers.inference.bulk import Answer, PhotoInput, predict_photos
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.inference.formats import is_chart
from keras_flowers.inference.metadata import Metadata
from keras_flowers.inference.prediction import Prediction

SUNFLOWER = Path(__file__).parents[2] / "docs" / "sunflower.jpg"


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Charts are written to the current folder."""
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(colour_model: Path) -> Any:
    """Runs the command line with the colour model."""

    def run(*arguments: object) -> int:
        return predict.main(["--model", str(colour_model), *map(str, arguments)])

    return run


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# One photo.


def test_photo_is_named_with_a_table_and_a_chart(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(colour_photos / "magenta.png") == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        f"{colour_photos / 'magenta.png'}: magenta",
        "",
        "  magenta   98.8%",
        "  cyan       0.6%",
        "  yellow     0.6%",
        "",
        "chart: magenta_flower.png",
    ]
    assert output.err == ""
    assert is_chart(Path("magenta_flower.png"))


def test_known_flower_is_given_with_its_scientific_name(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"1": "sunflower", "2": "rose", "3": "tulip"}
    Path("names.json").write_text(json.dumps(names))
    run(colour_photos / "cyan.png", "--category_names", "names.json", "--no_chart")
    first_line = capsys.readouterr().out.splitlines()[0]
    assert first_line.endswith("cyan.png: sunflower (Helianthus annuus)")


def test_top_k_chooses_how_many_names_and_bars(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    drawn: list[Any] = []
    draw = chart.draw_prediction
    monkeypatch.setattr(chart, "draw_prediction", lambda *args: drawn.append(args) or draw(*args))
    run(colour_photos / "cyan.png", "--top_k", 2)
    assert capsys.readouterr().out.count("%") == 2
    assert [len(top) for _, top, _ in drawn] == [2]


def test_chart_has_ten_bars_at_most(
    run: Any, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    names = tuple(f"flower {number}" for number in range(12))
    classifier = Classifier(
        Metadata(names, (8, 8)), (8, 8), lambda pixels: np.full((len(pixels), 12), 1 / 12)
    )
    monkeypatch.setattr(predict, "load_classifier", lambda *_, **__: classifier)

    def draw(picture: Any, top: list[Any], answer: object) -> Any:
        drawn.append(len(top))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chart, "draw_prediction", draw)
    for asked in ("3", "10", "12"):
        run(colour_photos / "cyan.png", "--top_k", asked, "--chart", "c.png")
    assert drawn == [3, 10, 10]


def test_evidence_is_drawn_below_the_chart_and_said(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main([str(SUNFLOWER), "--no_chart"]) == 0
    assert predict.main([str(SUNFLOWER), "--chart", "plain.png"]) == 0
    capsys.readouterr()
    assert predict.main([str(SUNFLOWER), "--explain"]) == 0
    said = re.search(r"speak for sunflower with (\d+\.\d), for .+ with", capsys.readouterr().out)
    assert said is not None and float(said[1]) > 5
    with Image.open("sunflower_flower.png") as explained, Image.open("plain.png") as plain:
        assert explained.width == plain.width
        assert explained.height > 1.5 * plain.height
        # What is above stays, but for a share of a pixel by which letters move.
        above, before = (
            np.asarray(one.convert("RGB").crop((0, 0, plain.width, 400)), np.float64)
            for one in (explained, plain)
        )
        assert np.abs(above - before).mean() < 4


def test_other_models_are_explained_by_graying_out(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(tflite_insides, "insides_of_tflite", lambda *_, **__: None)
    assert run(colour_photos / "cyan.png", "--explain") == 0
    assert "one place after the other was grayed out" in capsys.readouterr().out


def test_no_chart_writes_nothing(run: Any, colour_photos: Path, in_empty_folder: Path) -> None:
    assert run(colour_photos / "cyan.png", "--no_chart") == 0
    assert os.listdir(in_empty_folder) == []


def test_chart_goes_where_it_is_told(run: Any, colour_photos: Path) -> None:
    run(colour_photos / "cyan.png", "--chart", "new/answer.jpg")
    assert os.listdir() == ["new"]
    with Image.open("new/answer.jpg") as picture:
        assert picture.width > 800


def test_chart_replaces_only_charts(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = (colour_photos / "yellow.png").read_bytes()
    Path("cyan_flower.png").write_bytes(photo)
    for _ in range(2):
        run(colour_photos / "cyan.png")
        assert capsys.readouterr().out.endswith("chart: cyan_flower_2.png\n")
    assert Path("cyan_flower.png").read_bytes() == photo
    assert sorted(os.listdir()) == ["cyan_flower.png", "cyan_flower_2.png"]


@pytest.mark.parametrize("option", ["--chart", "--output"])
def test_photo_and_model_are_never_overwritten(
    run: Any, colour_photos: Path, colour_model: Path, option: str
) -> None:
    photo = colour_photos / "cyan.png"
    Path("link.png").symlink_to(photo)
    for target in (photo, Path("link.png"), colour_model):
        before = target.read_bytes()
        with pytest.raises(UserError, match="overwritten"):
            run(photo, option, target)
        assert target.read_bytes() == before


def test_rows_are_not_written_over_another_photo(run: Any, colour_photos: Path) -> None:
    before = (colour_photos / "cyan.png").read_bytes()
    with pytest.raises(UserError, match=r"cannot be written as cyan\.png"):
        run(colour_photos, "--output", colour_photos / "cyan.png")
    assert (colour_photos / "cyan.png").read_bytes() == before


def test_answer_stands_when_the_chart_cannot_be_written(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").touch()
    assert run(colour_photos / "cyan.png", "--chart", "folder/chart.png") == 1
    output = capsys.readouterr()
    assert "98.8%" in output.out
    assert output.err.startswith("error: the chart was not written to folder/chart.png: ")
    assert output.err.count("\n") == 1


def test_chart_of_a_photo_with_a_very_long_name_is_written(run: Any, colour_photos: Path) -> None:
    photo = colour_photos / f"{'x' * 250}.png"
    (colour_photos / "cyan.png").rename(photo)
    assert run(photo) == 0
    assert os.listdir() == ["x" * 60 + "_flower.png"]


def test_photo_is_read_from_standard_input(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    data = (colour_photos / "yellow.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert run("-") == 0
    assert capsys.readouterr().out.startswith("-: yellow\n")
    assert os.listdir() == ["photo_flower.png"]


def test_endless_standard_input_is_refused(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bulk, "MAX_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bytes(5000))))
    with pytest.raises(UserError, match="standard input has more than"):
        run("-")


def test_name_with_a_leading_dash_works_after_two_dashes(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(colour_photos)
    Path("cyan.png").rename("--no_chart.png")
    assert run("--no_chart", "--", "--no_chart.png") == 0
    assert capsys.readouterr().out.startswith("--no_chart.png: cyan\n")


@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"], ["--output", "rows.csv"]])
def test_one_unreadable_photo_is_a_user_error(run: Any, form: list[str]) -> None:
    with pytest.raises(UserError, match=r"^none\.jpg does not exist"):
        run("none.jpg", *form)


def test_one_photo_as_json_is_one_line_without_a_chart(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(colour_photos / "yellow.png", "--json", "--top_k", 2) == 0
    assert json.loads(capsys.readouterr().out) == {
        "photo": str(colour_photos / "yellow.png"),
        "name": "yellow",
        "probability": pytest.approx(0.988, abs=1e-3),
        "top": [
            {"name": "yellow", "probability": pytest.approx(0.988, abs=1e-3)},
            {"name": "cyan", "probability": pytest.approx(0.006, abs=1e-3)},
        ],
        "known": None,
        "answer": {"kind": "name", "text": "yellow", "warning": ""},
        "date": None,
        "latitude": None,
        "longitude": None,
        "error": None,
    }
    assert os.listdir() == []


def test_one_photo_as_json_with_a_chart_keeps_them_apart(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(colour_photos / "yellow.png", "--json", "--chart", "chart.png")
    output = capsys.readouterr()
    json.loads(output.out)
    assert "chart: chart.png" in output.err
    assert os.listdir() == ["chart.png"]


# The window.


@pytest.mark.parametrize(
    ("terminal", "screen", "shown"),
    [
        (True, {"DISPLAY": ":0"}, 1),
        (True, {"WAYLAND_DISPLAY": "wayland-0"}, 1),
        (False, {"DISPLAY": ":0"}, 0),
        (True, {"DISPLAY": ""}, 0),
    ],
)
@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="always has a display")
def test_chart_is_shown_only_on_a_terminal_with_a_display(
    run: Any,
    colour_photos: Path,
    monkeypatch: Any,
    terminal: bool,
    screen: dict[str, str],
    shown: int,
) -> None:
    windows: list[Any] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture: windows.append(picture.size))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, screen.get(name, ""))
    assert run(colour_photos / "cyan.png") == 0
    assert len(windows) == shown


def test_window_that_fails_takes_nothing_from_the_answer(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("no viewer")

    monkeypatch.setattr(predict, "_has_display", lambda: True)
    monkeypatch.setattr(Image.Image, "show", fail)
    assert run(colour_photos / "cyan.png") == 0
    assert "98.8%" in capsys.readouterr().out


# Many photos.


def test_folder_gives_a_row_each_in_order(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colour_photos.rename("photos")
    assert run("photos") == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "photos/cyan.png     cyan      98.8%",
        "photos/magenta.png  magenta   98.8%",
        "photos/yellow.png   yellow    98.8%",
    ]
    assert re.fullmatch(r"3 of 3 photos named, [\d.]+/s\n", output.err)
    assert os.listdir() == ["photos"]


def test_csv_has_a_header_and_all_columns(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(colour_photos, "--csv")
    text = capsys.readouterr().out
    assert text.splitlines()[0] == (
        "photo,name,probability,name_2,probability_2,name_3,probability_3,"
        "known,answer,date,latitude,longitude,error"
    )
    rows = rows_of(text)
    assert [row["name"] for row in rows] == list(COLOURS)
    assert float(rows[0]["probability"]) == pytest.approx(0.988, abs=1e-3)
    assert float(rows[0]["probability_3"]) == pytest.approx(0.006, abs=1e-3)


def test_json_and_csv_say_the_same(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (colour_photos / "bad.jpg").write_bytes(b"")
    run(colour_photos, "--csv")
    rows = rows_of(capsys.readouterr().out)
    run(colour_photos, "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, line in zip(rows, lines, strict=True):
        for key in ("photo", "name", "probability", "date", "latitude", "longitude", "error"):
            assert row[key] == ("" if line[key] is None else str(line[key]))
        assert [row["name_2"], row["name_3"]] == (
            [top["name"] for top in line["top"][1:]] or ["", ""]
        )


def test_date_and_position_of_a_photo_are_in_its_row(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime] = "2024:05:01 09:30:00"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: "S",
            ExifTags.GPS.GPSLatitude: (33.0, 30.0, 0.0),
            ExifTags.GPS.GPSLongitudeRef: "E",
            ExifTags.GPS.GPSLongitude: (18.0, 15.0, 0.0),
        }
    )
    data = encode(Image.new("RGB", (60, 40), COLOURS["cyan"]), "JPEG", exif=exif)
    (colour_photos / "a.jpg").write_bytes(data)
    run(colour_photos, "--csv")
    first, second, *_ = rows_of(capsys.readouterr().out)
    assert first["name"] == "cyan"
    place = {"date": "2024-05-01T09:30:00", "latitude": "-33.5", "longitude": "18.25"}
    assert {key: first[key] for key in place} == place
    assert {second[key] for key in place} == {""}


def test_bad_photos_have_their_reason_in_the_row_and_are_counted(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (colour_photos / "empty.jpg").touch()
    assert run("gone.jpg", colour_photos, "--csv") == 1
    output = capsys.readouterr()
    rows = rows_of(output.out)
    assert [row["name"] for row in rows] == ["", "cyan", "", "magenta", "yellow"]
    assert rows[0]["error"] == "does not exist; expected the path of a photo"
    assert rows[2]["error"].startswith("is empty; expected a photo")
    assert "3 of 5 photos named" in output.err
    assert "2 could not be read; their rows say why" in output.err


def test_bad_photos_are_said_in_text_rows_too(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gone.jpg", colour_photos / "cyan.png") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(None, 1) == [
        "gone.jpg",
        "error: does not exist; expected the path of a photo",
    ]
    assert second.endswith("cyan      98.8%")


def test_only_bad_photos_is_exit_code_2(run: Any) -> None:
    Path("photos").mkdir()
    Path("photos/empty.jpg").touch()
    assert run("photos") == 2
    assert run("gone.jpg", "gone_too.jpg") == 2


def test_folder_without_photos_is_a_user_error(run: Any) -> None:
    Path("notes").mkdir()
    Path("notes/notes.txt").touch()
    with pytest.raises(UserError, match=r"there are no photos in notes; .*\.jpg"):
        run("notes")


def test_folder_that_cannot_be_listed_has_a_row(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    walk = bulk.walk_photos

    def without_permission(folder: Path, on_error: Any) -> Iterator[Path]:
        on_error(PermissionError(13, "Permission denied", str(folder / "private")))
        return walk(folder, on_error)

    monkeypatch.setattr(bulk, "walk_photos", without_permission)
    assert run(colour_photos, "--csv") == 1
    rows = rows_of(capsys.readouterr().out)
    assert rows[0]["photo"] == str(colour_photos / "private")
    assert rows[0]["error"] == "is a folder that cannot be read (Permission denied)"
    assert [row["name"] for row in rows[1:]] == list(COLOURS)


def test_photo_that_vanishes_meanwhile_has_a_row(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    walk = bulk.walk_photos

    def find_and_lose(folder: Path, on_error: Any) -> list[Path]:
        found = list(walk(folder, on_error))
        (colour_photos / "magenta.png").unlink()
        return found

    monkeypatch.setattr(bulk, "walk_photos", find_and_lose)
    assert run(colour_photos, "--csv") == 1
    rows = rows_of(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["cyan", "", "yellow"]
    assert rows[1]["error"].startswith("does not exist")


def test_rows_keep_the_order_of_many_photos(colour_model: Path) -> None:
    data = [encode(Image.new("RGB", (30, 20), colour), "PNG") for colour in COLOURS.values()]
    order = np.random.default_rng(0).integers(0, 3, 100)
    photos = [PhotoInput(str(n), data[colour]) for n, colour in enumerate(order)]
    classifier = load_classifier(colour_model, workers=3)
    answers = list(predict_photos(classifier, photos, workers=3))
    assert [answer.photo.name for answer in answers] == [str(n) for n in range(100)]
    names = list(COLOURS)
    assert [answer.prediction and answer.prediction.name for answer in answers] == [
        names[colour] for colour in order
    ]


def test_no_more_than_a_few_dozen_photos_are_held(colour_model: Path) -> None:
    data = encode(Image.new("RGB", (30, 20)), "PNG")
    taken = 0

    def photos() -> Iterator[PhotoInput]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield PhotoInput("photo", data)

    answers = predict_photos(load_classifier(colour_model), photos(), workers=2)
    ahead = [taken - given for given, _ in enumerate(answers)]
    assert len(ahead) == 1000
    assert max(ahead) <= 2 * PHOTOS_AT_A_TIME


def test_ending_of_the_output_chooses_the_format(run: Any, colour_photos: Path) -> None:
    assert run(colour_photos, "--output", "rows.csv") == 0
    assert [row["name"] for row in rows_of(Path("rows.csv").read_text())] == list(COLOURS)
    assert run(colour_photos, "--output", "rows.jsonl") == 0
    lines = Path("rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == list(COLOURS)
    assert run(colour_photos, "--output", "rows.txt") == 0
    assert "magenta   98.8%" in Path("rows.txt").read_text()


def test_interrupted_run_keeps_the_rows_so_far(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    answer_all = predict.predict_photos

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        answers = answer_all(*args, **kwargs)
        yield next(answers)
        yield next(answers)
        assert len(rows_of(Path("rows.csv").read_text())) == 2  # there already, not in a buffer
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_photos", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(colour_photos, "--output", "rows.csv")
    assert [row["name"] for row in rows_of(Path("rows.csv").read_text())] == ["cyan", "magenta"]
    assert "2 of 3 photos named" in capsys.readouterr().err


def test_old_output_stays_when_there_is_nothing_to_do(run: Any) -> None:
    Path("rows.csv").write_text("old")
    Path("notes").mkdir()
    with pytest.raises(UserError):
        run("notes", "--output", "rows.csv")
    with pytest.raises(UserError):
        predict.main(["a.jpg", "b.jpg", "--model", "none.tflite", "--output", "rows.csv"])
    assert Path("rows.csv").read_text() == "old"


def test_names_that_are_no_text_are_written(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"not-utf8-\xff.png")
    (colour_photos / "cyan.png").rename(colour_photos / name)
    assert run(colour_photos, "--output", "rows.csv") == 0
    assert "not-utf8-\\udcff.png,cyan" in Path("rows.csv").read_text(encoding="utf-8")
    assert run(colour_photos, "--output", "rows.json") == 0
    lines = json.loads(Path("rows.json").read_text())
    assert lines[1]["photo"].endswith(name)
    assert run(colour_photos) == 0


def test_progress_is_shown_on_a_terminal_and_gives_way_to_the_rows(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(colour_photos)
    output = capsys.readouterr()
    assert "naming:   0%|" in output.err
    assert "/3 [" in output.err
    last_bar, summary = output.err.rsplit("\r", 1)
    assert summary.startswith("3 of 3 photos named, ")
    assert "\r" not in output.out


@pytest.mark.parametrize(
    ("is_terminal", "options", "steps"),
    [
        (True, [], ["clear", "row", "update"]),
        (True, ["--output", "rows.csv"], ["row", "update"]),  # nothing to give way to
        (False, [], ["row", "update"]),
    ],
)
def test_bar_is_cleared_before_a_row_where_both_are_on_a_terminal(
    run: Any,
    colour_photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    options: list[str],
    steps: list[str],
) -> None:
    done: list[str] = []
    bar = SimpleNamespace(
        clear=lambda: done.append("clear"),
        update=lambda: done.append("update"),
        close=lambda: done.append("close"),
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr("keras_flowers.commands.predict.progress_bar", lambda **_: bar)
    monkeypatch.setattr(Rows, "write", lambda self, answer: done.append("row"))
    assert run(colour_photos, *options) == 0
    assert done == [*steps * 3, "close"]


def test_one_that_could_not_be_read_is_said_in_the_singular(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (colour_photos / "empty.jpg").touch()
    assert run(colour_photos) == 1
    error = capsys.readouterr().err
    assert error.endswith("; 1 could not be read; its row says why\n")


def test_format_is_an_option(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(colour_photos, "--format", "json")
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(COLOURS)
    run(colour_photos, "--format", "jsonl")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["name"] for line in lines] == list(COLOURS)
    run(colour_photos, "--format", "csv")
    assert [row["name"] for row in rows_of(capsys.readouterr().out)] == list(COLOURS)
    run(colour_photos, "--json", "--output", "rows.json")
    with open("rows.json", encoding="utf-8") as file:
        assert [row["name"] for row in json.load(file)] == list(COLOURS)


def test_pattern_that_the_shell_did_not_expand_is_expanded(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(colour_photos / "*a*.png", "--csv") == 0
    assert [row["name"] for row in rows_of(capsys.readouterr().out)] == ["cyan", "magenta"]
    assert run(colour_photos / "m*.png", "--no_chart") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("magenta.png: magenta")
    with pytest.raises(UserError, match="does not exist"):
        run(colour_photos / "z*.png")
    # A photo of that very name is that photo.
    (colour_photos / "cyan.png").rename(colour_photos / "[abc].png")
    assert run(colour_photos / "[abc].png", "--no_chart") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("[abc].png: cyan")


def test_url_is_answered_with_what_to_do(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"^https://a\.org/b\.jpg is a URL; download it first"):
        run("https://a.org/b.jpg")
    assert run("https://a.org/b.jpg", colour_photos / "cyan.png", "--csv") == 1
    assert rows_of(capsys.readouterr().out)[0]["error"].startswith("is a URL; download it first")


def test_model_in_the_place_of_a_photo_is_answered_with_what_to_write(
    run: Any, colour_photos: Path, colour_model: Path, tmp_path: Path
) -> None:
    photo = colour_photos / "cyan.png"
    reason = rf"is a model, not a photo; write: keras-flowers predict {photo} --model "
    Path("checkpoint.pth").touch()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.keras").touch()
    for model in (colour_model, "checkpoint.pth", folder):
        with pytest.raises(UserError, match=reason + re.escape(str(model))):
            predict.main([str(photo), str(model)])


def test_folder_of_models_is_taken_as_the_model(
    colour_model: Path, colour_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(colour_photos / "cyan.png"), "--format", "json"]
    assert predict.main([*arguments, "--model", str(colour_model.parent)]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)[0]["name"] == "cyan"
    assert output.err == f"uses {colour_model}\n"


def test_charts_in_a_folder_are_no_photos(
    run: Any, colour_photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(colour_photos)
    assert run("cyan.png") == 0
    capsys.readouterr()
    assert run(".", "--csv") == 0
    output = capsys.readouterr()
    assert [row["name"] for row in rows_of(output.out)] == list(COLOURS)
    assert output.err.startswith("left out 1 of our own charts in .\n3 of 3 photos named")
    # Asked for by name, it is named.
    assert run("cyan_flower.png", "--no_chart") == 0


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_stop_nothing(
    closed: str, colour_model: Path, colour_photos: Path
) -> None:
    program = f"{sys.executable} -m keras_flowers.predict"
    arguments = f"{colour_photos} --model {colour_model} --output rows.csv {closed}"
    root = str(Path(predict.__file__).parents[2])
    process = subprocess.run(
        f"{program} {arguments}",
        shell=True,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    assert [row["name"] for row in rows_of(Path("rows.csv").read_text())] == list(COLOURS)


# The camera.


def test_camera_gives_a_row_for_what_it_sees(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def frames() -> Iterator[Image.Image]:
        for colour in COLOURS.values():
            yield Image.new("RGB", (64, 48), colour)
        raise KeyboardInterrupt

    monkeypatch.setattr(camera, "frames", frames)
    monkeypatch.setattr(predict, "CAMERA_SECONDS", 0.0)
    assert run("--camera", "--csv") == 0
    rows = rows_of(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(COLOURS)
    assert rows[0]["photo"] == rows[0]["date"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", rows[0]["date"])  # no parts of seconds


def test_camera_draws_why_with_each_answer(
    run: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = []

    def frames() -> Iterator[Image.Image]:
        yield Image.new("RGB", (64, 48), COLOURS["cyan"])
        drawn.append(Path("seen.png").read_bytes())
        yield Image.new("RGB", (64, 48), COLOURS["magenta"])
        drawn.append(Path("seen.png").read_bytes())

    monkeypatch.setattr(camera, "frames", frames)
    monkeypatch.setattr(predict, "CAMERA_SECONDS", 0.0)
    assert run("--camera", "--explain", "--chart", "seen.png") == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["cyan", "magenta"]
    assert drawn[0] != drawn[1]
    assert os.listdir() == ["seen.png"]

    def frame() -> Iterator[Image.Image]:
        yield Image.new("RGB", (64, 48), COLOURS["cyan"])

    monkeypatch.setattr(camera, "frames", frame)
    assert run("--camera", "--explain") == 0
    assert sorted(os.listdir()) == ["camera_flower.png", "seen.png"]


def test_camera_answers_once_a_second_with_what_it_sees_then(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    clock = iter(np.arange(100.0, 200.0, 0.4))
    monkeypatch.setattr(predict.time, "monotonic", lambda: next(clock))

    def frames() -> Iterator[Image.Image]:
        for colour in ("cyan", "magenta", "yellow", "yellow"):
            yield Image.new("RGB", (64, 48), COLOURS[colour])

    monkeypatch.setattr(camera, "frames", frames)
    run("--camera")
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert names == ["cyan", "yellow"]


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "expected a photo"),
        (["--camera", "a.jpg"], "--camera takes no PHOTO"),
        (["--camera", "--chart", "a.png"], "--camera takes no PHOTO"),
        (["a.jpg", "b.jpg", "--chart", "c.png"], "--chart draws a single photo"),
        (["-", "-"], "name it once"),
        (["a.jpg", "--top_k", "0"], "--top_k is 0"),
        (["a.jpg", "--scale", "0", "0"], "cannot be scaled"),
        (["a.jpg", "--output", "a.xlsx"], r"cannot be written as a\.xlsx"),
        (["a.jpg", "--explain", "--no_chart"], "leave one of them out"),
        ([".", "--explain"], "--explain explains a single photo"),
        (["a.jpg", "--category_names", "none.json"], "none.json does not exist"),
    ],
)
def test_options_that_make_no_sense_are_said(
    run: Any, arguments: list[str], reason: str, in_empty_folder: Path, colour_photos: Path
) -> None:
    (colour_photos / "cyan.png").rename("a.jpg")
    with pytest.raises(UserError, match=reason):
        run(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--colour"],
        ["--csv", "--json", "a.jpg"],
        ["--csv", "--format", "json", "a.jpg"],
        ["--format", "xml", "a.jpg"],
        ["--scale", "a", "b", "a.jpg"],
        ["--top"],
    ],
)
def test_unknown_options_are_refused(run: Any, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_category_names_of_another_number_are_refused(run: Any, colour_photos: Path) -> None:
    Path("names.json").write_text('{"1": "rose", "2": "tulip"}')
    with pytest.raises(UserError, match="has 2 names but the model has 3 classes"):
        run(colour_photos / "cyan.png", "--category_names", "names.json")


def test_help_teaches_by_examples(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.count("keras-flowers predict ") >= 7
    assert "exit code" in text


def test_row_does_not_say_certain_of_what_is_not() -> None:
    file = io.StringIO()
    prediction = Prediction(("rose", "iris"), np.array([0.9999998, 2e-7], np.float32))
    rows = Rows(file, "text", top_k=1, photo_width=5)
    rows.write(Answer(PhotoInput("a.jpg", b""), prediction))
    assert file.getvalue() == "a.jpg  rose  >99.9%\n"
