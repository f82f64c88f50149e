"""What the process needs: TensorFlow as this package uses it, whatever the user has set up."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_imports import run_code

from keras_flowers import system

pytest.importorskip("tensorflow", reason="needs the extra [train]")


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert system.available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert system.available_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.available_cores() == 1


def test_standard_error_is_held_back_but_for_what_is_passed_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    for in_memory in (True, False):
        if not in_memory:
            monkeypatch.delattr(os, "memfd_create", raising=False)
        with system.standard_error_held_back(lambda line: line.startswith(b"WARNING")):
            os.write(2, b"INFO: one\nWARNING: two\nINFO: three\nWARNING: four")
        with pytest.raises(KeyError), system.standard_error_held_back():
            os.write(2, b"never seen\n")
            raise KeyError
        os.write(2, b"\nafter\n")
        assert capfd.readouterr().err == "WARNING: two\nWARNING: four\nafter\n"
    for level, shown in (("0", "all\n"), ("1", "")):
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
        with system.standard_error_held_back():
            os.write(2, b"all\n")
        assert capfd.readouterr().err == shown


def test_what_python_wrote_before_and_after_is_not_held_back(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    with open(2, "w", closefd=False) as buffered:  # written when it is full, or told to
        monkeypatch.setattr("sys.stderr", buffered)
        buffered.write("before, ")
        with system.standard_error_held_back():
            buffered.write("within, ")
        buffered.write("after")
    assert capfd.readouterr().err == "before, after"
    monkeypatch.setattr("sys.stderr", None)
    with system.standard_error_held_back():
        os.write(2, b"within")
    assert capfd.readouterr().err == ""


def test_closed_standard_error_is_nothing_to_hold_back() -> None:
    code = (
        "import os, sys; from keras_flowers import system\n"
        "os.close(2)\n"
        "with system.standard_error_held_back(): print('done')"
    )
    process = run_code(code)
    assert (process.returncode, process.stdout) == (0, "done\n")


def test_package_that_is_missing_is_named() -> None:
    for missing in ("keras", "tensorflow"):
        code = (
            f"import sys; sys.modules.update({missing}=None)\n"
            "from keras_flowers.system import import_tensorflow\n"
            "import_tensorflow()"
        )
        said = run_code(code).stderr.splitlines()[-1]
        assert f"this needs the package {missing}, which is not installed; in a clone" in said
        assert 'pip install ".[train]"' in said


def test_looking_for_gpus_is_over_once_tensorflow_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    code = (
        "from keras_flowers.system import import_tensorflow\n"
        "import_tensorflow()\n"
        "import tensorflow as tf\n"
        "tf.config.list_physical_devices()"
    )
    process = run_code(code)
    assert (process.returncode, process.stderr) == (0, "")


SETTINGS = """
import os
os.environ["KERAS_HOME"] = {home!r}
os.environ.pop("KERAS_BACKEND", None)
os.environ.update(KERAS_MAX_EPOCHS="1", KERAS_MAX_STEPS_PER_EPOCH="1")
if {policy!r}:
    import keras
    keras.config.set_dtype_policy({policy!r})
from keras_flowers.system import import_tensorflow
import_tensorflow()
import keras
from keras_flowers.training.model import build_model
import numpy as np
pixels = np.zeros((2, 32, 32, 3), np.uint8)
model = build_model("MobileNet_0.25", 32, 3, random_weights_for=pixels)
types = {{weight.dtype for weight in model.weights}}
computed = {{layer.compute_dtype for layer in model.layers}}
print(keras.config.backend(), model.input.dtype, types, computed, model.input_shape)
print(keras.config.epsilon(), keras.config.max_epochs(), keras.config.max_steps_per_epoch())
"""


@pytest.mark.parametrize(
    ("theirs", "policy"),
    [
        ({"floatx": "float64"}, None),
        ({"floatx": "float16", "image_data_format": "channels_first"}, None),
        ({"backend": "jax", "floatx": "float32"}, None),
        ({"epsilon": 0.1}, "mixed_float16"),  # a program that trains other networks, too
    ],
)
def test_keras_settings_of_the_user_change_nothing(
    tmp_path: Path, theirs: dict[str, Any], policy: str | None
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(theirs))
    process = run_code(SETTINGS.format(home=str(tmp_path), policy=policy))
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [
        "tensorflow float32 {'float32'} {'float32'} (None, 32, 32, 3)",
        "1e-07 None None",
    ]


def test_keras_on_another_backend_is_refused_in_a_line() -> None:
    code = (
        "import sys, types\n"
        "keras = types.ModuleType('keras')\n"
        "keras.config = types.SimpleNamespace(backend=lambda: 'jax')\n"
        "sys.modules.update(keras=keras, tensorflow=types.ModuleType('tensorflow'))\n"
        "from keras_flowers.system import import_tensorflow\n"
        "import_tensorflow()"
    )
    process = run_code(code)
    assert "has imported Keras with the backend jax" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "place",
    [
        "commands.data.main",
        "commands.similar._draw",
        "commands.similar._build",
        "commands.train.main",
        "commands.train._with_drawn_flowers",
        "export.export.export_model",
        "export.export.measure_accuracy_change",
        "export.verify.verify_model",
        "inference.models.load_saved_model",
        "training.compare.compare_runs",
        "training.evaluate.evaluate_model",
        "training.feature_worker.start_worker",
        "training.refit_doubt.refit_doubt",
        "training.report.report.report_run",
        "training.sources.download.download",
        "training.train.train_model",
    ],
)
def test_tensorflow_is_set_up_before_it_is_used(place: str) -> None:
    # Whoever imports it otherwise gets a user's keras.json, and a screen of its own messages.
    module, _, name = place.rpartition(".")
    function = getattr(importlib.import_module(f"keras_flowers.{module}"), name)
    assert "import_tensorflow()" in inspect.getsource(function)
