"""The report as a page: one file that loads nothing, sorts its tables, and can be printed."""

from __future__ import annotations

import base64
import dataclasses
import json
import platform
import shlex
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.figure import Figure

from keras_flowers import __version__
from keras_flowers.inference import chart
from keras_flowers.inference.text import percent, printable
from keras_flowers.system import available_cores
from keras_flowers.training import metrics
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.check.sections import Most, as_section, sections_of
from keras_flowers.training.evaluate import Evaluation
from keras_flowers.training.history import comparable
from keras_flowers.training.pages import (
    as_document,
    as_picture,
    as_table,
    as_text,
    counted,
)
from keras_flowers.training.report.findings import ConfusedPair, Findings, Mistake

_MOST: Final = Most(wrong=12, strangers=6, tiny=6, groups=6, in_a_group=4, lines=20)
"""A glance at the photos; `keras-flowers data` shows all of it."""

_COVERAGES: Final = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
"""The shares of known photos that get an answer, of which the table has a line each."""

_STYLE: Final = """
nav ol { columns: 2; padding-left: 1.4rem; max-width: 46rem; margin: .5rem 0 1rem; }
.scores { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); gap: .75rem;
  margin: 1rem 0; }
.scores div { border: 1px solid var(--line); border-radius: 8px; padding: .5rem .75rem; }
.scores b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.scores small { opacity: .75; display: block; }
.facts { columns: 17rem auto; column-gap: 2rem; margin: .5rem 0; }
.facts div { display: flex; justify-content: space-between; gap: 1rem; break-inside: avoid;
  border-bottom: 1px solid var(--line); padding: .25rem 0; font-size: .9rem; }
.facts dt { white-space: nowrap; }
.facts dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.chart { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 8px;
  margin: .5rem 0 1rem; }
.pairs > section, .mistake { border: 1px solid var(--line); border-radius: 8px; padding: .75rem;
  margin: .75rem 0; break-inside: avoid; }
.mistake h3, .pairs h3 { margin: 0 0 .5rem; }
.row { display: flex; flex-wrap: wrap; gap: .75rem; align-items: flex-start; }
.row + .row { margin-top: .75rem; }
.row figure { width: 9.4rem; } .row figure.wider { width: 11.7rem; }
.row figure.wider img { width: 168px; height: 168px; }
.row .then { align-self: center; opacity: .6; font-size: .85rem; max-width: 6rem; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; font-weight: bold; }
th button::after { content: " \\2195"; opacity: .4; }
th[aria-sort=ascending] button::after { content: " \\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: " \\2193"; opacity: 1; }
pre { background: var(--soft); padding: .75rem; border-radius: 8px; overflow-x: auto;
  font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  th button { display: contents; } th button::after { content: "" !important; }
  nav { display: none; }
  .scores { grid-template-columns: repeat(3, 1fr); } .scores b { font-size: 1.2rem; }
  .row { gap: .4rem; } .row figure { width: 8.2rem; padding: .3rem; }
  .row figure img { width: 76px; height: 76px; } .row figcaption { font-size: .75rem; }
  .row figure.wider img { width: 116px; height: 116px; } .mistake p { margin: 0 0 .25rem; }
}
"""

_SCRIPT: Final = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => {
        const text = row.cells[column].textContent.trim();
        const number = parseFloat(text.replaceAll(",", ""));
        return head.classList.contains("number") ? (isNaN(number) ? -1 : number) : text;
      };
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        const order = typeof a === "number" ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
"""


def as_html(findings: Findings) -> str:
    """The whole report as text."""
    evaluation = findings.evaluation
    sections = [
        ("scores", "Scores", _scores(findings)),
        ("settings", "Settings", _settings(findings)),
        ("curves", "Learning curves", _curves(findings)),
        ("reliability", "What a stated probability is worth", _reliability(findings)),
        ("doubt", "Doubt", _doubt(findings)),
        ("confused", "Flowers that are taken for each other", _pairs(findings)),
        ("mistakes", "The most confident mistakes", _mistakes(findings)),
        ("classes", "Every class", _classes(findings)),
        ("photos", "What was found in the photos", _photos(findings)),
        ("files", "The model's files", _files(findings)),
        ("again", "How to repeat it", _again(findings)),
    ]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections)
    body = "\n".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{title}</h2>\n{content}\n</section>'
        for name, title, content in sections
    )
    title = f"{printable(_name(findings))}: report"
    scores = evaluation.scores
    return as_document(
        title,
        f"""<header>
<h1>{as_text(title)}</h1>
<p>{as_text(evaluation.dataset)}, {as_text(evaluation.split)}: {scores.photos:,} photos of
{counted(scores.classes, "class", "classes")}, each whole, squashed to
{evaluation.image_size[0]} x {evaluation.image_size[1]} pixels.</p>
<nav aria-label="Sections"><ol>{links}</ol></nav>
</header>
<main>
{body}
</main>""",
        style=_STYLE,
        script=_SCRIPT,
    )


def _name(findings: Findings) -> str:
    return findings.model.resolve().name


def _scores(findings: Findings) -> str:
    evaluation = findings.evaluation
    scores = evaluation.scores
    tiles = [
        ("named right", scores.top1),
        ("right name among five", scores.top5),
        ("mean of the classes", scores.per_class),
        ("sure and wrong", scores.sure_and_wrong),
    ]
    shown = "".join(
        f"<div>{name}<b>{share.value:.1%}</b>"
        f"<small>{share.low:.1%} to {share.high:.1%}</small></div>"
        for name, share in tiles
    )
    shown += (
        f"<div>calibration error<b>{scores.calibration_error:.1%}</b><small>15 ranges</small></div>"
        f"<div>log loss<b>{scores.log_loss:.3f}</b><small>nats</small></div>"
    )
    over = (
        f"Intervals are of {scores.sources} sources drawn anew, since photos of one are alike."
        if scores.sources
        else "Intervals hold for photos that have nothing to do with each other."
    )
    warning = ""
    if evaluation.learned_count:
        warning = (
            f"<p><b>The model was trained on {evaluation.learned_count:,} of these photos: this is "
            "no test.</b></p>"
        )
    left_out = ""
    if evaluation.unknown_count:
        others = counted(evaluation.unknown_count, "other photo shows", "other photos show")
        told = "" if evaluation.others is None else "; <i>Doubt</i> tells what is said of them"
        left_out = f"<p>{others} none of the classes: not scored{told}.</p>"
    return (
        f'{warning}<div class="scores">{shown}</div><p>The range below each share is its 95 % '
        f"interval. {over} An answer is <i>sure</i> above {metrics.SURE:.0%}.</p>"
        f"{left_out}{_other_scores(findings)}{_sources(findings)}"
    )


def _other_scores(findings: Findings) -> str:
    """What the run itself wrote down when it was trained."""
    if findings.run is None or not findings.run.is_finished:
        return ""
    rows = [
        (
            as_text(split),
            f"{one['photos']:,}",
            *(_share(one.get(key)) for key in ("top1", "top5", "mean_per_class", "sure_and_wrong")),
        )
        for split, one in findings.run.metrics["scores"].items()
    ]
    header = ("split", "photos", "right", "among five", "mean of classes", "sure and wrong")
    return (
        "<h3>As training scored itself</h3><p>Its Keras model, before it was exported. What was "
        f"chosen on validation scores better there.</p>{as_table(header, rows, range(1, 6))}"
    )


def _share(one: Any) -> str:
    if not isinstance(one, dict) or "value" not in one:
        return ""
    low, high = one["interval95"]
    return f"{one['value']:.1%} ({low:.1%} to {high:.1%})"


def _sources(findings: Findings) -> str:
    parts = findings.evaluation.by_source
    if len(parts) < 2:
        return ""
    rows = [
        (
            as_text(printable(part.name)),
            f"{part.photos:,}",
            f"{part.accuracy:.1%}",
            f"{part.confidence:.1%}",
            f"{part.sure_and_wrong:,}",
        )
        for part in parts[:40]
    ]
    header = ("source", "photos", "right", "says on average", "sure and wrong")
    return f"<h3>By source</h3>{as_table(header, rows, range(1, 5), kind='sortable')}"


def _settings(findings: Findings) -> str:
    learned = findings.evaluation.provenance.get("trained_on") or {}
    run = findings.run
    settings = dict(run.settings) if run is not None else {}
    facts = [
        ("base", settings.get("base", findings.evaluation.provenance.get("base"))),
        ("trained on", f"{learned.get('photos', '?')} photos ({learned.get('split', '?')})"),
        ("data set", findings.evaluation.provenance.get("dataset")),
        ("classes", len(findings.evaluation.labels)),
        ("temperature", None if findings.temperature is None else f"{findings.temperature:.4f}"),
        ("training took", _seconds(findings)),
    ]
    shown = {"base", "data", "dataset"}
    facts += [(name, value) for name, value in settings.items() if name not in shown]
    shown_facts = "".join(
        f"<div><dt>{as_text(name)}</dt><dd>{as_text(_value(value))}</dd></div>"
        for name, value in facts
        if value not in (None, [], ())
    )
    return f'<dl class="facts">{shown_facts}</dl>'


def _seconds(findings: Findings) -> str | None:
    if findings.run is None or not findings.run.is_finished:
        return None
    seconds = findings.run.metrics.get("seconds")
    return None if seconds is None else f"{seconds:,.0f} s"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return printable(str(value))


def _curves(findings: Findings) -> str:
    if not findings.history:
        return "<p>The run has no <code>history.csv</code>, so there is nothing to draw.</p>"
    if len(findings.history) == 1:
        return "<p>It learned in a single step, so there is no curve to draw.</p>"
    figure = chart.draw_learning_curves(comparable(list(findings.history)))
    return _chart(figure, "Loss and accuracy of each epoch, for training and validation")


def _reliability(findings: Findings) -> str:
    evaluation = findings.evaluation
    diagrams = []
    before = findings.uncalibrated
    text = ""
    if before is not None:
        error = metrics.expected_calibration_error(before, evaluation.classes)
        bins = metrics.reliability(before, evaluation.classes)
        diagrams.append((f"Before the temperature: {error:.1%} off", _points(bins)))
        text = (
            f"The logits were divided by {findings.temperature:.3f}, the temperature that was "
            "fitted on photos that were chosen on. "
        )
    error = evaluation.scores.calibration_error
    diagrams.append((f"As it answers: {error:.1%} off", _points(evaluation.reliability)))
    rows = [
        (
            f"{one.low:.0%} to {one.high:.0%}",
            f"{one.photos:,}",
            f"{one.confidence:.1%}",
            f"{one.accuracy:.1%}",
        )
        for one in evaluation.reliability
        if one.photos
    ]
    return (
        f"<p>{text}On the dashed line it is right as often as it says. The size of a point is how "
        "many answers it stands for.</p>"
        + _chart(
            chart.draw_reliability(diagrams), "How often answers are right, by stated certainty"
        )
        + as_table(("says", "photos", "on average", "right"), rows, range(1, 4))
    )


def _points(bins: Sequence[metrics.ReliabilityBin]) -> list[tuple[float, float, int]]:
    return [(one.confidence, one.accuracy, one.photos) for one in bins if one.photos]


def _doubt(findings: Findings) -> str:
    evaluation = findings.evaluation
    doubt = evaluation.doubt
    if doubt is None:
        said = (
            "<p>The model names whatever it is shown: nothing was fitted that tells when it does "
            "not know. <code>keras-flowers doubt RUN</code> fits it.</p>"
        )
    else:
        limits = doubt.thresholds
        said = (
            f"<p>It says <i>none of these</i> below known = {limits.known:.3f}, gives a name alone "
            f"from {limits.sure:.0%} on, and a genus or family from {limits.group:.0%} on.</p>"
        )
    return f"{said}{_answers(evaluation)}{_coverage(evaluation)}"


def _answers(evaluation: Evaluation) -> str:
    """What is said of each kind of photo."""
    rows = [
        (
            as_text(one.kind),
            f"{one.photos:,}",
            *(
                f"{count / one.photos:.1%}"
                for count in (
                    one.right_name,
                    one.wrong_name,
                    one.right_perhaps,
                    one.wrong_perhaps,
                    one.groups,
                    one.refused,
                )
            ),
        )
        for one in evaluation.answers
    ]
    header = ("photos", "count", "right name", "wrong name", "right perhaps", "wrong perhaps")
    table = as_table((*header, "genus or family", "refused"), rows, range(1, 8))
    if evaluation.others is None:
        table += (
            "<p>No photos of other things were shown to it here: <code>--data</code> with photos "
            "labelled <code>unknown</code> tells how many of them get a name.</p>"
        )
    return table


def _coverage(evaluation: Evaluation) -> str:
    """How often it is right, if answers below some confidence are refused."""
    curve = evaluation.coverage
    kinds = list(curve[0].others)
    rows = [
        (
            f"{one.least:.1%}",
            f"{1 - one.coverage:.1%}",
            f"{one.accuracy:.1%}",
            *(f"{1 - one.others[kind]:.1%}" for kind in kinds),
        )
        for share in _COVERAGES
        # The curve goes down from 1 in hundredths.
        for one in curve[round(100 * (1 - share)) :][:1]
    ]
    header = ["confidence from", "known photos refused", "right of the rest"]
    header += [f"{as_text(kind)}: refused" for kind in kinds]
    figure = chart.draw_coverage(
        [(one.coverage, one.accuracy, one.others) for one in curve if one.coverage >= 0.2]
    )
    return (
        "<h3>If it answered only when confident</h3><p>The confidence is the probability of the "
        "first name"
        + (", times <i>known</i>" if evaluation.known is not None else "")
        + ". Each line is a threshold, and what it refuses.</p>"
        + _chart(figure, "Accuracy of the answers against the share of photos that get one")
        + as_table(header, rows, range(len(header)))
    )


def _pairs(findings: Findings) -> str:
    if not findings.pairs:
        return "<p>No photo was given another name.</p>"
    cards = "\n".join(_pair(findings, pair) for pair in findings.pairs)
    return (
        "<p>The pairs with the most mistakes. Left a photo of each that is named right, then those "
        f'that were not.</p><div class="pairs">\n{cards}\n</div>'
    )


def _pair(findings: Findings, pair: ConfusedPair) -> str:
    labels = findings.evaluation.labels
    names = [as_text(labels[number]) for number in pair.classes]
    told = [
        f"{count} x {names[place]} called {names[1 - place]}"
        for place, count in enumerate(pair.counts)
        if count
    ]
    title = f"<h3>{names[0]} and {names[1]}</h3><p>{'; '.join(told)}</p>"
    if findings.pictures is None:
        return f"<section>{title}</section>"
    figures = [
        _figure(findings, row, names[place], "named right")
        for place, row in enumerate(pair.examples)
        if row >= 0
    ]
    evaluation = findings.evaluation
    for row in pair.rows:
        given = int(evaluation.probabilities[row].argmax())
        sure = percent(float(evaluation.probabilities[row, given]))
        right = as_text(labels[int(evaluation.classes[row])])
        figures.append(_figure(findings, row, right, f"called {as_text(labels[given])}, {sure}"))
    return f'<section>{title}<div class="row">{"".join(figures)}</div></section>'


def _figure(findings: Findings, row: int, title: str, text: str) -> str:
    return (
        f"<figure>{as_picture(findings.pictures, row, title)}"
        f"<figcaption><b>{title}</b>{text}</figcaption></figure>"
    )


def _mistakes(findings: Findings) -> str:
    if not findings.mistakes:
        return "<p>There are none: every photo was named right.</p>"
    without = (
        "<p>Without the training photos that they resemble: "
        f"{as_text(findings.why_no_nearest)}.</p>"
        if findings.why_no_nearest
        else ""
    )
    text = (
        "<p>Look here for wrong labels, too: with a model that is good, some of its most confident "
        "mistakes are the data set's. Red places speak for a name, blue ones against it.</p>"
    )
    return text + without + "\n".join(_mistake(findings, one) for one in findings.mistakes)


def _mistake(findings: Findings, one: Mistake) -> str:
    given, right = as_text(one.given), as_text(one.right)
    title = (
        f"<h3>{given}, it says with {percent(one.probability)}; labelled {right}, which it gives "
        f"{percent(one.probability_of_right)}</h3>"
        f'<p class="file">{as_text(printable(one.name))}</p>'
    )
    figures: list[str] = []
    near: list[str] = []
    captions = (
        ("the photo", f"labelled {right}"),
        ("for and against", given),
        ("for and against", right),
    )
    # There are no pictures of a photo that cannot be read any more.
    for picture, (head, name) in zip(one.pictures, captions, strict=False):
        figures.append(
            f'<figure class="wider"><img src="{picture}" alt="{head} {name}" decoding="async">'
            f"<figcaption><b>{head}</b>{name}</figcaption></figure>"
        )
    if one.nearest and findings.pictures is not None:
        near.append('<span class="then">resembles these training photos</span>')
        for photo in one.nearest:
            small = findings.training_pictures.get(photo.digest)
            name = as_text(photo.name)
            shown = (
                f'<img src="{small}" alt="{name}" decoding="async">'
                if small
                else '<span class="none">not at hand</span>'
            )
            near.append(
                f"<figure>{shown}<figcaption><b>{name}</b>similarity {photo.similarity:.2f}<br>"
                f'<span class="file">{as_text(printable(photo.place))}</span></figcaption></figure>'
            )
    row = "".join(f'<div class="row">{"".join(some)}</div>' for some in (figures, near) if some)
    if one.nearest and findings.pictures is None:
        said = ", ".join(
            f"{as_text(photo.name)} ({as_text(printable(photo.place))}) {photo.similarity:.2f}"
            for photo in one.nearest
        )
        row = f"<p>resembles these training photos: {said}</p>"
    return f'<div class="mistake">{title}{row}</div>'


def _classes(findings: Findings) -> str:
    evaluation = findings.evaluation
    matrix, labels = evaluation.confusion_matrix, evaluation.labels
    predicted = matrix.sum(axis=0)
    rows = []
    for part in sorted(evaluation.by_class, key=lambda one: (one.accuracy, one.name)):
        number = labels.index(part.name)
        others = matrix[number].copy()
        others[number] = 0
        called = (
            f"{as_text(labels[int(others.argmax())])} ({int(others.max())})" if others.any() else ""
        )
        named = int(predicted[number])
        rows.append(
            (
                as_text(part.name),
                f"{part.photos:,}",
                f"{part.accuracy:.1%}",
                f"{matrix[number, number] / named:.1%}" if named else "",
                f"{part.confidence:.1%}",
                f"{part.sure_and_wrong:,}",
                called,
            )
        )
    header = ("class", "photos", "named right", "right when named", "says on average")
    return (
        "<p>The least often recognised first; a click on a heading sorts by it. <i>Right when "
        "named</i>: how many of the photos that get this name show it.</p>"
        + as_table(
            (*header, "sure and wrong", "most often called"),
            rows,
            range(1, 6),
            kind="sortable",
        )
    )


def _photos(findings: Findings) -> str:
    if not findings.checks:
        return "<p>The photos that it was made of are not here, so they were not looked at.</p>"
    with_photos = findings.pictures is not None
    checks = enumerate(findings.checks, start=1)
    return "\n".join(_check(one, number, with_photos=with_photos) for number, one in checks)


def _check(check: DataCheck, number: int, *, with_photos: bool) -> str:
    sections = [
        dataclasses.replace(one, anchor=f"{one.anchor}-{number}")
        for one in sections_of(check, _MOST, with_photos=with_photos)
    ]
    found = [one for one in sections if one.count]
    clean = [one.title.lower() for one in sections if not one.count]
    photos = int(check.is_readable.sum())
    unjudged = "" if check.doubts is not None else " Labels were not judged."
    nothing = f" Nothing found: {'; '.join(clean)}." if clean else ""
    return (
        f"<p>{as_text(printable(check.name))}: {photos:,} photos of "
        f"{counted(len(check.labels), 'class', 'classes')}.{unjudged}{nothing} "
        "<code>keras-flowers data</code> shows all of it, with a table to correct.</p>\n"
        + "\n".join(as_section(one, level=3) for one in found)
    )


def _files(findings: Findings) -> str:
    if not findings.files:
        return "<p>There are none beside it.</p>"
    rows = [
        (as_text(printable(one.name)), f"{one.size / 1e6:.1f}", f"{one.milliseconds:.1f}")
        for one in findings.files
    ]
    return (
        "<p>Time from pixels to the answer for one photo, the median of several, on "
        f"{counted(available_cores(), 'core', 'cores')} of the machine that wrote this report "
        f"({as_text(platform.machine())}). <code>keras-flowers verify</code> compares their "
        "answers.</p>" + as_table(("file", "MB", "ms"), rows, (1, 2), kind="sortable")
    )


def _again(findings: Findings) -> str:
    run, evaluation = findings.run, findings.evaluation
    settings = run.settings if run is not None else {}
    photos = evaluation.photos
    lines = []
    if settings:
        lines.append("keras-flowers train --config config.json --output again")
    name = shlex.quote(printable(str(findings.model)))
    lines.append(
        f"keras-flowers evaluate {name}{'' if findings.is_own_data else _split(evaluation.split)}"
    )
    facts = [
        ("report written by", f"keras_flowers {__version__}, Python {platform.python_version()}"),
        (
            "scored photos",
            f"{evaluation.dataset}, {evaluation.split}: {evaluation.scores.photos:,}",
        ),
        ("their fingerprint", photos.fingerprint if photos is not None else "not known"),
        *((f"{key} (model)", _value(value)) for key, value in _flat(evaluation.provenance)),
    ]
    rows = [(as_text(key), as_text(value)) for key, value in facts]
    shown = ""
    if settings:
        content = json.dumps({"settings": settings, "versions": _versions(findings)}, indent=2)
        shown = (
            "<p><code>config.json</code>, with which the first command trains the same weights on "
            f"the same versions and photos:</p><pre>{as_text(content)}</pre>"
        )
    return f"<pre>{as_text(chr(10).join(lines))}</pre>{as_table(('fact', 'value'), rows)}{shown}"


def _split(split: str) -> str:
    return "" if split == "test" else f" --split {shlex.quote(split)}"


def _flat(provenance: dict[str, Any]) -> list[tuple[str, Any]]:
    """What a model says of itself, without its scores, which stand above."""
    return [
        (key, value)
        for key, value in provenance.items()
        if key not in ("scores", "trained_on") and value not in (None, [], "")
    ]


def _versions(findings: Findings) -> dict[str, Any]:
    assert findings.run is not None
    content = json.loads(findings.run.config_path.read_text(encoding="utf-8"))
    versions = content.get("versions", {})
    return versions if isinstance(versions, dict) else {}


def _chart(figure: Figure, alternative: str) -> str:
    data = base64.b64encode(chart.svg_of(figure).encode()).decode()
    return f'<img class="chart" src="data:image/svg+xml;base64,{data}" alt="{alternative}">'
