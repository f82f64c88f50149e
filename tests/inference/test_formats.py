"""Folders give every photo and nothing else; what no photo is, is called by its name."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_photos import encode, picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, features

from keras_flowers.errors import UserError
from keras_flowers.inference import chart
from keras_flowers.inference.formats import (
    PHOTO_SUFFIXES,
    find_photos,
    is_chart,
    kind_of,
    pillow_formats,
    refusal_of,
)
from keras_flowers.inference.image import read_photo

YELLOW = (255, 255, 0)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_photos(folder)]


def test_photos_are_found_below_the_folder_in_a_stable_order(tmp_path: Path) -> None:
    names = ["b.JPG", "a.jpeg", "sub/c.webp", "sub/deep/d.tiff", "a/z.png", "iphone.HEIC"]
    touch(tmp_path, *names, "notes.txt", "b.jpg.part", "jpg")
    assert found_in(tmp_path) == [
        "a.jpeg",
        "b.JPG",
        "iphone.HEIC",
        "a/z.png",
        "sub/c.webp",
        "sub/deep/d.tiff",
    ]


ENDINGS = (
    "jpg jpeg jpe jfif mpo png apng webp gif bmp dib tif tiff avif avifs heic heif heics heifs hif "
    "jxl jp2 j2k jpf jpx "
)
RAW_ENDINGS = "dng cr2 cr3 nef nrw arw srf sr2 raf orf rw2 pef srw"
ENDINGS += RAW_ENDINGS


@pytest.mark.parametrize("ending", ENDINGS.split())
def test_no_ending_of_a_photo_is_passed_over(ending: str, tmp_path: Path) -> None:
    touch(tmp_path, f"a.{ending}", f"B.{ending.upper()}")
    assert found_in(tmp_path) == [f"B.{ending.upper()}", f"a.{ending}"]


def test_every_ending_of_a_photo_is_tried() -> None:
    assert {f".{ending}" for ending in ENDINGS.split()} == PHOTO_SUFFIXES


def test_what_systems_keep_beside_photos_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg", "._x.jpg", "@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg", "a/@eaDir/y.jpg")
    touch(tmp_path, "__MACOSX/x.jpg", ".thumbnails/x.png", "a/.@__thumb/y.jpg", "a/y.jpg")
    touch(tmp_path, "$RECYCLE.BIN/x.jpg")
    assert found_in(tmp_path) == ["x.jpg", "a/y.jpg"]


def test_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    errors: list[OSError] = []
    assert find_photos(tmp_path / "gone", errors.append) == []
    assert [error.filename for error in errors] == [str(tmp_path / "gone")]


def test_our_charts_are_left_out_and_counted_but_not_by_their_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = picture(YELLOW)
    figure = chart.draw_prediction(photo, [("rose", 1.0)])
    chart.save(figure, tmp_path / "x_flower.png")
    chart.save(figure, tmp_path / "renamed.png")
    photo.save(tmp_path / "y_flower.png")
    (tmp_path / "short.jpg").write_bytes(b"short")
    with caplog.at_level(logging.WARNING):
        assert found_in(tmp_path) == ["short.jpg", "y_flower.png"]
    assert f"left out 2 of our own charts in {tmp_path}" in caplog.text


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp", "tif", "tiff", "gif", "avif", "JPG"])
def test_charts_of_every_format_are_left_out(ending: str, tmp_path: Path) -> None:
    if ending not in FigureCanvasAgg(Figure()).get_supported_filetypes() and ending.islower():
        pytest.skip(f"Matplotlib writes no {ending} here")
    # Of many colours: a GIF then has its largest table of them.
    values = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for photo in (picture(YELLOW), Image.fromarray(values)):
        path = tmp_path / f"chart.{ending}"
        chart.save(chart.draw_prediction(photo, [("rose", 0.7), ("aster", 0.3)]), path)
        with Image.open(path) as written:
            written.load()
        first = path.read_bytes()
        chart.save(chart.draw_prediction(photo, [("rose", 0.7), ("aster", 0.3)]), path)
        assert path.read_bytes() == first  # the same chart is the same file
        photo.save(tmp_path / f"photo.{ending}")
        assert found_in(tmp_path) == [f"photo.{ending}"]


def test_chart_is_told_by_its_text_however_it_is_written(tmp_path: Path) -> None:
    file = io.BytesIO()
    chart.write_png(chart.draw_prediction(picture(YELLOW), [("rose", 1.0)]), file)
    (tmp_path / "a.png").write_bytes(file.getvalue())
    assert is_chart(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    for other in ("pipe.png", "none.png", "nul\0.png", ""):
        assert not is_chart(tmp_path / other)


@pytest.mark.parametrize(
    ("data", "suffix", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "", None),
        (b"\xff\xd8\xff\xe0", ".nef", None),  # renamed
        (b"II*\0", ".tif", None),
        (b"II*\0", ".NEF", "a camera's raw file"),
        (b"II*\0\x10\0\0\0CR\x02\0", "", "a camera's raw file"),
        (b"\0\0\0\x18ftypcrx \0", "", "a camera's raw file"),
        (b"FUJIFILMCCD-RAW 0201", "", "a camera's raw file"),
        (b"IIRO\x08\0", "", "a camera's raw file"),
        (b"IIU\0\x08\0", "", "a camera's raw file"),
        (b"\0\0\0\x0cJXL \r\n", "", "a JPEG XL file"),
        (b"\0\0\0\x0cjP  \r\n", "", "a JPEG 2000 file"),
        (b"\xff\x0a", "", "a JPEG XL file"),
        (b"\xff\x4f\xff\x51", "", "a JPEG 2000 file"),
        (b"\xef\xbb\xbf\n <!DOCTYPE HTML>", ".jpg", "a web page"),
        (b"<html>", "", "a web page"),
        (b"%PDF-1.7", "", "a PDF document"),
        (b"8BPS", "", "a Photoshop file"),
        (b"\0\0\0\x18ftypmp42", "", "a video"),
    ],
)
def test_files_that_are_no_photos_are_called_by_their_name(
    data: bytes, suffix: str, kind: str | None
) -> None:
    assert kind_of(data + bytes(100), suffix) == kind


@pytest.mark.parametrize("ending", RAW_ENDINGS.split())
def test_raw_file_of_any_camera_is_called_so(ending: str) -> None:
    assert kind_of(b"II*\0" + bytes(100), f".{ending}") == "a camera's raw file"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a web page", "download the photo itself"),
        ("a video", "save a picture of it as JPEG first"),
        ("a PDF document", "save it as JPEG first"),
    ],
)
def test_refusal_says_what_to_do(kind: str, said: str) -> None:
    assert refusal_of(kind) == f"is {kind}, not a photo that can be read here; {said}"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_upright_and_whatever_it_is_called() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (60, 40), YELLOW)
    stored.paste((0, 0, 0), (0, 0, 30, 40))
    data = encode(stored, "AVIF", exif=exif)
    assert pillow_formats(data) == ("AVIF",)
    photo = read_photo(data)
    assert photo.size == (40, 60)
    assert np.abs(np.subtract(photo.getpixel((20, 50)), YELLOW)).max() <= 6
    for end in range(20, len(data), 40):
        with pytest.raises(UserError):
            read_photo(data[:end])


def iso_media(*brands: bytes) -> bytes:
    """The start of a HEIC or AVIF file."""
    size = (8 + 8 + 4 * len(brands)).to_bytes(4, "big")
    return size + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(200)


@pytest.mark.parametrize(
    ("brands", "kind", "advice"),
    [
        ((b"avif",), "an AVIF photo", "run: pip install --upgrade pillow"),
        ((b"mif1", b"avif", b"miaf"), "an AVIF photo", "run: pip install --upgrade pillow"),
        ((b"heic",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"mif1", b"miaf", b"heix"), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"avis",), "an AVIF photo", "run: pip install --upgrade pillow"),
        ((b"heix",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"hevc",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"heim",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"heis",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"mif1",), "a HEIC photo", "run: pip install pillow-heif"),
        ((b"msf1",), "a HEIC photo", "run: pip install pillow-heif"),
    ],
)
def test_photo_that_needs_another_package_is_refused_with_its_name(
    brands: tuple[bytes, ...], kind: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = pytest.importorskip("PIL.AvifImagePlugin")
    monkeypatch.setattr(plugin, "SUPPORTED", False)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = iso_media(*brands)
    assert kind_of(data) == kind
    with pytest.raises(UserError, match=f"is {kind}, not a photo that can be read here; {advice}"):
        read_photo(data)
    # The brands end where the box does.
    assert kind_of(iso_media(b"mp42") + brands[0]) == "a video"


def test_photo_that_cannot_be_opened_is_no_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert not is_chart(tmp_path / "a.png")


def test_heic_is_read_where_pillow_heif_is_installed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), YELLOW)).save(file)
    photo = read_photo(file.getvalue())
    assert photo.size == (64, 48)
    assert np.abs(np.subtract(photo.getpixel((20, 20)), YELLOW)).max() <= 6
