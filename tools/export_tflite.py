"""Writes a trained model as TFLite files that carry their labels and say where they come from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import exit_with
from keras_flowers.system import import_tensorflow
from keras_flowers.training import run_directory

VARIANTS = ("float32", "float16", "int8")

EXAMPLES = """examples:
  all three into the run folder, as saved_models/MobileNetV2/MobileNetV2_float16.tflite, ...
      python tools/export_tflite.py saved_models/MobileNetV2
  the smallest one for a phone
      python tools/export_tflite.py saved_models/MobileNetV2 --variants int8 --output app/assets

int8 is calibrated on training photos, so it needs the data set; its loss of accuracy is measured on
the validation photos.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="a run folder or a .keras file")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="where they go (default: beside the model)"
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=VARIANTS,
        metavar="VARIANT",
        help=f"some of {', '.join(VARIANTS)} (default: all)",
    )
    parser.add_argument("--data_dir", help="where TFDS keeps data sets (default: as in training)")
    options = parser.parse_args(argv)
    import_tensorflow()
    from keras_flowers.export import export

    model_path = run_directory.find_model(options.model)
    files = export.export_tflite(
        model_path,
        options.output or model_path.parent,
        options.variants,
        data_dir=options.data_dir,
    )
    for path in files.values():
        print(f"{run_directory.size_of(path) / 1e6:6.1f} MB  {path}")
    if "int8" in files:
        print(export.int8_loss(model_path, files["int8"], data_dir=options.data_dir))
    return 0


if __name__ == "__main__":
    exit_with(main)
