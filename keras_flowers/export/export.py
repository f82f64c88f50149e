"""Writes a trained model in any of the formats."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_flowers.export.formats import formats_named
from keras_flowers.system import available_cores, import_tensorflow
from keras_flowers.training.run_directory import Run, size_of

logger = logging.getLogger(__name__)


def export_model(
    run: Run | str | os.PathLike[str],
    formats: Iterable[str] | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    data_dir: str | None = None,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
) -> dict[str, Path]:
    """Writes the model of a run as SavedModel and TFLite files, and says so through `logging`.

    Args:
        run: The run, its folder, or a `.keras` file.
        formats: Some of `saved_model`, `float32`, `float16` and `int8`; None for all.
        output: The folder; None: that of the run. The SavedModel goes into `saved_model/1/` in it,
            the TFLite files are called `<name of the run>_<format>.tflite`.
        data_dir: For int8, which is calibrated on training photos: where TFDS keeps the data set.
            None: where training had it from.
        sources: Photos to calibrate int8 on in place of these: folders, tables or data sets, as
            `--data` takes them.
        label_map: Files that say which of the model's classes their labels are.

    Returns:
        What was written, by format.

    Raises:
        UserError: There is no such format, the model cannot be loaded, or its data set cannot be
            had.
    """
    chosen = formats_named(formats)
    run = run if isinstance(run, Run) else Run.open(Path(run))
    if sources:
        run = dataclasses.replace(run, sources=tuple(sources), label_map=tuple(label_map))
    import_tensorflow()
    target = run if output is None else dataclasses.replace(run, folder=Path(output))
    model = run.load_model()
    files = {}
    for one in chosen:
        path = one.path(target)
        one.write(model, run, path, data_dir)
        logger.info("%6.1f MB  %s", size_of(path) / 1e6, path)
        files[one.name] = path
    return files


class AccuracyChange(NamedTuple):
    """What an exported file costs in accuracy.

    Attributes:
        source: Which photos.
        photos: How many of them could be read.
        file: How many of them the exported file names correctly.
        keras: How many the Keras model names correctly.
    """

    source: str
    photos: int
    file: int
    keras: int

    def __str__(self) -> str:
        return (
            f"{self.file / self.photos:.2%} accuracy on the {self.photos} photos of {self.source}; "
            f"the Keras model: {self.keras / self.photos:.2%}, a change of "
            f"{100 * (self.file - self.keras) / self.photos:+.2f} points"
        )


def measure_accuracy_change(
    run: Run | str | os.PathLike[str], path: Path, *, data_dir: str | None = None
) -> AccuracyChange:
    """Names the validation photos of a run with its Keras model and with an exported file.

    Args:
        run: The run, its folder, or a `.keras` file.
        path: The file that was exported from it.
        data_dir: Where TFDS keeps the data set; None: where training had it from.

    Raises:
        UserError: The data set cannot be had.
    """
    import_tensorflow()
    from keras_flowers.inference.classifier import load_classifier
    from keras_flowers.training import data
    from keras_flowers.training.evaluate import predict_dataset
    from keras_flowers.training.metrics import top_k_correct

    run = run if isinstance(run, Run) else Run.open(Path(run))
    photos = run.photos(run.settings.get("validation_split", "validation"), data_dir)
    correct = []
    for one in (path, run.model_path):
        classifier = load_classifier(one, workers=available_cores())
        batches = data.pixels(photos, classifier.image_size).as_numpy_iterator()
        answers = top_k_correct(*predict_dataset(classifier.probabilities, batches), 1)
        correct.append(int(answers.sum()))
    source = f"{photos.dataset}, split {photos.split}"
    return AccuracyChange(source, len(answers), *correct)
