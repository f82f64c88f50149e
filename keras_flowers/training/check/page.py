"""A page that shows what was found, with small pictures of what matters; it loads nothing."""

from __future__ import annotations

from keras_flowers.inference.text import printable
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.sections import as_section, sections_of
from keras_flowers.training.pages import as_document, as_table, as_text, counted


def as_html(check: DataCheck, table: str) -> str:
    """The whole page as text.

    Args:
        check: What was found.
        table: What the file of the table is called, and how a command names it.
    """
    sections = sections_of(check)
    found = [section for section in sections if section.count]
    photos = int(check.is_readable.sum())
    name = as_text(printable(check.name))
    steps = [f'<li>{one.todo} <a href="#{one.anchor}">Show</a></li>' for one in found if one.todo]
    steps.append(
        "<li>Train on the corrected table: <code>keras-flowers train --data "
        f"{as_text(table)}</code></li>"
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
    body = f"""<header>
<h1>{name}</h1>
<p>{photos:,} photos of {counted(len(check.labels), "class", "classes")} ({divided}).
The table <code>{as_text(table)}</code> has a row for each, the most doubtful label first. Correct
its column <code>label</code>; to leave a photo out, delete its row. The photos themselves are not
touched.</p>
</header>
<main>
<h2 id="next">What to do next</h2>
<ol class="todo">
{chr(10).join(steps)}
</ol>
{clean}{unjudged}
{chr(10).join(as_section(one) for one in found)}
{_classes(check)}
</main>"""
    return as_document(f"{printable(check.name)}: what is in the photos", body)


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
            as_text(name),
            f"{count:,}",
            *(f"{check.counts[name, split]:,}" for split in check.splits),
            right.get(name, ""),
        )
        for name, count in fewest_first
    ]
    header = ("class", "photos", *check.splits, "recognised")
    few = [name for name, count in fewest_first if count < 20]
    advice = (
        f"{counted(len(few), 'class has', 'classes have')} fewer than 20 photos: more of these "
        "help most. "
        if few
        else ""
    )
    return (
        '<section aria-labelledby="classes"><h2 id="classes">Classes, the smallest first</h2>'
        f"<p>{advice}<i>Recognised</i> are photos that the base puts into their class by the other "
        "photos alone: where it is low, labels are wrong, flowers look alike, or photos are few."
        f"</p>{as_table(header, rows, numbers=range(1, len(header)))}</section>"
    )
