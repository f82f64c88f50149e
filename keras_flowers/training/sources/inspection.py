"""Looks once into each photo of a source: can it be read, by whom, and what does it look like?

Every photo is decoded once, as small as its format allows, on all cores. What was found is kept
under the photo's stamp, so that only what is new or has changed is read again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import ExifTags, Image

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace
from keras_flowers.inference import image
from keras_flowers.inference.colour import transform_to_srgb
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training.sources.source import Read, StoredPhotos

FAST: Final = 0
"""Route of an upright JPEG in sRGB: TensorFlow decodes it, in a third of the time of the other."""

PILLOW: Final = 1
"""Route of every other photo: `inference.image` reads it, as it does for prediction."""

LOOK_SIDE: Final = 8
"""Height and width of the small picture by which near duplicates are known."""

_VERSION = 2  # Raise it when an inspection finds something else than before.
_SMALL = (32, 32)
_LEAST_CONTRAST = 4.0  # of 255: below, the differences between neighbours are noise


@dataclass(frozen=True)
class Inspection:
    """What was found, one row for each photo.

    Attributes:
        digests: S32 [N], the hash of the file's bytes in hexadecimal; empty where there are none.
        labels: The label that each is stored with.
        routes: uint8 [N], `FAST` or `PILLOW`.
        looks: uint8 [N, 8, 8, 3], the photo, tiny.
        has_look: bool [N], false where the photo is too plain to be known by its look.
        reasons: Why it cannot be read; "" where it can.
    """

    digests: npt.NDArray[np.bytes_]
    labels: npt.NDArray[np.str_]
    routes: npt.NDArray[np.uint8]
    looks: npt.NDArray[np.uint8]
    has_look: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.str_]

    def rows(self, numbers: npt.NDArray[Any] | Sequence[int]) -> Inspection:
        """Some of the rows, by their numbers or by a bool for each."""
        return Inspection(*(getattr(self, field.name)[numbers] for field in fields(self)))


def joined(parts: Sequence[Inspection]) -> Inspection:
    """All rows of all parts, in order."""
    return Inspection(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Inspection)
        )
    )


def inspect(photos: StoredPhotos, name: str, cache: Path | None = None) -> Inspection:
    """Inspects photos, or reads what an earlier inspection found.

    Args:
        photos: What to look into.
        name: Of the source, for the progress bar.
        cache: The file that keeps what is found; None: nothing is kept.
    """
    stamps = np.array(
        [hashlib.blake2b(one.encode("utf-8", "surrogateescape"), digest_size=8).digest().hex()
         for one in photos.stamps],
        "S16",
    )  # fmt: skip
    kept = _load(cache) if cache is not None else None
    place = {stamp: row for row, stamp in enumerate(kept[0])} if kept is not None else {}
    known = np.array([place.get(stamp, -1) for stamp in stamps], np.intp)
    new = np.flatnonzero(known < 0)
    found = _look_into(photos, new.tolist(), name)
    if kept is not None:
        # First what is kept, then what is new: one array to choose rows from.
        everything = joined([kept[1], found])
        known[new] = len(kept[0]) + np.arange(len(new))
        found = everything.rows(known)
    if cache is not None and len(new):
        _save(cache, stamps, found)
    return found


def _look_into(photos: StoredPhotos, wanted: Sequence[int], name: str) -> Inspection:
    rows: list[tuple[Any, ...]] = []
    contents = photos.contents(wanted)
    bar = progress_bar(
        total=len(wanted), unit="photo", description=f"{name}: checking", disable=not wanted
    )
    image.load_readers()
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        # A few at a time: a source may give bytes that were read already.
        while some := list(islice(contents, 32)):
            labels = [label for label, _ in some]
            findings = pool.map(_check, [read for _, read in some])
            rows += [
                (digest, label, *rest)
                for label, (digest, *rest) in zip(labels, findings, strict=True)
            ]
            bar.update(len(some))
    digests, labels_, routes, looks, has_look, reasons = (
        zip(*rows, strict=True) if rows else [()] * 6
    )
    return Inspection(
        np.array(digests, "S32"),
        np.array(labels_, np.str_),
        np.array(routes, np.uint8),
        np.array(looks, np.uint8).reshape(-1, LOOK_SIDE, LOOK_SIDE, 3),
        np.array(has_look, np.bool_),
        np.array(reasons, np.str_),
    )


def _check(read: Read) -> tuple[str, int, npt.NDArray[np.uint8], bool, str]:
    """Digest, route, look, whether it has one, and why it cannot be read."""
    nothing = np.zeros((LOOK_SIDE, LOOK_SIDE, 3), np.uint8)
    digest = ""
    try:
        data = read()
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        small = _decode_fast(data)
        route = PILLOW if small is None else FAST
        if small is None:
            small = image.read_photo(data, _SMALL)
    except (OSError, UserError) as error:
        reason = str(error) or type(error).__name__
        return digest, PILLOW, nothing, False, reason
    look = np.asarray(small.resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX))
    return digest, route, look, bool(look.mean(axis=2).std() >= _LEAST_CONTRAST), ""


def route_of(data: bytes) -> int:
    """Who decodes a photo in training: `FAST` or `PILLOW`.

    Args:
        data: The bytes of a photo that can be read.
    """
    return PILLOW if _decode_fast(data) is None else FAST


def _decode_fast(data: bytes) -> Image.Image | None:
    """The photo, small, through the reader of the fast route; None: it is not for that route."""
    if data[:3] != b"\xff\xd8\xff" or len(data) > image.MAX_BYTES:
        return None
    image.silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as header:
            height, width = header.height, header.width
            if (
                header.mode not in ("RGB", "L")
                or not _is_upright(header)
                or transform_to_srgb(header) is not None
                or height * width > image.MAX_PIXELS
            ):
                return None
        ratio = image.shrink_ratio(height, width, _SMALL)
        if height * width // ratio**2 > image.MAX_DECODED_PIXELS:
            return None
        pixels = tf.io.decode_jpeg(data, channels=3, ratio=ratio)
    except Exception:
        # Pillow and TensorFlow raise a dozen kinds of errors; `read_photo` says what is wrong.
        return None
    return Image.fromarray(pixels.numpy())


def _is_upright(header: Image.Image) -> bool:
    try:
        return header.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
    except Exception:
        return True  # a broken EXIF block turns nothing


def _save(path: Path, stamps: npt.NDArray[np.bytes_], found: Inspection) -> None:
    arrays = {field.name: getattr(found, field.name) for field in fields(found)}
    with atomic_replace(path) as new, new.open("wb") as file:
        np.savez(file, version=np.array(_VERSION), stamps=stamps, **arrays)


def _load(path: Path) -> tuple[npt.NDArray[np.bytes_], Inspection] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if int(archive["version"]) != _VERSION:
                return None
            arrays = [archive[field.name] for field in fields(Inspection)]
            return archive["stamps"], Inspection(*arrays)
    except Exception:
        # A file of another version, cut off, or no archive: everything is looked into again.
        return None
