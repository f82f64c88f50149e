"""What the page and the table say of photos, from findings that can be counted by hand."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="the check needs the extra [train]")

from keras_flowers.commands import data
from keras_flowers.commands.data import summary_of
from keras_flowers.errors import UserError
from keras_flowers.training.check import check as checking
from keras_flowers.training.check import page, report, sections, table
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.doubts import Doubts
from keras_flowers.training.check.duplicates import DuplicateGroup
from keras_flowers.training.check.names import DoubleClass
from keras_flowers.training.check.sections import Most
from keras_flowers.training.sources.inspection import Inspection

COUNT = 8
NAMES = ["rose", "rose", "rose", "tulip", "tulip", "unknown", "rose", "tulip"]
PLACES = tuple(f"bed/{name}/{row}.jpg" for row, name in enumerate(NAMES))
NOT = np.nan


def photos_at(places: tuple[str, ...]) -> Any:
    def contents(numbers: list[int]) -> Any:
        return ((number, lambda number=number: b"%d" % number) for number in numbers)

    return SimpleNamespace(places=places, contents=contents, groups=(), origins=())


def check(**changes: Any) -> DataCheck:
    """Eight photos: one that cannot be read, two tiny ones, one of no class, doubts, duplicates."""
    own = np.float32([0.1, 0.9, 0.8, 0.25, 0.6, NOT, 0.7, NOT])
    labels = np.array([0, 0, 0, 1, 1, -1, 0, 1])
    probabilities = np.stack([np.where(labels == number, own, 1 - own) for number in (0, 1)], 1)
    sizes = np.array([[90, 80], [30, 99], [90, 90], [99, 20], [50, 50], [64, 64], [99, 99], [0, 0]])
    found = SimpleNamespace(
        reasons=np.array([""] * 7 + ["is <no> photo"]), sizes=sizes, origins=(), groups=()
    )
    made = DataCheck(
        name="beds",
        labels=("rose", "tulip"),
        pieces=[photos_at(PLACES[:5]), photos_at(PLACES[5:])],
        piece_of=np.array([0] * 5 + [1] * 3),
        numbers=np.array([0, 1, 2, 3, 4, 0, 1, 2]),
        sides=np.array(["train"] * 5 + ["test"] * 3),
        names=NAMES,
        found=found,  # type: ignore[arg-type]
        duplicates=(
            DuplicateGroup((0, 3), True, ("rose", "tulip"), ("train",)),
            DuplicateGroup((1, 6), False, ("rose",), ("train", "test")),
            DuplicateGroup((0, 1, 2), True, ("rose",), ("train",)),
        ),
        doubles=(DoubleClass(0, 1, "the same <letters>"),),
        doubts=Doubts(
            np.float32(probabilities),
            np.float32([0.5, 4.5, 4.0, 0.1, 0.2, NOT, 6.0, NOT]),
            labels,
        ),
        least_side=50,
    )
    return dataclasses.replace(made, **changes)


def said(part: str) -> str:
    """HTML as a reader sees it, with | between cells."""
    part = re.sub(r"</t[dh]><t[dh][^>]*>", " | ", part)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split())


def bodies(
    made: DataCheck, most: Most = sections.MOST, **options: Any
) -> dict[str, tuple[int, str]]:
    """What stands in each section, without its explanation."""
    found = sections.sections_of(made, most, **options)
    return {one.anchor: (one.count, said(one.body)) for one in found}


def test_photos_are_sorted_by_what_is_wrong_with_them() -> None:
    made = check()
    assert made.wrong == [0, 3]  # the most doubtful first
    assert made.strangers == [6, 1]  # the farthest first; 4 deviations are not more than 4
    assert made.tiny.tolist() == [3, 1]  # the smallest first; 50 pixels are not fewer than 50
    assert made.splits == ("train", "test")
    assert made.counts == {
        ("rose", "train"): 3, ("tulip", "train"): 2, ("unknown", "test"): 1, ("rose", "test"): 1,
    }  # fmt: skip
    assert made.photos_of == {"rose": 4, "tulip": 2, "unknown": 1}
    assert [made.place(row) for row in (4, 5)] == [PLACES[4], PLACES[5]]
    assert [(row, read()) for row, read in made.contents([6, 1, 6])] == [(1, b"1"), (6, b"1")]
    unjudged = check(doubts=None)
    assert unjudged.wrong == unjudged.strangers == []


def test_each_section_shows_what_was_found() -> None:
    shown = bodies(check(), with_photos=False)
    assert shown == {
        "labels": (
            2,
            "the photo tulip rose, or tulip? probability 10.0%, or 90.0% rose/0.jpg "
            "the photo rose tulip, or rose? probability 25.0%, or 75.0% tulip/3.jpg",
        ),
        "strangers": (2, "rose rose/6.jpg rose rose/1.jpg"),
        "two-classes": (1, "The same file, 2 times rose rose/0.jpg tulip tulip/3.jpg"),
        "leaks": (1, "Nearly the same, 2 times rose, train rose/1.jpg rose, test rose/6.jpg"),
        "doubles": (
            1,
            "class | and | photos | photos | because rose | tulip | 4 | 2 | the same <letters>",
        ),
        "unreadable": (1, "file | class | why bed/tulip/7.jpg | tulip | is <no> photo"),
        "tiny": (
            2,
            "20 x 99 pixels tulip tulip/3.jpg 99 x 30 pixels rose rose/1.jpg",
        ),
        "duplicates": (1, "The same file, 3 times rose rose/0.jpg rose rose/1.jpg rose rose/2.jpg"),
    }


def test_figures_are_as_large_as_what_is_to_be_seen_on_them() -> None:
    found = {one.anchor: one.body for one in sections.sections_of(check(), with_photos=False)}
    grids = {name: re.findall('<div class="(grid[^"]*)">', body) for name, body in found.items()}
    assert {name: one[0] for name, one in grids.items() if one} == {
        "labels": "grid",  # two photos are compared
        "strangers": "grid small",
        "tiny": "grid small",
    }
    heads = re.findall("<th scope[^>]*>", found["doubles"])
    assert [number for number, head in enumerate(heads) if "number" in head] == [2, 3]
    heads = re.findall("<th scope[^>]*>", page._classes(check()))
    assert [number for number, head in enumerate(heads) if "number" in head] == [1, 2, 3, 4]


def test_no_more_is_shown_than_asked_for_and_it_says_so() -> None:
    few = Most(wrong=1, strangers=1, tiny=1, groups=0, in_a_group=2, lines=0)
    made = check()
    shown = bodies(made, few, with_photos=False)
    assert shown["labels"] == (
        2,
        "the photo tulip rose, or tulip? probability 10.0%, or 90.0% rose/0.jpg",
    )
    assert shown["strangers"] == (2, "rose rose/6.jpg")
    assert shown["tiny"][1].startswith("20 x 99")
    assert shown["tiny"][1].endswith("3.jpg")
    assert shown["two-classes"] == (1, "")
    assert shown["unreadable"] == (1, "file | class | why")
    texts = {one.anchor: one.text for one in sections.sections_of(made, few, with_photos=False)}
    for anchor, count in (("labels", "1 of 2"), ("tiny", "1 of 2"), ("leaks", "0 of 1")):
        assert f"; {count} are shown, the table has all" in texts[anchor]
    cut = bodies(made, few._replace(groups=9), with_photos=False)["duplicates"][1]
    assert cut == "The same file, 3 times: 1 more rose rose/0.jpg rose rose/1.jpg"
    whole = {one.anchor: one.text for one in sections.sections_of(made, with_photos=False)}
    assert not any("are shown" in text for text in whole.values())
    assert "has fewer than 50 pixels" in whole["tiny"]
    assert "2 photos add nothing" in whole["duplicates"]


def test_photos_that_are_shown_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def draw(contents: Any, total: int) -> dict[int, str]:
        rows = [row for row, _ in contents]
        drawn.append((rows, total))
        return {row: f"data:{row}" for row in rows if row != 6}

    monkeypatch.setattr(sections, "thumbnails", draw)
    found = {one.anchor: one.body for one in sections.sections_of(check())}
    assert drawn == [([0, 1, 2, 3, 4, 6], 6)]
    # Beside each label that looks wrong the most typical photo of the other class.
    assert re.findall(r'src="data:(\d)" alt="([^"]*)"', found["labels"]) == [
        ("0", "the photo"),
        ("4", "an example of tulip"),
        ("3", "the photo"),
        ("1", "an example of rose"),
    ]
    assert said(found["strangers"]).startswith("cannot be read now rose")
    drawn.clear()
    few = Most(wrong=1, strangers=0, tiny=0, groups=1, in_a_group=1, lines=0)
    list(sections.sections_of(check(), few))
    assert drawn == [([0, 1, 4], 3)]
    assert sections._examples(check(doubts=None), few) == {}


def test_todo_counts_in_singular_and_plural() -> None:
    made = check()
    todo = {one.anchor: one.todo for one in sections.sections_of(made, with_photos=False)}
    assert todo["labels"].startswith("2 labels look wrong: where you agree")
    assert todo["strangers"].startswith("2 photos fit no class: delete")
    assert todo["two-classes"].startswith("1 photo is in several classes: only")
    assert todo["leaks"].startswith("1 photo is both learned from and scored on")
    assert todo["doubles"].startswith("1 pair of classes may be one flower")
    assert todo["unreadable"].startswith("1 file cannot be read")
    assert todo["tiny"].startswith("2 photos are tiny")
    assert todo["duplicates"] == ""
    shown = sections.as_section(
        sections.Section("a", "Title", 1234, "todo", "text", "body"), level=3
    )
    assert shown == (
        '<section aria-labelledby="a">\n<h3 id="a">Title: 1,234</h3>\n<p>text</p>\nbody\n</section>'
    )


def test_page_says_what_to_do_and_how_classes_do() -> None:
    made = check(duplicates=())
    # Pictures cannot be drawn of photos that are none.
    whole = page.as_html(made, "check/photos.csv")
    body = said(whole[whole.index("<header>") :])
    assert body.startswith(
        "beds 7 photos of 2 classes (train, test). The table check/photos.csv has a row for each, "
        "the most doubtful label first."
    )
    assert "2 labels look wrong: where you agree, write the right name into the table. Show" in body
    assert "Train on the corrected table: keras-flowers train --data check/photos.csv" in body
    assert (
        "Nothing found: the same photo in several classes; the same photo in several splits; the "
        "same photo several times in a class."
    ) in body
    assert "Labels were not judged" not in body
    # Of three roses that were judged as such, 3 of 4 are taken for roses; of two tulips, 1.
    assert body.endswith(
        "class | photos | train | test | recognised unknown | 1 | 0 | 1 | tulip | 2 | 2 | 0 | 50% "
        "rose | 4 | 3 | 1 | 75%"
    )
    assert "3 classes have fewer than 20 photos: more of these help most." in body
    undivided = said(
        page.as_html(check(duplicates=(), sides=np.array(["all"] * 8), doubts=None), "")
    )
    assert "(not divided yet: training does that by content)" in undivided
    assert "Labels were not judged in this check" in undivided
    assert "class | photos | recognised unknown | 1 | tulip | 2 | rose | 4" in undivided


def test_classes_of_twenty_photos_are_enough() -> None:
    made = check()
    made.__dict__["photos_of"] = {"rose": 20, "tulip": 19}
    assert "1 class has fewer than 20 photos" in said(page._classes(made))
    made.__dict__["photos_of"] = {"rose": 20}
    assert "fewer than" not in said(page._classes(made))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_table_has_a_row_for_each_photo_the_most_doubtful_first() -> None:
    rows = rows_of(table.as_csv(check()))
    assert list(rows[0]) == list(table.COLUMNS)
    assert [row["path"] for row in rows] == [PLACES[row] for row in (0, 3, 4, 6, 2, 1, 5)]
    assert [row["suggestion"] for row in rows] == ["tulip", "rose", "", "", "", "", ""]
    assert [row["probability_of_label"] for row in rows] == [
        "0.1000", "0.2500", "0.6000", "0.7000", "0.8000", "0.9000", "",
    ]  # fmt: skip
    assert [row["split"] for row in rows] == ["train"] * 3 + ["test", "train", "train", "test"]
    assert [row["finding"] for row in rows] == [
        "the label looks wrong; same file as bed/tulip/3.jpg (tulip); same file as bed/rose/1.jpg",
        "the label looks wrong; same file as bed/rose/0.jpg (rose); tiny: 20 x 99 pixels",
        "",
        "fits no class; near duplicate of bed/rose/1.jpg (train)",
        "same file as bed/rose/0.jpg",
        "fits no class; near duplicate of bed/rose/6.jpg (test); same file as bed/rose/0.jpg; "
        "tiny: 99 x 30 pixels",
        "",
    ]
    unjudged = rows_of(table.as_csv(check(doubts=None, sides=np.array(["all"] * 8))))
    assert [row["path"] for row in unjudged] == list(PLACES[:7])
    assert {row["split"] for row in unjudged} == {row["probability_of_label"] for row in unjudged}
    assert {row["suggestion"] for row in unjudged} == {""}


def test_table_has_groups_and_sources_and_files_from_anywhere() -> None:
    piece = photos_at(PLACES)
    piece.groups, piece.origins = tuple("abcdefgh"), tuple("stuvwxyz")
    made = check(pieces=[piece], piece_of=np.zeros(8, int), numbers=np.arange(8))
    rows = rows_of(table.as_csv(made, dict(enumerate(map(Path, "01234567")))))
    assert [row["path"] for row in rows] == list("0346215")
    assert [row["group"] + row["source"] for row in rows] == [
        "as",
        "dv",
        "ew",
        "gy",
        "cu",
        "bt",
        "fx",
    ]


def test_summary_counts_what_the_page_shows() -> None:
    assert (
        summary_of(check())
        == """
beds: 7 photos of 2 classes (train, test)
  fewest: unknown 1, tulip 2, rose 4
  most:   rose 4, tulip 2, unknown 1
       1  files cannot be read
       2  photos are tiny: a side below 50 pixels
       4  photos are copies or near copies of others
       1  photos are in several classes: only one label can be right
       1  photos are in several splits: scores would be too good
       1  pairs of classes may be one flower: rose / tulip
       2  labels look wrong
       2  photos fit no class"""
    )
    plain = summary_of(check(doubts=None, doubles=(), duplicates=(), sides=np.array(["all"] * 8)))
    assert "beds: 7 photos of 2 classes\n" in plain
    assert plain.endswith("       0  pairs of classes may be one flower")
    assert data._shortened(list("abcde")) == "a, b, c, d, e"
    assert data._shortened(list("abcdef")) == "a, b, c, d, e, ..."


def test_copies_end_as_what_they_are() -> None:
    assert report._suffix(b"\xff\xd8\xff\xe0") == ".jpg"
    assert report._suffix(b"\x89PNG\r\n") == ".png"
    assert report._suffix(b"GIF89a") == ""
    assert report._is_text("rose") and not report._is_text("a\udcff")


def test_names_that_are_no_text_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = photos_at(("bed/a\udcff.jpg", *PLACES[1:5]))
    made = check(pieces=[odd, photos_at(PLACES[5:])], duplicates=(), doubts=None)
    report.write_check(made, tmp_path / "check")
    assert caplog.messages == [
        "the photos of beds are no files of their own, so that --data cannot take photos.csv "
        "back; --copies writes them beside it",
        "1 photos have names that are no UTF-8, and are not in photos.csv: rename them",
    ]
    rows = rows_of((tmp_path / "check" / "photos.csv").read_text(encoding="utf-8"))
    assert [row["path"] for row in rows] == list(PLACES[1:7])


def test_copies_are_numbered_by_row_and_those_alone_are_readable(tmp_path: Path) -> None:
    paths = report._copy(check(), tmp_path / "photos")
    assert {row: path.as_posix() for row, path in paths.items()} == {
        row: f"photos/{row:06}" for row in range(7)
    }
    assert (tmp_path / "photos" / "000005").read_bytes() == b"0"


def test_least_side_of_a_photo_is_half_of_the_networks() -> None:
    assert round(checking.TINY * 224) == 112


def test_doubts_are_put_beside_the_photos_that_can_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.array([0, 1, 1, -1])
    readable = np.array([0, 2, 3])
    first = np.array([0, 1, 0, 3])
    judged: list[Any] = []
    rows = np.float32([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    answer: list[Any] = [Doubts(rows, np.float32([1, 2, 3]), labels[readable]), None]

    def judge(*given: Any) -> Any:
        judged.append([one if isinstance(one, str) else one.tolist() for one in given])
        return answer.pop(0)

    monkeypatch.setattr(checking, "judge", judge)
    photos: Any = "photos"
    features: Any = lambda one: f"features of {one}"  # noqa: E731
    found = checking._judge(photos, features, readable, first, labels)
    assert found is not None
    np.testing.assert_array_equal(found.probabilities[readable], rows)
    np.testing.assert_array_equal(found.distances, np.float32([1, np.nan, 2, 3]))
    assert np.isnan(found.probabilities[1]).all()
    assert found.labels.tolist() == labels.tolist()
    assert judged == [["features of photos", [0, 1, -1], [0, 0, 3]]]
    assert caplog.messages == []
    assert checking._judge(photos, features, readable, first, labels) is None
    assert caplog.messages == [
        "labels are not judged: that takes two classes with three photos each, near duplicates "
        "counted once"
    ]


def test_every_split_with_photos_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def inspect(*given: Any, **options: Any) -> Any:
        asked.append((*given[1:], options))
        return photos_at(("a", "b")), Inspection(
            np.zeros(2, "S32"),
            np.array(["rose"] * 2, object),
            np.zeros(2, np.uint8),
            np.zeros((2, 8, 8, 3), np.uint8),
            np.zeros(2, np.bool_),
            np.array(["is empty", "is a folder"], object),
            np.zeros((2, 2), np.int32),
        )

    monkeypatch.setattr(checking, "inspect_split", inspect)
    source: Any = SimpleNamespace(
        name="beds", labels=("rose",), counts={"train": 2, "validation": 0, "test": 2}
    )
    expected = "none of the 4 photos of beds can be read; expected photos: is empty; is a folder"
    with pytest.raises(UserError, match=f"^{expected}$"):
        checking.check_data(source, image_size=8, features=None, cache_dir=tmp_path)
    assert asked == [(split, tmp_path, {"with_looks": True}) for split in ("train", "test")]
    # What a map leaves out is not counted.
    with pytest.raises(UserError, match="none of the 0 photos of beds can be read"):
        checking.check_data(source, image_size=8, features=None, label_map={"rose": "-"})


def test_photos_that_are_as_small_come_in_their_order() -> None:
    count = 60
    found = SimpleNamespace(
        reasons=np.array([""] * count), sizes=np.full((count, 2), 20), origins=(), groups=()
    )
    found.sizes[::7] = 10
    first = list(range(0, count, 7))
    assert check(found=found).tiny.tolist() == [*first, *(n for n in range(count) if n % 7)]
