"""Row 4 of the benchmark: a command that names one photo, from start to end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from keras_flowers.inference.classifier import default_model
from keras_flowers.system import available_cores
from tools.benchmark.measure import divide, in_new_process, in_turn, milliseconds, run_python
from tools.benchmark.photos import write_photos
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task

BARE_SCRIPT = """\
import sys
import numpy as np
from PIL import Image
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=int(sys.argv[3]))
interpreter.allocate_tensors()
(taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
photo = Image.open(sys.argv[2]).convert("RGB").resize(taken["shape"][2:0:-1])
interpreter.set_tensor(taken["index"], np.asarray(photo, taken["dtype"])[None])
interpreter.invoke()
print(interpreter.get_tensor(given["index"])[0].argmax())
"""
"""The least that names a flower: row 4 is measured against it."""


def measure(task: Task) -> list[Figure]:
    """Row 4: a whole process for one photo."""
    assert task.run is not None
    with tempfile.TemporaryDirectory() as folder:
        (photo,) = in_new_process(write_photos, task, folder, 1)
        script = Path(folder, "bare.py")
        script.write_text(BARE_SCRIPT, encoding="utf-8")

        def ours(*model: str | Path) -> Callable[[], float]:
            command = ["-m", "keras_flowers", "predict", photo, "--no_chart", *model]
            return lambda: run_python(*command).seconds

        def bare(model: Path) -> Callable[[], float]:
            return lambda: run_python(script, model, photo, str(available_cores())).seconds

        models = {"a model from anywhere, tried out first": task.tflite("float16")}
        if default_model().is_file():
            models["the model that comes with the package"] = default_model()
        figures = []
        for title, model in models.items():
            named = () if model == default_model() else ("--model", model)
            measures = ours(*named), bare(model)
            in_turn(1, *measures)  # warms up the disk's cache
            one, other = in_turn(2 * task.effort.rounds, *measures)
            figures.append(
                Figure(
                    4,
                    f"first answer, {title}: time / a bare LiteRT script",
                    divide(one, other),
                    Bound("at most", 1.5),
                    f"{milliseconds(one, 1)} : {milliseconds(other, 1)}",
                )
            )
        one, keras_way = in_turn(
            task.effort.long_rounds,
            ours("--model", task.tflite("float16")),
            ours("--model", task.run.model_path),
        )
    figures.append(
        Figure(
            4,
            "first answer: speed / the same command on `model.keras`",
            divide(keras_way, one),
            Bound("at least", 8),
            f"{milliseconds(one, 1)} : {milliseconds(keras_way, 1)}",
        )
    )
    return figures
