"""Folders of photos: which folder is a class, which a split, and what is not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.inference import formats
from keras_flowers.training.sources.folder import open_folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_each_folder_is_a_class_and_its_folders_belong_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "rose/a.jpg", "rose/more/b.PNG", "aster/c.webp", "unknown/d.jpg", "rose/notes")
    touch(tmp_path, ".git/e.jpg", "@eaDir/f.jpg", "empty/readme.txt")
    source = open_folder(tmp_path)
    assert (source.name, source.location) == (tmp_path.name, str(tmp_path.resolve()))
    assert source.labels == ("aster", "rose")
    assert source.counts == {"photos": 4}
    photos = source.photos("photos")
    assert photos.places == ["aster/c.webp", "rose/a.jpg", "rose/more/b.PNG", "unknown/d.jpg"]
    assert photos.labels == ["aster", "rose", "rose", "unknown"]


def test_splits_are_known_by_their_usual_names_and_come_in_one_order(tmp_path: Path) -> None:
    touch(
        tmp_path, "Testing/rose/a.jpg", "val/rose/b.jpg", "training/rose/c.jpg", "dev/aster/d.jpg"
    )
    source = open_folder(tmp_path)
    assert list(source.counts.items()) == [("train", 1), ("validation", 2), ("test", 1)]
    assert source.labels == ("aster", "rose")
    assert source.photos("validation").places == ["dev/aster/d.jpg", "val/rose/b.jpg"]


def test_class_that_is_called_like_a_split_is_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg", "test/b.jpg", "rose/c.jpg")
    assert open_folder(tmp_path).labels == ("rose", "test", "train")
    # Without photos to learn from, a folder of folders is a class, too.
    touch(tmp_path, "test/deep/d.jpg")
    source = open_folder(tmp_path)
    assert source.counts == {"photos": 4}
    assert source.photos("photos").labels.count("test") == 2


def test_what_is_not_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    touch(tmp_path, "rose/a.jpg", "aster/b.jpg")
    open_folder(tmp_path)
    assert "not read" not in capsys.readouterr().err
    touch(tmp_path, "loose.jpg", "notes.txt", ".hidden")
    open_folder(tmp_path)
    assert f"{tmp_path}: 2 files lie in no class's folder and are not read" in (
        capsys.readouterr().err
    )
    touch(tmp_path / "s", "train/rose/a.jpg", "old/rose/b.jpg", "extra/c.jpg", "train/d.jpg")
    assert open_folder(tmp_path / "s").counts == {"train": 1}
    said = capsys.readouterr().err
    assert "has splits; beside them these are not read: extra, old\n" in said
    assert "1 files lie in no class's folder" in said


def test_names_are_those_of_the_file_in_the_order_of_the_folders(tmp_path: Path) -> None:
    touch(tmp_path, "10/a.jpg", "9/b.jpg", "unknown/c.jpg")
    source = open_folder(tmp_path, {"10": "aster", "9": "rose"})
    assert source.labels == ("rose", "aster")
    assert source.photos("photos").labels == ["aster", "rose", "unknown"]
    with pytest.raises(UserError, match="no name for the folder 9; expected one for each folder"):
        open_folder(tmp_path, {"10": "aster"})
    # Two folders of one name are one class.
    assert open_folder(tmp_path, {"10": "rose", "9": "rose"}).labels == ("rose",)


def test_folder_that_cannot_be_listed_is_said_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    touch(tmp_path, "rose/a.jpg", "aster/b.jpg", "aster/locked/c.jpg")
    walk = formats.os.walk

    def walk_with_a_lock(folder: Path, onerror: Callable[[OSError], None]) -> object:
        if folder.name == "aster":
            onerror(PermissionError(13, "Permission denied", "aster/locked"))
        return walk(folder)

    with monkeypatch.context() as context:
        context.setattr(formats.os, "walk", walk_with_a_lock)
        open_folder(tmp_path)
    assert "aster/locked cannot be listed (Permission denied): its photos are missing" in (
        capsys.readouterr().err
    )

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"cannot be listed \(Permission denied\)"):
        open_folder(tmp_path)
