"""Several sources as one: what is refused, what is said, and what is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError

pytest.importorskip("tensorflow", reason="training needs TensorFlow")

from keras_flowers.training.sources import open_photos, open_source
from keras_flowers.training.sources.labelled import LabelledPhotos, weigh
from keras_flowers.training.sources.photo_set import read_division
from keras_flowers.training.sources.source import FilePhotos, slices_of


def fill(folder: Path, classes: dict[str, int], start: int = 0) -> Path:
    """A folder with folders of photos, each photo different."""
    number = start
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3)).astype(np.uint8)
            picture = Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC)
            picture.save(folder / name / f"{number:04}.jpg", quality=95)
            number += 1
    return folder


def test_plain_photos_are_told_apart_by_their_content(tmp_path: Path) -> None:
    for number in range(12):
        name = "dark" if number < 6 else "light"
        (tmp_path / name).mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (20 * number, 90, 30)).save(tmp_path / name / f"{number}.png")
    photos = open_photos([str(tmp_path)])
    assert sum(photos.counts.values()) == 12
    assert photos.left_out == ()
    assert photos.photos("train").unknown_count == 0


def test_division_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    folder = fill(tmp_path / "own", {"rose": 20, "aster": 20, **dict.fromkeys("abcde", 2)})
    for copy in ("aster/copy.jpg", "rose/copy.jpg"):
        shutil.copy(folder / "rose" / "0003.jpg", folder / copy)
    photos = open_photos([str(folder)])
    said = capsys.readouterr().out
    counts = ", ".join(f"{count} {split}" for split, count in photos.counts.items())
    assert f"own: {sum(photos.counts.values())} photos of 7 classes, divided by their" in said
    assert f": {counts}; photos that are added later move none of them, but where a" in said
    # The photo itself is one of the three files.
    assert "3 files that lie in several classes" in said
    assert "; only learned from, with fewer: a, b, c and 2 more\n" in said
    reasons = [one.reason for one in photos.left_out]
    assert reasons == ["the same file is in several classes: aster, rose"] * 3
    (tmp_path / "split.csv").write_text(photos.as_csv())
    again = open_photos([str(folder)], division=tmp_path / "split.csv")
    assert again.counts == photos.counts
    assert capsys.readouterr().out == ""


def test_new_class_beside_splits_that_are_there_is_scored_too(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    for number, split in enumerate(("train", "validation", "test")):
        fill(ours / split, {"rose": 3, "aster": 3}, start=100 * number)
    theirs = fill(tmp_path / "theirs", {"rose": 4, "oak": 9}, start=900)
    label_map = tmp_path / "map.csv"
    label_map.write_text("oak,oak\n", encoding="utf-8")
    # Two of its photos were said to show none of the classes, before it was one of them.
    others = fill(tmp_path / "others", {"unknown": 3}, start=950)
    for number in (904, 905):
        shutil.copy(theirs / "oak" / f"{number:04}.jpg", others / "unknown" / f"{number}.jpg")
    sources = [str(ours), str(theirs), str(others)]
    photos = open_photos(sources, label_map=["-", str(label_map), "-"])
    assert photos.counts["unknown"] == 3
    assert [(one.source, one.place, one.reason) for one in photos.left_out] == [
        ("others", f"unknown/{number}.jpg", "labelled unknown here, and oak elsewhere")
        for number in (904, 905)
    ]
    counts = {
        split: np.bincount(photos.photos(split).label_numbers, minlength=3)
        for split in ("train", "validation", "test")
    }
    # What results are compared on has not grown by photos of classes that it has.
    assert photos.labels == ("aster", "rose", "oak")
    assert [counts[split][:2].tolist() for split in counts] == [[3, 7], [3, 3], [3, 3]]
    assert sum(counts[split][2] for split in counts) == 9
    assert counts["train"][2] > counts["test"][2] >= 1 <= counts["validation"][2]


@pytest.mark.parametrize("scored_in", ["validation", "test"])
def test_class_that_is_scored_in_one_split_alone_is_only_learned_more_of(
    tmp_path: Path, scored_in: str
) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        classes = {"rose": 3, "aster": 3}
        if split in ("train", scored_in):
            classes["oak"] = 3
        fill(tmp_path / "ours" / split, classes, start=100 * number)
    theirs = fill(tmp_path / "theirs", {"oak": 9}, start=900)
    photos = open_photos([str(tmp_path / "ours"), str(theirs)])
    oak = photos.labels.index("oak")
    counts = {
        split: int((photos.photos(split).label_numbers == oak).sum())
        for split in ("train", "validation", "test")
    }
    assert counts == {"train": 12, "validation": 0, "test": 0, scored_in: 3}


def test_photo_counts_by_its_source_and_its_class(tmp_path: Path) -> None:
    # Of the same name, so that the name does not tell them apart.
    for number, classes in enumerate(({"rose": 30, "aster": 12}, {"rose": 8, "aster": 14})):
        fill(tmp_path / str(number) / "own", classes, start=100 * number)
    sources = [str(tmp_path / number / "own") for number in ("0", "1")]
    photos = open_photos(sources).photos("train")
    assert weigh(photos) is photos
    of_second = np.array([place.startswith(str(tmp_path / "1")) for place in places_of(photos)])
    assert 0 < of_second.sum() < photos.count

    weights = weigh(photos, [1.0, 0.25]).weights
    assert weights is not None and weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(weights[of_second], weights[~of_second].mean() / 4, rtol=1e-6)

    for of_sources in ((), (1.0, 0.25)):
        weights = weigh(photos, of_sources, balance_classes=True).weights
        assert weights is not None
        assert np.bincount(photos.label_numbers, weights) == pytest.approx([photos.count / 2] * 2)
        for label in (0, 1):
            own = photos.label_numbers == label
            shares = weights[own & of_second].mean() / weights[own & ~of_second].mean()
            assert shares == pytest.approx(of_sources[1] if of_sources else 1)


def places_of(photos: LabelledPhotos) -> list[str]:
    """The path of each photo, in the order of the split."""
    return [
        str(part.photos.root / part.photos.places[number])
        for part in photos.parts
        for number in part.numbers
        if isinstance(part.photos, FilePhotos)
    ]


def test_source_without_validation_gets_it_from_train(tmp_path: Path) -> None:
    fill(tmp_path / "own" / "train", {"rose": 60, "aster": 60})
    fill(tmp_path / "own" / "test", {"rose": 5, "aster": 5}, start=500)
    photos = open_photos([str(tmp_path / "own")])
    assert photos.counts["test"] == 10
    assert 8 <= photos.counts["validation"] <= 28  # 15 % of 120
    assert photos.counts["train"] + photos.counts["validation"] == 120


def test_class_without_photos_to_learn_is_refused(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        fill(tmp_path / split, {"rose": 3, "aster": 3}, start=100 * number)
    fill(tmp_path / "test", {"poppy": 1}, start=900)
    with pytest.raises(UserError, match="has no photos to learn 'poppy' from; add some"):
        open_photos([str(tmp_path)])


def test_split_without_photos_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"rose": 3, "aster": 3})
    fill(tmp_path / "validation", {"rose": 3}, start=100)
    (tmp_path / "test" / "rose").mkdir(parents=True)
    with pytest.raises(UserError, match="leaves no photos for test; expected at least one class"):
        open_photos([str(tmp_path)])


def test_splits_know_each_other_and_how_all_was_divided(tmp_path: Path) -> None:
    photos = open_photos([str(fill(tmp_path / "own", {"rose": 6, "aster": 6}))])
    train = photos.photos("train")
    assert (train.dataset, train.split, train.labels) == ("own", "train", ("aster", "rose"))
    test = train.of_split("test[:1]")
    assert (test.count, test.split) == (1, "test[:1]")
    assert train.division is not None
    assert train.division() == photos.as_csv()
    assert train.left_out == photos.left_out


def test_all_photos_of_a_model_are_one_split_where_nothing_is_to_be_learned(tmp_path: Path) -> None:
    folder = fill(tmp_path / "own", {"rose": 4, "aster": 4, "unknown": 2})
    photos = open_photos([str(folder)], labels=("aster", "poppy", "rose"), divide=False)
    assert photos.counts == {"photos": 8, "unknown": 2}
    assert photos.labels == ("aster", "poppy", "rose")
    assert sorted(photos.photos("photos").label_numbers.tolist()) == [0] * 4 + [2] * 4


def test_groups_of_two_sources_are_different_ones(tmp_path: Path) -> None:
    for number, source in enumerate(("one", "two")):
        fill(tmp_path / source / "p", {"x": 12}, start=100 * number)
        rows = ["path,label,group"]
        for place, path in enumerate(sorted((tmp_path / source / "p" / "x").iterdir())):
            rows.append(f"p/x/{path.name},{'ab'[place % 2]}{number},plant {place % 6}")
        (tmp_path / source / "t.csv").write_text("\n".join(rows))
    tables = [str(tmp_path / source / "t.csv") for source in ("one", "two")]
    (tmp_path / "map.csv").write_text("a1,a1\nb1,b1\n")
    both = open_photos(tables, label_map=["-", str(tmp_path / "map.csv")])
    alone = open_photos(tables[:1])
    assert both.labels == ("a0", "b0", "a1", "b1")
    assert sum(both.counts.values()) == 24
    assert sum(alone.counts.values()) == 12


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, "2 --label_map for 3 --data; expected one for all, or one for each"),
        (4, "4 --label_map"),
    ],
)
def test_number_of_label_maps_is_that_of_the_sources_or_one(count: int, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        open_photos(["a", "b", "c"], label_map=["-"] * count)


def test_one_label_map_is_for_all_sources(tmp_path: Path) -> None:
    for number, source in enumerate(("one", "two")):
        fill(tmp_path / source, {"rosa": 6, "aster": 6}, start=100 * number)
    (tmp_path / "map.csv").write_text("rosa,rose\n")
    sources = [str(tmp_path / "one"), str(tmp_path / "two")]
    photos = open_photos(sources, label_map=[str(tmp_path / "map.csv")])
    assert photos.labels == ("aster", "rose")
    assert sum(photos.counts.values()) == 24


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "names.json does not exist"),
        ([1], "expected a JSON object of names by folder"),
        ({"1": 2}, "expected a JSON object of names by folder"),
        ({"2": "rose"}, "has no name for the folder 1"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, content: object, expected: str) -> None:
    fill(tmp_path / "own", {"1": 1, "2": 1})
    names = tmp_path / "names.json"
    if content is not None:
        names.write_text(json.dumps(content))
    with pytest.raises(UserError, match=expected):
        open_source(str(tmp_path / "own"), category_names=str(names))


def test_photos_that_were_unknown_are_divided_once_they_have_a_name(tmp_path: Path) -> None:
    fill(tmp_path / "own", {"rose": 6, "aster": 6, "unknown": 9})
    before = open_photos([str(tmp_path / "own")])
    division = before.photos("train").division
    assert before.counts["unknown"] == 9
    assert division is not None
    (tmp_path / "split.csv").write_text(division())
    assert len(read_division(tmp_path / "split.csv")) == 12
    (tmp_path / "own" / "unknown").rename(tmp_path / "own" / "tulip")
    after = open_photos([str(tmp_path / "own")], division=tmp_path / "split.csv")
    assert after.photos("train").labels == ("aster", "rose", "tulip")
    assert sum(after.counts.values()) == 21
    assert min(after.counts[split] for split in ("train", "validation", "test")) >= 2


def test_division_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    for content in (None, b"photo,split\na,b\n", b"\xff\xfe"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read .*expected the split.csv of"):
            read_division(path)


def test_split_expressions_are_those_of_tfds() -> None:
    counts = {"train": 10, "test": 5}
    assert slices_of("train[:30%]+test", counts, "own") == [("train", 0, 3), ("test", 0, 5)]
    assert slices_of("train[2:4]", counts, "own") == [("train", 2, 4)]
    assert slices_of("test[-2:]", counts, "own") == [("test", 3, 5)]
    with pytest.raises(UserError, match="the split 'train.3:3.' of own holds no photos"):
        slices_of("train[3:3]", counts, "own")
    for wrong in ("val", "train[", "train[:200%]", "", "train[50:]"):
        with pytest.raises(UserError, match=r"own has no split .*; it has train, test"):
            slices_of(wrong, counts, "own")


def test_files_come_in_order_however_long_each_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    import tensorflow as tf

    def read(path: bytes) -> bytes:
        time.sleep(0.5 if path.endswith(b"0") else 0)
        return Path(path.decode()).read_bytes()

    for number in range(4):
        (tmp_path / str(number)).write_text(f"photo {number}")
    monkeypatch.setattr(tf.io, "read_file", lambda path: tf.numpy_function(read, [path], tf.string))
    photos = FilePhotos(tmp_path, list("0123"), ["x"] * 4)
    contents = list(photos.records([0, 1, 3]).as_numpy_iterator())
    assert contents == [b"photo 0", b"photo 1", b"photo 3"]


def test_stamp_changes_with_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"abc")
    photos = FilePhotos(tmp_path, ["a.jpg", "none.jpg", "nul\0.jpg"], ["x"] * 3)
    before = photos.stamps
    assert before[1] == f"{tmp_path / 'none.jpg'} is not there"
    assert before[2].endswith("is not there")
    (tmp_path / "a.jpg").write_bytes(b"abcd")
    assert photos.stamps[0] != before[0]
    chosen = FilePhotos(tmp_path, list("abc"), list("xyz"), ["g", "", "h"], ["o", "p", ""])
    assert chosen.select([2, 0]) == FilePhotos(
        tmp_path, ["c", "a"], ["z", "x"], ["h", "g"], ["", "o"]
    )
