"""What is exported runs in code that is not ours, and says what it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import export_fixtures
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from export_fixtures import SIZE, Exported

import tensorflow as tf  # isort: skip  # export_fixtures imports it silently

from keras_flowers.errors import UserError
from keras_flowers.export.export import export_model, measure_accuracy_change
from keras_flowers.export.formats import TFLITE_VARIANTS
from keras_flowers.export.tflite_export import CALIBRATION_PHOTOS
from keras_flowers.inference import image
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata
from keras_flowers.training import data, synthetic
from keras_flowers.training.run_directory import Run
from keras_flowers.training.synthetic import CLASSES

NAMES = [name for name, *_ in CLASSES]


@pytest.fixture(scope="module")
def saved_model(exported: Exported) -> tf.Module:
    return export_fixtures.load_saved_model(exported.run)


@pytest.fixture
def lone_model(exported: Exported, tmp_path: Path) -> Path:
    """The Keras model alone, in a folder that is no run."""
    return Path(shutil.copy(exported.run / "model.keras", tmp_path / "lone.keras"))


# SavedModel.


def test_signatures_have_names_types_and_open_sizes(saved_model: tf.Module) -> None:
    assert set(saved_model.signatures) == {"serving_default", "images"}
    for name, argument, dtype, shape in (
        ("serving_default", "image_bytes", tf.string, [None]),
        ("images", "images", tf.float32, [None, None, None, 3]),
    ):
        signature = saved_model.signatures[name]
        (spec,) = signature.structured_input_signature[1].values()
        assert (spec.name, spec.dtype, spec.shape.as_list()) == (argument, dtype, shape)
        assert {
            key: (one.dtype, one.shape[1]) for key, one in signature.structured_outputs.items()
        } == {
            "probabilities": (tf.float32, len(NAMES)),
            "classes": (tf.string, 5),
            "scores": (tf.float32, 5),
        }


def test_photo_files_of_any_kind_and_size_are_named(
    saved_model: tf.Module,
    exported: Exported,
) -> None:
    answer = saved_model.signatures["serving_default"](image_bytes=tf.constant(exported.photos))
    probabilities = answer["probabilities"].numpy()
    assert (probabilities.argmax(1) == exported.classes).mean() > 0.75
    best = np.argsort(-probabilities, axis=1)[:, :5]
    assert answer["classes"].numpy().astype(str).tolist() == [
        [NAMES[i] for i in row] for row in best
    ]
    np.testing.assert_array_equal(answer["scores"], np.take_along_axis(probabilities, best, axis=1))


def test_an_unreadable_photo_is_answered_with_nothing_and_harms_no_other(
    saved_model: tf.Module,
    exported: Exported,
) -> None:
    good = exported.photos[0]
    huge_png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + 2 * (60_000).to_bytes(4, "big") + bytes(60)
    huge_gif = b"GIF89a" + 2 * (65_535).to_bytes(2, "little") + bytes(60)
    bad = [b"", b"no photo", good[: len(good) // 2], good[:30], b"\xff\xd8\xff", b"BM", b"GIF89a"]
    files = [good, *bad, huge_png, huge_gif, good]
    answer = saved_model.signatures["serving_default"](image_bytes=tf.constant(files))
    # Of as many photos: TensorFlow adds up in another order for a single one.
    among_good = saved_model.signatures["serving_default"](
        image_bytes=tf.constant([good] * len(files))
    )
    for key in ("probabilities", "classes", "scores"):
        rows = answer[key].numpy()
        for place in (0, -1):
            np.testing.assert_array_equal(rows[place], among_good[key].numpy()[place])
        assert set(rows[1:-1].flatten()) == ({b""} if key == "classes" else {0})


def test_pixels_of_any_size_are_squashed_as_files_are(
    saved_model: tf.Module,
    exported: Exported,
) -> None:
    pixels = np.asarray(image.read_photo(exported.photos[3]))
    by_pixels = saved_model.signatures["images"](images=tf.constant(pixels[None], tf.float32))
    png = tf.io.encode_png(pixels)
    by_file = saved_model.signatures["serving_default"](image_bytes=png[None])
    np.testing.assert_allclose(by_pixels["probabilities"], by_file["probabilities"], atol=1e-6)
    assert by_pixels["classes"].numpy().tolist() == by_file["classes"].numpy().tolist()


FOREIGN_CODE = """
import sys
sys.modules["keras_flowers"] = None  # importing it is an error
import json, keras, numpy as np, tensorflow as tf
folder, photo = sys.argv[1:]
data = open(photo, "rb").read()
model = tf.saved_model.load(folder)
loaded = model.signatures["serving_default"](image_bytes=tf.constant([data, b"x"]))
pixels = keras.Input((None, None, 3))
layer = keras.layers.TFSMLayer(folder, call_endpoint="images")
outer = keras.Model(pixels, layer(pixels)["probabilities"] * 100)
percent = outer.predict(tf.io.decode_jpeg(data)[None].numpy().astype("float32"), verbose=0)
print(json.dumps({
    "class": loaded["classes"].numpy()[0, 0].decode(),
    "unreadable": loaded["classes"].numpy()[1, 0].decode(),
    "probabilities": loaded["probabilities"].numpy()[0].tolist(),
    "percent": percent[0].tolist(),
}))
"""


def test_savedmodel_runs_in_tensorflow_without_our_code(
    exported: Exported,
    tmp_path: Path,
) -> None:
    folder = exported.run / "saved_model" / "1"
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(exported.photos[0])
    np.save(tmp_path / "photos.npy", np.array([exported.photos[0]]))
    command_line = ["-m", "tensorflow.python.tools.saved_model_cli", "run"]
    command_line += ["--dir", str(folder), "--tag_set", "serve", "--signature_def"]
    command_line += ["serving_default", "--inputs", f"image_bytes={tmp_path / 'photos.npy'}"]
    environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    # Both start TensorFlow, which takes seconds: at the same time.
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (
            ["-c", FOREIGN_CODE, str(folder), str(photo)],
            [*command_line, "--outdir", str(tmp_path)],
        )
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    answer = json.loads(outputs[0][0].splitlines()[-1])
    expected = load_classifier(folder).probabilities(exported.pixels[:1])[0]
    assert answer["class"] == NAMES[expected.argmax()]
    assert answer["unreadable"] == ""
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    # As pixels, whole, whereas the file is shrunk while decoding.
    np.testing.assert_allclose(answer["percent"], 100 * expected, atol=10)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy")[0], expected, atol=1e-5)
    names = np.load(tmp_path / "classes.npy", allow_pickle=True)
    assert names[0, 0].decode() == answer["class"]


def test_exporting_again_replaces_the_version(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "saved_model" / "1").mkdir(parents=True)
    (tmp_path / "saved_model" / "1" / "old").touch()
    files = export_model(exported.run, ["saved_model"], output=tmp_path)
    path = files["saved_model"]
    assert path == tmp_path / "saved_model" / "1"
    assert sorted(one.name for one in path.iterdir()) == [
        "assets",
        "assets.extra",
        "fingerprint.pb",
        "saved_model.pb",
        "variables",
    ]
    assert [one.name for one in (tmp_path / "saved_model").iterdir()] == ["1"]


# TFLite.


@pytest.mark.parametrize("variant", TFLITE_VARIANTS)
def test_tflite_has_builtin_operations_only(exported: Exported, variant: str) -> None:
    content = (exported.run / f"run_{variant}.tflite").read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
    assert codes
    assert {code.CustomCode() for code in codes} == {None}


def test_int8_is_integer_from_pixels_to_probabilities(exported: Exported) -> None:
    interpreter = Interpreter(str(exported.run / "run_int8.tflite"))
    interpreter.allocate_tensors()
    (pixels,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (pixels["dtype"], answer["dtype"]) == (np.uint8, np.uint8)
    # Pixels go in as they are; probabilities come out in steps of 1/256.
    assert pixels["quantization"] == (1.0, 0)
    assert answer["quantization"] == (pytest.approx(1 / 256), 0)
    types = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert types <= {np.uint8, np.int8, np.int32}


@pytest.mark.parametrize("variant", TFLITE_VARIANTS)
def test_tflite_takes_any_batch(exported: Exported, variant: str) -> None:
    path = exported.run / f"run_{variant}.tflite"
    interpreter = Interpreter(str(path))
    (pixels,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert pixels["shape"].tolist() == [1, SIZE, SIZE, 3]
    assert pixels["shape_signature"].tolist() == [-1, SIZE, SIZE, 3]
    interpreter.resize_tensor_input(pixels["index"], (7, SIZE, SIZE, 3))
    interpreter.allocate_tensors()
    interpreter.set_tensor(pixels["index"], exported.pixels[:7].astype(pixels["dtype"]))
    interpreter.invoke()
    together = interpreter.get_tensor(answer["index"]) * (answer["quantization"][0] or 1)
    np.testing.assert_allclose(
        together, load_classifier(path).probabilities(exported.pixels[:7]), atol=0.01
    )


def test_float16_and_int8_are_smaller(exported: Exported) -> None:
    def weights(variant: str) -> int:
        content = (exported.run / f"run_{variant}.tflite").read_bytes()
        model = schema.Model.GetRootAs(content, 0)
        buffers = (model.Buffers(number) for number in range(model.BuffersLength()))
        return sum(one.DataLength() for one in buffers)

    assert weights("float16") < 0.75 * weights("float32")
    assert weights("int8") < weights("float16")


def test_every_file_says_where_it_comes_from(exported: Exported) -> None:
    trained = read_metadata(exported.run / "model.keras")
    for variant, path in (
        ("SavedModel", exported.run / "saved_model" / "1"),
        *((f"TFLite {one}", exported.run / f"run_{one}.tflite") for one in TFLITE_VARIANTS),
    ):
        found = read_metadata(path)
        assert (found.labels, found.image_size) == (trained.labels, trained.image_size)
        facts = {key: found.provenance[key] for key in ("variant", *trained.provenance)}
        assert facts == {**trained.provenance, "variant": variant}


def test_same_model_gives_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    again = export_model(exported.run, ["float16"], output=tmp_path)
    first = exported.run / "run_float16.tflite"
    assert again["float16"].name == first.name
    assert again["float16"].read_bytes() == first.read_bytes()


def test_int8_is_calibrated_on_the_photos_it_was_trained_on(exported: Exported) -> None:
    assert read_metadata(exported.run / "run_int8.tflite").provenance["calibrated_on"] == {
        "dataset": "drawn_flowers/1.0.0",
        "split": "train",
        "photos": 160,  # all: fewer than it would take
    }
    assert CALIBRATION_PHOTOS > 160


def test_what_int8_changes_is_measured_on_the_validation_photos(exported: Exported) -> None:
    path = exported.run / "run_int8.tflite"
    change = measure_accuracy_change(exported.run, path)
    assert (change.source, change.photos) == ("drawn_flowers/1.0.0, split validation", 80)
    assert str(change._replace(file=60, keras=64)) == (
        "75.00% accuracy on the 80 photos of drawn_flowers/1.0.0, split validation; "
        "the Keras model: 80.00%, a change of -5.00 points"
    )
    photos = data.load_photos(synthetic.DATASET, "validation", str(exported.run.parent / "drawn"))
    pixels, classes = export_fixtures.read(photos)
    for model, correct in ((path, change.file), (exported.run / "model.keras", change.keras)):
        answers = load_classifier(model).probabilities(pixels)
        assert (answers.argmax(1) == classes).sum() == correct


# What cannot be done.


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "x.keras", tmp_path / "x.tflite"):
        with pytest.raises(UserError, match="expected a .keras model or the folder of a finished"):
            Run.open(path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    add_to_archive(path, Metadata(("a", "b"), (8, 8)))
    with pytest.raises(UserError, match="Keras cannot load .*broken.keras"):
        Run.open(path).load_model()


def with_metadata(model: Path, metadata: Metadata, path: Path) -> Path:
    """The same Keras model with other metadata."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, source.read(name))
    add_to_archive(path, metadata)
    return path


def test_a_model_of_other_labels_is_refused(lone_model: Path, tmp_path: Path) -> None:
    metadata = Metadata(("a", "b"), (SIZE, SIZE))
    path = with_metadata(lone_model, metadata, tmp_path / "other.keras")
    with pytest.raises(UserError, match=r"gives \(None, 8\), its metadata promises .*\(None, 2\)"):
        Run.open(path).load_model()


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [
        ({}, "does not say what it was trained on"),
        (
            {"dataset": "no_such_flowers/1.0.0", "trained_on": {"split": "train"}},
            "no data set 'no_such_flowers:1.0.0'",
        ),
    ],
)
def test_int8_without_its_training_photos_is_refused(
    lone_model: Path, tmp_path: Path, provenance: dict[str, object], reason: str
) -> None:
    metadata = Metadata(tuple(NAMES), (SIZE, SIZE), provenance)
    path = with_metadata(lone_model, metadata, tmp_path / "other.keras")
    with pytest.raises(UserError, match=reason):
        export_model(path, ["int8"], output=tmp_path)
    assert not list(tmp_path.glob("*.tflite"))


def test_an_unknown_format_is_refused(lone_model: Path) -> None:
    with pytest.raises(UserError, match="'int4' is not a format; expected some of saved_model, fl"):
        export_model(lone_model, ["float32", "int4"])
    assert [path.name for path in lone_model.parent.iterdir()] == ["lone.keras"]
