"""A photo as an array: any file Pillow reads, upright, in colour, squashed to the model's size.

The rule is the same in two places, and `tests/test_parity.py` holds them together: here for
prediction without TensorFlow, in `tf_image.py` for training and inside the exported SavedModel.

1. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, in the DCT, where that still covers the model's
   size: it costs less than decoding it whole, and little is left to resize.
2. It is turned upright as its EXIF orientation says.
3. A side that is still twice the model's or more is shrunk by a whole number, each pixel the mean
   of those it replaces (a rest at the right or bottom is cut off). So what follows skips no pixel,
   and needs no antialiasing of its own, which costs TensorFlow more than decoding.
4. The whole photo is resized to the model's height and width, its aspect ratio ignored, bilinear,
   cut to whole numbers. Generic clients (MediaPipe Tasks, ML Kit) show models the squashed photo,
   so a model trained on it meets nothing new there.
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from keras_flowers.errors import UserError

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = str | os.PathLike[str] | bytes

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    # Not read, but the folder of an iPhone is full of them: better refused than passed over.
    | {".heic", ".heif", ".avif"}
)
"""Endings of the files that are taken for photos in a folder, in lower case."""

MAX_PIXELS = 120_000_000
"""Larger photos are refused (the largest phone sensors have 108 or 200 megapixels and save 12 to
50; a progressive JPEG takes 6 bytes a pixel of its whole size, however small it is decoded)."""

MAX_DECODED_PIXELS = 64_000_000
"""Photos that are still larger when decoded (a JPEG shrinks while it is) are refused: turning and
converting them takes up to 12 bytes a pixel, and all of it is to stay below a gigabyte. WebP takes
20 bytes a pixel and may have half as many."""

MAX_BYTES = 256 << 20
"""Larger files are refused, for the same reason."""

# Pillow has readers for 40 formats, one of which starts another program (EPS); strangers' files
# get these. JPEG includes the multi-picture files of phones. The last two are loaded only if no
# other fits.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
_EXPECTED = "expected a photo (JPEG, PNG, WebP, GIF, TIFF or BMP)"

_LARGE_PIXELS = 8_000_000
_one_large_photo = threading.Lock()
"""Held while a large photo is decoded, so that the threads of a bulk run do not add up."""


def read_photo(source: Source, size: tuple[int, int] | None = None) -> Image.Image:
    """Reads a photo file upright and in RGB.

    Args:
        source: A path, or the bytes of a whole file.
        size: Height and width that the caller will resize to. A JPEG is then decoded no larger
            than needed, which is several times faster for a phone's photo.

    Returns:
        The photo in mode "RGB". Transparency is laid on white, 16-bit grey is scaled (not cut) to
        8 bits, and of an animation the first frame is taken.

    Raises:
        UserError: There is no such file, or it is not a photo that can be read whole.
    """
    name = "the photo" if isinstance(source, bytes) else printable(source)
    data = source if isinstance(source, bytes) else _read_file(Path(source), name)
    if not data:
        raise UserError(f"{name} is empty; {_EXPECTED}")
    silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _refuse_more_pixels(image, MAX_PIXELS, name)
            if size is not None:
                _shrink_while_decoding(image, size)
            share = 2 if image.format == "WEBP" else 1
            _refuse_more_pixels(image, MAX_DECODED_PIXELS // share, name)
            large = image.width * image.height > _LARGE_PIXELS // share
            with _one_large_photo if large else nullcontext():
                image.load()
                return _in_rgb(_upright(image))
    except UnidentifiedImageError:
        if data[4:8] == b"ftyp":
            raise UserError(
                f"{name} is a HEIC, AVIF or video file; save it as JPEG first"
            ) from None
        raise UserError(f"{name} is not a photo that can be read; {_EXPECTED}") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{name} claims more than {MAX_PIXELS // 1_000_000} million pixels; "
            "make it smaller first"
        ) from None
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{name} does not fit into memory; make it smaller first") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ... on broken
        # files; whatever it was, for the caller the photo is unreadable.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is damaged or incomplete ({reason})") from None


def squash(photo: Image.Image, size: tuple[int, int]) -> Pixels:
    """Resizes the whole photo to `size` (height, width): steps 3 and 4 of the rule.

    Returns:
        uint8 array [height, width, 3], values 0..255, RGB.
    """
    height, width = size
    across, down = max(photo.width // width, 1), max(photo.height // height, 1)
    if across > 1 or down > 1:
        whole = (photo.width // across * across, photo.height // down * down)
        photo = photo.reduce((across, down), (0, 0, *whole))
    # Not resize(): that widens its kernel to antialias.
    everything = (0, 0, *photo.size)
    resized = photo.transform(
        (width, height), Image.Transform.EXTENT, everything, Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def read_pixels(source: Source, size: tuple[int, int]) -> Pixels:
    """Reads a photo as a model takes it: uint8 [height, width, 3], values 0..255, RGB.

    Raises:
        UserError: As `read_photo`.
    """
    return squash(read_photo(source, size), size)


def load_readers() -> None:
    """Loads Pillow's readers, as the first photo would: that takes longer than to read it."""
    Image.preinit()


def find_photos(folder: Path, on_error: Callable[[OSError], object] | None = None) -> list[Path]:
    """The photos in `folder` and below it, known by their endings, in a stable order.

    Args:
        folder: Where to look. Links to other folders are not followed.
        on_error: Gets the error of each folder that cannot be listed; the others are still found.
    """
    found = []
    for parent, folders, files in os.walk(folder, onerror=on_error):
        folders.sort()
        found += [
            Path(parent, f) for f in sorted(files) if Path(f).suffix.lower() in PHOTO_SUFFIXES
        ]
    return found


def shrink_ratio(height: int, width: int, size: tuple[int, int]) -> int:
    """By how much a JPEG may be shrunk while decoding and still cover `size` (height, width).

    >>> shrink_ratio(500, 667, (224, 224))
    2
    >>> shrink_ratio(3000, 4000, (224, 224))
    8
    >>> shrink_ratio(300, 300, (224, 224))
    1
    """
    covered = min(height // size[0], width // size[1])
    return next(ratio for ratio in (8, 4, 2, 1) if ratio <= max(covered, 1))


def printable(path: str | os.PathLike[str]) -> str:
    r"""The path in one line that any terminal can show.

    >>> print(printable("my flower.jpg"), printable("two\nlines.jpg"))
    my flower.jpg 'two\nlines.jpg'
    """
    text = os.fspath(path)
    return text if text and text.isprintable() else repr(text)


def silence_pillow() -> None:
    """Stops Pillow's warnings for good: about broken EXIF or large photos, they help nobody."""
    # Not with catch_warnings: threads that leave it in another order than they entered mix up the
    # filters.
    filters = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if filters not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _refuse_more_pixels(image: Image.Image, limit: int, name: str) -> None:
    if image.width * image.height > limit:
        raise UserError(
            f"{name} has {image.width} x {image.height} pixels, more than the "
            f"{limit // 1_000_000} million that are accepted; make it smaller first"
        )


def _read_file(path: Path, name: str) -> bytes:
    try:
        # Opening a named pipe would wait for ever; open nothing but ordinary files.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{name} is a folder; expected a photo")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{name} is not an ordinary file; expected a photo")
        if status.st_size > MAX_BYTES:
            raise UserError(f"{name} has more than {MAX_BYTES >> 20} MiB; make it smaller first")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{name} does not exist; expected the path of a photo") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read ({reason})") from None


def _shrink_while_decoding(image: Image.Image, size: tuple[int, int]) -> None:
    if image.format not in ("JPEG", "MPO"):
        return
    # Pillow's draft() chooses by the same rule, but from the sides as stored: ask for what it
    # would take for the upright photo.
    lies_on_its_side = _orientation(image) in (5, 6, 7, 8)
    ratio = shrink_ratio(image.height, image.width, size[::-1] if lies_on_its_side else size)
    if ratio > 1:
        image.draft(None, (image.width // ratio, image.height // ratio))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return 1  # a broken EXIF block says nothing about the photo itself
    return orientation if isinstance(orientation, int) else 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation other than 1, which is upright."""


def _upright(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF block anew, which fails on a damaged one that
    # still tells the orientation, and it copies photos that are upright already.
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _in_8_bits(image)
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        on_white = Image.new("RGB", image.size, "white")
        on_white.paste(image, mask=image)
        return on_white
    # convert() would copy a photo that is in RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, or of 32 that hold 8, 16 or (fractions 0..1) none, as 8 bits."""
    # convert("RGB") would cut everything above 255 to white.
    # What white is, nothing but the values themselves tells.
    brightest = float(np.max(image.getextrema())) if image.mode in ("I", "F") else 65535.0
    white = 65535.0 if brightest > 255 else 255.0 if image.mode == "I" or brightest > 1 else 1.0
    grey = np.empty((image.height, image.width), np.uint8)
    rows = max(1, (1 << 22) // image.width)  # a strip at a time: floats take four times the memory
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom))
        values = np.nan_to_num(np.asarray(strip, np.float32)) * (255.0 / white)
        grey[top:bottom] = np.clip(values, 0, 255)
    return Image.fromarray(grey)
