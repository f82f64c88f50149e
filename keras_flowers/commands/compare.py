"""Compares finished runs: settings that differ, scores, and whether the difference is chance."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources
from keras_flowers.files import write_json
from keras_flowers.inference.text import printable
from keras_flowers.training.compare import CHANCE, Comparison, Pair, compare_runs
from keras_flowers.training.metrics import Proportion

EXAMPLES = """examples:
  is the larger base worth it?
      keras-flowers compare saved_models/MobileNetV2 saved_models/EfficientNetB0
  three runs, each of the others with the first, on photos that none has learned from
      keras-flowers compare runs/mine runs/mine_more runs/views --data holiday

A run answers through its cached features: the second time it takes seconds. The photos are those
that all runs have in the same split: validation where none of them has learned from it, or else
test. Whoever chooses a run by its score on test has no test any more.
"""

_WIDTH = 100
_MANY = 10  # times as many photos as there are: nobody has them


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    options = parser().parse_args(argv)
    comparison = compare_runs(
        options.runs,
        split=options.split,
        data_dir=options.data_dir,
        sources=options.data,
        label_map=options.label_map,
    )
    print("\n".join(as_lines(comparison)))
    if options.json:
        write_json(Path(options.json), comparison.as_dict())
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="keras-flowers compare",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders of two or more finished runs"
    )
    photos = options.add_argument_group("data")
    photos.add_argument(
        "--split",
        metavar="SPLIT",
        help="split expression (default: validation, or test where one has learned from it)",
    )
    add_sources(photos)
    photos.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="where TFDS keeps data sets (default: as in training, or TFDS's own)",
    )
    places = options.add_argument_group("where things go")
    places.add_argument("--json", metavar="FILE", help="also write all of it as JSON")
    add_verbose(options)
    return options


def as_lines(comparison: Comparison) -> list[str]:
    """What is printed of a comparison."""
    names = [one.name for one in comparison.runs]
    scores = [one.scores for one in comparison.runs]
    settings = [(name, [_shown(value) for value in values]) for name, values in comparison.settings]
    made = [one.run.metadata.provenance.get("trained_on", {}) for one in comparison.runs]
    lines = _table("settings that differ", names, settings or [("none", ["" for _ in names])])
    shares: list[tuple[str, list[str]]] = [
        ("photos learned from", [f"{one.get('photos', '?')}" for one in made]),
        ("classes", [str(len(one.run.metadata.labels)) for one in comparison.runs]),
        ("top-1", [_share(one.top1) for one in scores]),
        ("top-5", [_share(one.top5) for one in scores]),
        ("mean per class", [_share(one.per_class) for one in scores]),
        ("calibration error", [f"{one.calibration_error:.1%}" for one in scores]),
        ("sure and wrong", [_share(one.sure_and_wrong) for one in scores]),
    ]
    title = f"{comparison.split}: {comparison.photos} photos"
    lines += ["", *_table(title, names, shares), "", "with 95 % intervals"]
    if comparison.left_out:
        lines.append(
            f"{comparison.left_out} other photos are not in all of the runs, or are called "
            "otherwise there: left out"
        )
    lines += [
        f"{name} was trained on {count} of its photos: for it this is no test"
        for name, count in comparison.learned.items()
    ]
    for pair in comparison.pairs:
        lines += ["", *textwrap.wrap(in_words(pair), _WIDTH)]
    notes = []
    if len(comparison.pairs) > 1:
        notes.append(
            f"Of {len(comparison.pairs)} comparisons one would rather look like more than chance: "
            "the figures allow for that."
        )
    if comparison.runs[0].scores.sources:
        notes.append(
            f"The photos are of {comparison.sources} sources, and photos of one are alike: chance "
            "explains more than it says here."
        )
    if notes:
        lines += ["", *textwrap.wrap(" ".join(notes), _WIDTH)]
    return lines


def in_words(pair: Pair) -> str:
    """What a pair says, and what to do about it."""
    first, second, photos = pair.first, pair.second, f"{pair.photos:,} photos"
    if not pair.only_first + pair.only_second:
        return f"{first} and {second} are right about the same of {photos}: take the smaller one."
    better, worse = (first, second) if pair.points < 0 else (second, first)
    most, least = max(pair[3:5]), min(pair[3:5])
    said = (
        f"{better} names {most} of {photos} right that {worse} gets wrong, and {least} the other "
        f"way round: {abs(pair.points):.1f} points. Were they equally good, "
        f"{_in_hundred(pair.p)} such comparisons would show as large a difference"
    )
    if pair.is_more_than_chance:
        return f"{said}: it is more than chance (p = {pair.p:.2g}). Take {better}."
    said += f": it may be chance (p = {pair.p:.2g})."
    needed = pair.photos_to_tell
    if needed is None or needed > _MANY * pair.photos:
        return f"{said} Take the smaller or faster one, or the one that knows more flowers."
    return (
        f"{said} Take the smaller or faster one, or compare them on more photos with --data: if "
        f"the difference is as it seems, it takes about {needed:,} to tell."
    )


def _in_hundred(p: float) -> str:
    if p < 0.001:
        return "less than 1 of 1,000"
    if p < CHANCE:
        return f"{max(round(1000 * p), 1)} of 1,000"
    return f"{round(100 * p)} of 100"


def _share(share: Proportion) -> str:
    return f"{share.value:.1%} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(Path(str(one)).name for one in value) or "-"
    if isinstance(value, str):
        return Path(value).name
    return "-" if value is None else str(value)


def _table(
    title: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    """A row a line under a line of names, cut so that lines fit on a screen."""
    left = max(len(title), *(len(name) + 2 for name, _ in rows)) + 2
    room = max((_WIDTH - left) // len(names), 22)
    columns = [
        max(len(cell) for cell in column) + 2
        for column in zip(names, *(values for _, values in rows), strict=True)
    ]

    def line(first: str, cells: Sequence[str]) -> str:
        shown = [cell and printable(cell) for cell in cells]
        cut = [one if len(one) < room else f"{one[: room - 5]}..." for one in shown]
        widths = [min(width, room) for width in columns]
        padded = "".join(f"{one:<{width}}" for one, width in zip(cut, widths, strict=True))
        return f"{first:<{left}}{padded}".rstrip()

    return [line(title, names), *(line(f"  {name}", values) for name, values in rows)]
