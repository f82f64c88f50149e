"""The gate lets a good export through and no spoiled one."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import export_fixtures
import keras
import pytest
from export_fixtures import Exported, exported  # noqa: F401
from PIL import Image

from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.errors import UserError
from keras_flowers.export import export, tflite_metadata, verify
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata
from keras_flowers.training import run_directory, tflite
from keras_flowers.training.model import OUTPUT

PHOTOS = 24


@pytest.fixture(scope="module")
def report(exported: Exported) -> verify.Report:  # noqa: F811
    return verify.verify(exported.run, verify.photos_of_split(exported.run, limit=PHOTOS))


@pytest.fixture
def bare(exported: Exported, tmp_path: Path) -> Path:  # noqa: F811
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


def test_good_export_passes(report: verify.Report, exported: Exported) -> None:  # noqa: F811
    assert report.broken == []
    assert (report.source, report.photos) == ("drawn_flowers/1.0.0, split test", PHOTOS)
    rows = {row.name: row for row in report.rows}
    ours = [
        "SavedModel images",
        "SavedModel image_bytes",
        *(f"TFLite {v}" for v in export.VARIANTS),
    ]
    assert [name for name in rows if not name.startswith("MediaPipe")] == ["Keras", *ours]
    for name in ours:
        row = rows[name]
        compared = row.own_reading or row.same_pixels
        assert compared is not None
        assert compared.photos == PHOTOS
        assert compared.mean <= compared.largest <= 1
        assert row.labelled == PHOTOS
        assert row.right > 0.75 * PHOTOS or name == "TFLite int8"
        assert row.lost == rows["Keras"].right - row.right
        assert row.milliseconds > 0
    # The bytes take their own way, and Pillow's pixels are TensorFlow's, give or take one.
    assert rows["SavedModel image_bytes"].same_pixels is None
    assert rows["SavedModel images"].same_pixels.largest < 1e-3
    assert rows["TFLite float32"].same_pixels.largest < 1e-3
    assert rows["TFLite float32"].own_reading.largest < 0.02
    assert rows["TFLite float16"].bytes == (exported.run / "run_float16.tflite").stat().st_size


def test_mediapipe_finds_our_names(report: verify.Report) -> None:
    pytest.importorskip("mediapipe")
    rows = [row for row in report.rows if row.name.startswith("MediaPipe")]
    assert [row.name for row in rows] == [f"MediaPipe {variant}" for variant in export.VARIANTS]
    for row in rows:
        assert row.own_reading.differing <= 0.1 * PHOTOS


def test_table_shows_every_version(report: verify.Report) -> None:
    lines = str(report).splitlines()
    assert lines[0] == f"{PHOTOS} photos: drawn_flowers/1.0.0, split test"
    assert lines[-1] == "every bound holds"
    for row in report.rows:
        (line,) = [one for one in lines if one.startswith(f"{row.name} ")]
        assert f"{row.right / PHOTOS:.2%}" in line
        assert f"{row.bytes / 1e6:.1f}" in line


@functools.cache
def convert(model_path: Path, spoil: Spoil) -> tuple[bytes, Metadata]:
    model, metadata = spoil(*run_directory.load_model(model_path))
    return tflite.convert(model, batch_size=None), metadata


def write_tflite(run: Path, variant: str, spoil: Spoil) -> None:
    """Puts a TFLite file, spoiled in a way, into a run."""
    content, metadata = convert(run / "model.keras", spoil)
    metadata = dataclasses.replace(metadata, provenance={"variant": f"TFLite {variant}"})
    path = run / f"{spoil.__name__}_{variant}.tflite"
    tflite_metadata.write(path, content, metadata, name="spoiled", description="spoiled")


@pytest.fixture(scope="module")
def spoiled_report(
    exported: Exported,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> verify.Report:
    """Of a run whose Keras model was trained anew, beside exports that do not fit it."""
    run = tmp_path_factory.mktemp("spoiled")
    model, metadata = run_directory.load_model(exported.run / "model.keras")
    head = model.get_layer(OUTPUT)
    head.set_weights([weights[..., ::-1] for weights in head.get_weights()])
    model.save(run / "model.keras")
    add_to_archive(run / "model.keras", metadata)
    shutil.copy(exported.run / "config.json", run)
    shutil.copytree(exported.run / "saved_model", run / "saved_model")
    for variant in export.VARIANTS:
        for spoil in (as_it_is, *SPOILS):
            write_tflite(run, variant, spoil)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "has_mediapipe", lambda: False)
        return verify.verify(run, verify.photos_of_split(run, limit=10))


SPOILS = (shifted_labels, other_scaling, exchanged_colours, not_a_number)


@pytest.mark.parametrize("variant", export.VARIANTS)
@pytest.mark.parametrize("spoil", SPOILS)
def test_spoiled_tflite_does_not_pass(
    spoiled_report: verify.Report, variant: str, spoil: Spoil
) -> None:
    name = f"TFLite {spoil.__name__}_{variant}.tflite names "
    assert [sentence for sentence in spoiled_report.broken if sentence.startswith(name)]


def test_savedmodel_from_before_the_training_does_not_pass(spoiled_report: verify.Report) -> None:
    begins = [" ".join(sentence.split()[:3]) for sentence in spoiled_report.broken]
    assert "SavedModel images differs" in begins
    assert "SavedModel image_bytes names" in begins


def test_what_was_not_spoiled_passes_beside_it(spoiled_report: verify.Report) -> None:
    assert not [sentence for sentence in spoiled_report.broken if "as_it_is" in sentence]
    assert "MediaPipe is not installed: not checked" in spoiled_report.notes
    assert "every bound holds" not in str(spoiled_report)


def test_names_in_the_answers_must_be_those_of_the_labels(
    exported: Exported,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(exported.run / "saved_model" / "1", tmp_path / "1"))
    labels = folder / "assets.extra" / "labels.txt"
    names = labels.read_text().splitlines()
    labels.write_text("\n".join(reversed(names)))
    *_, version = verify._saved_model_versions(folder, names)
    batch = verify._Batch(exported.photos[:1], exported.pixels[:1], exported.pixels[:1], [0])
    with pytest.raises(UserError, match="calls class . '.*' in its answers and '.*' in its labels"):
        version.answer(batch)


def test_int8_must_be_small_and_right(report: verify.Report) -> None:
    row = next(row for row in report.rows if row.name == "TFLite int8")
    version = verify._Version("TFLite int8", "int8", Path(), lambda _: None, lambda _: None)
    own = dataclasses.replace(row.own_reading, photos=1020, differing=30)

    def broken(**changes: int) -> list[str]:
        changed = dataclasses.replace(row, own_reading=own, labelled=1020, **changes)
        return list(verify._broken(version, changed, "MobileNetV2"))

    assert broken(lost=5, bytes=3_000_000) == []
    assert broken(lost=6, bytes=2_000_000) == [
        "TFLite int8 names 6 of 1020 photos fewer right than Keras; at most 5 are allowed"
    ]
    assert broken(lost=-9, bytes=3_000_001) == [
        "TFLite int8 has 3,000,001 bytes; at most 3,000,000 are allowed"
    ]


def test_a_folder_of_photos_may_be_labelled_and_may_hold_broken_ones(
    exported: Exported,  # noqa: F811
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "has_mediapipe", lambda: False)
    labels = read_metadata(bare / "model.keras").labels
    folder = tmp_path / "photos"
    for number in range(4):
        place = folder / labels[exported.classes[number]] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(exported.photos[number])
    (folder / "nobody knows.jpg").write_bytes(exported.photos[5])
    (folder / "broken.jpg").write_bytes(exported.photos[5][:400])
    Image.new("RGB", (30, 30)).save(folder / "not for all.webp")
    write_tflite(bare, "float32", as_it_is)
    report = verify.verify(bare, verify.photos_of_folder(bare, folder))
    assert report.photos == 5
    assert [row.labelled for row in report.rows] == [4, 4]
    assert "broken.jpg" in report.notes[0]
    assert report.broken == []
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="holds no photos; expected .bmp, .gif"):
        verify.photos_of_folder(bare, folder)


def test_a_run_without_exports_is_refused(bare: Path) -> None:
    with pytest.raises(UserError, match="holds nothing that was exported; run tools/export_saved"):
        verify.verify(bare, verify.photos_of_split(bare, limit=1))


def test_command_line_ends_with_what_it_found(
    exported: Exported,  # noqa: F811
    report: verify.Report,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[verify.VerificationPhotos] = []

    def found(broken: list[str]) -> Callable[[Path, verify.VerificationPhotos], verify.Report]:
        answer = dataclasses.replace(report, broken=broken)
        return lambda run, photos: shown.append(photos) or answer

    main = export_fixtures.tool("verify").main
    monkeypatch.setattr(verify, "verify", found([]))
    assert main([str(exported.run), "--limit", "5", "--split", "validation"]) == 0
    assert capsys.readouterr().out == f"{report}\n"
    (tmp_path / "a.jpg").write_bytes(exported.photos[0])
    monkeypatch.setattr(verify, "verify", found(["it differs"]))
    assert main([str(exported.run), "--photos", str(tmp_path)]) == EXIT_SOME_FAILED
    assert capsys.readouterr().out.endswith("BROKEN: it differs\n")
    assert [photos.source for photos in shown] == [
        "drawn_flowers/1.0.0, split validation",
        str(tmp_path),
    ]
    assert [photos.count for photos in shown] == [5, 1]
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: main([str(tmp_path)]))
    assert ended.value.code == EXIT_BAD_INPUT


def test_exporting_and_verifying_at_once(
    exported: Exported,  # noqa: F811
    report: verify.Report,
    bare: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def export_saved_model(model_path: Path, output: Path) -> Path:
        return Path(shutil.copytree(exported.run / "saved_model", output)) / "1"

    def export_tflite(model_path: Path, output: Path, **options: object) -> dict[str, Path]:
        return {"int8": Path(shutil.copy(exported.run / "run_int8.tflite", output))}

    answers = [report, dataclasses.replace(report, broken=["it differs"])]
    monkeypatch.setattr(export, "export_saved_model", export_saved_model)
    monkeypatch.setattr(export, "export_tflite", export_tflite)
    monkeypatch.setattr(verify, "verify", lambda run, photos: answers.pop(0))
    assert verify.export_and_verify(bare)
    out = capsys.readouterr().out
    assert f"MB  {bare / 'saved_model' / '1'}" in out
    assert f"MB  {bare / 'run_int8.tflite'}" in out
    assert out.endswith(f"{report}\n")
    shutil.rmtree(bare / "saved_model")
    assert not verify.export_and_verify(bare)
