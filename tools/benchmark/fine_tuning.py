"""Row 7 of the benchmark: an epoch of fine-tuning."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tools.benchmark.measure import divide, epoch_clock, in_new_process, in_turn, milliseconds
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import BASE, CLASSES, DATASET, IMAGE_SIZE, Task


def measure(task: Task) -> list[Figure]:
    """Row 7: an epoch behind a layer, on what the layers below gave once."""
    count = task.effort.photos // 2
    ours, same, whole, once = in_new_process(_fine_tuning, task, count)
    each = milliseconds(ours, count)
    title = f"fine-tuning behind {task.fine_tune}: speed of an epoch / one of the full model"
    return [
        Figure(
            7,
            f"{title}, all of it trained",
            divide(whole, ours),
            Bound("at least", 3),
            f"{each} a photo (and once {once / count * 1e3:.1f} ms to keep what is below) : "
            f"{milliseconds(whole, count)}",
        ),
        Figure(
            7,
            f"{title}, the same layers trained",
            divide(same, ours),
            detail=f"{each} a photo : {milliseconds(same, count)}",
        ),
    ]


def _fine_tuning(task: Task, count: int) -> tuple[list[float], list[float], list[float], float]:
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    import keras
    import tensorflow as tf

    from keras_flowers.training import data, features, fit
    from keras_flowers.training.fine_tune import BATCH_SIZE
    from keras_flowers.training.model import build_model, split_at, unfreeze_base
    from keras_flowers.training.views import View

    photos = data.load_photos(DATASET, f"train[:{count}]", task.data_dir)
    model = build_model(BASE, IMAGE_SIZE, CLASSES)
    trunk, tail = split_at(model, task.fine_tune)
    settings = fit.FitSettings(2, BATCH_SIZE, 1e-5, 0.01, 0.1, seed=0)
    batches = data.pixels(
        photos, (IMAGE_SIZE, IMAGE_SIZE), view=View.random(0), batch_size=BATCH_SIZE
    ).map(lambda pixels, labels: (pixels, tf.one_hot(labels, CLASSES)))

    def full_epoch() -> float:
        clock = epoch_clock()
        optimizer = keras.optimizers.AdamW(settings.learning_rate)
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
        model.compile(optimizer, loss, metrics=["accuracy"])
        model.fit(batches, epochs=2, callbacks=[clock], verbose=0)
        return float(clock.seconds[1])

    def same_layers() -> float:
        model.trainable = True
        for layer in model.layers:
            layer.trainable = False
        unfreeze_base(tail)
        return full_epoch()

    def all_layers() -> float:
        unfreeze_base(model)
        return full_epoch()

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        kept = features.FeatureExtractor(trunk, seed=0, folder=Path(folder)).features(
            photos, [View.random(0)]
        )
        once = time.perf_counter() - started

        def kept_epoch() -> float:
            ends: list[float] = []
            unfreeze_base(tail)
            fit.fit(
                tail,
                kept,
                None,
                settings,
                checkpoint=Path(folder, "checkpoint.npz"),
                title="",
                on_epoch=lambda row: ends.append(time.perf_counter()),
            )
            return ends[1] - ends[0]

        ours, same, whole = in_turn(task.effort.long_rounds, kept_epoch, same_layers, all_layers)
    return ours, same, whole, once
