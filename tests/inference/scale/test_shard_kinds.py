"""Every kind of shard, every column and every address that the help and the docs promise."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import PhotoInput
from keras_flowers.inference.scale import places, shards
from keras_flowers.inference.scale.inputs import find_all
from keras_flowers.inference.scale.places import Place, beside, is_uri, read_bytes

pa = pytest.importorskip("pyarrow", reason="parts need the extra [scale]")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("tar", "w"), ("tgz", "w:gz"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")],
)
def test_tar_of_every_compression_is_read(ending: str, mode: Any, tmp_path: Path) -> None:
    path = tmp_path / f"A.{ending}".upper()
    with tarfile.open(path, mode) as archive:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        member = tarfile.TarInfo("folder.jpg/rose.jpg")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"photo"))
    for argument in (path, tmp_path):  # by its name, and in a folder without photos
        (found,) = find_all([str(argument)], 10)
        assert found.is_shard
        assert list(shards.read_tar(found.place, "A")) == [
            PhotoInput("A#folder.jpg/rose.jpg", b"photo")
        ]


def rows_of(table: Any, path: Path) -> list[PhotoInput]:
    parquet.write_table(table, path)
    (piece,) = find_all([str(path)], 10)
    assert piece.rows is not None
    return list(shards.read_parquet(piece.place, "a", piece.rows))


@pytest.mark.parametrize("column", ["bytes", "image", "photo", "content", "jpg", "jpeg"])
@pytest.mark.parametrize("kind", ["binary", "large_binary", "struct"])
def test_each_column_of_bytes_is_known(column: str, kind: str, tmp_path: Path) -> None:
    if kind == "struct":
        values = pa.array([{"bytes": b"photo", "path": None}])
    else:
        values = pa.array([b"photo"], getattr(pa, kind)())
    table = pa.table({"label": [1], column: values})
    assert rows_of(table, tmp_path / "a.parquet") == [PhotoInput("a#0", b"photo")]


@pytest.mark.parametrize(
    "column", ["path", "name", "file_name", "filename", "photo", "__key__", "key", "id"]
)
def test_each_column_of_names_is_known(column: str, tmp_path: Path) -> None:
    table = pa.table({"label": ["x"], column: ["rose.jpg"], "bytes": [b"photo"]})
    assert rows_of(table, tmp_path / "a.parquet") == [PhotoInput("a#rose.jpg", b"photo")]


def test_first_of_several_columns_is_taken(tmp_path: Path) -> None:
    table = pa.table({"id": ["7"], "path": ["p.jpg"], "jpg": [b"small"], "image": [b"photo"]})
    assert rows_of(table, tmp_path / "a.parquet") == [PhotoInput("a#p.jpg", b"photo")]
    # A column of that name with something else in it is no photo.
    table = pa.table({"image": ["text"], "jpg": [b"photo"]})
    assert rows_of(table, tmp_path / "b.parquet") == [PhotoInput("a#0", b"photo")]
    table = pa.table({"image": [{"width": 3, "path": "a"}], "jpeg": [b"photo"]})
    assert rows_of(table, tmp_path / "c.parquet") == [PhotoInput("a#0", b"photo")]


def test_shard_of_which_the_photos_are_gone_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"label": ["x"]}), path)
    (row,) = shards.read_parquet(Place("", str(path)), "a", (0, 1))
    assert str(row.source) == (
        "a cannot be read whole (it has no column of bytes any more); what is in front of it is "
        "answered"
    )


@pytest.mark.parametrize(
    ("argument", "there"),
    [
        ("s3://garden/a.jpg", True),
        ("GS://garden/a.jpg", True),
        ("abfss://x@y.z/a.jpg", True),
        ("h2+x-1.0://a", True),
        ("C://photos", False),
        ("photos//a.jpg", False),
        ("1a://b", False),
    ],
)
def test_address_of_another_file_system_is_known(argument: str, there: bool) -> None:
    assert is_uri(argument) == there


@pytest.mark.parametrize(
    ("table", "path", "expected"),
    [
        ("", "a.jpg", Place("", "t/a.jpg")),
        ("", "/b/a.jpg", Place("", "/b/a.jpg")),
        ("", "s3://garden/d/a.jpg", Place("s3://garden", "garden/d/a.jpg")),
        ("", "gs://garden/a.jpg", Place("gs://garden", "garden/a.jpg")),
        ("", "gcs://garden/a.jpg", Place("gcs://garden", "garden/a.jpg")),
        ("s3://garden?region=x", "a.jpg", Place("s3://garden?region=x", "t/a.jpg")),
        # The options of the table's own address hold for its bucket only.
        (
            "s3://garden/t?region=x",
            "s3://garden/a.jpg",
            Place("s3://garden/t?region=x", "garden/a.jpg"),
        ),
        ("s3://garden?region=x", "s3://park/a.jpg", Place("s3://park", "park/a.jpg")),
    ],
)
def test_row_of_a_table_is_found_beside_it_or_where_it_says(
    table: str, path: str, expected: Place
) -> None:
    assert beside(Place(table, "t/list.csv"), path) == expected


@pytest.mark.parametrize(
    "address", ["http://example.org/a.jpg", "HTTPS://example.org/a?key=secret"]
)
def test_page_of_the_web_is_refused_without_its_secrets(address: str) -> None:
    with pytest.raises(
        UserError, match=r"^\S+ is a page of the web; .* download it first$"
    ) as said:
        places.file_system(address)
    assert "secret" not in str(said.value)


def test_photo_that_is_gone_or_too_large_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"none\.jpg does not exist$"):
        read_bytes(Place("", str(tmp_path / "none.jpg")))
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    monkeypatch.setattr(places, "MAX_BYTES", 11)
    assert read_bytes(Place("", str(tmp_path / "a.jpg"))) == bytes(11)
    monkeypatch.setattr(places, "MAX_BYTES", 10)
    with pytest.raises(UserError, match=r"a\.jpg has more than 0 MiB; expected a photo$"):
        read_bytes(Place("", str(tmp_path / "a.jpg")))


def test_what_is_busy_is_asked_again_after_a_second_and_after_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(place: Place) -> Any:
        raise OSError(110, "Connection timed out")

    slept: list[float] = []
    monkeypatch.setattr(places, "open_file", refuse)
    monkeypatch.setattr(places.time, "sleep", slept.append)
    with pytest.raises(UserError, match="cannot be read"):
        read_bytes(Place("s3://garden", "garden/a.jpg"))
    assert slept == [1.0, 5.0]
