"""What a model says of photos is counted as people read it, and its accuracy against coverage."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="evaluating needs the extra [train]")

from keras_flowers.inference.doubt import Doubt, Thresholds, groups_of
from keras_flowers.training.answers import (
    KNOWN,
    SHARES,
    UNKNOWN_KIND,
    AnswerCounts,
    OtherPhotos,
    answers_as_dict,
    count_answers,
    coverage_curve,
    separations,
)
from keras_flowers.training.sources.source import Subject

LABELS = ("sweet william", "carnation", "rose")
DOUBT = Doubt(Thresholds(known=0.4, sure=0.8, group=0.9), tuple(groups_of(LABELS)))

ANSWERS = {
    "sweet william": (0.9, 0.1, 0.0),
    "rose": (0.0, 0.1, 0.9),
    "perhaps rose or carnation": (0.1, 0.3, 0.6),
    "perhaps rose": (0.15, 0.15, 0.7),
    "pinks": (0.5, 0.45, 0.05),
}


def rows(*names: str) -> np.ndarray:
    return np.array([ANSWERS[name] for name in names], np.float32)


def counts(kind: str, photos: int, **some: int) -> AnswerCounts:
    return AnswerCounts(kind, photos, **{**dict.fromkeys(AnswerCounts._fields[2:], 0), **some})


def test_each_answer_about_a_photo_of_a_class_is_right_wrong_or_a_refusal() -> None:
    said = ["rose", "sweet william", *["perhaps rose or carnation"] * 2, "pinks", "pinks", "rose"]
    classes = np.array([2, 2, 1, 0, 1, 2, 2])
    known = np.array([0.9] * 6 + [0.1], np.float32)
    (row,) = count_answers(rows(*said), known, classes, None, DOUBT, LABELS)
    assert row == counts(
        KNOWN,
        7,
        right_name=1,
        wrong_name=1,
        right_perhaps=1,
        wrong_perhaps=1,
        right_group=1,
        wrong_group=1,
        refused=1,
    )
    assert (row.names, row.perhaps, row.groups) == (2, 2, 2)


def test_other_photos_have_a_row_for_each_kind_and_groups_are_judged_by_species() -> None:
    subjects = [Subject("other flower", "x")] * 5 + [Subject("no flower"), Subject()]
    places = [("Dianthus", "Caryophyllaceae"), ("Silene", "Caryophyllaceae"), ("", "")]
    places += [("Rosa", "Rosaceae"), ("Dianthus", "Caryophyllaceae"), ("", ""), ("", "")]
    said = ["pinks", "pinks", "pinks", "rose", "sweet william", "pinks", "perhaps rose"]
    others = OtherPhotos(
        rows(*said),
        np.array([0.9] * 5 + [0.1, 0.9], np.float32),
        tuple(subjects),
        tuple(places),
    )
    _, *found = count_answers(
        rows("rose"), np.ones(1, np.float32), np.array([2]), others, DOUBT, LABELS
    )
    assert found == [
        # "some Dianthus" is right of a pink, wrong of a campion; any name is wrong.
        counts("other flower", 5, right_group=1, wrong_group=1, unclear_group=1, wrong_name=2),
        counts("no flower", 1, refused=1),
        counts(UNKNOWN_KIND, 1, wrong_perhaps=1),
    ]


def test_model_without_doubt_names_everything() -> None:
    others = OtherPhotos(rows("pinks"), None, (Subject("no flower"),), (("", ""),))
    found = count_answers(rows("pinks", "rose"), None, np.array([1, 2]), others, None, LABELS)
    assert found == [
        counts(KNOWN, 2, right_name=1, wrong_name=1),
        counts("no flower", 1, wrong_name=1),
    ]
    content = answers_as_dict(found, None)
    assert content["thresholds"] == {}
    assert content["by_kind"][1]["kind"] == "no flower"


def test_curve_takes_the_surest_first_and_says_who_else_would_be_named() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], np.float32)
    known = np.array([1.0, 0.5, 1.0, 1.0], np.float32)  # the second falls to 0.4
    classes = np.array([0, 1, 1, 0])
    others = OtherPhotos(
        np.array([[0.65, 0.35], [1.0, 0.0]], np.float32),
        np.array([1.0, 0.1], np.float32),
        (Subject("other flower"), Subject("no flower")),
        (("", ""),) * 2,
    )
    whole, half, least = coverage_curve(probabilities, known, classes, others, (1.0, 0.5, 0.25))
    assert (whole.coverage, whole.accuracy) == (1.0, 0.5)
    assert whole.least == pytest.approx(0.4)
    assert whole.others == {"other flower": 1.0, "no flower": 0.0}
    assert (half.coverage, half.accuracy) == (0.5, 1.0)
    assert half.others == {"other flower": 0.0, "no flower": 0.0}
    assert (least.coverage, least.least) == (0.25, pytest.approx(0.9))
    assert len(coverage_curve(probabilities, None, classes)) == len(SHARES) == 100
    assert coverage_curve(probabilities, None, classes)[0].others == {}


def test_separation_compares_right_names_with_each_kind_of_others() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.1, 0.9]], np.float32)
    known = np.array([*np.linspace(0.1, 1.0, 10), 0.0], np.float32)
    classes = np.zeros(11, int)  # the last is named wrongly, and does not count
    others = OtherPhotos(
        np.full((3, 2), 0.5, np.float32),
        np.array([0.15, 0.35, 0.05], np.float32),
        (Subject("other flower"), Subject("other flower"), Subject("no flower")),
        (("", ""),) * 3,
    )
    flowers, nothing = separations(probabilities, known, classes, others)
    # 0.15 is above one of ten, 0.35 above three.
    assert flowers == ("other flower", pytest.approx(0.8), 0.5)
    assert nothing == ("no flower", 1.0, 0.0)
    assert separations(probabilities, known, np.ones(11, int) * 5, others) == []
    assert separations(probabilities, known, classes, None) == []
