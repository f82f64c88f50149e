"""Measures how near the package is to what the hardware allows, and how far from the usual way.

One table. Machines drift, so every figure is a ratio of two things that were run in turn, in the
same call, several times; the table gives the median and the range, the bound and whether it holds.
No photo of the test split is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

import keras_flowers
from keras_flowers.commands.exit import EXIT_SOME_FAILED, exit_with
from keras_flowers.errors import UserError
from keras_flowers.files import read_json, write_json
from keras_flowers.inference.classifier import default_model
from keras_flowers.system import available_cores
from keras_flowers.training.data import View
from keras_flowers.training.train import FINISHED

if TYPE_CHECKING:
    from keras_flowers.training.data import LabelledPhotos

# TensorFlow is imported in processes of their own only: each starts as a user's does, and Linux
# counts the memory of the parent at the start of a child as that child's own peak.

EXAMPLES = """examples:
  everything that takes no hours, about a quarter of an hour on two cores
      python tools/benchmark.py --run saved_models/MobileNetV2 --json benchmark.json
  a minute's version: rows 1, 3, 4, 5 and 6 on few photos; for a look, not for a claim
      python tools/benchmark.py --quick
  how long training takes, with the accuracy of the usual loop after all its epochs
      python tools/benchmark.py --rows 2 --full

It needs the data set, the ImageNet weights and, for rows 4 to 6 and 8, a run with its TFLite files:
python -m keras_flowers.train --export. Rows 5 and 8 name photos with the model that ships, if it is
there. Let nothing else run meanwhile.

exit code: 0 every bound holds; 1 one is broken; 2 nothing was measured
"""

DATASET = "oxford_flowers102"
TRAIN_PHOTOS = 1020
BASE, IMAGE_SIZE, CLASSES = "MobileNetV2", 224, 102
USUAL_EPOCHS = 20
CHOOSE, SCORE = "validation[:50%]", "validation[50%:]"
"""Where training chooses its settings, and where it is scored instead of on the test split."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        photos: Of the train split, for row 3 and the limit of row 2; half of them for rows 1 and 7.
        folder: Photos in the folder of row 5; row 8 has up to four times as many.
        growth: Photos of the smallest training of row 8.
        rounds: How often what takes seconds is run.
        long_rounds: How often what takes minutes is run.
    """

    photos: int
    folder: int
    growth: int
    rounds: int
    long_rounds: int


EFFORT = Effort(photos=512, folder=500, growth=400, rounds=5, long_rounds=2)
QUICK_EFFORT = Effort(photos=64, folder=64, growth=50, rounds=2, long_rounds=1)
QUICK_ROWS = (1, 3, 4, 5, 6)

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

IMPORT_AND_BUILD = f"""\
from keras_flowers.system import import_tensorflow
import_tensorflow()
from keras_flowers.training.model import build_model
build_model({BASE!r}, {IMAGE_SIZE}, {CLASSES})
"""
"""What row 2 leaves aside: TensorFlow's import and the base's loading."""


class Bound(NamedTuple):
    """What a ratio must be: `kind` is "at least" or "at most"."""

    kind: str
    value: float

    def holds(self, ratio: float) -> bool:
        """Whether `ratio` keeps it; NaN does not."""
        return ratio >= self.value if self.kind == "at least" else ratio <= self.value


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        row: Its number in the list of what is measured, 1 to 8.
        what: What was divided by what.
        ratios: One a round.
        bound: What their median must be; None: it is told, not judged.
        detail: What the ratio was made of, with units.
    """

    row: int
    what: str
    ratios: list[float]
    bound: Bound | None = None
    detail: str = ""

    @property
    def median(self) -> float:
        """The middle one of the ratios."""
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps the bound; None where there is none."""
        return None if self.bound is None else self.bound.holds(self.median)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **dataclasses.asdict(self),
            "bound": None if self.bound is None else self.bound._asdict(),
            "median": self.median,
            "holds": self.holds,
        }


class Ran(NamedTuple):
    """What a process took: seconds from start to end, and the most bytes of memory at a time."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class Task:
    """What the rows need to know.

    Attributes:
        effort: How much is measured.
        run: A finished run with its TFLite files; None where no row needs one.
        fine_tune: The layer behind which row 7 trains.
        data_dir: Where TFDS keeps data sets; None: where it looks by itself.
        full: Whether the usual loop is run to its end.
    """

    effort: Effort
    run: Path | None
    fine_tune: str
    data_dir: str | None
    full: bool

    @property
    def usual_model(self) -> Path:
        """What `predict` takes when no model is named; in a checkout without it, the run's."""
        return default_model() if default_model().is_file() else self.tflite("float16")

    def tflite(self, variant: str) -> Path:
        """The TFLite file of the run."""
        assert self.run is not None
        return next(self.run.glob(f"*_{variant}.tflite"))


# How things are measured.


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """`function` as one that gives the seconds it took."""

    def measure() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return measure


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """What each of `measures` gives in each round; in a round, all are run one after the other."""
    results: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, so_far in zip(measures, results, strict=True):
            so_far.append(measure())
    return results


def divide(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round.

    >>> divide([1.0, 2.0], [2.0, 8.0])
    [0.5, 0.25]
    """
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def run_python(*arguments: str | Path) -> Ran:
    """Runs Python with `arguments` to its end, without showing what it prints.

    Raises:
        UserError: It fails.
    """
    command = [sys.executable, *map(str, arguments)]
    # pip compiles what it installs; a checkout is compiled at its first start, unless this forbids.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or ["no word"]
            raise UserError(f"{' '.join(command)} failed: {lines[-1]}")
    return Ran(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def in_new_process(function: Callable[..., Any], *arguments: Any, cores: int = 0) -> Any:
    """What `function(*arguments)` gives in a process of its own, on `cores` cores; 0: on all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _silence_and_pin, (cores,)) as pool:
        return pool.submit(function, *arguments).result()


def _silence_and_pin(cores: int) -> None:
    # Progress bars would tear up ours. What fails comes back as an exception.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def bare_loop(content: bytes, pixels: npt.NDArray[Any]) -> Callable[[], None]:
    """A function that does nothing but run a TFLite model over ready pixels, on all cores.

    Args:
        content: The bytes of a `.tflite` file.
        pixels: uint8 [N, H, W, 3], 0..255.
    """
    from ai_edge_litert.interpreter import Interpreter

    cores = available_cores()
    interpreters = [Interpreter(model_content=content, num_threads=1) for _ in range(cores)]
    for one in interpreters:
        one.allocate_tensors()
    (taken,) = interpreters[0].get_input_details()
    given = interpreters[0].get_output_details()[0]
    ready = pixels.astype(taken["dtype"])

    def run_share(number: int) -> None:
        interpreter = interpreters[number]
        for picture in ready[number::cores]:
            interpreter.set_tensor(taken["index"], picture[None])
            interpreter.invoke()
            interpreter.get_tensor(given["index"])

    def run() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(run_share, range(cores)))

    return run


def milliseconds(seconds: Sequence[float], photos: int) -> str:
    """The median, for one photo.

    >>> milliseconds([1.0, 3.0, 2.0], 100)
    '20.0 ms'
    """
    return f"{statistics.median(seconds) / photos * 1e3:.1f} ms"


# The rows.


def feature_pass(task: Task) -> list[Figure]:
    """Row 1: JPEG files to features."""
    return in_new_process(_feature_pass, task)  # type: ignore[no-any-return]


def _feature_pass(task: Task) -> list[Figure]:
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    from keras_flowers.training import data, features, tflite
    from keras_flowers.training.config import TrainConfig
    from keras_flowers.training.model import FEATURES, build_model, split_at

    views = range(TrainConfig().views)
    photos = data.load_photos(DATASET, f"train[:{task.effort.photos // 2}]", task.data_dir)
    count = len(views) * photos.count
    trunk, _ = split_at(build_model(BASE, IMAGE_SIZE, CLASSES), FEATURES)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    # As the default training does it: four views of each photo.
    batch_size = features.photos_at_a_time(size, len(views))
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


def training(task: Task) -> list[Figure]:
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
    return run_python("-m", "keras_flowers.train", "--overwrite", *words)


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
    decode = _decoding_alone(photos, size)
    run_bare(), decode()
    seconds = timed(run_bare)() * pictures + timed(decode)() * sum(counts.values())
    return seconds / photos.count, pictures


def _decoding_alone(photos: LabelledPhotos, size: tuple[int, int] | None) -> Callable[[], None]:
    """A function that decodes all photos on all cores and leaves it at that.

    Args:
        photos: The photos.
        size: None to decode whole, as `tf.io.decode_jpeg` does by itself; or the height and width
            that shall be covered, for decoding as the package does.
    """
    import tensorflow as tf

    from keras_flowers.training import tf_image

    def decode(_: tf.Tensor, content: tf.Tensor, __: tf.Tensor) -> tf.Tensor:
        if size is None:
            return tf.size(tf.io.decode_jpeg(content, channels=3))
        return tf.size(tf_image.decode_jpeg(content, size))

    batches = photos.records.map(decode, num_parallel_calls=available_cores()).batch(64)

    def run() -> None:
        for _ in batches:
            pass

    return run


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
    clock = _epoch_clock()
    model.fit(
        batches,
        validation_data=load(CHOOSE).batch(32),
        epochs=USUAL_EPOCHS if task.full else 2,
        callbacks=[clock],
        verbose=0,
    )
    accuracy = model.evaluate(load(SCORE).batch(32), verbose=0)[1] if task.full else 0.0
    return statistics.mean(clock.seconds[1:]) * USUAL_EPOCHS, float(accuracy)


def _epoch_clock() -> Any:
    """A Keras callback that notes in `seconds` how long each epoch took, validation included."""
    import keras

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self._started)

    return Clock()


def input_pipeline(task: Task) -> list[Figure]:
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

    measures = ours, _decoding_alone(photos, None), _decoding_alone(photos, size)
    for warm_up in measures:
        warm_up()
    return in_turn(task.effort.rounds, *map(timed, measures))


def first_answer(task: Task) -> list[Figure]:
    """Row 4: a whole process for one photo."""
    assert task.run is not None
    with tempfile.TemporaryDirectory() as folder:
        (photo,) = in_new_process(_write_photos, task, folder, 1)
        script = Path(folder, "bare.py")
        script.write_text(BARE_SCRIPT, encoding="utf-8")

        def ours(*model: str | Path) -> Callable[[], float]:
            command = ["-m", "keras_flowers.predict", photo, "--no_chart", *model]
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
            ours("--model", task.run / "model.keras"),
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


def _write_photos(task: Task, folder: str, count: int) -> list[str]:
    """Writes the first training photos as files, again and again until there are `count`."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    from keras_flowers.training import data

    photos = data.load_photos(DATASET, f"train[:{min(count, TRAIN_PHOTOS)}]", task.data_dir)
    contents = [content for _, content, _ in photos.records.as_numpy_iterator()]
    paths = [str(Path(folder, f"{number:05}.jpg")) for number in range(count)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(contents[number % len(contents)])
    return paths


def bulk(task: Task) -> list[Figure]:
    """Row 5: a folder of photos to a table."""
    count = task.effort.folder
    model = task.usual_model
    with tempfile.TemporaryDirectory() as folder:
        in_new_process(_write_photos, task, folder, count)
        ours, bare = in_turn(
            task.effort.rounds,
            lambda: name_folder(model, Path(folder)).seconds,
            lambda: in_new_process(_bare_bulk, model, folder),
        )
    return [
        Figure(
            5,
            "bulk: speed / bare LiteRT loop on ready pixels",
            divide(bare, ours),
            Bound("at least", 0.8),
            f"{milliseconds(ours, count)} a photo of {count}, the process from start to end : "
            f"{milliseconds(bare, count)}",
        )
    ]


def name_folder(model: Path, folder: Path) -> Ran:
    """Names the photos in a folder, as the command line does."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place, "table.csv")
        return run_python(
            "-m", "keras_flowers.predict", folder, "--model", model, "--output", table
        )


def _bare_bulk(model: Path, folder: str) -> float:
    from keras_flowers.inference.image import read_pixels
    from keras_flowers.inference.litert import LiteRTModel

    content = model.read_bytes()
    size = LiteRTModel(content).image_size
    pixels = np.stack([read_pixels(path, size) for path in sorted(Path(folder).iterdir())])
    run = bare_loop(content, pixels[: 2 * available_cores()])
    run()
    return timed(bare_loop(content, pixels))()


def variants(task: Task) -> list[Figure]:
    """Row 6: what half and quarter precision are worth."""
    names = ("float32", "float16", "int8")
    paths = [task.tflite(name) for name in names]
    sizes = [path.stat().st_size for path in paths]
    figures = [
        Figure(
            6,
            f"variants: size of {name} / float32",
            [size / sizes[0]],
            detail=f"{size / 1e6:.1f} MB : {sizes[0] / 1e6:.1f} MB",
        )
        for name, size in zip(names[1:], sizes[1:], strict=True)
    ]
    for threads in sorted({1, min(2, available_cores())}):
        seconds = in_new_process(_latencies, task, paths, threads)
        for name, each in zip(names[1:], seconds[1:], strict=True):
            figures.append(
                Figure(
                    6,
                    f"variants: latency of {name} / float32, {threads} thread{'s' * (threads > 1)}",
                    divide(each, seconds[0]),
                    Bound("at most", 0.5) if name == "int8" else None,
                    f"{milliseconds(each, 1)} a photo : {milliseconds(seconds[0], 1)}",
                )
            )
    return figures


def _latencies(task: Task, paths: Sequence[Path], threads: int) -> list[list[float]]:
    """Seconds for a picture, the mean of twenty, in each round, for each file."""
    from ai_edge_litert.interpreter import Interpreter

    times = 20

    def latency(path: Path) -> Callable[[], float]:
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
        (taken,) = interpreter.get_input_details()
        noise = np.random.default_rng(0).integers(0, 256, taken["shape"])
        interpreter.set_tensor(taken["index"], noise.astype(taken["dtype"]))
        measure = timed(lambda: [interpreter.invoke() for _ in range(times)])
        measure()  # the warm-up
        return lambda: measure() / times

    return in_turn(2 * task.effort.rounds, *map(latency, paths))


def fine_tuning(task: Task) -> list[Figure]:
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

    photos = data.load_photos(DATASET, f"train[:{count}]", task.data_dir)
    model = build_model(BASE, IMAGE_SIZE, CLASSES)
    trunk, tail = split_at(model, task.fine_tune)
    settings = fit.FitSettings(2, BATCH_SIZE, 1e-5, 0.01, 0.1, seed=0)
    batches = data.pixels(
        photos, (IMAGE_SIZE, IMAGE_SIZE), view=View.random(0), batch_size=BATCH_SIZE
    ).map(lambda pixels, labels: (pixels, tf.one_hot(labels, CLASSES)))

    def full_epoch() -> float:
        clock = _epoch_clock()
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


def growth(task: Task) -> list[Figure]:
    """Row 8: time and memory with one, two and four times the photos."""
    counts = [task.effort.growth * factor for factor in (1, 2, 4)]
    with tempfile.TemporaryDirectory() as folder:

        def train(count: int) -> Ran:
            splits = (_training_split(count), "validation[-40:-20]", "validation[-20:]")
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                return run_training(task, splits, Path(folder, "run"), Path(cache))

        trained = [[train(count) for count in counts] for _ in range(task.effort.long_rounds)]
    figures = _growth("training", counts, trained)
    counts = [task.effort.folder * factor for factor in (1, 2, 4)]
    model = task.usual_model
    with tempfile.TemporaryDirectory() as folder:
        folders = [Path(folder, str(count)) for count in counts]
        for place, count in zip(folders, counts, strict=True):
            place.mkdir()
            in_new_process(_write_photos, task, str(place), count)
        named = [
            [name_folder(model, place) for place in folders] for _ in range(task.effort.rounds)
        ]
    return [*figures, *_growth("bulk", counts, named)]


def _training_split(count: int) -> str:
    """That many photos to learn from."""
    if count <= TRAIN_PHOTOS:
        return f"train[:{count}]"
    return f"train+validation[:{count - TRAIN_PHOTOS}]"


def _growth(title: str, counts: Sequence[int], rounds: Sequence[Sequence[Ran]]) -> list[Figure]:
    """The ratios of the last of `counts` to the first, from what each took in each round."""
    seconds = [
        statistics.median(ran.seconds for ran in column) for column in zip(*rounds, strict=True)
    ]
    peaks = [statistics.median(ran.peak for ran in column) for column in zip(*rounds, strict=True)]
    photos = ", ".join(map(str, counts))
    return [
        Figure(
            8,
            f"growth of {title}: time with 4 x the photos / with 1 x",
            [one[-1].seconds / one[0].seconds for one in rounds],
            Bound("at most", 4.3),
            f"{', '.join(f'{one:.1f}' for one in seconds)} s for {photos} photos",
        ),
        Figure(
            8,
            f"growth of {title}: peak memory with 4 x the photos / with 1 x",
            [one[-1].peak / one[0].peak for one in rounds],
            Bound("at most", 1.1),
            f"{', '.join(f'{one / 1e6:.0f}' for one in peaks)} MB",
        ),
    ]


ROWS: dict[int, Callable[[Task], list[Figure]]] = {
    1: feature_pass,
    2: training,
    3: input_pipeline,
    4: first_answer,
    5: bulk,
    6: variants,
    7: fine_tuning,
    8: growth,
}
ROWS_OF_A_RUN = {4, 5, 6, 8}
"""Those that need TFLite files."""


# The table and the command line.


def format_table(figures: Sequence[Figure]) -> str:
    """A Markdown table: a line for each figure, its median and range, and what is asked of it."""
    lines = [
        "| row | ratio | median | range | bound | holds | from |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = {True: "yes", False: "**no**", None: ""}
    for one in figures:
        bound = f"{one.bound.kind} {one.bound.value:g}" if one.bound else ""
        spread = f"{min(one.ratios):.3g} to {max(one.ratios):.3g}" if len(one.ratios) > 1 else ""
        cells = (one.row, one.what, f"{one.median:.3g}", spread, bound, words[one.holds])
        lines.append(f"| {' | '.join(map(str, cells))} | {one.detail} |")
    return "\n".join(lines)


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    names = []
    with suppress(OSError):  # where there is no /proc, the platform has to say it
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                names.append(line.split(":", 1)[1].strip())
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    names = ("tensorflow", "keras", "tensorflow-datasets", "ai-edge-litert", "numpy", "pillow")
    return {
        "keras_flowers": keras_flowers.__version__,
        "python": platform.python_version(),
        **{name: packages.version(name) for name in names},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parse(argv)
    effort = QUICK_EFFORT if options.quick else EFFORT
    rows = sorted(set(options.rows or (QUICK_ROWS if options.quick else ROWS)))
    run = options.run
    if ROWS_OF_A_RUN.intersection(rows):
        run = find_run(Path("saved_models")) if run is None else _checked_run(run)
    task = Task(effort, run, options.fine_tune, options.data_dir, options.full)
    figures: list[Figure] = []
    started = time.monotonic()
    facts = {
        "hardware": hardware(),
        "versions": versions(),
        "run": str(run) if run else None,
        "quick": options.quick,
    }
    for row in rows:
        print(f"row {row}: {(ROWS[row].__doc__ or '').split(': ')[1]}", file=sys.stderr, flush=True)
        figures += ROWS[row](task)
        if options.json is not None:  # after each, since a row may take minutes
            write_json(options.json, {**facts, "figures": [one.as_dict() for one in figures]})
    print(format_table(figures))
    print(f"\n{', '.join(f'{name}: {value}' for name, value in hardware().items())}")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(f"measured in {time.monotonic() - started:.0f} s")
    return EXIT_SOME_FAILED if any(one.holds is False for one in figures) else 0


def find_run(folder: Path) -> Path:
    """The newest finished run in `folder` that has its TFLite files.

    Raises:
        UserError: There is none.
    """
    finished = [path.parent for path in folder.glob(f"*/{FINISHED}")]
    usable = [run for run in finished if not _missing(run)]
    if not usable:
        raise UserError(
            f"there is no finished run with TFLite files in {folder}; train one: "
            "python -m keras_flowers.train --export, or name one with --run DIR"
        )
    return max(usable, key=lambda run: (run / FINISHED).stat().st_mtime)


def _checked_run(run: Path) -> Path:
    if missing := _missing(run):
        raise UserError(
            f"--run {run} has no {', '.join(missing)}; expected what "
            "python -m keras_flowers.train --export writes"
        )
    return run


def _missing(run: Path) -> list[str]:
    patterns = ["model.keras", *(f"*_{name}.tflite" for name in ("float32", "float16", "int8"))]
    return [pattern for pattern in patterns if not any(run.glob(pattern))]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="rows:\n" + _rows_in_words() + "\n\n" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rows", nargs="+", type=int, choices=ROWS, metavar="ROW", help="only these (see below)"
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="DIR",
        help="a finished run with its TFLite files, for rows 4, 5, 6 and 8 (default: the newest "
        "in saved_models/)",
    )
    parser.add_argument("--data_dir", help="where TFDS keeps data sets (default: as in training)")
    parser.add_argument(
        "--fine_tune",
        default="block_6_project_BN",
        metavar="LAYER",
        help="the layer behind which row 7 trains (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"few photos, rows {' '.join(map(str, QUICK_ROWS))}"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="row 2: all epochs of the usual loop, and its accuracy; otherwise one epoch stands "
        "for all",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
    return parser.parse_args(argv)


def _rows_in_words() -> str:
    docs = ((row, (function.__doc__ or "").split(": ", 1)[1]) for row, function in ROWS.items())
    return "\n".join(f"  {row}  {text}" for row, text in docs)


if __name__ == "__main__":
    exit_with(main)
