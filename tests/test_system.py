"""What the process needs: TensorFlow as this package uses it, whatever the user has set up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_imports import run_code

pytest.importorskip("tensorflow", reason="needs the extra [train]")

SETTINGS = """
import os
os.environ["KERAS_HOME"] = {home!r}
os.environ.pop("KERAS_BACKEND", None)
from keras_flowers.system import import_tensorflow
import_tensorflow()
import keras
from keras_flowers.training.model import build_model
import numpy as np
pixels = np.zeros((2, 32, 32, 3), np.uint8)
model = build_model("MobileNet_0.25", 32, 3, random_weights_for=pixels)
types = {{weight.dtype for weight in model.weights}}
print(keras.config.backend(), model.input.dtype, types, model.input_shape)
"""


@pytest.mark.parametrize(
    "theirs",
    [
        {"floatx": "float64"},
        {"floatx": "float16", "image_data_format": "channels_first"},
        {"backend": "jax", "floatx": "float32"},
    ],
)
def test_keras_json_of_the_user_changes_nothing(tmp_path: Path, theirs: dict[str, str]) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(theirs))
    process = run_code(SETTINGS.format(home=str(tmp_path)))
    assert process.returncode == 0, process.stderr
    assert process.stdout.split("\n")[0] == ("tensorflow float32 {'float32'} (None, 32, 32, 3)")


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
