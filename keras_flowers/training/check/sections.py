"""What was found in photos, as sections of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple, TypeAlias

import numpy as np

from keras_flowers.inference.text import percent, printable
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.duplicates import DuplicateGroup
from keras_flowers.training.pages import (
    as_grid,
    as_picture,
    as_table,
    as_text,
    counted,
    thumbnails,
)

Pictures: TypeAlias = Mapping[int, str] | None
"""As `as_picture` takes them."""

Groups: TypeAlias = Sequence[DuplicateGroup]


class Most(NamedTuple):
    """How much of each kind is shown: what a person looks through at one go."""

    wrong: int = 96
    strangers: int = 48
    tiny: int = 24
    groups: int = 32
    in_a_group: int = 6
    lines: int = 200


MOST = Most()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Its name in the address.
        title: What it is about.
        count: How much was found.
        todo: What to do, as the list at the top says it; HTML.
        text: What it means; HTML.
        body: What was found; HTML.
    """

    anchor: str
    title: str
    count: int
    todo: str
    text: str
    body: str


def sections_of(check: DataCheck, most: Most = MOST, *, with_photos: bool = True) -> list[Section]:
    """What was looked for, whether it was found or not.

    Args:
        check: What was found.
        most: How much of it is shown.
        with_photos: Whether the photos themselves are shown.
    """
    examples = _examples(check, most)
    between, leaks, rest = _groups(check)
    rows = sorted({*_shown(check, (between, leaks, rest), most), *examples.values()})
    pictures = thumbnails(check.contents(rows), len(rows)) if with_photos else None
    return [
        _wrong_labels(check, pictures, examples, most),
        _strangers(check, pictures, most),
        _duplicates_between_classes(check, between, pictures, most),
        _duplicates_between_splits(check, leaks, pictures, most),
        _double_classes(check),
        _unreadable(check, most),
        _tiny(check, pictures, most),
        _duplicates_in_a_class(check, rest, pictures, most),
    ]


def as_section(section: Section, level: int = 2) -> str:
    """A section as HTML, with a heading of a level."""
    return (
        f'<section aria-labelledby="{section.anchor}">\n'
        f'<h{level} id="{section.anchor}">{section.title}: {section.count:,}</h{level}>\n'
        f"<p>{section.text}</p>\n{section.body}\n</section>"
    )


def _shown(check: DataCheck, duplicates: Iterable[Groups], most: Most) -> list[int]:
    """The photos that the page shows."""
    shown = [
        *check.wrong[: most.wrong],
        *check.strangers[: most.strangers],
        *check.tiny[: most.tiny].tolist(),
    ]
    for groups in duplicates:
        shown += [row for group in groups[: most.groups] for row in group.rows[: most.in_a_group]]
    return shown


def _examples(check: DataCheck, most: Most) -> dict[int, int]:
    """For each class that a shown label may have to become, its most typical photo."""
    if check.doubts is None:
        return {}
    suggestions, own = check.doubts.suggestions, np.nan_to_num(check.doubts.own, nan=-1.0)
    wanted = {int(suggestions[row]) for row in check.wrong[: most.wrong]}
    examples = {}
    for number in wanted:
        of_class = np.flatnonzero(check.doubts.labels == number)
        examples[number] = int(of_class[own[of_class].argmax()])
    return examples


def _groups(check: DataCheck) -> tuple[Groups, Groups, Groups]:
    """Duplicates between classes, between splits, and of no harm."""
    between = [one for one in check.duplicates if one.is_between_classes]
    leaks = [one for one in check.duplicates if one.is_between_splits]
    rest = [
        one for one in check.duplicates if not one.is_between_classes and not one.is_between_splits
    ]
    return between, leaks, rest


def _wrong_labels(
    check: DataCheck, pictures: Pictures, examples: Mapping[int, int], most: Most
) -> Section:
    figures = []
    for row in check.wrong[: most.wrong]:
        assert check.doubts is not None
        other = int(check.doubts.suggestions[row])
        own = check.doubts.own[row]
        likely = check.doubts.probabilities[row, other]
        suggested = as_text(check.labels[other])
        label = as_text(check.names[row])
        figures.append(
            '<figure><div class="pair">'
            f"<span>{as_picture(pictures, row, 'the photo')}<small>the photo</small></span>"
            f"<span>{as_picture(pictures, examples[other], f'an example of {suggested}')}"
            f"<small>{suggested}</small></span></div>"
            f"<figcaption><b>{label}, or {suggested}?</b>probability {percent(own)}, or "
            f"{percent(likely)}<br>{_file(check, row)}</figcaption></figure>"
        )
    count = len(check.wrong)
    return Section(
        "labels",
        "Labels that look wrong",
        count,
        f"{counted(count, 'label looks', 'labels look')} wrong: where you agree, write the right "
        "name into the table.",
        "The base takes these photos for another class, though it judged each by the other photos "
        f"only. The most doubtful come first{_only(count, most.wrong)}. It may be mistaken: two "
        "flowers may look alike, or a photo may show both.",
        as_grid(figures),
    )


def _strangers(check: DataCheck, pictures: Pictures, most: Most) -> Section:
    count = len(check.strangers)
    figures = [
        f"<figure>{as_picture(pictures, row, 'the photo')}<figcaption><b>"
        f"{as_text(check.names[row])}</b>{_file(check, row)}</figcaption></figure>"
        for row in check.strangers[: most.strangers]
    ]
    return Section(
        "strangers",
        "Photos that fit no class",
        count,
        f"{counted(count, 'photo fits', 'photos fit')} no class: delete the rows of those that "
        "show no flower of yours.",
        "They are far from every class, farther than photos of a flower usually are: a label on "
        f"a stick, a person, a drawing, or a view of the flower that no other photo has"
        f"{_only(count, most.strangers)}.",
        as_grid(figures, small=True),
    )


def _duplicates_between_classes(
    check: DataCheck, groups: Groups, pictures: Pictures, most: Most
) -> Section:
    return Section(
        "two-classes",
        "The same photo in several classes",
        len(groups),
        f"{counted(len(groups), 'photo is', 'photos are')} in several classes: only one label can "
        "be right; delete the other rows.",
        "Training leaves out files that lie in several classes, since nobody knows which is right"
        f"{_only(len(groups), most.groups)}.",
        _grouped(check, groups, pictures, most),
    )


def _duplicates_between_splits(
    check: DataCheck, groups: Groups, pictures: Pictures, most: Most
) -> Section:
    return Section(
        "leaks",
        "The same photo in several splits",
        len(groups),
        f"{counted(len(groups), 'photo is', 'photos are')} both learned from and scored on: delete "
        "the rows in train, or the scores will be too good.",
        "What is learned by heart is named right; a score on such photos says nothing"
        f"{_only(len(groups), most.groups)}.",
        _grouped(check, groups, pictures, most),
    )


def _duplicates_in_a_class(
    check: DataCheck, groups: Groups, pictures: Pictures, most: Most
) -> Section:
    more = sum(len(one.rows) - 1 for one in groups)
    return Section(
        "duplicates",
        "The same photo several times in a class",
        len(groups),
        "",
        f"{counted(more, 'photo adds', 'photos add')} nothing, and nothing needs to be done: "
        "training keeps them on one side, so that no score is too good"
        f"{_only(len(groups), most.groups)}.",
        _grouped(check, groups, pictures, most),
    )


def _double_classes(check: DataCheck) -> Section:
    rows = [
        (
            as_text(check.labels[one.one]),
            as_text(check.labels[one.other]),
            f"{check.photos_of[check.labels[one.one]]:,}",
            f"{check.photos_of[check.labels[one.other]]:,}",
            as_text(one.reason),
        )
        for one in check.doubles
    ]
    count = len(rows)
    return Section(
        "doubles",
        "Classes that may be one",
        count,
        f"{counted(count, 'pair', 'pairs')} of classes may be one flower under two names: if so, "
        "give both one name.",
        "Write the same name into the column <code>label</code> of both, or give training a file "
        "with lines of <code>their name,our name</code>: <code>--label_map</code>.",
        as_table(("class", "and", "photos", "photos", "because"), rows, numbers=(2, 3)),
    )


def _unreadable(check: DataCheck, most: Most) -> Section:
    rows = np.flatnonzero(~check.is_readable).tolist()
    cells = [
        (
            as_text(printable(check.place(row))),
            as_text(check.names[row]),
            as_text(check.found.reasons[row]),
        )
        for row in rows[: most.lines]
    ]
    return Section(
        "unreadable",
        "Files that cannot be read",
        len(rows),
        f"{counted(len(rows), 'file', 'files')} cannot be read: mend or remove them; the table "
        "leaves them out.",
        f"Training leaves them out, too{_only(len(rows), most.lines)}.",
        as_table(("file", "class", "why"), cells),
    )


def _tiny(check: DataCheck, pictures: Pictures, most: Most) -> Section:
    rows = check.tiny.tolist()
    figures = []
    for row in rows[: most.tiny]:
        height, width = check.found.sizes[row].tolist()
        figures.append(
            f"<figure>{as_picture(pictures, row, 'the photo')}<figcaption><b>{width} x {height} "
            f"pixels</b>{as_text(check.names[row])}<br>{_file(check, row)}</figcaption></figure>"
        )
    return Section(
        "tiny",
        "Tiny photos",
        len(rows),
        f"{counted(len(rows), 'photo is', 'photos are')} tiny: look for larger ones, or delete "
        "their rows.",
        f"Their shorter side has fewer than {check.least_side} pixels, half of what the network "
        f"takes: most of what it would see is made up{_only(len(rows), most.tiny)}.",
        as_grid(figures, small=True),
    )


def _grouped(check: DataCheck, groups: Groups, pictures: Pictures, most: Most) -> str:
    rows = []
    for group in groups[: most.groups]:
        figures = []
        for row in group.rows[: most.in_a_group]:
            side = f", {as_text(str(check.sides[row]))}" if group.is_between_splits else ""
            figures.append(
                f"<figure>{as_picture(pictures, row, 'the photo')}<figcaption><b>"
                f"{as_text(check.names[row])}{side}</b>{_file(check, row)}</figcaption></figure>"
            )
        more = len(group.rows) - len(figures)
        rest = f": {more} more" if more else ""
        kind = "the same file" if group.is_exact else "nearly the same"
        rows.append(
            f'<p class="kind"><b>{kind.capitalize()}, {len(group.rows)} times{rest}</b></p>'
            f'<div class="group">{"".join(figures)}</div>'
        )
    return "\n".join(rows)


def _file(check: DataCheck, row: int) -> str:
    # The end of it is what a person looks for; the whole is shown where the pointer rests.
    place = check.place(row)
    end = PurePath(*PurePath(place).parts[-2:])
    return (
        f'<span class="file" title="{as_text(printable(place))}">{as_text(printable(end))}</span>'
    )


def _only(count: int, shown: int) -> str:
    return f"; {shown} of {count:,} are shown, the table has all" if count > shown else ""
