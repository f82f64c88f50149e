"""Runs the frozen part of the network once for each photo and view, on the fastest engine here.

Training the head passes over the features many times; the base, which costs a thousand times
more, sees each photo and view once. What it gave is cached under a key of everything it depends
on, so that the next run, or the same run after an interruption, begins where this one was.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.inference.scale.ray_workers import Crew
from keras_flowers.inference.scale.work import do_all
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training import tflite
from keras_flowers.training.batches import CachedFeatures, PredictFn
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.devices import gpus, run_on_all
from keras_flowers.training.feature_cache import FeatureCache, Key, photos_of_a_piece, pieces
from keras_flowers.training.feature_pass import photos_at_a_time, run_views
from keras_flowers.training.feature_worker import FeatureTask
from keras_flowers.training.views import View

_logger = logging.getLogger(__name__)

_VIEWS_AT_A_TIME = 4
"""For so many views a photo is decoded once."""

_CACHE_VERSION = 5
"""Raise it when decoding, the views or the engines change the features."""


class FeatureExtractor:
    """The frozen part of the network, whose features are cached on disk.

    Args:
        trunk: pixels [N, H, W, 3] 0..255 -> features [N, ...]; its weights change no more.
        seed: Of the random views.
        folder: Where the features are cached.
        run: What the run is called that they are for, which the list of the cache shows.
        crew: Gives the workers that run it, on other cores or machines; None: this process does.
    """

    def __init__(
        self,
        trunk: keras.Model,
        *,
        seed: int,
        folder: Path,
        run: str = "",
        crew: Callable[[], Crew] | None = None,
    ) -> None:
        self._trunk = trunk
        self._size = (trunk.input_shape[1], trunk.input_shape[2])
        self._digest = digest_of(trunk)
        self._seed = seed
        self._run_name = run
        self._cache = FeatureCache(folder)
        self._crew = crew
        self._shared: Callable[[], bytes] | None = None

    @functools.cached_property
    def _engine(self) -> tuple[PredictFn, str]:
        """Made when first needed: it takes seconds."""
        return engine_for(self._trunk)

    def features(
        self, photos: LabelledPhotos, views: Sequence[int], *, mixup: bool = False
    ) -> CachedFeatures:
        """Runs the frozen part over views of `photos`, but for what is cached of earlier passes.

        Args:
            photos: The photos.
            views: Which views, as `data.pixels_of_views` numbers them.
            mixup: As `data.pixels_of_views` takes it.

        Raises:
            UserError: A feature is not a finite number.
        """
        names = _names(photos)
        order = stored_order(photos)
        in_order = [names[number] for number in order]
        keys = {view: self._key(photos, view, mixup) for view in views}
        cached = {view: self._cache.read(key, names) for view, key in keys.items()}
        incomplete = [view for view in views if cached[view].rows is None]
        if incomplete:
            missing = {view: cached[view].missing for view in incomplete}
            self._run(photos, keys, missing, names, mixup)
        else:
            _logger.info(f"{photos.split}: {len(views)} x {photos.count} cached features are used")
        read = [self._cache.read(keys[view], in_order).rows for view in views]
        # Not the labels that were cached: a photo may have moved to another class since.
        labels = photos.label_numbers[order]
        weights = None if photos.weights is None else photos.weights[order]
        return CachedFeatures([rows for rows in read if rows is not None], labels, weights=weights)

    def features_of(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The features of pictures that are no photos of a data set; nothing is cached.

        Args:
            pixels: uint8 [N, H, W, 3], 0..255, of the trunk's size.

        Returns:
            float32 [N, ...].
        """
        at_a_time = photos_at_a_time(self._size, 1)
        run = self._engine[0]
        parts = [
            np.asarray(run(pixels[start : start + at_a_time]), np.float32)
            for start in range(0, len(pixels), at_a_time)
        ]
        return np.concatenate(parts)

    def forget(self) -> None:
        """Deletes what is cached of this network: for one that no other training will have."""
        for entry in self._cache.entries():
            if entry.network == self._digest:
                entry.delete()

    def _key(self, photos: LabelledPhotos, view: int, mixup: bool) -> Key:
        return {
            "rule": _CACHE_VERSION,
            "trunk": self._digest,
            # Which photo is laid over another depends on all of them.
            "files": photos.fingerprint if mixup else None,
            "image_size": list(self._size),
            "view": view,
            "blend": mixup,
            "seed": self._seed if mixup or View.is_random(view) else None,
        }

    def _run(
        self,
        photos: LabelledPhotos,
        keys: dict[int, Key],
        missing: dict[int, npt.NDArray[np.bool_]],
        names: Sequence[str],
        mixup: bool,
    ) -> None:
        """Runs the frozen part over some views, and caches the features in pieces."""
        if self._cache.holds_earlier_version(self._digest):
            _logger.info(
                "cached features of an earlier version are not used, since photos are told apart "
                "by their content now: keras-flowers cache --clear deletes them"
            )
        # With mixup, each view has photos of its own laid over it: nothing to decode once for all,
        # and which these are depends on all photos of the pass.
        at_a_time = 1 if mixup else _VIEWS_AT_A_TIME
        order = list(missing)
        passes = []
        for start in range(0, len(order), at_a_time):
            views = order[start : start + at_a_time]
            wanted = np.any([missing[view] for view in views], axis=0)
            passes.append((views, np.full_like(wanted, True) if mixup else wanted))
        size = photos_of_a_piece(2 * int(np.prod(self._trunk.output_shape[1:])))
        total = sum(len(views) * int(wanted.sum()) for views, wanted in passes)
        about = {"dataset": photos.dataset, "split": photos.split, "run": self._run_name}
        with self._bar(photos, total) as bar:
            for views, wanted in passes:
                groups = list(pieces(wanted, size))
                # What is laid over a photo may be any other: no work for who has some of them.
                if self._crew is not None and not mixup:
                    computed = self._by_workers(self._crew(), photos, views, groups, bar)
                else:
                    batches = self._passed(photos.only(wanted), views, mixup, bar)
                    parts = _regrouped(batches, [len(group) for group in groups])
                    computed = zip(groups, (rows for rows, _ in parts), strict=True)
                for group, rows in computed:
                    of_piece = [names[number] for number in group]
                    labels = photos.label_numbers[group]
                    for place, view in enumerate(views):
                        self._cache.write(keys[view], of_piece, rows[:, place], labels, about)

    def _bar(self, photos: LabelledPhotos, total: int) -> Any:
        return progress_bar(total=total, unit="view", description=f"{photos.split}: features")

    def _passed(
        self, photos: LabelledPhotos, views: Sequence[int], mixup: bool, bar: Any
    ) -> Iterator[tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]]:
        """Features float16 [B, V, ...] and labels int64 [B] of V views, in stored order."""

        def engine() -> PredictFn:
            run, name = self._engine
            bar.set_description(f"{photos.split}: features through {name}", refresh=False)
            return run

        for features, labels in run_views(
            photos, views, self._size, engine, seed=self._seed, mixup=mixup
        ):
            yield features, labels
            bar.update(len(labels) * len(views))

    def _by_workers(
        self,
        crew: Crew,
        photos: LabelledPhotos,
        views: Sequence[int],
        groups: Sequence[npt.NDArray[np.intp]],
        bar: Any,
    ) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.float16]]]:
        """Groups of photos with their features float16 [B, V, ...], as workers are done."""
        if self._shared is None:
            self._shared = crew.share(tflite.convert(self._trunk))
        network = self._shared
        tasks = (
            FeatureTask(
                number,
                network,
                self._digest,
                tuple(part.alone() for part in photos.parts_of(group)),
                tuple(views),
                self._seed,
            )
            for number, group in enumerate(groups)
        )
        bar.set_description(f"{photos.split}: features through {crew.workers} workers of Ray")
        for task, rows in do_all(tasks, crew.new_worker, crew.workers):
            group = groups[task.number]
            if len(rows) != len(group):
                raise _other_count(len(rows), len(group))
            yield group, rows
            bar.update(len(group) * len(views))


def engine_for(trunk: keras.Model) -> tuple[PredictFn, str]:
    """How the frozen part is run here, and its name: the one place where that is chosen."""
    devices = gpus()
    if len(devices) > 1:
        return run_on_all(trunk, devices), f"Keras on {len(devices)} GPUs"
    if devices:
        return trunk.predict_on_batch, "Keras on a GPU"
    # LiteRT's XNNPACK kernels take about a third of the time of TensorFlow's on a CPU.
    workers = available_cores()
    model = LiteRTModel(tflite.convert(trunk), workers=workers)
    return lambda pixels: model(pixels)[0], f"LiteRT on {workers} cores"


def digest_of(network: keras.Model) -> str:
    """What tells a network and its weights from all others, in hexadecimal."""
    digest = hashlib.sha256(network.to_json().encode())
    for weight in network.weights:
        digest.update(np.asarray(weight).tobytes())
    return digest.hexdigest()


def stored_order(photos: LabelledPhotos) -> npt.NDArray[np.intp]:
    """The order in which `FeatureExtractor.features` gives photos: int [N], their numbers.

    The content decides it: the same photos give the same training, from whatever source and in
    whatever order they come.
    """
    return np.argsort(_names(photos), kind="stable")


def _names(photos: LabelledPhotos) -> list[str]:
    """What tells the photos of a split apart in the cache: their content.

    Of a photo that is there more than once, the second is another one.
    """
    seen: dict[bytes, int] = {}
    names = []
    for digest in photos.digests.tolist():
        seen[digest] = seen.get(digest, 0) + 1
        names.append(digest.decode() + (f" {seen[digest]}" if seen[digest] > 1 else ""))
    return names


def _regrouped(
    batches: Iterator[tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]], sizes: Sequence[int]
) -> Iterator[tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]]:
    """The same rows and labels in batches of the given sizes.

    Raises:
        UserError: There are more or fewer of them.
    """
    rows: list[npt.NDArray[np.float16]] = []
    labels: list[npt.NDArray[np.int64]] = []
    done = held = 0
    for size in sizes:
        while held < size and (batch := next(batches, None)) is not None:
            rows.append(batch[0])
            labels.append(batch[1])
            held += len(batch[1])
        if held < size:
            break
        all_rows, all_labels = np.concatenate(rows), np.concatenate(labels)
        yield np.ascontiguousarray(all_rows[:size]), all_labels[:size]
        rows, labels = [all_rows[size:]], [all_labels[size:]]
        done, held = done + size, held - size
    done += held + sum(len(rest) for _, rest in batches)
    if done != sum(sizes):
        raise _other_count(done, sum(sizes))


def _other_count(found: int, promised: int) -> UserError:
    return UserError(f"the data set has {found} photos but promised {promised}; prepare it again")
