"""A page that shows what was found, with small pictures of what matters; it loads nothing.

Written with f-strings: one page without loops inside of loops needs no template language, and every
text that comes from photos goes through `_text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import numpy as np

from keras_flowers.inference.text import percent, printable
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.duplicates import DuplicateGroup
from keras_flowers.training.check.thumbnails import thumbnails

WRONG, STRANGERS, TINY, GROUPS, IN_A_GROUP, LINES = 96, 48, 24, 32, 6, 200
"""How much of each kind is shown: what a person looks through at one go. The table has all."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --accent: #b3186d; }
@media (prefers-color-scheme: dark) { :root { --accent: #ff8ac4; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem;
  padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line);
  padding-top: 1rem; }
h3 { font-size: 1rem; margin: 1rem 0 0; }
p { margin: .25rem 0 1rem; max-width: 46rem; }
a { color: var(--accent); }
ol.todo { padding-left: 1.4rem; max-width: 46rem; } ol.todo li { margin: .4rem 0; }
code { background: var(--soft); padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(15.5rem, 1fr));
  gap: .75rem; }
.small { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
figure { margin: 0; border: 1px solid var(--line); border-radius: 8px; padding: .5rem;
  min-width: 0; }
.pair { display: flex; gap: .5rem; } .pair > span { flex: 0 0 50%; min-width: 0; }
.pair small { display: block; opacity: .75; }
figure img, .none { display: block; width: 112px; height: 112px; max-width: 100%;
  object-fit: contain; background: var(--soft); border-radius: 4px; }
.none { display: grid; place-items: center; font-size: .8rem; }
figcaption { font-size: .85rem; margin-top: .35rem; overflow-wrap: anywhere; }
figcaption b { display: block; } .file { opacity: .75; }
.group { display: flex; flex-wrap: wrap; gap: .75rem; margin: .75rem 0; }
.group figure { width: 9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class _Section:
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


def as_html(check: DataCheck, table: str) -> str:
    """The whole page as text.

    Args:
        check: What was found.
        table: What the file of the table is called, and how a command names it.
    """
    examples = _examples(check)
    pictures = thumbnails(check, [*_shown(check), *examples.values()])
    sections = [
        _wrong_labels(check, pictures, examples),
        _strangers(check, pictures),
        _duplicates_between_classes(check, pictures),
        _duplicates_between_splits(check, pictures),
        _double_classes(check),
        _unreadable(check),
        _tiny(check, pictures),
        _duplicates_in_a_class(check, pictures),
    ]
    found = [section for section in sections if section.count]
    photos = int(check.is_readable.sum())
    name = _text(printable(check.name))
    steps = [f'<li>{one.todo} <a href="#{one.anchor}">Show</a></li>' for one in found if one.todo]
    steps.append(
        f"<li>Train on the corrected table: <code>keras-flowers train --data {_text(table)}</code>"
        "</li>"
    )
    checked = [one.title.lower() for one in sections if not one.count]
    clean = f"<p>Nothing found: {'; '.join(checked)}.</p>" if checked else ""
    unjudged = (
        ""
        if check.doubts is not None
        else "<p>Labels were not judged in this check, nor was looked for photos that fit no "
        "class.</p>"
    )
    divided = ", ".join(check.splits) or "not divided yet: training does that by content"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name}: what is in the photos</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p>{photos:,} photos of {_count(len(check.labels), "class", "classes")} ({divided}).
The table <code>{_text(table)}</code> has a row for each, the most doubtful label first. Correct its
column <code>label</code>; to leave a photo out, delete its row. The photos themselves are not
touched.</p>
</header>
<main>
<h2 id="next">What to do next</h2>
<ol class="todo">
{chr(10).join(steps)}
</ol>
{clean}{unjudged}
{chr(10).join(_section(one) for one in found)}
{_classes(check)}
</main>
</body>
</html>
"""


def _section(section: _Section) -> str:
    return (
        f'<section aria-labelledby="{section.anchor}">\n'
        f'<h2 id="{section.anchor}">{section.title}: {section.count:,}</h2>\n'
        f"<p>{section.text}</p>\n{section.body}\n</section>"
    )


def _shown(check: DataCheck) -> list[int]:
    """The photos that the page shows."""
    shown = [*check.wrong[:WRONG], *check.strangers[:STRANGERS], *check.tiny[:TINY].tolist()]
    for groups in _groups(check):
        shown += [row for group in groups[:GROUPS] for row in group.rows[:IN_A_GROUP]]
    return shown


def _examples(check: DataCheck) -> dict[int, int]:
    """For each class that a shown label may have to become, its most typical photo."""
    if check.doubts is None:
        return {}
    suggestions, own = check.doubts.suggestions, np.nan_to_num(check.doubts.own, nan=-1.0)
    wanted = {int(suggestions[row]) for row in check.wrong[:WRONG]}
    examples = {}
    for number in wanted:
        of_class = np.flatnonzero(check.doubts.labels == number)
        examples[number] = int(of_class[own[of_class].argmax()])
    return examples


def _groups(check: DataCheck) -> tuple[list[DuplicateGroup], ...]:
    """Duplicates between classes, between splits, and of no harm."""
    between = [one for one in check.duplicates if one.is_between_classes]
    leaks = [one for one in check.duplicates if one.is_between_splits]
    rest = [
        one for one in check.duplicates if not one.is_between_classes and not one.is_between_splits
    ]
    return between, leaks, rest


def _wrong_labels(
    check: DataCheck, pictures: Mapping[int, str], examples: Mapping[int, int]
) -> _Section:
    figures = []
    for row in check.wrong[:WRONG]:
        assert check.doubts is not None
        other = int(check.doubts.suggestions[row])
        own = check.doubts.own[row]
        likely = check.doubts.probabilities[row, other]
        suggested = _text(check.labels[other])
        label = _text(check.names[row])
        figures.append(
            '<figure><div class="pair">'
            f"<span>{_picture(pictures, row, 'the photo')}<small>the photo</small></span>"
            f"<span>{_picture(pictures, examples[other], f'an example of {suggested}')}"
            f"<small>{suggested}</small></span></div>"
            f"<figcaption><b>{label}, or {suggested}?</b>probability {percent(own)}, or "
            f"{percent(likely)}<br>{_file(check, row)}</figcaption></figure>"
        )
    count = len(check.wrong)
    return _Section(
        "labels",
        "Labels that look wrong",
        count,
        f"{_count(count, 'label looks', 'labels look')} wrong: where you agree, write the right "
        "name into the table.",
        "The base takes these photos for another class, though it judged each by the other photos "
        f"only. The most doubtful come first{_only(count, WRONG)}. It may be mistaken: two flowers "
        "may look alike, or a photo may show both.",
        _grid(figures),
    )


def _strangers(check: DataCheck, pictures: Mapping[int, str]) -> _Section:
    count = len(check.strangers)
    figures = [
        f"<figure>{_picture(pictures, row, 'the photo')}<figcaption><b>"
        f"{_text(check.names[row])}</b>{_file(check, row)}</figcaption></figure>"
        for row in check.strangers[:STRANGERS]
    ]
    return _Section(
        "strangers",
        "Photos that fit no class",
        count,
        f"{_count(count, 'photo fits', 'photos fit')} no class: delete the rows of those that "
        "show no flower of yours.",
        "They are far from every class, farther than photos of a flower usually are: a label on "
        f"a stick, a person, a drawing, or a view of the flower that no other photo has"
        f"{_only(count, STRANGERS)}.",
        _grid(figures, small=True),
    )


def _duplicates_between_classes(check: DataCheck, pictures: Mapping[int, str]) -> _Section:
    groups = _groups(check)[0]
    return _Section(
        "two-classes",
        "The same photo in several classes",
        len(groups),
        f"{_count(len(groups), 'photo is', 'photos are')} in several classes: only one label can "
        "be right; delete the other rows.",
        "Training leaves out files that lie in several classes, since nobody knows which is right"
        f"{_only(len(groups), GROUPS)}.",
        _grouped(check, groups, pictures),
    )


def _duplicates_between_splits(check: DataCheck, pictures: Mapping[int, str]) -> _Section:
    groups = _groups(check)[1]
    return _Section(
        "leaks",
        "The same photo in several splits",
        len(groups),
        f"{_count(len(groups), 'photo is', 'photos are')} both learned from and scored on: delete "
        "the rows in train, or the scores will be too good.",
        "What is learned by heart is named right; a score on such photos says nothing"
        f"{_only(len(groups), GROUPS)}.",
        _grouped(check, groups, pictures),
    )


def _duplicates_in_a_class(check: DataCheck, pictures: Mapping[int, str]) -> _Section:
    groups = _groups(check)[2]
    more = sum(len(one.rows) - 1 for one in groups)
    return _Section(
        "duplicates",
        "The same photo several times in a class",
        len(groups),
        "",
        f"{_count(more, 'photo adds', 'photos add')} nothing, and nothing needs to be done: "
        "training keeps them on one side, so that no score is too good"
        f"{_only(len(groups), GROUPS)}.",
        _grouped(check, groups, pictures),
    )


def _double_classes(check: DataCheck) -> _Section:
    rows = [
        (
            _text(check.labels[one.one]),
            _text(check.labels[one.other]),
            f"{check.photos_of[check.labels[one.one]]:,}",
            f"{check.photos_of[check.labels[one.other]]:,}",
            _text(one.reason),
        )
        for one in check.doubles
    ]
    count = len(rows)
    return _Section(
        "doubles",
        "Classes that may be one",
        count,
        f"{_count(count, 'pair', 'pairs')} of classes may be one flower under two names: if so, "
        "give both one name.",
        "Write the same name into the column <code>label</code> of both, or give training a file "
        "with lines of <code>their name,our name</code>: <code>--label_map</code>.",
        _table(("class", "and", "photos", "photos", "because"), rows, numbers=(2, 3)),
    )


def _unreadable(check: DataCheck) -> _Section:
    rows = np.flatnonzero(~check.is_readable).tolist()
    cells = [
        (
            _text(printable(check.place(row))),
            _text(check.names[row]),
            _text(check.found.reasons[row]),
        )
        for row in rows[:LINES]
    ]
    return _Section(
        "unreadable",
        "Files that cannot be read",
        len(rows),
        f"{_count(len(rows), 'file', 'files')} cannot be read: mend or remove them; the table "
        "leaves them out.",
        f"Training leaves them out, too{_only(len(rows), LINES)}.",
        _table(("file", "class", "why"), cells),
    )


def _tiny(check: DataCheck, pictures: Mapping[int, str]) -> _Section:
    rows = check.tiny.tolist()
    figures = []
    for row in rows[:TINY]:
        height, width = check.found.sizes[row].tolist()
        figures.append(
            f"<figure>{_picture(pictures, row, 'the photo')}<figcaption><b>{width} x {height} "
            f"pixels</b>{_text(check.names[row])}<br>{_file(check, row)}</figcaption></figure>"
        )
    return _Section(
        "tiny",
        "Tiny photos",
        len(rows),
        f"{_count(len(rows), 'photo is', 'photos are')} tiny: look for larger ones, or delete "
        "their rows.",
        f"Their shorter side has fewer than {check.least_side} pixels, half of what the network "
        f"takes: most of what it would see is made up{_only(len(rows), TINY)}.",
        _grid(figures, small=True),
    )


def _classes(check: DataCheck) -> str:
    right: dict[str, str] = {}
    if check.doubts is not None:
        judged = check.doubts.is_judged
        for number, name in enumerate(check.labels):
            of_class = judged & (check.doubts.labels == number)
            if of_class.any():
                right[name] = f"{(check.doubts.suggestions[of_class] == number).mean():.0%}"
    fewest_first = sorted(check.photos_of.items(), key=lambda item: (item[1], item[0]))
    rows = [
        (
            _text(name),
            f"{count:,}",
            *(f"{check.counts[name, split]:,}" for split in check.splits),
            right.get(name, ""),
        )
        for name, count in fewest_first
    ]
    header = ("class", "photos", *check.splits, "recognised")
    few = [name for name, count in fewest_first if count < 20]
    advice = (
        f"{_count(len(few), 'class has', 'classes have')} fewer than 20 photos: more of these help "
        "most. "
        if few
        else ""
    )
    return (
        '<section aria-labelledby="classes"><h2 id="classes">Classes, the smallest first</h2>'
        f"<p>{advice}<i>Recognised</i> are photos that the base puts into their class by the other "
        "photos alone: where it is low, labels are wrong, flowers look alike, or photos are few."
        f"</p>{_table(header, rows, numbers=range(1, len(header)))}</section>"
    )


def _grouped(
    check: DataCheck, groups: Sequence[DuplicateGroup], pictures: Mapping[int, str]
) -> str:
    rows = []
    for group in groups[:GROUPS]:
        figures = []
        for row in group.rows[:IN_A_GROUP]:
            side = f", {_text(str(check.sides[row]))}" if group.is_between_splits else ""
            figures.append(
                f"<figure>{_picture(pictures, row, 'the photo')}<figcaption><b>"
                f"{_text(check.names[row])}{side}</b>{_file(check, row)}</figcaption></figure>"
            )
        more = len(group.rows) - len(figures)
        kind = "the same file" if group.is_exact else "nearly the same"
        rows.append(
            f"<h3>{kind.capitalize()}, {len(group.rows)} times{f': {more} more' if more else ''}"
            f'</h3><div class="group">{"".join(figures)}</div>'
        )
    return "\n".join(rows)


def _grid(figures: Sequence[str], *, small: bool = False) -> str:
    return f'<div class="grid{" small" if small else ""}">\n{chr(10).join(figures)}\n</div>'


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    right = dict.fromkeys(numbers, ' class="number"')
    head = "".join(
        f'<th scope="col"{right.get(place, "")}>{cell}</th>' for place, cell in enumerate(header)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{right.get(place, '')}>{cell}</td>" for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    # The keyboard can scroll it sideways, too.
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _picture(pictures: Mapping[int, str], row: int, alternative: str) -> str:
    if row not in pictures:
        return '<span class="none">cannot be read now</span>'
    return f'<img src="{pictures[row]}" alt="{alternative}" decoding="async">'


def _file(check: DataCheck, row: int) -> str:
    # The end of it is what a person looks for; the whole is shown where the pointer rests.
    place = check.place(row)
    end = PurePath(*PurePath(place).parts[-2:])
    return f'<span class="file" title="{_text(printable(place))}">{_text(printable(end))}</span>'


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _only(count: int, shown: int) -> str:
    return f"; {shown} of {count:,} are shown, the table has all" if count > shown else ""


def _text(text: str) -> str:
    """Text that may hold anything, as HTML."""
    return html.escape(text)
