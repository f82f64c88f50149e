"""A run: the folder that training writes, and the one place that knows what lies where in it."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_flowers.errors import UserError
from keras_flowers.files import read_json
from keras_flowers.inference.classifier import default_model
from keras_flowers.inference.metadata import MODEL_FILE, SAVED_MODEL_PLACE, Metadata, read_metadata
from keras_flowers.system import load_keras
from keras_flowers.training.bases import SHIPPED_NAME
from keras_flowers.training.config import cache_folder, from_anywhere, load_settings
from keras_flowers.training.sources import is_there

if TYPE_CHECKING:
    import keras

    from keras_flowers.training import data

_logger = logging.getLogger(__name__)

DATASET = "oxford_flowers102"
"""What a model was trained on where it does not say."""


@dataclass(frozen=True)
class Run:
    """The folder of a training, finished or to be made; or a `.keras` file that lies elsewhere.

    What is read of it (settings, metadata, scores) is read once.

    Attributes:
        folder: Where everything goes.
        model_path: The Keras model, `model.keras` in the folder.
        sources: Photos to use in place of its own, as `photos_of` takes them.
        label_map: As `photos_of` takes it.
    """

    folder: Path
    model_path: Path
    sources: tuple[str, ...] = ()
    label_map: tuple[str, ...] = ()

    @classmethod
    def at(cls, folder: str | Path) -> Run:
        """The run in `folder`, whether there is one yet or not."""
        return cls(Path(folder), Path(folder) / MODEL_FILE)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A trained model: the folder of its run, or its `.keras` file.

        Raises:
            UserError: There is none at `path`.
        """
        path = Path(path)
        run = cls.at(path) if path.is_dir() else cls(path.parent, path)
        if run.model_path.suffix != ".keras" or not run.model_path.is_file():
            missing = "" if path.exists() else " does not exist"
            raise UserError(
                f"{path}{missing}: expected a .keras model or the folder of a finished run"
            )
        return run

    @classmethod
    def around(cls, path: Path) -> Run | None:
        """The run that a model file, a SavedModel or the folder itself belongs to; None: to none.

        Args:
            path: Any model file, such as `RUN/model.keras`, `RUN/x.tflite` or `RUN/saved_model/1`.
        """
        for folder in (path, path.parent, path.parent.parent):
            run = cls.at(folder)
            inside = (run.model_path, run.saved_model, run.saved_model.parent, folder)
            if run.config_path.is_file() and (path in inside or path.suffix == ".tflite"):
                return run
        return None

    @property
    def _is_folder(self) -> bool:
        """Whether the model is that of the folder, and so what else lies there is about it."""
        return self.model_path.name == MODEL_FILE

    @property
    def name(self) -> str:
        """What exported files are called: as the folder, or as a `.keras` file outside of a run."""
        path = self.model_path.resolve()
        return path.parent.name if self._is_folder else path.stem

    @property
    def config_path(self) -> Path:
        """The settings that the run was made with, and the versions of what made it."""
        return self.folder / "config.json"

    @property
    def metrics_path(self) -> Path:
        """The scores. Written last: where it is, the run is finished."""
        return self.folder / "metrics.json"

    @property
    def labels_path(self) -> Path:
        """The names of the classes, one a line."""
        return self.folder / "labels.txt"

    @property
    def split_path(self) -> Path:
        """Which photo was on which side, where the photos came from `--data`."""
        return self.folder / "split.csv"

    @property
    def left_out_path(self) -> Path:
        """The photos that were not used, with the reason; only where there were any."""
        return self.folder / "left_out.csv"

    @property
    def history_path(self) -> Path:
        """Loss and accuracy of each epoch."""
        return self.folder / "history.csv"

    @property
    def curves_path(self) -> Path:
        """The same as a picture."""
        return self.folder / "learning_curves.png"

    @property
    def logs(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "logs"

    @property
    def checkpoints(self) -> Path:
        """Where an interrupted training goes on from; removed when it is finished."""
        return self.folder / "checkpoints"

    @property
    def saved_model(self) -> Path:
        """The SavedModel; its parent is the model as TensorFlow Serving wants it, with versions."""
        return self.folder / SAVED_MODEL_PLACE

    def tflite_path(self, variant: str) -> Path:
        """Where the TFLite file of a variant goes."""
        return self.folder / f"{self.name}_{variant}.tflite"

    def tflite_files(self) -> list[Path]:
        """The TFLite files that are there, sorted by name."""
        return sorted(self.folder.glob("*.tflite"))

    @property
    def is_finished(self) -> bool:
        """Whether training has come to its end."""
        return self.metrics_path.is_file()

    def refuse_finished(self) -> None:
        """Keeps a finished run from being replaced unasked.

        Raises:
            UserError: There is one.
        """
        if self.is_finished:
            raise UserError(
                f"{self.folder} holds a finished model; choose another --output, replace it with "
                f"--overwrite, or score it: keras-flowers evaluate {self.folder}"
            )

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the run by name; empty for a model outside of one.

        Raises:
            UserError: `config.json` is damaged.
        """
        there = self._is_folder and self.config_path.is_file()
        return load_settings(self.config_path) if there else {}

    @functools.cached_property
    def metadata(self) -> Metadata:
        """Labels, image size and provenance, as the Keras model carries them.

        Raises:
            UserError: The model carries none, or they are damaged.
        """
        return read_metadata(self.model_path)

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """`trained_on`, `scores` by split, `temperature` and `seconds` of a finished run.

        Raises:
            UserError: The file is damaged.
        """
        content = read_json(self.metrics_path)
        if not isinstance(content, dict) or not isinstance(content.get("scores"), dict):
            raise UserError(f"{self.metrics_path} holds no scores; train the model again")
        return content

    def load_model(self) -> keras.Model:
        """Loads the Keras model.

        Returns:
            pixels float32 [N, H, W, 3] 0..255 -> probabilities float32 [N, outputs]: of the
            classes, and of none of them where the model has doubt.

        Raises:
            UserError: It cannot be loaded, or is no classifier of its labels.
        """
        metadata = self.metadata
        model = load_keras(self.model_path)
        expected = ((None, *(metadata.image_size or ()), 3), (None, len(metadata.outputs)))
        if (model.input_shape, model.output_shape) != expected:
            raise UserError(
                f"{self.model_path} takes {model.input_shape} and gives {model.output_shape}, its "
                f"metadata promises {expected[0]} and {expected[1]}; train it again"
            )
        return model

    def photos(self, split: str, data_dir: str | None = None) -> data.LabelledPhotos:
        """A split of the data set that the model was trained on, or `sources`; see `photos_of`.

        Raises:
            UserError: The data set cannot be had, or has other classes.
        """
        return photos_of(
            self.model_path,
            self.metadata,
            None if self.sources else split,
            run=self,
            data_dir=data_dir,
            sources=self.sources,
            label_map=self.label_map,
        )

    def remove_checkpoints(self) -> None:
        """Removes what a finished training needs no more."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def finished_run(name: str, option: str) -> Run:
    """A finished run with its settings and scores.

    Args:
        name: Its folder, or `flowers102`: the model that ships.
        option: Of the command line, for messages.

    Raises:
        UserError: There is none.
    """
    folder = Path(name).expanduser()
    if name == SHIPPED_NAME and not folder.exists():
        folder = default_model().parent
    if not folder.exists():
        raise UserError(f"{option} {name} does not exist; expected the folder of a finished run")
    run = Run.open(folder)
    if not (run.is_finished and run.settings):
        raise UserError(
            f"{option} {name} is no finished run: expected a folder that keras-flowers train "
            "wrote, with model.keras, config.json and metrics.json"
        )
    return run


def settings_to_go_on(name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a training that goes on from a finished run.

    They are those of the run, with some changed, but for what such a training is about: how the
    base is tuned, how long the head is trained, and where the result goes. Sources in `changes` are
    learned from beside those of the run that are still where they were.

    Args:
        name: As `finished_run` takes it.
        changes: Settings by name.

    Raises:
        UserError: There is no such run, or numbers of sources do not fit.
    """
    made = finished_run(name, "--start_from").settings
    own = ("fine_tune", "teacher", "epochs", "output", "export", "start_from")
    settings = {key: value for key, value in made.items() if key not in own}
    return {**settings, **changes, **_joined_sources(made, changes), "start_from": name}


def _joined_sources(made: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `data`, `label_map`, `data_weight` and `validation_data` of both together."""
    old = _sources_of(
        {**made, "data": made.get("data") or (f"tfds:{made.get('dataset', DATASET)}",)}
    )
    lost = [source for source in old if not is_there(source)]
    for source in lost:
        _logger.info(f"{source} is not here: its photos are not learned from again")
    new = _sources_of(changes)
    joined: dict[str, Any] = {
        key: (*filter(is_there, made.get(key, ())), *changes.get(key, ()))
        for key in ("validation_data",)
    }
    if not new and not lost and not {"data", "label_map", "data_weight"} & changes.keys():
        return joined
    both = {source: fact for source, fact in {**old, **new}.items() if source not in lost}
    maps, weights = (
        (list(facts) for facts in zip(*both.values(), strict=True)) if both else ([], [])
    )
    return {
        **joined,
        "data": tuple(both),
        "label_map": tuple(maps) if set(maps) != {"-"} else (),
        "data_weight": tuple(weights) if set(weights) != {1.0} else (),
    }


def _sources_of(settings: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Of each source in settings the label map, `-` for none, and the weight."""
    sources = [from_anywhere(one) for one in settings.get("data", ())]
    maps = list(settings.get("label_map", ())) or ["-"]
    weights = list(settings.get("data_weight", ())) or [1.0] * len(sources)
    if len(maps) == 1:
        maps *= len(sources)
    if not len(sources) == len(maps) == len(weights):
        raise UserError(
            f"{len(maps)} --label_map and {len(weights)} --data_weight for {len(sources)} --data; "
            "expected one for each --data of this command, those of the run have their own"
        )
    return dict(zip(sources, zip(maps, weights, strict=True), strict=True))


def settings_like(config_path: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an earlier run, with some changed.

    Where other photos are to be learned from, perhaps those of the validation split, too, nothing
    may be left to choose a temperature on: then that of the earlier run is taken over.

    Args:
        config_path: The `config.json` of the run.
        changes: Settings by name.

    Raises:
        UserError: `config_path` is none.
    """
    made = load_settings(config_path)
    settings = {**made, **changes}
    run = Run.at(config_path.parent)
    learns_others = settings.get("train_split") != made.get("train_split")
    if learns_others and settings.get("temperature") is None and run.is_finished:
        settings["temperature"] = run.metrics.get("temperature")
    return settings


def photos_of(
    path: Path,
    metadata: Metadata,
    split: str | None,
    *,
    run: Run | None = None,
    dataset: str | None = None,
    data_dir: str | None = None,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
) -> data.LabelledPhotos:
    """The photos that belong to a model: the one way from any model file back to its data set.

    Args:
        path: The model, for messages.
        metadata: What the model carries; its provenance names data set, configuration and version.
        split: Split expression; None: test, or all photos of sources without splits.
        run: The run that the model belongs to, if any.
        dataset: Another data set, as `data.load_photos` takes it; None: that of the training.
        data_dir: Where TFDS keeps the data set; None: where training had it from.
        sources: Photos of other sources, as `sources.open_photos` takes them.
        label_map: As `sources.open_photos` takes them.

    Raises:
        UserError: The data set cannot be had, or has other classes.
    """
    from keras_flowers.training import data

    settings = run.settings if run else {}
    cache_dir = cache_folder(settings.get("cache_dir"))
    if sources:
        return _photos_of_sources(sources, metadata, split, data_dir, label_map, cache_dir)
    if dataset is None and run is not None and settings.get("data"):
        return _photos_of_run(run, metadata, split or "test", data_dir, cache_dir)
    split = split or "test"
    if dataset is None:
        # With its configuration and version: another version may have other splits.
        # The first of several decides what is validation and test.
        names = str(metadata.provenance.get("dataset", DATASET))
        dataset = data.name_to_read(names.split(" + ")[0])
        data_dir = data_dir or settings.get("data_dir")
    photos = data.load_photos(dataset, split, data_dir, cache_dir)
    if photos.labels != metadata.labels:
        raise UserError(
            f"{path} and {photos.dataset} name their classes differently: {len(metadata.labels)} "
            f"({metadata.labels[0]}, ...) and {len(photos.labels)} ({photos.labels[0]}, ...); "
            "expected the same names in the same order: choose another --dataset"
        )
    return photos


def _photos_of_sources(
    sources: Sequence[str],
    metadata: Metadata,
    split: str | None,
    data_dir: str | None,
    label_map: Sequence[str],
    cache_dir: Path,
) -> data.LabelledPhotos:
    from keras_flowers.training.sources import open_photos
    from keras_flowers.training.sources.source import ALL

    photos = open_photos(
        sources,
        data_dir=data_dir,
        label_map=label_map,
        cache_dir=cache_dir,
        labels=metadata.labels,
        divide=False,
    )
    return photos.photos(split or ("test" if "test" in photos.counts else ALL))


def _photos_of_run(
    run: Run, metadata: Metadata, split: str, data_dir: str | None, cache_dir: Path
) -> data.LabelledPhotos:
    """A split of the photos that a run was made of, as they were divided then.

    Where other photos were learned from beside those of the first source and are not here, as with
    the model that ships, it is the split of what is.
    """
    from keras_flowers.training.sources import open_photos

    settings = run.settings
    sources, maps = list(settings["data"]), list(settings.get("label_map", ()))
    here = [number for number, one in enumerate(sources) if not number or is_there(one)]
    for number in set(range(len(sources))).difference(here):
        _logger.info(f"{sources[number]} is not here: the photos of {sources[0]} are taken alone")
    photos = open_photos(
        [sources[number] for number in here],
        data_dir=data_dir or settings.get("data_dir"),
        category_names=settings.get("category_names"),
        label_map=[maps[number] for number in here] if len(maps) > 1 else maps,
        cache_dir=cache_dir,
        division=run.split_path if run.split_path.is_file() else None,
        labels=metadata.labels,
    )
    return photos.photos(split)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
