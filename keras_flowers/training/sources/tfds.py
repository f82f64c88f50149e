"""Data sets that TensorFlow Datasets reads, prepared already or downloaded when first asked for."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.formats import PHOTO_SUFFIXES
from keras_flowers.training.sources.source import Read

_logger = logging.getLogger(__name__)

_SECONDS = 8.0
"""After which a server that does not answer counts as out of reach."""


@dataclass(frozen=True)
class TfdsSource:
    """A data set with the features `image` and a class `label`.

    Attributes:
        builder: TFDS's builder, with the data set on disk.
    """

    builder: Any

    @property
    def name(self) -> str:
        """Name, configuration and version, as TFDS writes them."""
        return str(self.builder.info.full_name)

    @property
    def location(self) -> str:
        """The folder of its files."""
        return str(self.builder.data_path)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.builder.info.features["label"].names)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many photos each split has."""
        return {name: split.num_examples for name, split in self.builder.info.splits.items()}

    def photos(self, expression: str) -> TfdsPhotos:
        """As `Source.photos`.

        Raises:
            UserError: There is no such split.
        """
        try:
            count = self.builder.info.splits[expression].num_examples
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{self.builder.info.name} has no split {expression!r} "
                f"({' '.join(str(error).split())[:120]}); it has {', '.join(self.counts)}"
            ) from None
        if count == 0:
            raise UserError(f"the split {expression!r} of {self.builder.info.name} holds no photos")
        return TfdsPhotos(self.builder, expression)


@dataclass(frozen=True)
class TfdsPhotos:
    """The photos of a TFDS split expression, in stored order.

    Attributes:
        builder: As `TfdsSource`.
        expression: The split expression.
    """

    builder: Any
    expression: str

    @property
    def places(self) -> list[str]:
        """File and number in it of each photo."""
        instructions = self.builder.info.splits[self.expression].file_instructions
        return [
            f"{part.filename} record {number}"
            for part in instructions
            for number in range(part.skip, part.skip + part.take)
        ]

    @property
    def stamps(self) -> list[str]:
        """Files and their times, with the place in them."""
        files = _files(Path(self.builder.data_path))
        return [f"{files} {place}" for place in self.places]

    @property
    def groups(self) -> None:
        """Not known."""
        return None

    @property
    def origins(self) -> None:
        """Not known."""
        return None

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[str, Read]]:
        """As `StoredPhotos.contents`."""
        if not wanted:
            return
        names = self.builder.info.features["label"].names
        for example in self._chosen(wanted).as_numpy_iterator():
            yield names[example["label"]], lambda data=example["image"]: bytes(data)  # type: ignore[misc]

    def records(self, wanted: Sequence[int]) -> tf.data.Dataset:
        """As `StoredPhotos.records`."""
        return self._chosen(wanted).map(lambda example: example["image"])

    def _chosen(self, wanted: Sequence[int]) -> tf.data.Dataset:
        # JPEG bytes, not pixels: data.py decodes them itself, no larger than needed.
        encoded = {"image": tfds.decode.SkipDecoding()}
        # Reading one file after the other keeps the order, which the number of a photo relies on.
        # TFDS would hold data sets of up to 250 MB in memory, though decoding takes longer.
        options = tfds.ReadConfig(
            interleave_cycle_length=1, skip_prefetch=True, try_autocache=False
        )
        examples = self.builder.as_dataset(
            split=self.expression, decoders=encoded, read_config=options
        )
        count = self.builder.info.splits[self.expression].num_examples
        if len(wanted) == count:
            return examples
        is_wanted = np.zeros(count, bool)
        is_wanted[list(wanted)] = True
        flags = tf.data.Dataset.from_tensor_slices(is_wanted)
        pairs = tf.data.Dataset.zip(flags, examples).filter(lambda flag, _: flag)
        return pairs.map(lambda _, example: example)


def open_tfds(dataset: str, data_dir: str | None = None) -> TfdsSource:
    """Opens a data set; downloads and prepares it first where it is not there yet.

    Args:
        dataset: What TFDS calls it, or the folder of a prepared version.
        data_dir: Where TFDS keeps data sets; None: `$TFDS_DATA_DIR`, `~/tensorflow_datasets`.

    Raises:
        UserError: There is none, it cannot be downloaded, is damaged, or is none of photos.
    """
    try:
        if is_prepared(Path(dataset)):
            builder = tfds.builder_from_directory(dataset)
        else:
            builder = tfds.builder(dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UserError(
            f"TensorFlow Datasets has no data set {dataset!r}, nor is there a folder or table of "
            "that name; see tfds.list_builders(), or name your photos with --data FOLDER"
        ) from None
    except Exception as error:
        raise UserError(f"the data set {dataset} cannot be opened ({reason_of(error)})") from None
    if not Path(builder.data_path).is_dir():
        _download(builder, dataset)
    features = builder.info.features
    has_both = "image" in features and "label" in features
    if not has_both or not hasattr(features["label"], "names"):
        raise UserError(
            f"{dataset} has the features {sorted(features)}; expected `image` and a class `label`"
        )
    return TfdsSource(builder)


def is_prepared(folder: Path) -> bool:
    """Whether `folder` is the folder of a data set's version, as TFDS writes it."""
    return (folder / "dataset_info.json").is_file() and (folder / "features.json").is_file()


def _download(builder: Any, dataset: str) -> None:
    """Downloads and prepares a data set, or leaves everything as it was."""
    data_dir = Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]
    hosts, size = _downloads(builder)
    said = f"{size / 1e6:,.0f} MB from {', '.join(hosts)}" if hosts else "size unknown"
    _logger.info(f"{builder.info.full_name} is not in {data_dir} yet: downloading it ({said})")
    there_before = {path for path in (data_dir, *_children(data_dir)) if path.exists()}
    of_name = data_dir / builder.info.name
    there_before |= set(_children(of_name)) | set(_children(data_dir / "downloads"))
    try:
        for host in hosts:
            _reach(host)
        builder.download_and_prepare()
    except BaseException as error:
        _remove_new(data_dir, of_name, there_before)
        if not isinstance(error, Exception):
            raise
        raise UserError(
            f"{dataset} is not at {builder.data_path} and cannot be downloaded "
            f"({reason_of(error)}); name the folder that holds it with --data_dir, learn from "
            f"your own photos with --data {_own_photos(data_dir) or 'FOLDER'}, or try everything "
            "without a download: keras-flowers train --demo"
        ) from None


def _downloads(builder: Any) -> tuple[list[str], int]:
    """The servers that TFDS takes a data set from, and how many bytes."""
    try:
        urls = builder.url_infos or {}
    except Exception:
        return [], 0
    hosts = dict.fromkeys(urlsplit(url).hostname or "" for url in urls)
    return [host for host in hosts if host], sum(info.size for info in urls.values())


def _reach(host: str) -> None:
    """Finds out whether a server answers, sooner than TFDS, which tries again for minutes.

    Raises:
        OSError: It does not.
    """
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "http_proxy")):
        return  # the proxy knows
    failures: list[OSError] = []

    def connect() -> None:
        try:
            try:
                socket.create_connection((host, 443), _SECONDS / 2).close()
            except OSError:
                socket.create_connection((host, 80), _SECONDS / 2).close()
        except OSError as error:
            failures.append(error)

    # In a thread, since looking up a name cannot be given a time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive() or failures:
        reason = reason_of(failures[0]) if failures else f"no answer in {_SECONDS:.0f} s"
        raise OSError(f"{host} cannot be reached: {reason}")


def _remove_new(data_dir: Path, of_name: Path, there_before: set[Path]) -> None:
    """Removes what a failed download made; what was there stays."""
    for parent in (of_name, data_dir / "downloads", data_dir):
        for path in _children(parent):
            if path not in there_before and path.parent in (of_name, data_dir / "downloads"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for made in (of_name, data_dir / "downloads", data_dir):
        if made not in there_before and made.is_dir() and not _children(made):
            made.rmdir()


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _own_photos(folder: Path) -> Path | None:
    """`folder`, where it holds folders of photos: somebody meant --data."""
    for one in _children(folder):
        if one.is_dir() and any(p.suffix.lower() in PHOTO_SUFFIXES for p in _children(one)):
            return folder
    return None


def _files(folder: Path) -> str:
    return repr(
        sorted(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.iterdir()
            if path.is_file()
        )
    )
