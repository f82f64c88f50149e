"""A flower classifier from any model file: `.tflite` (no TensorFlow), `.keras` or a SavedModel."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.ahead import read_ahead
from keras_flowers.inference.doubt import Thresholds
from keras_flowers.inference.image import (
    Photo,
    as_file,
    checked_pixels,
    read_pixels,
)
from keras_flowers.inference.metadata import MODEL_FILE, Metadata, read_metadata
from keras_flowers.inference.models import PredictFn, load_keras_file, load_saved_model, load_tflite
from keras_flowers.inference.prediction import Prediction, Probabilities
from keras_flowers.inference.scaling import Scale
from keras_flowers.inference.text import refuse_url
from keras_flowers.system import available_cores

if TYPE_CHECKING:
    from keras_flowers.inference.evidence import Evidence
    from keras_flowers.inference.insides import Insides
    from keras_flowers.inference.similar import SimilarIndex, SimilarPhotos

SHIPPED = "flowers102_float16.tflite"
"""Half the size of the float32 file, and as accurate; int8 is smaller and faster still."""

_logger = logging.getLogger(__name__)


class Origin(NamedTuple):
    """What `load_classifier` was called with, so that another process can do it again."""

    path: Path
    workers: int
    threads: int | None
    scale: Scale | None


@dataclass(frozen=True, repr=False, eq=False)
class Classifier:
    """Names flowers; `load_classifier` makes one.

    It can be used from several threads, goes on working after a fork, and is pickled as the path of
    its model and the options it was loaded with.

    Attributes:
        metadata: Labels, provenance.
        image_size: Height and width in pixels of the model's input.
        outputs: pixels [N, height, width, 3], 0..255 -> float32 [N, outputs], as the model gives
            them: of the classes, and in a last column of none of them, where it has that.
        origin: Where it was loaded from; None for one that was put together otherwise.
        load_insides: Loads what explains its answers exactly; gives None where nothing does.

    >>> classifier = load_classifier()
    >>> classifier
    <Classifier of 102 classes, 320 x 320 pixels, from flowers102_float16.tflite>
    >>> classifier.predict("docs/sunflower.jpg").name
    'sunflower'
    """

    metadata: Metadata
    image_size: tuple[int, int]
    outputs: PredictFn
    origin: Origin | None = None
    load_insides: Callable[[], Insides | None] = lambda: None

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class, in the order of the probabilities."""
        return self.metadata.labels

    @property
    def thresholds(self) -> Thresholds | None:
        """From where on an answer is given; None for a model without doubt."""
        return None if self.metadata.doubt is None else self.metadata.doubt.thresholds

    def probabilities(self, pixels: npt.NDArray[Any]) -> Probabilities:
        """Which class it is, if it is one of them: each row adds up to 1.

        Args:
            pixels: uint8 or float32 [N, height, width, 3], RGB, 0..255, of `image_size`.

        Returns:
            float32 [N, classes].
        """
        return self.divided(self.outputs(pixels))[0]

    def divided(self, outputs: Probabilities) -> tuple[Probabilities, Probabilities | None]:
        """What `outputs` gave, divided into which class it is and whether it is one at all.

        Args:
            outputs: float32 [N, classes], or [N, classes + 1] of a model with doubt.

        Returns:
            Probabilities float32 [N, classes], each row adding up to 1, and `known` float32 [N],
            0..1; None for a model without doubt.
        """
        if self.metadata.doubt is None:
            return outputs, None
        named = outputs[:, :-1]
        # Zeros, where 8 bits are sure that it is none of them: then all are as likely.
        named = np.where(named.any(axis=1, keepdims=True), named, 1)
        return named / named.sum(axis=1, keepdims=True), 1 - outputs[:, -1]

    def predict(self, photo: Photo) -> Prediction:
        """Names the flower in a photo.

        Args:
            photo: A path; the bytes of a whole JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF file; a file
                object opened in binary mode; a PIL image; or an array [height, width, 3] of any
                size, RGB (OpenCV gives BGR), 0..255.

        Raises:
            UserError: The photo cannot be read, or the model gives no probabilities.

        >>> import numpy as np
        >>> from PIL import Image
        >>> image = Image.open("docs/sunflower.jpg")
        >>> classifier = load_classifier()
        >>> for photo in (open("docs/sunflower.jpg", "rb"), image, np.asarray(image)):
        ...     print(classifier.predict(photo).name)
        sunflower
        sunflower
        sunflower
        """
        photo = as_file(photo)
        (prediction,) = self.predict_pixels(read_pixels(photo, self.image_size)[None])
        return dataclasses.replace(prediction, photo=photo)

    def explain(self, photo: Photo) -> Evidence:
        """Says what each place of a photo adds to the logit of each name.

        The first time takes a fraction of a second longer, while what explains is loaded. A model
        that is not built like those of this package is explained by graying out one place after
        the other, which takes a hundred answers; `Evidence.method` says so.

        Args:
            photo: As for `predict`.

        Raises:
            UserError: As `predict`.

        >>> evidence = load_classifier().explain("docs/sunflower.jpg")
        >>> evidence
        <Evidence for sunflower of 20 x 20 places, exact>
        >>> rows, columns = (evidence.of("sunflower") > 0).nonzero()
        >>> int(columns.mean()), int(rows.mean())  # the middle of what speaks for it
        (9, 9)
        """
        from keras_flowers.inference import evidence  # most photos are only named

        photo = as_file(photo)
        pixels = read_pixels(photo, self.image_size)
        (prediction,) = self.predict_pixels(pixels[None])
        if self._insides is not None:
            places, constant = evidence.split_logits(self._insides.parts(pixels[None]))
            method = evidence.EXACT
        else:
            places, constant = evidence.occlude(self.probabilities, pixels)
            method = evidence.OCCLUSION
        return evidence.Evidence(
            self.labels, prediction.probabilities, places, constant, method, photo
        )

    def similar(self, photo: Photo, count: int = 5) -> SimilarPhotos:
        """The training photos that a photo resembles most.

        Args:
            photo: As for `predict`.
            count: How many.

        Raises:
            UserError: As `predict`; or there is no index of training photos beside the model
                (`similar.npz`, which `keras-flowers similar --build` writes), or it is another
                model's.
        """
        pixels = read_pixels(photo, self.image_size)
        (features,) = self.insides.features(pixels[None])
        return self.similar_index.nearest(features, count, self.labels)

    @property
    def similar_path(self) -> Path:
        """Where the index of training photos lies: beside the model."""
        if self.origin is None:
            raise UserError("this classifier was not loaded from a file, so no index is beside it")
        from keras_flowers.inference.similar import INDEX_FILE  # naming a photo needs none of it

        return self.origin.path.parent / INDEX_FILE

    @functools.cached_property
    def similar_index(self) -> SimilarIndex:
        """The training photos, ready to be compared with.

        Raises:
            UserError: There are none beside the model, or they are another model's.
        """
        from keras_flowers.inference.similar import SimilarIndex

        index = SimilarIndex.load(self.similar_path)
        height, width = self.image_size
        parts = self.insides.parts(np.zeros((1, height, width, 3), np.uint8))
        index.check_model(parts.kernel, self.similar_path)
        return index

    @property
    def insides(self) -> Insides:
        """What can be seen of the model on the way from pixels to logits.

        Raises:
            UserError: It is not built like those of this package, or its features are scaled for 8
                bits.
        """
        if self._insides is None or self._insides.is_quantised:
            raise UserError(
                f"the features of {self!r} cannot be compared; expected a .keras, or a .tflite of "
                "float32 or float16 that this package exported"
            )
        return self._insides

    @functools.cached_property
    def _insides(self) -> Insides | None:
        return self.load_insides()

    def predict_many(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        """Names the flowers in many photos, as they come, in their order.

        Photos are read by threads while the model answers those before; however many there are, a
        few dozen are in memory. `load_classifier(workers=...)` says how many are run at a time.

        Args:
            photos: A sequence or an iterator of what `predict` takes.

        Raises:
            UserError: At the first photo that cannot be read.

        >>> classifier = load_classifier()
        >>> [each.name for each in classifier.predict_many(["docs/sunflower.jpg"] * 3)]
        ['sunflower', 'sunflower', 'sunflower']
        """
        is_array = isinstance(photos, np.ndarray) and photos.ndim != 4
        if is_array or isinstance(photos, (str, bytes, os.PathLike)) or hasattr(photos, "read"):
            raise UserError(
                f"expected several photos, got a {type(photos).__name__}; predict() takes one"
            )
        return self._predict_many(photos)

    def _predict_many(self, photos: Iterable[Photo]) -> Iterator[Prediction]:
        def read(photo: Photo) -> npt.NDArray[np.uint8]:
            return read_pixels(photo, self.image_size)

        number = 0
        for batch in read_ahead(read, photos, workers=available_cores()):
            pixels = []
            for photo, reading in batch:
                number += 1
                try:
                    pixels.append(reading.result())
                except UserError as error:
                    is_path = isinstance(photo, (str, os.PathLike))
                    raise error if is_path else UserError(f"photo {number}: {error}") from None
            for (photo, _), prediction in zip(
                batch, self.predict_pixels(np.stack(pixels)), strict=True
            ):
                # Others are not kept: ten thousand arrays would fill the memory.
                is_path = isinstance(photo, (str, os.PathLike))
                yield dataclasses.replace(prediction, photo=photo) if is_path else prediction

    def predict_pixels(
        self, pixels: npt.NDArray[Any], *, max_value: float | None = None
    ) -> list[Prediction]:
        """Names the flowers in photos that have the model's size already.

        Args:
            pixels: uint8 or float32 [N, height, width, 3], RGB, 0..255, of `image_size`. Floats
                that are all at most 1 are refused: to scale them to 0..1 is the commonest mistake.
            max_value: 1 says that they are 0..1; 255 that they are 0..255 and nearly black.

        Raises:
            UserError: The pixels have another shape or range, or what the model gives is no
                probabilities: it ends before its softmax, or it is damaged.
        """
        pixels = np.asarray(pixels)
        height, width = self.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (height, width, 3):
            raise UserError(
                f"pixels have the shape {pixels.shape}; expected (N, {height}, {width}, 3): "
                "resize first, or give predict() the file"
            )
        rows = self.outputs(checked_pixels(pixels, max_value=max_value))
        for row in rows:
            # Wide, since a quantised model rounds each of many small ones. NaN fails it too.
            if not (row.min() >= -0.01 and abs(float(row.sum()) - 1) < 0.5):
                raise UserError(
                    f"the model gives no probabilities: for a photo they are {row.min():.3g} to "
                    f"{row.max():.3g} and add up to {row.sum():.3g}, not to 1; export it again"
                )
        probabilities, known = self.divided(rows)
        return [
            Prediction(
                self.labels,
                row,
                known=None if known is None else float(known[number]),
                doubt=self.metadata.doubt,
                explainer=self.explain,
                comparer=self.similar,
            )
            for number, row in enumerate(probabilities)
        ]

    def with_thresholds(self, changes: Mapping[str, float]) -> Classifier:
        """The same classifier, which says something from other thresholds on.

        Args:
            changes: Some of `known`, `sure` and `group`, each 0..1; see `doubt.Thresholds`.

        Raises:
            UserError: There is no such threshold, or the model knows no doubt.
        """
        doubt = self.metadata.doubt
        if doubt is None:
            raise UserError(
                "the model does not say how likely a photo shows one of its classes, so it has no "
                "thresholds; train it again, or fit them: keras-flowers doubt RUN"
            )
        doubt = dataclasses.replace(doubt, thresholds=doubt.thresholds.but(changes))
        return dataclasses.replace(self, metadata=dataclasses.replace(self.metadata, doubt=doubt))

    def with_labels(self, labels: tuple[str, ...]) -> Classifier:
        """The same classifier with other names for its classes, in the same order."""
        if len(labels) != len(self.labels):
            raise UserError(
                f"{len(labels)} names were given but the model has {len(self.labels)} classes; "
                "expected the names that it was trained on"
            )
        return dataclasses.replace(self, metadata=dataclasses.replace(self.metadata, labels=labels))

    def __repr__(self) -> str:
        height, width = self.image_size
        origin = f", from {self.origin.path.name}" if self.origin else ""
        return f"<Classifier of {len(self.labels)} classes, {height} x {width} pixels{origin}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            raise TypeError("only what load_classifier() gave can be pickled: as path and options")
        thresholds = None if self.thresholds is None else dataclasses.asdict(self.thresholds)
        return load_again, (self.origin, self.labels, thresholds)


def load_classifier(
    path: str | os.PathLike[str] | None = None,
    *,
    workers: int = 1,
    threads: int | None = None,
    scale: Scale | None = None,
) -> Classifier:
    """Loads a classifier from a `.tflite` file, a `.keras` file or a SavedModel folder.

    Only the last two import TensorFlow. A run folder that training wrote stands for the
    `model.keras` in it, where TensorFlow is installed; of a folder with other models one is taken,
    and the log says which.

    Args:
        path: The model; None takes the one that ships with the package.
        workers: For a `.tflite`: how many photos of a batch are run at a time.
        threads: For a `.tflite`: how many threads run each of them; None takes all cores for
            `workers=1`, one thread each otherwise.
        scale: For a `.tflite` that another tool made and that does not say it: the mean and the
            std of (pixel - mean) / std, each a number or three (red, green, blue).

    Raises:
        UserError: There is no model at `path`, it is not a flower classifier, or it is damaged.

    >>> load_classifier().predict("docs/sunflower.jpg")
    <Prediction: sunflower 99.7%, black-eyed susan 0.2%, barbeton daisy 0.1%, ... of 102>
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise UserError(f"{name} is {number}; expected at least 1")
    path = default_model() if path is None else _model_at(Path(path))
    metadata = read_metadata(path)
    if scale is not None and path.suffix != ".tflite":
        raise UserError(f"{path} says itself how it scales pixels; leave the scale out")
    if path.suffix == ".tflite":
        is_ours = path == default_model()
        model = load_tflite(
            path, metadata, is_ours=is_ours, workers=workers, threads=threads, scale=scale
        )
    elif path.suffix == ".keras":
        model = load_keras_file(path)
    else:
        model = load_saved_model(path, metadata)
    if metadata.image_size not in (None, model.image_size):
        raise UserError(
            f"{path} says it takes {metadata.image_size} pixels but takes {model.image_size}"
        )
    if model.classes != len(metadata.outputs):
        raise UserError(
            f"{path} is not a classifier of its {len(metadata.outputs)} labels: "
            f"it gives {model.classes} values a photo"
        )
    origin = Origin(path.absolute(), workers, threads, scale)
    return Classifier(metadata, model.image_size, model.outputs, origin, model.load_insides)


def load_again(
    origin: Origin, labels: tuple[str, ...], thresholds: Mapping[str, float] | None
) -> Classifier:
    """The classifier of an origin, with these labels and thresholds; pickle and workers use it."""
    classifier = load_classifier(
        origin.path, workers=origin.workers, threads=origin.threads, scale=origin.scale
    )
    classifier = classifier.with_labels(labels)
    return classifier if thresholds is None else classifier.with_thresholds(thresholds)


def _model_at(path: Path) -> Path:
    """The file or SavedModel folder that `path` stands for."""
    refuse_url(path)
    if not path.exists():
        raise UserError(
            f"there is no model at {path}; expected a .tflite, a .keras or a SavedModel"
        )
    # A named pipe is neither folder nor file: to open it would wait for ever.
    if not path.is_dir() and not (path.is_file() and path.suffix in (".tflite", ".keras")):
        raise UserError(
            f"{path} is not a model; expected a .tflite, a .keras or a SavedModel folder"
        )
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return path
    found = models_in(path)
    if (path / MODEL_FILE) in found and (find_spec("tensorflow") or len(found) == 1):
        return path / MODEL_FILE
    if not found:
        raise UserError(
            f"{path} is a folder without a model in it (no .tflite, .keras, saved_model.pb)"
        )
    _logger.warning("uses %s", found[0])
    return found[0]


def models_in(folder: Path) -> list[Path]:
    """The models in a folder, the one to take first: TFLite files need no TensorFlow.

    >>> [path.name for path in models_in(default_model().parent)][:2]
    ['flowers102_float16.tflite', 'flowers102_int8.tflite']
    """
    files = sorted(folder.glob("*.tflite"), key=lambda path: ("int8" in path.name, path.name))
    saved_models = [one.parent for one in sorted(folder.glob("saved_model/**/saved_model.pb"))]
    own = [folder] if (folder / "saved_model.pb").is_file() else []
    return [*files, *sorted(folder.glob("*.keras")), *saved_models, *own]


def default_model() -> Path:
    """The model that ships: installed with the package, in a checkout where training wrote it."""
    package = Path(__file__).parents[1]
    installed = package / "flowers102" / SHIPPED
    return (
        installed
        if installed.is_file()
        else package.parent / "saved_models" / "flowers102" / SHIPPED
    )
