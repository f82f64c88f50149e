"""Looks at labelled photos before training: what is there, what is twice, which labels look wrong.

Writes a page that opens in any browser, index.html, and a table of all photos, photos.csv, the most
doubtful label first. Correct the table and give it to training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.inference.text import printable
from keras_flowers.system import import_tensorflow
from keras_flowers.training.config import TrainConfig

if TYPE_CHECKING:
    from keras_flowers.training.check.check import DataCheck

EXAMPLES = """examples:
  a folder with a folder for each class
      keras-flowers data flowers
  then, with the labels corrected in the table
      keras-flowers train --data data_check/photos.csv
  quickly: counts, duplicates, unreadable and tiny photos, without a base
      keras-flowers data flowers --quick
  the 102 flowers of Oxford, with copies of the photos for the table to name
      keras-flowers data tfds:oxford_flowers102 --copies

The features that labels are judged by are kept, and training with the same base uses them.
"""

_MOST = 5  # names in a line


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    options = argparse.ArgumentParser(
        prog="keras-flowers data",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with a folder for each class, a table (.csv, .jsonl, .parquet) with the "
        "columns path and label, or tfds:NAME",
    )
    options.add_argument(
        "--label_map", metavar="FILE", help='lines of "their name,our name" (- leaves out)'
    )
    options.add_argument(
        "--category_names", metavar="FILE", help="JSON with the name of each folder or label"
    )
    options.add_argument("--data_dir", metavar="FOLDER", help="where TFDS keeps data sets")
    options.add_argument(
        "--quick",
        action="store_true",
        help="run no base: labels are not judged, nor is looked for photos that fit no class",
    )
    options.add_argument(
        "--base",
        metavar="NAME",
        default=TrainConfig.base,
        help="what judges the labels, as keras-flowers train takes it (default: %(default)s)",
    )
    options.add_argument(
        "--image_size",
        metavar="PIXELS",
        type=int,
        help="height and width of its input (default: the base's own)",
    )
    options.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=Path("data_check"),
        help="where the page and the table go (default: %(default)s)",
    )
    options.add_argument(
        "--copies",
        action="store_true",
        help="also copy the photos there, and name the copies in the table: for TFDS data sets, "
        "whose photos are no files",
    )
    options.add_argument(
        "--overwrite", action="store_true", help="replace the page and the table in the folder"
    )
    options.add_argument(
        "--cache_dir",
        metavar="FOLDER",
        help="where features and what was found in photos are kept (default: as in training)",
    )
    add_verbose(options)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    options = parser().parse_args(argv)
    config = TrainConfig(
        base=options.base, image_size=options.image_size, cache_dir=options.cache_dir
    )
    import_tensorflow()
    from keras_flowers.training.check import report
    from keras_flowers.training.check.check import base_features, check_data
    from keras_flowers.training.model import image_size_of
    from keras_flowers.training.sources import check_available, open_source
    from keras_flowers.training.sources.label_map import read_label_map

    if not options.overwrite:
        report.refuse_finished(options.output)
    check_available([options.source], options.data_dir)
    source = open_source(
        options.source, data_dir=options.data_dir, category_names=options.category_names
    )
    size = config.image_size or image_size_of(config.base)
    cache_dir = config.cache_folder
    check = check_data(
        source,
        image_size=size,
        features=None if options.quick else base_features(config.base, size, cache_dir),
        label_map=read_label_map(Path(options.label_map)) if options.label_map else None,
        cache_dir=cache_dir,
    )
    report.write_check(check, options.output, copies=options.copies)
    print(summary_of(check))
    folder = options.output
    print(
        f"\nnext: open {folder / report.PAGE}, correct the column label of {folder / report.TABLE},"
        f" and train: keras-flowers train --data {folder / report.TABLE}"
    )
    return 0


def summary_of(check: DataCheck) -> str:
    """What was found, in lines."""
    fewest_first = [
        f"{printable(name)} {count}"
        for name, count in sorted(check.photos_of.items(), key=lambda one: one[1])
    ]
    between = sum(one.is_between_classes for one in check.duplicates)
    leaks = sum(one.is_between_splits for one in check.duplicates)
    doubles = [
        f"{printable(check.labels[one.one])} / {printable(check.labels[one.other])}"
        for one in check.doubles
    ]
    counted = [
        (int((~check.is_readable).sum()), "files cannot be read"),
        (len(check.tiny), f"photos are tiny: a side below {check.least_side} pixels"),
        (
            sum(len(one.rows) - 1 for one in check.duplicates),
            "photos are copies or near copies of others",
        ),
        (between, "photos are in several classes: only one label can be right"),
        (leaks, "photos are in several splits: scores would be too good"),
        (len(doubles), "pairs of classes may be one flower: " + _shortened(doubles)),
    ]
    if check.doubts is not None:
        counted += [
            (len(check.wrong), "labels look wrong"),
            (len(check.strangers), "photos fit no class"),
        ]
    found = [f"  {count:6d}  {text.removesuffix(': ')}" for count, text in counted]
    return "\n".join(
        (
            f"\n{printable(check.name)}: {int(check.is_readable.sum())} photos of "
            f"{len(check.labels)} classes"
            + (f" ({', '.join(check.splits)})" if check.splits else ""),
            f"  fewest: {_shortened(fewest_first)}",
            f"  most:   {_shortened(fewest_first[::-1])}",
            *found,
        )
    )


def _shortened(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST], *(["..."] if len(names) > _MOST else [])])
