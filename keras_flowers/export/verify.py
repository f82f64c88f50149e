"""The gate: the same photos through every version of a model, which must give the same answers."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm import tqdm

from keras_flowers.errors import UserError
from keras_flowers.export import export
from keras_flowers.files import exclusive_lock
from keras_flowers.inference import formats, image
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.inference.image import Pixels
from keras_flowers.inference.metadata import read_metadata
from keras_flowers.training import run_directory, tf_image
from keras_flowers.training.metrics import top_k_correct

Probabilities: TypeAlias = npt.NDArray[np.float32]

# The bounds. One photo may always fall outside of a share.

SAME_PIXELS_DIFFERENCE = 1e-3
"""By how much SavedModel and float32 may differ from Keras in a probability on the same pixels."""

AGREEMENT = 0.995
"""Share of photos that SavedModel, float32 and float16 must name as Keras does, when each reads the
files itself."""

INT8_LOSS = 0.005
"""Share of photos by which the accuracy of int8 may be lower than Keras's."""

INT8_BYTES = {"MobileNetV2": 3_000_000}
"""How large the int8 file of a base may be."""

MEDIAPIPE_AGREEMENT = 0.98
"""Share of photos that MediaPipe must name as our predictor does with the same file."""

MEDIAPIPE_PHOTOS = 200
"""How many photos MediaPipe is shown."""

GROSS_SHARE = 0.1
"""Share of photos that int8 must not name otherwise than Keras, however right; and its bound and
MediaPipe's on fewer than `ENOUGH_PHOTOS`, of which half a point is less than one."""

ENOUGH_PHOTOS = 200

_BATCH = 25  # divides MEDIAPIPE_PHOTOS
_TIMED = 20
_KERAS = "Keras"
_READ_BY_ALL = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp"})


@dataclass(frozen=True)
class VerificationPhotos:
    """The photos to verify on.

    Attributes:
        source: Where they are from, for people.
        count: How many there are.
        items: For each its name, the bytes of its file, and its class or -1 where nobody says.
    """

    source: str
    count: int
    items: Iterable[tuple[str, bytes, int]]


@dataclass(frozen=True)
class Comparison:
    """How far two versions agree.

    Attributes:
        photos: How many both were shown.
        differing: How many they give different names. Where 8 bits give several classes the same
            probability, any of them will do.
        largest: The largest difference in a probability.
        mean: The mean difference over all photos and classes.
    """

    photos: int
    differing: int
    largest: float
    mean: float


@dataclass(frozen=True)
class Row:
    """What was measured of one version.

    Attributes:
        name: Of the version.
        same_pixels: Against Keras, both on the pixels that Pillow reads; None for a version that
            takes nothing but files.
        own_reading: Against Keras, each reading the files itself: Keras as in training, a TFLite
            file through Pillow. MediaPipe is compared with our predictor on the same file instead.
        labelled: How many photos it was shown whose class is known.
        right: How many of these it names right.
        lost: How many more of these Keras names right.
        bytes: Size of the file, or of the files in the folder.
        milliseconds: Median time for one photo, on all cores.
    """

    name: str
    same_pixels: Comparison | None
    own_reading: Comparison | None
    labelled: int
    right: int
    lost: int
    bytes: int
    milliseconds: float


@dataclass(frozen=True)
class Report:
    """The result; `print` shows it as a table.

    Attributes:
        source: Which photos.
        photos: How many of them could be read.
        rows: The versions, Keras first.
        notes: What to know when reading the table.
        broken: A sentence for each bound that does not hold.
    """

    source: str
    photos: int
    rows: list[Row]
    notes: list[str]
    broken: list[str]

    def __str__(self) -> str:
        lines = [f"{self.photos} photos: {self.source}", "", *_table(self), "", *self.notes]
        lines += [f"BROKEN: {sentence}" for sentence in self.broken] or ["every bound holds"]
        return "\n".join(lines)


def export_and_verify(
    run: Path, *, split: str | None = None, data_dir: str | None = None, limit: int | None = 1020
) -> bool:
    """Exports everything from a finished run, prints how well it agrees, and says if it does.

    Args:
        run: The run folder, with `model.keras`.
        split: TFDS split to verify on; None: the test split of the run.
        data_dir: Where TFDS keeps the data set; None: where training had it from.
        limit: At most so many photos, a minute or two of work; half a point is then 5 photos.

    Returns:
        Whether every bound holds.

    Raises:
        UserError: The model cannot be loaded, or the data set cannot be had.
    """
    model_path = run_directory.find_model(run)
    with exclusive_lock(run):
        paths = [
            export.export_saved_model(model_path, run / run_directory.SAVED_MODEL_FOLDER),
            *export.export_tflite(model_path, run, data_dir=data_dir).values(),
        ]
        for path in paths:
            print(f"{run_directory.size_of(path) / 1e6:6.1f} MB  {path}")
        report = verify(run, photos_of_split(run, split, data_dir=data_dir, limit=limit))
    print(f"\n{report}")
    return not report.broken


def photos_of_split(
    run: Path, split: str | None = None, *, data_dir: str | None = None, limit: int | None = None
) -> VerificationPhotos:
    """The first photos of a split of the data set that a run was trained on.

    Args:
        run: The run folder, or its `.keras` file.
        split: TFDS split; None: the test split of the run.
        data_dir: Where TFDS keeps the data set; None: where training had it from.
        limit: How many; None for all.

    Raises:
        UserError: The data set cannot be had, or has other classes.
    """
    model_path = run_directory.find_model(run)
    split = split or run_directory.settings_of(model_path).get("test_split", "test")
    photos = run_directory.Run.open(model_path).photos(split, data_dir)
    count = photos.count if limit is None else min(photos.count, limit)
    records = photos.records.take(count).as_numpy_iterator()
    items = ((f"photo {index}", content, int(label)) for index, content, label in records)
    return VerificationPhotos(f"{photos.dataset}, split {photos.split}", count, items)


def photos_of_folder(run: Path, folder: Path, *, limit: int | None = None) -> VerificationPhotos:
    """The first photos in a folder; those in a subfolder called as a class count as labelled.

    Args:
        run: The run folder, or its `.keras` file.
        folder: Where the photos are.
        limit: How many; None for all.

    Raises:
        UserError: There are none.
    """
    labels = read_metadata(run_directory.find_model(run)).labels
    found = formats.find_photos(folder)
    paths = [path for path in found if path.suffix.lower() in _READ_BY_ALL][:limit]
    if not paths:
        raise UserError(f"{folder} holds no photos; expected {', '.join(sorted(_READ_BY_ALL))}")
    items = (
        (
            image.printable(path),
            path.read_bytes(),
            labels.index(path.parent.name) if path.parent.name in labels else -1,
        )
        for path in paths
    )
    return VerificationPhotos(image.printable(folder), len(paths), items)


def verify(run: Path, photos: VerificationPhotos) -> Report:
    """Shows photos to the Keras model of a run and to everything that was exported from it.

    Args:
        run: The folder, with `model.keras`, `saved_model/1/` and `*.tflite`.
        photos: What to show. A photo that one of the readers refuses is left out, with a note.

    Raises:
        UserError: There is no Keras model, nothing was exported from it, or a version cannot run.
    """
    with contextlib.ExitStack() as stack:
        return _verify(run, photos, stack)


def _verify(run: Path, photos: VerificationPhotos, stack: contextlib.ExitStack) -> Report:
    classifier = load_classifier(run_directory.find_model(run))
    versions = list(_versions(run, classifier, stack))
    if len(versions) == 1:
        raise UserError(
            f"{run} holds nothing that was exported; run tools/export_saved_model.py and "
            "tools/export_tflite.py first"
        )
    answers: dict[str, list[_Answer]] = defaultdict(list)
    labels: list[int] = []
    notes: list[str] = []
    first = None
    for batch in _batches(photos, classifier.image_size, notes):
        first = first or batch
        for version in versions:
            if len(labels) < version.photos:
                answers[version.name].append(version.answer(batch))
        labels += batch.labels
    if first is None:
        raise UserError(f"none of these photos can be read: {photos.source}")
    joined = {name: _joined(parts) for name, parts in answers.items()}
    rows = [_measure(version, joined, np.array(labels), first) for version in versions]
    broken = [
        sentence
        for version, row in zip(versions, rows, strict=True)
        for sentence in _broken(version, row, classifier.metadata.provenance.get("base"))
    ]
    return Report(photos.source, len(labels), rows, notes + _notes(versions), broken)


def has_mediapipe() -> bool:
    """Whether MediaPipe is installed."""
    return importlib.util.find_spec("mediapipe") is not None


class _Batch(NamedTuple):
    """Photos as every version takes them."""

    files: list[bytes]
    pixels: Pixels  # as Pillow reads them
    keras_pixels: Pixels  # as training reads them
    labels: list[int]


class _Answer(NamedTuple):
    """Probabilities [N, classes] in the order of Keras's labels; None for what was not asked."""

    same_pixels: Probabilities | None
    own_reading: Probabilities | None


class Artifact(NamedTuple):
    """One way to run the model."""

    name: str
    variant: str  # Keras, SavedModel, float32, float16, int8 or MediaPipe
    path: Path
    answer: Callable[[_Batch], _Answer]
    once: Callable[[_Batch], object]  # what is timed
    reference: str = _KERAS  # the version whose answers its own must equal
    photos: float = math.inf  # how many it is shown


def _batches(
    photos: VerificationPhotos, size: tuple[int, int], left_out: list[str]
) -> Iterator[_Batch]:
    """Reads the photos; adds to `left_out` a line for each that cannot be read."""
    files = tf.TensorSpec([None], tf.string)
    read = tf.function(lambda files: tf_image.read_pixels(files, size), [files], autograph=False)

    def readable() -> Iterator[tuple[bytes, Pixels, Pixels, int]]:
        for name, content, label in tqdm(
            photos.items,
            desc="verifying",
            total=photos.count,
            unit="photo",
            mininterval=0.1 if sys.stderr.isatty() else 10,
        ):
            try:
                pixels = image.read_pixels(content, size)
            except UserError as error:
                left_out.append(f"left out {name}: {error}")
                continue
            keras_pixels, is_readable = read([content])
            if is_readable[0]:
                yield content, pixels, keras_pixels[0].numpy(), label
            else:
                left_out.append(f"left out {name}: TensorFlow cannot read it")

    rest = readable()
    while some := list(itertools.islice(rest, _BATCH)):
        contents, pixels, keras_pixels, labels = zip(*some, strict=True)
        yield _Batch(list(contents), np.stack(pixels), np.stack(keras_pixels), list(labels))


def _versions(
    run: Path, keras_classifier: Classifier, stack: contextlib.ExitStack
) -> Iterator[Artifact]:
    path = run_directory.find_model(run)
    yield Artifact(
        _KERAS,
        _KERAS,
        path,
        lambda batch: _Answer(
            keras_classifier.probabilities(batch.pixels),
            keras_classifier.probabilities(batch.keras_pixels),
        ),
        lambda batch: keras_classifier.probabilities(batch.pixels),
    )
    labels = keras_classifier.labels
    path = run / run_directory.SAVED_MODEL_FOLDER / run_directory.SAVED_MODEL_VERSION
    if path.is_dir():
        yield from _saved_model_versions(path, labels)
    paths = sorted(run.glob("*.tflite"), key=_place)
    variants = [_variant(path) for path in paths]
    # Called after its variant; after its file where a run holds two of the same.
    names = [
        variant if variants.count(variant) == 1 else path.name
        for path, variant in zip(paths, variants, strict=True)
    ]
    for path, name in zip(paths, names, strict=True):
        yield _tflite_version(path, name, labels)
    if has_mediapipe():
        for path, name in zip(paths, names, strict=True):
            yield _mediapipe_version(path, name, keras_classifier, stack)


def _saved_model_versions(path: Path, labels: Sequence[str]) -> Iterator[Artifact]:
    own_labels = read_metadata(path).labels
    order = _order(path, own_labels, labels)
    # The signatures hold the variables only as long as the model itself is held.
    model = tf.saved_model.load(str(path))

    def run(pixels: Pixels) -> Probabilities:
        answer = model.signatures["images"](images=tf.constant(pixels, tf.float32))
        probabilities: Probabilities = answer["probabilities"].numpy()
        return probabilities[:, order]

    def serve(files: list[bytes]) -> Probabilities:
        answer = model.signatures["serving_default"](image_bytes=tf.constant(files))
        probabilities: Probabilities = answer["probabilities"].numpy()
        for name, index in zip(
            answer["classes"][:, 0].numpy(), probabilities.argmax(1), strict=True
        ):
            if name.decode() != own_labels[index]:
                raise UserError(
                    f"{path} calls class {index} {name.decode()!r} in its answers and "
                    f"{own_labels[index]!r} in its labels; export it again"
                )
        return probabilities[:, order]

    yield Artifact(
        "SavedModel images",
        "SavedModel",
        path,
        lambda batch: _Answer(run(batch.pixels), None),
        lambda batch: run(batch.pixels),
    )
    yield Artifact(
        "SavedModel image_bytes",
        "SavedModel",
        path,
        lambda batch: _Answer(None, serve(batch.files)),
        lambda batch: serve(batch.files),
    )


def _tflite_version(path: Path, name: str, labels: Sequence[str]) -> Artifact:
    classifier = load_classifier(path)
    order = _order(path, classifier.labels, labels)

    def answer(batch: _Batch) -> _Answer:
        # It is our predictor that reads files for it, through Pillow.
        probabilities = classifier.probabilities(batch.pixels)[:, order]
        return _Answer(probabilities, probabilities)

    return Artifact(
        f"TFLite {name}",
        _variant(path),
        path,
        answer,
        lambda batch: classifier.probabilities(batch.pixels),
    )


def _mediapipe_version(
    path: Path, name: str, keras_classifier: Classifier, stack: contextlib.ExitStack
) -> Artifact:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)))
    try:
        classifier = stack.enter_context(vision.ImageClassifier.create_from_options(options))
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"MediaPipe cannot load {path} ({reason}); export it again") from None
    labels, size = keras_classifier.labels, keras_classifier.image_size
    place = {label: index for index, label in enumerate(labels)}

    def classify(batch: _Batch) -> Probabilities:
        probabilities = np.zeros((len(batch.files), len(labels)), np.float32)
        for row, content in zip(probabilities, batch.files, strict=True):
            # As an app does it, no larger than needed: MediaPipe resizes without antialiasing.
            reduced = image.read_photo(content, size)
            photo = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.asarray(reduced))
            # By their names: these must come from the file, too.
            for category in classifier.classify(photo).classifications[0].categories:
                if category.category_name not in place:
                    raise UserError(f"MediaPipe finds no names in {path}; export it again")
                row[place[category.category_name]] = category.score
        return probabilities

    return Artifact(
        f"MediaPipe {name}",
        "MediaPipe",
        path,
        lambda batch: _Answer(None, classify(batch)),
        classify,
        reference=f"TFLite {name}",
        photos=MEDIAPIPE_PHOTOS,
    )


def _variant(path: Path) -> str:
    """What a `.tflite` file says it is, or else its name."""
    said = read_metadata(path).provenance.get("variant", "")
    return str(said).removeprefix("TFLite ") or path.stem


def _place(path: Path) -> tuple[int, str]:
    variant = _variant(path)
    known = export.VARIANTS
    return (known.index(variant) if variant in known else len(known)), path.name


def _order(path: Path, labels: Sequence[str], keras_labels: Sequence[str]) -> list[int]:
    """Which of a version's outputs are Keras's classes, by their names."""
    if set(labels) != set(keras_labels):
        raise UserError(f"{path} knows other classes than the Keras model; export it again")
    place = {label: index for index, label in enumerate(labels)}
    return [place[label] for label in keras_labels]


def _joined(parts: list[_Answer]) -> _Answer:
    def join(arrays: Iterable[Probabilities | None]) -> Probabilities | None:
        there = [array for array in arrays if array is not None]
        return np.concatenate(there) if there else None

    return _Answer(
        join(part.same_pixels for part in parts), join(part.own_reading for part in parts)
    )


def _measure(
    version: Artifact, answers: dict[str, _Answer], labels: npt.NDArray[Any], first: _Batch
) -> Row:
    answer, keras_answer = answers[version.name], answers[_KERAS]
    final = answer.same_pixels if answer.own_reading is None else answer.own_reading
    keras_final = (
        keras_answer.same_pixels if answer.own_reading is None else keras_answer.own_reading
    )
    assert final is not None
    assert keras_final is not None
    labelled = np.flatnonzero(labels[: len(final)] >= 0)
    right = int(top_k_correct(final[labelled], labels[labelled], 1).sum())
    keras_right = int(top_k_correct(keras_final[labelled], labels[labelled], 1).sum())
    return Row(
        version.name,
        _compare(answer.same_pixels, keras_answer.same_pixels),
        _compare(answer.own_reading, answers[version.reference].own_reading),
        len(labelled),
        right,
        keras_right - right,
        run_directory.size_of(version.path),
        _milliseconds(version, first),
    )


def _compare(one: Probabilities | None, other: Probabilities | None) -> Comparison | None:
    if one is None or other is None or one is other:
        return None
    other = other[: len(one)]
    difference = np.abs(one - other)
    agree = ((one == one.max(1, keepdims=True)) & (other == other.max(1, keepdims=True))).any(1)
    return Comparison(
        photos=len(one),
        differing=int((~agree).sum()),
        largest=float(difference.max()),
        mean=float(difference.mean()),
    )


def _milliseconds(version: Artifact, batch: _Batch) -> float:
    singles = [
        _Batch([file], batch.pixels[i : i + 1], batch.keras_pixels[i : i + 1], [-1])
        for i, file in enumerate(batch.files[:_TIMED])
    ]
    version.once(singles[0])  # the first call of a shape prepares it
    seconds = []
    for single in singles:
        started = time.perf_counter()
        version.once(single)
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def _broken(version: Artifact, row: Row, base: Any) -> Iterator[str]:
    """A sentence for each bound that does not hold. Not-a-number holds none."""
    same, own = row.same_pixels, row.own_reading
    exact = version.variant in ("SavedModel", "float32")
    if exact and same is not None and not same.largest <= SAME_PIXELS_DIFFERENCE:
        yield (
            f"{row.name} differs from Keras on the same pixels by up to {same.largest:.2g}; "
            f"at most {SAME_PIXELS_DIFFERENCE:g} is allowed"
        )
    if own is not None:
        allowed = _may_differ(version.variant, own.photos)
        if own.differing > allowed or not math.isfinite(own.largest):
            yield (
                f"{row.name} names {own.differing} of {own.photos} photos otherwise than "
                f"{version.reference} does; at most {allowed} are allowed"
            )
    if version.variant == "int8":
        allowed = _photos(INT8_LOSS if row.labelled >= ENOUGH_PHOTOS else GROSS_SHARE, row.labelled)
        if row.lost > allowed:
            yield (
                f"{row.name} names {row.lost} of {row.labelled} photos fewer right than Keras; "
                f"at most {allowed} are allowed"
            )
        if row.bytes > INT8_BYTES.get(base, math.inf):
            yield f"{row.name} has {row.bytes:,} bytes; at most {INT8_BYTES[base]:,} are allowed"


def _may_differ(variant: str, photos: int) -> int:
    """How many photos a version may name otherwise than the one it is compared with."""
    if variant == "int8" or (variant == "MediaPipe" and photos < ENOUGH_PHOTOS):
        return _photos(GROSS_SHARE, photos)
    return _photos(1 - (MEDIAPIPE_AGREEMENT if variant == "MediaPipe" else AGREEMENT), photos)


def _photos(share: float, photos: int) -> int:
    return max(1, math.floor(share * photos + 1e-9))


def _notes(versions: Sequence[Artifact]) -> list[str]:
    notes = [
        "same pixels: as Pillow reads them; own reading: Keras as in training, SavedModel in its "
        "graph, TFLite through Pillow",
        "ms: median for one photo on all cores, from pixels, but from the file for image_bytes and "
        "MediaPipe",
    ]
    if any(version.variant == "MediaPipe" for version in versions):
        notes.append(
            f"MediaPipe is shown the first {MEDIAPIPE_PHOTOS} photos, reduced while decoding as "
            "apps do it, and compared with our predictor on the same file"
        )
    else:
        notes.append("MediaPipe is not installed: not checked")
    return notes


def _table(report: Report) -> list[str]:
    width = max(len(row.name) for row in report.rows)
    columns = f"  {'agrees':>8} {'largest':>8} {'mean':>9}"
    lines = [
        f"{'':{width}}  {'same pixels':^27}  {'own reading':^27}",
        f"{'version':{width}}{columns}{columns}  accuracy    loss     MB     ms",
    ]
    for row in report.rows:
        accuracy = f"{row.right / row.labelled:.2%}" if row.labelled else ""
        loss = f"{row.lost / row.labelled:.2%}" if row.labelled else ""
        lines.append(
            f"{row.name:{width}}{_cells(row.same_pixels)}{_cells(row.own_reading)}"
            f"  {accuracy:>8} {loss:>7} {row.bytes / 1e6:6.1f} {row.milliseconds:6.1f}"
        )
    return lines


def _cells(comparison: Comparison | None) -> str:
    if comparison is None:
        return f"  {'':27}"
    agreement = 1 - comparison.differing / comparison.photos
    return f"  {agreement:8.2%} {comparison.largest:8.1e} {comparison.mean:9.1e}"
