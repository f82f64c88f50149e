"""Every training option, once: type, default, range and reason; `--help` is made from it."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from keras_flowers.errors import UserError
from keras_flowers.files import read_json
from keras_flowers.inference.metadata import MODEL_FILE
from keras_flowers.training.bases import BASES, file_of_base, find_base
from keras_flowers.training.views import LARGEST_SEED, View

DATA, NETWORK, LEARNING, FINE_TUNING, PLACES, WORKERS = (
    "data",
    "network",
    "learning",
    "fine-tuning",
    "where things go",
    "on many machines (needs the extra [scale])",
)
"""The groups in which `--help` shows the options."""


def _option(default: Any, group: str, metavar: str, help_text: str) -> Any:
    """A field with what the command line says about it."""
    facts = {"help": help_text, "group": group, "metavar": metavar}
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a run, as they are asked for.

    None means: chosen as the help says. What was chosen is in `ResolvedConfig` and `config.json`;
    the temperature that was found is in `metrics.json`.
    """

    data: tuple[str, ...] = _option(
        (),
        DATA,
        "SOURCE",
        "photos to learn from: a folder with a folder for each class, a table (.csv, .jsonl, "
        ".parquet) with the columns path and label, or tfds:NAME; several add up",
    )
    label_map: tuple[str, ...] = _option(
        (),
        DATA,
        "FILE",
        'lines of "their name,our name" (- leaves out): one for all --data, or one for each',
    )
    data_weight: tuple[float, ...] = _option(
        (),
        DATA,
        "WEIGHT",
        "how much a photo of a source counts for the head: one for each --data, in their order; "
        "below 1 for photos unlike those that the model is for (default: all count alike)",
    )
    balance_classes: bool = _option(
        False,
        DATA,
        "",
        "let each class count the same for the head: pays where some have a fifth of the photos "
        "that others have",
    )
    category_names: str | None = _option(
        None, DATA, "FILE", 'JSON with the name of each folder or label: {"1": "pink primrose"}'
    )
    taxonomy: str | None = _option(
        None,
        DATA,
        "FILE",
        "CSV with the columns label, genus and family, of classes of your own: the model says "
        '"some Tulipa" where it is only sure of that (default: known for the 102 flowers)',
    )
    validation_data: tuple[str, ...] = _option(
        (),
        DATA,
        "SOURCE",
        "more photos to choose on, none of which is learned from: a source as --data takes it, "
        "whose photos join --validation_split; several add up",
    )
    strict: bool = _option(False, DATA, "", "refuse --data with a photo that cannot be read")
    dataset: str = _option(
        "oxford_flowers102", DATA, "NAME", "TFDS data set with the features image and label"
    )
    data_dir: str | None = _option(
        None,
        DATA,
        "FOLDER",
        "where TFDS keeps data sets (default: $TFDS_DATA_DIR, or ~/tensorflow_datasets)",
    )
    train_split: str = _option(
        "train",
        DATA,
        "SPLIT",
        "TFDS split to learn from; train+validation only with settings chosen before",
    )
    validation_split: str = _option(
        "validation", DATA, "SPLIT", "TFDS split on which settings are chosen"
    )
    test_split: str = _option("test", DATA, "SPLIT", "TFDS split that is scored once, at the end")
    base: str = _option(
        "MobileNetV2",
        NETWORK,
        "NAME",
        "pretrained base: a name listed below; flowers102, the network of the model that ships, "
        "which knows flowers; the folder of a finished run; or a .keras feature extractor",
    )
    image_size: int | None = _option(
        None, NETWORK, "PIXELS", "height and width of the input (default: the base's own)"
    )
    start_from: str | None = _option(
        None,
        NETWORK,
        "RUN",
        "a finished run to go on from, with its base and all that its head knows: more photos, "
        "new classes or --fine_tune; its photos and settings count where nothing else is said",
    )
    dropout: float = _option(
        0.0, NETWORK, "SHARE", "share of the features that are dropped while training"
    )
    views: int = _option(
        4,
        LEARNING,
        "N",
        "views of each photo: the whole, its mirror image, then random crops",
    )
    field_views: int = _option(
        0,
        LEARNING,
        "N",
        "more views for the head, in which a photo looks as in the field: a bed of its flower, or "
        "the flower far away; 4 has one of each kind",
    )
    epochs: int | None = _option(
        None,
        LEARNING,
        "N",
        "passes over all views (default: 5, or more where these are fewer than 80 steps); new "
        "classes upon a tuned base, with --start_from, are fitted to the end instead",
    )
    batch_size: int = _option(256, LEARNING, "N", "views in a step")
    learning_rate: float = _option(
        5e-4,
        LEARNING,
        "RATE",
        "of AdamW at the start; falls to 0 along a cosine; three tenths of it with --start_from, "
        "but for new classes upon a tuned base",
    )
    weight_decay: float = _option(
        0.01, LEARNING, "RATE", "of AdamW: pulls the weights of the head towards 0"
    )
    label_smoothing: float = _option(
        0.1, LEARNING, "SHARE", "share of the target spread over all classes"
    )
    shrinkage: float = _option(
        1.0,
        LEARNING,
        "X",
        "shrinkage of the feature covariance before whitening: above 0; 1 is cautious",
    )
    temperature: float | None = _option(
        None,
        LEARNING,
        "T",
        "divides the logits of the finished model (default: fitted on the validation photos)",
    )
    seed: int = _option(
        0, LEARNING, "N", "of everything random; the same seed gives the same model"
    )
    fine_tune: str | None = _option(
        None,
        FINE_TUNING,
        "LAYER",
        "when the head is trained, train the base too: all, or the layers behind the one named",
    )
    teacher: tuple[str, ...] = _option(
        (),
        FINE_TUNING,
        "RUN",
        "finished run whose answers about mixed photos fine-tuning learns, instead of the labels, "
        "those labelled unknown too; of several, the mean of those that learned from the photo's "
        "source, and from views as in the field where it is shown so",
    )
    distillation_temperature: float = _option(
        3.5, FINE_TUNING, "T", "divides the teacher's logits: above 1, to be unsure teaches more"
    )
    fine_tune_views: int = _option(
        16,
        FINE_TUNING,
        "N",
        "random views of each photo, cached at the layer named (all: new ones in each epoch)",
    )
    fine_tune_field_views: int = _option(
        0,
        FINE_TUNING,
        "N",
        "more views of each photo, as --field_views makes them (all: in so many of the epochs)",
    )
    fine_tune_epochs: int = _option(
        4, FINE_TUNING, "N", "passes over these views (all: over the photos)"
    )
    fine_tune_learning_rate: float = _option(
        1e-3, FINE_TUNING, "RATE", "of AdamW at its highest, after a warm-up"
    )
    output: str | None = _option(
        None,
        PLACES,
        "FOLDER",
        "folder of the run (default: saved_models/<base>, <run>_more with --start_from, or "
        "on_<base> where that is a run)",
    )
    overwrite: bool = _option(False, PLACES, "", "replace the finished model in the folder")
    cache_dir: str | None = _option(
        None,
        PLACES,
        "FOLDER",
        "where features of the frozen base, and what was found in photos, are cached (default: "
        "keras_flowers in $XDG_CACHE_HOME, or in ~/.cache)",
    )
    export: bool = _option(
        False, PLACES, "", "also write and verify the SavedModel and the TFLite files"
    )
    engine: str | None = _option(
        None,
        WORKERS,
        "ray",
        "ray: its workers, on this machine or on a cluster, run the frozen base over the photos; "
        "they find the photos where this machine does, and the model is the same as without",
    )
    ray_address: str | None = _option(
        None,
        WORKERS,
        "HOST:PORT",
        "the cluster, or auto for the one that this machine is part of (default: this machine "
        "alone)",
    )
    worker_cores: int | None = _option(
        None,
        WORKERS,
        "N",
        "how many cores a worker uses, which takes 1 GB for itself (default: 4, or as many as "
        "there are here)",
    )

    def __post_init__(self) -> None:
        most_views = View.RANDOM_COUNT
        checks = (
            ("image_size", self.image_size is None or 32 <= self.image_size <= 1024, "32 to 1024"),
            ("dropout", 0 <= self.dropout < 1, "0 to less than 1"),
            ("views", 1 <= self.views <= 100, "1 to 100"),
            ("field_views", 0 <= self.field_views <= 100, "0 to 100"),
            ("shrinkage", 0 < self.shrinkage, "more than 0"),
            ("epochs", self.epochs is None or 1 <= self.epochs <= 10_000, "1 to 10000"),
            ("batch_size", 1 <= self.batch_size <= 100_000, "1 to 100000"),
            ("learning_rate", 0 < self.learning_rate < 100, "more than 0, less than 100"),
            ("weight_decay", 0 <= self.weight_decay < 100, "0 to less than 100"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to less than 1"),
            ("temperature", self.temperature is None or self.temperature > 0, "more than 0"),
            ("fine_tune_views", 1 <= self.fine_tune_views <= most_views, f"1 to {most_views}"),
            ("fine_tune_field_views", 0 <= self.fine_tune_field_views <= 100, "0 to 100"),
            # Where all of the base is trained, each epoch has a view of its own.
            (
                "fine_tune_epochs",
                1 <= self.fine_tune_epochs <= most_views,
                f"1 to {most_views}",
            ),
            (
                "fine_tune_learning_rate",
                0 < self.fine_tune_learning_rate < 100,
                "more than 0, less than 100",
            ),
            ("distillation_temperature", self.distillation_temperature >= 1, "1 or more"),
            (
                "worker_cores",
                self.worker_cores is None or 1 <= self.worker_cores <= 1024,
                "1 to 1024",
            ),
            ("seed", 0 <= self.seed <= LARGEST_SEED, f"0 to {LARGEST_SEED}"),
        )
        for name, holds, expected in checks:
            value = getattr(self, name)
            if not holds or (isinstance(value, float) and not math.isfinite(value)):
                raise UserError(f"--{name}: expected {expected}, got {value}")
        if self.engine not in (None, "ray"):
            raise UserError(f"--engine: expected ray, got {self.engine}")
        if self.engine is None and (self.ray_address or self.worker_cores):
            raise UserError("--ray_address and --worker_cores are for --engine ray; add it")
        if self.teacher and self.fine_tune is None:
            raise UserError("--teacher teaches fine-tuning; add --fine_tune LAYER, or all")
        if (self.label_map or self.category_names or self.strict) and not self.data:
            raise UserError("--label_map, --category_names and --strict are about --data; add it")
        if self.data_weight and len(self.data_weight) != len(self.data):
            raise UserError(
                f"{len(self.data_weight)} --data_weight for {len(self.data)} --data; expected one "
                "for each"
            )
        for weight in self.data_weight:
            if not 0 < weight <= 1000:
                raise UserError(f"--data_weight: expected more than 0, at most 1000, got {weight}")
        # A run that is gone on from holds its network: what it was built upon need not be here.
        if self.start_from is None:
            object.__setattr__(self, "base", find_base(self.base))
        # As seen from anywhere: the run finds its photos again.
        for name in ("data", "validation_data", "label_map"):
            object.__setattr__(self, name, tuple(map(from_anywhere, getattr(self, name))))
        for name in ("category_names", "taxonomy", "start_from"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, from_anywhere(getattr(self, name)))

    @property
    def cache_folder(self) -> Path:
        """Where `cache_dir` is."""
        return cache_folder(self.cache_dir)

    @property
    def run_dir(self) -> Path:
        """Where the run's files go."""
        if self.output is not None:
            return Path(self.output)
        if self.start_from is not None:
            start = Path(self.start_from)
            name = start.parent.name if start.suffix == ".keras" else start.name
            return Path("saved_models") / f"{name}_more"
        file = Path(self.base) if self.base in BASES else file_of_base(self.base)
        # Of a run, not where the base itself lies.
        name = f"on_{file.parent.name}" if file.name == MODEL_FILE else file.stem
        return Path("saved_models") / name


def cache_folder(cache_dir: str | None) -> Path:
    """The folder of the cache, which is made when first needed.

    Args:
        cache_dir: As `TrainConfig` has it; None: the folder that the system has for caches.
    """
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    # Of the XDG Base Directory Specification, which says that relative paths are not to be used.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "keras_flowers"


@dataclass(frozen=True)
class ResolvedConfig:
    """What a run is made with: the settings asked for, and what was chosen where none was.

    Attributes:
        asked: The settings asked for.
        image_size: Height and width of the input in pixels.
        epochs: Passes of the head over all views.
    """

    asked: TrainConfig
    image_size: int
    epochs: int

    def settings(self) -> dict[str, Any]:
        """By name, as `config.json` holds them and `from_settings` takes them."""
        chosen = {"image_size": self.image_size, "epochs": self.epochs}
        return {**dataclasses.asdict(self.asked), **chosen}


def load_settings(path: Path) -> dict[str, Any]:
    """The settings in the `config.json` of a run.

    Raises:
        UserError: `path` is none.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise UserError(f'{path} has no "settings"; expected the config.json of a run')
    # Permission to replace a model is given anew for each run, and so is who does the work. Earlier
    # versions wrote whether the run was the demo, beside the data set and the base that it chose.
    dropped = ("overwrite", "engine", "ray_address", "worker_cores", "demo")
    settings = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in content["settings"].items()
        if key not in dropped
    }
    # Of earlier versions, which had one teacher at most.
    teacher = settings.get("teacher", ())
    if not isinstance(teacher, tuple):
        settings["teacher"] = () if teacher is None else (teacher,)
    return settings


def from_settings(settings: dict[str, Any]) -> TrainConfig:
    """Makes a config from names and values, as JSON holds them.

    Raises:
        UserError: A name is unknown, a value has the wrong type or is out of its range.
    """
    types = get_type_hints(TrainConfig)
    for name, value in settings.items():
        if name not in types:
            raise UserError(f"{name!r} is not a setting; expected some of {', '.join(types)}")
        expected = types[name]
        if expected == tuple[str, ...]:
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
                raise UserError(f"{name}: expected a list of text, got {value!r}")
            settings = {**settings, name: tuple(value)}
        elif expected == tuple[float, ...]:
            numbers = value if isinstance(value, (list, tuple)) else (None,)
            if not all(type(number) in (int, float) for number in numbers):
                raise UserError(f"{name}: expected a list of numbers, got {value!r}")
            settings = {**settings, name: tuple(map(float, numbers))}
        elif expected in (float, float | None) and type(value) is int:
            settings = {**settings, name: float(value)}
        elif type(value) is bool and expected is not bool or not isinstance(value, expected):
            raise UserError(f"{name}: expected {_type_name(expected)}, got {value!r}")
    return TrainConfig(**settings)


def from_anywhere(path: str) -> str:
    """A path of something that is there as an absolute one; anything else as it is."""
    found = Path(path).expanduser()
    return str(found.resolve()) if found.exists() else path


def _type_name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
