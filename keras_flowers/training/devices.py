"""Several GPUs: a copy of a frozen network on each, or one network that is trained on all of them.

Keras by itself uses the first and leaves the others without work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_flowers.training.batches import PredictFn


def gpus() -> tuple[str, ...]:
    """TensorFlow's names of the GPUs here."""
    count = len(tf.config.list_physical_devices("GPU"))
    return tuple(f"GPU:{number}" for number in range(count))


def run_on_all(network: keras.Model, devices: Sequence[str]) -> PredictFn:
    """`network.predict_on_batch` with each batch divided among several devices: the same numbers.

    Not with `MirroredStrategy`: under it, `predict_on_batch` gives every row twice, and `predict`
    fails where a device gets no rows.

    Args:
        network: With one output; its weights change no more, since each device has a copy.
        devices: TensorFlow's names of them.
    """
    copies = []
    for device in devices:
        with tf.device(device):
            copies.append(_copy_of(network))
    pool = ThreadPoolExecutor(len(devices))

    def run_part(copy: keras.Model, device: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        with tf.device(device):
            return np.asarray(copy.predict_on_batch(rows))

    def run(batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # With fewer rows than devices, the last of these get none.
        parts = [part for part in np.array_split(batch, len(devices)) if len(part)]
        return np.concatenate(list(pool.map(run_part, copies, devices, parts)))

    return run


@contextlib.contextmanager
def trained_on_all(network: keras.Model, devices: Sequence[str]) -> Iterator[keras.Model]:
    """What to train in place of `network`, whose variables have its weights in the end.

    That is `network` itself with one device or none, else a copy whose variables are mirrored on
    all devices. Nothing else may be built meanwhile: it would be mirrored too.

    Args:
        network: Functional.
        devices: TensorFlow's names of them.
    """
    if len(devices) < 2:
        yield network
        return
    # Not by collective operations, TensorFlow's choice: with many variables, two devices may take
    # them in different orders and fail (seen with TensorFlow 2.21). The networks here are small.
    add_up = tf.distribute.ReductionToOneDevice()
    with tf.distribute.MirroredStrategy(devices, cross_device_ops=add_up).scope():
        copy = _copy_of(network)
        yield copy
    network.set_weights(copy.get_weights())


def _copy_of(network: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy
