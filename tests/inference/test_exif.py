"""Date and place are read as cameras write them, and never guessed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_photos import encode
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from keras_flowers.inference.exif import CaptureInfo, read_capture_info

RHODES = {
    ExifTags.GPS.GPSLatitudeRef: "N",
    ExifTags.GPS.GPSLatitude: (36.0, 26.0, 36.0),
    ExifTags.GPS.GPSLongitudeRef: "E",
    ExifTags.GPS.GPSLongitude: (28.0, 13.0, 12.0),
}


def photo(
    details: dict[int, Any] | None = None,
    position: dict[int, Any] | None = None,
    kind: str = "JPEG",
    **tags: Any,
) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Box"  # Pillow writes no block of sub-blocks alone into a PNG
    for name, value in tags.items():
        exif[ExifTags.Base[name]] = value
    exif.get_ifd(ExifTags.IFD.Exif).update(details or {})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(position or {})
    return encode(Image.new("RGB", (8, 8)), kind, exif=exif.tobytes())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_date_and_position_are_read_from_every_kind_of_file(kind: str) -> None:
    data = photo({ExifTags.Base.DateTimeOriginal: "2024:05:01 09:30:00"}, RHODES, kind)
    assert read_capture_info(data) == CaptureInfo("2024-05-01T09:30:00", 36.443333, 28.22)


def test_file_is_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo(position=RHODES))
    expected = CaptureInfo(None, 36.443333, 28.22)
    assert read_capture_info(tmp_path / "a.jpg") == expected
    assert read_capture_info(str(tmp_path / "a.jpg")) == expected
    assert read_capture_info(tmp_path / "none.jpg") == CaptureInfo()


def test_scan_has_the_date_on_which_it_was_digitised() -> None:
    scanned = {ExifTags.Base.DateTimeDigitized: "2020:02:03 04:05:06"}
    assert read_capture_info(photo(scanned)).date == "2020-02-03T04:05:06"
    assert read_capture_info(photo(scanned, DateTime="2025:01:01 00:00:00")).date == (
        "2020-02-03T04:05:06"
    )
    taken = {ExifTags.Base.DateTimeOriginal: "1999:12:31 23:59:59"}
    assert read_capture_info(photo(scanned | taken)).date == "1999-12-31T23:59:59"


def test_time_zone_is_kept_where_the_camera_knew_it() -> None:
    details = {
        ExifTags.Base.DateTimeOriginal: "2024:05:01 09:30:00",
        ExifTags.Base.OffsetTimeOriginal: "+03:00",
    }
    assert read_capture_info(photo(details)).date == "2024-05-01T09:30:00+03:00"


def test_date_taken_comes_before_the_date_of_the_last_change() -> None:
    changed = "2025:01:01 00:00:00"
    taken = {ExifTags.Base.DateTimeOriginal: "2024:05:01 09:30:00"}
    assert read_capture_info(photo(taken, DateTime=changed)).date == "2024-05-01T09:30:00"
    assert read_capture_info(photo(DateTime=changed)).date == "2025-01-01T00:00:00"


@pytest.mark.parametrize(
    "date", ["0000:00:00 00:00:00", "    :  :     :  :  ", "", "2024:13:01 00:00:00", "yesterday"]
)
def test_no_date_is_made_up_for_a_camera_without_a_clock(date: str) -> None:
    assert read_capture_info(photo({ExifTags.Base.DateTimeOriginal: date})).date is None


@pytest.mark.parametrize(
    ("south_or_north", "west_or_east", "signs"),
    [("N", "E", (1, 1)), ("S", "E", (-1, 1)), ("N", "W", (1, -1)), ("S", "W", (-1, -1))],
)
def test_south_and_west_are_negative(
    south_or_north: str, west_or_east: str, signs: tuple[int, int]
) -> None:
    refs = {
        ExifTags.GPS.GPSLatitudeRef: south_or_north,
        ExifTags.GPS.GPSLongitudeRef: west_or_east,
    }
    taken = read_capture_info(photo(position=RHODES | refs))
    assert (taken.latitude, taken.longitude) == (signs[0] * 36.443333, signs[1] * 28.22)


def test_equator_and_greenwich_are_zero_without_a_sign() -> None:
    zero = {
        ExifTags.GPS.GPSLatitudeRef: "S",
        ExifTags.GPS.GPSLatitude: (0.0, 0.0, 0.0),
        ExifTags.GPS.GPSLongitudeRef: "W",
        ExifTags.GPS.GPSLongitude: (0.0, 0.0, 0.0),
    }
    taken = read_capture_info(photo(position=zero))
    assert (str(taken.latitude), str(taken.longitude)) == ("0.0", "0.0")


@pytest.mark.parametrize(
    ("latitude", "longitude", "there"),
    [
        ((90.0, 0.0, 0.0), (180.0, 0.0, 0.0), True),
        ((89.0, 59.0, 59.0), (179.0, 59.0, 59.0), True),
        ((90.0, 0.0, 1.0), (180.0, 0.0, 0.0), False),
        ((90.0, 0.0, 0.0), (180.0, 0.0, 1.0), False),
    ],
)
def test_globe_ends_at_the_poles_and_at_the_date_line(
    latitude: tuple[float, ...], longitude: tuple[float, ...], there: bool
) -> None:
    change = {ExifTags.GPS.GPSLatitude: latitude, ExifTags.GPS.GPSLongitude: longitude}
    taken = read_capture_info(photo(position=RHODES | change))
    if not there:
        assert taken == CaptureInfo()
        return
    assert taken.latitude == round(latitude[0] + latitude[1] / 60 + latitude[2] / 3600, 6)
    assert taken.longitude == round(longitude[0] + longitude[1] / 60 + longitude[2] / 3600, 6)


def test_photo_that_is_no_file_says_nothing() -> None:
    image = Image.new("RGB", (8, 8))
    for one in (image, np.asarray(image), io.BytesIO(photo(position=RHODES))):
        assert read_capture_info(one) == CaptureInfo()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({ExifTags.GPS.GPSLatitudeRef: ""}, id="no hemisphere"),
        pytest.param({ExifTags.GPS.GPSLatitudeRef: "E"}, id="wrong hemisphere"),
        pytest.param({ExifTags.GPS.GPSLatitude: (91.0, 0.0, 0.0)}, id="beyond the pole"),
        pytest.param({ExifTags.GPS.GPSLongitude: (36.0, 26.0)}, id="no seconds"),
        pytest.param(
            {ExifTags.GPS.GPSLatitude: (IFDRational(0, 0),) * 3}, id="zero over zero: no fix"
        ),
    ],
)
def test_half_a_position_is_none(change: dict[int, Any]) -> None:
    assert read_capture_info(photo(position=RHODES | change)) == CaptureInfo()


def test_photo_without_exif_says_nothing() -> None:
    assert read_capture_info(encode(Image.new("RGB", (8, 8)), "JPEG")) == CaptureInfo()


@pytest.mark.parametrize("data", [b"", b"no photo", photo({}, RHODES)[:60]])
def test_broken_files_say_nothing_and_raise_nothing(data: bytes) -> None:
    assert read_capture_info(data) == CaptureInfo()


def test_broken_blocks_raise_nothing() -> None:
    good = photo({ExifTags.Base.DateTimeOriginal: "2024:05:01 09:30:00"}, RHODES)
    block = good.index(b"Exif")
    for place in range(block, block + 200):
        for value in (0, 5, 255):
            broken = bytearray(good)
            broken[place] = value
            taken = read_capture_info(bytes(broken))
            assert taken.latitude is None or -90 <= taken.latitude <= 90
