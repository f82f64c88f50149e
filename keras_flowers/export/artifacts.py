"""The ways to run a version of a model, each as something that answers for photos."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.export import site
from keras_flowers.export.browser import InBrowser, find_browser, models_in_browser
from keras_flowers.export.limits import MEDIAPIPE, Limits
from keras_flowers.inference import image
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.image import Pixels
from keras_flowers.inference.metadata import read_metadata
from keras_flowers.system import standard_error_held_back

Probabilities: TypeAlias = npt.NDArray[np.float32]

KERAS = "Keras"

MEDIAPIPE_PHOTOS = 200
"""How many photos MediaPipe is shown: it takes several times as long as the others."""


BROWSER_PHOTOS = 200
"""How many photos a browser is shown: once as pixels, once as a file."""


class Batch(NamedTuple):
    """Photos as every version takes them.

    Attributes:
        files: The bytes of the files.
        pixels: uint8 [N, height, width, 3] 0..255 RGB, as Pillow reads them.
        training_pixels: The same as training reads them.
        labels: The class of each; -1 where nobody says.
        in_graph: Whether TensorFlow's graph reads it as Pillow does: it knows the format, and
            there is no colour profile, which it ignores.
    """

    files: list[bytes]
    pixels: Pixels
    training_pixels: Pixels
    labels: list[int]
    in_graph: list[bool]


class Answer(NamedTuple):
    """Probabilities [N, outputs] in the order of the reference's labels; None: not asked.

    Attributes:
        same_pixels: On the pixels that Pillow reads.
        own_reading: On the files, which the version reads itself.
    """

    same_pixels: Probabilities | None
    own_reading: Probabilities | None


class Artifact(NamedTuple):
    """One way to run one version of the model.

    Attributes:
        name: What reports call it.
        path: The file or folder.
        limits: What is demanded of its answers.
        answer: Answers for photos.
        once: What is timed, with a batch of one photo.
        reference: The artifact whose own reading it is compared with; None: the best version.
        photos: How many photos it is shown, at most.
        in_graph_only: Whether only photos that TensorFlow's graph reads count for it: a browser,
            too, reads these.
    """

    name: str
    path: Path
    limits: Limits
    answer: Callable[[Batch], Answer]
    once: Callable[[Batch], object]
    reference: str | None = None
    photos: float = math.inf
    in_graph_only: bool = False


def load_keras(path: Path, name: str, labels: Sequence[str], limits: Limits) -> Iterator[Artifact]:
    """Loads a `.keras` file; see `Format.load`."""
    classifier = load_classifier(path)
    order = _order(path, classifier.metadata.outputs, labels)

    def run(pixels: Pixels) -> Probabilities:
        return classifier.outputs(pixels)[:, order]

    yield Artifact(
        name,
        path,
        limits,
        lambda batch: Answer(run(batch.pixels), run(batch.training_pixels)),
        lambda batch: classifier.outputs(batch.pixels),
    )


def load_saved_model(
    path: Path, name: str, labels: Sequence[str], limits: Limits
) -> Iterator[Artifact]:
    """Loads both signatures of a SavedModel; see `Format.load`."""
    import tensorflow as tf

    own_labels = read_metadata(path).outputs
    order = _order(path, own_labels, labels)
    try:
        # The signatures hold the variables only as long as the model itself is held.
        model = tf.saved_model.load(str(path))
        by_pixels, by_files = model.signatures["images"], model.signatures["serving_default"]
    except Exception as error:
        raise UserError(
            f"TensorFlow cannot load {path} ({reason_of(error)}); export it again"
        ) from None

    def run(pixels: Pixels) -> Probabilities:
        _ = model
        answer = by_pixels(images=tf.constant(pixels, tf.float32))
        probabilities: Probabilities = answer["probabilities"].numpy()
        return probabilities[:, order]

    def serve(files: list[bytes]) -> Probabilities:
        answer = by_files(image_bytes=tf.constant(files))
        probabilities: Probabilities = answer["probabilities"].numpy()
        for called, index in zip(
            answer["classes"][:, 0].numpy(), probabilities.argmax(1), strict=True
        ):
            # A photo that it cannot read gets an empty name.
            if called and called.decode() != own_labels[index]:
                raise UserError(
                    f"{path} calls class {index} {called.decode()!r} in its answers and "
                    f"{own_labels[index]!r} in its labels; export it again"
                )
        return probabilities[:, order]

    yield Artifact(
        f"{name} images",
        path,
        limits,
        lambda batch: Answer(run(batch.pixels), None),
        lambda batch: run(batch.pixels),
    )
    yield Artifact(
        f"{name} image_bytes",
        path,
        limits,
        lambda batch: Answer(None, serve(batch.files)),
        lambda batch: serve(batch.files),
        in_graph_only=True,
    )


def load_tflite(path: Path, name: str, labels: Sequence[str], limits: Limits) -> Iterator[Artifact]:
    """Loads a TFLite file; see `Format.load`."""
    classifier = load_classifier(path)
    order = _order(path, classifier.metadata.outputs, labels)

    def answer(batch: Batch) -> Answer:
        # It is our predictor that reads files for it, through Pillow.
        probabilities = classifier.outputs(batch.pixels)[:, order]
        return Answer(probabilities, probabilities)

    yield Artifact(name, path, limits, answer, lambda batch: classifier.outputs(batch.pixels))


def has_mediapipe() -> bool:
    """Whether MediaPipe is installed."""
    return importlib.util.find_spec("mediapipe") is not None


def load_mediapipe(
    path: Path,
    tflite_name: str,
    labels: Sequence[str],
    size: tuple[int, int],
    stack: contextlib.ExitStack,
) -> Artifact:
    """Loads a TFLite file into MediaPipe, as a stranger's app does.

    Args:
        path: The file.
        tflite_name: The artifact that runs the same file with our predictor.
        labels: In whose order the answers are to come.
        size: Height and width of the model's input.
        stack: Closes MediaPipe's classifier.

    Raises:
        UserError: MediaPipe cannot load the file.
    """
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)))
    try:
        with standard_error_held_back(lambda line: not line.startswith(b"INFO:")):
            classifier = stack.enter_context(vision.ImageClassifier.create_from_options(options))
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"MediaPipe cannot load {path} ({reason_of(error)}); export it again"
        ) from None
    place = {label: index for index, label in enumerate(labels)}

    def classify(batch: Batch) -> Probabilities:
        probabilities = np.zeros((len(batch.files), len(labels)), np.float32)
        for row, content in zip(probabilities, batch.files, strict=True):
            # As an app does it, no larger than needed: MediaPipe resizes without antialiasing.
            reduced = image.read_photo(content, size)
            photo = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.asarray(reduced))
            # By their names: these must come from the file, too.
            for category in classifier.classify(photo).classifications[0].categories:
                if category.category_name not in place:
                    raise UserError(f"MediaPipe finds no names in {path}; export it again")
                row[place[category.category_name]] = category.score
        return probabilities

    return Artifact(
        f"MediaPipe {tflite_name.removeprefix('TFLite ')}",
        path,
        MEDIAPIPE,
        lambda batch: Answer(None, classify(batch)),
        classify,
        reference=tflite_name,
        photos=MEDIAPIPE_PHOTOS,
    )


def has_browser() -> bool:
    """Whether Chromium and Playwright are installed, and the page was built."""
    return find_browser() is not None and site.is_built()


def load_in_browser(
    versions: Sequence[tuple[Path, str, Limits]],
    labels: Sequence[str],
    stack: contextlib.ExitStack,
) -> list[Artifact]:
    """Loads TFLite files into the page, as whoever opens it in a browser does.

    Args:
        versions: For each its path, the artifact that runs the same file with our predictor, and
            what is demanded of the answers.
        labels: In whose order the answers are to come.
        stack: Closes the browser.

    Raises:
        UserError: The browser does not start, or the page cannot use a file.
    """
    paths = [path for path, _, _ in versions]
    found = stack.enter_context(models_in_browser(paths))
    return [
        _in_browser(path, tflite_name, limits, model, _order(path, model.labels, labels))
        for (path, tflite_name, limits), model in zip(versions, found, strict=True)
    ]


def _in_browser(
    path: Path, tflite_name: str, limits: Limits, model: InBrowser, order: list[int]
) -> Artifact:
    def answer(batch: Batch) -> Answer:
        return Answer(
            model.classify_pixels(batch.pixels)[:, order],
            model.classify_files(batch.files)[:, order],
        )

    return Artifact(
        f"browser {tflite_name.removeprefix('TFLite ')}",
        path,
        limits,
        answer,
        lambda batch: model.classify_files(batch.files),
        reference=tflite_name,
        photos=BROWSER_PHOTOS,
        in_graph_only=True,
    )


def _order(path: Path, labels: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Which of a version's outputs are the wanted classes, by their names."""
    if set(labels) != set(wanted):
        raise UserError(
            f"{path} has other classes than the best version of the model; export it again"
        )
    place = {label: index for index, label in enumerate(labels)}
    return [place[label] for label in wanted]
