"""TFLite models of other tools get the pixels that they were trained on, or are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from bad_photos import encode
from conftest import COLOUR_IMAGE_SIZE
from PIL import Image

from keras_flowers.commands import predict
from keras_flowers.errors import UserError
from keras_flowers.export import tflite_metadata
from keras_flowers.inference import scaling
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.scaling import (
    AROUND_ZERO,
    AS_THEY_ARE,
    TO_ONE,
    Scaling,
    read_standard_metadata,
    scaling_of,
    scaling_of_range,
)

LABELS = ("daisy", "iris", "rose")
NORMALISATIONS = {"-1..1": (127.5, 127.5), "0..1": (0.0, 255.0), "0..255": (0.0, 1.0)}


def converted(mean: float, std: float, *, dtype: str = "float32") -> bytes:
    """A TFLite model that wants (pixel - mean) / std, as the converter writes it.

    It tells how red, green and blue a picture is; wrongly scaled pixels give other answers.
    """
    tf = pytest.importorskip("tensorflow")
    import keras

    from keras_flowers.training import tflite

    keras.utils.set_random_seed(3)
    inputs = keras.Input((*COLOUR_IMAGE_SIZE, 3), name="pixels")
    # What undoes the scaling, so that all of these models are one function of the pixels.
    pixels = keras.layers.Rescaling(std, offset=mean)(inputs)
    head = keras.layers.Dense(3, activation="softmax")
    answer = head(keras.layers.GlobalAveragePooling2D()(pixels))
    head.set_weights([0.02 * np.eye(3, dtype=np.float32), np.array([0.9, 0.0, -0.7], np.float32)])
    converter = tflite.converter_for(keras.Model(inputs, answer))
    if dtype != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        noise = np.random.default_rng(0).uniform(0, 255, (40, 1, *COLOUR_IMAGE_SIZE, 3))
        noise[0], noise[1] = 0, 255
        scaled = ((noise - mean) / std).astype(np.float32)
        converter.representative_dataset = lambda: ([one] for one in scaled)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, dtype)
    return bytes(tflite.run_quietly(converter))


def described(
    path: Path, content: bytes, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Path:
    """Writes a model as another tool does: with standard metadata and a label file of its own."""
    image: Any = {0: np.uint8(1)}
    pixels: Any = {0: "image", 3: {0: np.uint8(2), 1: image}}
    if mean is not None and std is not None:
        pixels[4] = [{0: np.uint8(1), 1: {0: list(mean), 1: list(std)}}]
    labels: Any = {0: "dict.txt", 1: "the classes", 2: np.uint8(2)}
    score: Any = {0: "score", 3: {0: np.uint8(1), 1: {}}, 6: [labels]}
    tables = tflite_metadata._flatbuffer({0: "theirs", 3: [{2: [pixels], 3: [score]}], 7: "1.0.0"})
    path.write_bytes(tflite_metadata._with_entry(content, tables))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("dict.txt", "".join(f"{label}\n" for label in LABELS))
    return path


def photos() -> list[Image.Image]:
    height, width = COLOUR_IMAGE_SIZE
    colours = [(200, 30, 60), (20, 220, 90), (90, 40, 250), (128, 128, 128), (0, 0, 0)]
    return [Image.new("RGB", (width, height), colour) for colour in colours]


def expected(photo: Image.Image) -> Any:
    logits = 0.02 * np.asarray(photo, np.float64).mean((0, 1)) + [0.9, 0.0, -0.7]
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_float_model_gets_its_pixels_as_its_metadata_say(kind: str, tmp_path: Path) -> None:
    mean, std = NORMALISATIONS[kind]
    path = described(tmp_path / "theirs.tflite", converted(mean, std), [mean], [std])
    classifier = load_classifier(path)
    assert classifier.labels == LABELS
    for photo in photos():
        probabilities = classifier.predict(photo).probabilities
        np.testing.assert_allclose(probabilities, expected(photo), atol=1e-5)


def test_mean_and_std_of_each_channel_are_applied(tmp_path: Path) -> None:
    content = converted(0.0, 1.0)
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]
    path = described(tmp_path / "theirs.tflite", content, mean, std)
    pixels = np.full((1, *COLOUR_IMAGE_SIZE, 3), (50, 100, 190), np.uint8)
    (theirs,) = load_classifier(path).predict_pixels(pixels)
    plain = load_classifier(described(tmp_path / "plain.tflite", content, [0.0], [1.0]))
    (by_hand,) = plain.predict_pixels(np.full_like(pixels, (20, 20, 20)))
    np.testing.assert_allclose(theirs.probabilities, by_hand.probabilities, atol=1e-6)


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_mediapipe_and_we_read_the_same_file_alike(kind: str, tmp_path: Path) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    mean, std = NORMALISATIONS[kind]
    path = described(tmp_path / "theirs.tflite", converted(mean, std), [mean], [std])
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)))
    ours = load_classifier(path)
    with vision.ImageClassifier.create_from_options(options) as theirs:
        for photo in photos():
            image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.asarray(photo))
            (answer,) = theirs.classify(image).classifications
            given = {one.category_name: one.score for one in answer.categories}
            for name, probability in ours.predict(photo).top(3):
                assert given[name] == pytest.approx(probability, abs=1e-4)


def test_float_model_that_does_not_say_is_refused_until_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = described(tmp_path / "theirs.tflite", converted(127.5, 127.5), None, None)
    with pytest.raises(UserError, match=r"does not say how it wants its pixels .* --scale MEAN"):
        load_classifier(path)
    classifier = load_classifier(path, scale=(127.5, 127.5))
    for photo in photos():
        np.testing.assert_allclose(
            classifier.predict(photo).probabilities, expected(photo), atol=1e-5
        )
    (tmp_path / "green.png").write_bytes(encode(photos()[1], "PNG"))
    arguments = [str(tmp_path / "green.png"), "--model", str(path), "--no_chart"]
    assert predict.main([*arguments, "--scale", "127.5", "127.5"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("green.png: iris")
    assert predict.main([*arguments, "--scale", "127.5,127.5,127.5", "127.5"]) == 0


@pytest.mark.parametrize("kind", NORMALISATIONS)
@pytest.mark.parametrize("said", [True, False])
def test_int8_input_is_quantised_with_the_tensors_own_scale(
    kind: str, said: bool, tmp_path: Path
) -> None:
    mean, std = NORMALISATIONS[kind]
    content = converted(mean, std, dtype="int8")
    path = tmp_path / "theirs.tflite"
    described(path, content, [mean] if said else None, [std] if said else None)
    classifier = load_classifier(path)
    for photo in photos():
        np.testing.assert_allclose(
            classifier.predict(photo).probabilities, expected(photo), atol=0.02
        )


def test_int8_input_of_an_unusual_range_is_refused_until_it_is_said(tmp_path: Path) -> None:
    content = converted(100.0, 60.0, dtype="int8")
    path = described(tmp_path / "theirs.tflite", content, None, None)
    with pytest.raises(UserError, match="does not say how it wants its pixels"):
        load_classifier(path)
    classifier = load_classifier(path, scale=(100.0, 60.0))
    for photo in photos():
        np.testing.assert_allclose(
            classifier.predict(photo).probabilities, expected(photo), atol=0.02
        )


def test_uint8_input_gets_the_pixels_as_they_are(tmp_path: Path) -> None:
    content = converted(127.5, 127.5, dtype="uint8")
    classifier = load_classifier(described(tmp_path / "theirs.tflite", content, None, None))
    for photo in photos():
        np.testing.assert_allclose(
            classifier.predict(photo).probabilities, expected(photo), atol=0.02
        )


def test_scale_is_only_for_tflite_files(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.txt", "daisy\nrose\n")
    with pytest.raises(UserError, match="says itself how it scales pixels"):
        load_classifier(path, scale=(0, 1))


@pytest.mark.parametrize(
    "scale", [(0, 0), (0, -1), (float("nan"), 1), ((1, 2), 3), (0,), 7, ("a", 1), (0, float("inf"))]
)
def test_scale_that_is_none_is_refused(scale: Any) -> None:
    with pytest.raises(UserError, match=r"scale"):
        scaling_of(scale)


@pytest.mark.parametrize(
    ("lowest", "highest", "found"),
    [
        (0.0, 255.0, AS_THEY_ARE),
        (0.0, 1.0, TO_ONE),
        (-1.0, 1.0, AROUND_ZERO),
        (-0.95, 0.93, AROUND_ZERO),
        (-1.119, 1.119, AROUND_ZERO),
        (-0.881, 0.881, AROUND_ZERO),
        (-1.121, 1.0, None),
        (-1.0, 1.121, None),
        (-0.879, 1.0, None),
        (0.059, 0.941, TO_ONE),
        (0.061, 1.0, None),
        (0.0, 0.939, None),
        (15.2, 239.8, AS_THEY_ARE),
        (15.4, 255.0, None),
        (-2.1, 2.6, None),
        (-1.0, 0.0, None),
        (0.0, 0.5, None),
    ],
)
def test_range_of_a_quantised_input_tells_the_usual_scalings(
    lowest: float, highest: float, found: Scaling | None
) -> None:
    assert scaling_of_range(lowest, highest) == found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    path = tmp_path_factory.mktemp("sound") / "theirs.tflite"
    yield described(path, converted(0.0, 255.0), [0.0], [255.0]).read_bytes()


def test_metadata_are_read_without_tensorflow(sound: bytes) -> None:
    found = read_standard_metadata(sound)
    assert found.scaling == TO_ONE
    assert found.label_file == "dict.txt"


def test_damaged_metadata_are_read_or_refused_in_one_line(sound: bytes) -> None:
    start = sound.index(b"M001") - 4
    choose = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(sound)
        place = start + int(choose.integers(0, 300))
        damaged[place] = int(choose.integers(0, 256))
        try:
            read_standard_metadata(bytes(damaged))
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20


def test_options_of_other_numbers_are_refused(tmp_path: Path) -> None:
    content = converted(0.0, 255.0)
    for mean, std in (([0.0, 0.0], [1.0]), ([0.0], [0.0]), ([0.0], [1.0, 2.0])):
        path = described(tmp_path / "x.tflite", content, mean, std)
        with pytest.raises(UserError, match="^pixels cannot be scaled with the mean"):
            read_standard_metadata(path.read_bytes())
    assert read_standard_metadata(content) == (None, None)


def test_table_that_is_not_there_is_named() -> None:
    empty: Any = {}
    root = scaling._root(tflite_metadata._flatbuffer(empty))
    assert scaling._tables(root, 3) == []
    assert scaling._text(root, 0) == ""
    assert scaling._vector(root, 1, np.float32).shape == (0,)
    with pytest.raises(ValueError, match="table 5 is not there"):
        scaling._table(root, 5)


def test_vector_that_claims_more_than_the_file_holds_is_refused() -> None:
    builder = flatbuffers.Builder()
    builder.StartVector(4, 0, 4)
    vector = builder.EndVector()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(scaling._MODEL_METADATA, vector, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    content = bytearray(builder.Output())
    assert read_standard_metadata(bytes(content)).scaling is None
    content[-4:] = b"\xff\xff\xff\x7f"  # the length of the vector
    with pytest.raises(UserError, match="more than the file can hold"):
        read_standard_metadata(bytes(content))


@pytest.mark.parametrize("scale", [7, (1,), (1, 2, 3), ("a", 1), None])
def test_scale_of_another_form_is_answered_with_an_example(scale: Any) -> None:
    with pytest.raises(UserError, match=r"^scale is .*; expected \(mean, std\), as \(127.5, 127.5"):
        scaling_of(scale)
