"""The command `predict`: names the flowers in photos."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.commands.parts import (
    EXAMPLES,
    add_parts,
    answer_in_parts,
    is_folder,
    is_in_parts,
)
from keras_flowers.commands.rows import FORMATS, Rows, format_for, open_output
from keras_flowers.errors import UserError, reason_of
from keras_flowers.files import refuse_to_overwrite
from keras_flowers.inference.bulk import STDIN, Answer, PhotoInput, find_inputs, predict_photos
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.inference.exif import CaptureInfo, read_capture_info
from keras_flowers.inference.flowers import flower_named
from keras_flowers.inference.formats import free_chart_path
from keras_flowers.inference.image import read_photo, squash
from keras_flowers.inference.labels import read_category_names
from keras_flowers.inference.prediction import Prediction
from keras_flowers.inference.text import percent, printable
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores

if TYPE_CHECKING:
    from PIL import Image

MAX_BARS = 10

CAMERA_SECONDS = 1.0
"""Time between two answers about what the camera sees: as fast as one can read."""

CAMERA_CHART = Path("camera_flower.png")
"""Where `--camera --explain` draws what it sees."""

_EXAMPLES = f"""
examples:
  name the flower in a photo, and draw the answer to sunflower_flower.png
    keras-flowers predict sunflower.jpg

  why: what each place of the photo says for and against the first two names
    keras-flowers predict sunflower.jpg --explain

  a folder of photos, with all folders in it, as a table for a spreadsheet
    keras-flowers predict holiday/ --output holiday.csv

  the ten likeliest names for a program, as JSON
    keras-flowers predict sunflower.jpg --format json --top_k 10

  a photo from the web, which no file keeps
    curl -s https://example.org/flower.jpg | keras-flowers predict -

  never say "none of these", and give a name only when 9 of 10 are right
    keras-flowers predict sunflower.jpg --threshold known=0 --threshold sure=0.9

  another model, on a machine without TensorFlow
    keras-flowers predict sunflower.jpg --model flowers_int8.tflite

  a model of another tool that wants its pixels from -1 to 1 and does not say so
    keras-flowers predict sunflower.jpg --model theirs.tflite --scale 127.5 127.5
{EXAMPLES}
exit code: 0 all photos are named; 1 some could not be read (their rows say why); 2 none, or a
mistake in the command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    show_messages()
    options = parser().parse_args(argv)
    _check(options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is not valid text must not stop the photos after it.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.camera:
        return _watch(options)
    if options.in_parts:
        return answer_in_parts(options, lambda cores: _load(options, cores, threads=1))
    photos = find_inputs(options.photos)
    if len(photos) == 1 and not os.path.isdir(options.photos[0]):
        return _answer_one(photos[0], options)
    if options.chart is not None:
        raise UserError("--chart draws a single photo; leave it out, or name one photo")
    if options.explain:
        raise UserError("--explain explains a single photo; leave it out, or name one photo")
    return _answer_all(photos, options)


# One photo: a table to read, and the chart.


def _answer_one(photo: PhotoInput, options: argparse.Namespace) -> int:
    if isinstance(photo.source, UserError):
        raise photo.source
    classifier = _load(options, workers=1)
    prediction = classifier.predict(photo.source)
    as_table = options.format == "text" and options.output is None
    if as_table:
        print(_table(photo, prediction, options.top_k))
    else:
        with open_output(options.output) as file, _rows(file, classifier, options) as rows:
            rows.write(Answer(photo, prediction, read_capture_info(photo.source)))
    if options.no_chart or (options.chart is None and not as_table and not options.explain):
        return 0
    sys.stdout.flush()  # the answer first: drawing takes longer
    return _draw(photo, prediction, options, announce=as_table)


def _table(photo: PhotoInput, prediction: Prediction, top_k: int) -> str:
    said = prediction.answer
    flower = flower_named(said.text)  # what is in doubt is not called by one
    scientific_name = f" ({flower.scientific_name})" if flower else ""
    top = prediction.top(top_k)
    width = max(len(name) for name, _ in top)
    return "\n".join(
        [
            f"{printable(photo.name)}: {said.text}{scientific_name}\n",
            *([f"  {said.warning}\n"] if said.warning else []),
            *(f"  {name:<{width}}  {percent(probability):>6}" for name, probability in top),
        ]
    )


def _draw(
    photo: PhotoInput, prediction: Prediction, options: argparse.Namespace, announce: bool
) -> int:
    """Writes the chart, says where, and shows it; `announce`: as part of the answer to read."""
    from keras_flowers.inference import chart

    assert not isinstance(photo.source, UserError)
    name = "photo" if photo.name == STDIN else photo.name
    path = options.chart or free_chart_path(name, "flower")
    bars = min(options.top_k, MAX_BARS)
    try:
        picture = read_photo(photo.source, chart.PHOTO_SIZE)
        if options.explain:
            figure = prediction.evidence.draw(picture, bars, prediction.answer)
            if announce:
                print(_how(prediction))
        else:
            figure = chart.draw_prediction(picture, prediction.top(bars), prediction.answer)
        chart.save(figure, path)
    except (OSError, UserError) as error:
        reason = reason_of(error)
        print(f"error: the chart was not written to {printable(path)}: {reason}", file=sys.stderr)
        return EXIT_SOME_FAILED
    if not announce:
        print(f"chart: {printable(path)}", file=sys.stderr)
        return 0
    print(f"\nchart: {printable(path)}")
    if _has_display():
        _show(path)
    return 0


def _how(prediction: Prediction) -> str:
    """What the picture of the evidence shows, and where it comes from."""
    evidence = prediction.evidence
    if not evidence.is_exact:
        return (
            "\nthis model is not built like those of this package, so one place after the other "
            "was grayed out: red places lower the name's probability then, blue ones raise it"
        )
    (name, _), *others = evidence.top(2)
    text = f"\nthe places of the photo speak for {name} with {evidence.of(name).sum():.1f}"
    if others:
        text += f", for {others[0][0]} with {evidence.of(others[0][0]).sum():.1f}"
    return text + " (logits above the mean of all names)"


def _has_display() -> bool:
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return has_screen and sys.stdout.isatty()


def _show(path: Path) -> None:
    from PIL import Image

    # The answer is given; a screen that does not work takes nothing from it.
    with suppress(Exception), Image.open(path) as picture:
        picture.show()


# Many photos: a row each.


def _answer_all(photos: Sequence[PhotoInput], options: argparse.Namespace) -> int:
    workers = available_cores()
    classifier = _load(options, workers)
    photo_width = min(60, max(len(printable(photo.name)) for photo in photos))
    # A short run needs no bar in a log; on a terminal it gives way to the rows and the summary.
    is_terminal = sys.stderr.isatty()
    bar = progress_bar(
        total=len(photos),
        unit="photo",
        description="naming",
        leave=False,
        delay=0 if is_terminal else 10,
    )
    start = time.monotonic()
    done = failed = 0
    with (
        open_output(options.output) as file,
        _rows(file, classifier, options, photo_width) as rows,
    ):
        try:
            for answer in predict_photos(classifier, photos, workers=workers):
                if is_terminal and options.output is None:
                    bar.clear()
                rows.write(answer)
                done += 1
                failed += answer.prediction is None
                bar.update()
        finally:  # also after Ctrl-C
            bar.close()
            seconds = time.monotonic() - start
            print(_summary(done, failed, len(photos), seconds), file=sys.stderr)
    if failed == len(photos):
        return EXIT_BAD_INPUT
    return EXIT_SOME_FAILED if failed else 0


def _summary(done: int, failed: int, total: int, seconds: float) -> str:
    """What has become of the photos.

    >>> _summary(100, 1, 120, 50.0)
    '99 of 120 photos named, 2.0/s; 1 could not be read; its row says why'
    >>> _summary(3, 0, 3, 2.0)
    '3 of 3 photos named, 1.5/s'
    >>> _summary(5, 2, 5, 0.0)
    '3 of 5 photos named, 5000000.0/s; 2 could not be read; their rows say why'
    """
    text = f"{done - failed} of {total} photos named, {done / max(seconds, 1e-6):.1f}/s"
    if not failed:
        return text
    whose = "its row says" if failed == 1 else "their rows say"
    return f"{text}; {failed} could not be read; {whose} why"


def _rows(
    file: TextIO, classifier: Classifier, options: argparse.Namespace, photo_width: int = 0
) -> Rows:
    return Rows(
        file,
        options.format,
        min(options.top_k, len(classifier.labels)),
        photo_width=photo_width,
        name_width=min(30, max(map(len, classifier.labels))),
    )


# The camera: a row a second.


def _watch(options: argparse.Namespace) -> int:
    from keras_flowers.inference import camera

    classifier = _load(options, workers=1)
    frames = camera.frames()
    with open_output(options.output) as file, _rows(file, classifier, options) as rows:
        try:
            due = 0.0
            for frame in frames:
                if time.monotonic() < due:
                    continue  # a frame is taken and left, so that none waits until it is old
                due = time.monotonic() + CAMERA_SECONDS
                if options.explain:
                    prediction = classifier.predict(frame)
                    _draw_seen(frame, prediction, options)
                else:
                    (prediction,) = classifier.predict_pixels(
                        squash(frame, classifier.image_size)[None]
                    )
                now = datetime.now().isoformat(timespec="seconds")
                rows.write(Answer(PhotoInput(now, b""), prediction, CaptureInfo(now)))
        except KeyboardInterrupt:
            pass  # the way to end it
    return 0


def _draw_seen(frame: Image.Image, prediction: Prediction, options: argparse.Namespace) -> None:
    """Replaces the picture of what the camera sees; viewers that follow the file show it."""
    from keras_flowers.inference import chart

    bars = min(options.top_k, MAX_BARS)
    chart.save(
        prediction.evidence.draw(frame, bars, prediction.answer), options.chart or CAMERA_CHART
    )


# The command line.


def _load(options: argparse.Namespace, workers: int, *, threads: int | None = None) -> Classifier:
    classifier = load_classifier(
        options.model, workers=workers, threads=threads, scale=options.scale
    )
    if options.threshold:
        classifier = classifier.with_thresholds(dict(options.threshold))
    if options.category_names is None:
        return classifier
    names = read_category_names(options.category_names)
    if len(names) != len(classifier.labels):
        raise UserError(
            f"{options.category_names} has {len(names)} names but the model has "
            f"{len(classifier.labels)} classes; expected the names that it was trained on"
        )
    return classifier.with_labels(names)


def _check(options: argparse.Namespace) -> None:
    """Refuses what would lose a file, and options that do not go together."""
    # Asked of the text, since a `Path` forgets the slash.
    options.output_is_folder = options.output is not None and is_folder(options.output)
    options.output = None if options.output is None else Path(options.output)
    if options.camera and (options.photos or (options.chart and not options.explain)):
        raise UserError(
            "--camera takes no PHOTO, and draws a chart with --explain only; leave out the one or "
            "the other"
        )
    if options.explain and options.no_chart:
        raise UserError("--explain draws a chart, which --no_chart forbids; leave one of them out")
    if not options.camera and not options.photos:
        raise UserError("expected a photo, a folder of photos, - or --camera; see --help")
    if options.photos.count(STDIN) > 1:
        raise UserError("- stands for the one photo on standard input; name it once")
    if options.top_k < 1:
        raise UserError(f"--top_k is {options.top_k}; expected at least 1")
    inputs = [*options.photos, *filter(None, (options.model, options.category_names))]
    for path in filter(None, (options.chart, options.output)):
        refuse_to_overwrite(path, inputs, "answer")
    options.in_parts = is_in_parts(options)
    if not options.in_parts:
        options.format = format_for(options.output, options.format)


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="keras-flowers predict",
        description="Names the flowers in photos.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="*",
        help="a photo (JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF; HEIC where the package pillow-heif "
        "is installed); a folder, searched with all folders in it; several of them; or - for a "
        "photo on standard input. Put -- before names that begin with a dash",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a .tflite file, a .keras file, a SavedModel folder or a folder that training wrote; "
        "only the first needs no TensorFlow (default: the model that comes with the package)",
    )
    model.add_argument(
        "--category_names",
        type=Path,
        metavar="FILE",
        help='names to use instead of the model\'s: JSON with numbers from 1, {"1": "rose", ...}, '
        "as Udacity's cat_to_name.json, or from 0, as the TensorFlow course's label_map.json",
    )
    model.add_argument(
        "--scale",
        nargs=2,
        type=_numbers,
        metavar=("MEAN", "STD"),
        help="for a .tflite of another tool that does not say it: a pixel 0..255 goes in as "
        "(pixel - MEAN) / STD; three numbers with commas are those of red, green and blue",
    )
    answer = parser.add_argument_group("answer")
    answer.add_argument(
        "--top_k",
        type=int,
        default=5,
        metavar="K",
        help="how many of the likeliest names to give (default: %(default)s)",
    )
    answer.add_argument(
        "--threshold",
        action="append",
        type=_threshold,
        metavar="NAME=VALUE",
        help="from where on, 0 to 1, something is said: known, that a photo shows any of the "
        "flowers; sure, a name without a perhaps; group, a genus or family (default: as the model "
        "says); may be given again",
    )
    format = answer.add_mutually_exclusive_group()
    format.add_argument(
        "--format",
        choices=FORMATS,
        metavar="FORMAT",
        help="text to read; csv, a table with a header; json, one array; jsonl, an object a line. "
        "All but text have the date and the position of each photo, too (default: text, or as the "
        "ending of --output says)",
    )
    for name, kind in (("--json", "jsonl"), ("--csv", "csv")):  # as they were called once
        format.add_argument(
            name, dest="format", action="store_const", const=kind, help=argparse.SUPPRESS
        )
    answer.add_argument(
        "--output",
        metavar="FILE",
        help="write the rows to FILE, replacing it, as they come; .csv, .json, .jsonl and .txt "
        "choose the format. FOLDER/, with a slash, is for long runs (see below)",
    )
    answer.add_argument(
        "--chart",
        type=Path,
        metavar="FILE",
        help="where to draw a single photo with its names: .png, .jpg, .webp, .pdf or .svg "
        "(default: PHOTO_flower.png in the current folder, for a single photo answered as text)",
    )
    answer.add_argument("--no_chart", action="store_true", help="draw nothing")
    answer.add_argument(
        "--explain",
        action="store_true",
        help="draw below the chart what each place of the photo adds to the first name and to the "
        "second; with --camera, the picture is replaced with each answer (default: "
        "camera_flower.png)",
    )
    parser.add_argument(
        "--camera",
        action="store_true",
        help="name what a camera sees, once a second, until Ctrl-C (picamera2 or OpenCV)",
    )
    add_parts(parser)
    return parser


if __name__ == "__main__":
    exit_with(main)
