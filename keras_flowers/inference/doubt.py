"""What is said of a photo: a name, two, a group of plants, or that it is none of these.

The one place where an answer is put into words; the command, the chart, tables and notebooks say
what stands here, and page/src/doubt.ts follows it line by line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from keras_flowers.errors import UserError
from keras_flowers.inference.flowers import DEADLY_GENERA, FAMILY_NAMES, flower_named
from keras_flowers.inference.text import percent

NONE: Final = "none of these"
"""The name of the last class, whose probability is 1 - known."""

WARNING: Final = "has deadly relatives or is deadly itself: no guide to what may be eaten"

GAIN: Final = 0.05
"""So much likelier than the likeliest name is a group that is given in its place. Else it would be
the sum of one name, and say less than that. Of 18 groups given for flowers that are none of the
classes, but of a family that has some, 7 were wrong without it, 6 of these such sums."""

Kind: TypeAlias = Literal["name", "perhaps", "group", "none"]

Taxonomy: TypeAlias = Mapping[str, tuple[str, str]]
"""Genus and family of classes of one's own, by their names; either "" where it is not known."""

_SECOND = 0.1  # the least probability of a second name that is worth saying
_ALIKE = 3  # so many names are said of what is none of them


@dataclass(frozen=True)
class Thresholds:
    """From where on something is said.

    Attributes:
        known: The least `known` of a photo of which anything but "none of these" is said.
        sure: The least probability of a name that is given alone, without a "perhaps".
        group: The least probability of a genus or family that is given in place of a name. See
            `GAIN`, too.
    """

    known: float
    sure: float
    group: float

    def but(self, changes: Mapping[str, float]) -> Thresholds:
        """The same with some changed.

        Raises:
            UserError: There is none of such a name, or a value is not 0..1.
        """
        for name, value in changes.items():
            if name not in ("known", "sure", "group") or not 0 <= value <= 1:
                raise UserError(
                    f"{name}={value:g} is no threshold; expected known, sure or group, each 0 to 1"
                )
        return replace(self, **changes)


class Group(NamedTuple):
    """Classes of one genus or family.

    Attributes:
        name: How it is spoken of, such as "a plant of the daisy family (Asteraceae)".
        classes: Their numbers, at least two.
    """

    name: str
    classes: tuple[int, ...]

    @property
    def taxon(self) -> str:
        """The genus or family itself.

        >>> Group("some Iris", (0, 1)).taxon
        'Iris'
        >>> Group("a plant of the daisy family (Asteraceae)", (0, 1)).taxon
        'Asteraceae'
        """
        return self.name.split()[-1].strip("()")


@dataclass(frozen=True)
class Doubt:
    """What a model with a class for photos of none of the others says about its answers.

    Attributes:
        thresholds: From where on something is said.
        groups: The groups that its classes form, genera before families.
        deadly: The classes whose genus holds plants that have killed people.
        fitted: JSON-ready: which photos `known` and the thresholds were fitted on.
    """

    thresholds: Thresholds
    groups: tuple[Group, ...] = ()
    deadly: tuple[int, ...] = ()
    fitted: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `read_doubt` reads it."""
        return {
            "none": NONE,
            "thresholds": asdict(self.thresholds),
            "groups": [{"name": one.name, "classes": list(one.classes)} for one in self.groups],
            "deadly": list(self.deadly),
            "fitted": dict(self.fitted or {}),
        }


def read_doubt(content: Any) -> Doubt:
    """Reads what `as_dict` gave.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    thresholds = {name: float(value) for name, value in content["thresholds"].items()}
    groups = [
        Group(str(one["name"]), tuple(int(number) for number in one["classes"]))
        for one in content["groups"]
    ]
    deadly = tuple(int(number) for number in content["deadly"])
    return Doubt(Thresholds(**thresholds), tuple(groups), deadly, dict(content["fitted"]))


@dataclass(frozen=True)
class Answer:
    """What is said of a photo.

    Attributes:
        kind: `name`, sure of it; `perhaps`, one or two names; `group`, a genus or family; `none`.
        text: The answer in words.
        warning: What must be said with it: "" unless a plant that is named is of a genus with
            deadly ones.
        names: The classes that it speaks of: one or two of a name, all of a group; of what is
            none of them, those that it looks like.
        taxon: The genus or family of a group.
    """

    kind: Kind
    text: str
    warning: str = ""
    names: tuple[str, ...] = ()
    taxon: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest name alone says all of it."""
        return self.kind == "name" and not self.warning

    def __str__(self) -> str:
        return f"{self.text} ({self.warning})" if self.warning else self.text


def answer(
    top: Sequence[tuple[str, float]],
    known: float | None,
    doubt: Doubt | None,
    labels: Sequence[str],
    probabilities: Sequence[float],
) -> Answer:
    """Puts an answer into words.

    Args:
        top: The likeliest names with their probabilities, the likeliest first, at least one.
        known: How likely the photo shows one of the classes at all, 0..1; None where the model
            does not say.
        doubt: Thresholds and groups; None where the model does not say, and then the likeliest name
            is the answer.
        labels: The name of each class.
        probabilities: Of each class, adding up to 1.
    """
    deadly = set() if doubt is None else {labels[number] for number in doubt.deadly}

    def said(kind: Kind, text: str, names: Sequence[str], taxon: str = "") -> Answer:
        # A file without doubt does not say which classes are deadly.
        some = [name for name in names if name in deadly or is_deadly(name)]
        warning = f"{', '.join(some)}: {WARNING}" if some else ""
        return Answer(kind, text, warning, tuple(names), taxon)

    name, probability = top[0]
    if known is None or doubt is None:
        return said("name", name, [name])
    if known < doubt.thresholds.known:
        alike = [one for one, _ in top[:_ALIKE]]
        kinds = "flower" if len(labels) == 1 else f"{len(labels)} flowers"
        return said(
            "none",
            f"none of the {kinds} this model knows; most like: {', '.join(alike)}",
            alike,
        )
    if probability >= doubt.thresholds.sure:
        return said("name", name, [name])
    for group in doubt.groups:
        share = sum(probabilities[number] for number in group.classes)
        if share >= doubt.thresholds.group and share - probability >= GAIN:
            members = [labels[number] for number in group.classes]
            return said("group", f"{group.name}, {percent(share)}", members, group.taxon)
    likeliest = [one for one in top[:2] if one[1] >= _SECOND or one[0] == name]
    names = " or ".join(f"{with_article(one)} ({percent(share)})" for one, share in likeliest)
    return said("perhaps", f"perhaps {names}", [one for one, _ in likeliest])


def is_deadly(name: str, taxonomy: Taxonomy | None = None) -> bool:
    """Whether the genus of a class holds plants that have killed people.

    >>> is_deadly("foxglove"), is_deadly("sunflower"), is_deadly("a class of one's own")
    (True, False, False)
    >>> is_deadly("oleander", {"oleander": ("Nerium", "Apocynaceae")})
    True
    """
    return _place_of(name, taxonomy or {})[0] in DEADLY_GENERA


def with_article(name: str) -> str:
    """A common name as one says it.

    >>> with_article("rose"), with_article("azalea"), with_article("canterbury bells")
    ('a rose', 'an azalea', 'canterbury bells')
    """
    # A crocus, an iris, a cosmos, a moss.
    if name.endswith("s") and not name.endswith(("us", "is", "os", "ss")):
        return name
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def groups_of(labels: Sequence[str], taxonomy: Taxonomy | None = None) -> list[Group]:
    """The genera and families that at least two of the classes share; genera first.

    Args:
        labels: The name of each class.
        taxonomy: Of classes that are not in `FLOWERS`, or are other plants here.

    >>> [one.name for one in groups_of(["sweet william", "carnation", "rose"])]
    ['some Dianthus', 'a plant of the pink family (Caryophyllaceae)']
    """
    genera: dict[str, list[int]] = {}
    families: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        genus, family = _place_of(label, taxonomy or {})
        if genus:
            genera.setdefault(genus, []).append(number)
        if family:
            families.setdefault(family, []).append(number)
    named = [(f"some {genus}", classes) for genus, classes in genera.items()]
    named += [(_name_of_family(family), classes) for family, classes in families.items()]
    return [Group(name, tuple(classes)) for name, classes in named if len(classes) > 1]


def _place_of(label: str, taxonomy: Taxonomy) -> tuple[str, str]:
    if label in taxonomy:
        return taxonomy[label]
    flower = flower_named(label)
    return (flower.genus, flower.family) if flower else ("", "")


def _name_of_family(family: str) -> str:
    common = FAMILY_NAMES.get(family)
    return f"a plant of the {common} family ({family})" if common else f"one of the {family}"
