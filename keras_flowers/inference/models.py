"""A model file of any format as a function from pixels to probabilities."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.image import load_readers
from keras_flowers.inference.litert import (
    LiteRTModel,
    may_crash_with_every_model,
    probe_in_subprocess,
)
from keras_flowers.inference.metadata import Metadata
from keras_flowers.inference.prediction import Probabilities
from keras_flowers.inference.scaling import (
    AS_THEY_ARE,
    Scale,
    Scaling,
    read_standard_metadata,
    scaling_of,
    scaling_of_range,
)
from keras_flowers.system import import_tensorflow, load_keras

if TYPE_CHECKING:
    from keras_flowers.inference.insides import Insides

PredictFn: TypeAlias = Callable[[npt.NDArray[Any]], Probabilities]


class Model(NamedTuple):
    """What a model file holds.

    Attributes:
        outputs: pixels [N, height, width, 3], 0..255 -> float32 [N, classes]: probabilities.
        image_size: Height and width of its input in pixels.
        classes: How many probabilities it gives for a photo.
        load_insides: Loads what explains its answers; gives None where it is not built like ours.
    """

    outputs: PredictFn
    image_size: tuple[int, int]
    classes: int
    load_insides: Callable[[], Insides | None] = lambda: None


def load_tflite(
    path: Path,
    metadata: Metadata,
    *,
    is_ours: bool,
    workers: int,
    threads: int | None,
    scale: Scale | None,
) -> Model:
    """Loads a `.tflite` file, without TensorFlow.

    Args:
        path: The file.
        metadata: What it says about itself.
        is_ours: It came with the package: where it crashes LiteRT, every model does.
        workers: As for `load_classifier`.
        threads: As for `load_classifier`.
        scale: As for `load_classifier`.

    Raises:
        UserError: It is not a classifier, is damaged, or does not say how it wants its pixels.
    """
    content = path.read_bytes()
    if is_ours and not may_crash_with_every_model():
        model = LiteRTModel(content, workers=workers, threads=threads)
    else:  # a stranger's, perhaps
        with probe_in_subprocess(content):
            load_readers()  # needed for the first photo, and the other process takes as long
        model = LiteRTModel(content, workers=workers, threads=threads)
        if not is_ours:
            model.scaling = _scaling(path, content, metadata, model, scale)
    shapes = model.output_shapes
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise UserError(f"{path} is not a classifier: its outputs have the shapes {shapes}")

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        return model(pixels)[0]

    def load_insides() -> Insides | None:
        from keras_flowers.inference.tflite_insides import insides_of_tflite

        # With another scaling it is another tool's.
        return (
            None if model.scaling else insides_of_tflite(content, workers=workers, threads=threads)
        )

    return Model(run, model.image_size, shapes[0][0], load_insides)


def _scaling(
    path: Path, content: bytes, metadata: Metadata, model: LiteRTModel, scale: Scale | None
) -> Scaling | None:
    """What becomes of pixels before they go into a TFLite model; None leaves them as they are."""
    if scale is not None:
        return scaling_of(scale)
    dtype = model.input_dtype
    if dtype == np.uint8 or (dtype == np.float32 and metadata.image_size is not None):
        # Bytes are pixels, as everywhere; and our own files take 0..255.
        return None
    said = AS_THEY_ARE if metadata.image_size else read_standard_metadata(content).scaling
    if said is None and dtype == np.int8:
        said = scaling_of_range(*model.input_range)
    if said is None:
        raise UserError(
            f"{path} does not say how it wants its pixels (no NormalizationOptions in its "
            "metadata); say it with --scale MEAN STD, in Python scale=(MEAN, STD): 127.5 127.5 "
            "for -1 to 1, 0 255 for 0 to 1, 0 1 for 0 to 255"
        )
    return said


def load_keras_file(path: Path) -> Model:
    """Loads a `.keras` file.

    Raises:
        UserError: It is not a classifier of photos, or Keras cannot load it.
    """
    model = load_keras(path)
    shape, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if not (isinstance(shape, tuple) and len(shape) == 4 and shape[1] and shape[2]):
        raise UserError(f"{path} is not a classifier of photos: its input has the shape {shape}")
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        raise UserError(f"{path} is not a classifier: its output has the shape {outputs}")
    process = os.getpid()

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        _refuse_fork(process, path)
        try:
            return np.asarray(model.predict_on_batch(pixels.astype(np.float32)))
        except Exception as error:
            raise UserError(f"Keras cannot run {path} ({reason_of(error)})") from None

    def load_insides() -> Insides | None:
        from keras_flowers.inference.keras_insides import insides_of_keras

        return insides_of_keras(model)

    return Model(run, (shape[1], shape[2]), outputs[1], load_insides)


def load_saved_model(folder: Path, metadata: Metadata) -> Model:
    """Loads the SavedModel in a folder.

    Raises:
        UserError: It is not one that this package exported, or TensorFlow cannot load it.
    """
    import_tensorflow()
    import tensorflow as tf

    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:
        raise UserError(f"TensorFlow cannot load {folder} ({reason_of(error)})") from None
    signatures = getattr(model, "signatures", None)
    signature: Any = signatures.get("images") if isinstance(signatures, Mapping) else None
    outputs = getattr(signature, "structured_outputs", {})
    if "probabilities" not in outputs or metadata.image_size is None:
        raise UserError(
            f"{folder} has no signature `images` that gives `probabilities`; "
            "expected what `keras-flowers export` wrote"
        )

    process = os.getpid()

    def run(pixels: npt.NDArray[Any]) -> Probabilities:
        _refuse_fork(process, folder)
        # The signature holds the variables only as long as the model itself is held.
        _ = model
        try:
            answer = signature(images=tf.constant(pixels, tf.float32))
        except Exception as error:
            raise UserError(f"TensorFlow cannot run {folder} ({reason_of(error)})") from None
        return np.asarray(answer["probabilities"].numpy())

    return Model(run, metadata.image_size, int(outputs["probabilities"].shape[-1] or 0))


def _refuse_fork(process: int, path: Path) -> None:
    if os.getpid() != process:
        # It would wait for ever for threads that were not copied.
        raise UserError(
            f"{path} was loaded before this process was forked, which TensorFlow does not survive; "
            "load it in the new process, or take a .tflite"
        )
