"""Which files are photos: by their endings in a folder, by their first bytes once they are read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_logger = logging.getLogger(__name__)

# Some of them are never read, but folders are full of them: a row that says why is better than to
# pass over half of somebody's photos.
_RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2"}
    | {".pef", ".srw"}
)
PHOTO_SUFFIXES = (
    frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif"})
    | {".bmp", ".dib", ".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".heics", ".heifs"}
    | {".hif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx"}
    | _RAW_SUFFIXES
)
"""Endings of the files that are taken for photos in a folder, in lower case."""

PILLOW_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF")
"""Pillow has readers for 40 formats, one of which starts another program (EPS); strangers' files
get these. JPEG includes the multi-picture files of phones. The last two are loaded only if no
other fits."""

EXPECTED = "expected a photo (JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF)"

CHART_SOFTWARE = "keras_flowers"
"""Written into every chart, so that one of ours is known from the user's photos."""

_THUMBNAIL_FOLDERS = frozenset({"@eaDir", ".@__thumb", ".thumbnails", "__MACOSX", "$RECYCLE.BIN"})
"""Where network storage, desktops and archives keep what is no photo of its own."""

RAW = "a camera's raw file"

_OTHER_KINDS = (
    (4, b"ftypcrx ", RAW),
    (8, b"CR\x02\x00", RAW),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIU\x00", RAW),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop file"),
    (4, b"ftyp", "a video"),
)
"""What a file that nothing here reads is: the place and the bytes by which it is known."""

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")

_ADVICE = {
    "a web page": "download the photo itself",
    "a video": "save a picture of it as JPEG first",
    "a HEIC photo": "run: pip install pillow-heif, or save it as JPEG first",
    "an AVIF photo": "run: pip install --upgrade pillow, or save it as JPEG first",
}


def kind_of(data: bytes, suffix: str = "") -> str | None:
    """What kind of file that is no readable photo `data` is; None where it may be a photo.

    Args:
        data: The file, or its first hundred bytes.
        suffix: The ending of its name, where it has one.

    >>> kind_of(b"%PDF-1.7"), kind_of(bytes(9), ".NEF"), kind_of(b"GIF89a")
    ('a PDF document', "a camera's raw file", None)
    """
    if pillow_formats(data) != PILLOW_FORMATS:
        return None
    brands = _brands(data)
    if any(brand in brands for brand in _AVIF_BRANDS):
        return "an AVIF photo"
    if any(brand in brands for brand in _HEIC_BRANDS):
        return "a HEIC photo"
    for place, start, kind in _OTHER_KINDS:
        if data[place : place + len(start)] == start:
            return kind
    if data[:100].lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    # Most are TIFF files, of which Pillow would read the thumbnail.
    if suffix.lower() in _RAW_SUFFIXES and not data.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        return RAW
    return None


def refusal_of(kind: str) -> str:
    """What is said of a file of a kind that `kind_of` found."""
    return f"is {kind}, not a photo that can be read here; " + _ADVICE.get(
        kind, "save it as JPEG first"
    )


def _brands(data: bytes) -> bytes:
    """The names of the formats that an ISO media file (HEIC, AVIF, video) says it has."""
    if data[4:8] != b"ftyp":
        return b""
    return data[8 : min(int.from_bytes(data[:4], "big"), 100)]


def pillow_formats(data: bytes) -> tuple[str, ...]:
    """The formats that Pillow is to try for a file, by its first hundred bytes.

    AVIF is read where Pillow was built with it, HEIC where the package pillow-heif is installed
    (which is then added to Pillow's formats, for the whole process).
    """
    brands = _brands(data)
    if any(brand in brands for brand in _AVIF_BRANDS):
        with suppress(ImportError):
            from PIL import AvifImagePlugin

            if AvifImagePlugin.SUPPORTED:
                return ("AVIF",)
    elif any(brand in brands for brand in _HEIC_BRANDS):
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
            return ("HEIF",)
    return PILLOW_FORMATS


def find_photos(folder: Path, on_error: Callable[[OSError], object] | None = None) -> list[Path]:
    """All of `walk_photos`."""
    return list(walk_photos(folder, on_error))


def walk_photos(
    folder: Path, on_error: Callable[[OSError], object] | None = None
) -> Iterator[Path]:
    """The photos in `folder` and below it, known by their endings, in a stable order.

    Charts of this package are left out, and a warning in the log says how many; so are thumbnails
    of network storage and what macOS keeps beside photos ("._a.jpg"), which nobody misses.

    Args:
        folder: Where to look. Links to other folders are not followed.
        on_error: Gets the error of each folder that cannot be listed; the others are still found.
    """
    charts = 0
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(name for name in folders if is_photo_folder(name))
        for name in sorted(filter(is_photo_name, files)):
            path = Path(parent, name)
            if is_chart(path):
                charts += 1
            else:
                yield path
    if charts:
        _logger.warning("left out %d of our own charts in %s", charts, folder)


def is_photo_name(name: str) -> bool:
    """Whether a file in a folder is taken for a photo.

    >>> is_photo_name("a.JPG"), is_photo_name("a.txt"), is_photo_name("._a.jpg")
    (True, False, False)
    """
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES and not name.startswith("._")


def is_photo_folder(name: str) -> bool:
    """Whether there may be photos in a folder of this name, and not only thumbnails of them."""
    return name not in _THUMBNAIL_FOLDERS


def free_chart_path(photo: str, kind: str) -> Path:
    """A name in the current folder where there is nothing, or a chart of ours.

    Args:
        photo: The name of the photo that is drawn.
        kind: What the chart shows, the last word of its name.
    """
    # Cut, since file systems end at 255 bytes.
    stem = Path(photo).stem[:60]
    path, number = Path(f"{stem}_{kind}.png"), 2
    while path.exists() and not is_chart(path):
        path, number = Path(f"{stem}_{kind}_{number}.png"), number + 1
    return path


def is_chart(path: Path) -> bool:
    """Whether `path` is a picture that `chart.save` wrote: it says so near its start or end."""
    try:
        # A named pipe is no chart; to open it would wait for ever.
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            ends = file.read(1024)  # the comment of a GIF comes after 768 bytes of colours
            # EXIF is the last that a WebP holds.
            file.seek(-min(file.seek(0, os.SEEK_END), 64), os.SEEK_END)
            ends += file.read()
    except OSError:
        return False
    name = CHART_SOFTWARE.encode()
    mark = b"tEXtSoftware\0" + name if ends.startswith(b"\x89PNG") else name + b"\0"
    return mark in ends
