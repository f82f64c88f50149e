"""What the rows share: the photos, the run, and how much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keras_flowers.errors import UserError
from keras_flowers.export.formats import TFLITE_VARIANTS
from keras_flowers.inference.classifier import default_model
from keras_flowers.training.run_directory import Run

DATASET = "oxford_flowers102"

TRAIN_PHOTOS = 1020

BASE, IMAGE_SIZE, CLASSES = "MobileNetV2", 224, 102

CHOOSE, SCORE = "validation[:50%]", "validation[50%:]"
"""Where training chooses its settings, and where it is scored instead of on the test split."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        photos: Of the train split, for row 3 and the limit of row 2; half of them for rows 1 and 7.
        folder: Photos in the folder of row 5; row 8 has up to four times as many.
        growth: Photos of the smallest training of row 8.
        rounds: How often what takes seconds is run.
        long_rounds: How often what takes minutes is run.
    """

    photos: int
    folder: int
    growth: int
    rounds: int
    long_rounds: int


EFFORT = Effort(photos=512, folder=500, growth=400, rounds=5, long_rounds=2)

QUICK_EFFORT = Effort(photos=64, folder=64, growth=50, rounds=2, long_rounds=1)


@dataclass(frozen=True)
class Task:
    """What the rows need to know.

    Attributes:
        effort: How much is measured.
        run: A finished run with its TFLite files; None where no row needs one.
        fine_tune: The layer behind which row 7 trains.
        data_dir: Where TFDS keeps data sets; None: where it looks by itself.
        full: Whether the usual loop is run to its end.
    """

    effort: Effort
    run: Run | None
    fine_tune: str
    data_dir: str | None
    full: bool

    @property
    def usual_model(self) -> Path:
        """What `predict` takes when no model is named; in a checkout without it, the run's."""
        return default_model() if default_model().is_file() else self.tflite("float16")

    def tflite(self, variant: str) -> Path:
        """The TFLite file of the run."""
        assert self.run is not None
        return next(path for path in self.run.tflite_files() if path.stem.endswith(f"_{variant}"))


def find_run(folder: Path) -> Run:
    """The newest finished run in `folder` that has its TFLite files.

    Raises:
        UserError: There is none.
    """
    runs = [Run.at(path) for path in folder.glob("*/")]
    usable = [run for run in runs if run.is_finished and not _missing(run)]
    if not usable:
        raise UserError(
            f"there is no finished run with TFLite files in {folder}; train one: "
            "keras-flowers train --export, or name one with --run FOLDER"
        )
    return max(usable, key=lambda run: run.metrics_path.stat().st_mtime)


def open_run(folder: Path) -> Run:
    """The run in `folder`.

    Raises:
        UserError: One of its files is missing.
    """
    run = Run.at(folder)
    if missing := _missing(run):
        raise UserError(
            f"--run {folder} has no {', '.join(missing)}; expected what "
            "keras-flowers train --export writes"
        )
    return run


def _missing(run: Run) -> list[str]:
    stems = [path.stem for path in run.tflite_files()]
    wanted = [f"_{name}" for name in TFLITE_VARIANTS]
    missing = [f"*{end}.tflite" for end in wanted if not any(one.endswith(end) for one in stems)]
    return missing if run.model_path.is_file() else [run.model_path.name, *missing]
