"""Looks once into each photo of a source: can it be read, by whom, and what does it look like?

What was found is kept in a file for each source, under the photo's place and stamp, so that only
what is new or has changed is read again. It serves every way to open a source.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import ExifTags, Image

from keras_flowers.errors import UserError, reason_of
from keras_flowers.files import atomic_replace
from keras_flowers.inference import image
from keras_flowers.inference.colour import transform_to_srgb
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training.sources.source import Read, Source, StoredPhotos

_logger = logging.getLogger(__name__)

FAST: Final = 0
"""Route of an upright JPEG in sRGB: TensorFlow decodes it, in a third of the time of the other."""

PILLOW: Final = 1
"""Route of every other photo: `inference.image` reads it, as it does for prediction."""

LOOK_SIDE: Final = 8
"""Height and width of the small picture by which near duplicates are known."""

_VERSION = 3  # Raise it when an inspection finds something else than before.
_SMALL = (32, 32)
_LEAST_CONTRAST = 4.0  # of 255: below, the differences between neighbours are noise
_AHEAD = 16  # files whose bytes are in memory at a time


@dataclass(frozen=True)
class Inspection:
    """What was found, one row for each photo.

    Attributes:
        digests: S32 [N], the hash of the file's bytes in hexadecimal; empty where there are none.
        labels: str [N], the label that each is stored with.
        routes: uint8 [N], `FAST` or `PILLOW`.
        looks: uint8 [N, 8, 8, 3], the photo, tiny; black where it was not asked for.
        has_look: bool [N], false where the photo is too plain to be known by its look.
        reasons: str [N], why it cannot be read; "" where it can.
        sizes: int32 [N, 2], height and width as stored; 0 where a look was not asked for.
    """

    digests: npt.NDArray[np.bytes_]
    labels: npt.NDArray[np.object_]
    routes: npt.NDArray[np.uint8]
    looks: npt.NDArray[np.uint8]
    has_look: npt.NDArray[np.bool_]
    reasons: npt.NDArray[np.object_]
    sizes: npt.NDArray[np.int32]

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


def inspect_split(
    source: Source, split: str, cache_dir: Path | None, *, with_looks: bool
) -> tuple[StoredPhotos, Inspection]:
    """Opens a split of a source, and inspects its photos or reads what was found earlier.

    Args:
        source: The source.
        split: A split expression.
        cache_dir: The folder of the caches; what is found is kept in a file of its `inspected`.
            None: nothing is kept.
        with_looks: As `inspect` takes it.

    Raises:
        UserError: There is no such split.
    """
    photos = source.photos(split)
    cache = None
    if cache_dir is not None:
        # Of the whole source: `validation[:50%]` is part of `train+validation`.
        key = hashlib.sha256(source.location.encode("utf-8", "surrogateescape")).hexdigest()[:20]
        cache = cache_dir / "inspected" / f"{key}.npz"
    return photos, inspect(photos, source.name, cache, with_looks=with_looks)


def inspect(
    photos: StoredPhotos, name: str, cache: Path | None = None, *, with_looks: bool = True
) -> Inspection:
    """Inspects photos, or reads what an earlier inspection found.

    Args:
        photos: What to look into.
        name: Of the source, for the progress bar.
        cache: The file that keeps what is found; None: nothing is kept.
        with_looks: Whether near duplicates are to be searched among them: then each photo is
            decoded. Without, what an upright JPEG's bytes say is enough, in a third of the time.
    """
    places, stamps = _hashes(photos.places), _hashes(photos.stamps)
    kept = _load(cache) if cache is not None else None
    known = np.full(len(places), -1, np.intp)
    if kept is not None:
        known = kept.find(places, stamps, with_looks)
    new = np.flatnonzero(known < 0)
    found, looked = _look_into(photos, new.tolist(), name, with_looks)
    # First what is kept, then what is new: one array to choose rows from.
    known[new] = (0 if kept is None else len(kept.places)) + np.arange(len(new))
    new_rows = _Kept(places[new], stamps[new], looked, found)
    everything = new_rows if kept is None else _together([kept, new_rows])
    if cache is not None and len(new):
        # The last of those in the same place is the new one.
        _, last = np.unique(everything.places[::-1], return_index=True)
        _save(cache, everything.rows(len(everything.places) - 1 - last), name)
    found = everything.found.rows(known)
    if photos.labels is not None:  # a table may have been corrected since
        found = replace(found, labels=np.array(photos.labels, object))
    return found


class _Kept(NamedTuple):
    """What is kept of a source.

    Attributes:
        places: uint64 [N], hashes of the places, ascending.
        stamps: uint64 [N], of the stamps that they had.
        looked: bool [N], false where looks were not asked for and would be made if they were.
        found: What was found.
    """

    places: npt.NDArray[np.uint64]
    stamps: npt.NDArray[np.uint64]
    looked: npt.NDArray[np.bool_]
    found: Inspection

    def find(
        self, places: npt.NDArray[np.uint64], stamps: npt.NDArray[np.uint64], with_looks: bool
    ) -> npt.NDArray[np.intp]:
        """The row of each photo; -1 where it is new, has changed or was not looked at."""
        if not len(self.places):
            return np.full(len(places), -1, np.intp)
        row = np.searchsorted(self.places, places).clip(max=len(self.places) - 1)
        is_known = (self.places[row] == places) & (self.stamps[row] == stamps)
        if with_looks:
            is_known &= self.looked[row]
        return np.where(is_known, row, -1)

    def rows(self, numbers: npt.NDArray[np.intp]) -> _Kept:
        """Some of the rows."""
        return _Kept(
            self.places[numbers],
            self.stamps[numbers],
            self.looked[numbers],
            self.found.rows(numbers),
        )


def _together(parts: Sequence[_Kept]) -> _Kept:
    places, stamps, looked, found = zip(*parts, strict=True)
    return _Kept(
        np.concatenate(places), np.concatenate(stamps), np.concatenate(looked), joined(found)
    )


def _hashes(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    digests = b"".join(
        hashlib.blake2b(word.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for word in words
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


class _Finding(NamedTuple):
    """What was found in a photo; see `Inspection`."""

    digest: str
    route: int = PILLOW
    look: npt.NDArray[np.uint8] | None = None
    size: tuple[int, int] = (0, 0)
    reason: str = ""


def _look_into(
    photos: StoredPhotos, wanted: Sequence[int], name: str, with_looks: bool
) -> tuple[Inspection, npt.NDArray[np.bool_]]:
    """What is found in some photos, and whether there is no more to be found in each."""
    count = len(wanted)
    found = Inspection(
        np.zeros(count, "S32"),
        np.full(count, "", object),
        np.zeros(count, np.uint8),
        np.zeros((count, LOOK_SIDE, LOOK_SIDE, 3), np.uint8),
        np.zeros(count, np.bool_),
        np.full(count, "", object),
        np.zeros((count, 2), np.int32),
    )
    looked = np.zeros(count, np.bool_)
    bar = progress_bar(
        total=count, unit="photo", description=f"{name}: checking", disable=not wanted
    )
    image.load_readers()
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        findings = _check_all(photos.contents(wanted), pool, with_looks)
        for row, (label, finding) in enumerate(findings):
            found.digests[row] = finding.digest
            found.labels[row] = label
            found.routes[row] = finding.route
            looked[row] = with_looks or finding.look is not None or bool(finding.reason)
            if finding.look is not None:
                found.looks[row] = finding.look
                found.has_look[row] = finding.look.mean(axis=2).std() >= _LEAST_CONTRAST
            found.reasons[row] = finding.reason
            found.sizes[row] = finding.size
            bar.update()
    return found, looked


def _check_all(
    contents: Iterator[tuple[str, Read]], pool: ThreadPoolExecutor, with_looks: bool
) -> Iterator[tuple[str, _Finding]]:
    """Label and finding of each, in order, with few files in memory at a time."""
    ahead: deque[tuple[str, Future[_Finding]]] = deque()
    for label, read in contents:
        ahead.append((label, pool.submit(_check, read, with_looks)))
        if len(ahead) == _AHEAD:
            label, finding = ahead.popleft()
            yield label, finding.result()
    for label, finding in ahead:
        yield label, finding.result()


def _check(read: Read, with_look: bool) -> _Finding:
    digest = ""
    try:
        data = read()
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        if not with_look and _is_surely_readable(data):
            return _Finding(digest, FAST)
        small = _decode_fast(data)
        route = PILLOW if small is None else FAST
        if small is None:
            small = image.read_photo(data, _SMALL)
    except (OSError, UserError) as error:
        return _Finding(digest, reason=str(error) or type(error).__name__)
    look = np.asarray(small.resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX))
    return _Finding(digest, route, look, _stored_size(data, small))


def _stored_size(data: bytes, small: Image.Image) -> tuple[int, int]:
    """Height and width as stored of a photo of which `small` was decoded."""
    if data[:3] != b"\xff\xd8\xff":  # only a JPEG shrinks while it is decoded
        return small.height, small.width
    with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as header:
        return header.height, header.width


def route_of(data: bytes) -> int:
    """Who decodes a photo in training: `FAST` or `PILLOW`.

    Args:
        data: The bytes of a photo that can be read.
    """
    return PILLOW if _decode_fast(data) is None else FAST


def _is_surely_readable(data: bytes) -> bool:
    """Whether `_decode_fast` would decode the photo, where that can be told in a sixth of the time.

    True for a JPEG with a header that its decoder takes, behind which there is one whole scan and
    nothing else: in the bytes of such a scan, whatever they are, no marker ends it early, and
    nothing in them is an error for the decoder. All that is left to try is the header.
    """
    ratio = _fast_ratio(data)
    # No later than where the scan starts: a preview inside the header comes first.
    start = data.find(b"\xff\xda") + 2
    is_one_scan = (
        start >= 2
        and data.endswith(b"\xff\xd9")
        and data.count(b"\xff", start) == data.count(b"\xff\x00", start) + 1
    )
    if ratio is None or not is_one_scan:
        return False
    try:
        # Reads the header and the first row, and passes over the rest.
        tf.io.decode_and_crop_jpeg(data, [0, 0, 1, 1], channels=3, ratio=ratio)
    except tf.errors.OpError:
        return False
    return True


def _decode_fast(data: bytes) -> Image.Image | None:
    """The photo, small, through the reader of the fast route; None: it is not for that route."""
    ratio = _fast_ratio(data)
    if ratio is None:
        return None
    try:
        pixels = tf.io.decode_jpeg(data, channels=3, ratio=ratio)
    except tf.errors.OpError:
        return None  # `read_photo` says what is wrong
    return Image.fromarray(pixels.numpy())


def _fast_ratio(data: bytes) -> int | None:
    """By how much the reader of the fast route shrinks the photo; None: it is not for that route.

    The header decides: an upright JPEG in sRGB, and not too large.
    """
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
    except Exception:
        # Pillow raises a dozen kinds of errors; `read_photo` says what is wrong.
        return None
    ratio = image.shrink_ratio(height, width, _SMALL)
    return None if height * width // ratio**2 > image.MAX_DECODED_PIXELS else ratio


def _is_upright(header: Image.Image) -> bool:
    try:
        return header.getexif().get(ExifTags.Base.Orientation, 1) in (0, 1)
    except Exception:
        return True  # a broken EXIF block turns nothing


def _save(path: Path, kept: _Kept, name: str) -> None:
    # Reasons are few and long, labels few and many: neither is written once for each photo.
    bad = np.flatnonzero(kept.found.reasons != "")
    labels, label_of = np.unique(kept.found.labels.astype(str), return_inverse=True)
    try:
        with atomic_replace(path) as new, new.open("wb") as file:
            np.savez(
                file,
                version=np.array(_VERSION),
                places=kept.places,
                stamps=kept.stamps,
                looked=kept.looked,
                digests=kept.found.digests,
                labels=labels,
                label_of=label_of.astype(np.int32),
                routes=kept.found.routes,
                looks=kept.found.looks,
                has_look=kept.found.has_look,
                bad=bad,
                reasons=kept.found.reasons[bad].astype(str),
                sizes=kept.found.sizes,
            )
    except OSError as error:
        _logger.warning(
            f"what was found in the photos of {name} is not kept ({reason_of(error)}): the next "
            "run looks into them again"
        )


def _load(path: Path) -> _Kept | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if int(archive["version"]) != _VERSION:
                return None
            places = archive["places"]
            reasons = np.full(len(places), "", object)
            reasons[archive["bad"]] = archive["reasons"].tolist()
            labels = np.array(archive["labels"].tolist(), object)
            found = Inspection(
                archive["digests"],
                labels[archive["label_of"]],
                archive["routes"],
                archive["looks"],
                archive["has_look"],
                reasons,
                archive["sizes"],
            )
            return _Kept(places, archive["stamps"], archive["looked"], found)
    except Exception:
        # A file of another version, cut off, or no archive: everything is looked into again.
        return None
