"""Shows the same photos to every version of a model and says where their answers differ.

All that a run holds is compared with the best of it: the Keras model, or else the SavedModel, the
float32, the float16 or the int8 TFLite file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import EXIT_SOME_FAILED
from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources

EXAMPLES = """examples:
  everything in a run folder, on the photos that the model was tested on
      keras-flowers verify saved_models/MobileNetV2
  quickly, on your own photos
      keras-flowers verify saved_models/MobileNetV2 --photos my_photos --limit 50

Exit code: 0 where all versions agree within the limits, 1 where one does not, 2 where nothing could
be verified.
"""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers verify",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        type=Path,
        help="a run folder: model.keras, saved_model/1/ and the .tflite files, or some of them",
    )
    add_sources(parser)
    photos = parser.add_mutually_exclusive_group()
    photos.add_argument(
        "--split",
        metavar="SPLIT",
        help="split (default: the test split of the run; all of --data that has no splits)",
    )
    photos.add_argument(
        "--photos",
        metavar="FOLDER",
        type=Path,
        help="a folder of photos, labelled or not, instead; those in subfolders that are called as "
        "the classes give accuracy, too",
    )
    parser.add_argument(
        "--data_dir", metavar="FOLDER", help="where TFDS keeps data sets (default: as in training)"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N photos")
    add_verbose(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options_of = parser()
    options = options_of.parse_args(argv)
    if options.limit is not None and options.limit < 1:
        options_of.error("argument --limit: expected 1 or more")
    if options.photos is not None and options.data:
        options_of.error("argument --photos: not allowed with argument --data")
    show_messages()
    from keras_flowers.export.verify import verify_model

    report = verify_model(
        options.run,
        options.photos,
        split=options.split,
        data_dir=options.data_dir,
        limit=options.limit,
        sources=options.data,
        label_map=options.label_map,
    )
    print(report)
    return EXIT_SOME_FAILED if report.broken else 0
