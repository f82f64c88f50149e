"""What a report tells of a run: scores, mistakes and their reasons, its files, its photos."""

from __future__ import annotations

import csv
import functools
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.chart import draw_places, fullest
from keras_flowers.inference.classifier import Classifier, load_classifier, models_in
from keras_flowers.inference.evidence import Evidence
from keras_flowers.inference.image import as_data, read_photo
from keras_flowers.inference.similar import SimilarPhoto
from keras_flowers.inference.text import printable
from keras_flowers.training import metrics
from keras_flowers.training.bases import BASES
from keras_flowers.training.check.check import DataCheck, base_features, check_data
from keras_flowers.training.config import cache_folder
from keras_flowers.training.data import name_to_read
from keras_flowers.training.evaluate import Evaluation, evaluate_model
from keras_flowers.training.pages import thumbnails
from keras_flowers.training.run_directory import DATASET, Run, size_of
from keras_flowers.training.similarity import read_photos, write_index
from keras_flowers.training.sources import is_there, open_source
from keras_flowers.training.sources.label_map import read_label_map

_logger = logging.getLogger(__name__)

PAIRS, OF_A_PAIR, MISTAKES, NEAREST = 8, 4, 12, 3
"""How many confused pairs are shown, photos of each, confident mistakes, and training photos that
each of these resembles."""

_TIMED = 15  # photos, one after the other
_SIDE = 224  # pixels of the photo of a mistake: twice a thumbnail's, to tell its places apart
_QUALITY = 80  # of its JPEG


class Mistake(NamedTuple):
    """A wrong answer that was given with confidence.

    Attributes:
        row: Which of the scored photos.
        name: What the data set calls it.
        given: The wrong name.
        right: The name of its class.
        probability: Of the wrong name, 0..1.
        probability_of_right: Of the name of its class.
        pictures: The photo, and what its places say for the wrong name and for that of its class,
            as three `data:` addresses; none on a page without photos.
        nearest: The training photos that it resembles most, the most alike first.
    """

    row: int
    name: str
    given: str
    right: str
    probability: float
    probability_of_right: float
    pictures: tuple[str, ...] = ()
    nearest: tuple[SimilarPhoto, ...] = ()


class ConfusedPair(NamedTuple):
    """Two classes that are taken for each other.

    Attributes:
        classes: Their numbers.
        counts: How often the first was called the second, and the second the first.
        rows: Photos of these mistakes, the most confident first.
        examples: A photo of each class that is named right with the greatest probability; -1 where
            there is none.
    """

    classes: tuple[int, int]
    counts: tuple[int, int]
    rows: tuple[int, ...]
    examples: tuple[int, int]


class ModelFile(NamedTuple):
    """A file of the model, or the folder of its SavedModel.

    Attributes:
        name: In the folder of the run.
        size: Bytes.
        milliseconds: Median time for one photo, from pixels to the answer, on all cores of this
            machine.
    """

    name: str
    size: int
    milliseconds: float


@dataclass(frozen=True)
class Findings:
    """All that a report tells.

    Attributes:
        model: What was asked about.
        run: The run that it belongs to; None: to none that is known.
        evaluation: How it does.
        is_own_data: Whether that is on photos other than the run's.
        temperature: What its logits were divided by; None: not known.
        history: One row an epoch; empty where it is not known.
        pairs: The pairs of classes that are confused most.
        mistakes: The most confident wrong answers.
        why_no_nearest: Why the mistakes are without the training photos that they resemble; "".
        files: The files of the model.
        checks: What was found in the photos, for each source.
        pictures: The photos that are shown, as `data:` addresses, by row; None: none shall be.
        training_pictures: The training photos that are shown, by digest.
    """

    model: Path
    run: Run | None
    evaluation: Evaluation
    is_own_data: bool
    temperature: float | None
    history: Sequence[dict[str, float]]
    pairs: Sequence[ConfusedPair]
    mistakes: Sequence[Mistake]
    why_no_nearest: str
    files: Sequence[ModelFile]
    checks: Sequence[DataCheck]
    pictures: Mapping[int, str] | None
    training_pictures: Mapping[str, str]

    @property
    def uncalibrated(self) -> metrics.Probabilities | None:
        """The answers as they were before the temperature; None where that is not known."""
        if self.temperature is None:
            return None
        # Temperatures multiply: the logarithms are the logits that were divided by it.
        logarithms = np.log(np.maximum(self.evaluation.probabilities, 1e-30), dtype=np.float64)
        return metrics.softmax(logarithms * self.temperature)


def gather(
    model: str | Path,
    *,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
    split: str | None = None,
    data_dir: str | None = None,
    with_photos: bool = True,
    quick: bool = False,
) -> Findings:
    """Gathers what a report tells.

    Args:
        model: The folder of a run, or a file of its model.
        sources: Photos to score it on in place of the run's own.
        label_map: As `evaluate_model` takes it.
        split: As `evaluate_model` takes it.
        data_dir: As `evaluate_model` takes it.
        with_photos: Whether photos are shown.
        quick: Whether labels are left unjudged, which runs the base over all photos.

    Raises:
        UserError: As `evaluate_model`.
    """
    path = Path(model)
    run = Run.around(path)
    evaluation = evaluate_model(
        path, split=split, data_dir=data_dir, sources=sources, label_map=label_map
    )
    classifier = load_classifier(path)
    pairs = find_pairs(evaluation)
    mistakes, contents = _mistakes(classifier, evaluation, with_photos=with_photos)
    mistakes, why, training_pictures = _with_nearest(
        path, classifier, mistakes, contents, data_dir, with_photos=with_photos
    )
    shown: set[int] = set()
    for pair in pairs:
        shown |= {*pair.rows, *(row for row in pair.examples if row >= 0)}
    assert evaluation.photos is not None
    rows = sorted(shown)
    pictures = thumbnails(evaluation.photos.contents(rows), len(rows)) if with_photos else None
    return Findings(
        model=path,
        run=run,
        evaluation=evaluation,
        is_own_data=bool(sources),
        temperature=_temperature(run),
        history=_history(run),
        pairs=pairs,
        mistakes=mistakes,
        why_no_nearest=why,
        files=measure_files(path, classifier),
        checks=_checks(run, classifier, sources, label_map, data_dir, quick=quick),
        pictures=pictures,
        training_pictures=training_pictures,
    )


def find_pairs(evaluation: Evaluation) -> list[ConfusedPair]:
    """The pairs of classes that are most often taken for each other, at most `PAIRS`."""
    probabilities, classes = evaluation.probabilities, evaluation.classes
    given = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(given != classes)
    found = Counter(
        (min(pair), max(pair))
        for pair in zip(classes[wrong].tolist(), given[wrong].tolist(), strict=True)
    )
    matrix = evaluation.confusion_matrix
    pairs = []
    for (one, other), _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:PAIRS]:
        of_pair = [row for row in wrong if {int(classes[row]), int(given[row])} == {one, other}]
        of_pair.sort(key=lambda row: -probabilities[row].max())
        examples = [_most_typical(evaluation, number) for number in (one, other)]
        pairs.append(
            ConfusedPair(
                (one, other),
                (int(matrix[one, other]), int(matrix[other, one])),
                tuple(map(int, of_pair[:OF_A_PAIR])),
                (examples[0], examples[1]),
            )
        )
    return pairs


def _most_typical(evaluation: Evaluation, number: int) -> int:
    """The photo of a class that is most surely named right; -1 where none is."""
    probabilities = evaluation.probabilities
    right = (evaluation.classes == number) & (probabilities.argmax(axis=1) == number)
    rows = np.flatnonzero(right)
    return int(rows[probabilities[rows, number].argmax()]) if len(rows) else -1


def _mistakes(
    classifier: Classifier, evaluation: Evaluation, *, with_photos: bool
) -> tuple[list[Mistake], dict[int, bytes]]:
    """The most confident mistakes with their evidence, and the bytes of their photos."""
    probabilities, classes = evaluation.probabilities, evaluation.classes
    given = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(given != classes)
    rows = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:MISTAKES].tolist()
    photos = evaluation.photos
    assert photos is not None
    contents: dict[int, bytes] = {}
    for row, read in photos.contents(rows):
        try:
            contents[row] = read()
        except (OSError, UserError):
            _logger.warning(f"{printable(photos.names[row])} cannot be read any more")
    found = []
    for row in rows:
        names = [photos.labels[number] for number in (given[row], classes[row])]
        pictures: tuple[str, ...] = ()
        if with_photos and row in contents:
            pictures = _draw_mistake(classifier.explain(contents[row]), contents[row], names)
        found.append(
            Mistake(
                row,
                photos.names[row],
                names[0],
                names[1],
                float(probabilities[row, given[row]]),
                float(probabilities[row, classes[row]]),
                pictures,
            )
        )
    return found, contents


def _draw_mistake(evidence: Evidence, data: bytes, names: Sequence[str]) -> tuple[str, ...]:
    photo = read_photo(data, (_SIDE, _SIDE))
    photo.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    places = [evidence.of(name) for name in names]
    # One scale for both: what says little must look like little.
    limit = fullest(places)
    drawn = [photo, *(draw_places(photo, one, limit, _SIDE) for one in places)]
    return tuple(as_data(one, _QUALITY) for one in drawn)


def _with_nearest(
    model: Path,
    classifier: Classifier,
    mistakes: list[Mistake],
    contents: Mapping[int, bytes],
    data_dir: str | None,
    *,
    with_photos: bool,
) -> tuple[list[Mistake], str, dict[str, str]]:
    """The mistakes with the training photos that they resemble, or why not; and their pictures."""
    if not mistakes:
        return mistakes, "", {}
    try:
        if not classifier.similar_path.is_file():
            _logger.info("the training photos that others are compared with are looked at once")
            write_index(model, data_dir=data_dir, download=False)
        found = [
            one._replace(nearest=tuple(classifier.similar(contents[one.row], NEAREST)))
            if one.row in contents
            else one
            for one in mistakes
        ]
    except UserError as error:
        return mistakes, str(error), {}
    if not with_photos:
        return found, "", {}
    try:
        nearest = [photo for one in found for photo in one.nearest]
        files = read_photos(classifier, nearest, data_dir=data_dir)
    except (OSError, UserError) as error:
        return found, reason_of(error), {}
    digests = list(files)
    reads = [(row, functools.partial(bytes, files[one])) for row, one in enumerate(digests)]
    drawn = thumbnails(reads, len(reads))
    return found, "", {digests[row]: picture for row, picture in drawn.items()}


def _temperature(run: Run | None) -> float | None:
    found = run.metrics.get("temperature") if run is not None and run.is_finished else None
    return None if found is None else float(found)


def _history(run: Run | None) -> list[dict[str, float]]:
    if run is None or not run.history_path.is_file():
        return []
    try:
        with run.history_path.open(encoding="utf-8", newline="") as file:
            return [
                {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError):
        _logger.warning(f"{run.history_path} cannot be read; the report is without learning curves")
        return []


def measure_files(path: Path, classifier: Classifier) -> list[ModelFile]:
    """Size and speed of all files of a model.

    Args:
        path: The folder of the run, or one file of the model.
        classifier: The model, for the size of its input.
    """
    found = []
    folder = path if path.is_dir() else path.parent
    pixels = np.random.default_rng(0).integers(0, 256, (1, *classifier.image_size, 3), np.uint8)
    for one in models_in(folder):
        try:
            speed = _milliseconds(load_classifier(one), pixels)
        except UserError as error:  # a network that lies there for another reason
            _logger.info(f"{one} is not timed: {error}")
            continue
        found.append(ModelFile(str(one.relative_to(folder)), size_of(one), speed))
    return found


def _milliseconds(classifier: Classifier, pixels: npt.NDArray[np.uint8]) -> float:
    classifier.outputs(pixels)  # the first call prepares it
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        classifier.outputs(pixels)
        seconds.append(time.perf_counter() - started)
    return 1e3 * float(np.median(seconds))


def _checks(
    run: Run | None,
    classifier: Classifier,
    sources: Sequence[str],
    label_map: Sequence[str],
    data_dir: str | None,
    *,
    quick: bool,
) -> list[DataCheck]:
    """Looks at the photos as `keras-flowers data` does; what cannot be had is left out."""
    settings = run.settings if run is not None else {}
    # As `photos_of` finds the photos of a model that came from no --data.
    dataset = str(classifier.metadata.provenance.get("dataset", DATASET)).split(" + ")[0]
    own = settings.get("data") or [f"tfds:{name_to_read(dataset)}"]
    maps = list(label_map if sources else settings.get("label_map") or ())
    base = str(settings.get("base", ""))
    size = classifier.image_size[0]
    cache = cache_folder(settings.get("cache_dir"))
    features = None if quick or base not in BASES else base_features(base, size, cache)
    checks = []
    for number, one in enumerate(sources or own):
        if not is_there(one):
            _logger.info(f"{one} is not here: the report says nothing of its photos")
            continue
        # One for all of them, or one for each.
        file = maps[number if len(maps) > 1 else 0] if maps else None
        try:
            source = open_source(
                one,
                data_dir=data_dir or settings.get("data_dir"),
                category_names=None if sources else settings.get("category_names"),
            )
            checks.append(
                check_data(
                    source,
                    image_size=size,
                    features=features,
                    label_map=read_label_map(Path(file)) if file else None,
                    cache_dir=cache,
                )
            )
        except UserError as error:
            _logger.warning(f"the photos of {one} were not looked at: {error}")
    return checks
