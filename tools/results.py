"""Trains and scores every recipe of keras_flowers/presets.py: the table of the README."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_flowers.commands.exit import exit_with
from keras_flowers.files import read_json
from keras_flowers.training import run_directory, train
from keras_flowers.training.recipes import PRESETS

EXAMPLES = """examples:
  everything, with three seeds (hours; what is finished is not done again)
      python tools/results.py
  two of them, once
      python tools/results.py --presets frozen frozen_2040 --seeds 0
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=PRESETS,
        default=list(PRESETS),
        metavar="PRESET",
        help=f"some of {', '.join(PRESETS)} (default: all)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("saved_models/results"),
        metavar="DIR",
        help="each run goes into DIR/seed_SEED/PRESET (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in options.presets}
    for seed in options.seeds:
        for name in options.presets:
            config = PRESETS[name](options.runs / f"seed_{seed}", seed)
            finished = config.run_dir / run_directory.FINISHED
            if not finished.exists():
                train.train_and_evaluate(config)
            results[name].append(read_json(finished))
    print(format_table(results))
    return 0


def format_table(results: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table: a row for each preset, from the `metrics.json` of its seeds."""
    lines = [
        "| preset | trained on | top-1 on `test` | top-5 | calibration error | minutes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in results.items():
        test = [run["scores"]["test"] for run in runs]
        cells = (
            f"`{name}`",
            f"{runs[0]['trained_on']['photos']:,}",
            _mean_and_spread([one["top1"]["value"] for one in test]),
            _mean_and_spread([one["top5"]["value"] for one in test]),
            _mean_and_spread([one["expected_calibration_error"] for one in test]),
            f"{statistics.mean(run['seconds'] for run in runs) / 60:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_and_spread(shares: Sequence[float]) -> str:
    """In per cent, with the standard deviation over the seeds where there are several."""
    text = f"{100 * statistics.mean(shares):.1f}"
    return f"{text} ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else text


if __name__ == "__main__":
    exit_with(main)
