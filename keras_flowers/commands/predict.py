"""Names the flowers in photos: `python -m keras_flowers.predict PHOTO ...`."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.errors import UserError
from keras_flowers.inference.classifier import Classifier, Prediction, load_classifier, percent
from keras_flowers.inference.exif import CaptureInfo, read_capture_info
from keras_flowers.inference.flowers import flower_named
from keras_flowers.inference.image import (
    MAX_BYTES,
    PHOTO_SUFFIXES,
    Pixels,
    Source,
    find_photos,
    printable,
    read_photo,
    read_pixels,
    squash,
)
from keras_flowers.inference.labels import read_category_names
from keras_flowers.system import available_cores

STDIN = "-"
MAX_BARS = 10
PHOTOS_AT_A_TIME = 16
"""How many photos are handed to the model together: enough to keep all cores busy; twice as many
are in memory, as pixels of the model's size."""

CAMERA_SECONDS = 1.0
"""Time between two answers about what the camera sees: as fast as one can read."""

_EXAMPLES = """
examples:
  name the flower in a photo, and draw the answer to sunflower_flower.png
    python -m keras_flowers.predict sunflower.jpg

  a folder of photos, with all folders in it, as a table for a spreadsheet
    python -m keras_flowers.predict holiday/ --output holiday.csv

  the ten likeliest names for a program, as JSON
    python -m keras_flowers.predict sunflower.jpg --json --top_k 10

  a photo from the web, which no file keeps
    curl -s https://example.org/flower.jpg | python -m keras_flowers.predict -

  another model, on a machine without TensorFlow
    python -m keras_flowers.predict sunflower.jpg --model flowers_int8.tflite

exit code: 0 all photos are named; 1 some could not be read (their rows say why); 2 none, or a
mistake in the command
"""


@dataclass(frozen=True)
class PhotoInput:
    """A photo to name.

    Attributes:
        name: What the row calls it: its path, or "-".
        source: Where its bytes are, or why there are none.
    """

    name: str
    source: Source | UserError


@dataclass(frozen=True)
class Answer:
    """What there is to say about one photo: a prediction, or in `error` why there is none."""

    photo: PhotoInput
    prediction: Prediction | None = None
    taken: CaptureInfo = CaptureInfo()
    error: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(argv)
    _check(options)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is not valid text must not stop the photos after it.
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.camera:
        return _watch(options)
    photos = find_inputs(options.photos)
    if len(photos) == 1 and not os.path.isdir(options.photos[0]):
        return _answer_one(photos[0], options)
    if options.chart is not None:
        raise UserError("--chart draws a single photo; leave it out, or name one photo")
    return _answer_all(photos, options)


def find_inputs(arguments: Sequence[str]) -> list[PhotoInput]:
    """The photos that the arguments stand for, in their order.

    Args:
        arguments: Paths of photos or of folders with photos somewhere in them; "-" is a photo that
            comes from standard input.

    Returns:
        At least one photo. What does not exist is among them, to be reported in its turn.

    Raises:
        UserError: The folders hold no photos.
    """
    photos: list[PhotoInput] = []

    def refuse(error: OSError) -> None:
        name = printable(error.filename)
        reason = UserError(f"{name} is a folder that cannot be read ({error.strerror})")
        photos.append(PhotoInput(error.filename, reason))

    for argument in arguments:
        if argument == STDIN:
            photos.append(PhotoInput(STDIN, _standard_input()))
        elif os.path.isdir(argument):
            found = find_photos(Path(argument), on_error=refuse)
            photos += [PhotoInput(str(path), path) for path in found]
        else:
            photos.append(PhotoInput(argument, argument))
    if not photos:
        raise UserError(
            f"there are no photos in {', '.join(map(printable, arguments))}; expected files that "
            f"end in {', '.join(sorted(PHOTO_SUFFIXES))}"
        )
    return photos


def predict_photos(
    classifier: Classifier, photos: Iterable[PhotoInput], *, workers: int
) -> Iterator[Answer]:
    """Names many photos, as they come, in their order.

    Photos are decoded by `workers` threads while the model answers those before; however many
    there are, a few dozen are in memory.
    """
    photos = iter(photos)
    pool = ThreadPoolExecutor(workers)
    batches: deque[list[tuple[PhotoInput, Future[tuple[Pixels, CaptureInfo]]]]] = deque()
    try:
        while batch := list(islice(photos, PHOTOS_AT_A_TIME)):
            batches.append([(one, pool.submit(_read, one, classifier.image_size)) for one in batch])
            if len(batches) > 1:
                yield from _answers(classifier, batches.popleft())
        while batches:
            yield from _answers(classifier, batches.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _read(photo: PhotoInput, size: tuple[int, int]) -> tuple[Pixels, CaptureInfo]:
    if isinstance(photo.source, UserError):
        raise photo.source
    return read_pixels(photo.source, size), read_capture_info(photo.source)


def _answers(
    classifier: Classifier, batch: Sequence[tuple[PhotoInput, Future[tuple[Pixels, CaptureInfo]]]]
) -> Iterator[Answer]:
    answers: list[Answer] = []
    pixels: list[Pixels] = []
    for photo, reading in batch:
        try:
            photo_pixels, taken = reading.result()
        except UserError as error:
            # The row names the photo already.
            reason = str(error).removeprefix(f"{printable(photo.name)} ")
            answers.append(Answer(photo, error=reason))
        else:
            answers.append(Answer(photo, taken=taken))
            pixels.append(photo_pixels)
    predictions = iter(classifier.predict_pixels(np.stack(pixels)) if pixels else ())
    for answer in answers:
        if answer.error:
            yield answer
        else:
            yield dataclasses.replace(answer, prediction=next(predictions))


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
        with _open_output(options.output) as file:
            rows = _rows(file, classifier, options)
            rows.write(Answer(photo, prediction, read_capture_info(photo.source)))
    if options.no_chart or (options.chart is None and not as_table):
        return 0
    sys.stdout.flush()  # the answer first: drawing takes longer
    return _draw(
        photo, prediction.top(min(options.top_k, MAX_BARS)), options.chart, announce=as_table
    )


def _table(photo: PhotoInput, prediction: Prediction, top_k: int) -> str:
    flower = flower_named(prediction.name)
    scientific_name = f" ({flower.scientific_name})" if flower else ""
    top = prediction.top(top_k)
    width = max(len(name) for name, _ in top)
    return "\n".join(
        [
            f"{printable(photo.name)}: {prediction.name}{scientific_name}\n",
            *(f"  {name:<{width}}  {percent(probability):>6}" for name, probability in top),
        ]
    )


def _draw(
    photo: PhotoInput, top: list[tuple[str, float]], path: Path | None, announce: bool
) -> int:
    """Writes the chart, says where, and shows it; `announce`: as part of the answer to read."""
    from keras_flowers.inference import chart

    assert not isinstance(photo.source, UserError)
    if path is None:
        path = _free_chart_path(photo)
    try:
        picture = read_photo(photo.source, chart.PHOTO_SIZE)
        chart.save(chart.draw_prediction(picture, top), path)
    except (OSError, UserError) as error:
        reason = getattr(error, "strerror", None) or error
        print(f"error: the chart was not written to {printable(path)}: {reason}", file=sys.stderr)
        return EXIT_SOME_FAILED
    if not announce:
        print(f"chart: {printable(path)}", file=sys.stderr)
        return 0
    print(f"\nchart: {printable(path)}")
    if _has_display():
        _show(path)
    return 0


def _free_chart_path(photo: PhotoInput) -> Path:
    """A name in the current folder where there is nothing, or a chart of ours."""
    from keras_flowers.inference import chart

    # Cut, since file systems end at 255 bytes.
    stem = "photo" if photo.name == STDIN else Path(photo.name).stem[:60]
    path, number = Path(f"{stem}_flower.png"), 2
    while path.exists() and not chart.is_chart(path):
        path, number = Path(f"{stem}_flower_{number}.png"), number + 1
    return path


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
    progress = _Progress(len(photos))
    failed = 0
    with _open_output(options.output) as file:
        width = min(60, max(len(printable(photo.name)) for photo in photos))
        rows = _rows(file, classifier, options, width)
        try:
            for answer in predict_photos(classifier, photos, workers=workers):
                progress.clear()
                rows.write(answer)
                failed += answer.prediction is None
                progress.advance()
        finally:  # also after Ctrl-C
            progress.clear()
            print(progress.summary(failed), file=sys.stderr)
    if failed == len(photos):
        return EXIT_BAD_INPUT
    return EXIT_SOME_FAILED if failed else 0


class Rows:
    """Writes answers as they come, each whole before the next.

    Args:
        file: Where to.
        format: "text" to read; "csv" with a header; "json", one object a line.
        top_k: How many names a row has ("text" has one).
        width: "text": characters of the longest name of a photo.
    """

    def __init__(self, file: TextIO, format: str, top_k: int, width: int = 0) -> None:
        self._file = file
        self._format = format
        self._top_k = top_k
        self._width = width
        self._csv = csv.writer(file, lineterminator="\n")
        if format == "csv":
            names = [f"{key}_{n}" for n in range(2, top_k + 1) for key in ("name", "probability")]
            taken = [field.name for field in dataclasses.fields(CaptureInfo)]
            self._csv.writerow(["photo", "name", "probability", *names, *taken, "error"])

    def write(self, answer: Answer) -> None:
        """Writes one row, down to the file."""
        top = [
            (name, round(probability, 6))
            for name, probability in (
                answer.prediction.top(self._top_k) if answer.prediction else []
            )
        ]
        taken = dataclasses.asdict(answer.taken)
        if self._format == "csv":
            cells = [cell for pair in top for cell in pair] or [""] * (2 * self._top_k)
            self._csv.writerow([answer.photo.name, *cells, *taken.values(), answer.error])
        elif self._format == "json":
            name, probability = top[0] if top else (None, None)
            content = {
                "photo": answer.photo.name,
                "name": name,
                "probability": probability,
                "top": [{"name": name, "probability": p} for name, p in top],
                **taken,
                "error": answer.error or None,
            }
            print(json.dumps(content), file=self._file)
        else:
            best = answer.prediction  # not rounded: 0.9999999 is not certain
            result = (
                f"{best.name}  {percent(best.probability)}" if best else f"error: {answer.error}"
            )
            print(f"{printable(answer.photo.name):<{self._width}}  {result}", file=self._file)
        self._file.flush()


def _rows(
    file: TextIO, classifier: Classifier, options: argparse.Namespace, width: int = 0
) -> Rows:
    return Rows(file, options.format, min(options.top_k, len(classifier.labels)), width)


@contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    # Rows go into the file itself as they come: after an interruption, what is answered is there.
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file


class _Progress:
    """How far a long run is, on one line of the terminal; nothing where there is no terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._shown = 0.0
        self._on_terminal = sys.stderr.isatty()

    def advance(self) -> None:
        """Counts a photo, and shows the line five times a second."""
        self._done += 1
        now = time.monotonic()
        if self._on_terminal and now - self._shown > 0.2:
            self._shown = now
            seconds_left = int((self._total - self._done) / self._rate())
            line = (
                f"{self._done} of {self._total} photos, {self._rate():.1f}/s, "
                f"{seconds_left // 60}:{seconds_left % 60:02} left"
            )
            print(line, end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Makes room for a row, which may go to the same terminal."""
        if self._on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def summary(self, failed: int) -> str:
        """What has become of the photos."""
        text = f"{self._done - failed} of {self._total} photos named, {self._rate():.1f}/s"
        return f"{text}; {failed} could not be read, their rows say why" if failed else text

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._start, 1e-6)


# The camera: a row a second.


def _watch(options: argparse.Namespace) -> int:
    from keras_flowers.inference import camera

    classifier = _load(options, workers=1)
    frames = camera.frames()
    with _open_output(options.output) as file:
        rows = _rows(file, classifier, options)
        try:
            due = 0.0
            for frame in frames:
                if time.monotonic() < due:
                    continue  # a frame is taken and left, so that none waits until it is old
                due = time.monotonic() + CAMERA_SECONDS
                (prediction,) = classifier.predict_pixels(
                    squash(frame, classifier.image_size)[None]
                )
                now = datetime.now().isoformat(timespec="seconds")
                rows.write(Answer(PhotoInput(now, b""), prediction, CaptureInfo(now)))
        except KeyboardInterrupt:
            pass  # the way to end it
    return 0


# The command line.


def _load(options: argparse.Namespace, workers: int) -> Classifier:
    classifier = load_classifier(options.model, workers=workers)
    if options.category_names is None:
        return classifier
    names = read_category_names(options.category_names)
    if len(names) != len(classifier.labels):
        raise UserError(
            f"{options.category_names} has {len(names)} names but the model has "
            f"{len(classifier.labels)} classes; expected the names that it was trained on"
        )
    return dataclasses.replace(
        classifier, metadata=dataclasses.replace(classifier.metadata, labels=names)
    )


def _standard_input() -> bytes | UserError:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return UserError(f"standard input has more than {MAX_BYTES >> 20} MiB; expected a photo")
    return data


def _check(options: argparse.Namespace) -> None:
    """Refuses what would lose a file, and options that do not go together."""
    if options.camera and (options.photos or options.chart):
        raise UserError(
            "--camera takes no PHOTO and draws no chart; leave out the one or the other"
        )
    if not options.camera and not options.photos:
        raise UserError("expected a photo, a folder of photos, - or --camera; see --help")
    if options.photos.count(STDIN) > 1:
        raise UserError("- stands for the one photo on standard input; name it once")
    if options.top_k < 1:
        raise UserError(f"--top_k is {options.top_k}; expected at least 1")
    inputs = [*options.photos, *filter(None, (options.model, options.category_names))]
    for path in filter(None, (options.chart, options.output)):
        if any(os.path.exists(one) and path.exists() and path.samefile(one) for one in inputs):
            raise UserError(f"{path} would be overwritten by the answer; choose another name")
    if options.output is not None and options.output.suffix.lower() in PHOTO_SUFFIXES:
        raise UserError(f"rows of text cannot be written as {options.output.name}; use --chart")
    if options.format is None:
        by_ending = {".csv": "csv", ".json": "json", ".jsonl": "json"}
        ending = options.output.suffix.lower() if options.output else ""
        options.format = by_ending.get(ending, "text")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_flowers.predict",
        description="Names the flowers in photos.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "photos",
        metavar="PHOTO",
        nargs="*",
        help="a photo (JPEG, PNG, WebP, GIF, TIFF, BMP); a folder, searched with all folders in "
        "it; several of them; or - for a photo on standard input. Put -- before names that begin "
        "with a dash",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="a .tflite file, a .keras file, a SavedModel folder or a folder that training wrote; "
        "only the first needs no TensorFlow (default: the model that comes with the package)",
    )
    parser.add_argument(
        "--top_k",
        type=int,
        default=5,
        metavar="K",
        help="how many of the likeliest names to give (default: %(default)s)",
    )
    parser.add_argument(
        "--category_names",
        type=Path,
        metavar="FILE",
        help='names to use instead of the model\'s: JSON with numbers from 1, {"1": "rose", ...}, '
        "as Udacity's cat_to_name.json",
    )
    parser.add_argument(
        "--chart",
        type=Path,
        metavar="FILE",
        help="where to draw a single photo with its names: .png, .jpg, .webp, .pdf or .svg "
        "(default: PHOTO_flower.png in the current folder, for a single photo answered as text)",
    )
    parser.add_argument("--no_chart", action="store_true", help="draw nothing")
    format = parser.add_mutually_exclusive_group()
    format.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="a line of JSON for each photo, with names, date and position",
    )
    format.add_argument(
        "--csv",
        dest="format",
        action="store_const",
        const="csv",
        help="the same as a table, with a header",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the rows to FILE, replacing it, as they come; .csv and .json choose the format",
    )
    parser.add_argument(
        "--camera",
        action="store_true",
        help="name what a camera sees, once a second, until Ctrl-C (picamera2 or OpenCV)",
    )
    return parser


if __name__ == "__main__":
    exit_with(main)
