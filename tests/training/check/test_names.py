"""Names of classes that may be one are found, and names of two flowers are not."""

from __future__ import annotations

import pytest

from keras_flowers.inference.flowers import FLOWERS

pytest.importorskip("scipy", reason="the check needs the extra [train]")
pytest.importorskip("tensorflow", reason="the check needs the extra [train]")

from keras_flowers.training.check.names import double_names


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("rose", "roses", "singular and plural"),
        ("iris", "irises", "singular and plural"),
        ("Daisies", "daisy", "singular and plural"),
        ("water lily", "Water-Lily ", "the same letters"),
        ("sunflower", "sunflowr", "one letter"),
        ("sunflower", "sunflwoer", "one letter"),
        ("sunflower", "sunflowerr", "one letter"),
        ("sunflower", "sunflawer", "one letter"),
    ],
)
def test_slips_are_found(one: str, other: str, reason: str) -> None:
    assert [found.reason for found in double_names(["tulip", one, other])] == [reason]
    assert [found[:2] for found in double_names([other, "tulip", one])] == [(0, 2)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rose", "nose"),
        ("cultivar 12", "cultivar 13"),
        ("1", "2"),
        ("corn poppy", "california poppy"),
        ("lily", "fire lily"),
        ("!", "?"),
    ],
)
def test_two_flowers_are_two(one: str, other: str) -> None:
    assert double_names([one, other]) == []


def test_no_two_of_the_102_flowers_are_taken_for_one() -> None:
    assert double_names([flower.name for flower in FLOWERS]) == []
