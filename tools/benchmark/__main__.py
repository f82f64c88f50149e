"""Measures how near the package is to what the hardware allows, and how far from the usual way.

One table. Machines drift, so every figure is a ratio of two things that were run in turn, in the
same call, several times; the table gives the median and the range, the bound and whether it holds.
No photo of the test split is used.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_flowers.commands.exit import EXIT_SOME_FAILED, exit_with
from keras_flowers.files import write_json
from tools.benchmark import (
    bulk,
    doubt,
    feature_pass,
    fine_tuning,
    first_answer,
    growth,
    input_pipeline,
    page,
    parts,
    training,
    variants,
)
from tools.benchmark.table import Figure, format_table, hardware, versions
from tools.benchmark.task import EFFORT, QUICK_EFFORT, Task, find_run, open_run

# TensorFlow is imported in processes of their own only: each starts as a user's does, and Linux
# counts the memory of the parent at the start of a child as that child's own peak.


EXAMPLES = """examples:
  everything that takes no hours, about a quarter of an hour on two cores
      python -m tools.benchmark --run saved_models/MobileNetV2 --json benchmark.json
  a minute's version: rows 1, 3, 4, 5 and 6 on few photos; for a look, not for a claim
      python -m tools.benchmark --quick
  how long training takes, with the accuracy of the usual loop after all its epochs
      python -m tools.benchmark --rows 2 --full

It needs the data set, the ImageNet weights and, for rows 4 to 6, 8, 9 and 11, a run with its TFLite
files: keras-flowers train --export. Rows 5 and 8 name photos with the model that ships, if it is
there. Row 9 needs Chromium, the extra [page-test] and the page built; without them it is left out,
unless it is asked for. Row 10 needs the extra [scale]; it takes as long as all the others, so it is
run only where it is asked for. Let nothing else run meanwhile.

exit code: 0 every bound holds; 1 one is broken; 2 nothing was measured
"""

QUICK_ROWS = (1, 3, 4, 5, 6)

ROWS: dict[int, Callable[[Task], list[Figure]]] = {
    1: feature_pass.measure,
    2: training.measure,
    3: input_pipeline.measure,
    4: first_answer.measure,
    5: bulk.measure,
    6: variants.measure,
    7: fine_tuning.measure,
    8: growth.measure,
    9: page.measure,
    10: parts.measure,
    11: doubt.measure,
}

ONLY_WHEN_ASKED = {10}
"""Rows that take longer than all the others."""

ROWS_OF_A_RUN = {4, 5, 6, 8, 9, 11}
"""Those that need TFLite files."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    effort = QUICK_EFFORT if options.quick else EFFORT
    usual = QUICK_ROWS if options.quick else set(ROWS) - ONLY_WHEN_ASKED
    rows = sorted(set(options.rows or usual))
    if not options.rows and (missing := page.missing()):
        print(f"row 9 is left out: {missing}", file=sys.stderr, flush=True)
        rows = [row for row in rows if row != 9]
    run = options.run
    if ROWS_OF_A_RUN.intersection(rows):
        run = find_run(Path("saved_models")) if run is None else open_run(run)
    task = Task(effort, run, options.fine_tune, options.data_dir, options.full)
    figures: list[Figure] = []
    started = time.monotonic()
    facts = {
        "hardware": hardware(),
        "versions": versions(),
        "run": str(run.folder) if run else None,
        "quick": options.quick,
    }
    for row in rows:
        print(f"row {row}: {_summary(row)}", file=sys.stderr, flush=True)
        figures += ROWS[row](task)
        if options.json is not None:  # after each, since a row may take minutes
            write_json(options.json, {**facts, "figures": [one.as_dict() for one in figures]})
    print(format_table(figures))
    print(f"\n{', '.join(f'{name}: {value}' for name, value in hardware().items())}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"measured in {time.monotonic() - started:.0f} s")
    return EXIT_SOME_FAILED if any(one.holds is False for one in figures) else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.benchmark",
        description=__doc__,
        epilog="rows:\n" + _rows_in_words() + "\n\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rows", nargs="+", type=int, choices=ROWS, metavar="ROW", help="only these (see below)"
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="a finished run with its TFLite files, for rows 4 to 6, 8, 9 and 11 (default: the "
        "newest in saved_models/)",
    )
    parser.add_argument("--data_dir", help="where TFDS keeps data sets (default: as in training)")
    parser.add_argument(
        "--fine_tune",
        default="block_6_project_BN",
        metavar="LAYER",
        help="the layer behind which row 7 trains (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"few photos, rows {' '.join(map(str, QUICK_ROWS))}"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="row 2: all epochs of the usual loop, and its accuracy; otherwise one epoch stands "
        "for all",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    return parser


def _rows_in_words() -> str:
    return "\n".join(f"{row:>3}  {_summary(row)}" for row in ROWS)


def _summary(row: int) -> str:
    """What a row measures: the first line of its function, behind the number that starts it."""
    return (ROWS[row].__doc__ or "").splitlines()[0].split(": ", 1)[1]


if __name__ == "__main__":
    exit_with(main)
