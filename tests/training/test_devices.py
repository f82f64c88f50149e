"""Several GPUs, in whose place two halves of the processor stand: TensorFlow treats them alike."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

ON_TWO_DEVICES = """
import dataclasses, json, sys
from pathlib import Path

from keras_flowers.system import import_tensorflow

import_tensorflow()
import keras
import numpy as np
import tensorflow as tf

from keras_flowers.training import features, fine_tune, synthetic, train
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.devices import trained_on_all
from keras_flowers.training.fit import FitSettings, fit

(processor,) = tf.config.list_physical_devices("CPU")
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, halves)
tf.config.experimental.enable_op_determinism()
two = ("CPU:0", "CPU:1")
features.gpus = fine_tune.gpus = lambda: two
found, folder = {}, Path(sys.argv[1])

keras.utils.set_random_seed(0)
pixels = keras.Input((8, 8, 3))
maps = keras.layers.Conv2D(6, 3, activation="relu")(keras.layers.Rescaling(1 / 127.5, -1)(pixels))
answers = keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(maps))
model = keras.Model(pixels, answers)
photos = np.random.default_rng(0).integers(0, 256, (13, 8, 8, 3), np.uint8)

run, found["engine"] = features.engine_for(model)
found["equal_answers"] = [
    np.array_equal(run(photos[:rows]), model.predict_on_batch(photos[:rows])) for rows in (1, 2, 9)
]

start = model.get_weights()
to_learn = CachedFeatures([photos.astype(np.float16)], np.arange(13) % 3)
settings = FitSettings(2, 4, 1e-2, 0.01, 0.1, seed=0)  # the last of the batches of 4 is of 1

class Backwards(CachedFeatures):
    def batches(self, *options):
        for batch in super().batches(*options):
            yield tuple(array[::-1] for array in batch)

def trained(devices, name, examples=to_learn):
    model.set_weights(start)
    with trained_on_all(model, devices) as student:
        fit(student, examples, to_learn, settings, checkpoint=folder / name, title="test")
    return model.get_weights()

def apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other))

one, both = trained((), "one.npz"), trained(two, "two.npz")
found["moved"], found["apart"] = apart(one, start), apart(one, both)
backwards = Backwards(to_learn.views, to_learn.labels)
found["apart_by_order"] = apart(one, trained((), "backwards.npz", backwards))
found["apart_when_restored"] = apart(both, trained(two, "two.npz"))

config = synthetic.demo_config(TrainConfig(
    views=1, epochs=1, fine_tune="all", fine_tune_epochs=1,
    cache_dir=str(folder / "cache"), output=str(folder / "run"),
))
found["finished"] = train.train_model(config).run.is_finished
Path(folder, "found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is found in a process of its own, since devices are chosen once, at the start."""
    folder = tmp_path_factory.mktemp("devices")
    command = [sys.executable, "-c", ON_TWO_DEVICES, str(folder)]
    # A loop that never ends is a failure, not a hanging suite.
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads((folder / "found.json").read_text()), "said": done.stderr}


def test_each_device_runs_its_share_of_a_batch(found: dict[str, Any]) -> None:
    assert found["engine"] == "Keras on 2 GPUs"
    assert found["equal_answers"] == [True, True, True]


def test_two_devices_learn_what_one_does(found: dict[str, Any]) -> None:
    assert found["moved"] > 1e-3
    # The same rows in another order on one device differ as much.
    assert found["apart"] < max(10 * found["apart_by_order"], 1e-6)
    assert found["apart_when_restored"] == 0


def test_whole_command_ends_well_on_two_devices(found: dict[str, Any]) -> None:
    assert found["finished"]
    assert "features through Keras on 2 GPUs" in found["said"]
