"""Trains a classifier, chooses on validation, scores the test split once, writes the run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keras_flowers.errors import UserError
from keras_flowers.files import exclusive_lock
from keras_flowers.inference.doubt import Doubt, groups_of, is_deadly
from keras_flowers.inference.metadata import MODEL_FILE
from keras_flowers.system import available_cores, import_tensorflow
from keras_flowers.training.bases import BASES, file_of_base
from keras_flowers.training.config import ResolvedConfig, TrainConfig
from keras_flowers.training.feature_cache import FeatureCache
from keras_flowers.training.result import Splits, TrainResult
from keras_flowers.training.run_directory import Run
from keras_flowers.training.run_files import write_run
from keras_flowers.training.sources import check_available
from keras_flowers.training.start_from import (
    Start,
    balance_new,
    find_start,
    gentler,
    load_start,
    refuse_learned,
)
from keras_flowers.training.taxonomy import taxonomy_for
from keras_flowers.training.views import View

if TYPE_CHECKING:
    import keras

    from keras_flowers.inference.scale.ray_workers import Crew
    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.data import LabelledPhotos
    from keras_flowers.training.features import FeatureExtractor
    from keras_flowers.training.fit import History
    from keras_flowers.training.metrics import Scores
    from keras_flowers.training.teachers import Teacher

_logger = logging.getLogger(__name__)

EPOCHS, LEAST_STEPS = 5, 80
"""How long the head is trained, when --epochs is not given. Chosen on validation: more would make
it learn the photos by heart, and on few photos five epochs are too few steps to learn anything."""

_MUCH_CACHED_BYTES = 1_000_000_000
"""From when on a training says how large the cache is."""


class _Head(NamedTuple):
    """What the head learns from and is watched on."""

    train: CachedFeatures
    validation: CachedFeatures | None


def train_model(config: TrainConfig) -> TrainResult:
    """Trains, chooses on the validation split, scores the test split once, writes the run.

    For the rest of the process, TensorFlow's operations become deterministic and the global seeds
    of Python, NumPy and Keras are set: the same seed gives the same weights, bit for bit.

    Args:
        config: The settings.

    Returns:
        The finished run, its scores and its temperature.

    Raises:
        UserError: A setting, the data set or the run's folder does not allow it.
    """
    run = Run.at(config.run_dir)
    if not config.overwrite:
        run.refuse_finished()
    begun = find_start(config)
    sources = [*(config.data or [f"tfds:{config.dataset}"]), *config.validation_data]
    check_available(sources, config.data_dir)
    import_tensorflow()  # before a folder is made, since it may not be installed
    with exclusive_lock(run.folder), extractors(config) as extractor_of:
        return _train(config, run, begun, extractor_of)


def _train(
    config: TrainConfig,
    run: Run,
    begun: Run | None,
    extractor_of: Callable[[keras.Model], FeatureExtractor],
) -> TrainResult:
    import tensorflow as tf

    from keras_flowers.training.model import FEATURES, split_at

    started = time.monotonic()
    # Sums on several threads in a fixed order.
    tf.config.experimental.enable_op_determinism()
    splits = open_splits(config, begun)
    start = None if begun is None else load_start(begun, splits)
    if start is not None and splits.validation is None and config.temperature is None:
        _logger.info(f"no photos to choose on: the temperature is that of {start.run.folder}")
        config = dataclasses.replace(config, temperature=start.temperature)
    resolved = _resolve(config, splits, start)
    teachers = _load_teachers(resolved, splits)
    model = _build(resolved, splits, start)
    extractor = extractor_of(split_at(model, FEATURES)[0])
    history: History = []
    validation = None
    if start is None or not start.keeps_head(config, splits.train.labels):
        head = _features(resolved, splits, extractor)
        history = _fit_head(resolved, model, head, run, start)
        validation = head.validation
    if config.fine_tune is not None:
        rows = _fine_tune(resolved, splits, model, teachers, extractor_of, run)
        history += [{**row, "epoch": row["epoch"] + len(history)} for row in rows]
        extractor = extractor_of(split_at(model, FEATURES)[0])
        validation = _validation_features(splits, extractor)
    temperature = _calibrate(config, model, validation)
    scores = _score(splits, model, validation, extractor)
    model, doubt = add_doubt(config, splits, model, extractor, run)
    seconds = time.monotonic() - started
    trained_on = {"split": splits.train.split, "photos": splits.train.count}
    result = TrainResult(run, resolved, trained_on, scores, temperature, doubt, seconds)
    write_run(result, model, splits, history)
    if config.fine_tune is not None:
        extractor.forget()
    _tell_of_cache(config.cache_folder / "features")
    return result


def _tell_of_cache(folder: Path) -> None:
    """Says when the features have become many: nothing else deletes them."""
    total = FeatureCache(folder).bytes
    if total > _MUCH_CACHED_BYTES:
        _logger.info(
            f"cached features take {total / 1e9:.1f} GB in {folder}: keras-flowers cache lists "
            "them, and with --limit 1GB deletes the oldest"
        )


def open_splits(config: TrainConfig, begun: Run | None = None) -> Splits:
    """Opens the photos to learn from, to choose on and to score.

    Args:
        config: The settings.
        begun: A run whose classes come first, and whose photos stay on their sides.

    Raises:
        UserError: They cannot be had, or cannot be used like this.
    """
    from keras_flowers.training import data
    from keras_flowers.training.sources import open_photos
    from keras_flowers.training.sources.source import UNKNOWN

    wanted = (config.train_split, config.validation_split, config.test_split)
    cache_dir = config.cache_folder
    if config.data:
        photos = open_photos(
            config.data,
            data_dir=config.data_dir,
            category_names=config.category_names,
            label_map=config.label_map,
            cache_dir=cache_dir,
            strict=config.strict,
            division=begun.split_path if begun and begun.split_path.is_file() else None,
            labels=begun.metadata.labels if begun else None,
            new_labels=begun is not None,
        )
        train, validation, test = (photos.photos(split) for split in wanted)
    else:
        train, validation, test = (
            data.load_photos(config.dataset, split, config.data_dir, cache_dir) for split in wanted
        )
    if data.overlap(train, test) or data.overlap(validation, test):
        raise UserError(
            f"--test_split {config.test_split} shares photos with the splits that are learned "
            "from; its score would be worth nothing"
        )
    to_choose_on = None if data.overlap(train, validation) else validation
    taxonomy_for(train.labels, config.taxonomy)  # refuses it before time is spent
    unknown = train.of_split(UNKNOWN) if train.unknown_count else None
    unknown_to_choose_on = None
    if config.validation_data:
        more = _open_validation_data(config, train, test)
        to_choose_on = more if to_choose_on is None else to_choose_on.joined_with(more)
        unknown_to_choose_on = more.of_split(UNKNOWN) if more.unknown_count else None
    return Splits(train, to_choose_on, test, unknown, unknown_to_choose_on)


def _open_validation_data(
    config: TrainConfig, train: LabelledPhotos, test: LabelledPhotos
) -> LabelledPhotos:
    """All photos of --validation_data that show classes of `train`.

    Raises:
        UserError: It has other classes, or shares photos with `train` or `test`.
    """
    from keras_flowers.training.sources import open_photos
    from keras_flowers.training.sources.source import UNKNOWN

    photos = open_photos(
        config.validation_data,
        data_dir=config.data_dir,
        cache_dir=config.cache_folder,
        strict=config.strict,
        labels=train.labels,
        divide=False,
    )
    known = photos.photos("+".join(split for split in photos.counts if split != UNKNOWN))
    known = dataclasses.replace(known, split=known.dataset)
    for other in (train, test):
        shared = set(known.digests.tolist()) & set(other.digests.tolist())
        if shared:
            raise UserError(
                f"--validation_data shares {len(shared)} photos with {other.split}; expected "
                "photos that are neither learned from nor tested on: take them out of it"
            )
    return known


def _resolve(config: TrainConfig, splits: Splits, start: Start | None = None) -> ResolvedConfig:
    """Chooses what the settings leave open and does not need training to be chosen.

    Raises:
        UserError: Something has to be chosen on photos that are learned from.
    """
    from keras_flowers.training.model import image_size_of

    if splits.validation is None and config.temperature is None:
        raise UserError(
            f"--train_split {config.train_split} holds the validation photos, so nothing can be "
            "chosen on them: run without it first, then add --config RUN/config.json of that run"
        )
    size = config.image_size
    if size is None:
        size = image_size_of(config.base) if start is None else start.model.input_shape[1]
    epochs = config.epochs
    if epochs is None:
        epochs = epochs_for(len(_views(config)) * splits.train.count, config.batch_size)
    return ResolvedConfig(config, size, epochs)


def _views(config: TrainConfig) -> list[int]:
    """The views of each photo that the head learns from."""
    return [*range(config.views), *map(View.field, range(config.field_views))]


def epochs_for(examples: int, batch_size: int) -> int:
    """How many epochs the head is trained on so many examples, views of photos.

    >>> epochs_for(4080, 256), epochs_for(4096, 256), epochs_for(100, 256)
    (5, 5, 80)
    """
    steps = -(-examples // batch_size)
    return max(EPOCHS, -(-LEAST_STEPS // steps))


def _load_teachers(config: ResolvedConfig, splits: Splits) -> list[Teacher]:
    from keras_flowers.training.teachers import load_teachers

    scored = [one for one in (splits.validation, splits.test) if one is not None]
    paths = [Path(one) for one in config.asked.teacher]
    return load_teachers(paths, splits.train, scored, config.image_size)


def _build(config: ResolvedConfig, splits: Splits, start: Start | None) -> keras.Model:
    """The base with a head that knows nothing yet, or the model that is gone on from."""
    from keras_flowers.training import fine_tune
    from keras_flowers.training.model import build_model, split_at

    asked, train = config.asked, splits.train
    if start is not None:
        model = start.with_classes(len(train.labels), asked.seed)
    else:
        tuned = _tuned_base(asked.base)
        if tuned is not None:
            refuse_learned(tuned, splits)
        model = build_model(asked.base, config.image_size, len(train.labels), seed=asked.seed)
    if asked.fine_tune not in (None, fine_tune.ALL):
        split_at(model, asked.fine_tune)  # refuses a wrong layer before time is spent
    _logger.info(
        f"{asked.base} at {config.image_size} x {config.image_size} pixels, frozen; "
        f"{train.count} photos of {train.dataset} {train.split}, {len(train.labels)} classes"
    )
    return model


def _tuned_base(base: str) -> Run | None:
    """The run that a base is of, where its network has learned from photos."""
    if base in BASES:
        return None
    run = Run.open(file_of_base(base))
    if run.model_path.name != MODEL_FILE or not run.is_finished:
        return None
    return run if run.metadata.provenance.get("fine_tune") else None


@contextlib.contextmanager
def extractors(config: TrainConfig) -> Iterator[Callable[[keras.Model], FeatureExtractor]]:
    """What makes a feature extractor of any frozen network, with the workers that it asks for."""
    from keras_flowers.training.features import FeatureExtractor

    folder = config.cache_folder / "features"
    run = config.run_dir.resolve().name  # of "." too
    with contextlib.ExitStack() as stack:

        @functools.cache  # at the first feature that is not cached
        def crew() -> Crew:
            from keras_flowers.training.feature_worker import KeptWorkers

            crew = stack.enter_context(_workers(config))
            return crew._replace(new_worker=KeptWorkers(crew.new_worker))

        yield functools.partial(
            FeatureExtractor,
            seed=config.seed,
            folder=folder,
            run=run,
            crew=None if config.engine is None else crew,
        )


def _workers(config: TrainConfig) -> contextlib.AbstractContextManager[Crew]:
    """The workers that Ray starts."""
    from keras_flowers.inference.scale.ray_workers import ray_workers
    from keras_flowers.training.feature_worker import start_worker

    cores = config.worker_cores or min(available_cores(), 4)
    return ray_workers(
        functools.partial(start_worker, cores),
        address=config.ray_address,
        workers=None,
        cores=cores,
        memory_mb=None,
    )


def _features(config: ResolvedConfig, splits: Splits, extractor: FeatureExtractor) -> _Head:
    """Runs the frozen base over the photos to learn from and to choose on."""
    from keras_flowers.training.sources.labelled import weigh

    asked = config.asked
    photos = weigh(splits.train, asked.data_weight, balance_classes=asked.balance_classes)
    train = extractor.features(photos, _views(asked))
    return _Head(train, _validation_features(splits, extractor))


def _validation_features(splits: Splits, extractor: FeatureExtractor) -> CachedFeatures | None:
    if splits.validation is None:
        return None
    return extractor.features(splits.validation, [View.FULL])


def _fit_head(
    config: ResolvedConfig, model: keras.Model, head: _Head, run: Run, start: Start | None
) -> History:
    """Trains a head, and puts it into `model`."""
    from keras_flowers.training.head import fit_head
    from keras_flowers.training.model import FEATURES, OUTPUT, split_at
    from keras_flowers.training.new_classes import grow_head
    from keras_flowers.training.whitening import fit_whitening, measure_moments

    _, tail = split_at(model, FEATURES)
    classes = tail.output_shape[-1]
    apart = None
    if start is not None and start.is_to_grow(classes):
        moments = measure_moments(head.train, classes)
        whitening = fit_whitening(moments, config.asked.shrinkage)
        kernel, bias, apart, history = grow_head(
            start.head, start.temperature, head.train, moments.means, whitening
        )
    else:
        kernel, bias, _, history = fit_head(
            tail,
            head.train,
            head.validation,
            config.asked if start is None else gentler(config.asked),
            config.epochs,
            checkpoint=run.checkpoints / "head.npz",
            title="head",
            start=None if start is None else start.head,
        )
    if start is not None and head.validation is not None:
        bias = balance_new(kernel, bias, start.head, head.validation, apart)
    tail.get_layer(OUTPUT).set_weights([kernel, bias])
    return history


def _fine_tune(
    config: ResolvedConfig,
    splits: Splits,
    model: keras.Model,
    teachers: Sequence[Teacher],
    extractor_of: Callable[[keras.Model], FeatureExtractor],
    run: Run,
) -> History:
    """Trains the base behind the trained head."""
    from keras_flowers.training import fine_tune

    return fine_tune.fine_tune(
        config.asked,
        model,
        teachers,
        splits.train,
        splits.validation,
        extractor_of=extractor_of,
        checkpoint=run.checkpoints / "fine_tune.npz",
    )


def add_doubt(
    config: TrainConfig,
    splits: Splits,
    model: keras.Model,
    extractor: FeatureExtractor,
    run: Run,
) -> tuple[keras.Model, Doubt | None]:
    """Fits how likely a photo shows one of the classes at all, where there is what that needs.

    Args:
        config: The settings of the training.
        splits: Its photos.
        model: pixels -> probabilities [N, C], calibrated.
        extractor: Of its features.
        run: Where its checkpoints are.

    Returns:
        pixels -> probabilities [N, C + 1] with what is said of doubtful answers; or `model` itself
        and None.
    """
    from keras_flowers.training.doubt import fit_known

    labels = splits.train.labels
    taxonomy = taxonomy_for(labels, config.taxonomy)
    groups = tuple(groups_of(labels, taxonomy))
    fitted = fit_known(model, splits, extractor, config, run.checkpoints, groups)
    if fitted is None:
        return model, None
    deadly = tuple(number for number, label in enumerate(labels) if is_deadly(label, taxonomy))
    return fitted.model, Doubt(fitted.thresholds, groups, deadly, fitted.facts)


def _calibrate(config: TrainConfig, model: keras.Model, validation: CachedFeatures | None) -> float:
    """Divides the logits of `model` by the temperature asked for, or by one fitted; returns it."""
    from keras_flowers.training import fit, metrics
    from keras_flowers.training.model import FEATURES, apply_temperature, split_at

    temperature = config.temperature
    if temperature is None:
        if validation is None:  # `_resolve` has refused it
            raise ValueError("no validation photos to fit a temperature on")
        answers = fit.predict_all(split_at(model, FEATURES)[1], validation)
        temperature = metrics.fit_temperature(*answers).temperature
    apply_temperature(model, temperature)
    return temperature


def _score(
    splits: Splits,
    model: keras.Model,
    validation: CachedFeatures | None,
    extractor: FeatureExtractor,
) -> dict[str, Scores]:
    """Scores by split: on validation, where there is one, and on test."""
    from keras_flowers.training import fit, metrics
    from keras_flowers.training.model import FEATURES, split_at

    tail = split_at(model, FEATURES)[1]
    scores = {}
    if splits.validation is not None and validation is not None:
        scores[splits.validation.split] = metrics.score(*fit.predict_all(tail, validation))
    test = extractor.features(splits.test, [View.FULL])
    scores[splits.test.split] = metrics.score(*fit.predict_all(tail, test))
    return scores
