"""Row 11 of the benchmark: what it costs that a model says how likely it knows a photo at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from keras_flowers.errors import UserError
from keras_flowers.system import import_tensorflow
from tools.benchmark.measure import divide, in_new_process, milliseconds
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task
from tools.benchmark.variants import latencies

MOST_TIME, MOST_SIZE = 1.02, 1.03
"""What it may cost."""

VARIANTS = ("float16", "int8")


def measure(task: Task) -> list[Figure]:
    """Row 11: what `known` costs: the same network with and without it."""
    assert task.run is not None
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(_write_pairs, task.run.folder, Path(folder))
        for variant in VARIANTS:
            ours, plain = (Path(folder) / f"{variant}_{one}.tflite" for one in ("known", "plain"))
            sizes = [path.stat().st_size for path in (ours, plain)]
            figures.append(
                Figure(
                    11,
                    f"known: size of {variant} with / without",
                    [sizes[0] / sizes[1]],
                    Bound("at most", MOST_SIZE),
                    f"{sizes[0] / 1e6:.2f} MB : {sizes[1] / 1e6:.2f} MB",
                )
            )
            # Two per cent take many rounds.
            rounds = 6 * task.effort.rounds
            with_it, without = in_new_process(latencies, [ours, plain], 1, rounds)
            figures.append(
                Figure(
                    11,
                    f"known: latency of {variant} with / without, 1 thread",
                    divide(with_it, without),
                    Bound("at most", MOST_TIME),
                    f"{milliseconds(with_it, 1)} a photo : {milliseconds(without, 1)}",
                )
            )
    return figures


def _write_pairs(run: Path, folder: Path) -> None:
    """Converts the model of a run, and the same without `known`.

    Raises:
        UserError: The model has none.
    """
    import_tensorflow()
    from keras_flowers.export.int8 import convert_int8
    from keras_flowers.training import tflite
    from keras_flowers.training.drawings import EACH, draw_pictures
    from keras_flowers.training.known import has_known, without_known
    from keras_flowers.training.run_directory import Run

    model = Run.open(run).load_model()
    if not has_known(model):
        raise UserError(
            f"{run} has no doubt to measure; expected a run that keras-flowers train wrote, or "
            "keras-flowers doubt"
        )
    # Which pictures say the ranges of 8 bits changes neither size nor time.
    pictures = draw_pictures((model.input_shape[1], model.input_shape[2]))[::EACH]
    for name, one in (("known", model), ("plain", without_known(model))):
        contents = {
            "float16": tflite.convert(one, batch_size=None, float16=True),
            "int8": convert_int8(one, pictures),
        }
        for variant, content in contents.items():
            (folder / f"{variant}_{name}.tflite").write_bytes(content)
