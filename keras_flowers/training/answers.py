"""Counts what a model says of photos: names, groups, refusals; and accuracy against coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.inference.doubt import Answer, Doubt
from keras_flowers.inference.prediction import Prediction
from keras_flowers.training.metrics import Labels, Probabilities
from keras_flowers.training.sources.source import Subject

KNOWN = "of its classes"
"""The kind of the photos that show one of the model's classes."""

UNKNOWN_KIND = "of none of them"
"""The kind of photos labelled `unknown` whose table does not say more."""

KEPT = 0.9
"""The share of right answers that are kept, where `separations` says what else is named then."""

SHARES = tuple(share / 100 for share in range(100, 0, -1))
"""The coverages of a curve: a point for each of 1 to 100 per cent."""


class OtherPhotos(NamedTuple):
    """What a model answers about photos labelled `unknown`.

    Attributes:
        probabilities: float32 [M, C], of the classes, each row adding up to 1.
        known: float32 [M]; None where the model does not say.
        subjects: What each shows, as its table says.
        places: Genus and family of each, both "" where the table's words do not say them.
    """

    probabilities: Probabilities
    known: Probabilities | None
    subjects: tuple[Subject, ...]
    places: tuple[tuple[str, str], ...]


class AnswerCounts(NamedTuple):
    """What is said of all photos of a kind; the counts add up to `photos`.

    Attributes:
        kind: `KNOWN`, or what the column `kind` of their table says.
        photos: How many there are.
        right_name: One name, without a "perhaps", and the right one.
        wrong_name: One name, and a wrong one: of a photo of none of the classes, any.
        right_perhaps: "Perhaps" one or two names, the right one among them.
        wrong_perhaps: "Perhaps" names, all of them wrong.
        right_group: A genus or family, and the photo's. Of photos of none of the classes, genus and
            family are those that `place_of_species` finds for their table's column `species`.
        wrong_group: A genus or family that is not the photo's.
        unclear_group: One, of a photo whose genus and family nobody says.
        refused: That it is none of the classes.
    """

    kind: str
    photos: int
    right_name: int
    wrong_name: int
    right_perhaps: int
    wrong_perhaps: int
    right_group: int
    wrong_group: int
    unclear_group: int
    refused: int

    @property
    def names(self) -> int:
        """How many get one name."""
        return self.right_name + self.wrong_name

    @property
    def perhaps(self) -> int:
        """How many get one or two names with a "perhaps"."""
        return self.right_perhaps + self.wrong_perhaps

    @property
    def groups(self) -> int:
        """How many get a genus or family."""
        return self.right_group + self.wrong_group + self.unclear_group


def count_answers(
    probabilities: Probabilities,
    known: Probabilities | None,
    classes: Labels,
    others: OtherPhotos | None,
    doubt: Doubt | None,
    labels: Sequence[str],
) -> list[AnswerCounts]:
    """Counts what is said, as people read it, by kind of photo.

    Args:
        probabilities: float32 [N, C], of photos that show one of the classes.
        known: float32 [N]; None where the model does not say.
        classes: int [N], the class of each.
        others: Photos that show none; None: there are none.
        doubt: What the model says of doubtful answers; None: it names whatever it is shown.
        labels: The name of each class.

    Returns:
        First the photos of the classes, then a row for each kind of the others, that with the most
        photos first.
    """
    answers = _answers(probabilities, known, doubt, labels)
    # Right is what speaks of the class, whether of it alone or with others.
    right = [
        labels[number] in answer.names
        for answer, number in zip(answers, classes.tolist(), strict=True)
    ]
    rows = [_count(KNOWN, answers, right)]
    if others is None:
        return rows
    answers = _answers(others.probabilities, others.known, doubt, labels)
    # A name of one of the classes is wrong, whatever the genus.
    judged = [
        (answer.taxon in place if any(place) else None) if answer.kind == "group" else False
        for answer, place in zip(answers, others.places, strict=True)
    ]
    for kind, numbers in kinds_of(others.subjects).items():
        rows.append(_count(kind, [answers[n] for n in numbers], [judged[n] for n in numbers]))
    return rows


def kinds_of(subjects: Sequence[Subject]) -> dict[str, list[int]]:
    """The numbers of the photos of each kind, that with the most photos first."""
    found: dict[str, list[int]] = {}
    for number, subject in enumerate(subjects):
        found.setdefault(subject.kind or UNKNOWN_KIND, []).append(number)
    return dict(sorted(found.items(), key=lambda one: -len(one[1])))


def _answers(
    probabilities: Probabilities,
    known: Probabilities | None,
    doubt: Doubt | None,
    labels: Sequence[str],
) -> list[Answer]:
    shares = [None] * len(probabilities) if known is None else known.tolist()
    return [
        Prediction(tuple(labels), row, known=share, doubt=doubt).answer
        for row, share in zip(probabilities, shares, strict=True)
    ]


def _count(kind: str, answers: Sequence[Answer], right: Sequence[bool | None]) -> AnswerCounts:
    counts: dict[str, int] = dict.fromkeys(AnswerCounts._fields[2:], 0)
    words = {True: "right", False: "wrong", None: "unclear"}
    for answer, one in zip(answers, right, strict=True):
        counts["refused" if answer.kind == "none" else f"{words[one]}_{answer.kind}"] += 1
    return AnswerCounts(kind, len(answers), **counts)


class CoveragePoint(NamedTuple):
    """What holds when only the answers above a confidence are taken.

    The confidence is the probability of the likeliest name as the model's file gives it: that of
    the name, times `known` where the model says it.

    Attributes:
        least: The confidence, 0..1, of the least confident answer that is taken.
        coverage: The share of the photos of the classes whose answer is taken.
        accuracy: The share of these whose likeliest name is right.
        others: For each kind of other photos, the share that would be named, too.
    """

    least: float
    coverage: float
    accuracy: float
    others: dict[str, float]


def coverage_curve(
    probabilities: Probabilities,
    known: Probabilities | None,
    classes: Labels,
    others: OtherPhotos | None = None,
    shares: Sequence[float] = SHARES,
) -> list[CoveragePoint]:
    """Accuracy against coverage: how often a model is right where it may be silent of the rest.

    A picture of it has `coverage` across and `accuracy` upwards, and for each kind in `others` a
    line of its own; `Evaluation.coverage` is this of an evaluation.

    Args:
        probabilities: float32 [N, C], of photos that show one of the classes.
        known: float32 [N]; None where the model does not say.
        classes: int [N], the class of each.
        others: Photos that show none; None: there are none.
        shares: The coverages, each above 0, at most 1. With few photos several give the same point.

    Returns:
        A point for each share, in their order.
    """
    confidence = _confidence(probabilities, known)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == classes)[order]
    rest = {} if others is None else kinds_of(others.subjects)
    of_others = None if others is None else _confidence(others.probabilities, others.known)
    points = []
    for share in shares:
        count = max(round(share * len(order)), 1)
        least = float(confidence[order[count - 1]])
        named = {
            kind: float((of_others[numbers] >= least).mean())
            for kind, numbers in rest.items()
            if of_others is not None
        }
        accuracy = float(right[:count].mean())
        points.append(CoveragePoint(least, count / len(order), accuracy, named))
    return points


def _confidence(probabilities: Probabilities, known: Probabilities | None) -> npt.NDArray[Any]:
    top = probabilities.max(axis=1)
    return np.asarray(top if known is None else top * known)


class Separation(NamedTuple):
    """How well `known` tells rightly named photos of the classes from others.

    Attributes:
        kind: Of the others.
        auroc: How often a rightly named photo has the larger `known` of a pair, 0..1; 0.5: no
            better than a coin.
        named: The share of the others that get an answer where `KEPT` of the right names do.
    """

    kind: str
    auroc: float
    named: float


def separations(
    probabilities: Probabilities,
    known: Probabilities | None,
    classes: Labels,
    others: OtherPhotos | None,
) -> list[Separation]:
    """How well `known` tells what a model names rightly from what is none of its classes.

    Args:
        probabilities: float32 [N, C], of photos that show one of the classes.
        known: float32 [N]; None where the model does not say, and then the largest probability
            stands for it.
        classes: int [N], the class of each.
        others: Photos that show none; None: there are none.

    Returns:
        One for each kind of the others, that with the most photos first; none where no photo is
        named rightly.
    """
    from scipy.stats import mannwhitneyu

    right = probabilities.argmax(axis=1) == classes
    if others is None or not right.any():
        return []
    own = (probabilities.max(axis=1) if known is None else known)[right]
    theirs = others.probabilities.max(axis=1) if others.known is None else others.known
    least = np.quantile(own, 1 - KEPT)
    found = []
    for kind, numbers in kinds_of(others.subjects).items():
        some = theirs[numbers]
        above = float(mannwhitneyu(own, some).statistic) / (len(own) * len(some))
        found.append(Separation(kind, above, float((some >= least).mean())))
    return found


def answers_as_dict(rows: Sequence[AnswerCounts], doubt: Doubt | None) -> dict[str, Any]:
    """JSON-ready: the counts, and the thresholds that they were made with."""
    thresholds: Mapping[str, Any] = {} if doubt is None else doubt.as_dict()["thresholds"]
    return {"thresholds": dict(thresholds), "by_kind": [row._asdict() for row in rows]}
