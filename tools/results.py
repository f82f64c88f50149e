"""Trains and scores every recipe of keras_flowers/training/recipes.py: the table of the README."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.training.recipes import RECIPES
from keras_flowers.training.run_directory import Run
from keras_flowers.training.train import train_model

EXAMPLES = """examples:
  everything, with three seeds (hours; what is finished is not done again)
      python tools/results.py
  two of them, once
      python tools/results.py --recipes frozen frozen_2040 --seeds 0
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipes",
        nargs="+",
        choices=RECIPES,
        default=list(RECIPES),
        metavar="RECIPE",
        help=f"some of {', '.join(RECIPES)} (default: all)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("saved_models/results"),
        metavar="DIR",
        help="each run goes into DIR/seed_SEED/RECIPE (default: %(default)s)",
    )
    options = parser.parse_args(argv)
    show_messages()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in options.recipes}
    for seed in options.seeds:
        for name in options.recipes:
            config = RECIPES[name](options.runs / f"seed_{seed}", seed)
            run = Run.at(config.run_dir)
            if not run.is_finished:
                train_model(config)
            results[name].append(run.metrics)
    print(format_table(results))
    return 0


def format_table(results: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table: a row for each recipe, from the `metrics.json` of its seeds."""
    lines = [
        "| recipe | trained on | top-1 on `test` | top-5 | calibration error | minutes |",
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
