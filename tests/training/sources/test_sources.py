"""Folders, tables and several sources at once: what is read, in which order, on which side."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from keras_flowers.errors import UserError

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

from keras_flowers.training.sources import open_photos, open_source
from keras_flowers.training.sources.photo_set import PhotoSet


def photo(seed: int, side: int = 64) -> Image.Image:
    """A picture like no other: smooth blots of colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def fill(folder: Path, classes: dict[str, int], start: int = 0) -> Path:
    """A folder with folders of photos, each photo different."""
    number = start
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            photo(number).save(folder / name / f"{number:04}.jpg", quality=95)
            number += 1
    return folder


def sides(photos: PhotoSet) -> dict[str, str]:
    """{place: split}."""
    rows = csv.DictReader(photos.as_csv().splitlines())
    return {row["photo"]: row["split"] for row in rows}


def test_folder_of_classes_is_divided_and_each_class_is_on_each_side(tmp_path: Path) -> None:
    photos = open_photos([str(fill(tmp_path / "own", {"rose": 20, "aster": 20, "poppy": 20}))])
    assert photos.labels == ("aster", "poppy", "rose")
    assert sum(photos.counts.values()) == 60
    for split in ("train", "validation", "test"):
        assert set(photos.photos(split).label_numbers.tolist()) == {0, 1, 2}
    assert 33 <= photos.counts["train"] <= 51


def test_adding_photos_moves_none_and_renaming_changes_nothing(tmp_path: Path) -> None:
    folder = fill(tmp_path / "own", {"rose": 40, "aster": 40})
    before = sides(open_photos([str(folder)]))
    fill(folder, {"rose": 15, "aster": 3, "new": 9}, start=500)
    after = sides(open_photos([str(folder)]))
    assert {place: after[place] for place in before} == before
    assert len(after) == 80 + 27

    digests = {}
    for split in ("train", "validation", "test"):
        digests[split] = sorted(open_photos([str(folder)]).photos(split).digests.tolist())
    for number, path in enumerate(sorted(folder.glob("*/*.jpg"), key=lambda p: p.name[::-1])):
        path.rename(path.with_name(f"renamed_{number}.jpg"))
    renamed = open_photos([str(folder)])
    for split, expected in digests.items():
        assert sorted(renamed.photos(split).digests.tolist()) == expected


def test_near_duplicates_and_groups_stand_on_one_side(tmp_path: Path) -> None:
    folder = fill(tmp_path / "own", {"rose": 25, "aster": 25})
    before = sides(open_photos([str(folder)]))
    copies = {}
    for path in sorted(folder.glob("*/*.jpg")):
        original = Image.open(path)
        for kind, copy in {
            "same": original,
            "half": original.resize((40, 40)),
            "mirror": ImageOps.mirror(original),
            "bright": ImageEnhance.Brightness(original).enhance(1.1),
        }.items():
            other = path.with_name(f"{path.stem}_{kind}.jpg")
            copy.save(other, quality=60)
            copies[str(other.relative_to(folder))] = str(path.relative_to(folder))
    photos = open_photos([str(folder)])
    after = sides(photos)
    of_original: dict[str, set[str]] = {}
    for place, side in after.items():
        of_original.setdefault(copies.get(place, place), set()).add(side)
    assert all(len(found) == 1 for found in of_original.values())
    # Old photos may give way to a copy; none of them changes sides.
    assert all(after.get(place, side) == side for place, side in before.items())
    assert len(after) + len(photos.left_out) == 250
    assert all("near duplicate of" in one.reason for one in photos.left_out)

    table = folder / "photos.csv"
    numbers = random.Random(0)
    rows = [("path", "label", "group")]
    for path in sorted(folder.glob("*/????.jpg")):
        rows.append(
            (str(path.relative_to(folder)), path.parent.name, f"plant {numbers.randrange(9)}")
        )
    table.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
    grouped = sides(open_photos([str(table)]))
    assert len(grouped) == 50
    of_group: dict[str, set[str]] = {}
    for place, _, group in rows[1:]:
        of_group.setdefault(group, set()).add(grouped[place])
    assert all(len(found) == 1 for found in of_group.values())
    assert {side for found in of_group.values() for side in found} == {
        "train",
        "validation",
        "test",
    }


def test_udacitys_numbers_are_not_sorted_as_text(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        fill(
            tmp_path / "flowers" / split, {"10": 1, "9": 1, "1": 1, "102": 1}, start=len(split) * 50
        )
    names = tmp_path / "cat_to_name.json"
    names.write_text(json.dumps({str(n): f"flower {n}" for n in range(1, 103)}), encoding="utf-8")
    photos = open_photos([str(tmp_path / "flowers")], category_names=str(names))
    assert photos.labels == ("flower 1", "flower 9", "flower 10", "flower 102")
    assert photos.counts == {"train": 4, "validation": 4, "test": 4}
    assert photos.photos("train+validation").count == 8
    assert photos.photos("test[:50%]").count == 2
    with pytest.raises(UserError, match="has no split 'tset'"):
        photos.photos("tset")


@pytest.mark.parametrize("kind", ["csv", "semicolons", "jsonl", "parquet"])
def test_tables_of_every_kind(tmp_path: Path, kind: str) -> None:
    fill(tmp_path, {"x": 12})
    places = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("x/*.jpg"))
    splits = ["train", "val", "testing"] * 4
    rows = [
        {
            "path": place,
            "label": "rose" if n % 2 else "daisy",
            "split": split,
            "note": "é",
            "source": "me" * n,
        }
        for n, (place, split) in enumerate(zip(places, splits, strict=True))
    ]
    table = tmp_path / f"photos.{'csv' if kind == 'semicolons' else kind}"
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    elif kind == "jsonl":
        table.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        with table.open("w", encoding="utf-8-sig", newline="") as file:
            delimiter = ";" if kind == "semicolons" else ","
            writer = csv.DictWriter(file, list(rows[0])[::-1], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    photos = open_photos([str(table)])
    assert photos.labels == ("daisy", "rose")
    assert photos.counts == {"train": 4, "validation": 4, "test": 4}
    assert [place for place, side in sides(photos).items() if side == "train"] == places[::3]
    # Where a row names no source, it is the table.
    train = photos.photos("train").origins
    assert train == (f"{tmp_path.name}/{table.name}", "me" * 3, "me" * 6, "me" * 9)
    assert photos.photos("test[50%:]").origins == ("me" * 8, "me" * 11)


def test_more_photos_for_our_classes_and_what_is_none_of_them(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    for number, split in enumerate(("train", "validation", "test")):
        fill(ours / split, {"rose": 3, "sun flower": 3}, start=100 * number)
    theirs = fill(tmp_path / "theirs", {"Rose": 2, "Helianthus": 4, "cat": 2, "tree": 1}, start=900)
    # A copy of what is scored must not be learned from.
    held = next((ours / "test" / "rose").glob("*.jpg"))
    Image.open(held).resize((50, 50)).save(theirs / "Rose" / "copy.jpg")
    with pytest.raises(UserError, match="none of our classes: Helianthus, cat, tree; name each"):
        open_photos([str(ours), str(theirs)])
    label_map = tmp_path / "map.csv"
    label_map.write_text("Helianthus,sun_flower\ncat,unknown\ntree,-\n", encoding="utf-8")
    photos = open_photos([str(ours), str(theirs)], label_map=["-", str(label_map)])
    assert photos.labels == ("rose", "sun flower")
    assert photos.counts == {"train": 12, "validation": 6, "test": 6, "unknown": 2}
    assert photos.photos("unknown").label_numbers.tolist() == [-1, -1]
    assert photos.photos("test").unknown_count == 2
    assert photos.photos("train").origins == ("ours",) * 6 + ("theirs",) * 6
    assert [(one.place, one.reason) for one in photos.left_out] == [
        ("Rose/copy.jpg", "near duplicate of a photo in test")
    ]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({"rose": 1}, "has 1 class with photos; expected at least two"),
        ({"rose": 9}, "has 1 class with photos; expected at least two"),
        ({"rose": 2, "aster": 2}, "leaves no photos for validation; expected at least one class"),
        ({}, "has no folders with photos in them; expected a folder of photos for each class"),
    ],
)
def test_too_few_photos_are_refused(tmp_path: Path, classes: dict[str, int], expected: str) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match=expected):
        open_photos([str(fill(tmp_path / "own", classes))])


def test_small_classes_are_learned_from(tmp_path: Path) -> None:
    photos = open_photos([str(fill(tmp_path / "own", {"a": 3, "b": 1, "c": 2, "d": 3}))])
    counts = {
        split: np.bincount(photos.photos(split).label_numbers, minlength=4).tolist()
        for split in ("train", "validation", "test")
    }
    assert counts == {
        "train": [1, 1, 2, 1],
        "validation": [1, 0, 0, 1],
        "test": [1, 0, 0, 1],
    }


def test_thousand_classes(tmp_path: Path) -> None:
    table = ["path,label"]
    (tmp_path / "p").mkdir()
    for number in range(3000):
        place = f"p/{number}.png"
        photo(number, 8).save(tmp_path / place)
        table.append(f"{place},{number % 1000}")
    (tmp_path / "t.csv").write_text("\n".join(table), encoding="utf-8")
    photos = open_photos([str(tmp_path / "t.csv")])
    assert photos.labels[:11] == tuple(str(number) for number in range(11))
    assert len(set(photos.photos("train").label_numbers.tolist())) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no/such/folder", "does not exist; expected a folder of photos, a table"),
        ("nothing.csv", "does not exist; expected a table"),
        ("https://example.org/photos.csv", "is a URL; download it first"),
        ("no_such_set", "has no data set 'no_such_set'"),
    ],
)
def test_what_is_no_source_is_refused(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        open_source(text)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("file,class\na.jpg,rose\n", "has the columns file, class; expected path and label"),
        ("path,label\n", "has no rows"),
        ("path,label\na.jpg,\n", "row 1 of .* has no label"),
        ("path,label,split\na.jpg,rose,holdout\n", "has the split 'holdout'; expected train"),
        ("path,label,split\na.jpg,rose,train\nb.jpg,rose,\n", "1 of 2 rows of .* name no split"),
        ("path,label,split\na.jpg,rose,test\n", "no row of .* has the split train"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        open_source(str(tmp_path / "t.csv"))


def test_earlier_division_is_kept(tmp_path: Path) -> None:
    folder = fill(tmp_path / "own", {"rose": 10, "aster": 10})
    photos = open_photos([str(folder)])
    turned = {"train": "test", "test": "validation", "validation": "train"}
    lines = photos.as_csv().splitlines()
    for number, line in enumerate(lines[1:], start=1):
        digest, side, *rest = line.split(",")
        lines[number] = ",".join((digest, turned[side], *rest))
    division = tmp_path / "split.csv"
    division.write_text("\n".join(lines), encoding="utf-8")
    expected = {place: turned[side] for place, side in sides(photos).items()}
    assert sides(open_photos([str(folder)], division=division)) == expected
