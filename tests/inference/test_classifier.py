"""Any model file gives the same answer, and what is no flower classifier is refused plainly."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_photos import encode
from conftest import COLOUR_IMAGE_SIZE, COLOURS
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import keras_flowers
from keras_flowers.errors import UserError
from keras_flowers.inference import classifier as classifier_module
from keras_flowers.inference import litert
from keras_flowers.inference.ahead import PHOTOS_AT_A_TIME
from keras_flowers.inference.classifier import Classifier, load_classifier, models_in
from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.inference.metadata import (
    Metadata,
    add_to_archive,
    add_to_saved_model,
    read_metadata,
)
from keras_flowers.inference.prediction import Prediction
from keras_flowers.system import standard_error_held_back

METADATA = Metadata(tuple(COLOURS), COLOUR_IMAGE_SIZE)


def bare(colour_model: Path, path: Path) -> Path:
    """A copy of the model without the archive behind it."""
    data = colour_model.read_bytes()
    path.write_bytes(data[: data.index(b"PK\x03\x04")])
    return path


# Answers.


def test_photo_is_named_from_python(colour_model: Path, colour_photos: Path) -> None:
    answer = keras_flowers.load_classifier(colour_model).predict(colour_photos / "magenta.png")
    assert answer.name == "magenta"
    assert answer.probability == pytest.approx(0.988, abs=1e-3)
    assert answer.probabilities.dtype == np.float32
    assert answer.probabilities.sum() == pytest.approx(1)
    assert [name for name, _ in answer.top()] == ["magenta", "cyan", "yellow"]
    assert str(answer).splitlines()[0] == "magenta   98.8%"


def test_bytes_and_paths_are_named_alike(colour_model: Path, colour_photos: Path) -> None:
    model = load_classifier(str(colour_model))
    path = colour_photos / "yellow.png"
    np.testing.assert_array_equal(
        model.predict(path).probabilities, model.predict(path.read_bytes()).probabilities
    )


def test_every_kind_of_photo_is_named_alike(colour_model: Path, colour_photos: Path) -> None:
    model = load_classifier(colour_model)
    path = colour_photos / "yellow.png"
    with open(path, "rb") as file, Image.open(path) as image:
        photos = [path, str(path), path.read_bytes(), file, image, np.asarray(image)]
        answers = [model.predict(photo) for photo in photos]
    assert [answer.name for answer in answers] == ["yellow"] * 6
    for answer in answers:
        np.testing.assert_array_equal(answer.probabilities, answers[0].probabilities)


def test_many_photos_are_named_from_a_sequence_and_from_an_iterator(
    colour_model: Path, colour_photos: Path
) -> None:
    model = load_classifier(colour_model, workers=2)
    names = ["cyan", "yellow", "magenta", "magenta"] * 10
    paths = [colour_photos / f"{name}.png" for name in names]
    assert [each.name for each in model.predict_many(paths)] == names
    assert [each.photo for each in model.predict_many(paths)] == paths
    assert [each.name for each in model.predict_many(path.read_bytes() for path in paths)] == names
    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert [each.name for each in model.predict_many(arrays)] == names
    assert list(model.predict_many([])) == []


def test_many_photos_are_taken_as_they_are_needed(colour_model: Path, colour_photos: Path) -> None:
    taken = itertools.count()
    photos = (colour_photos / "cyan.png" for _ in iter(lambda: next(taken), -1))  # without end
    answers = load_classifier(colour_model).predict_many(photos)
    assert [next(answers).name for _ in range(3)] == ["cyan"] * 3
    answers.close()
    assert next(taken) <= 2 * PHOTOS_AT_A_TIME


def test_unreadable_one_of_many_is_said_with_its_place(
    colour_model: Path, colour_photos: Path
) -> None:
    model = load_classifier(colour_model)
    good = colour_photos / "cyan.png"
    with pytest.raises(UserError, match=r"^photo 18: this is not a photo"):
        list(model.predict_many([good.read_bytes()] * 17 + [b"nothing"]))
    with pytest.raises(UserError, match=r"^none\.jpg does not exist"):
        list(model.predict_many([good, "none.jpg"]))


@pytest.mark.parametrize("one", ["a.jpg", b"photo", Path("a.jpg"), np.zeros((4, 4, 3), np.uint8)])
def test_one_photo_is_not_many(colour_model: Path, one: Any) -> None:
    with pytest.raises(UserError, match=r"expected several photos.*predict\(\) takes one"):
        load_classifier(colour_model).predict_many(one)


def test_pixels_of_another_shape_are_refused(colour_model: Path) -> None:
    model = load_classifier(colour_model)
    for shape in ((1, 480, 640, 3), (32, 24, 3), (1, 24, 32, 3), (1, 32, 24, 1)):
        reason = (
            f"pixels have the shape {shape}; expected (N, 32, 24, 3): resize first, or give "
            "predict() the file"
        )
        with pytest.raises(UserError, match=re.escape(reason)):
            model.predict_pixels(np.zeros(shape, np.uint8))


def test_floats_that_are_all_at_most_1_are_refused_until_it_is_said(colour_model: Path) -> None:
    model = load_classifier(colour_model)
    pixels = np.broadcast_to(np.array(COLOURS["magenta"]), (1, *COLOUR_IMAGE_SIZE, 3)).astype(float)
    with pytest.raises(UserError, match=r"pixels are 0 to 1; .*multiply them by 255, or say max_v"):
        model.predict_pixels(pixels / 255)
    (said,) = model.predict_pixels(pixels / 255, max_value=1)
    (whole,) = model.predict_pixels(pixels)
    np.testing.assert_allclose(said.probabilities, whole.probabilities, atol=1e-6)
    assert whole.name == "magenta"
    (dark,) = model.predict_pixels(pixels / 255, max_value=255)
    assert dark.probability < 0.4
    # Black is black, as bytes.
    assert model.predict_pixels(np.zeros((1, *COLOUR_IMAGE_SIZE, 3), np.uint8))


# What it looks like.


def test_representations_are_short(colour_model: Path, colour_photos: Path) -> None:
    model = load_classifier(colour_model)
    assert repr(model) == "<Classifier of 3 classes, 32 x 24 pixels, from colours.tflite>"
    answer = model.predict(colour_photos / "cyan.png")
    assert repr(answer) == "<Prediction: cyan 98.8%, magenta 0.6%, yellow 0.6%>"
    of_many = Prediction(tuple("abcdef"), np.full(6, 1 / 6, np.float32))
    assert repr(of_many) == "<Prediction: a 16.7%, b 16.7%, c 16.7%, ... of 6>"
    assert repr(Classifier(METADATA, (1, 2), lambda pixels: pixels)) == (
        "<Classifier of 3 classes, 1 x 2 pixels>"
    )


def test_prediction_is_a_picture_in_a_notebook(colour_model: Path, colour_photos: Path) -> None:
    model = load_classifier(colour_model)
    path = colour_photos / "magenta.png"
    for photo in (path, path.read_bytes(), Image.open(path), io.BytesIO(path.read_bytes())):
        answer = model.predict(photo)
        with Image.open(io.BytesIO(answer._repr_png_())) as picture:
            magenta = [c for c in picture.convert("RGB").getdata() if c == COLOURS["magenta"]]
            assert len(magenta) > 10_000
        assert answer._repr_html_() is None
    path.unlink()
    assert model.predict(colour_photos / "cyan.png")._repr_png_()
    (many,) = model.predict_many([colour_photos / "cyan.png"])
    assert many._repr_png_()


def test_prediction_without_a_photo_is_a_table_in_a_notebook() -> None:
    answer = Prediction(("<rose>", "daisy"), np.array([0.75, 0.25], np.float32))
    assert answer._repr_png_() is None
    assert answer._repr_html_() == (
        "<table><tr><td>&lt;rose&gt;</td><td>75.0%</td></tr>"
        "<tr><td>daisy</td><td>25.0%</td></tr></table>"
    )
    gone = dataclasses.replace(answer, photo="none.jpg")
    assert gone._repr_png_() is None


# Other processes.


def test_classifier_is_pickled_as_path_and_options(
    colour_model: Path, colour_photos: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(colour_model.parent)
    model = load_classifier(colour_model.name, workers=2).with_labels(("red", "green", "blue"))
    data = pickle.dumps(model)
    assert len(data) < 2000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(data)
    assert again.origin == model.origin
    assert again.predict(colour_photos / "cyan.png").name == "red"
    code = (
        "import pickle, sys; model = pickle.load(sys.stdin.buffer); "
        f"print(model.predict({str(colour_photos / 'yellow.png')!r}).name)"
    )
    root = str(Path(keras_flowers.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code],
        input=data,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=True,
    )
    assert process.stdout == b"blue\n"
    with pytest.raises(TypeError, match="can be pickled"):
        pickle.dumps(Classifier(METADATA, (1, 1), lambda pixels: pixels))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("options", [{"workers": 2}, {"threads": 2}, {"workers": 2, "threads": 2}])
@pytest.mark.parametrize("loads_anew", [False, True])
def test_classifier_answers_in_a_forked_process(
    options: dict[str, int], loads_anew: bool, tmp_path: Path
) -> None:
    # In a process of its own: pytest's has TensorFlow, which a fork does not survive. The model is
    # large enough for its threads to be used.
    code = f"""
import os, signal, sys
import numpy as np
from keras_flowers import load_classifier
model = load_classifier(**{options})
pixels = np.random.default_rng(0).integers(0, 256, (4, *model.image_size, 3), np.uint8)
before = [one.probabilities.tobytes() for one in model.predict_pixels(pixels)]
process = os.fork()
if not process:
    signal.alarm(30)  # where it would wait for ever
    if {loads_anew}:
        model = load_classifier(**{options})
    for _ in range(2):
        assert [one.probabilities.tobytes() for one in model.predict_pixels(pixels)] == before
    sys.exit(0)  # frees the interpreters of both processes
_, status = os.waitpid(process, 0)
assert status == 0, status
assert [one.probabilities.tobytes() for one in model.predict_pixels(pixels)] == before
"""
    root = str(Path(keras_flowers.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_threads_are_as_asked(colour_model: Path, monkeypatch: Any, workers: int) -> None:
    asked: list[int] = []
    make = litert._interpreter
    monkeypatch.setattr(litert, "_interpreter", lambda *args: asked.append(args[1]) or make(*args))
    monkeypatch.setattr(litert, "available_cores", lambda: 5)
    content = colour_model.read_bytes()
    LiteRTModel(content, workers=workers)
    assert asked == [5 if workers == 1 else 1] * workers
    asked.clear()
    LiteRTModel(content, workers=workers, threads=3)
    assert asked == [3] * workers


def test_options_reach_what_loads_the_model_and_the_process_that_loads_it_again(
    colour_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    load = classifier_module.load_tflite

    def note(path: Path, metadata: Metadata, **options: Any) -> Any:
        asked.append(options)
        return load(path, metadata, **{**options, "scale": None})

    monkeypatch.setattr(classifier_module, "load_tflite", note)
    model = load_classifier(colour_model, workers=2, threads=3, scale=(1.0, 2.0))
    pickle.loads(pickle.dumps(model))
    load_classifier(colour_model)
    given = {"is_ours": False, "workers": 2, "threads": 3, "scale": (1.0, 2.0)}
    plain = {"is_ours": False, "workers": 1, "threads": None, "scale": None}
    assert asked == [given, given, plain]
    monkeypatch.setattr(classifier_module, "default_model", lambda: colour_model)
    load_classifier()
    assert asked[3] == {**plain, "is_ours": True}


def test_classifier_that_was_put_together_says_what_it_cannot() -> None:
    model = Classifier(METADATA, COLOUR_IMAGE_SIZE, lambda pixels: np.eye(3)[[0] * len(pixels)])
    with pytest.raises(UserError, match="was not loaded from a file, so no index is beside it"):
        model.similar_path  # noqa: B018
    with pytest.raises(UserError, match=r"the features of <Classifier of 3 .*> cannot be compared"):
        model.similar(Image.new("RGB", (9, 9)))
    with pytest.raises(TypeError, match="only what load_classifier"):
        pickle.dumps(model)
    with pytest.raises(UserError, match="so it has no thresholds; train it again, or fit them"):
        model.with_thresholds({"known": 0.5})


def test_one_photo_at_a_time_is_run_where_nothing_is_said(colour_model: Path) -> None:
    model = LiteRTModel(colour_model.read_bytes())
    assert model._crew.workers == 1
    assert model._crew.pool is None


@pytest.mark.parametrize("options", [{"workers": 0}, {"threads": 0}, {"workers": -1}])
def test_no_workers_and_no_threads_are_refused(colour_model: Path, options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected at least 1"):
        load_classifier(colour_model, **options)


def test_height_comes_before_width(colour_model: Path) -> None:
    assert load_classifier(colour_model).image_size == COLOUR_IMAGE_SIZE == (32, 24)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 40))
def test_top_is_sorted_and_of_equals_the_first_class_comes_first(counts: list[int], k: int) -> None:
    values = np.array(counts, np.float32) / 1000
    prediction = Prediction(tuple(f"class {i}" for i in range(len(counts))), values)
    top = prediction.top(k)
    expected = sorted(range(len(counts)), key=lambda i: (-values[i], i))[:k]
    assert top == [(f"class {i}", float(values[i])) for i in expected]
    assert prediction.name == top[0][0]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batch_is_answered_in_order_by_any_number_of_workers(
    colour_model: Path, workers: int
) -> None:
    order = np.random.default_rng(0).integers(0, 3, 50)
    colours = np.array(list(COLOURS.values()), np.uint8)
    pixels = np.broadcast_to(colours[order][:, None, None], (50, *COLOUR_IMAGE_SIZE, 3))
    answers = load_classifier(colour_model, workers=workers).predict_pixels(pixels)
    assert [answer.name for answer in answers] == [list(COLOURS)[colour] for colour in order]


def test_no_photos_get_no_answers(colour_model: Path) -> None:
    empty = np.empty((0, *COLOUR_IMAGE_SIZE, 3), np.uint8)
    assert load_classifier(colour_model).predict_pixels(empty) == []


def test_unreadable_photo_is_a_user_error(colour_model: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jpg does not exist"):
        load_classifier(colour_model).predict("none.jpg")


@pytest.mark.parametrize(
    ("values", "are_right"),
    [
        ([0.6, 0.4, -0.009], True),  # a quantised model rounds
        ([0.6, 0.41, -0.011], False),
        ([0.5, 0.5, 0.49], True),
        ([0.5, 0.5, 0.51], False),
        ([0.3, 0.2, 0.01], True),
        ([0.3, 0.19, 0.0], False),
    ],
)
def test_probabilities_may_be_rounded_and_no_more(values: list[float], are_right: bool) -> None:
    model = Classifier(METADATA, (1, 1), lambda pixels: np.array([values], np.float32))
    pixels = np.zeros((1, 1, 1, 3), np.uint8)
    if are_right:
        assert model.predict_pixels(pixels)[0].probabilities.tolist() == pytest.approx(values)
        return
    said = (
        f"{min(values):.3g} to {max(values):.3g} and add up to {np.float32(sum(values)):.3g}, not"
    )
    with pytest.raises(UserError, match=f"for a photo they are {said} to 1; export it again"):
        model.predict_pixels(pixels)


@pytest.mark.parametrize(
    "values",
    [[0.2, 3.0, -1.0], [np.nan] * 3, [5.0, 5.0, 5.0], [0.0, 0.0, 0.0], [np.inf, 0.0, 0.0]],
)
def test_what_is_no_probabilities_is_refused(values: list[float]) -> None:
    model = Classifier(METADATA, (1, 1), lambda pixels: np.array([values], np.float32))
    with pytest.raises(UserError, match="gives no probabilities"):
        model.predict_pixels(np.zeros((1, 1, 1, 3), np.uint8))


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([0.0, 0.51, 0.0], True),
        ([0.0, 0.49, 0.0], False),
        ([0.5, 0.5, 0.49], True),
        ([0.5, 0.5, 0.51], False),
        ([-0.009, 1.0, 0.0], True),
        ([-0.011, 1.0, 0.0], False),
    ],
)
def test_what_rounding_may_do_to_probabilities(values: list[float], accepted: bool) -> None:
    rows = np.array([[0.2, 0.3, 0.5], values], np.float32)  # each photo is looked at
    model = Classifier(METADATA, (1, 1), lambda pixels: rows)
    pixels = np.zeros((2, 1, 1, 3), np.uint8)
    if accepted:
        assert [
            each.probabilities.tolist() for each in model.predict_pixels(pixels)
        ] == rows.tolist()
        return
    expected = (
        f"they are {min(values):.3g} to {max(values):.3g} and add up to {sum(values):.3g}, not"
    )
    with pytest.raises(UserError, match=expected):
        model.predict_pixels(pixels)


def test_names_of_another_number_are_refused() -> None:
    model = Classifier(METADATA, (1, 1), lambda pixels: np.zeros((1, 3), np.float32))
    assert model.with_labels(("a", "b", "c")).labels == ("a", "b", "c")
    with pytest.raises(UserError, match="2 names were given but the model has 3 classes; expected"):
        model.with_labels(("a", "b"))


def test_rounded_probabilities_are_accepted() -> None:
    row = np.full((1, 3), 85 / 256, np.float32)  # as an int8 model gives them
    model = Classifier(METADATA, (1, 1), lambda pixels: row)
    assert model.predict_pixels(np.zeros((1, 1, 1, 3), np.uint8))[0].name == "cyan"


# Quantised models.


def test_quantised_values_are_turned_into_numbers_and_back() -> None:
    values = np.array([0, 100, 255], np.uint8)
    np.testing.assert_allclose(litert._dequantised(values, (0.5, 100)), [-50, 0, 77.5])
    np.testing.assert_array_equal(litert._dequantised(np.float32([0.25]), (0.0, 0)), [0.25])
    pixels = np.array([0.4, 0.6, 254.7], np.float32)
    np.testing.assert_array_equal(litert._as_type(pixels, np.uint8), [0, 1, 255])
    assert litert._as_type(pixels, np.uint8).dtype == np.uint8


# Other formats.


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models made by Keras, by what is odd about them; "colour" is the model of the `.tflite`."""
    keras = pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("keras")
    pixels = keras.Input((*COLOUR_IMAGE_SIZE, 3), name="pixels")
    head = keras.layers.Dense(3, activation="softmax")
    answer = head(keras.layers.GlobalAveragePooling2D()(pixels))
    head.set_weights([-0.02 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    vector = keras.Input((9,))
    height, width = COLOUR_IMAGE_SIZE
    tall, wide = keras.Input((None, width, 3)), keras.Input((height, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()
    models = {
        "colour": keras.Model(pixels, answer),
        "picture": keras.Model(pixels, keras.layers.Conv2D(3, 3)(pixels)),
        "vector": keras.Model(vector, keras.layers.Dense(3)(vector)),
        "any height": keras.Model(tall, head(pooled(tall))),
        "any width": keras.Model(wide, head(pooled(wide))),
        "two answers": keras.Model(pixels, [answer, answer]),
        "lambda": keras.Model(pixels, keras.layers.Lambda(lambda x: x[:, 0, 0])(pixels)),
    }
    paths = {}
    for name, model in models.items():
        paths[name] = folder / f"{name}.keras"
        model.save(paths[name])
        add_to_archive(paths[name], METADATA)
    return paths


def test_keras_and_tflite_agree(
    keras_models: dict[str, Path], colour_model: Path, colour_photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(keras_models["colour"], run / "model.keras")
    lite = load_classifier(colour_model)
    for path in (keras_models["colour"], run):
        model = load_classifier(path)
        for photo in colour_photos.iterdir():
            np.testing.assert_allclose(
                model.predict(photo).probabilities, lite.predict(photo).probabilities, atol=1e-6
            )


def test_saved_model_and_tflite_agree(
    keras_models: dict[str, Path], colour_model: Path, colour_photos: Path, tmp_path: Path
) -> None:
    import keras
    import tensorflow as tf

    module = tf.Module()
    module.model = keras.models.load_model(keras_models["colour"])
    images = tf.function(
        lambda images: {"probabilities": module.model(images)},
        input_signature=[tf.TensorSpec((None, *COLOUR_IMAGE_SIZE, 3), name="images")],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"images": images})
    with pytest.raises(UserError, match="no class names"):
        load_classifier(tmp_path / "saved")
    add_to_saved_model(tmp_path / "saved", METADATA)
    model, lite = load_classifier(tmp_path / "saved"), load_classifier(colour_model)
    for photo in colour_photos.iterdir():
        np.testing.assert_allclose(
            model.predict(photo).probabilities, lite.predict(photo).probabilities, atol=1e-6
        )


def test_tensorflow_model_after_a_fork_is_refused_and_does_not_wait(
    keras_models: dict[str, Path], monkeypatch: Any
) -> None:
    model = load_classifier(keras_models["colour"])
    pixels = np.zeros((1, *COLOUR_IMAGE_SIZE, 3), np.uint8)
    here = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    with pytest.raises(UserError, match=r"before this process was forked.*take a \.tflite"):
        model.predict_pixels(pixels)


@pytest.mark.parametrize("name", ["model.keras", "saved"])
def test_model_that_needs_tensorflow_is_one_line_where_there_is_none(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "saved":
        path.mkdir()
        (path / "saved_model.pb").touch()
        add_to_saved_model(path, METADATA)
    else:
        add_to_archive(path, METADATA)
    code = (
        "import sys; sys.modules.update(tensorflow=None, keras=None)\n"
        "from keras_flowers.commands import exit, predict\n"
        f"exit.exit_with(lambda: predict.main(['x.jpg', '--model', {str(path)!r}]))"
    )
    root = str(Path(keras_flowers.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("error: this needs the package ")
    assert process.stderr.count("\n") == 1


def test_saved_model_of_something_else_is_refused(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    tf.saved_model.save(tf.Module(), str(tmp_path))
    add_to_saved_model(tmp_path, METADATA)
    with pytest.raises(UserError, match="no signature `images`"):
        load_classifier(tmp_path)


def test_damaged_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\xff broken")
    add_to_saved_model(tmp_path, METADATA)
    with pytest.raises(UserError, match="TensorFlow cannot load"):
        load_classifier(tmp_path)


@pytest.mark.parametrize("damage", ["half", "no variables", "half of the variables"])
def test_truncated_saved_model_is_refused(tmp_path: Path, damage: str) -> None:
    tf = pytest.importorskip("tensorflow")
    module = tf.Module()
    module.kernel = tf.Variable(np.ones((3, 3), np.float32))
    images = tf.function(
        lambda images: {"probabilities": tf.reduce_mean(images, (1, 2)) @ module.kernel},
        input_signature=[tf.TensorSpec((None, *COLOUR_IMAGE_SIZE, 3), name="images")],
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"images": images})
    add_to_saved_model(tmp_path, METADATA)
    load_classifier(tmp_path)
    if damage == "no variables":
        shutil.rmtree(tmp_path / "variables")
    else:
        (data,) = (tmp_path / "variables").glob("*.data*")
        file = tmp_path / "saved_model.pb" if damage == "half" else data
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match="TensorFlow cannot load") as refused:
        load_classifier(tmp_path)
    assert "\n" not in str(refused.value)


def test_saved_model_that_fails_when_it_runs_is_refused(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    images = tf.function(
        lambda images: {"probabilities": tf.reshape(images, (7, 24 * 32 * 3))[:, :3]},
        input_signature=[tf.TensorSpec((None, *COLOUR_IMAGE_SIZE, 3), name="images")],
    )
    tf.saved_model.save(tf.Module(), str(tmp_path), signatures={"images": images})
    add_to_saved_model(tmp_path, METADATA)
    model = load_classifier(tmp_path)
    with pytest.raises(UserError, match="TensorFlow cannot run"):
        model.predict_pixels(np.zeros((1, *COLOUR_IMAGE_SIZE, 3), np.uint8))


def test_damaged_keras_file_is_refused(keras_models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    add_to_archive(path, METADATA)
    with pytest.raises(UserError, match="Keras cannot load"):
        load_classifier(path)


def test_truncated_keras_file_is_refused(keras_models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    whole = keras_models["colour"].read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.keras is damaged or incomplete"):
            load_classifier(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("picture", "its output has the shape"),
        ("vector", "its input has the shape"),
        ("any height", r"its input has the shape \(None, None, 24, 3\)"),
        ("any width", r"its input has the shape \(None, 32, None, 3\)"),
        ("two answers", "its output has the shape"),
        ("lambda", "Keras cannot load"),  # a stranger's code
    ],
)
def test_keras_model_that_is_no_classifier_is_refused(
    keras_models: dict[str, Path], name: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        load_classifier(keras_models[name])


def hostile_layers(victim: Path) -> dict[str, dict[str, Any]]:
    """Layers that would touch `victim`, if loading a model ran what a stranger wrote."""
    code = f"open({str(victim)!r}, 'w')"
    os_system = {"module": "os", "class_name": "function", "config": "system"}
    return {
        "another module": {"module": "os", "class_name": "system", "config": f"touch {victim}"},
        "a builtin": {"module": "builtins", "class_name": "exec", "config": {"source": code}},
        "a function as an activation": {
            "module": "keras.layers",
            "class_name": "Activation",
            "config": {"name": "x", "activation": {**os_system, "registered_name": "system"}},
        },
        "a SavedModel elsewhere": {
            "module": "keras.layers",
            "class_name": "TFSMLayer",
            "config": {"name": "x", "filepath": str(victim.parent)},
        },
    }


@pytest.mark.parametrize("kind", hostile_layers(Path("x")))
def test_loading_runs_no_code_of_a_stranger(tmp_path: Path, kind: str) -> None:
    keras = pytest.importorskip("keras")
    victim = tmp_path / "victim"
    sound = keras.Sequential([keras.Input((*COLOUR_IMAGE_SIZE, 3)), keras.layers.Flatten()])
    sound.save(tmp_path / "sound.keras")
    with zipfile.ZipFile(tmp_path / "sound.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1] = hostile_layers(victim)[kind]
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "hostile.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    add_to_archive(tmp_path / "hostile.keras", METADATA)
    with pytest.raises(UserError, match="Keras cannot load"):
        load_classifier(tmp_path / "hostile.keras")
    assert not victim.exists()


def test_lambda_of_a_stranger_is_not_run(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    victim = tmp_path / "victim"
    touch = eval(f"lambda x: [x[:, 0, 0], open({str(victim)!r}, 'w')][0]")
    model = keras.Sequential([keras.Input((*COLOUR_IMAGE_SIZE, 3)), keras.layers.Lambda(touch)])
    model.save(tmp_path / "hostile.keras")
    add_to_archive(tmp_path / "hostile.keras", METADATA)
    victim.unlink()
    with pytest.raises(UserError, match="Keras cannot load"):
        load_classifier(tmp_path / "hostile.keras")
    assert not victim.exists()


# Files that are no model.


def test_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no model at"):
        load_classifier(tmp_path / "none.tflite")
    with pytest.raises(UserError, match="is a URL; download it first, and give the file"):
        load_classifier("https://example.org/flowers.tflite")


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a folder without a model"):
        load_classifier(tmp_path)


def test_model_in_a_folder_is_taken_and_said(
    colour_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b_int8.tflite", "a_float32.tflite"):
        shutil.copy(colour_model, tmp_path / name)
    with caplog.at_level("WARNING"):
        assert load_classifier(tmp_path).origin.path == tmp_path / "a_float32.tflite"
    assert f"uses {tmp_path / 'a_float32.tflite'}" in caplog.text


def test_run_folder_needs_no_tensorflow_where_it_has_an_export(
    colour_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(colour_model, tmp_path / "own_float16.tflite")
    (tmp_path / "model.keras").touch()
    monkeypatch.setattr(classifier_module, "find_spec", lambda name: None)
    assert load_classifier(tmp_path).origin.path == tmp_path / "own_float16.tflite"


def test_models_of_a_folder_come_with_those_first_that_need_no_tensorflow(tmp_path: Path) -> None:
    names = ["m_float16.tflite", "m_float32.tflite", "m_int8.tflite", "teacher.keras"]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "saved_model" / "1").mkdir(parents=True)
    (tmp_path / "saved_model" / "1" / "saved_model.pb").touch()
    expected = [*(tmp_path / name for name in names), tmp_path / "saved_model" / "1"]
    assert models_in(tmp_path) == expected
    assert models_in(tmp_path / "saved_model" / "1") == [tmp_path / "saved_model" / "1"]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.h5").touch()
    with pytest.raises(UserError, match="is not a model"):
        load_classifier(tmp_path / "model.h5")


def test_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.tflite")
    with pytest.raises(UserError, match="is not a model"):
        load_classifier(tmp_path / "model.tflite")


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(1000), b"<html>" * 100])
def test_file_that_is_no_tflite_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no class names"):
        load_classifier(path)
    add_to_archive(path, METADATA)
    with pytest.raises(UserError, match="LiteRT cannot load"):
        load_classifier(path)


def test_model_without_names_is_refused(colour_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class names"):
        load_classifier(bare(colour_model, tmp_path / "bare.tflite"))


def test_wrong_number_of_names_is_refused(colour_model: Path, tmp_path: Path) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    add_to_archive(path, Metadata(("rose", "tulip"), COLOUR_IMAGE_SIZE))
    with pytest.raises(UserError, match="not a classifier of its 2 labels: it gives 3 values"):
        load_classifier(path)


def test_wrong_image_size_is_refused(colour_model: Path, tmp_path: Path) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    add_to_archive(path, Metadata(tuple(COLOURS), (24, 32)))
    with pytest.raises(UserError, match=r"says it takes \(24, 32\) pixels but takes \(32, 24\)"):
        load_classifier(path)


@pytest.mark.parametrize(
    "provenance",
    ["", "[]", "{", '{"image": {}}', '{"image": {"size": [1e999, 24]}}', '{"image": {"size": 7}}']
    + ['{"image": {"size": [-1, 24]}}', "[" * 10_000],
)
def test_damaged_metadata_is_refused(colour_model: Path, tmp_path: Path, provenance: str) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cyan\nmagenta\nyellow\n")
        archive.writestr("keras_flowers.json", provenance)
    with pytest.raises(UserError, match=r"keras_flowers\.json inside .* is damaged"):
        load_classifier(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [(6, 1), (8, 99), (45, 0xFF)],  # flags and method in the header, and what it describes
    ids=["encrypted", "unknown method", "damaged"],
)
def test_archive_that_cannot_be_read_is_refused(
    colour_model: Path, tmp_path: Path, place: int, value: int
) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", "cyan\nmagenta\nyellow\n" * 9)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + place] = value
    if place < 30:  # the directory at the end says it again
        data[data.index(b"PK\x01\x02") + place + 2] = value
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.tflite cannot be read .*export it again"):
        load_classifier(path)


def test_member_that_ends_too_early_is_refused_with_the_reason(
    colour_model: Path, tmp_path: Path
) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cyan\nmagenta\nyellow\n")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    # The directory says that the member is longer than the file.
    data[entry + 20 : entry + 28] = (10_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cannot be read \(EOFError\); copy or export it again"):
        load_classifier(path)


def test_names_and_the_scale_are_enough(
    colour_model: Path, colour_photos: Path, tmp_path: Path
) -> None:
    # As in a file that another tool made; the image size is the model's.
    path = bare(colour_model, tmp_path / "model.tflite")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "red\ngreen\nblue\n")
    assert load_classifier(path, scale=(0, 1)).predict(colour_photos / "cyan.png").name == "red"


def test_metadata_comes_back_from_the_model(colour_model: Path, tmp_path: Path) -> None:
    path = bare(colour_model, tmp_path / "model.tflite")
    facts = {"base": "MobileNetV2", "photos": 1020, "note": "größer"}
    add_to_archive(path, Metadata(tuple(COLOURS), COLOUR_IMAGE_SIZE, facts))
    assert read_metadata(path) == Metadata(tuple(COLOURS), COLOUR_IMAGE_SIZE, facts)


def test_model_whose_weights_are_not_inside_is_refused(keras_models: dict[str, Path]) -> None:
    # `from_concrete_functions` with the Keras model beside it makes such a file without a word.
    import keras
    import tensorflow as tf

    model = keras.models.load_model(keras_models["colour"])
    serve = tf.function(
        lambda pixels: model(pixels),
        input_signature=[tf.TensorSpec((1, *COLOUR_IMAGE_SIZE, 3))],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], model
    )
    with pytest.raises(UserError, match="weights are not inside"):
        LiteRTModel(converter.convert())


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        ((1, 9), "float32", r"one input \[1, H, W, 3\], got \[\[1, 9\]\]"),
        ((1, 8, 8, 1), "float32", r"got \[\[1, 8, 8, 1\]\]"),
        ((4, 8, 8, 3), "float32", r"got \[\[4, 8, 8, 3\]\]"),
        ((1, 8, 8, 3), "int32", "uint8, int8 or float32 pixels, got int32"),
    ],
)
def test_tflite_model_with_another_input_is_refused(
    shape: tuple[int, ...], dtype: str, reason: str
) -> None:
    tf = pytest.importorskip("tensorflow")
    function = tf.function(
        lambda values: tf.cast(values, tf.float32) * 2,
        input_signature=[tf.TensorSpec(shape, dtype)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    with pytest.raises(UserError, match=reason):
        LiteRTModel(converter.convert())


def elsewhere(do: Callable[[], object]) -> Callable[..., None]:
    """Does it in every process but this one, which would take the other tests with it."""
    here = os.getpid()

    def method(*_: object, **__: object) -> None:
        if os.getpid() == here:
            raise AssertionError("the model came to this process")
        do()

    return method


@pytest.mark.skipif(not hasattr(os, "fork"), reason="models are rehearsed in a fork")
@pytest.mark.parametrize(
    ("method", "number", "reason"),
    [
        ("__init__", signal.SIGABRT, r"crashes LiteRT \(SIGABRT\); it is damaged"),
        ("__call__", signal.SIGSEGV, r"crashes LiteRT \(SIGSEGV\); it is damaged"),
    ],
)
def test_model_that_ends_the_runtime_does_not_end_us(
    colour_model: Path, monkeypatch: Any, method: str, number: signal.Signals, reason: str
) -> None:
    monkeypatch.setattr(LiteRTModel, method, elsewhere(lambda: os.kill(os.getpid(), number)))
    with pytest.raises(UserError, match=reason):
        load_classifier(colour_model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="models are rehearsed in a fork")
@pytest.mark.parametrize("method", ["__init__", "__call__"])
def test_model_that_hangs_is_refused(colour_model: Path, monkeypatch: Any, method: str) -> None:
    monkeypatch.setattr(litert, "LOAD_SECONDS", 1)
    monkeypatch.setattr(litert, "RUN_SECONDS", 1)
    monkeypatch.setattr(LiteRTModel, method, elsewhere(lambda: time.sleep(5)))
    with pytest.raises(UserError, match="takes too long; it is damaged"):
        load_classifier(colour_model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="models are rehearsed in a fork")
def test_model_that_takes_all_memory_is_refused(colour_model: Path, monkeypatch: Any) -> None:
    def take_all(*_: object, **__: object) -> None:
        raise UserError(f"has {len(bytes(2 * litert.MAX_MEMORY))}")

    monkeypatch.setattr(litert, "MAX_MEMORY", 1 << 30)
    monkeypatch.setattr(LiteRTModel, "__init__", take_all)
    with pytest.raises(UserError, match="does not fit into memory"):
        load_classifier(colour_model)


def test_rehearsal_leaves_nothing_behind(colour_model: Path) -> None:
    with litert.probe_in_subprocess(colour_model.read_bytes()):
        pass
    with pytest.raises(KeyboardInterrupt), litert.probe_in_subprocess(colour_model.read_bytes()):
        raise KeyboardInterrupt
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_model_of_either_type_takes_pixels_of_either_type(dtype: Any) -> None:
    tf = pytest.importorskip("tensorflow")
    function = tf.function(
        lambda pixels: tf.cast(pixels[:, 0, 0], tf.float32),
        input_signature=[tf.TensorSpec((1, 2, 2, 3), dtype)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    model = LiteRTModel(converter.convert())
    pixels = np.arange(24).reshape(2, 2, 2, 3)
    for other in (np.uint8, np.float32):
        (values,) = model(pixels.astype(other))
        np.testing.assert_array_equal(values, pixels[:, 0, 0])


def test_loading_says_nothing_on_standard_error(colour_model: Path) -> None:
    code = f"from keras_flowers import load_classifier; load_classifier({str(colour_model)!r})"
    root = str(Path(keras_flowers.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        check=True,
    )
    assert process.stderr == b""


def test_warnings_of_the_runtime_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with standard_error_held_back(litert._is_no_info):
        os.write(2, b"INFO: Created a delegate.\nWARNING: something is odd\n")
    assert capfd.readouterr().err == "WARNING: something is odd\n"


def test_photo_of_another_shape_is_squashed_to_the_model(colour_model: Path) -> None:
    wide = encode(Image.new("RGB", (500, 7), COLOURS["yellow"]), "JPEG")
    assert load_classifier(colour_model).predict(wide).name == "yellow"
