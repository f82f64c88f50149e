"""Many photos: what the arguments of a command stand for, and an answer for each of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_flowers.errors import UserError
from keras_flowers.inference.ahead import read_ahead
from keras_flowers.inference.classifier import Classifier, models_in
from keras_flowers.inference.exif import CaptureInfo, read_capture_info
from keras_flowers.inference.formats import PHOTO_SUFFIXES, find_photos
from keras_flowers.inference.image import MAX_BYTES, Pixels, Source, read_pixels
from keras_flowers.inference.prediction import Prediction
from keras_flowers.inference.text import printable

if TYPE_CHECKING:
    from concurrent.futures import Future

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
    photos: list[PhotoInput] = []

    def refuse(error: OSError) -> None:
        name = printable(error.filename)
        reason = UserError(f"{name} is a folder that cannot be read ({error.strerror})")
        photos.append(PhotoInput(error.filename, reason))

    for argument in _expanded(arguments):
        if argument == STDIN:
            photos.append(PhotoInput(STDIN, _standard_input()))
        elif os.path.isdir(argument):
            found = find_photos(Path(argument), on_error=refuse)
            if not found and models_in(Path(argument)):
                raise _model_refusal(argument, arguments)
            photos += [PhotoInput(str(path), path) for path in found]
        elif Path(argument).suffix.lower() in _MODEL_SUFFIXES and os.path.exists(argument):
            raise _model_refusal(argument, arguments)
        else:
            photos.append(PhotoInput(argument, argument))
    if not photos:
        raise UserError(
            f"there are no photos in {', '.join(map(printable, arguments))}; expected files that "
            f"end in {', '.join(sorted(PHOTO_SUFFIXES))}"
        )
    return photos


def _expanded(arguments: Sequence[str]) -> Iterator[str]:
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


def predict_photos(
    classifier: Classifier, photos: Iterable[PhotoInput], *, workers: int
) -> Iterator[Answer]:
    """Names many photos, as they come, in their order.

    Photos are decoded by `workers` threads while the model answers those before; however many
    there are, a few dozen are in memory.
    """

    def read(photo: PhotoInput) -> tuple[Pixels, CaptureInfo]:
        if isinstance(photo.source, UserError):
            raise photo.source
        return read_pixels(photo.source, classifier.image_size), read_capture_info(photo.source)

    for batch in read_ahead(read, photos, workers=workers):
        yield from _answers(classifier, batch)


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
            yield answer._replace(prediction=next(predictions))
