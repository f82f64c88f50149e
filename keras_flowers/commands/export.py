"""Writes a trained model as SavedModel and TFLite files.

They carry the names of the flowers and need none of our code: the SavedModel takes photo files
and runs in TensorFlow; the TFLite files run on phones and on a Raspberry Pi.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import EXIT_SOME_FAILED
from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources
from keras_flowers.export.formats import FORMAT_NAMES, TFLITE_VARIANTS
from keras_flowers.files import exclusive_lock
from keras_flowers.system import import_tensorflow
from keras_flowers.training.run_directory import Run, size_of

VERIFIED_PHOTOS = 1020
"""On how many photos an export is verified at most: a minute or two; half a point is 5 of them."""

EXAMPLES = """formats:
  saved_model  whole photo files in, names out; for TensorFlow and TensorFlow Serving
  float32      TFLite, the same function as the trained model
  float16      TFLite of half the size, as accurate: the best choice for most
  int8         TFLite of a third of the size, the fastest; it is calibrated on training photos, so
               it needs the data set, and its accuracy is measured on the validation photos

examples:
  everything, into the folder of the run, and the check that all of it agrees
      keras-flowers export saved_models/MobileNetV2 --verify
  the smallest file, for an app
      keras-flowers export saved_models/MobileNetV2 --formats int8 --output app/assets
  a model whose training photos are elsewhere: int8 is calibrated and checked on others
      keras-flowers export model.keras --data garden
  for TensorFlow Serving, which then serves /models/flowers/saved_model
      keras-flowers export saved_models/MobileNetV2 --formats saved_model --output /models/flowers
"""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers export",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser)
    add_sources(parser)
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMAT_NAMES,
        metavar="FORMAT",
        help=f"some of {', '.join(FORMAT_NAMES)} (default: all)",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also check on test photos that all files give the same answers, as keras-flowers "
        "verify does; exit code 1 where they do not",
    )
    add_verbose(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="RUN", type=Path, help="the folder of a run, or a .keras file"
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where the files go (default: beside the model)",
    )
    parser.add_argument(
        "--data_dir", metavar="FOLDER", help="where TFDS keeps data sets (default: as in training)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    run = Run.open(options.model)
    if options.data:
        sources, label_map = tuple(options.data), tuple(options.label_map)
        run = dataclasses.replace(run, sources=sources, label_map=label_map)
    with _held(run, options.output):
        good = export(
            run,
            options.formats,
            output=options.output,
            data_dir=options.data_dir,
            verify=options.verify,
        )
    return 0 if good else EXIT_SOME_FAILED


def _held(run: Run, output: Path | None) -> contextlib.AbstractContextManager[None]:
    """Keeps trainings and other exports out of the folder of the run meanwhile."""
    is_run = output is None and run.config_path.is_file()
    return exclusive_lock(run.folder) if is_run else contextlib.nullcontext()


def export_and_verify(folder: Path, *, data_dir: str | None = None) -> bool:
    """Exports everything from a finished run, prints how well it agrees, and says if it does."""
    run = Run.open(folder)
    with exclusive_lock(folder):
        return export(run, None, output=None, data_dir=data_dir, verify=True)


def export(
    run: Run,
    formats: Sequence[str] | None,
    *,
    output: Path | None,
    data_dir: str | None,
    verify: bool,
) -> bool:
    """Exports, prints what the files are worth, and returns whether they may be used."""
    from keras_flowers.export.export import export_model, measure_accuracy_change
    from keras_flowers.export.photos import photos_of_split
    from keras_flowers.export.verify import verify_model

    files = export_model(run, formats, output=output, data_dir=data_dir)
    if not verify:
        if "int8" in files:
            print(f"int8: {measure_accuracy_change(run, files['int8'], data_dir=data_dir)}")
        return True
    photos = photos_of_split(
        run.photos(run.settings.get("test_split", "test"), data_dir), limit=VERIFIED_PHOTOS
    )
    there = run if output is None else dataclasses.replace(run, folder=output)
    report = verify_model(there, photos)
    print(f"\n{report}")
    return not report.broken


def main_saved_model(argv: Sequence[str] | None = None) -> int:
    """The command line of `tools/export_saved_model.py`, whose `--output` is Serving's folder."""
    parser = argparse.ArgumentParser(
        description="Writes a trained model as a SavedModel, into FOLDER/1/."
    )
    _add_common(parser)
    options = parser.parse_args(argv)
    run = Run.open(options.model)
    import_tensorflow()
    from keras_flowers.export.saved_model import write_saved_model

    path = run.saved_model if options.output is None else options.output / run.saved_model.name
    write_saved_model(run.load_model(), run.metadata, path)
    print(f"{size_of(path) / 1e6:6.1f} MB  {path}")
    return 0


def main_tflite(argv: Sequence[str] | None = None) -> int:
    """The command line of `tools/export_tflite.py`."""
    parser = argparse.ArgumentParser(description="Writes a trained model as TFLite files.")
    _add_common(parser)
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=TFLITE_VARIANTS,
        default=TFLITE_VARIANTS,
        metavar="VARIANT",
        help=f"some of {', '.join(TFLITE_VARIANTS)} (default: all)",
    )
    options = parser.parse_args(argv)
    show_messages()
    run = Run.open(options.model)
    export(run, options.variants, output=options.output, data_dir=options.data_dir, verify=False)
    return 0
