"""Fits, for a finished run, how likely it is that a photo shows one of its classes at all.

Training does it, too. This command does it again with other photos, for instance when you have
gathered some of what people show the model by mistake. The network stays as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.messages import add_verbose, show_messages

EXAMPLES = """examples:
  with more photos of other things: a table whose label is unknown, or a folder called unknown
      keras-flowers doubt saved_models/mine --data other_things.csv
  thresholds chosen on photos from elsewhere, known and unknown; then the files for phones anew
      keras-flowers doubt saved_models/mine --validation_data field/validation.csv
      keras-flowers export saved_models/mine
"""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers doubt",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        action="append",
        default=[],
        help="more photos labelled unknown: a folder with a folder called unknown, or a table with "
        "the columns path and label; what else is in it is not used; may be given again",
    )
    parser.add_argument(
        "--validation_data",
        metavar="SOURCE",
        action="append",
        default=[],
        help="photos to choose the thresholds on, instead of those of the training: of the "
        "classes, and labelled unknown; may be given again",
    )
    parser.add_argument(
        "--data_dir", metavar="FOLDER", help="where TFDS keeps data sets (default: as in training)"
    )
    parser.add_argument(
        "--taxonomy",
        metavar="FILE",
        help="CSV with the columns label, genus and family: what the groups of classes of your own "
        "are made of (default: as in training)",
    )
    add_verbose(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    from keras_flowers.training.refit_doubt import refit_doubt

    doubt = refit_doubt(
        options.run,
        data=options.data,
        validation_data=options.validation_data,
        data_dir=options.data_dir,
        taxonomy=options.taxonomy,
    )
    thresholds = doubt.thresholds
    print(
        f"names nothing below known = {thresholds.known:.3f}; gives a name alone from "
        f"{thresholds.sure:.0%} on, a genus or family from {thresholds.group:.0%} on\n"
        f"next: keras-flowers export {options.run}"
    )
    return 0
