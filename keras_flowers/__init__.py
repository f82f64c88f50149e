"""A classifier of 102 flowers: train, evaluate, export, verify and predict.

The house has four wings. Each imports from those below it only, never from those above:

    commands/    the command lines: the only place that prints or knows argparse
    export/      a trained model -> SavedModel and TFLite files, and the check that they agree
    training/    labelled photos -> a trained model and its scores
    inference/   a photo -> the name of its flower, without TensorFlow

and, below all of them: `errors.py` (what a user can fix), `files.py` (files written whole or not
at all), `progress.py` (the progress bar), `system.py` (cores, streams, TensorFlow's silent import).

This module is the public API. What stands in `__all__` is kept; everything else may change.

>>> from keras_flowers import load_classifier
>>> prediction = load_classifier().predict("docs/sunflower.jpg")
>>> print(prediction.name)
sunflower
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from keras_flowers.errors import UserError as UserError
    from keras_flowers.export.export import export_model as export_model
    from keras_flowers.export.verify import verify_model as verify_model
    from keras_flowers.inference.classifier import Classifier as Classifier
    from keras_flowers.inference.classifier import load_classifier as load_classifier
    from keras_flowers.inference.prediction import Prediction as Prediction
    from keras_flowers.training.config import TrainConfig as TrainConfig
    from keras_flowers.training.evaluate import evaluate_model as evaluate_model
    from keras_flowers.training.report.report import report_run as report_run
    from keras_flowers.training.train import train_model as train_model

_MODULES = {
    "Classifier": "inference.classifier",
    "Prediction": "inference.prediction",
    "TrainConfig": "training.config",
    "UserError": "errors",
    "evaluate_model": "training.evaluate",
    "export_model": "export.export",
    "load_classifier": "inference.classifier",
    "report_run": "training.report.report",
    "train_model": "training.train",
    "verify_model": "export.verify",
}
__all__ = [
    "Classifier",
    "Prediction",
    "TrainConfig",
    "UserError",
    "evaluate_model",
    "export_model",
    "load_classifier",
    "report_run",
    "train_model",
    "verify_model",
]


def __getattr__(name: str) -> Any:
    # Imported on first use (PEP 562): `import keras_flowers` stays instant.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
