"""What a run folder holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_flowers.errors import UserError
from keras_flowers.inference.metadata import Metadata, read_metadata
from keras_flowers.training.config import load_settings

if TYPE_CHECKING:
    import keras

    from keras_flowers.training import data

FINISHED = "metrics.json"
"""The file of a run directory that is written last: where it is, the run is finished."""

SAVED_MODEL_FOLDER = "saved_model"
"""Where the SavedModel of a run goes: its name as TensorFlow Serving sees it."""

SAVED_MODEL_VERSION = "1"
"""TensorFlow Serving looks for numbered versions in the folder of a model."""


def refuse_finished(run: Path, overwrite: bool) -> None:
    """Keeps a finished run from being replaced unasked.

    Raises:
        UserError: `run` holds one and `overwrite` is false.
    """
    if (run / FINISHED).exists() and not overwrite:
        raise UserError(
            f"{run} holds a finished model; choose another --output, replace it with --overwrite, "
            f"or score it: python -m keras_flowers.evaluate {run / 'model.keras'}"
        )


def find_model(path: Path) -> Path:
    """The `.keras` file that `path` is, or that lies in the run folder `path`.

    Raises:
        UserError: There is none.
    """
    file = path / "model.keras" if path.is_dir() else path
    if file.suffix != ".keras" or not file.is_file():
        raise UserError(f"{path}: expected a .keras model or the folder of a finished run")
    return file


def name_of(model_path: Path) -> str:
    """What the exported files are called: as the run folder, or as the file outside of one."""
    model_path = model_path.resolve()
    return model_path.parent.name if model_path.name == "model.keras" else model_path.stem


def settings_of(model_path: Path) -> dict[str, Any]:
    """The settings of the run that a model lies in; empty for a model outside of one.

    Raises:
        UserError: The `config.json` beside it is damaged.
    """
    config = model_path.parent / "config.json"
    return load_settings(config) if config.is_file() else {}


def photos_of(model_path: Path, split: str, data_dir: str | None = None) -> data.LabelledPhotos:
    """A split of the data set that a model was trained on, as its provenance names it.

    Args:
        model_path: The `.keras` file.
        split: TFDS split.
        data_dir: Where TFDS keeps the data set; None: where training had it from.

    Raises:
        UserError: The data set cannot be had, or has other classes.
    """
    from keras_flowers.training import data

    metadata = read_metadata(model_path)
    dataset = str(metadata.provenance.get("dataset", "oxford_flowers102"))
    photos = data.load_photos(
        data.name_to_read(dataset),
        split,
        data_dir or settings_of(model_path).get("data_dir"),
    )
    if photos.labels != metadata.labels:
        raise UserError(f"{model_path} and {photos.dataset} name their classes differently")
    return photos


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def load_model(model_path: Path) -> tuple[keras.Model, Metadata]:
    """Loads a model that training wrote.

    Raises:
        UserError: It cannot be loaded, or is no classifier of its labels.
    """
    import keras

    metadata = read_metadata(model_path)
    try:
        # Safe mode (the default) refuses Lambda layers: a stranger's file runs none of their code.
        model = keras.saving.load_model(model_path, compile=False, safe_mode=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Keras cannot load {model_path} ({reason})") from None
    expected = ((None, *(metadata.image_size or ()), 3), (None, len(metadata.labels)))
    if (model.input_shape, model.output_shape) != expected:
        raise UserError(
            f"{model_path} takes {model.input_shape} and gives {model.output_shape}, its metadata "
            f"promises {expected[0]} and {expected[1]}; train it again"
        )
    return model, metadata


def remove_checkpoints(run: Path) -> None:
    """Removes what a finished training needs no more."""
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
