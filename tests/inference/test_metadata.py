"""What travels inside a model file comes back as it was, or is refused by what is wrong with it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference import metadata
from keras_flowers.inference.metadata import (
    MAX_SIDE,
    Metadata,
    add_to_archive,
    add_to_saved_model,
    read_metadata,
)

FACTS = Metadata(("rose", "größe"), (32, 24), {"base": "MobileNetV2", "of": "Bäume"})


def archive(path: Path, **members: bytes) -> Path:
    """A `.tflite` file with an archive behind it."""
    path.write_bytes(b"TFL3" + bytes(40))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return path


def described(height: object, width: object) -> bytes:
    return json.dumps({"image": {"size": [height, width]}}).encode()


def saved_model(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ["archive", "saved_model"])
def test_what_is_written_is_read(tmp_path: Path, kind: str) -> None:
    if kind == "archive":
        path = archive(tmp_path / "x.tflite")
        add_to_archive(path, FACTS)
        assert path.read_bytes().startswith(b"TFL3" + bytes(40))
        with zipfile.ZipFile(path) as file:
            texts = {name: file.read(name).decode() for name in file.namelist()}
    else:
        path = saved_model(tmp_path / "x")
        add_to_saved_model(path, FACTS)
        add_to_saved_model(path, FACTS)  # again, into the folder that is there
        texts = {
            one.name: one.read_text(encoding="utf-8") for one in (path / "assets.extra").iterdir()
        }
    assert read_metadata(path) == FACTS
    assert texts["labels.txt"] == "rose\ngröße\n"
    assert "Bäume" in texts["keras_flowers.json"]  # for people, too
    assert json.loads(texts["keras_flowers.json"]) == {
        "image": {
            "size": [32, 24],
            "resize": "whole photo squashed, bilinear",
            "pixels": "RGB, 0..255",
        },
        "base": "MobileNetV2",
        "of": "Bäume",
    }


def test_same_metadata_are_the_same_file(tmp_path: Path) -> None:
    files = [archive(tmp_path / name) for name in ("a.tflite", "b.tflite")]
    for path in files:
        add_to_archive(path, FACTS)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", ["archive", "saved_model"])
@pytest.mark.parametrize("member", ["labels.txt", "keras_flowers.json"])
def test_text_that_is_none_is_refused_by_its_name(tmp_path: Path, kind: str, member: str) -> None:
    members = {"labels.txt": b"rose\naster\n", "keras_flowers.json": described(32, 24)}
    members[member] = b"\xff\xfer\0o\0s\0e\0"
    if kind == "archive":
        path = tmp_path / "x.tflite"
        path.write_bytes(b"TFL3")
        with zipfile.ZipFile(path, "a") as file:
            for name, content in members.items():
                file.writestr(name, content)
    else:
        path = saved_model(tmp_path / "x")
        (path / "assets.extra").mkdir()
        for name, content in members.items():
            (path / "assets.extra" / name).write_bytes(content)
    with pytest.raises(UserError, match=f"the {member} inside .* is not UTF-8 text; export it"):
        read_metadata(path)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (MAX_SIDE, 1), (1, MAX_SIDE)])
def test_sides_up_to_the_limit_are_taken(tmp_path: Path, height: int, width: int) -> None:
    path = archive(tmp_path / "x.tflite", labels_txt=b"a\nb\n")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("keras_flowers.json", described(height, width))
    assert read_metadata(path).image_size == (height, width)


@pytest.mark.parametrize(
    ("height", "width"), [(0, 1), (1, 0), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (-1, 9), (9, "x")]
)
def test_other_sides_are_refused(tmp_path: Path, height: object, width: object) -> None:
    path = archive(tmp_path / "x.tflite", labels_txt=b"a\nb\n")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("keras_flowers.json", described(height, width))
    with pytest.raises(UserError, match="keras_flowers.json inside .* is damaged .*export the mod"):
        read_metadata(path)
    assert MAX_SIDE == 4096


def test_member_larger_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    assert metadata._MAX_MEMBER_BYTES == 1 << 20
    lines = [f"{name}\n".encode() for name in (f"{n:01023}" for n in range(1024))]
    just = archive(tmp_path / "just.tflite", labels_txt=b"".join(lines))
    assert len(read_metadata(just).labels) == 1024
    bomb = archive(tmp_path / "bomb.tflite", labels_txt=b"".join(lines) + b"x")
    with pytest.raises(UserError, match=r"cannot be read \(labels.txt has more than 1 MiB\)"):
        read_metadata(bomb)


def test_file_that_is_not_there_or_no_archive_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.tflite does not exist; expected a .keras or"):
        read_metadata(tmp_path / "none.tflite")
    (tmp_path / "cut.keras").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=r"cut.keras is damaged or incomplete; copy or export it"):
        read_metadata(tmp_path / "cut.keras")
    for name in ("bare.tflite", "folder"):
        if name == "folder":
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"TFL3")
        with pytest.raises(UserError, match=r"holds no class names \(labels.txt\)"):
            read_metadata(tmp_path / name)
