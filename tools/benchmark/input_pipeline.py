"""Row 3 of the benchmark: reading photos."""

from __future__ import annotations

from keras_flowers.system import available_cores
from tools.benchmark.measure import divide, in_new_process, in_turn, milliseconds, timed
from tools.benchmark.photos import decoding_alone
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import DATASET, IMAGE_SIZE, Task


def measure(task: Task) -> list[Figure]:
    """Row 3: JPEG bytes to pixels, on one core and on two."""
    count = task.effort.photos
    figures = []
    for cores in sorted({1, min(2, available_cores())}):
        ours, whole, same = in_new_process(_input_pipeline, task, cores=cores)
        on = f"on {cores} core{'s' * (cores > 1)}"
        for what, theirs, bound in (
            ("`tf.io.decode_jpeg` alone", whole, Bound("at least", 0.95)),
            ("the package's own decoding without resizing", same, None),
        ):
            figures.append(
                Figure(
                    3,
                    f"input pipeline {on}: speed / {what}",
                    divide(theirs, ours),
                    bound,
                    f"{milliseconds(ours, count)} a photo : {milliseconds(theirs, count)}",
                )
            )
    return figures


def _input_pipeline(task: Task) -> list[list[float]]:
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    from keras_flowers.training import data

    photos = data.load_photos(DATASET, f"train[:{task.effort.photos}]", task.data_dir)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    batches = data.pixels(photos, size)

    def ours() -> None:
        for _ in batches:
            pass

    measures = ours, decoding_alone(photos, None), decoding_alone(photos, size)
    for warm_up in measures:
        warm_up()
    return in_turn(task.effort.rounds, *map(timed, measures))
