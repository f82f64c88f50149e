"""Every training option, once: type, default and reason; the command line is made from it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from keras_flowers.errors import UserError
from keras_flowers.files import read_json
from keras_flowers.training.bases import find_base


def _option(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run. None means: chosen as the help says, and written to `config.json`."""

    # What is learned.
    dataset: str = _option("oxford_flowers102", "TFDS data set with the features image and label")
    data_dir: str | None = _option(
        None, "where TFDS keeps data sets (default: $TFDS_DATA_DIR, or ~/tensorflow_datasets)"
    )
    train_split: str = _option(
        "train", "TFDS split to learn from; train+validation only with settings chosen before"
    )
    validation_split: str = _option("validation", "TFDS split on which settings are chosen")
    test_split: str = _option("test", "TFDS split that is scored once, at the end")
    demo: bool = _option(
        False,
        "everything, export too, on a small drawn data set and a base of random weights: nothing "
        "is downloaded, about a minute",
    )
    # The network.
    base: str = _option(
        "MobileNetV2", "pretrained base: a name listed below, or the path of a .keras extractor"
    )
    image_size: int | None = _option(
        None, "height and width of the input in pixels (default: the base's own)"
    )
    dropout: float = _option(0.0, "share of the features that are dropped while training")
    # How it is learned.
    views: int = _option(
        4, "views kept of each photo: the whole, its mirror image, then random crops"
    )
    epochs: int | None = _option(
        None, "passes over all kept views (default: 5, or more where these are fewer than 80 steps)"
    )
    batch_size: int = _option(256, "views in a step")
    learning_rate: float = _option(5e-4, "of AdamW at the start; falls to 0 along a cosine")
    weight_decay: float = _option(0.01, "of AdamW: pulls the weights of the head towards 0")
    label_smoothing: float = _option(0.1, "share of the target spread over all classes")
    shrinkage: float = _option(
        1.0, "how little the whitening trusts how features vary together: above 0; 1 is cautious"
    )
    temperature: float | None = _option(
        None, "by which the logits are divided in the end (default: calibrated on validation)"
    )
    # Fine-tuning.
    fine_tune: str | None = _option(
        None,
        "when the head is trained, train the base too: all, or the layers behind the one named",
    )
    teacher: str | None = _option(
        None, "finished run whose answers, about blended photos, fine-tuning learns; not the labels"
    )
    distillation_temperature: float = _option(
        3.5, "by which the teacher's logits are divided: above 1, to be unsure teaches more"
    )
    fine_tune_views: int = _option(
        16, "random views of each photo, kept at the layer named (all: new ones in each epoch)"
    )
    fine_tune_epochs: int = _option(4, "passes over these views (all: over the photos)")
    fine_tune_learning_rate: float = _option(1e-3, "of AdamW at its highest, after a warm-up")
    seed: int = _option(0, "of everything random; the same seed gives the same model")
    # Where things go.
    output: str | None = _option(None, "run directory (default: saved_models/<base>)")
    overwrite: bool = _option(False, "replace the finished model in the run directory")
    cache_dir: str = _option(
        "~/.cache/keras_flowers", "where the frozen base's features are kept between runs"
    )
    export: bool = _option(False, "also write and verify the SavedModel and the TFLite files")

    def __post_init__(self) -> None:
        checks = (
            ("image_size", self.image_size is None or 32 <= self.image_size <= 1024, "32 to 1024"),
            ("dropout", 0 <= self.dropout < 1, "0 to less than 1"),
            ("views", 1 <= self.views <= 100, "1 to 100"),
            ("shrinkage", 0 < self.shrinkage, "more than 0"),
            ("epochs", self.epochs is None or 1 <= self.epochs <= 10_000, "1 to 10000"),
            ("batch_size", 1 <= self.batch_size <= 100_000, "1 to 100000"),
            ("learning_rate", 0 < self.learning_rate < 100, "more than 0"),
            ("weight_decay", 0 <= self.weight_decay < 100, "0 or more"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to less than 1"),
            ("temperature", self.temperature is None or self.temperature > 0, "more than 0"),
            ("fine_tune_views", 1 <= self.fine_tune_views <= 1000, "1 to 1000"),
            ("fine_tune_epochs", 1 <= self.fine_tune_epochs <= 1000, "1 to 1000"),
            ("fine_tune_learning_rate", 0 < self.fine_tune_learning_rate < 100, "more than 0"),
            ("distillation_temperature", self.distillation_temperature >= 1, "1 or more"),
            ("seed", 0 <= self.seed < 2**20, f"0 to {2**20 - 1}"),
        )
        for name, holds, expected in checks:
            value = getattr(self, name)
            if not holds or (isinstance(value, float) and not math.isfinite(value)):
                raise UserError(f"--{name}: expected {expected}, got {value}")
        if self.teacher is not None and self.fine_tune is None:
            raise UserError("--teacher teaches fine-tuning; add --fine_tune LAYER, or all")
        object.__setattr__(self, "base", find_base(self.base))

    @property
    def run_dir(self) -> Path:
        """Where the run's files go."""
        if self.output is not None:
            return Path(self.output)
        return Path("saved_models") / ("demo" if self.demo else Path(self.base).stem)


def load_settings(path: Path) -> dict[str, Any]:
    """The settings in the `config.json` of a run.

    Raises:
        UserError: `path` is none.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise UserError(f'{path} has no "settings"; expected the config.json of a run')
    # Permission to replace a model is given anew for each run.
    return {key: value for key, value in content["settings"].items() if key != "overwrite"}


def from_settings(settings: dict[str, Any]) -> TrainConfig:
    """Makes a config from names and values, as JSON holds them.

    Raises:
        UserError: A name is unknown, a value has the wrong type or is out of its range.
    """
    types = get_type_hints(TrainConfig)
    for name, value in settings.items():
        if name not in types:
            raise UserError(f"{name!r} is no setting; expected some of {', '.join(types)}")
        expected = types[name]
        if expected in (float, float | None) and type(value) is int:
            settings = {**settings, name: float(value)}
        elif type(value) is bool and expected is not bool or not isinstance(value, expected):
            raise UserError(f"{name}: expected {_type_name(expected)}, got {value!r}")
    return TrainConfig(**settings)


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
