"""Photos of the field are gathered from clones, if they are the ones in the list."""

from __future__ import annotations

import base64
import csv
import io
import json
import subprocess
from pathlib import Path

import pytest
from export_fixtures import tool
from PIL import Image

from keras_flowers.inference.flowers import FLOWER_NAMES

fetch_field = tool("fetch_field")


def jpeg(colour: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


RED, BLUE, GREEN = jpeg("red", (800, 640)), jpeg("blue", (100, 200)), jpeg("green", (10, 10))


def row(path: str, file: str, blob: str, split: str = "train") -> fetch_field.FieldPhoto:
    return fetch_field.FieldPhoto(
        path, split, "rose", "known", "a rose", "s001", "owner/name", file, blob
    )


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    """A clone in whose history red.jpg is, and blue.jpg and a photo in JSON in its folder."""
    clone = tmp_path / "clones" / "owner" / "name"
    clone.mkdir(parents=True)

    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=clone, check=True, capture_output=True)

    git("init")
    (clone / "red.jpg").write_bytes(RED)
    git("add", ".")
    git("commit", "-m", "a photo")
    (clone / "red.jpg").write_bytes(b"another file by now")
    (clone / "blue.jpg").write_bytes(BLUE)
    url = "data:image/jpeg;base64," + base64.b64encode(GREEN).decode()
    (clone / "plant.json").write_text(json.dumps({"image": url}))
    return tmp_path / "clones"


def test_photos_are_found_in_the_folder_in_history_and_inside_json(
    clones: Path, tmp_path: Path
) -> None:
    plant = (clones / "owner/name/plant.json").read_bytes()
    for photo, expected in (
        (row("a.jpg", "red.jpg", fetch_field.git_blob(RED)), RED),
        (row("b.jpg", "blue.jpg", fetch_field.git_blob(BLUE)), BLUE),
        (row("c.jpg", "plant.json#image", fetch_field.git_blob(plant)), GREEN),
        (row("c.jpg", "plant.json#image", fetch_field.git_blob(GREEN)), GREEN),
    ):
        assert fetch_field.original(photo, clones) == expected


@pytest.mark.parametrize("file", ["red.jpg", "blue.jpg", "plant.json#image", "nowhere.jpg"])
def test_another_file_is_refused(clones: Path, file: str) -> None:
    with pytest.raises(fetch_field.UserError, match="has no .* with the git blob 0000"):
        fetch_field.original(row("a.jpg", file, "0" * 40), clones)


def test_large_photos_are_reduced_and_the_tables_hold_what_is_there(
    clones: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = [
        row("photos/a.jpg", "red.jpg", fetch_field.git_blob(RED)),
        row("photos/b.jpg", "blue.jpg", fetch_field.git_blob(BLUE), "validation"),
        row("photos/c.jpg", "nowhere.jpg", "0" * 40),
    ]
    monkeypatch.setattr(fetch_field, "read_list", lambda: listed)
    folder = tmp_path / "field"
    assert fetch_field.main([str(clones), str(folder)]) == 1
    assert "2 of 3 photos are in" in capsys.readouterr().out
    with Image.open(folder / "photos/a.jpg") as photo:
        assert photo.size == (400, 320)
    with Image.open(folder / "photos/b.jpg") as photo:
        assert photo.size == (100, 200)
    with open(folder / "train.csv", encoding="utf-8", newline="") as file:
        assert [one["path"] for one in csv.DictReader(file)] == ["photos/a.jpg"]
    with open(folder / "validation.csv", encoding="utf-8", newline="") as file:
        assert [one["label"] for one in csv.DictReader(file)] == ["rose"]


def test_the_list_is_whole_and_no_source_is_in_both_splits() -> None:
    photos = fetch_field.read_list()
    assert len({one.path for one in photos}) == len(photos) == 3557
    sources = {
        split: {one.source for one in photos if one.split == split}
        for split in ("train", "validation")
    }
    assert not sources["train"] & sources["validation"]
    known = [one for one in photos if one.kind == "known"]
    assert {one.label for one in known} <= set(FLOWER_NAMES)
    assert {one.label for one in photos if one.kind != "known"} == {"unknown"}
    assert all(len(one.git_blob) == 40 and one.repository and one.file for one in photos)
