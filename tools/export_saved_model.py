"""Writes a trained model as a SavedModel: whole photo files in, names out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import exit_with
from keras_flowers.system import import_tensorflow
from keras_flowers.training import run_directory

EXAMPLES = """examples:
  into the run folder, as saved_models/MobileNetV2/saved_model/1/
      python tools/export_saved_model.py saved_models/MobileNetV2
  for TensorFlow Serving, as /models/flowers/1/
      python tools/export_saved_model.py saved_models/MobileNetV2 --output /models/flowers
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a run folder or a .keras file")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="the SavedModel goes into DIR/1/ (default: saved_model/ beside the model)",
    )
    options = parser.parse_args(argv)
    import_tensorflow()
    from keras_flowers.export import export

    model_path = run_directory.find_model(options.model)
    output = options.output or model_path.parent / run_directory.SAVED_MODEL_FOLDER
    path = export.export_saved_model(model_path, output)
    print(f"{run_directory.size_of(path) / 1e6:6.1f} MB  {path}")
    return 0


if __name__ == "__main__":
    exit_with(main)
