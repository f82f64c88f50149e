"""Runs the frozen part of the network once a photo and view, and keeps what it gives.

Training the head passes over the features many times; the base, which costs a thousand times
more, sees each photo and view once. What it gave is kept on disk under a key of everything it
depends on, so that the next run, or the same run after an interruption, begins where this one was.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace, write_json
from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.system import available_cores
from keras_flowers.training import data, tflite
from keras_flowers.training.data import LabelledPhotos, View

PredictFn: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
Batch: TypeAlias = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""What goes in, and what is right: int64 [B] classes or float32 [B, classes] probabilities."""

_VIEWS_AT_A_TIME = 4  # for which a photo is decoded once; an interruption loses no more than these
_CACHE_VERSION = 4  # Raise it when decoding, the views or the engines change what is kept.


class NpyRows:
    """An array [N, ...] in a `.npy` file, of which only the rows in use are in memory.

    Args:
        path: The file.

    Raises:
        OSError, ValueError: There is none, or it is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shape: tuple[int, ...] = self._map().shape

    def _map(self) -> npt.NDArray[Any]:
        mapped: npt.NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return mapped

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        # Mapped anew: what was read through a map counts as memory in use for as long as it lasts.
        return np.array(self._map()[rows])


@dataclass(frozen=True)
class CachedFeatures:
    """What the frozen part gave for a split.

    Attributes:
        views: One array [N, ...] a view, float16, in memory or on disk.
        labels: int64 [N].
        targets: One array [N, classes] a view, what to answer; None: the labels.
    """

    views: Sequence[npt.NDArray[np.float16] | NpyRows]
    labels: npt.NDArray[np.int64]
    targets: Sequence[npt.NDArray[np.floating[Any]]] | None = None

    def batches(self, batch_size: int, seed: int, epochs: range) -> Iterator[Batch]:
        """Every view of every photo once an epoch, in an order that seed and epoch determine.

        An epoch's order does not depend on the epochs before, so a resumed training sees what an
        uninterrupted one would have seen.
        """
        photos = len(self.labels)
        for epoch in epochs:
            order = np.random.default_rng((seed, epoch)).permutation(len(self.views) * photos)
            for start in range(0, len(order), batch_size):
                view, photo = np.divmod(order[start : start + batch_size], photos)
                rows = _gather(self.views, view, photo)
                if self.targets is None:
                    yield rows, self.labels[photo]
                else:
                    yield rows, _gather(self.targets, view, photo)

    def whole(self, batch_size: int) -> Iterator[Batch]:
        """The first kept view of every photo once, in stored order."""
        for start in range(0, len(self.labels), batch_size):
            rows = slice(start, start + batch_size)
            yield np.asarray(self.views[0][rows], np.float32), self.labels[rows]

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return -(-len(self.views) * len(self.labels) // batch_size)

    def checksum(self) -> int:
        """A number that other features or labels do not have."""
        arrays = [*self.views, *(self.targets or ())]
        return zlib.crc32(repr([self.labels.tolist(), *map(_checksum, arrays)]).encode())


@dataclass(frozen=True)
class StreamedPhotos:
    """The photos themselves in place of kept features: for training all of the base.

    Attributes:
        photos: The photos.
        size: Height and width of the model's input.
        seed: Of the random views.
        teacher: pixels [B, H, W, 3] -> what to answer [B, classes]; None: the labels.
        teacher_key: What tells the teacher from others.
    """

    photos: LabelledPhotos
    size: tuple[int, int]
    seed: int
    teacher: PredictFn | None = None
    teacher_key: str = ""

    def checksum(self) -> int:
        """A number that other photos, views or answers do not have."""
        facts = (self.photos.dataset, self.photos.split, self.photos.fingerprint, self.seed)
        return zlib.crc32(repr((*facts, self.teacher_key)).encode())

    def batches(self, batch_size: int, seed: int, epochs: range) -> Iterator[Batch]:
        """A random view of every photo once an epoch; see `CachedFeatures.batches`."""
        for epoch in epochs:
            view = View.random(epoch)
            batches = data.pixels(
                self.photos,
                self.size,
                view=view,
                seed=self.seed,
                batch_size=batch_size,
                mixup=self.teacher is not None,
                order=seed * 1000 + epoch,
            )
            for pixels, labels in batches.as_numpy_iterator():
                yield pixels, labels if self.teacher is None else self.teacher(pixels)

    def whole(self, batch_size: int) -> Iterator[Batch]:
        """Every photo once, as it is seen at prediction, in stored order."""
        batches: Iterator[Batch] = data.pixels(
            self.photos, self.size, batch_size=batch_size
        ).as_numpy_iterator()
        return batches

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return -(-self.photos.count // batch_size)


def _gather(
    arrays: Sequence[npt.NDArray[Any] | NpyRows],
    view: npt.NDArray[np.integer[Any]],
    photo: npt.NDArray[Any],
) -> npt.NDArray[np.float32]:
    """The rows `arrays[view[i]][photo[i]]`."""
    rows = np.empty((len(photo), *arrays[0].shape[1:]), np.float32)
    for number, array in enumerate(arrays):
        here = view == number
        rows[here] = array[photo[here]]
    return rows


class FeatureExtractor:
    """The frozen part of the network, whose features are kept on disk.

    Args:
        trunk: pixels [N, H, W, 3] 0..255 -> features [N, ...]; its weights change no more.
        seed: Of the random views.
        folder: Where the features are kept.
    """

    def __init__(self, trunk: keras.Model, *, seed: int, folder: Path) -> None:
        self._trunk = trunk
        self._size = (trunk.input_shape[1], trunk.input_shape[2])
        self._digest = digest_of(trunk)
        self._seed = seed
        self._folder = folder

    @functools.cached_property
    def _engine(self) -> tuple[PredictFn, str]:
        """Made when first needed: it takes seconds."""
        return engine_for(self._trunk)

    def features(
        self, photos: LabelledPhotos, views: Sequence[int], *, mixup: bool = False
    ) -> CachedFeatures:
        """Runs the frozen part over views of `photos`, or reads what was kept of an earlier pass.

        Args:
            photos: The photos.
            views: Which views, as `data.pixels_of_views` numbers them.
            mixup: As `data.pixels_of_views` takes it.

        Raises:
            UserError: A feature is not a finite number.
        """
        keys = {
            view: {
                "rule": _CACHE_VERSION,
                "trunk": self._digest,
                "dataset": photos.dataset,
                "split": photos.split,
                "files": photos.fingerprint,
                "image_size": list(self._size),
                "view": view,
                "blend": mixup,
                "seed": self._seed if mixup or View.is_random(view) else None,
            }
            for view in views
        }
        kept = {view: _read(self._folder, key) for view, key in keys.items()}
        missing = {view: key for view, key in keys.items() if kept[view] is None}
        if missing:
            self._run(photos, missing, mixup)
            kept |= {view: _read(self._folder, key) for view, key in missing.items()}
        else:
            print(
                f"{photos.split}: {len(views)} x {photos.count} features kept from an earlier run"
            )
        found = [one for one in kept.values() if one is not None]
        return CachedFeatures([features for features, _ in found], found[0][1])

    def _run(self, photos: LabelledPhotos, keys: dict[int, dict[str, Any]], mixup: bool) -> None:
        """Runs the frozen part over some views, and keeps the features of each under its key."""
        # Blended, each view has photos of its own laid over it: nothing to decode once for all.
        at_a_time = 1 if mixup else _VIEWS_AT_A_TIME
        with tqdm(
            total=len(keys) * photos.count,
            desc=f"{photos.split}: features",
            unit="view",
            mininterval=0.1 if sys.stderr.isatty() else 10,
        ) as bar:
            for start in range(0, len(keys), at_a_time):
                views = list(keys)[start : start + at_a_time]
                batches = data.pixels_of_views(
                    photos,
                    self._size,
                    views,
                    seed=self._seed,
                    batch_size=photos_at_a_time(self._size, len(views)),
                    mixup=mixup,
                ).as_numpy_iterator()  # decodes while the engine is being made
                run, engine = self._engine
                bar.set_description(f"{photos.split}: features through {engine}", refresh=False)
                paths = {_path(self._folder, keys[view]): keys[view] for view in views}
                _run_and_keep(run, batches, photos.count, paths, bar)


def photos_at_a_time(size: tuple[int, int], views: int) -> int:
    """How many photos are run together, each in some views: 20 MiB of pixels.

    With fewer the cores wait for each other more often; more would not be faster.

    >>> photos_at_a_time((224, 224), 4)
    34
    """
    height, width = size
    return max((20 << 20) // (height * width * 3 * views), 1)


def engine_for(trunk: keras.Model) -> tuple[PredictFn, str]:
    """How the frozen part is run here, and its name: the one place where that is chosen."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return trunk.predict_on_batch, f"Keras on {len(gpus)} GPU"
    # LiteRT's XNNPACK kernels take about a third of the time of TensorFlow's on a CPU.
    workers = available_cores()
    model = LiteRTModel(tflite.convert(trunk), workers=workers)
    return lambda pixels: model(pixels)[0], f"LiteRT on {workers} cores"


def _run_and_keep(
    run: PredictFn,
    batches: Iterator[Batch],
    count: int,
    keys: dict[Path, dict[str, Any]],
    bar: tqdm[Any],
) -> None:
    """Writes what `run` gives for pixels [B, V, H, W, 3] to the V paths of the views' `keys`."""
    labels, done = np.empty(count, np.int64), 0
    checksums = [0] * len(keys)
    with ExitStack() as stack:
        # Not through a memory map: a full disk would end the process with a bus error.
        files = [
            stack.enter_context(open(stack.enter_context(atomic_replace(path)), "wb"))
            for path in keys
        ]
        for batch, batch_labels in batches:
            pictures = batch.reshape(-1, *batch.shape[2:])
            features = np.asarray(run(pictures)).astype(np.float16)
            if not np.isfinite(features).all():
                raise UserError(
                    "the base gives features that are no finite numbers; expected pixels 0..255 in "
                    "and moderate values out: check --base"
                )
            of_views = features.reshape(*batch.shape[:2], *features.shape[1:]).swapaxes(0, 1)
            for number, (file, rows) in enumerate(zip(files, of_views, strict=True)):
                if not done:
                    np.lib.format.write_array_header_1_0(
                        file,
                        {
                            "descr": np.lib.format.dtype_to_descr(rows.dtype),
                            "fortran_order": False,
                            "shape": (count, *rows.shape[1:]),
                        },
                    )
                content = rows.tobytes()
                file.write(content)
                checksums[number] = zlib.crc32(content, checksums[number])
            labels[done : done + len(batch)] = batch_labels
            done += len(batch)
            bar.update(len(pictures))
        if done != count:
            raise UserError(
                f"the data set has {done} photos but promised {count}; prepare it again"
            )
    # Written last: features without it are not believed.
    for (path, key), checksum in zip(keys.items(), checksums, strict=True):
        sidecar = {"key": key, "checksum": checksum, "labels": labels.tolist()}
        write_json(path.with_suffix(".json"), sidecar)


def _read(folder: Path, key: dict[str, Any]) -> tuple[NpyRows, npt.NDArray[np.int64]] | None:
    """The features kept under `key`; None, with a word why, where they are not whole."""
    path = _path(folder, key)
    if not path.with_suffix(".json").is_file():
        return None
    try:
        sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        features = NpyRows(path)
        labels = np.array(sidecar["labels"], np.int64)
        whole = (
            sidecar["key"] == key
            and len(features) == len(labels)
            and _checksum(features) == sidecar["checksum"]
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        print(f"kept features {path} are damaged: they are made again", file=sys.stderr)
        return None
    return features, labels


def _path(folder: Path, key: dict[str, Any]) -> Path:
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]}.npy"


def _checksum(features: npt.NDArray[Any] | NpyRows) -> int:
    checksum = 0
    for start in range(0, len(features), 256):  # in pieces: the array may be larger than memory
        checksum = zlib.crc32(features[start : start + 256].tobytes(), checksum)
    return checksum


def digest_of(trunk: keras.Model) -> str:
    """What tells a network and its weights from all others, in hexadecimal."""
    digest = hashlib.sha256(trunk.to_json().encode())
    for weight in trunk.weights:
        digest.update(np.asarray(weight).tobytes())
    return digest.hexdigest()
