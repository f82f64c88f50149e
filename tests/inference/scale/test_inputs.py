"""What the arguments of a long run stand for, and that the work is cut alike each time."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bad_photos import encode
from conftest import COLOURS
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import PhotoInput, find_inputs
from keras_flowers.inference.scale import inputs, places, shards
from keras_flowers.inference.scale.inputs import Input, find_all
from keras_flowers.inference.scale.places import Place
from keras_flowers.inference.scale.plan import Part, cut, photos_of

pa = pytest.importorskip("pyarrow", reason="parts need the extra [scale]")
parquet = pytest.importorskip("pyarrow.parquet")

PHOTO = encode(Image.new("RGB", (30, 20), COLOURS["cyan"]), "PNG")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(PHOTO)


def parts_of(arguments: Sequence[str], size: int = 2) -> tuple[str, list[Part]]:
    with cut(find_all(arguments, size), size, Path()) as plan:
        assert [plan.photos_of(number) for number in range(len(plan))] == [
            plan.part(number).photos for number in range(len(plan))
        ]
        return plan.digest, [plan.part(number) for number in range(len(plan))]


def photos(parts: Sequence[Part]) -> list[PhotoInput]:
    return [photo for part in parts for photo in photos_of(part)]


def names(arguments: Sequence[str], size: int = 2) -> list[list[str]]:
    return [[photo.name for photo in photos_of(part)] for part in parts_of(arguments, size)[1]]


def write_tar(path: str, content: dict[str, bytes]) -> None:
    mode: Any = "w:gz" if path.endswith("gz") else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def test_files_come_in_the_order_of_a_single_machine() -> None:
    touch("b/2.jpg", "b/1.png", "b/c/3.jpg", "b/notes.txt", "a.jpg", "x1.jpg", "x2.jpg")
    arguments = ["b", "none.jpg", "a.jpg", "x*.jpg"]
    digest, parts = parts_of(arguments)
    assert [len(part.inputs) for part in parts] == [2, 2, 2, 1]
    assert [part.number for part in parts] == [0, 1, 2, 3]
    assert [one.name for one in photos(parts)] == [one.name for one in find_inputs(arguments)]
    assert parts_of(arguments)[0] == digest
    assert not list(Path().glob(".*")), "the list of the parts lies in a file without a name"


def test_photos_around_shards_are_all_there_once() -> None:
    touch(*(f"{number}.jpg" for number in range(6)))
    write_tar("A.tar", {"in_a.jpg": PHOTO})
    write_tar("B.tar", {"in_b.jpg": PHOTO})
    arguments = ["0.jpg", "A.tar", "1.jpg", "2.jpg", "3.jpg", "B.tar", "4.jpg", "5.jpg"]
    assert names(arguments) == [
        ["0.jpg"],  # a part that its shard ends early
        ["A.tar#in_a.jpg"],
        ["1.jpg", "2.jpg"],
        ["3.jpg"],
        ["B.tar#in_b.jpg"],
        ["4.jpg", "5.jpg"],
    ]


def test_digest_tells_other_photos_apart() -> None:
    touch("b/1.jpg", "b/2.jpg")
    digests = [parts_of(["b"])[0], parts_of(["b/1.jpg", "b/2.jpg"])[0]]
    assert digests[0] == digests[1], "the names of the photos decide, not how they were given"
    Path("b/2.jpg").write_bytes(PHOTO + b"x")
    digests.append(parts_of(["b"])[0])
    touch("b/3.jpg")
    digests += [parts_of(["b"])[0], parts_of(["b/3.jpg", "b/1.jpg", "b/2.jpg"])[0]]
    assert len(set(digests)) == 4


def test_table_names_photos_beside_it_and_elsewhere(tmp_path: Path) -> None:
    touch("t/a.jpg", "t/b.jpg")
    absolute = str(Path("t/b.jpg").resolve())
    Path("t/list.csv").write_text(f"label;path\nx;a.jpg\ny;{absolute}\nz;s3://garden/c d.jpg\n")
    _, parts = parts_of(["t/list.csv"])
    assert [one.name for part in parts for one in part.inputs] == [
        "a.jpg",
        absolute,
        "s3://garden/c d.jpg",
    ]
    places = [one.place for part in parts for one in part.inputs]
    assert [place.path for place in places] == ["t/a.jpg", absolute, "garden/c d.jpg"]
    assert [place.root for place in places] == ["", "", "s3://garden"]
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "n": [1, 2]}), "t/list.parquet")
    assert names(["t/list.parquet"]) == [["a.jpg", "b.jpg"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("file,label\na.jpg,x\n", "has the columns file, label; expected path among them"),
        ("path,label\n,x\n", "row 1 of list.csv has no path"),
        ("path\nhdfs://h/a.jpg\n", "cannot be a row of a table; expected a path, s3:// or gs://"),
        ("path\n", r"there are no photos in list\.csv"),
    ],
)
def test_table_that_names_no_photos_is_refused(content: str, expected: str) -> None:
    Path("list.csv").write_text(content)
    with pytest.raises(UserError, match=expected):
        parts_of(["list.csv"])


def test_shards_are_taken_of_a_folder_without_photos() -> None:
    Path("s").mkdir()
    write_tar("s/2.tar", {"x.jpg": PHOTO})
    write_tar("s/1.tar.gz", {"d/y.png": PHOTO, "d/y.json": b"{}", "._y.png": b"", "z.jpg": PHOTO})
    assert names(["s"]) == [["s/1.tar.gz#d/y.png", "s/1.tar.gz#z.jpg"], ["s/2.tar#x.jpg"]]
    assert [part.photos for part in parts_of(["s"])[1]] == [None, None]
    assert [one.source for one in photos(parts_of(["s"])[1])] == [PHOTO] * 3
    touch("s/a.jpg")
    assert names(["s"]) == [["s/a.jpg"]]


def test_tar_that_is_cut_off_gives_what_is_there_and_a_row() -> None:
    write_tar("a.tar", {"1.jpg": PHOTO, "2.jpg": b"0" * 3000, "3.jpg": PHOTO})
    Path("a.tar").write_bytes(Path("a.tar").read_bytes()[:2600])
    first, *_, last = photos(parts_of(["a.tar"])[1])
    assert first == PhotoInput("a.tar#1.jpg", PHOTO)
    assert last.name == "a.tar" and "a.tar cannot be read whole" in str(last.source)


def test_shard_that_a_network_does_not_give_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(place: Place) -> Any:
        raise OSError(110, "Connection timed out")

    monkeypatch.setattr(shards, "open_file", refuse)
    far = Place("s3://garden", "garden/a.tar")
    for read in (shards.read_tar(far, "a.tar"), shards.read_parquet(far, "a.tar", (0, 1))):
        with pytest.raises(UserError, match=r"timed out\); run the same command again"):
            list(read)
    (row,) = shards.read_tar(Place("", "a.tar"), "a.tar")
    assert "cannot be read whole (Connection timed out)" in str(row.source)


def test_photo_that_a_network_refuses_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("a.jpg")
    asked: list[Place] = []

    def give(place: Place) -> Any:
        asked.append(place)
        if len(asked) < 3:
            raise OSError(110, "Connection timed out")
        return io.BytesIO(PHOTO)

    monkeypatch.setattr(places, "open_file", give)
    monkeypatch.setattr(places, "PAUSES", (0.0, 0.0))
    assert places.read_bytes(Place("s3://garden", "garden/a.jpg")) == PHOTO
    assert len(asked) == 3
    monkeypatch.setattr(places, "PAUSES", ())
    asked.clear()
    with pytest.raises(UserError, match=r"cannot be read \(Connection timed out\)"):
        places.read_bytes(Place("s3://garden", "garden/a.jpg"))


class Failing(io.BytesIO):
    """A file of which a network gives nothing but an error."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(110, "Connection timed out")


def test_parquet_that_breaks_off_while_it_is_opened_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shards, "open_file", lambda place: Failing(bytes(1000)))
    with pytest.raises(UserError, match=r"^a.parquet cannot be read \(.*timed out"):
        shards.pieces_of_parquet(Place("s3://garden", "garden/a.parquet"), "a.parquet", 2)
    (row,) = shards.read_parquet(Place("", "a.parquet"), "a.parquet", (0, 1))
    assert "a.parquet cannot be read" in str(row.source)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"^none.parquet cannot be read \(No such file"):
        shards.pieces_of_parquet(Place("", "none.parquet"), "none.parquet", 2)
    with pytest.raises(UserError, match=r"^the table none.csv cannot be read \(No such file"):
        list(inputs._of_table(Input("none.csv", Place("", "none.csv"))))


@pytest.mark.parametrize("layout", ["bytes", "struct", "numbered"])
def test_parquet_is_cut_between_row_groups(layout: str) -> None:
    data = [PHOTO + bytes([number]) for number in range(7)]
    called = [f"{number}.png" for number in range(7)]
    if layout == "struct":  # as the Hugging Face Hub has them
        content = [{"bytes": one, "path": name} for one, name in zip(data, called, strict=True)]
        table = pa.table({"label": [0] * 7, "image": content})
    elif layout == "bytes":
        table = pa.table({"photo": called, "jpg": data})
    else:
        table = pa.table({"bytes": data})
        called = list(map(str, range(7)))
    parquet.write_table(table, "a.parquet", row_group_size=2)
    _, parts = parts_of(["a.parquet"], 4)
    assert [part.photos for part in parts] == [4, 3]
    assert photos(parts) == [
        PhotoInput(f"a.parquet#{name}", one) for name, one in zip(called, data, strict=True)
    ]


def test_rows_that_cannot_be_photos_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    parquet.write_table(pa.table({"bytes": [None, PHOTO, b"0" * 3000]}), "a.parquet")
    write_tar("b.tar", {"large.jpg": b"0" * 3000})
    monkeypatch.setattr(shards, "MAX_BYTES", 2000)
    first, second, third, fourth = photos(parts_of(["a.parquet", "b.tar"])[1])
    assert "the row has no bytes" in str(first.source)
    assert second.source == PHOTO
    assert "the photo has more than" in str(third.source)
    assert "the photo has more than" in str(fourth.source)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-"], "- is a single photo, which needs no parts"),
        (["empty"], "there are no photos in empty"),
        (["broken.parquet"], "broken.parquet cannot be read"),
        (["https://example.org/a.jpg"], "is a page of the web"),
        (["odd://garden/a.jpg"], "odd://garden/a.jpg cannot be opened"),
        (["m.tflite"], "m.tflite is a model, not a photo"),
    ],
)
def test_what_is_no_input_is_refused(arguments: list[str], expected: str) -> None:
    Path("empty").mkdir()
    Path("broken.parquet").write_bytes(b"no parquet")
    Path("m.tflite").touch()
    with pytest.raises(UserError, match=expected):
        parts_of(arguments)
