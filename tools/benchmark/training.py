"""Row 2 of the benchmark: a whole training against the usual loop and against the least work."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_flowers.files import read_json
from tools.benchmark.measure import (
    Ran,
    bare_loop,
    divide,
    epoch_clock,
    in_new_process,
    in_turn,
    run_python,
    timed,
)
from tools.benchmark.photos import decoding_alone
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import (
    BASE,
    CHOOSE,
    CLASSES,
    DATASET,
    IMAGE_SIZE,
    QUICK_EFFORT,
    SCORE,
    TRAIN_PHOTOS,
    Task,
)

if TYPE_CHECKING:
    import tensorflow as tf


USUAL_EPOCHS = 20

IMPORT_AND_BUILD = f"""\
from keras_flowers.system import import_tensorflow
import_tensorflow()
from keras_flowers.training.model import build_model
build_model({BASE!r}, {IMAGE_SIZE}, {CLASSES})
"""
"""What row 2 leaves aside: TensorFlow's import and the base's loading."""


def measure(task: Task) -> list[Figure]:
    """Row 2: the default training, from the data set to the finished run directory."""
    quick = task.effort is QUICK_EFFORT
    train = "train[:20%]" if quick else "train"
    limits: list[tuple[float, int]] = []
    usual: list[tuple[float, float]] = []

    def limit() -> float:
        limits.append(in_new_process(_limit, task, train))
        return limits[-1][0]

    def usual_loop() -> float:
        usual.append(in_new_process(_usual_loop, task, train))
        return usual[-1][0]

    with tempfile.TemporaryDirectory() as folder:
        run, cache = Path(folder, "run"), Path(folder, "cache")

        def repeated() -> float:
            return run_training(task, (train, CHOOSE, SCORE), run, cache).seconds

        def first() -> float:
            shutil.rmtree(cache, ignore_errors=True)
            return repeated()

        aside, ours, again, least, theirs = in_turn(
            task.effort.long_rounds,
            timed(lambda: run_python("-c", IMPORT_AND_BUILD)),
            first,
            repeated,
            limit,
            usual_loop,
        )
        accuracy = read_json(run / "metrics.json")["scores"][SCORE]["top1"]["value"]
    ours = [one - other for one, other in zip(ours, aside, strict=True)]
    again = [one - other for one, other in zip(again, aside, strict=True)]
    spent = f"{statistics.median(ours):.1f} s"
    epochs = "" if task.full else ", one epoch measured"
    figures = [
        Figure(
            2,
            f"training: speed / the usual Keras loop, {USUAL_EPOCHS} epochs",
            divide(theirs, ours),
            Bound("at least", 10),
            f"{spent} (imports and building the base, {statistics.median(aside):.1f} s, aside) : "
            f"{statistics.median(theirs):.0f} s{epochs}",
        ),
        Figure(
            2,
            "training: time / (decode once + forward once)",
            divide(ours, least),
            Bound("at most", 1.5),
            f"{spent} : {statistics.median(least):.1f} s for {limits[0][1]} views, some measured",
        ),
        Figure(
            2,
            "training again on kept features: time / the first",
            divide(again, ours),
            Bound("at most", 0.25),
            f"{statistics.median(again):.1f} s : {spent}",
        ),
    ]
    if task.full:
        others = [one for _, one in usual]
        figures.append(
            Figure(
                2,
                "training: accuracy / the usual loop's",
                [accuracy / one for one in others],
                Bound("at least", 1),
                f"top-1 {accuracy:.1%} : {statistics.median(others):.1%} on {SCORE}",
            )
        )
    return figures


def run_training(task: Task, splits: tuple[str, str, str], run: Path, cache: Path) -> Ran:
    """Trains with the default settings, as the command line does, but never on `test`.

    Args:
        task: What is measured.
        splits: To learn from, to choose on, to score.
        run: The run directory; what is in it is replaced.
        cache: The folder for kept features.
    """
    options = {
        "--train_split": splits[0],
        "--validation_split": splits[1],
        "--test_split": splits[2],
        "--output": str(run),
        "--cache_dir": str(cache),
        **({"--data_dir": task.data_dir} if task.data_dir else {}),
    }
    words = [word for pair in options.items() for word in pair]
    return run_python("-m", "keras_flowers", "train", "--overwrite", *words)


def _limit(task: Task, train: str) -> tuple[float, int]:
    """Seconds to decode each photo and run each view once, measured on some; how many views."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    from keras_flowers.training import data, tflite
    from keras_flowers.training.config import TrainConfig
    from keras_flowers.training.model import FEATURES, build_model, split_at

    counts = {
        split: data.load_photos(DATASET, split, task.data_dir).count
        for split in (train, CHOOSE, SCORE)
    }
    pictures = sum(counts.values()) + (TrainConfig().views - 1) * counts[train]
    photos = data.load_photos(DATASET, f"train[:{task.effort.photos}]", task.data_dir)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    trunk, _ = split_at(build_model(BASE, IMAGE_SIZE, CLASSES), FEATURES)
    pixels = np.concatenate([one for one, _ in data.pixels(photos, size).as_numpy_iterator()])
    run_bare = bare_loop(tflite.convert(trunk), pixels)
    decode = decoding_alone(photos, size)
    run_bare(), decode()
    seconds = timed(run_bare)() * pictures + timed(decode)() * sum(counts.values())
    return seconds / photos.count, pictures


def _usual_loop(task: Task, train: str) -> tuple[float, float]:
    """The loop of every tutorial: the frozen base inside `fit`, each photo decoded in each epoch.

    Returns:
        Seconds for all its epochs, from those behind the first, which is the warm-up; accuracy on
        SCORE after those that were run.
    """
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    import keras
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def load(split: str) -> tf.data.Dataset:
        photos = tfds.load(DATASET, split=split, data_dir=task.data_dir, as_supervised=True)
        return photos.map(
            lambda photo, label: (tf.image.resize(photo, (IMAGE_SIZE, IMAGE_SIZE)), label),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def augment(photo: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        photo = tf.image.random_flip_left_right(photo)
        photo = tf.image.random_brightness(photo, 25)
        return tf.image.random_contrast(photo, 0.8, 1.2), label

    keras.utils.set_random_seed(0)
    photos = load(train).shuffle(TRAIN_PHOTOS).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    batches = photos.batch(32).prefetch(tf.data.AUTOTUNE)
    base = keras.applications.MobileNetV2(
        (IMAGE_SIZE, IMAGE_SIZE, 3), include_top=False, pooling="avg"
    )
    base.trainable = False
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(images), training=False)
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(images, keras.layers.Dense(CLASSES, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = epoch_clock()
    model.fit(
        batches,
        validation_data=load(CHOOSE).batch(32),
        epochs=USUAL_EPOCHS if task.full else 2,
        callbacks=[clock],
        verbose=0,
    )
    accuracy = model.evaluate(load(SCORE).batch(32), verbose=0)[1] if task.full else 0.0
    return statistics.mean(clock.seconds[1:]) * USUAL_EPOCHS, float(accuracy)
