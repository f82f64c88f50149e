"""Data sets that TensorFlow Datasets reads, prepared already or downloaded when first asked for.

Importing this imports no TensorFlow, which takes seconds: a data set that cannot be had is refused
before.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds

from keras_flowers.errors import UserError, reason_of
from keras_flowers.training.sources.download import check_reachable, download
from keras_flowers.training.sources.source import Read, slices_of

if TYPE_CHECKING:
    import tensorflow as tf

_AT_A_TIME = 16  # photos whose bytes are read together


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
    def names(self) -> list[str]:
        """What the data set calls each photo; where it does not say, file and number in it."""
        if "file_name" not in self.builder.info.features:
            return [Path(place).name for place in self.places]
        count = self.builder.info.splits[self.expression].num_examples
        names = self._chosen(range(count)).map(lambda example: example["file_name"])
        return [name.decode() for name in names.as_numpy_iterator()]

    @property
    def stamps(self) -> list[str]:
        """Files and their times, with the place in them."""
        files = _files(Path(self.builder.data_path))
        return [f"{files} {place}" for place in self.places]

    @property
    def labels(self) -> None:
        """They stand in the records, beside the photos."""
        return None

    @property
    def groups(self) -> None:
        """Not known."""
        return None

    @property
    def origins(self) -> None:
        """Not known."""
        return None

    @property
    def subjects(self) -> None:
        """Not known."""
        return None

    def span(self, first: int, end: int) -> TfdsPhotos:
        """As `StoredPhotos.span`: TFDS passes over the others without reading them."""
        source = TfdsSource(self.builder)
        wanted, before = [], 0
        for split, start, stop in slices_of(self.expression, source.counts, source.name):
            low, high = max(first - before, 0), min(end - before, stop - start)
            if low < high:
                wanted.append(f"{split}[{start + low}:{start + high}]")
            before += stop - start
        return TfdsPhotos(self.builder, "+".join(wanted))

    def __reduce__(self) -> tuple[Any, ...]:
        # A builder's class may be of a program that is not where the photos are to be read.
        return _opened_again, (str(self.builder.data_path), self.expression)

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[str, Read]]:
        """As `StoredPhotos.contents`."""
        if not wanted:
            return
        names = self.builder.info.features["label"].names
        from keras_flowers.training.sources.labelled import without_autotune

        pairs = self._chosen(wanted).map(lambda example: (example["image"], example["label"]))
        # Some at a time, which halves the time; not more, since photos may be large.
        batches = pairs.batch(_AT_A_TIME).with_options(without_autotune())
        for files, labels in batches.as_numpy_iterator():
            for data, label in zip(files, labels.tolist(), strict=True):
                yield names[label], functools.partial(bytes, data)

    def records(self, wanted: Sequence[int]) -> tf.data.Dataset:
        """As `StoredPhotos.records`."""
        return self._chosen(wanted).map(lambda example: example["image"])

    def _chosen(self, wanted: Sequence[int]) -> tf.data.Dataset:
        import tensorflow as tf

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


def _opened_again(folder: str, expression: str) -> TfdsPhotos:
    return TfdsPhotos(tfds.builder_from_directory(folder), expression)


def open_tfds(dataset: str, data_dir: str | None = None) -> TfdsSource:
    """Opens a data set; downloads and prepares it first where it is not there yet.

    Args:
        dataset: What TFDS calls it, or the folder of a prepared version.
        data_dir: Where TFDS keeps data sets; None: `$TFDS_DATA_DIR`, `~/tensorflow_datasets`.

    Raises:
        UserError: There is none, it cannot be downloaded, is damaged, or is none of photos.
    """
    builder = _builder(dataset, data_dir)
    if not Path(builder.data_path).is_dir():
        download(builder, dataset)
    features = builder.info.features
    has_both = "image" in features and "label" in features
    if not has_both or not hasattr(features["label"], "names"):
        raise UserError(
            f"{dataset} has the features {sorted(features)}; expected `image` and a class `label`"
        )
    return TfdsSource(builder)


def check_available(dataset: str, data_dir: str | None = None) -> None:
    """Refuses a data set that `open_tfds` could not open, in seconds and without TensorFlow.

    Raises:
        UserError: There is no such data set, or it would have to be downloaded and no server of it
            can be reached.
    """
    builder = _builder(dataset, data_dir)
    if not Path(builder.data_path).is_dir():
        check_reachable(builder, dataset)


def is_at_hand(dataset: str, data_dir: str | None = None) -> bool:
    """Whether `open_tfds` would find a data set on this machine, without a download."""
    try:
        return Path(_builder(dataset, data_dir).data_path).is_dir()
    except UserError:
        return False


def is_prepared(folder: Path) -> bool:
    """Whether `folder` is the folder of a data set's version, as TFDS writes it."""
    return (folder / "dataset_info.json").is_file() and (folder / "features.json").is_file()


def _builder(dataset: str, data_dir: str | None) -> Any:
    try:
        if is_prepared(Path(dataset)):
            return tfds.builder_from_directory(dataset)
        return tfds.builder(dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UserError(
            f"TensorFlow Datasets has no data set {dataset!r}, nor is there a folder or table of "
            "that name; see tfds.list_builders(), or name your photos with --data FOLDER"
        ) from None
    except Exception as error:
        raise UserError(f"the data set {dataset} cannot be opened ({reason_of(error)})") from None


def _files(folder: Path) -> str:
    return repr(
        sorted(
            (path.name, path.stat().st_size, path.stat().st_mtime_ns)
            for path in folder.iterdir()
            if path.is_file()
        )
    )
