"""Photos, tables and shards in a bucket, named as if they lay on the disk."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_photos import encode
from conftest import COLOURS
from PIL import Image

from keras_flowers.commands import merge, predict
from keras_flowers.errors import UserError
from keras_flowers.inference.scale.inputs import find_all

moto = pytest.importorskip("moto.server", reason="a bucket needs the extra [scale-test]")
fs = pytest.importorskip("pyarrow.fs", reason="a bucket needs the extra [scale]")


@pytest.fixture(scope="module")
def options() -> Iterator[str]:
    """What stands behind ? in the addresses of a bucket `garden`, served on this machine."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    bucket, _ = fs.FileSystem.from_uri(f"s3://garden{options}&allow_bucket_creation=true")
    bucket.create_dir("garden")
    photos = {
        name: encode(Image.new("RGB", (60, 40), colour), "PNG") for name, colour in COLOURS.items()
    }
    files = {
        "photos/b c/cyan.png": photos["cyan"],
        "photos/magenta.png": photos["magenta"],
        "photos/page.jpg": b"<html>",
        "photos/notes.txt": b"no photo",
        "photos/@eaDir/yellow.png": photos["yellow"],
        "tables/list.csv": b"path\n../photos/magenta.png\n".replace(b"../", b"near/"),
        "tables/near/photos/magenta.png": photos["magenta"],
    }
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in photos.items():
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    files["shards/1.tar"] = tar.getvalue()
    for path, data in files.items():
        with bucket.open_output_stream(f"garden/{path}") as file:
            file.write(data)
    yield options
    server.stop()
    patch.undo()


def named(uri: str, colour_model: Path) -> dict[str, str]:
    """What the photos at an address are named; "!" for those that cannot be read."""
    predict.main([uri, "--model", str(colour_model), "--output", "out/"])
    merge.main(["out", "--output", "out.csv"])
    rows = csv.DictReader(io.StringIO(Path("out.csv").read_text()))
    return {row["photo"]: "!" if row["error"] else row["name"] for row in rows}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("photos", {"magenta.png": "magenta", "page.jpg": "!", "b c/cyan.png": "cyan"}),
        ("photos/b c/cyan.png", {"": "cyan"}),
        ("shards", {"/1.tar#cyan.png": "cyan", "/1.tar#magenta.png": "magenta"}),
    ],
)
def test_bucket_is_named_as_a_disk_is(
    options: str,
    path: str,
    expected: dict[str, str],
    colour_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = named(f"s3://garden/{path}{options}", colour_model)
    if path == "shards":
        expected["/1.tar#yellow.png"] = "yellow"
    names = {(f"s3://garden/{path}/" + key).replace("//1", "/1"): expected[key] for key in expected}
    assert found == {name.removesuffix("/"): what for name, what in names.items()}
    # What opens the bucket is not written down.
    assert "endpoint" not in Path("out/manifest.json").read_text()


def test_patterns_and_tables_in_a_bucket(options: str) -> None:
    def names(path: str) -> list[str]:
        return [one.name for one in find_all([f"s3://garden/{path}{options}"], 10)]

    assert names("photos/*.png") == ["s3://garden/photos/magenta.png"]
    assert names("photos/[a-c]*/*") == ["s3://garden/photos/b c/cyan.png"]
    assert len(names("photos/**/*.png")) == 2
    assert names("tables/list.csv") == ["near/photos/magenta.png"]
    (row,) = find_all([f"s3://garden/tables/list.csv{options}"], 10)
    assert row.place.path == "garden/tables/near/photos/magenta.png"
    with pytest.raises(UserError, match="there is nothing at s3://garden/none"):
        names("none")
