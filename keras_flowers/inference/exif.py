"""When and where a photo was taken, as the camera wrote it into the file."""

from __future__ import annotations

import io
import os
from datetime import datetime
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from keras_flowers.inference.image import Photo, silence_pillow


class CaptureInfo(NamedTuple):
    """When and where a photo was taken; None for what the file does not say.

    Attributes:
        date: ISO 8601, such as "2024-05-01T09:30:00" in the camera's local time, with "+02:00"
            after it where the camera knew its time zone.
        latitude: Degrees, -90..90, north positive.
        longitude: Degrees, -180..180, east positive.
    """

    date: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_capture_info(photo: Photo) -> CaptureInfo:
    """Reads date and GPS position from a photo's EXIF block.

    Args:
        photo: A path, or the bytes of a whole file; arrays and others say nothing.

    Returns:
        What could be read. Nothing is raised: a photo without EXIF, or with a broken one, is still
        a photo.
    """
    if not isinstance(photo, (str, os.PathLike, bytes)):
        return CaptureInfo()
    silence_pillow()
    try:
        with Image.open(io.BytesIO(photo) if isinstance(photo, bytes) else photo) as image:
            exif = image.getexif()
            details = exif.get_ifd(ExifTags.IFD.Exif)
            position = exif.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # whatever Pillow's readers raise on a broken file
        return CaptureInfo()
    date = _date(
        # Taken, then digitised (a scan), then last changed.
        details.get(ExifTags.Base.DateTimeOriginal)
        or details.get(ExifTags.Base.DateTimeDigitized)
        or exif.get(ExifTags.Base.DateTime),
        details.get(ExifTags.Base.OffsetTimeOriginal),
    )
    latitude = _degrees(position, ExifTags.GPS.GPSLatitude, "NS", limit=90)
    longitude = _degrees(position, ExifTags.GPS.GPSLongitude, "EW", limit=180)
    if latitude is None or longitude is None:
        return CaptureInfo(date)
    return CaptureInfo(date, latitude, longitude)


def _date(value: Any, offset: Any) -> str | None:
    try:
        # Cameras without a clock write zeros or blanks, which are no date.
        date = datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    try:
        return date.replace(tzinfo=datetime.strptime(_text(offset), "%z").tzinfo).isoformat()
    except ValueError:
        return date.isoformat()


def _degrees(position: dict[int, Any], tag: int, hemispheres: str, limit: int) -> float | None:
    """Decimal degrees from degrees, minutes and seconds; the hemisphere is in the tag before."""
    hemisphere = _text(position.get(tag - 1)).upper()
    try:
        degrees, minutes, seconds = (float(part) for part in position[tag])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    # The comparison also refuses NaN, which Pillow makes of 0/0: the GPS had no fix.
    if hemisphere not in tuple(hemispheres) or not 0 <= value <= limit:
        return None
    # 6 decimals are a tenth of a metre; the sum of zero must not come out as -0.0.
    return round(value if hemisphere == hemispheres[0] else 0.0 - value, 6)


def _text(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")
