"""Writes the files of a finished run: the model with its provenance, settings, scores, photos."""

from __future__ import annotations

import datetime
import platform
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers import __version__
from keras_flowers.files import atomic_replace_all, write_json, write_text
from keras_flowers.inference.labels import format_labels
from keras_flowers.inference.metadata import Metadata, add_to_archive
from keras_flowers.training.run_directory import Run

if TYPE_CHECKING:
    import keras

    from keras_flowers.training.fit import History
    from keras_flowers.training.result import Splits, TrainResult


def write_run(result: TrainResult, model: keras.Model, splits: Splits, history: History) -> None:
    """Writes the files of the run, all of them or nothing.

    Args:
        result: What the training gave; `result.run` says where it goes.
        model: The finished model.
        splits: The photos that it was made with.
        history: One row an epoch.
    """
    from keras_flowers.training.history import write_history  # loads Matplotlib

    config, asked, train = result.config, result.config.asked, splits.train
    libraries = ("tensorflow", "keras", "numpy", "ai-edge-litert")
    versions = {
        "keras_flowers": __version__,
        "python": platform.python_version(),
        **{name: packages.version(name) for name in libraries},
    }
    scores = {split: one.as_dict() for split, one in result.scores.items()}
    provenance = {
        "package": f"keras_flowers {__version__}",
        "base": asked.base,
        "start_from": None if asked.start_from is None else Path(asked.start_from).name,
        "fine_tune": asked.fine_tune or _tuned_before(asked.start_from),
        # Not where they lay on the machine that trained.
        "teacher": [Path(one).name for one in asked.teacher],
        "dataset": train.dataset,
        "trained_on": result.trained_on,
        "scores": scores,
        "seed": asked.seed,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    size = (config.image_size, config.image_size)
    metadata = Metadata(train.labels, size, provenance, result.doubt)
    found = {
        "trained_on": result.trained_on,
        "scores": scores,
        "temperature": result.temperature,
        "doubt": None if result.doubt is None else result.doubt.as_dict(),
        "seconds": round(result.seconds, 1),
    }
    with atomic_replace_all(result.run.folder, last=result.run.metrics_path.name) as folder:
        new = Run.at(folder)
        write_json(new.config_path, {"settings": config.settings(), "versions": versions})
        write_text(new.labels_path, format_labels(train.labels))
        _write_photos(new, splits)
        write_history(new, history)
        model.save(new.model_path)
        add_to_archive(new.model_path, metadata)
        write_json(new.metrics_path, found)
        written = {path.name for path in folder.iterdir()}
    for path in (result.run.split_path, result.run.left_out_path, result.run.curves_path):
        if path.name not in written:
            path.unlink(missing_ok=True)  # of the run that was overwritten
    result.run.remove_checkpoints()


def _tuned_before(run: str | None) -> str | None:
    """How the network was tuned that a training went on from, which has not tuned it again."""
    tuned = None if run is None else Run.open(run).metadata.provenance.get("fine_tune")
    return None if tuned is None else str(tuned)


def _write_photos(run: Run, splits: Splits) -> None:
    """Writes which photo was on which side, and which were not used."""
    from keras_flowers.training.sources.left_out import as_csv

    if splits.train.division is not None:
        write_text(run.split_path, splits.train.division())
    # Splits of the same sources name the same photos.
    left_out = dict.fromkeys(one for split in splits if split for one in split.left_out)
    if left_out:
        write_text(run.left_out_path, as_csv(list(left_out)))
