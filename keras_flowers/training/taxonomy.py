"""Genus and family of classes of one's own, from a table; and of what a photo is said to show."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import NONE, Taxonomy
from keras_flowers.inference.flowers import FLOWERS
from keras_flowers.inference.text import printable

_COLUMNS: Final = ("label", "genus", "family")
_EXPECTED: Final = "expected a CSV file with the columns label, genus and family"


def read_taxonomy(path: str | Path) -> Taxonomy:
    """Reads a table of classes: their names as in --data, each with genus and family.

    Args:
        path: A CSV file with the columns `label`, `genus` and `family`; a genus or family that is
            not known is left empty. Other columns are not read.

    Raises:
        UserError: It cannot be read, lacks a column, or says two things about a label.
    """
    where = f"the taxonomy {printable(path)}"
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(_COLUMNS) <= set(reader.fieldnames or ()):
                columns = ", ".join(reader.fieldnames or ()) or "(none)"
                raise UserError(f"{where} has the columns {printable(columns)}; {_EXPECTED}")
            rows = [[(row[column] or "").strip() for column in _COLUMNS] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(f"{where} cannot be read ({reason}); {_EXPECTED}") from None
    found: dict[str, tuple[str, str]] = {}
    for label, genus, family in rows:
        if found.setdefault(label, (genus, family)) != (genus, family):
            raise UserError(
                f"{where} says two things about {printable(label)}: {found[label]} and "
                f"{(genus, family)}; expected one row for each label"
            )
    return found


def taxonomy_for(labels: Sequence[str], path: str | None) -> Taxonomy:
    """What `read_taxonomy` reads for the classes of a training.

    Args:
        labels: Their names.
        path: The table; None: there is none.

    Raises:
        UserError: As `read_taxonomy`; it has none of the classes; or one is called as the class
            that stands for none of them.
    """
    if NONE in labels:
        raise UserError(
            f"a class is called {NONE!r}, which is what the model itself says of photos of none of "
            "its classes; call the class otherwise, or label its photos unknown"
        )
    if path is None:
        return {}
    taxonomy = read_taxonomy(path)
    if not set(labels) & set(taxonomy):
        raise UserError(
            f"the taxonomy {printable(path)} has none of the {len(labels)} classes "
            f"({', '.join(map(printable, labels[:3]))}, ...); expected their names in the column "
            "label"
        )
    return taxonomy


def place_of_species(species: str, taxonomy: Taxonomy) -> tuple[str, str]:
    """Genus and family of a plant that a table of photos names; ("", "") where nobody knows.

    Args:
        species: As the table's column `species` has it.
        taxonomy: Read first, by the whole of `species`. Without a row there, the first word is
            the genus, where one of `FLOWERS` is of it.

    >>> place_of_species("iris missouriensis", {})
    ('Iris', 'Iridaceae')
    >>> place_of_species("tulip", {}), place_of_species("tulip", {"tulip": ("Tulipa", "Liliaceae")})
    (('', ''), ('Tulipa', 'Liliaceae'))
    """
    if species in taxonomy:
        return taxonomy[species]
    first = species.partition(" ")[0].capitalize()
    if not first:  # some of `FLOWERS` have no genus
        return "", ""
    return next(((one.genus, one.family) for one in FLOWERS if one.genus == first), ("", ""))
