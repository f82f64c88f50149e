"""The formats that a trained model is exported to, one row each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from keras_flowers.errors import UserError
from keras_flowers.export.limits import BROWSER, BROWSER_INT8, EXACT, LOOSE_SHARE, Limits
from keras_flowers.training.run_directory import Run

if TYPE_CHECKING:
    import keras

    from keras_flowers.export.artifacts import Artifact

Write: TypeAlias = "Callable[[keras.Model, Run, Path, str | None], None]"
Load: TypeAlias = "Callable[[Path, str, Sequence[str], Limits], Iterable[Artifact]]"


@dataclass(frozen=True)
class Format:
    """One format.

    The functions import TensorFlow when they are called, so that `--help` need not wait for it.

    Attributes:
        name: What `--formats` calls it.
        variant: What the provenance inside of the file calls it.
        path: Where it lies in a run.
        write: Writes the loaded model of a run to a path; the last argument is where TFDS keeps
            the data set of the run, None for where training had it from.
        load: Makes the artifacts of a file for `verify`: its path, what to call it, the labels in
            whose order the answers are to come, and the limits.
        limits: What `verify` demands of its answers.
        browser_limits: What it demands of the page in a browser with such a file; None where the
            page takes none.
    """

    name: str
    variant: str
    path: Callable[[Run], Path]
    write: Write
    load: Load
    limits: Limits
    browser_limits: Limits | None = None


def _write_saved_model(model: keras.Model, run: Run, path: Path, data_dir: str | None) -> None:
    from keras_flowers.export.saved_model import write_saved_model

    del data_dir  # needs no photos
    write_saved_model(model, run.metadata, path)


def _load_saved_model(
    path: Path, name: str, labels: Sequence[str], limits: Limits
) -> Iterable[Artifact]:
    from keras_flowers.export.artifacts import load_saved_model

    return load_saved_model(path, name, labels, limits)


def _write_tflite(
    variant: str, model: keras.Model, run: Run, path: Path, data_dir: str | None
) -> None:
    from keras_flowers.export.tflite_export import write_tflite

    write_tflite(variant, model, run, path, data_dir)


def _load_tflite(
    path: Path, name: str, labels: Sequence[str], limits: Limits
) -> Iterable[Artifact]:
    from keras_flowers.export.artifacts import load_tflite

    return load_tflite(path, name, labels, limits)


def _tflite(variant: str, limits: Limits, browser_limits: Limits = BROWSER) -> Format:
    return Format(
        variant,
        f"TFLite {variant}",
        lambda run: run.tflite_path(variant),
        functools.partial(_write_tflite, variant),
        _load_tflite,
        limits,
        browser_limits,
    )


FORMATS = (
    Format(
        "saved_model",
        "SavedModel",
        lambda run: run.saved_model,
        _write_saved_model,
        _load_saved_model,
        EXACT,
    ),
    _tflite("float32", EXACT),
    _tflite("float16", Limits()),
    # However right it is, it must not be another model.
    _tflite(
        "int8",
        Limits(
            agreement=1 - LOOSE_SHARE,
            accuracy_loss=0.005,
            bytes_of_base={"MobileNetV2": 3_000_000},
            loose_on_few=True,
        ),
        BROWSER_INT8,
    ),
)
"""All formats, those first whose answers are the closest to the Keras model's."""

FORMAT_NAMES = tuple(one.name for one in FORMATS)

TFLITE_VARIANTS = tuple(one.name for one in FORMATS if one.variant.startswith("TFLite "))
"""The TFLite files that can be written, by the type of their weights."""


def formats_named(names: Iterable[str] | None) -> list[Format]:
    """The formats of these names, in the order of `FORMATS`; all of them for None.

    Raises:
        UserError: There is no such format.
    """
    chosen = FORMAT_NAMES if names is None else tuple(names)
    for name in chosen:
        if name not in FORMAT_NAMES:
            raise UserError(f"{name!r} is not a format; expected some of {', '.join(FORMAT_NAMES)}")
    return [one for one in FORMATS if one.name in chosen]
