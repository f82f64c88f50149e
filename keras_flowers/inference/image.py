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
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.colour import in_rgb, transform_to_srgb
from keras_flowers.inference.formats import EXPECTED, RAW, kind_of, pillow_formats, refusal_of
from keras_flowers.inference.text import printable, refuse_url

Pixels: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = str | os.PathLike[str] | bytes
Photo: TypeAlias = Source | BinaryIO | Image.Image | npt.NDArray[Any]

MAX_PIXELS = 120_000_000
"""Larger photos are refused (the largest phone sensors have 108 or 200 megapixels and save 12 to
50; a progressive JPEG takes 6 bytes a pixel of its whole size, however small it is decoded)."""

MAX_DECODED_PIXELS = 64_000_000
"""Photos that are still larger when decoded (a JPEG shrinks while it is) are refused: turning and
converting them takes up to 12 bytes a pixel, and all of it is to stay below a gigabyte. WebP takes
20 bytes a pixel and may have half as many."""

MAX_BYTES = 256 << 20
"""Larger files are refused, for the same reason."""

_pillow_logger = logging.getLogger("PIL")

_LARGE_PIXELS = 8_000_000
_one_large_photo = threading.Lock()
"""Held while a large photo is decoded, so that the threads of a bulk run do not add up."""


def _renew_lock() -> None:
    global _one_large_photo
    _one_large_photo = threading.Lock()


if hasattr(os, "register_at_fork"):
    # A thread that holds it in the parent does not exist in the child, which would wait for it.
    os.register_at_fork(after_in_child=_renew_lock)


def read_photo(photo: Photo, size: tuple[int, int] | None = None) -> Image.Image:
    """Reads a photo upright and in sRGB.

    Args:
        photo: A path; the bytes of a whole file; a file object opened in binary mode; a PIL image;
            or an array [height, width, 3], RGB, as `checked_pixels` takes it.
        size: Height and width that the caller will resize to. A JPEG is then decoded no larger
            than needed, which is several times faster for a phone's photo.

    Returns:
        The photo in mode "RGB". Transparency is laid on white, 16-bit grey is scaled (not cut) to
        8 bits, colours are brought to sRGB where a profile says that they are others, and of an
        animation the first frame is taken.

    Raises:
        UserError: There is no such file, or it is not a photo that can be read whole.
    """
    image, transform = _decoded(photo, size)
    return image if transform is None else transform.apply(image)


def read_pixels(photo: Photo, size: tuple[int, int]) -> Pixels:
    """Reads a photo as a model takes it: uint8 [height, width, 3], values 0..255, RGB.

    Args:
        photo: As for `read_photo`.
        size: Height and width of the result.

    Raises:
        UserError: As `read_photo`.
    """
    image, transform = _decoded(photo, size)
    image = _squashed(image, size)
    # Here, where the fewest pixels are left.
    return np.asarray(image if transform is None else transform.apply(image))


def as_file(photo: Photo) -> Photo:
    """The content of a file object, which can be read only once; anything else as it is."""
    is_open_file = hasattr(photo, "read") and not isinstance(photo, (str, os.PathLike))
    return _bytes_of(photo) if is_open_file else photo


def checked_pixels(pixels: npt.NDArray[Any], *, max_value: float | None = None) -> npt.NDArray[Any]:
    """Refuses arrays that are no colours 0..255.

    Args:
        pixels: Whole numbers or floats, 0..255. Floats that are all at most 1 are refused: to
            scale them to 0..1 is the commonest mistake there is.
        max_value: What white is, where that is said: 1 takes such floats and multiplies them by
            255, 255 takes them as they are (nearly black).

    Returns:
        The array; of whole numbers, as uint8.
    """
    is_float = np.issubdtype(pixels.dtype, np.floating)
    if not is_float and not np.issubdtype(pixels.dtype, np.integer):
        raise UserError(f"pixels have the type {pixels.dtype}; expected uint8 or float32, 0..255")
    if max_value not in (None, 1, 255):
        raise UserError(f"max_value is {max_value}; expected 1 or 255")
    if pixels.size and pixels.dtype != np.uint8:
        lowest, highest = pixels.min(), pixels.max()
        limit = max_value or 255
        # NaN fails every comparison.
        if is_float and max_value is None and not highest > 1:
            raise UserError(
                f"pixels are {lowest:.3g} to {highest:.3g}; expected 0 to 255: multiply them by "
                "255, or say max_value=1"
            )
        if not (lowest >= 0 and highest <= limit):
            raise UserError(f"pixels are {lowest:.6g} to {highest:.6g}; expected 0 to {limit:g}")
    if not is_float:
        return pixels.astype(np.uint8, copy=False)
    return pixels * np.float32(255) if max_value == 1 else pixels


def _decoded(photo: Photo, size: tuple[int, int] | None) -> tuple[Image.Image, Any | None]:
    """A photo upright, and what brings its colours to sRGB, where that has to be done.

    The photo is in mode "RGB", or in the one that the transform takes.
    """
    name = "the photo"
    suffix = ""
    if isinstance(photo, (str, os.PathLike)):
        name, suffix = printable(photo), os.path.splitext(photo)[1]
        photo = read_file(photo, name)
    silence_pillow()
    try:
        with _opened(photo, name, suffix) as image:
            if not isinstance(photo, Image.Image):
                _refuse_more_pixels(image, MAX_PIXELS, name)
                if size is not None:
                    _shrink_while_decoding(image, size)
            share = 2 if image.format in ("WEBP", "AVIF", "HEIF") else 1
            _refuse_more_pixels(image, MAX_DECODED_PIXELS // share, name)
            large = image.width * image.height > _LARGE_PIXELS // share
            with _one_large_photo if large else nullcontext():
                image.load()
                transform = transform_to_srgb(image)
                upright = _upright(image)
                if transform is None or transform.input_mode in ("RGB", "L"):
                    upright = in_rgb(upright)
                if transform is not None and transform.input_mode == "L":
                    upright = upright.getchannel(0)
                # A PIL image that was upright and in RGB would be the caller's own.
                return upright.copy() if upright is photo else upright, transform
    except UnidentifiedImageError:
        subject = "this" if name == "the photo" else name
        raise UserError(f"{subject} is not a photo that can be read; {EXPECTED}") from None
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
        raise UserError(f"{name} is damaged or incomplete ({reason_of(error)})") from None


@contextmanager
def _opened(photo: Photo, name: str, suffix: str) -> Iterator[Image.Image]:
    """A photo that is no path as a PIL image, not decoded yet where that can be had."""
    if isinstance(photo, Image.Image):
        yield photo  # its owner closes it
        return
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
            raise UserError(
                f"the photo is an array of the shape {photo.shape}; expected (H, W, 3), RGB"
            )
        pixels = checked_pixels(photo)
        yield Image.fromarray(np.ascontiguousarray(np.rint(pixels).astype(np.uint8)))
        return
    data = _bytes_of(photo)
    if not data:
        raise UserError(f"{name} is empty; {EXPECTED}")
    kind = kind_of(data, suffix)
    if kind is not None:
        raise UserError(f"{name} {refusal_of(kind)}")
    with Image.open(io.BytesIO(data), formats=pillow_formats(data)) as image:
        # The first picture of a raw file is a small preview of others, and says so.
        tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
        if 330 in tags and int(tags.get(254, 0)) & 1:
            raise UserError(f"{name} {refusal_of(RAW)}")
        yield image


def _bytes_of(photo: Any) -> bytes:
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return bytes(photo)
    if not hasattr(photo, "read"):
        raise UserError(
            "expected one photo: a path, bytes, a file object, a PIL image or an array "
            f"[H, W, 3], got a {type(photo).__name__}; several photos are for predict_many()"
        )
    data = photo.read(MAX_BYTES + 1)
    if not isinstance(data, bytes):
        raise UserError("the file object gives text, not bytes; open it with mode 'rb'")
    if len(data) > MAX_BYTES:
        raise UserError(f"the photo has more than {MAX_BYTES >> 20} MiB; make it smaller first")
    return data


def squash(photo: Image.Image, size: tuple[int, int]) -> Pixels:
    """Resizes the whole photo to `size` (height, width): steps 3 and 4 of the rule.

    Returns:
        uint8 array [height, width, 3], values 0..255, RGB.
    """
    return np.asarray(_squashed(photo, size))


def _squashed(photo: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    across, down = max(photo.width // width, 1), max(photo.height // height, 1)
    if across > 1 or down > 1:
        whole = (photo.width // across * across, photo.height // down * down)
        photo = photo.reduce((across, down), (0, 0, *whole))
    # Not resize(): that widens its kernel to antialias.
    everything = (0, 0, *photo.size)
    return photo.transform(
        (width, height), Image.Transform.EXTENT, everything, Image.Resampling.BILINEAR
    )


def as_data(picture: Image.Image, quality: int = 70) -> str:
    """A picture as the `data:` address of a JPEG, for HTML that loads nothing."""
    import base64  # naming a photo needs none

    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def load_readers() -> None:
    """Loads Pillow's readers, as the first photo would: that takes longer than to read it."""
    Image.preinit()


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


def silence_pillow() -> None:
    """Stops what Pillow says about broken files, for good: it is said in the refusal."""
    # Not with catch_warnings: threads that leave it in another order than they entered mix up the
    # filters.
    filters = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if filters not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    # Without any handler Python would print its errors; one that a program has set still gets them.
    if not _pillow_logger.handlers:
        _pillow_logger.addHandler(logging.NullHandler())


def _refuse_more_pixels(image: Image.Image, limit: int, name: str) -> None:
    if image.width * image.height > limit:
        raise UserError(
            f"{name} has {image.width} x {image.height} pixels, more than the "
            f"{limit // 1_000_000} million that are accepted; make it smaller first"
        )


def read_file(source: str | os.PathLike[str], name: str | None = None) -> bytes:
    """The bytes of a photo's file, called `name` in messages.

    Raises:
        UserError: There is none, it is no ordinary file, too large, or cannot be read.
    """
    name = printable(source) if name is None else name
    refuse_url(source)
    path = Path(source)
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
        raise UserError(f"{name} cannot be read ({reason_of(error)})") from None


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
