"""Makes the index of training photos that `keras-flowers similar` searches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.inference.insides import Array
from keras_flowers.inference.similar import DIGITS, SimilarIndex, SimilarPhoto, SimilarPhotos
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.data import LabelledPhotos, name_to_read, pixels
from keras_flowers.training.run_directory import Run, photos_of
from keras_flowers.training.sources.tfds import is_at_hand
from keras_flowers.training.whitening import Whitening, fit_whitening, measure_moments

RANK = 128
"""How many directions are kept. Of 102 classes 101 tell them apart; with 128 the nearest training
photo has the right name as often as with all 4,032."""

_SHRINKAGE = 1.0  # as for the head
_SAMPLE = 4096  # photos that show in which directions all differ most
_ROWS = 1024  # at a time, in float32
_MORE, _PASSES = 32, 3  # of the randomised search for these directions


def build_index(
    photos: LabelledPhotos,
    features: Array,
    order: npt.NDArray[np.intp],
    kernel: npt.NDArray[np.float32],
) -> SimilarIndex:
    """Makes an index.

    Args:
        photos: The photos.
        features: float [N, D], what the head of the model sees of each, whole and as it is.
        order: int [N], which of `photos` each row is.
        kernel: float32 [D, C], the last kernel of the model.
    """
    classes = photos.label_numbers[order]
    known = classes >= 0
    seen = CachedFeatures([np.asarray(features)[known]], classes[known])
    moments = measure_moments(seen, len(photos.labels))
    whitening = fit_whitening(moments, _SHRINKAGE)
    projection = _directions(seen, whitening)
    # As it is kept: what is compared with it goes through the same rounding.
    index = SimilarIndex(
        dataset=photos.dataset,
        split=photos.split,
        labels=photos.labels,
        places=tuple(photos.names[number] for number in order[known].tolist()),
        digests=photos.digests[order[known]].astype(f"S{DIGITS}"),
        classes=classes[known].astype(np.int32),
        centre=whitening.centre,
        projection=projection.astype(np.float16),
        rows=np.zeros((int(known.sum()), projection.shape[1]), np.float16),
        head=np.linalg.norm(kernel, axis=0),
    )
    for start in range(0, len(index.rows), _ROWS):
        some = slice(start, start + _ROWS)
        index.rows[some] = index.project(np.asarray(seen.views[0][some]))
    return index


def write_index(
    model: str | Path,
    sources: Sequence[str] = (),
    *,
    data_dir: str | None = None,
    download: bool = True,
) -> tuple[SimilarIndex, Path]:
    """Makes the index of a finished model and writes it beside it.

    Args:
        model: A file of the model, or the folder of its run.
        sources: Where the photos are that it was trained on, if not where training had them.
        data_dir: Where TFDS keeps them; None: where training had them.
        download: Whether they are downloaded where they are not at hand.

    Returns:
        The index, and where it was written.

    Raises:
        UserError: The model is not built like ours, or its photos cannot be had.
    """
    classifier = load_classifier(model, workers=available_cores())
    insides = classifier.insides
    photos = _training_photos(
        classifier, _learned(classifier), sources, data_dir, download=download
    )
    rows, kernel = [], None
    with progress_bar(total=photos.count, unit="photo", description="features") as bar:
        for batch, _ in pixels(photos, classifier.image_size).as_numpy_iterator():
            if kernel is None:
                kernel = np.asarray(insides.parts(batch[:1]).kernel, np.float32)
            rows.append(insides.features(batch).astype(np.float16))
            bar.update(len(batch))
    assert kernel is not None  # a split holds photos
    index = build_index(photos, np.concatenate(rows), np.arange(photos.count), kernel)
    index.save(classifier.similar_path)
    return index, classifier.similar_path


def with_pictures(
    classifier: Classifier,
    found: SimilarPhotos,
    sources: Sequence[str] = (),
    *,
    data_dir: str | None = None,
) -> SimilarPhotos:
    """The same photos with their files, as far as these are at hand; a notebook then shows them.

    Args:
        classifier: Whose training photos they are.
        found: As `Classifier.similar` gives them.
        sources: As for `write_index`.
        data_dir: As for `write_index`.

    Raises:
        UserError: As `read_photos`.
    """
    files = read_photos(classifier, found, sources, data_dir=data_dir)
    return SimilarPhotos(found.photos, tuple(files.get(one.digest, b"") for one in found))


def read_photos(
    classifier: Classifier,
    chosen: Iterable[SimilarPhoto],
    sources: Sequence[str] = (),
    *,
    data_dir: str | None = None,
) -> dict[str, bytes]:
    """The files of those photos of an index that are at hand, by their digests.

    Of a model that learned photos of several sources, some may be at hand and others not.

    Args:
        classifier: Whose index it is.
        chosen: The photos.
        sources: As for `write_index`.
        data_dir: As for `write_index`.

    Raises:
        UserError: None of them is at hand; nothing is downloaded for them.
    """
    index = classifier.similar_index
    photos = _training_photos(classifier, index.split, sources, data_dir, download=False)
    wanted = {one.digest.encode(): one.place for one in chosen}
    found: dict[str, bytes] = {}
    for part in photos.parts:
        digests = part.found.digests.astype(f"S{DIGITS}")
        here = np.flatnonzero(np.isin(digests, list(wanted)))
        reads = part.photos.contents(part.numbers[here].tolist())
        for digest, (_, read) in zip(digests[here].tolist(), reads, strict=True):
            found[digest.decode("ascii")] = read()
    if wanted and not found:
        raise UserError(
            f"{photos.dataset} has no photo {min(wanted.values())!r}; expected the photos that the "
            "model was trained on: name them with --data, or --data_dir"
        )
    return found


def _learned(classifier: Classifier) -> str:
    """The split that a model was trained on, as it says itself."""
    trained_on = classifier.metadata.provenance.get("trained_on")
    if not isinstance(trained_on, dict) or "split" not in trained_on:
        raise UserError(
            f"{classifier!r} does not say what it was trained on; expected a model that "
            "keras-flowers train wrote"
        )
    return str(trained_on["split"])


def _training_photos(
    classifier: Classifier,
    split: str,
    sources: Sequence[str],
    data_dir: str | None,
    *,
    download: bool = True,
) -> LabelledPhotos:
    assert classifier.origin is not None  # it has been loaded from a file
    path = classifier.origin.path
    run = Run.around(path)
    settings = run.settings if run else {}
    dataset = name_to_read(str(classifier.metadata.provenance.get("dataset", "")).split(" + ")[0])
    if not (download or sources or settings.get("data")) and not is_at_hand(
        dataset, data_dir or settings.get("data_dir")
    ):
        raise UserError(
            f"the photos of {dataset} are not at hand; say where with --data_dir, or download them "
            "with keras-flowers train"
        )
    return photos_of(path, classifier.metadata, split, run=run, data_dir=data_dir, sources=sources)


def _directions(seen: CachedFeatures, whitening: Whitening) -> npt.NDArray[np.float32]:
    """The map [D, R] to those whitened directions in which photos, at unit length, differ most.

    Found as in Halko et al. 2011, "Finding Structure with Randomness": with a few passes over the
    photos in place of a decomposition of all.
    """
    step = -(-len(seen.labels) // _SAMPLE)
    some = CachedFeatures([np.asarray(seen.views[0][::step])], seen.labels[::step])
    rows = np.asarray(whitening.apply(some).views[0], np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    photos, size = rows.shape
    rank = min(RANK, photos, size)
    random = np.random.default_rng(0)
    found = random.standard_normal((size, min(rank + _MORE, size)), np.float32)
    for _ in range(_PASSES):
        found, _ = np.linalg.qr(rows.T @ (rows @ found))
    _, _, within = np.linalg.svd(rows @ found, full_matrices=False)
    directions = found @ within[:rank].T
    projection = whitening.matrix.T @ directions
    # float16 holds numbers of about 1 best; lengths are cut to 1 anyway.
    return np.asarray(projection / np.abs(projection).max(), np.float32)
