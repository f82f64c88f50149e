"""How the answers of versions are compared, counted and timed: each step by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.errors import UserError
from keras_flowers.export import artifacts, verify, versions
from keras_flowers.export.artifacts import Answer, Artifact, Batch
from keras_flowers.export.limits import Limits
from keras_flowers.export.photos import VerificationPhotos
from keras_flowers.export.versions import Version
from keras_flowers.inference.metadata import Metadata
from keras_flowers.training.run_directory import Run

LABELS = np.array([0, 1, 2, -1])
RIGHT = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]], np.float32)


def rows(*answers: list[float]) -> Any:
    return np.array(answers, np.float32)


def artifact(path: Path, name: str = "TFLite int8", **options: Any) -> Artifact:
    limits = options.pop("limits", Limits())
    return Artifact(name, path, limits, lambda _: Answer(None, None), lambda _: None, **options)


def batch(count: int) -> Batch:
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None] + np.zeros(
        (1, 2, 2, 3), np.uint8
    )
    files = [bytes([number]) for number in range(count)]
    return Batch(files, pixels, pixels + 100, [-1] * count, [True] * count)


def test_names_agree_where_any_of_the_likeliest_is_the_same() -> None:
    one = rows([0.5, 0.5, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7])
    other = rows([0.1, 0.9, 0.0], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7])
    found = verify._compare(one, other)
    assert found is not None
    assert (found.photos, found.differing) == (3, 1)
    assert found.largest == pytest.approx(0.5)
    assert found.mean == pytest.approx((0.4 + 0.4 + 0.5 + 0.5) / 9)


def test_only_the_photos_that_count_are_compared() -> None:
    one, other = rows([1, 0], [0, 1], [1, 0]), rows([0, 1], [0, 1], [1, 0], [0, 1])
    found = verify._compare(one, other, np.array([False, True, True]))
    assert found is not None
    assert (found.photos, found.differing, found.largest) == (2, 0, 0.0)
    assert verify._compare(one, other, np.zeros(3, bool)) is None
    assert verify._compare(None, other) is None
    assert verify._compare(one, None) is None


def test_batches_are_joined_and_what_was_not_asked_stays_none() -> None:
    parts = [Answer(rows([1, 0]), None), Answer(rows([0, 1], [1, 0]), None)]
    joined = verify._joined(parts)
    assert joined.own_reading is None
    np.testing.assert_array_equal(joined.same_pixels, [[1, 0], [0, 1], [1, 0]])
    # The SavedModel answers for pixels through one signature, for files through another.
    first = verify._first_of_each([Answer(rows([1]), None), Answer(rows([2]), rows([3]))])
    assert first.same_pixels is not None and first.own_reading is not None
    assert (first.same_pixels.tolist(), first.own_reading.tolist()) == ([[1]], [[3]])
    assert verify._first_of_each([Answer(None, None)]) == Answer(None, None)


def test_accuracy_is_of_labelled_photos_that_count(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(bytes(1234))
    theirs = RIGHT.copy()
    theirs[1] = [0.8, 0.1, 0.1]
    answers = {"best": Answer(RIGHT, RIGHT), "TFLite int8": Answer(RIGHT, theirs)}
    counts = np.array([True, True, False, True])
    row = verify._measure(artifact(path), answers, "best", LABELS, counts, batch(4), 3)
    assert (row.labelled, row.correct, row.change) == (2, 1, -1)
    assert row.same_pixels is not None
    assert row.own_reading is not None
    assert (row.same_pixels.photos, row.own_reading.photos, row.own_reading.differing) == (4, 3, 1)
    assert (row.bytes, row.reference) == (1234, "best")
    # Without its own reading, what counts is every photo, as pixels.
    answers["TFLite int8"] = Answer(theirs, None)
    row = verify._measure(artifact(path), answers, "best", LABELS, counts, batch(4), 3)
    assert (row.labelled, row.correct, row.change, row.own_reading) == (3, 2, -1, None)
    # MediaPipe sees fewer photos, and is compared with our predictor.
    answers = {"best": Answer(None, RIGHT), "ours": Answer(None, theirs)}
    answers["MediaPipe"] = Answer(None, theirs[:2])
    one = artifact(path, "MediaPipe", reference="ours", photos=2)
    row = verify._measure(one, answers, "best", LABELS, np.ones(4, bool), batch(4), 3)
    assert (row.labelled, row.correct, row.change) == (2, 1, -1)
    assert row.own_reading is not None
    assert (row.own_reading.photos, row.own_reading.differing, row.reference) == (2, 0, "ours")


def test_bounds_are_those_of_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.touch()
    limits = Limits(0.9, 0.25, 0.5, {"MobileNetV2": 77})
    answers = {"best": Answer(RIGHT, RIGHT), "TFLite int8": Answer(RIGHT, RIGHT)}
    one = artifact(path, limits=limits)
    row = verify._measure(one, answers, "best", LABELS, np.ones(4, bool), batch(4), 3)
    bounds = verify._bounds(one, row, "MobileNetV2")
    assert dataclasses.astuple(bounds) == (0.25, 1, 1, 77)
    assert verify._bounds(one, row, "MobileNet").bytes is None
    nothing = dataclasses.replace(row, same_pixels=None, own_reading=None, labelled=0)
    assert dataclasses.astuple(verify._bounds(one, nothing, None)) == (None, None, None, None)


@pytest.mark.parametrize("photos", [1, 2, 50])
def test_each_photo_is_timed_after_a_first_call(photos: int, tmp_path: Path) -> None:
    seen: list[tuple[list[bytes], int, int]] = []

    def once(one: Batch) -> None:
        assert one.pixels.shape == one.training_pixels.shape == (1, 2, 2, 3)
        seen.append((one.files, int(one.pixels[0, 0, 0, 0]), int(one.training_pixels[0, 0, 0, 0])))

    timed = artifact(tmp_path)._replace(once=once)
    assert verify._milliseconds(timed, batch(photos)) >= 0
    count = min(photos, verify._TIMED)
    assert seen[1:] == [([bytes([n])], n, n + 100) for n in range(count)]
    assert seen[0] == seen[1]


def test_version_is_called_by_its_place_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "saved_model" / "1").mkdir(parents=True)
    assert verify._inside_run(tmp_path / "saved_model" / "1") == Path("saved_model/1")
    assert verify._inside_run(tmp_path / "x.tflite") == Path("x.tflite")


def test_notes_say_what_mediapipe_was_shown_or_that_it_is_not_there(tmp_path: Path) -> None:
    tflite = artifact(tmp_path / "x.tflite")
    mediapipe = artifact(tmp_path / "x.tflite", "MediaPipe int8")
    keras = artifact(tmp_path / "model.keras", "Keras")
    common = verify._notes([keras])
    assert len(common) == 3
    assert common[2].startswith("ms: median for one photo")
    assert verify._notes([keras, tflite, mediapipe])[3:] == [
        f"MediaPipe is shown the first {artifacts.MEDIAPIPE_PHOTOS} photos, reduced while decoding "
        "as apps do it, and compared with our predictor on the same file."
    ]
    assert verify._notes([keras, tflite])[3:] == [
        "MediaPipe is not installed: the TFLite files were not checked with it."
    ]


def version(path: Path, size: tuple[int, int] | None) -> Version:
    metadata = Metadata(("a", "b"), size)
    return Version("Keras", path, metadata, lambda *_: iter([artifact(path)]), Limits())


def test_photos_that_cannot_be_read_leave_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = VerificationPhotos("garden", 1, [("a.jpg", b"", 0)])
    with pytest.raises(UserError, match="model.keras does not say which image size it takes; exp"):
        verify._compare_all(
            [version(tmp_path / "model.keras", None)], photos, contextlib.ExitStack()
        )
    monkeypatch.setattr(artifacts, "has_mediapipe", lambda: False)
    lone = [version(tmp_path / "model.keras", (8, 8))]
    with pytest.raises(UserError, match="holds model.keras and nothing to compare it with; export"):
        verify._compare_all(lone, photos, contextlib.ExitStack())
    two = [*lone, version(tmp_path / "x.tflite", (8, 8))._replace(name="b")]
    pytest.importorskip("tensorflow")
    with pytest.raises(UserError, match="none of these photos can be read: garden"):
        verify._compare_all(two, photos, contextlib.ExitStack())


def test_photos_are_those_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = version(tmp_path / "model.keras", (8, 8))
    asked: list[Any] = []

    def recorded(name: str) -> Any:
        return lambda *given, **options: asked.append((name, *given, options)) or name

    monkeypatch.setattr(versions, "find_versions", lambda run: [best])
    monkeypatch.setattr(verify, "import_tensorflow", lambda: asked.append("TensorFlow"))
    for name in ("photos_of", "photos_of_split", "photos_of_folder"):
        monkeypatch.setattr(verify, name, recorded(name))
    monkeypatch.setattr(verify, "_compare_all", lambda versions, photos, stack: (versions, photos))

    def shown(**options: Any) -> list[Any]:
        asked.clear()
        compared: Any = verify.verify_model(tmp_path, **options)
        assert compared[0] == [best]
        assert asked[0] == "TensorFlow"
        return asked[1:]

    run = Run.at(tmp_path)
    of_split = ("photos_of_split", "photos_of", {"limit": None})
    options = {"run": run, "data_dir": None, "sources": (), "label_map": ()}
    model = (best.path, best.metadata)
    assert shown() == [("photos_of", *model, "test", options), of_split]
    # Those that the run was tested on, if nobody says otherwise.
    run.config_path.write_text(json.dumps({"settings": {"test_split": "validation"}}))
    assert shown() == [("photos_of", *model, "validation", options), of_split]
    given = {"data_dir": "D", "sources": ["a"], "label_map": ["m"]}
    few = (*of_split[:2], {"limit": 3})
    options = {"run": run, **given}
    assert shown(split="x", limit=3, **given) == [("photos_of", *model, "x", options), few]
    assert shown(**given)[0] == ("photos_of", *model, None, options)
    folder = ("photos_of_folder", Path("garden"), ("a", "b"), {"limit": 4})
    assert shown(photos="garden", limit=4) == [folder]
    ready = VerificationPhotos("garden", 0, [])
    asked.clear()
    compared: Any = verify.verify_model(run, ready)
    assert compared[1] is ready
    assert asked == ["TensorFlow"]


def test_file_is_called_what_it_says_it_is_or_as_the_file(tmp_path: Path) -> None:
    int8 = Metadata(("rose", "aster"), (8, 8), {"variant": "int8"})
    assert versions._variant(tmp_path, int8) == "SavedModel"
    assert versions._variant(tmp_path / "x.tflite", int8) == "int8"
    assert versions._variant(tmp_path / "x.tflite", Metadata(("rose",), (8, 8))) == "TFLite x"


def test_mediapipe_sees_the_first_photos_only() -> None:
    assert artifacts.MEDIAPIPE_PHOTOS == 200
    assert artifacts.MEDIAPIPE_PHOTOS % verify._BATCH == 0  # a batch is shown whole or not at all
    assert artifact(Path("x")).photos == math.inf


def test_saved_model_that_does_not_load_or_calls_classes_otherwise_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = pytest.importorskip("tensorflow")
    metadata = SimpleNamespace(outputs=("rose", "daisy"))
    monkeypatch.setattr(artifacts, "read_metadata", lambda path: metadata)
    limits: Any = None

    def load(*labels: str) -> list[Any]:
        return list(artifacts.load_saved_model(tmp_path, "SavedModel", labels, limits))

    with pytest.raises(UserError, match="has other classes than the best version of the model; e"):
        load("rose", "tulip")
    with pytest.raises(UserError, match=r"TensorFlow cannot load .*; export it again"):
        load("rose", "daisy")  # nothing lies there

    answer = {"probabilities": tf.constant([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])}
    called = [b"rose", b"daisy", b""]  # the last could not be read
    signatures = {
        "images": lambda images: answer,
        "serving_default": lambda image_bytes: {**answer, "classes": tf.constant(called)[:, None]},
    }
    model = SimpleNamespace(signatures=signatures)
    monkeypatch.setattr(tf.saved_model, "load", lambda path: model)
    by_pixels, by_files = load("daisy", "rose")
    batch: Any = SimpleNamespace(pixels=np.zeros((3, 1, 1, 3)), files=[b"a", b"b", b"c"])
    expected = np.float32([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
    np.testing.assert_array_equal(by_pixels.answer(batch).same_pixels, expected)
    np.testing.assert_array_equal(by_files.answer(batch).own_reading, expected)
    assert by_pixels.answer(batch).own_reading is by_files.answer(batch).same_pixels is None
    assert [one.name for one in (by_pixels, by_files)] == [
        "SavedModel images",
        "SavedModel image_bytes",
    ]
    assert (by_pixels.in_graph_only, by_files.in_graph_only) == (False, True)
    called[1] = b"rose"
    with pytest.raises(UserError, match="calls class 1 'rose' in its answers and 'daisy' in its l"):
        by_files.answer(batch)
