"""The command `similar`: the training photos that a photo resembles most."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.commands.exit import EXIT_SOME_FAILED, exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError, reason_of
from keras_flowers.files import refuse_to_overwrite
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.formats import free_chart_path
from keras_flowers.inference.similar import SimilarPhotos
from keras_flowers.inference.text import printable
from keras_flowers.system import import_tensorflow

if TYPE_CHECKING:
    from keras_flowers.inference.classifier import Classifier

_NAMED_FOR_THE_PHOTO = Path()
"""What `--chart` is without a file."""

_EXAMPLES = """
examples:
  the five training photos most like a photo
    keras-flowers similar sunflower.jpg

  of a model of your own, ten, drawn side by side to sunflower_similar.png
    keras-flowers similar sunflower.jpg --model saved_models/mine --count 10 --chart

  the same for a program
    keras-flowers similar sunflower.jpg --model saved_models/mine --json

  make the index of a model that has none, or that was replaced
    keras-flowers similar --build saved_models/flowers102

The similarity is a cosine: 1 for the same photo, around 0 for photos that have nothing in common.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    show_messages()
    options = parser().parse_args(argv)
    _check(options)
    if options.build is not None:
        return _build(options)
    classifier = load_classifier(options.model)
    photos = classifier.similar(options.photo, options.count)
    if options.json:
        print(json.dumps([one._asdict() for one in photos], ensure_ascii=False))
    else:
        print(f"{printable(options.photo)} resembles these training photos:\n\n{photos}")
    if options.chart is None:
        return 0
    sys.stdout.flush()  # the answer first: drawing takes longer
    return _draw(classifier, photos, options)


def _draw(classifier: Classifier, photos: SimilarPhotos, options: argparse.Namespace) -> int:
    """Draws the photo and those that it resembles, side by side."""
    from keras_flowers.inference import chart
    from keras_flowers.inference.image import read_photo

    import_tensorflow()
    from keras_flowers.training.similarity import read_photos

    try:
        files = read_photos(classifier, photos, options.data, data_dir=options.data_dir)
        asked = read_photo(options.photo, chart.PHOTO_SIZE)
        pictures = [
            read_photo(files[one.digest], chart.PHOTO_SIZE) if one.digest in files else None
            for one in photos
        ]
        captions = [f"{one.similarity:.2f}  {one.name}" for one in photos]
        chart.save(chart.draw_similar(asked, pictures, captions), options.chart)
    except (OSError, UserError) as error:
        reason = reason_of(error)
        where = printable(options.chart)
        print(f"error: the chart was not written to {where}: {reason}", file=sys.stderr)
        return EXIT_SOME_FAILED
    print(f"chart: {printable(options.chart)}", file=sys.stderr)
    return 0


def _build(options: argparse.Namespace) -> int:
    import_tensorflow()
    from keras_flowers.training.similarity import write_index

    index, path = write_index(options.build, options.data, data_dir=options.data_dir)
    size = path.stat().st_size / 1e6
    print(f"{len(index.places)} photos of {index.dataset} {index.split}: {path} ({size:.1f} MB)")
    return 0


def _check(options: argparse.Namespace) -> None:
    if (options.photo is None) == (options.build is None):
        raise UserError("expected a photo, or --build MODEL; see --help")
    if options.count < 1:
        raise UserError(f"--count is {options.count}; expected at least 1")
    if options.data and options.chart is None and options.build is None:
        raise UserError("--data says where the photos are that --chart draws; add --chart")
    if options.chart is None or options.photo is None:
        return
    if options.chart == _NAMED_FOR_THE_PHOTO:
        options.chart = free_chart_path(options.photo, "similar")
    refuse_to_overwrite(options.chart, filter(None, (options.photo, options.model)), "chart")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(
        prog="keras-flowers similar",
        description="Shows the training photos that a photo resembles most.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument("photo", metavar="PHOTO", nargs="?", help="a photo; see predict --help")
    options.add_argument(
        "--count", type=int, default=5, metavar="N", help="how many photos (default: %(default)s)"
    )
    options.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a .tflite of float numbers, a .keras file or a folder that training wrote, with its "
        "similar.npz beside it (default: the model that comes with the package)",
    )
    options.add_argument("--json", action="store_true", help="one array of JSON")
    options.add_argument(
        "--chart",
        type=Path,
        nargs="?",
        const=_NAMED_FOR_THE_PHOTO,
        metavar="FILE",
        help="draw the photos side by side: .png, .jpg, .webp, .pdf or .svg (without FILE, which "
        "comes after PHOTO: PHOTO_similar.png in the current folder); needs the training photos, "
        "and the extra [train] where these are a TFDS set",
    )
    options.add_argument(
        "--build",
        type=Path,
        metavar="MODEL",
        help="make the index of a model from the photos that it was trained on",
    )
    photos = options.add_argument_group("training photos")
    photos.add_argument(
        "--data",
        metavar="SOURCE",
        action="append",
        default=[],
        help="where they are, if not where training had them: a folder, a table or tfds:NAME",
    )
    photos.add_argument(
        "--data_dir", metavar="FOLDER", help="where TFDS keeps its data sets (default: its own)"
    )
    return options


if __name__ == "__main__":
    exit_with(main)
