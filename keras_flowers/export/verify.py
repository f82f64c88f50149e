"""The gate: the same photos through every version of a model, which must give the same answers."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.export.photos import VerificationPhotos, photos_of_folder, photos_of_split
from keras_flowers.export.report import Bounds, Comparison, Report, Row, exceeded
from keras_flowers.inference import image
from keras_flowers.inference.colour import transform_to_srgb
from keras_flowers.inference.text import printable
from keras_flowers.progress import progress_bar
from keras_flowers.system import import_tensorflow
from keras_flowers.training.metrics import top_k_correct
from keras_flowers.training.run_directory import Run, photos_of, size_of

if TYPE_CHECKING:
    from keras_flowers.export.artifacts import Answer, Artifact, Batch, Probabilities
    from keras_flowers.export.versions import Version
    from keras_flowers.inference.image import Pixels

_BATCH = 25
"""How many photos are read at a time; `MEDIAPIPE_PHOTOS` is a multiple of it."""

_TIMED = 20
"""How many photos are timed."""


def verify_model(
    run: Run | str | os.PathLike[str],
    photos: VerificationPhotos | str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
) -> Report:
    """Shows the same photos to every version of a model and compares their answers.

    All that a run holds is compared with the best of it: the Keras model, or else the SavedModel,
    the float32, the float16 or the int8 TFLite file.

    Args:
        run: The run or its folder: `model.keras`, `saved_model/1/` and `*.tflite`.
        photos: A folder of photos; None for those of the data set that the model was trained on.
        split: Split of that data set or of `sources`; None: the test split of the run, or all
            photos of sources without splits.
        data_dir: Where TFDS keeps the data set; None: where training had it from.
        limit: Only the first so many photos; None for all.
        sources: Labelled photos of other sources: folders, tables or data sets, as `--data` takes
            them.
        label_map: Files that say which of the model's classes their labels are.

    Returns:
        The report; its `broken` is empty where all versions agree within the limits. A photo that
        cannot be read is left out, with a note.

    Raises:
        UserError: There are not two versions, one cannot run, or the photos cannot be had.
    """
    from keras_flowers.export.versions import find_versions

    run = run if isinstance(run, Run) else Run.at(Path(run))
    versions = find_versions(run)
    if not versions:
        missing = "holds no model" if run.folder.is_dir() else "is not a folder"
        raise UserError(
            f"{run.folder} {missing}; expected the folder of a run that keras-flowers train wrote"
        )
    import_tensorflow()
    best = versions[0]
    if photos is None:
        if not sources:
            split = split or run.settings.get("test_split", "test")
        found = photos_of(
            best.path,
            best.metadata,
            split,
            run=run,
            data_dir=data_dir,
            sources=sources,
            label_map=label_map,
        )
        photos = photos_of_split(found, limit=limit)
    elif not isinstance(photos, VerificationPhotos):
        photos = photos_of_folder(Path(photos), best.metadata.labels, limit=limit)
    with contextlib.ExitStack() as stack:
        return _compare_all(versions, photos, stack)


def _compare_all(
    versions: Sequence[Version], photos: VerificationPhotos, stack: contextlib.ExitStack
) -> Report:
    best = versions[0]
    size = best.metadata.image_size
    if size is None:
        raise UserError(f"{best.path} does not say which image size it takes; export it again")
    artifacts, references = _load(versions, size, stack)
    answers: dict[str, list[Answer]] = defaultdict(list)
    labels: list[int] = []
    in_graph: list[bool] = []
    notes: list[str] = []
    first = None
    for batch in _batches(photos, size, notes):
        first = first or batch
        for artifact in artifacts:
            if len(labels) < artifact.photos:
                answers[artifact.name].append(artifact.answer(batch))
        labels += batch.labels
        in_graph += batch.in_graph
    if first is None:
        raise UserError(f"none of these photos can be read: {photos.source}")
    joined = {name: _joined(parts) for name, parts in answers.items()}
    # The SavedModel answers for pixels and for files through two signatures.
    joined[best.name] = _first_of_each([joined[name] for name in references])
    rows = []
    for artifact in artifacts:
        # Of the SavedModel, too, where it is what the others are compared with.
        compared = [artifact, *(one for one in artifacts if one.name in references)]
        counts = np.array(in_graph) | (not any(one.in_graph_only for one in compared))
        row = _measure(
            artifact,
            joined,
            best.name,
            np.array(labels),
            counts,
            first,
            len(best.metadata.labels),
        )
        if artifact.name not in references:
            base = best.metadata.provenance.get("base")
            rows.append(dataclasses.replace(row, bounds=_bounds(artifact, row, base)))
        else:
            rows.append(
                dataclasses.replace(row, reference=None, same_pixels=None, own_reading=None)
            )
    broken = [sentence for row in rows for sentence in exceeded(row)]
    unlike = len(in_graph) - sum(in_graph)
    if unlike and any(one.name.endswith(" image_bytes") for one in artifacts):
        notes.append(
            f"{unlike} of the photos do not count for SavedModel image_bytes: TensorFlow's graph "
            "does not know their format or ignores their colour profile."
        )
    reference = f"{best.name} ({printable(_inside_run(best.path))})"
    return Report(photos.source, len(labels), reference, rows, notes + _notes(artifacts), broken)


def _inside_run(path: Path) -> Path:
    """The path of a version without that of the run, which whoever asks knows."""
    return path.relative_to(path.parents[1]) if path.is_dir() else Path(path.name)


def _load(
    versions: Sequence[Version], size: tuple[int, int], stack: contextlib.ExitStack
) -> tuple[list[Artifact], list[str]]:
    """The artifacts of all versions, and the names of those of the first version.

    Raises:
        UserError: There is nothing to compare the first version with.
    """
    from keras_flowers.export.artifacts import (
        has_browser,
        has_mediapipe,
        load_in_browser,
        load_mediapipe,
    )

    best = versions[0]
    labels = best.metadata.outputs
    loaded = [
        list(version.load(version.path, version.name, labels, version.limits))
        for version in versions
    ]
    artifacts = [artifact for one in loaded for artifact in one]
    if has_mediapipe():
        artifacts += [
            load_mediapipe(version.path, version.name, labels, size, stack)
            for version in versions
            if version.path.suffix == ".tflite"
        ]
    for_browser = [
        (version.path, version.name, version.browser_limits)
        for version in versions
        if version.browser_limits is not None
    ]
    if for_browser and has_browser():
        artifacts += load_in_browser(for_browser, labels, stack)
    references = [artifact.name for artifact in loaded[0]]
    if len(artifacts) == len(references):
        folder = best.path.parent
        raise UserError(
            f"{folder} holds {best.path.name} and nothing to compare it with; "
            f"export the model first: keras-flowers export {folder}"
        )
    return artifacts, references


def _batches(
    photos: VerificationPhotos, size: tuple[int, int], left_out: list[str]
) -> Iterator[Batch]:
    """Reads the photos; adds to `left_out` a line for each that cannot be read."""
    import tensorflow as tf

    from keras_flowers.export.artifacts import Batch
    from keras_flowers.training import tf_image
    from keras_flowers.training.sources.inspection import FAST, route_of

    files = tf.TensorSpec([None], tf.string)
    read = tf.function(lambda files: tf_image.read_pixels(files, size), [files], autograph=False)

    def readable() -> Iterator[tuple[bytes, Pixels, Pixels, int, bool]]:
        with progress_bar(total=photos.count, unit="photo", description="verifying") as bar:
            for name, content, label in photos.items:
                bar.update()
                try:
                    pixels = image.read_pixels(content, size)
                except UserError as error:
                    left_out.append(f"left out {name}: {error}")
                    continue
                graph_pixels, is_readable = read([content])
                is_fast = route_of(content) == FAST
                training_pixels = graph_pixels[0].numpy() if is_fast else pixels
                in_graph = bool(is_readable[0]) and (is_fast or not _has_profile(content))
                yield content, pixels, training_pixels, label, in_graph

    rest = readable()
    while some := list(itertools.islice(rest, _BATCH)):
        contents, pixels, training_pixels, labels, in_graph = zip(*some, strict=True)
        yield Batch(
            list(contents),
            np.stack(pixels),
            np.stack(training_pixels),
            list(labels),
            list(in_graph),
        )


def _has_profile(content: bytes) -> bool:
    """Whether a photo says that its colours are not those of sRGB."""
    with Image.open(io.BytesIO(content)) as header:
        return transform_to_srgb(header) is not None


def _joined(parts: list[Answer]) -> Answer:
    from keras_flowers.export.artifacts import Answer

    def join(arrays: Iterable[Probabilities | None]) -> Probabilities | None:
        there = [array for array in arrays if array is not None]
        return np.concatenate(there) if there else None

    return Answer(
        join(part.same_pixels for part in parts), join(part.own_reading for part in parts)
    )


def _first_of_each(answers: Sequence[Answer]) -> Answer:
    from keras_flowers.export.artifacts import Answer

    def first(arrays: Iterable[Probabilities | None]) -> Probabilities | None:
        return next((array for array in arrays if array is not None), None)

    return Answer(
        first(one.same_pixels for one in answers), first(one.own_reading for one in answers)
    )


def _measure(
    artifact: Artifact,
    answers: dict[str, Answer],
    best: str,
    labels: npt.NDArray[Any],
    counts: npt.NDArray[np.bool_],
    first: Batch,
    classes: int,
) -> Row:
    """Measures an artifact; of its own reading, only on the photos that count."""
    answer, reference = answers[artifact.name], answers[best]
    compared = artifact.reference or best
    if answer.own_reading is None:
        final, best_final = answer.same_pixels, reference.same_pixels
        counts = np.ones_like(counts)
    else:
        final, best_final = answer.own_reading, reference.own_reading
    assert final is not None
    assert best_final is not None
    counts = counts[: len(final)]
    labelled = np.flatnonzero(counts & (labels[: len(final)] >= 0))
    # Of the classes alone: how often a photo is none of them is compared, not scored.
    correct, best_correct = (
        int(top_k_correct(one[labelled, :classes], labels[labelled], 1).sum())
        for one in (final, best_final)
    )
    return Row(
        name=artifact.name,
        reference=compared,
        same_pixels=_compare(answer.same_pixels, answers[compared].same_pixels),
        own_reading=_compare(answer.own_reading, answers[compared].own_reading, counts),
        labelled=len(labelled),
        correct=correct,
        change=correct - best_correct,
        bytes=size_of(artifact.path),
        milliseconds=_milliseconds(artifact, first),
    )


def _bounds(artifact: Artifact, row: Row, base: Any) -> Bounds:
    limits = artifact.limits
    return Bounds(
        largest=None if row.same_pixels is None else limits.difference,
        differing=None if row.own_reading is None else limits.differing(row.own_reading.photos),
        lost=limits.lost(row.labelled) if row.labelled else None,
        bytes=limits.bytes_of_base.get(base),
    )


def _compare(
    one: Probabilities | None,
    other: Probabilities | None,
    counts: npt.NDArray[np.bool_] | slice = slice(None),
) -> Comparison | None:
    if one is None or other is None:
        return None
    one, other = one[counts], other[: len(one)][counts]
    if not len(one):
        return None
    difference = np.abs(one - other)
    agree = ((one == one.max(1, keepdims=True)) & (other == other.max(1, keepdims=True))).any(1)
    return Comparison(
        photos=len(one),
        differing=int((~agree).sum()),
        largest=float(difference.max()),
        mean=float(difference.mean()),
    )


def _milliseconds(artifact: Artifact, batch: Batch) -> float:
    from keras_flowers.export.artifacts import Batch

    singles = [
        Batch([file], batch.pixels[i : i + 1], batch.training_pixels[i : i + 1], [-1], [True])
        for i, file in enumerate(batch.files[:_TIMED])
    ]
    artifact.once(singles[0])  # the first call of a shape prepares it
    seconds = []
    for single in singles:
        started = time.perf_counter()
        artifact.once(single)
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def _notes(artifacts: Sequence[Artifact]) -> list[str]:
    from keras_flowers.export.artifacts import BROWSER_PHOTOS, MEDIAPIPE_PHOTOS

    notes = [
        "agrees: the share of photos that get the same name. differ: how many get another one. "
        "largest: the largest difference in a probability. change: of the accuracy, in points. "
        "limit: what is allowed of the figure before it.",
        "same pixels: as Pillow reads them. Files are read by Keras as in training, by the "
        "SavedModel in its graph, and for TFLite by our predictor, through Pillow.",
        "ms: median for one photo on all cores, from pixels, but from the file for image_bytes, "
        "MediaPipe and a browser.",
    ]
    if any(artifact.name.startswith("MediaPipe ") for artifact in artifacts):
        notes.append(
            f"MediaPipe is shown the first {MEDIAPIPE_PHOTOS} photos, reduced while decoding as "
            "apps do it, and compared with our predictor on the same file."
        )
    elif any(artifact.path.suffix == ".tflite" for artifact in artifacts):
        notes.append("MediaPipe is not installed: the TFLite files were not checked with it.")
    if any(artifact.name.startswith("browser ") for artifact in artifacts):
        notes.append(
            "browser: what keras-flowers page serves, in Chromium, shown the first "
            f"{BROWSER_PHOTOS} photos as pixels and as files, and compared with our predictor on "
            "the same."
        )
    return notes
