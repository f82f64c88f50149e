"""Writes a report of a trained model: one page that opens offline and can be printed.

How good it is, where it goes wrong and why, which flowers it takes for each other, what its photos
are like, how large and fast its files are, and how to repeat it. With --data it tells how the model
does on photos of your own.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources
from keras_flowers.inference.text import printable

EXAMPLES = """examples:
  of a run, beside its model
      keras-flowers report saved_models/MobileNetV2
  how it does on photos of your own, a folder for each flower
      keras-flowers report saved_models/MobileNetV2 --data holiday --output holiday.html
  to hand on: without the photos, which have no licence of their own
      keras-flowers report saved_models/MobileNetV2 --no_photos
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="keras-flowers report",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "model", metavar="RUN", type=Path, help="the folder of a run, or a file of its model"
    )
    photos = options.add_argument_group("photos")
    add_sources(photos)
    photos.add_argument(
        "--split",
        metavar="SPLIT",
        help="split expression (default: test; all of --data that has no splits)",
    )
    photos.add_argument(
        "--data_dir", metavar="FOLDER", help="where TFDS keeps data sets (default: as in training)"
    )
    page = options.add_argument_group("the page")
    page.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="where it goes (default: report.html in the folder of the run; with --data "
        "report_ and its name)",
    )
    page.add_argument("--no_photos", action="store_true", help="show no photo, only what is said")
    page.add_argument(
        "--quick",
        action="store_true",
        help="do not judge the labels of the photos, which runs the base over all of them",
    )
    add_verbose(options)
    return options


def _page_of(data: Sequence[str]) -> str:
    """What the report about other photos is called, so that it does not replace the run's own."""
    name = re.sub(r"\W+", "_", Path(data[0]).stem).strip("_")
    return f"report_{name or 'data'}.html"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    options = parser().parse_args(argv)
    from keras_flowers.training.report.report import PAGE, check_page_path, report_run

    folder = options.model if options.model.is_dir() else options.model.parent
    output = options.output or folder / (_page_of(options.data) if options.data else PAGE)
    check_page_path(output)  # before minutes are spent
    report = report_run(
        options.model,
        sources=options.data,
        label_map=options.label_map,
        split=options.split,
        data_dir=options.data_dir,
        with_photos=not options.no_photos,
        quick=options.quick,
    )
    path = report.save(output)
    scores = report.findings.evaluation.scores
    print(f"{scores.photos} photos\n{scores}\n\nreport: {printable(path)}")
    return 0
