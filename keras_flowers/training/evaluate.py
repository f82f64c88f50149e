"""Scores any model file on labelled photos, and any predict function on batches of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.inference.doubt import Doubt
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores, import_tensorflow
from keras_flowers.training import metrics
from keras_flowers.training.answers import (
    AnswerCounts,
    CoveragePoint,
    OtherPhotos,
    Separation,
    answers_as_dict,
    count_answers,
    coverage_curve,
    separations,
)
from keras_flowers.training.run_directory import Run, photos_of
from keras_flowers.training.sources.source import UNKNOWN
from keras_flowers.training.taxonomy import place_of_species, read_taxonomy

if TYPE_CHECKING:
    from keras_flowers.training.sources.labelled import LabelledPhotos

Predict = Callable[[npt.NDArray[np.uint8]], metrics.Probabilities]


@dataclass(frozen=True)
class Evaluation:
    """How a model does on the photos of a split.

    Attributes:
        model: The model file or folder.
        provenance: Where the model comes from, as it says itself.
        dataset: Name and version of the data set.
        split: TFDS split expression.
        labels: The name of each class.
        image_size: Height and width in pixels to which each whole photo was squashed.
        scores: Accuracies with their intervals, calibration, log loss.
        confusion_matrix: int64 [C, C]: row the true class, column the predicted one.
        probabilities: float32 [photos, C], the answer for each photo.
        classes: int64 [photos], the true class of each.
        sources: The source of each photo: what the column `source` of a table says, or else the
            data set or folder that it lies in.
        unknown_count: How many other photos of the data show none of the classes. The scores are
            without them.
        learned_count: How many of the scored photos the model was trained on, as far as the data
            set or the run's `split.csv` say: about others, the scores say little then.
        photos: The scored photos themselves, where they are at hand.
        known: float32 [photos], how likely each shows one of the classes at all; None where the
            model does not say.
        doubt: What the model says of doubtful answers, if it does.
        others: The answers for the photos that show none of the classes, where they came with those
            that are scored.
    """

    model: Path
    provenance: dict[str, Any]
    dataset: str
    split: str
    labels: tuple[str, ...]
    image_size: tuple[int, int]
    scores: metrics.Scores
    confusion_matrix: npt.NDArray[np.int64]
    probabilities: metrics.Probabilities
    classes: npt.NDArray[np.int64]
    sources: tuple[str, ...]
    unknown_count: int
    learned_count: int
    photos: LabelledPhotos | None = field(default=None, repr=False)
    known: metrics.Probabilities | None = None
    doubt: Doubt | None = None
    others: OtherPhotos | None = None

    @functools.cached_property
    def by_source(self) -> list[metrics.PartScores]:
        """The scores of each source, that with the most photos first."""
        return metrics.score_parts(self.probabilities, self.classes, self.sources)

    @functools.cached_property
    def by_class(self) -> list[metrics.PartScores]:
        """The scores of each class that there are photos of, that with the most first."""
        names = [self.labels[number] for number in self.classes.tolist()]
        return metrics.score_parts(self.probabilities, self.classes, names)

    @functools.cached_property
    def reliability(self) -> list[metrics.ReliabilityBin]:
        """How often it is right where it says how sure it is."""
        return metrics.reliability(self.probabilities, self.classes)

    @functools.cached_property
    def answers(self) -> list[AnswerCounts]:
        """What it says, by kind of photo: names, groups, refusals; see `count_answers`."""
        return count_answers(
            self.probabilities, self.known, self.classes, self.others, self.doubt, self.labels
        )

    @functools.cached_property
    def coverage(self) -> list[CoveragePoint]:
        """Accuracy against coverage, a point for each of 100 to 1 %; see `coverage_curve`."""
        return coverage_curve(self.probabilities, self.known, self.classes, self.others)

    @functools.cached_property
    def separations(self) -> list[Separation]:
        """How well it tells what it names rightly from other photos; see `answers.separations`."""
        return separations(self.probabilities, self.known, self.classes, self.others)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the scores, of what and on what, as a whole and in parts."""
        return {
            "model": str(self.model),
            "dataset": self.dataset,
            "split": self.split,
            "trained_on": self.provenance.get("trained_on"),
            "protocol": {
                "image_size": list(self.image_size),
                "resize": "whole photo squashed",
                "left_out_unknown": self.unknown_count,
                "learned_from": self.learned_count,
            },
            **self.scores.as_dict(),
            "answers": answers_as_dict(self.answers, self.doubt),
            "coverage": [one._asdict() for one in self.coverage],
            "separations": [one._asdict() for one in self.separations],
            "reliability": [one._asdict() for one in self.reliability],
            "by_source": [_part_as_dict(one) for one in self.by_source],
            "by_class": [_part_as_dict(one) for one in self.by_class],
        }


def evaluate_model(
    model: str | Path,
    *,
    split: str | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
    taxonomy: str | Path | None = None,
) -> Evaluation:
    """Scores a model file on the photos of a split; every photo counts.

    Args:
        model: A `.keras` or `.tflite` file, a SavedModel folder or the folder of a run.
        split: Split expression; None: test, or all photos of `sources` without splits.
        dataset: TFDS data set; None: the one that the model was trained on, in the same version.
        data_dir: Where TFDS keeps it; None: where training had it from, or TFDS's own folder.
        sources: Photos of other sources: folders, tables or data sets, as --data takes them.
        label_map: Files that say which of the model's classes their labels are.
        taxonomy: A table of label, genus and family, whose labels are what the column `species` of
            `sources` says of photos labelled `unknown`: it decides whether a group is right. None:
            only those count whose species begins with the genus of one of the 102 flowers.

    Returns:
        The scores, the confusion matrix, and the answer for each photo. Photos that show none of
        the model's classes (their label is `unknown`) are not scored; where they are of `sources`,
        what is said of them is counted.

    Raises:
        UserError: The model cannot be loaded, the data set cannot be had, or their classes differ.
    """
    import_tensorflow()

    path = Path(model)
    run = Run.around(path)
    classifier = load_classifier(path, workers=available_cores())
    photos = photos_of(
        path,
        classifier.metadata,
        split,
        run=run,
        dataset=dataset,
        data_dir=data_dir,
        sources=sources,
        label_map=label_map,
    )
    if (photos.label_numbers < 0).any():
        raise UserError(
            f"the split {photos.split!r} of {photos.dataset} has photos of none of the classes, "
            "which cannot be named correctly; choose another --split"
        )
    species = {} if taxonomy is None else read_taxonomy(taxonomy)
    outputs, classes = _answers(classifier, photos)
    probabilities, known = classifier.divided(outputs)
    learned_count = count_learned(photos, classifier.metadata.provenance, run)
    others = None
    # Of the run's own sources, the photos labelled unknown may have been learned from.
    if sources and photos.unknown_count:
        strange = photos.of_split(UNKNOWN)
        learned_count += count_learned(strange, classifier.metadata.provenance, run)
        others = OtherPhotos(
            *classifier.divided(_answers(classifier, strange)[0]),
            strange.subjects,
            tuple(place_of_species(one.species, species) for one in strange.subjects),
        )
    return Evaluation(
        model=path,
        provenance=classifier.metadata.provenance,
        dataset=photos.dataset,
        split=photos.split,
        labels=photos.labels,
        image_size=classifier.image_size,
        scores=metrics.score(probabilities, classes, photos.origins),
        confusion_matrix=metrics.confusion_matrix(probabilities, classes, len(photos.labels)),
        probabilities=probabilities,
        classes=classes,
        sources=photos.origins,
        unknown_count=photos.unknown_count,
        photos=photos,
        learned_count=learned_count,
        known=known,
        doubt=classifier.metadata.doubt,
        others=others,
    )


def _answers(
    classifier: Classifier, photos: LabelledPhotos
) -> tuple[metrics.Probabilities, npt.NDArray[np.int64]]:
    """What a model gives for each photo, and the photo's class."""
    from keras_flowers.training import data

    batches = data.pixels(photos, classifier.image_size).as_numpy_iterator()
    with progress_bar(
        total=photos.count, unit="photo", description=f"{photos.dataset} {photos.split}"
    ) as bar:

        def predict(pixels: npt.NDArray[np.uint8]) -> metrics.Probabilities:
            answer = classifier.outputs(pixels)
            bar.update(len(pixels))
            return answer

        return predict_dataset(predict, batches)


def count_learned(photos: LabelledPhotos, provenance: Mapping[str, Any], run: Run | None) -> int:
    """How many photos are among those that a model says it was trained on; opens none of them.

    Args:
        photos: The photos.
        provenance: What the model says of itself.
        run: Its run, whose `split.csv` knows more; None: it has none.
    """
    from keras_flowers.training.sources.labelled import positions_of
    from keras_flowers.training.sources.photo_set import read_division
    from keras_flowers.training.sources.tfds import TfdsPhotos

    split = str(provenance.get("trained_on", {}).get("split", ""))
    if run is not None and run.split_path.is_file():
        sides = {part.partition("[")[0].strip() for part in split.split("+")} | {UNKNOWN}
        division = read_division(run.split_path)
        return sum(division.get(digest) in sides for digest in photos.digests.tolist())
    # Of several data sets the first has the splits.
    first = str(provenance.get("dataset")).split(" + ")[0]
    count = 0
    for part in photos.parts:
        if split and isinstance(part.photos, TfdsPhotos) and part.name == first:
            learned = set(positions_of(TfdsPhotos(part.photos.builder, split)))
            count += len(learned.intersection(part.positions))
    return count


def _part_as_dict(part: metrics.PartScores) -> dict[str, Any]:
    return {**part._asdict(), "accuracy": part.accuracy}


def predict_dataset(
    predict: Predict, batches: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]
) -> tuple[metrics.Probabilities, npt.NDArray[np.int64]]:
    """Runs a predict function over labelled photos; every photo counts, the last batch too.

    Args:
        predict: pixels uint8 [N, H, W, 3] 0..255 -> probabilities float32 [N, C].
        batches: (pixels, labels) as `predict` takes them.

    Returns:
        probabilities [photos, C] and labels [photos], as `metrics.score` takes them.
    """
    answers, labels = [], []
    for pixels, correct in batches:
        answers.append(predict(pixels))
        labels.append(correct)
    return np.concatenate(answers), np.concatenate(labels)
