"""Many photos: what the arguments stand for, in which order, and an answer for each."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bad_photos import encode
from conftest import COLOURS
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference import bulk
from keras_flowers.inference.bulk import PhotoInput, find_inputs, predict_photos
from keras_flowers.inference.classifier import load_classifier


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_arguments_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "b/2.jpg", "b/1.png", "b/notes.txt", "a.jpg", "c1.jpg", "c2.jpg", "[x].jpg")
    give(monkeypatch, b"photo")
    found = find_inputs(["b", "none.jpg", "-", "a.jpg", "c*.jpg", "[x].jpg", "d*.jpg"])
    expected = ["b/1.png", "b/2.jpg", "none.jpg", "-", "a.jpg", "c1.jpg", "c2.jpg", "[x].jpg"]
    assert [photo.name for photo in found] == [*expected, "d*.jpg"]
    assert found[0] == PhotoInput("b/1.png", Path("b/1.png"))
    assert found[3].source == b"photo"
    touch(tmp_path, "deep/er/z.jpg")
    assert [photo.name for photo in find_inputs(["**/z.jpg"])] == ["deep/er/z.jpg"]


def test_standard_input_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bulk.MAX_BYTES == 256 << 20
    monkeypatch.setattr(bulk, "MAX_BYTES", 2 << 20)
    give(monkeypatch, bytes(2 << 20))
    assert find_inputs(["-"])[0].source == bytes(2 << 20)
    give(monkeypatch, bytes((2 << 20) + 1))
    (photo,) = find_inputs(["-"])
    assert isinstance(photo.source, UserError)
    assert str(photo.source) == "standard input has more than 2 MiB; expected a photo"


def test_folder_that_cannot_be_listed_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.jpg", "locked/2.jpg")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_inputs([str(tmp_path)])
    assert sorted(Path(photo.name).name for photo in found) == ["1.jpg", "locked"]
    (locked,) = (photo for photo in found if photo.name.endswith("locked"))
    assert "locked is a folder that cannot be read (Permission denied)" in str(locked.source)


def test_model_in_the_place_of_a_photo_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "m.H5", "run/m.tflite", "a.jpg", "both/m.tflite", "both/b.jpg")
    for arguments, photo, model in (
        (["a.jpg", "m.H5"], "a.jpg", "m.H5"),
        (["m.H5"], "PHOTO", "m.H5"),
        (["run", "a.jpg"], "a.jpg", "run"),
    ):
        with pytest.raises(UserError) as refused:
            find_inputs(arguments)
        assert str(refused.value) == (
            f"{model} is a model, not a photo; write: keras-flowers predict {photo} --model {model}"
        )
    assert [photo.name for photo in find_inputs(["both", "none.tflite"])] == [
        "both/b.jpg",
        "none.tflite",
    ]


@pytest.mark.parametrize("ending", ["tflite", "keras", "h5", "hdf5", "pb", "pt", "pth", "onnx"])
def test_model_of_any_kind_is_known_by_its_ending(ending: str, tmp_path: Path) -> None:
    touch(tmp_path, f"m.{ending}")
    with pytest.raises(UserError, match=f"m.{ending} is a model, not a photo"):
        find_inputs([str(tmp_path / f"m.{ending}")])


@pytest.mark.parametrize("pattern", ["?.jpg", "*.jpg", "[ab].jpg"])
def test_each_sign_of_a_pattern_is_understood(pattern: str, tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "cc.png")
    found = find_inputs([str(tmp_path / pattern)])
    assert [Path(photo.name).name for photo in found] == ["a.jpg", "b.jpg"]


def test_nothing_to_name_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(
        UserError, match=r"there are no photos in .*; expected files that end in \.a"
    ):
        find_inputs([str(tmp_path)])


@pytest.mark.parametrize("workers", [1, 3])
def test_each_photo_gets_its_own_answer_in_its_place(
    colour_model: Path, colour_photos: Path, tmp_path: Path, workers: int
) -> None:
    classifier = load_classifier(colour_model)
    (tmp_path / "page.jpg").write_text("<html>")
    names = list(COLOURS)
    photos = []
    for number in range(70):
        if number % 7 == 3:
            photos.append(PhotoInput(str(tmp_path / "page.jpg"), tmp_path / "page.jpg"))
        elif number % 7 == 5:
            photos.append(PhotoInput("-", UserError("standard input is too long")))
        else:
            path = colour_photos / f"{names[number % 3]}.png"
            photos.append(PhotoInput(str(path), path))
    answers = list(predict_photos(classifier, photos, workers=workers))
    assert [answer.photo for answer in answers] == photos
    for number, answer in enumerate(answers):
        if number % 7 == 3:
            # The row names the photo already.
            assert answer.error.startswith("is a web page, not a photo")
            assert answer.prediction is None
        elif number % 7 == 5:
            assert answer.error == "standard input is too long"
        else:
            assert answer.error == ""
            assert answer.prediction is not None
            assert answer.prediction.name == names[number % 3]
    assert list(predict_photos(classifier, [], workers=workers)) == []
    only_bad = [photos[3]] * 3
    assert [one.prediction for one in predict_photos(classifier, only_bad, workers=workers)] == [
        None
    ] * 3


def test_date_and_place_stay_with_their_photo(colour_model: Path) -> None:
    exif = Image.Exif()
    exif[0x0132] = "2024:05:01 09:30:00"
    dated = encode(Image.new("RGB", (40, 40), COLOURS["cyan"]), "JPEG", exif=exif)
    plain = encode(Image.new("RGB", (40, 40), COLOURS["yellow"]), "JPEG")
    photos = [PhotoInput("a", plain), PhotoInput("b", b"none"), PhotoInput("c", dated)]
    answers = list(predict_photos(load_classifier(colour_model), photos, workers=2))
    assert [answer.taken.date for answer in answers] == [None, None, "2024-05-01T09:30:00"]
