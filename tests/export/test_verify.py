"""The gate lets a good export through and no spoiled one."""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import pytest
from export_fixtures import Exported
from PIL import Image, ImageCms

from keras_flowers.errors import UserError
from keras_flowers.export import artifacts, tflite_metadata
from keras_flowers.export.export import export_model
from keras_flowers.export.formats import FORMATS, TFLITE_VARIANTS
from keras_flowers.export.report import Report
from keras_flowers.export.verify import verify_model
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata
from keras_flowers.training import synthetic, tflite
from keras_flowers.training.model import OUTPUT
from keras_flowers.training.run_directory import Run

PHOTOS = 24


@pytest.fixture(scope="module")
def report(exported: Exported) -> Report:
    return verify_model(exported.run, limit=PHOTOS)


@pytest.fixture
def bare(exported: Exported, tmp_path: Path) -> Path:
    """A run from which nothing was exported."""
    run = tmp_path / "bare"
    run.mkdir()
    for name in ("model.keras", "config.json"):
        shutil.copy(exported.run / name, run)
    return run


Spoil = Callable[[keras.Model, Metadata], tuple[keras.Model, Metadata]]


def as_it_is(model: keras.Model, metadata: Metadata) -> tuple[keras.Model, Metadata]:
    return model, metadata


def shifted_labels(model: keras.Model, metadata: Metadata) -> tuple[keras.Model, Metadata]:
    labels = (*metadata.labels[1:], metadata.labels[0])
    return model, dataclasses.replace(metadata, labels=labels)


def other_scaling(model: keras.Model, metadata: Metadata) -> tuple[keras.Model, Metadata]:
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, model(pixels / 255)), metadata


def exchanged_colours(model: keras.Model, metadata: Metadata) -> tuple[keras.Model, Metadata]:
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, model(keras.ops.flip(pixels, axis=-1))), metadata


def not_a_number(model: keras.Model, metadata: Metadata) -> tuple[keras.Model, Metadata]:
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, model(pixels) * float("nan")), metadata


def test_good_export_passes(report: Report, exported: Exported) -> None:
    assert report.broken == []
    assert (report.source, report.photos) == ("drawn_flowers/1.0.0, split test", PHOTOS)
    rows = {row.name: row for row in report.rows}
    ours = [
        "SavedModel images",
        "SavedModel image_bytes",
        *(f"TFLite {v}" for v in TFLITE_VARIANTS),
    ]
    assert [name for name in rows if not name.startswith("MediaPipe")] == ["Keras", *ours]
    for name in ours:
        row = rows[name]
        compared = row.own_reading or row.same_pixels
        assert compared is not None
        assert compared.photos == PHOTOS
        assert compared.mean <= compared.largest <= 1
        assert row.labelled == PHOTOS
        assert row.correct > 0.75 * PHOTOS or name == "TFLite int8"
        assert row.change == row.correct - rows["Keras"].correct
        assert row.milliseconds > 0
    # The bytes take their own way, and Pillow's pixels are TensorFlow's, give or take one.
    assert rows["SavedModel image_bytes"].same_pixels is None
    assert rows["SavedModel images"].same_pixels.largest < 1e-3
    assert rows["TFLite float32"].same_pixels.largest < 1e-3
    assert rows["TFLite float32"].own_reading.largest < 0.02
    assert rows["TFLite float16"].bytes == (exported.run / "run_float16.tflite").stat().st_size


def test_mediapipe_finds_our_names(report: Report) -> None:
    pytest.importorskip("mediapipe")
    rows = [row for row in report.rows if row.name.startswith("MediaPipe")]
    assert [row.name for row in rows] == [f"MediaPipe {variant}" for variant in TFLITE_VARIANTS]
    for row in rows:
        assert row.own_reading.differing <= 0.1 * PHOTOS


@functools.cache
def convert(model_path: Path, spoil: Spoil) -> tuple[bytes, Metadata]:
    run = Run.open(model_path)
    model, metadata = spoil(run.load_model(), run.metadata)
    return tflite.convert(model, batch_size=None), metadata


def write_tflite(run: Path, variant: str, spoil: Spoil) -> None:
    """Puts a TFLite file, spoiled in a way, into a run."""
    content, metadata = convert(run / "model.keras", spoil)
    metadata = dataclasses.replace(metadata, provenance={"variant": f"TFLite {variant}"})
    path = run / f"{spoil.__name__}_{variant}.tflite"
    tflite_metadata.write(path, content, metadata, name="spoiled", description="spoiled")


@pytest.fixture(scope="module")
def spoiled_report(
    exported: Exported,
    tmp_path_factory: pytest.TempPathFactory,
) -> Report:
    """Of a run whose Keras model was trained anew, beside exports that do not fit it."""
    run = tmp_path_factory.mktemp("spoiled")
    trained = Run.open(exported.run)
    model, metadata = trained.load_model(), trained.metadata
    head = model.get_layer(OUTPUT)
    head.set_weights([weights[..., ::-1] for weights in head.get_weights()])
    model.save(run / "model.keras")
    add_to_archive(run / "model.keras", metadata)
    shutil.copy(exported.run / "config.json", run)
    shutil.copytree(exported.run / "saved_model", run / "saved_model")
    for variant in TFLITE_VARIANTS:
        for spoil in (as_it_is, *SPOILS):
            write_tflite(run, variant, spoil)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "has_mediapipe", lambda: False)
        return verify_model(run, limit=10)


SPOILS = (shifted_labels, other_scaling, exchanged_colours, not_a_number)


@pytest.mark.parametrize("variant", TFLITE_VARIANTS)
@pytest.mark.parametrize("spoil", SPOILS)
def test_spoiled_tflite_does_not_pass(spoiled_report: Report, variant: str, spoil: Spoil) -> None:
    name = f"TFLite {spoil.__name__}_{variant}.tflite names "
    assert [sentence for sentence in spoiled_report.broken if sentence.startswith(name)]


def test_savedmodel_from_before_the_training_does_not_pass(spoiled_report: Report) -> None:
    begins = [" ".join(sentence.split()[:3]) for sentence in spoiled_report.broken]
    assert "SavedModel images differs" in begins
    assert "SavedModel image_bytes names" in begins


def test_what_was_not_spoiled_passes_beside_it(spoiled_report: Report) -> None:
    assert not [sentence for sentence in spoiled_report.broken if "as_it_is" in sentence]
    assert spoiled_report.notes[-1] == (
        "MediaPipe is not installed: the TFLite files were not checked with it."
    )
    assert "all versions agree" not in str(spoiled_report)


def test_names_in_the_answers_must_be_those_of_the_labels(
    exported: Exported,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(exported.run / "saved_model" / "1", tmp_path / "1"))
    labels = folder / "assets.extra" / "labels.txt"
    names = labels.read_text().splitlines()
    labels.write_text("\n".join(reversed(names)))
    *_, by_files = artifacts.load_saved_model(folder, "SavedModel", names, FORMATS[0].limits)
    pixels = exported.pixels[:1]
    batch = artifacts.Batch(exported.photos[:1], pixels, pixels, [0], [True])
    with pytest.raises(UserError, match="calls class . '.*' in its answers and '.*' in its labels"):
        by_files.answer(batch)


def test_a_folder_of_photos_may_be_labelled_and_may_hold_broken_ones(
    exported: Exported,
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    labels = read_metadata(bare / "model.keras").labels
    folder = tmp_path / "photos"
    for number in range(4):
        place = folder / labels[exported.classes[number]] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(exported.photos[number])
    (folder / "nobody knows.jpg").write_bytes(exported.photos[5])
    (folder / "broken.jpg").write_bytes(exported.photos[5][:400])
    Image.new("RGB", (30, 30)).save(folder / "black.webp")
    write_tflite(bare, "float32", as_it_is)
    report = verify_model(bare, folder)
    assert report.photos == 6
    assert [row.labelled for row in report.rows] == [4, 4]
    assert "broken.jpg" in report.notes[0]
    assert report.broken == []
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="holds no photos; expected a folder of photos"):
        verify_model(bare, folder)


def test_a_folder_that_does_not_exist_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder; expected a folder of photos"):
        verify_model(exported.run, tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere is not a folder; expected the folder of a run"):
        verify_model(tmp_path / "nowhere")


def test_a_run_without_exports_is_refused(bare: Path) -> None:
    with pytest.raises(UserError) as refusal:
        verify_model(bare, limit=1)
    assert str(refusal.value) == (
        f"{bare} holds model.keras and nothing to compare it with; "
        f"export the model first: keras-flowers export {bare}"
    )


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model; expected the folder of a run that keras-"):
        verify_model(tmp_path)


# What ships has no Keras model.


@pytest.fixture
def shipped(exported: Exported, tmp_path: Path) -> Path:
    """A run without its Keras model, and without the data set being named in its settings."""
    run = tmp_path / "shipped"
    run.mkdir()
    for path in (exported.run / "config.json", *exported.run.glob("*.tflite")):
        shutil.copy(path, run)
    shutil.copytree(exported.run / "saved_model", run / "saved_model")
    return run


def test_all_that_is_there_is_compared_with_the_best_of_it(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    report = verify_model(shipped, limit=PHOTOS)
    assert report.broken == []
    assert report.reference == f"SavedModel ({Path('saved_model', '1')})"
    assert [(row.name, row.reference) for row in report.rows] == [
        ("SavedModel images", None),
        ("SavedModel image_bytes", None),
        ("TFLite float32", "SavedModel"),
        ("TFLite float16", "SavedModel"),
        ("TFLite int8", "SavedModel"),
    ]
    float32 = report.rows[2]
    # On pixels the signature `images` is the reference, on files the signature `image_bytes`.
    assert float32.same_pixels.largest < 1e-3
    assert 0 < float32.own_reading.largest < 0.05
    shutil.rmtree(shipped / "saved_model")
    for best, others in (("float32", ["float16", "int8"]), ("float16", ["int8"])):
        report = verify_model(shipped, limit=PHOTOS)
        assert report.reference.startswith(f"TFLite {best} (")
        assert [row.name for row in report.rows if row.reference is None] == [f"TFLite {best}"]
        assert [row.name for row in report.rows if row.reference == f"TFLite {best}"] == [
            f"TFLite {one}" for one in others
        ]
        (shipped / f"run_{best}.tflite").unlink()
    with pytest.raises(UserError, match="holds run_int8.tflite and nothing to compare it with"):
        verify_model(shipped, limit=1)


def test_a_fault_is_found_without_the_keras_model(
    exported: Exported, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    content, metadata = convert(exported.run / "model.keras", exchanged_colours)
    metadata = dataclasses.replace(metadata, provenance={"variant": "TFLite float32"})
    path = shipped / "run_float32.tflite"
    tflite_metadata.write(path, content, metadata, name="spoiled", description="spoiled")
    report = verify_model(shipped, limit=PHOTOS)
    by_pixels, by_files = report.broken
    assert by_pixels.startswith("TFLite float32 differs from SavedModel on the same pixels by up")
    assert "photos otherwise than SavedModel does; at most 1 are allowed" in by_files


def test_labelled_photos_of_another_source_are_shown(
    exported: Exported, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    labels = read_metadata(shipped / "run_float32.tflite").labels
    folder = tmp_path / "source"
    for number in range(16):
        place = folder / labels[exported.classes[number]] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(exported.photos[number])
    report = verify_model(shipped, sources=[str(folder)])
    assert (report.photos, report.broken) == (16, [])
    assert {row.labelled for row in report.rows} == {16}


# Other photos than upright JPEGs.


def test_bad_photos_in_the_data_set_end_neither_calibration_nor_verification(
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    draw = synthetic.DrawnFlowers._generate_examples

    def spoiled(self: synthetic.DrawnFlowers, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, example in draw(self, split):
            bad = {3: example["image"][:2000], 5: b"<html>not found</html>"}
            yield index, {**example, "image": bad.get(index, example["image"])}

    monkeypatch.setattr(synthetic.DrawnFlowers, "_generate_examples", spoiled)
    data_dir = str(tmp_path / "spoiled")
    synthetic.DrawnFlowers(data_dir=data_dir).download_and_prepare()
    export_model(bare, ["float32", "int8"], data_dir=data_dir)
    assert read_metadata(bare / "bare_int8.tflite").provenance["calibrated_on"] == {
        "dataset": "drawn_flowers/1.0.0",
        "split": "train",
        "photos": 158,
    }
    report = verify_model(bare, data_dir=data_dir)
    assert report.photos == 78
    assert not [one for one in report.broken if "float32" in one]
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert [warning.split(" cannot be read")[0] for warning in warnings] == [
        f"2 of {count} photos of drawn_flowers/1.0.0 {split}"
        for count, split in ((160, "train"), (80, "test"))
    ]


def test_photos_that_tensorflow_reads_otherwise_do_not_count_for_its_graph(
    exported: Exported, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    folder = tmp_path / "photos" / read_metadata(shipped / "run_float32.tflite").labels[0]
    folder.mkdir(parents=True)
    pictures = [Image.open(BytesIO(content)) for content in exported.photos[:4]]
    pictures[0].save(folder / "0.tif")
    # Red and green are exchanged by the profile, which Pillow applies and TensorFlow does not see.
    pictures[1].save(folder / "1.png", icc_profile=profile_with_red_and_green_exchanged())
    pictures[2].save(folder / "2.png")
    pictures[3].save(folder / "3.jpg", quality=95)
    for best in ("SavedModel", "Keras"):
        report = verify_model(shipped, folder.parent)
        assert report.reference.startswith(f"{best} (")
        assert (report.photos, report.broken) == (4, [])
        compared = {row.name: row.own_reading for row in report.rows}
        labelled = {row.name: row.labelled for row in report.rows}
        by_keras = best == "Keras"
        assert compared["TFLite float32"].photos == labelled["TFLite float32"] == 2 + 2 * by_keras
        assert labelled["SavedModel image_bytes"] == 2
        assert labelled["SavedModel images"] == 4
        assert "2 of the photos do not count for SavedModel image_bytes" in report.notes[0]
        shutil.copy(exported.run / "model.keras", shipped)


def profile_with_red_and_green_exchanged() -> bytes:
    """An ICC profile: that of sRGB, but for the names of its two columns."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content.replace(b"rXYZ", b"xXYZ").replace(b"gXYZ", b"rXYZ").replace(b"xXYZ", b"gXYZ")
