"""The options that name other photos, for every command that shows photos to a finished model."""

from __future__ import annotations

import argparse


def add_sources(options: argparse._ActionsContainer) -> None:
    """Adds --data and --label_map, which may both be given again: `data` and `label_map`, lists."""
    options.add_argument(
        "--data",
        metavar="SOURCE",
        action="append",
        default=[],
        help="other labelled photos: a folder with a folder for each class, a table with the "
        "columns path and label, or tfds:NAME; may be given again",
    )
    options.add_argument(
        "--label_map",
        metavar="FILE",
        action="append",
        default=[],
        help='lines of "their name,our name" (- leaves out): one for all --data, or one for each',
    )
