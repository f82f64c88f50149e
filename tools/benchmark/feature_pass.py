"""Row 1 of the benchmark: the frozen part of the network over all photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tools.benchmark.measure import bare_loop, divide, in_new_process, in_turn, milliseconds, timed
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import BASE, CLASSES, DATASET, IMAGE_SIZE, Task


def measure(task: Task) -> list[Figure]:
    """Row 1: JPEG files to features."""
    return in_new_process(_feature_pass, task)  # type: ignore[no-any-return]


def _feature_pass(task: Task) -> list[Figure]:
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    from keras_flowers.training import data, feature_pass, features, tflite
    from keras_flowers.training.config import TrainConfig
    from keras_flowers.training.model import FEATURES, build_model, split_at

    views = range(TrainConfig().views)
    photos = data.load_photos(DATASET, f"train[:{task.effort.photos // 2}]", task.data_dir)
    count = len(views) * photos.count
    trunk, _ = split_at(build_model(BASE, IMAGE_SIZE, CLASSES), FEATURES)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    # As the default training does it: four views of each photo.
    batch_size = feature_pass.photos_at_a_time(size, len(views))
    batches = data.pixels_of_views(photos, size, views, batch_size=batch_size).map(
        lambda batch, _: tf.reshape(batch, (-1, *size, 3))
    )
    pixels = np.concatenate(list(batches.as_numpy_iterator()))
    engine, name = features.engine_for(trunk)
    bare = bare_loop(tflite.convert(trunk), pixels)

    def ours() -> npt.NDArray[Any]:
        return np.concatenate([engine(batch) for batch in batches.as_numpy_iterator()])

    def keras_predict() -> npt.NDArray[Any]:
        answer: npt.NDArray[Any] = trunk.predict(batches, verbose=0)
        return answer

    expected = keras_predict()  # and the warm-up of both
    largest_error = np.abs(ours() - expected).max() / np.abs(expected).max()
    seconds = in_turn(task.effort.rounds, timed(ours), timed(keras_predict), timed(bare))
    each = [milliseconds(one, count) for one in seconds]
    return [
        Figure(
            1,
            "feature pass: speed / Keras `base.predict`, same input pipeline",
            divide(seconds[1], seconds[0]),
            Bound("at least", 2.5),
            f"{each[0]} a view ({name}) : {each[1]}",
        ),
        Figure(
            1,
            "feature pass: speed / bare LiteRT loop on ready pixels",
            divide(seconds[2], seconds[0]),
            Bound("at least", 0.8),
            f"{each[0]} a view, decoding included : {each[2]}",
        ),
        Figure(
            1,
            "features: largest difference / Keras's largest feature",
            [float(largest_error)],
            Bound("at most", 1e-3),
            f"{expected.shape[1]} features of {count} views",
        ),
    ]
