"""Shows the same photos to every version of a model and says where their answers differ."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from keras_flowers.commands.exit import EXIT_SOME_FAILED, exit_with
from keras_flowers.system import import_tensorflow

EXAMPLES = """examples:
  everything in a run folder, on the photos that the model was tested on
      python tools/verify.py saved_models/MobileNetV2
  quickly, on your own photos
      python tools/verify.py saved_models/MobileNetV2 --photos my_photos --limit 50

Exit code: 0 where every bound holds, 1 where one is broken, 2 where nothing could be verified.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run",
        metavar="DIR",
        type=Path,
        help="a run folder: model.keras, saved_model/1/ and the .tflite files",
    )
    photos = parser.add_mutually_exclusive_group()
    photos.add_argument("--split", help="TFDS split (default: the test split of the run)")
    photos.add_argument(
        "--photos",
        metavar="FOLDER",
        type=Path,
        help="a folder of photos instead; subfolders called as the classes give accuracy, too",
    )
    parser.add_argument("--data_dir", help="where TFDS keeps data sets (default: as in training)")
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N photos")
    options = parser.parse_args(argv)
    if options.limit is not None and options.limit < 1:
        parser.error("argument --limit: expected 1 or more")
    import_tensorflow()
    from keras_flowers.export import verify

    if options.photos is not None:
        chosen = verify.photos_of_folder(options.run, options.photos, limit=options.limit)
    else:
        chosen = verify.photos_of_split(
            options.run, options.split, data_dir=options.data_dir, limit=options.limit
        )
    report = verify.verify(options.run, chosen)
    print(report)
    return EXIT_SOME_FAILED if report.broken else 0


if __name__ == "__main__":
    exit_with(main)
