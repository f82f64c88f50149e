"""Trains a classifier, chooses on validation, scores the test split once, writes the run."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import functools
import io
import platform
import time
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace_all, exclusive_lock, write_json, write_text
from keras_flowers.system import import_tensorflow
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.data import View
from keras_flowers.training.run_directory import Run

if TYPE_CHECKING:
    import keras

    from keras_flowers.training.data import LabelledPhotos
    from keras_flowers.training.features import CachedFeatures
    from keras_flowers.training.fit import History
    from keras_flowers.training.metrics import Scores

EPOCHS, LEAST_STEPS = 5, 80
"""How long the head is trained, when --epochs is not given. Chosen on validation: more would make
it learn the photos by heart, and on few photos five epochs are too few steps to learn anything."""


class Kept(NamedTuple):
    """The features of the photos to learn from, and of those to choose on, if there are any."""

    train: CachedFeatures
    validation: CachedFeatures | None


def train_and_evaluate(config: TrainConfig) -> dict[str, Scores]:
    """Trains, chooses on the validation split, scores the test split once, writes the run.

    Args:
        config: The settings.

    Returns:
        The scores by split expression.

    Raises:
        UserError: A setting, the data set or the run directory does not allow it.
    """
    run = config.run_dir
    if not config.overwrite:
        Run.at(run).refuse_finished()
    import_tensorflow()  # before a folder is made, since it may not be installed
    with exclusive_lock(run):
        return _train(config, run)


def _train(config: TrainConfig, run: Path) -> dict[str, Scores]:
    import keras
    import tensorflow as tf

    from keras_flowers.training import data, features, fine_tune, fit, metrics, synthetic
    from keras_flowers.training.model import (
        FEATURES,
        apply_temperature,
        build_model,
        image_size_of,
        split_at,
    )

    started = time.monotonic()
    # Sums on several threads in a fixed order: the same seed gives the same bits.
    tf.config.experimental.enable_op_determinism()
    if config.demo:
        data_dir = Path(config.cache_dir).expanduser()
        base = synthetic.prepare(data_dir)
        config = dataclasses.replace(
            config, dataset=synthetic.DATASET, data_dir=str(data_dir), base=str(base)
        )
    if config.image_size is None:
        config = dataclasses.replace(config, image_size=image_size_of(config.base))
    assert config.image_size is not None
    train = data.load_photos(config.dataset, config.train_split, config.data_dir)
    validation = data.load_photos(config.dataset, config.validation_split, config.data_dir)
    test = data.load_photos(config.dataset, config.test_split, config.data_dir)
    chooses = not data.overlap(train, validation)
    _check_splits(config, chooses, data.overlap(train, test) or data.overlap(validation, test))
    scored = [validation, test] if chooses else [test]
    # The key of kept features has the names of layers in it, which Keras numbers through the
    # process: from 1 again, after what was built before.
    keras.utils.clear_session(free_memory=False)
    teacher = None
    if config.teacher is not None:
        teacher = fine_tune.load_teacher(Path(config.teacher), train, scored, config.image_size)
        keras.utils.clear_session(free_memory=False)
    model = build_model(
        config.base,
        config.image_size,
        len(train.labels),
        seed=config.seed,
    )
    print(
        f"{config.base} at {config.image_size} x {config.image_size} pixels, frozen; "
        f"{train.count} photos of {train.dataset} {train.split}, {len(train.labels)} classes"
    )
    if config.fine_tune not in (None, fine_tune.ALL):
        split_at(model, config.fine_tune)  # refuses a wrong layer before time is spent
    trunk, tail = split_at(model, FEATURES)
    extractor_of = functools.partial(
        features.FeatureExtractor,
        seed=config.seed,
        folder=Path(config.cache_dir).expanduser() / "features",
    )
    extractor = extractor_of(trunk)
    kept = Kept(
        extractor.features(train, range(config.views)),
        extractor.features(validation, [View.FULL]) if chooses else None,
    )
    config, history = _fit_head(config, tail, kept, run)
    if config.fine_tune is not None:
        more = fine_tune.fine_tune(
            config,
            model,
            teacher,
            train,
            validation if chooses else None,
            extractor_of=extractor_of,
            checkpoint=run / "checkpoints" / "fine_tune.npz",
        )
        history += [{**row, "epoch": row["epoch"] + len(history)} for row in more]
        trunk, tail = split_at(model, FEATURES)
        extractor = extractor_of(trunk)
        if chooses:
            kept = kept._replace(validation=extractor.features(validation, [View.FULL]))
    if config.temperature is None:
        assert kept.validation is not None
        answers = fit.predict(tail, kept.validation)
        found = metrics.fit_temperature(answers, kept.validation.labels)
        config = dataclasses.replace(config, temperature=found.temperature)
    assert config.temperature is not None
    apply_temperature(model, config.temperature)
    scores = {}
    if kept.validation is not None:
        answers = fit.predict(tail, kept.validation)
        scores[validation.split] = metrics.score(answers, kept.validation.labels)
    kept_test = extractor.features(test, [View.FULL])
    scores[test.split] = metrics.score(fit.predict(tail, kept_test), kept_test.labels)
    seconds = time.monotonic() - started
    _write_run(config, run, model, train, scores, history, seconds)
    _report(config, run, train, scores, seconds)
    return scores


def _check_splits(config: TrainConfig, chooses: bool, test_is_seen: bool) -> None:
    if test_is_seen:
        raise UserError(
            f"--test_split {config.test_split} shares photos with the splits that are learned "
            "from; its score would be worth nothing"
        )
    if not chooses and config.temperature is None:
        raise UserError(
            f"--train_split {config.train_split} holds the validation photos, so nothing can be "
            "chosen on them: run without it first, then add --config RUN/config.json of that run"
        )


def _fit_head(
    config: TrainConfig, tail: keras.Model, kept: Kept, run: Path
) -> tuple[TrainConfig, History]:
    """Trains the head on whitened features, and puts it into `tail` for features as they are."""
    from keras_flowers.training import fit
    from keras_flowers.training.model import OUTPUT, build_head
    from keras_flowers.training.whitening import fit_whitening, measure_moments

    epochs = config.epochs
    if epochs is None:
        epochs = max(EPOCHS, -(-LEAST_STEPS // kept.train.steps(config.batch_size)))
    moments = measure_moments(kept.train, tail.output_shape[-1])
    whitening = fit_whitening(moments, config.shrinkage)
    head = build_head(tail, config.dropout, config.seed)
    history = fit.fit(
        head,
        whitening.apply(kept.train),
        whitening.apply(kept.validation) if kept.validation else None,
        fit.FitSettings(
            epochs=epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            label_smoothing=config.label_smoothing,
            seed=config.seed,
        ),
        checkpoint=run / "checkpoints" / "head.npz",
        title="head",
    )
    tail.get_layer(OUTPUT).set_weights(whitening.fold(*head.get_layer(OUTPUT).get_weights()))
    return dataclasses.replace(config, epochs=epochs), history


def _write_run(
    config: TrainConfig,
    run: Path,
    model: keras.Model,
    train: LabelledPhotos,
    scores: dict[str, Scores],
    history: History,
    seconds: float,
) -> None:
    """Writes the run directory, all of it or nothing."""
    from keras_flowers import __version__
    from keras_flowers.inference import chart
    from keras_flowers.inference.labels import format_labels
    from keras_flowers.inference.metadata import Metadata, add_to_archive

    settings = dataclasses.asdict(config)
    versions = {
        "keras_flowers": __version__,
        "python": platform.python_version(),
        **{
            name: packages.version(name)
            for name in ("tensorflow", "keras", "numpy", "ai-edge-litert")
        },
    }
    results = {split: one.as_dict() for split, one in scores.items()}
    provenance = {
        "package": f"keras_flowers {__version__}",
        "base": config.base,
        "fine_tune": config.fine_tune,
        "teacher": config.teacher,
        "dataset": train.dataset,
        "trained_on": {"split": train.split, "photos": train.count},
        "scores": results,
        "seed": config.seed,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }
    assert config.image_size is not None
    size = (config.image_size, config.image_size)
    with atomic_replace_all(run, last=Run.at(run).metrics_path.name) as new:
        write_json(new / "config.json", {"settings": settings, "versions": versions})
        write_text(new / "labels.txt", format_labels(train.labels))
        write_text(new / "history.csv", _as_csv(history))
        chart.save(chart.draw_learning_curves(history), new / "learning_curves.png")
        _write_logs(new / "logs", history)
        model.save(new / "model.keras")
        add_to_archive(new / "model.keras", Metadata(train.labels, size, provenance))
        write_json(
            new / Run.at(run).metrics_path.name,
            {
                "trained_on": {"split": train.split, "photos": train.count},
                "scores": results,
                "seconds": round(seconds, 1),
            },
        )
    Run.at(run).remove_checkpoints()


def _as_csv(history: History) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _write_logs(folder: Path, history: History) -> None:
    """Writes TensorBoard's event files: `train` and `validation` as two runs of one chart."""
    import tensorflow as tf

    for name, prefix in (("train", ""), ("validation", "val_")):
        columns = [
            key for key in ("loss", "accuracy", "learning_rate") if prefix + key in history[0]
        ]
        if not columns:
            continue
        with tf.summary.create_file_writer(str(folder / name)).as_default():
            for row in history:
                for column in columns:
                    tf.summary.scalar(column, row[prefix + column], step=int(row["epoch"]))


def _report(
    config: TrainConfig, run: Path, train: LabelledPhotos, scores: dict[str, Scores], seconds: float
) -> None:
    print(f"\n{config.base}, trained on {train.count} photos ({train.split}) in {seconds:.0f} s")
    for split, one in scores.items():
        print(f"\n{split}: {one.photos} photos\n{one}")
    print(f"\nwritten to {run}/; tensorboard --logdir {run / 'logs'} shows the training")
    print(f"next: python -m keras_flowers.predict PHOTO --model {run / 'model.keras'}")
