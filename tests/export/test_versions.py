"""Which versions of a model a run holds, what is demanded of each, and what each says of itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bad_photos import encode, picture

pytest.importorskip("tensorflow_datasets", reason="exporting needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.export import artifacts, versions
from keras_flowers.export.formats import FORMATS, formats_named
from keras_flowers.export.limits import BROWSER, BROWSER_INT8, EXACT, Limits
from keras_flowers.export.photos import photos_of_folder, photos_of_split
from keras_flowers.export.provenance import describe, with_variant
from keras_flowers.export.versions import find_versions
from keras_flowers.inference.metadata import Metadata
from keras_flowers.training.run_directory import Run

VARIANTS = {
    "mine_float16.tflite": "TFLite float16",
    "mine_int8.tflite": "TFLite int8",
    "other.tflite": "TFLite other kind",
    "old.tflite": "",
    "one_float32.tflite": "TFLite float32",
    "two_float32.tflite": "TFLite float32",
}


def test_versions_come_the_best_first_each_with_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.at(tmp_path)
    assert find_versions(run) == []
    for name in VARIANTS:
        (tmp_path / name).touch()
    run.model_path.touch()
    run.saved_model.mkdir(parents=True)
    described = {
        path: Metadata(("a", "b"), (8, 8), {"variant": VARIANTS.get(path.name)})
        for path in (*tmp_path.glob("*.tflite"), run.saved_model)
    }
    monkeypatch.setattr(versions, "read_metadata", described.__getitem__)
    monkeypatch.setattr(Run, "metadata", Metadata(("a", "b"), (8, 8)))
    by_name = {one.name: one.limits for one in FORMATS}
    found = find_versions(run)
    assert [(one.name, one.limits, one.browser_limits) for one in found] == [
        ("Keras", Limits(), None),
        ("SavedModel", EXACT, None),
        # Two of one kind are told apart by their files.
        ("TFLite one_float32.tflite", EXACT, BROWSER),
        ("TFLite two_float32.tflite", EXACT, BROWSER),
        ("TFLite float16", Limits(), BROWSER),
        ("TFLite int8", by_name["int8"], BROWSER_INT8),
        ("TFLite old", Limits(), BROWSER),
        ("TFLite other kind", Limits(), BROWSER),
    ]
    assert [one.path.name for one in found[:3]] == ["model.keras", "1", "one_float32.tflite"]
    assert found[0].load is artifacts.load_keras
    assert found[-1].load is artifacts.load_tflite
    assert [one.load for one in found[1:6]] == [FORMATS[n].load for n in (0, 1, 1, 2, 3)]
    assert all(one.metadata is described[one.path] for one in found[1:])


def test_formats_are_written_in_their_own_order() -> None:
    names = [one.name for one in formats_named(["int8", "saved_model"])]
    assert names == ["saved_model", "int8"]
    run = Run.at(Path("runs/mine"))
    assert [one.path(run) for one in formats_named(None)] == [
        Path("runs/mine/saved_model/1"),
        Path("runs/mine/mine_float32.tflite"),
        Path("runs/mine/mine_float16.tflite"),
        Path("runs/mine/mine_int8.tflite"),
    ]


def test_file_says_what_it_is_in_sentences() -> None:
    facts = {
        "base": "MobileNetV2",
        "dataset": "beds",
        "trained_on": {"photos": 12, "split": "train"},
        "scores": {"test": {"top1": {"value": 0.877}, "photos": 40}},
    }
    plain = Metadata(("rose", "aster"), (320, 240), facts)
    int8 = with_variant(plain, "TFLite int8", {"calibrated_on": 3})
    assert int8.provenance == {**facts, "variant": "TFLite int8", "calibrated_on": 3}
    assert describe(int8) == (
        "Names 2 kinds of flowers in a photo. MobileNetV2 trained on 12 photos of beds, split "
        "train. Right for 87.7% of 40 photos of the split test, as a Keras model. Takes the whole "
        "photo squashed to 240 x 320 pixels, RGB 0..255. This file: TFLite int8."
    )
    # A model of which nothing is known.
    assert describe(Metadata(("rose",), None)) == (
        "Names 1 kinds of flowers in a photo. A network trained on ? photos of a data set, split "
        "?. Takes the whole photo squashed to ? x ? pixels, RGB 0..255. This file: Keras."
    )


@pytest.mark.parametrize(("limit", "count"), [(None, 5), (2, 2), (9, 5)])
def test_photos_of_a_split_are_the_first_of_it(limit: int | None, count: int) -> None:
    records: list[Any] = [(n, b"%d" % n, n % 3) for n in range(5)]
    split: Any = SimpleNamespace(
        count=5,
        dataset="beds",
        split="test",
        records=SimpleNamespace(
            take=lambda n: SimpleNamespace(as_numpy_iterator=lambda: iter(records[:n]))
        ),
    )
    found = photos_of_split(split, limit=limit)
    assert (found.source, found.count) == ("beds, split test", count)
    assert list(found.items) == [(f"photo {n}", b"%d" % n, n % 3) for n in range(count)]


def test_photos_of_a_folder_are_labelled_by_the_folder_they_lie_in(tmp_path: Path) -> None:
    photo = encode(picture((1, 2, 3)), "PNG")
    for name in ("a.png", "aster/b.png", "rose/c.png", "weed/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    found = photos_of_folder(tmp_path, ("rose", "aster"))
    assert (found.source, found.count) == (str(tmp_path), 4)
    assert list(found.items) == [
        (str(tmp_path / name), photo, number)
        for name, number in (
            ("a.png", -1),
            ("aster/b.png", 1),
            ("rose/c.png", 0),
            ("weed/d.png", -1),
        )
    ]
    some = photos_of_folder(tmp_path, ("rose",), limit=2)
    assert (some.count, len(list(some.items))) == (2, 2)
    (tmp_path / "empty").mkdir()
    for place, missing in (("empty", "holds no photos"), ("none", "is not a folder")):
        with pytest.raises(UserError, match=f"{place} {missing}; expected a folder of photos$"):
            photos_of_folder(tmp_path / place, ())
