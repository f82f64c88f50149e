"""The training photos that a photo resembles most, found by their features.

Two pictures are compared as two arrays are: with their inner product. Of pixels it says whether the
same colours are at the same places; of features, whether the same things are seen. The features are
whitened first, so that what varies among photos of the same flower (light, distance, background)
counts little, and scaled to unit length: the inner product is then the cosine, 1 for the same
photo. docs/how_it_works.md shows what each step gains.

All photos are compared, so that what is found is exact: 31 ms among 100,000 photos and 256 ms among
a million, on one core, beside the some 20 ms that it takes to see a photo.
"""

from __future__ import annotations

import html
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_flowers.errors import UserError, reason_of
from keras_flowers.files import atomic_replace
from keras_flowers.inference.image import as_data, read_photo

INDEX_FILE: Final = "similar.npz"
"""The index in the folder of a run, beside its models."""

DIGITS: Final = 16
"""How many digits of a hash are kept: enough to tell a million photos apart."""

_PICTURE_SIDE = 128  # pixels, in a notebook
_ROWS = 16_384  # compared at a time, in float32
_TOLERANCE = 0.01  # of the head's weights, which float16 rounds


class SimilarPhoto(NamedTuple):
    """A training photo.

    Attributes:
        similarity: The cosine, -1..1; 1 for the same photo.
        name: Of its class.
        place: What the data set calls it: the name of the file, or its path.
        digest: The first 16 digits of the hash of its bytes, by which it is found again wherever it
            lies.
    """

    similarity: float
    name: str
    place: str
    digest: str


@dataclass(frozen=True)
class SimilarPhotos(Sequence[SimilarPhoto]):
    """The training photos most like a photo, that with the greatest similarity first.

    `print` shows them as a table, and so does a notebook, with the photos themselves where
    `training.similarity.with_pictures` has fetched them.

    Attributes:
        photos: What they are.
        pictures: The bytes of each one's file, none where it is not at hand; empty where they were
            not fetched.
    """

    photos: tuple[SimilarPhoto, ...]
    pictures: tuple[bytes, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, number: Any) -> Any:
        return self.photos[number]

    def __iter__(self) -> Iterator[SimilarPhoto]:
        return iter(self.photos)

    def __str__(self) -> str:
        width = max((len(one.name) for one in self), default=0)
        return "\n".join(f"{one.similarity:5.2f}  {one.name:<{width}}  {one.place}" for one in self)

    def _repr_html_(self) -> str:
        shown = [_small_picture(one) for one in self.pictures] or [""] * len(self)
        rows = "".join(
            f"<tr>{picture}<td>{one.similarity:.2f}</td><td>{html.escape(one.name)}</td>"
            f"<td>{html.escape(one.place)}</td></tr>"
            for one, picture in zip(self, shown, strict=True)
        )
        return f"<table>{rows}</table>"


@dataclass(frozen=True, eq=False, repr=False)
class SimilarIndex:
    """The training photos of a model, ready to be compared with.

    Attributes:
        dataset: Name and version of the data set.
        split: The split expression.
        labels: The name of each class.
        places: What the data set calls each of N photos.
        digests: S16 [N], as `SimilarPhoto.digest`.
        classes: int [N].
        centre: float32 [D], the average photo: what features are compared with.
        projection: float16 [D, R], to whitened features, of which it keeps the R directions in
            which the training photos differ most.
        rows: float16 [N, R], the photos in these, each of length 1.
        head: float32 [C], the lengths of the columns of the model's last kernel, by which the index
            knows its model.
    """

    dataset: str
    split: str
    labels: tuple[str, ...]
    places: tuple[str, ...]
    digests: npt.NDArray[np.bytes_]
    classes: npt.NDArray[np.int32]
    centre: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float16]
    rows: npt.NDArray[np.float16]
    head: npt.NDArray[np.float32]

    def nearest(
        self, features: npt.NDArray[Any], count: int, labels: Sequence[str] | None = None
    ) -> SimilarPhotos:
        """The photos whose features have the largest cosine with these.

        Args:
            features: float [D], as the head of the model sees a photo.
            count: How many.
            labels: Other names for the classes.
        """
        photo = self.project(features[None])[0]
        # In pieces: a million photos in float32 would take half a gigabyte.
        similarities = np.concatenate(
            [
                self.rows[start : start + _ROWS].astype(np.float32) @ photo
                for start in range(0, len(self.rows), _ROWS)
            ]
        )
        count = min(count, len(similarities))
        best = np.argpartition(-similarities, count - 1)[:count]
        best = best[np.lexsort((best, -similarities[best]))]
        names = self.labels if labels is None else labels
        return SimilarPhotos(
            tuple(
                SimilarPhoto(
                    float(similarities[row]),
                    names[int(self.classes[row])],
                    self.places[row],
                    self.digests[row].decode("ascii"),
                )
                for row in best.tolist()
            )
        )

    def project(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Features [N, D] as they are compared: float32 [N, R], each row of length 1."""
        whitened = (features.astype(np.float32) - self.centre) @ self.projection.astype(np.float32)
        lengths = np.linalg.norm(whitened, axis=1, keepdims=True)
        return np.asarray(whitened / np.maximum(lengths, 1e-12), np.float32)

    def check_model(self, kernel: npt.NDArray[Any], source: Path) -> None:
        """Refuses to compare the features of another model.

        Args:
            kernel: float [D, C], the last kernel of the model.
            source: Where the index was read from.

        Raises:
            UserError: The index was not made with this model.
        """
        lengths = np.linalg.norm(kernel.astype(np.float32), axis=0)
        fits = len(kernel) == len(self.centre) and len(lengths) == len(self.head)
        if not fits or not np.allclose(lengths, self.head, rtol=_TOLERANCE):
            raise UserError(
                f"{source} was made with another model; make it anew: keras-flowers similar "
                f"--build {source.parent}"
            )

    def save(self, path: Path) -> None:
        """Writes the index, whole or not at all; the same index gives the same bytes."""
        arrays = {
            "about": _as_bytes([self.dataset, self.split]),
            "labels": _as_bytes(self.labels),
            "places": _as_bytes(self.places),
            **{name: getattr(self, name) for name in _ARRAYS},
        }
        with atomic_replace(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, array in arrays.items():
                # NumPy's own `savez` writes the time of day into the archive.
                entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                file = io.BytesIO()
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(entry, file.getvalue())

    @classmethod
    def load(cls, path: Path) -> SimilarIndex:
        """Reads what `save` wrote.

        Raises:
            UserError: There is none at `path`, or it is damaged.
        """
        if not path.is_file():
            raise UserError(
                f"there is no index of training photos at {path}; make it: keras-flowers similar "
                f"--build {path.parent}"
            )
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls._of(archive)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path} is damaged ({reason_of(error)}); make it anew: keras-flowers similar "
                f"--build {path.parent}"
            ) from None

    @classmethod
    def _of(cls, archive: Mapping[str, npt.NDArray[Any]]) -> SimilarIndex:
        dataset, split = _as_texts(archive["about"])
        labels, places = _as_texts(archive["labels"]), _as_texts(archive["places"])
        arrays = {name: archive[name].astype(dtype, copy=False) for name, dtype in _ARRAYS.items()}
        rows, projection, classes = arrays["rows"], arrays["projection"], arrays["classes"]
        shapes = (rows.ndim, projection.ndim, rows.shape[1:], arrays["centre"].shape)
        if (
            shapes != (2, 2, projection.shape[1:], projection.shape[:1])
            or not len(rows) == len(places) == len(classes) == len(arrays["digests"])
            or len(rows) == 0
            or not (classes.min() >= 0 and classes.max() < len(labels))
        ):
            raise ValueError("its parts do not fit together")
        return cls(dataset, split, labels, places, **arrays)


def _small_picture(photo: bytes) -> str:
    """A cell of a table with a photo, or without."""
    if not photo:
        return "<td></td>"
    picture = read_photo(photo, (_PICTURE_SIDE, _PICTURE_SIDE))
    picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS)
    return f'<td><img src="{as_data(picture, quality=80)}" alt=""></td>'


_ARRAYS: Final[dict[str, Any]] = {
    "digests": f"S{DIGITS}",
    "classes": np.int32,
    "centre": np.float32,
    "projection": np.float16,
    "rows": np.float16,
    "head": np.float32,
}


def _as_bytes(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Texts as UTF-8: NumPy's own take four bytes a letter, of the longest."""
    return np.frombuffer("\0".join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def _as_texts(data: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(data.tobytes().decode("utf-8", "surrogateescape").split("\0"))
