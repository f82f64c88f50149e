"""Genus and family of classes of one's own: what is read, what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import NONE, groups_of, is_deadly
from keras_flowers.training.taxonomy import place_of_species, read_taxonomy, taxonomy_for

TABLE = """\ufefflabel,note,genus,family
apeldoorn,x, Tulipa ,Liliaceae
queen of night,,Tulipa,Liliaceae
oleander,,Nerium,
"""


def test_table_makes_groups_and_knows_the_deadly(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.csv"
    path.write_text(TABLE, encoding="utf-8")
    labels = ("apeldoorn", "queen of night", "oleander", "rose")
    taxonomy = taxonomy_for(labels, str(path))
    assert taxonomy["oleander"] == ("Nerium", "")
    assert [(one.taxon, one.classes) for one in groups_of(labels, taxonomy)] == [
        ("Tulipa", (0, 1)),
        ("Liliaceae", (0, 1)),
    ]
    assert [is_deadly(label, taxonomy) for label in labels] == [False, False, True, False]
    assert taxonomy_for(labels, None) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("label,genus\nrose,Rosa\n", "has the columns label, genus; expected a CSV file"),
        ("", r"has the columns \(none\)"),
        ("label,genus,family\nrose,Rosa,\nrose,Rubus,\n", "says two things about rose"),
        ("label,genus,family\nother,Rosa,Rosaceae\n", r"has none of the 2 classes \(rose, lotus"),
        (b"label,genus,family\n\xff,,\n", "cannot be read"),
        (None, "cannot be read .*; expected a CSV file with the columns label, genus and family"),
    ],
)
def test_wrong_table_is_one_line(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    path = tmp_path / "taxonomy.csv"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=message) as error:
        taxonomy_for(("rose", "lotus"), str(path))
    assert "\n" not in str(error.value)


def test_class_called_as_the_refusal_is_refused() -> None:
    with pytest.raises(UserError, match="a class is called 'none of these'.*call the class oth"):
        taxonomy_for(("rose", NONE), None)


def test_species_of_a_table_says_genus_and_family_where_it_can(tmp_path: Path) -> None:
    path = tmp_path / "species.csv"
    path.write_text("label,genus,family\nlily (other),Lilium,Liliaceae\n")
    taxonomy = read_taxonomy(path)
    assert place_of_species("lily (other)", taxonomy) == ("Lilium", "Liliaceae")
    assert place_of_species("dahlia 'palm beach'", taxonomy) == ("Dahlia", "Asteraceae")
    assert place_of_species("lily of the valley", taxonomy) == ("", "")
    assert place_of_species("", taxonomy) == ("", "")
