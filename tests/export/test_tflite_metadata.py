"""A `.tflite` file says what it is to code that is not ours."""

from __future__ import annotations

import zipfile
from pathlib import Path

import export_fixtures
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from export_fixtures import Exported

from keras_flowers.export import tflite_metadata
from keras_flowers.export.formats import TFLITE_VARIANTS
from keras_flowers.export.provenance import describe
from keras_flowers.inference.flowers import FLOWER_NAMES, flower_named
from keras_flowers.inference.metadata import Metadata, read_metadata

CLASSES = 8


@pytest.fixture
def float32(exported: Exported) -> Path:
    return exported.run / "run_float32.tflite"


@pytest.fixture
def flowers(float32: Path, tmp_path: Path) -> Path:
    """The same network with names of real flowers."""
    path = tmp_path / "flowers.tflite"
    size = (export_fixtures.SIZE, export_fixtures.SIZE)
    tflite_metadata.write(
        path,
        float32.read_bytes(),
        Metadata(FLOWER_NAMES[:CLASSES], size),
        name="flowers",
        description="names flowers",
    )
    return path


def entry(path: Path) -> bytes:
    """The metadata entry of a model, found as a reader of the FlatBuffer finds it."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    (found,) = [one for one in entries if one.Name() == b"TFLITE_METADATA"]
    return bytes(model.Buffers(found.Buffer()).DataAsNumpy())


def test_tables_are_read_by_the_schema_that_mediapipe_ships(exported: Exported) -> None:
    # Its module imports TensorFlow, hence not what the package itself uses.
    generated = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    for variant in TFLITE_VARIANTS:
        path = exported.run / f"run_{variant}.tflite"
        content = entry(path)
        assert generated.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
        model = generated.ModelMetadataT.InitFromPackedBuf(content)
        assert model.name == f"run {variant}".encode()
        assert model.version == b"keras_flowers 0"
        assert model.license == b"Apache-2.0"
        assert model.minParserVersion == b"1.0.0"
        (graph,) = model.subgraphMetadata
        (pixels,), (probabilities,) = graph.inputTensorMetadata, graph.outputTensorMetadata
        assert pixels.name == b"pixels"
        image = pixels.content.contentProperties
        assert image.colorSpace == generated.ColorSpaceType.RGB
        assert (image.defaultSize.width, image.defaultSize.height) == (64, 64)
        (unit,) = pixels.processUnits
        assert (list(unit.options.mean), list(unit.options.std)) == ([0], [1])
        assert (list(pixels.stats.min), list(pixels.stats.max)) == ([0], [255])
        assert b"probability of each class" in probabilities.description
        (labels,) = probabilities.associatedFiles
        assert labels.name == b"labels.txt"
        assert labels.type == generated.AssociatedFileType.TENSOR_AXIS_LABELS
        assert labels.locale == b"en"


def test_description_says_what_the_model_is_and_how_good(exported: Exported) -> None:
    metadata = read_metadata(exported.run / "run_int8.tflite")
    text = describe(metadata)
    for part in ("base.keras", "160 photos", "drawn_flowers/1.0.0", "90.0%", "64 x 64", "int8"):
        assert part in text
    assert text.encode() in entry(exported.run / "run_int8.tflite")


def test_real_flowers_get_their_scientific_names_as_labels_in_latin(flowers: Path) -> None:
    with zipfile.ZipFile(flowers) as archive:
        # Uncompressed: MediaPipe and ML Kit read nothing else.
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        latin = archive.read("labels_la.txt").decode().splitlines()
        assert archive.read("labels.txt").decode().splitlines() == list(FLOWER_NAMES[:CLASSES])
    expected = [flower_named(name) for name in FLOWER_NAMES[:CLASSES]]
    assert latin == [flower.scientific_name for flower in expected if flower is not None]
    assert read_metadata(flowers).labels == FLOWER_NAMES[:CLASSES]


def test_invented_names_get_no_latin(exported: Exported) -> None:
    with zipfile.ZipFile(exported.run / "run_float32.tflite") as archive:
        assert archive.namelist() == ["labels.txt", "keras_flowers.json"]


def test_mediapipe_shows_both_names(flowers: Path, exported: Exported) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    for locale, name in (
        (None, lambda index: FLOWER_NAMES[index]),
        ("la", lambda index: flower_named(FLOWER_NAMES[index]).scientific_name),
    ):
        options = vision.ImageClassifierOptions(
            BaseOptions(model_asset_path=str(flowers)), display_names_locale=locale
        )
        with vision.ImageClassifier.create_from_options(options) as classifier:
            photo = mediapipe.Image(mediapipe.ImageFormat.SRGB, exported.pixels[0])
            categories = classifier.classify(photo).classifications[0].categories
        assert len(categories) == CLASSES
        for category in categories:
            assert category.category_name == FLOWER_NAMES[category.index]
            assert category.display_name == name(category.index)


def test_weights_lie_at_multiples_of_16_bytes(float32: Path) -> None:
    content = float32.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
    places = [
        one._tab.Vector(one._tab.Offset(4))
        for one in buffers
        if not one.DataIsNone() and one.DataLength()
    ]
    assert len(places) > 10
    assert {place % 16 for place in places} == {0}


def test_inputs_and_outputs_have_names(float32: Path) -> None:
    interpreter = Interpreter(model_path=str(float32))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["pixels"], "outputs": ["probabilities"]}
    }
    run = interpreter.get_signature_runner()
    answer = run(pixels=np.zeros((1, 64, 64, 3), np.float32))["probabilities"]
    assert answer.sum() == pytest.approx(1, abs=1e-5)


def test_what_was_described_before_is_described_anew(flowers: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tflite"
    metadata = read_metadata(flowers)
    content = flowers.read_bytes()
    tflite_metadata.write(again, content, metadata, name="flowers", description="names flowers")
    assert entry(again) == entry(flowers)
    assert read_metadata(again) == metadata


def test_same_model_gives_the_same_bytes(flowers: Path, float32: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tflite"
    metadata = read_metadata(flowers)
    content = float32.read_bytes()
    tflite_metadata.write(again, content, metadata, name="flowers", description="names flowers")
    assert again.read_bytes() == flowers.read_bytes()
