"""Many photos: what the arguments of a command stand for, and an answer for each of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from keras_flowers.errors import UserError
from keras_flowers.inference.ahead import read_ahead
from keras_flowers.inference.classifier import Classifier, models_in
from keras_flowers.inference.exif import CaptureInfo, read_capture_info
from keras_flowers.inference.formats import PHOTO_SUFFIXES, walk_photos
from keras_flowers.inference.image import MAX_BYTES, Pixels, Source, read_pixels
from keras_flowers.inference.prediction import Prediction
from keras_flowers.inference.text import printable

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

STDIN = "-"

_MODEL_SUFFIXES = frozenset({".tflite", ".keras", ".h5", ".hdf5", ".pb", ".pt", ".pth", ".onnx"})


class PhotoInput(NamedTuple):
    """A photo to name.

    Attributes:
        name: What the row calls it: its path, or "-".
        source: Where its bytes are, or why there are none.
    """

    name: str
    source: Source | UserError


Read: TypeAlias = tuple[Pixels, CaptureInfo]
"""What becomes of a photo before the model sees it."""


class Answer(NamedTuple):
    """What there is to say about one photo: a prediction, or in `error` why there is none."""

    photo: PhotoInput
    prediction: Prediction | None = None
    taken: CaptureInfo = CaptureInfo()
    error: str = ""


def find_inputs(arguments: Sequence[str]) -> list[PhotoInput]:
    """The photos that the arguments stand for, in their order.

    Args:
        arguments: Paths of photos or of folders with photos somewhere in them; patterns such as
            `holiday/*.jpg`, which the shell of Windows leaves to programs; "-" is a photo that
            comes from standard input.

    Returns:
        At least one photo. What does not exist is among them, to be reported in its turn.

    Raises:
        UserError: The folders hold no photos, or an argument is a model.
    """
    photos = [photo for one in expand(arguments) for photo in photos_at(one, arguments)]
    if not photos:
        raise no_photos(arguments)
    return photos


def photos_at(argument: str, arguments: Sequence[str]) -> Iterator[PhotoInput]:
    """The photos that one argument stands for, as they are found.

    Args:
        argument: A path, with no pattern in it any more, or "-".
        arguments: All that were given, for the message that refuses a model.

    Raises:
        UserError: The argument is a model, or a folder that holds models and no photos.
    """
    if argument == STDIN:
        yield PhotoInput(STDIN, _standard_input())
    elif os.path.isdir(argument):
        errors: list[OSError] = []
        count = 0
        for path in walk_photos(Path(argument), on_error=errors.append):
            yield from _refused(errors)
            yield PhotoInput(str(path), path)
            count += 1
        if not count and not errors and models_in(Path(argument)):
            raise _model_refusal(argument, arguments)
        yield from _refused(errors)
    elif Path(argument).suffix.lower() in _MODEL_SUFFIXES and os.path.exists(argument):
        raise _model_refusal(argument, arguments)
    else:
        yield PhotoInput(argument, argument)


def _refused(errors: list[OSError]) -> Iterator[PhotoInput]:
    """A row for each folder that could not be listed; empties the list."""
    while errors:
        error = errors.pop(0)
        name = printable(error.filename)
        reason = UserError(f"{name} is a folder that cannot be read ({error.strerror})")
        yield PhotoInput(error.filename, reason)


def no_photos(arguments: Sequence[str]) -> UserError:
    """What is said where the arguments hold no photos."""
    return UserError(
        f"there are no photos in {', '.join(map(printable, arguments))}; expected files that "
        f"end in {', '.join(sorted(PHOTO_SUFFIXES))}"
    )


def expand(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, with each pattern replaced by what it matches."""
    for argument in arguments:
        matches: list[str] = []
        # What `glob` gives a meaning. Imported here, since a photo's name seldom has any of these.
        if set(argument) & set("*?[") and not os.path.lexists(argument):
            import glob

            matches = sorted(glob.glob(argument, recursive=True))
        yield from matches or [argument]


def _model_refusal(model: str, arguments: Sequence[str]) -> UserError:
    photo = next((printable(one) for one in arguments if one != model), "PHOTO")
    name = printable(model)
    return UserError(
        f"{name} is a model, not a photo; write: keras-flowers predict {photo} --model {name}"
    )


def _standard_input() -> bytes | UserError:
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return UserError(f"standard input has more than {MAX_BYTES >> 20} MiB; expected a photo")
    return data


def read_input(photo: PhotoInput, size: tuple[int, int]) -> Read:
    """Reads a photo as a model takes it, of the height and width `size`.

    Raises:
        UserError: It cannot be read, or never could.
    """
    if isinstance(photo.source, UserError):
        raise photo.source
    return read_pixels(photo.source, size), read_capture_info(photo.source)


def predict_photos(
    classifier: Classifier,
    photos: Iterable[PhotoInput],
    *,
    workers: int,
    read: Callable[[PhotoInput, tuple[int, int]], Read] = read_input,
    threads: ThreadPoolExecutor | None = None,
) -> Iterator[Answer]:
    """Names many photos, as they come, in their order.

    Photos are decoded by `workers` threads (or by `threads`, which are there already) while the
    model answers those before; however many there are, a few dozen are in memory. `read` does it,
    in any of the threads.
    """

    def read_one(photo: PhotoInput) -> Read:
        return read(photo, classifier.image_size)

    for batch in read_ahead(read_one, photos, workers=workers, threads=threads):
        yield from _answers(classifier, batch)


def _answers(
    classifier: Classifier, batch: Sequence[tuple[PhotoInput, Future[Read]]]
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
            yield answer._replace(prediction=next(predictions))
