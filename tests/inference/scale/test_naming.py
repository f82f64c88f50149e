"""What a worker is told: the model, which comes along where it is not, and what names photos."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bad_photos import encode
from conftest import COLOURS
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference.bulk import PhotoInput, Read
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.scale import naming
from keras_flowers.inference.scale.inputs import Input
from keras_flowers.inference.scale.naming import Job, digest_of_model, start_naming
from keras_flowers.inference.scale.places import Place
from keras_flowers.inference.scale.plan import Part
from keras_flowers.inference.scale.work import WorkerDiedError

pytest.importorskip("pyarrow", reason="parts need the extra [scale]")


def job_for(model: Path, content: bytes | None) -> Job:
    classifier = load_classifier(model, threads=1)
    assert classifier.origin is not None
    origin = classifier.origin
    return Job(origin, classifier.labels, None, digest_of_model(model), 2, 1, 60.0, content)


def part_of(*paths: Path) -> Part:
    return Part(0, tuple(Input(one.name, Place("", str(one))) for one in paths), len(paths))


def test_model_that_is_not_there_comes_along(
    colour_model: Path, colour_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    job = job_for(colour_model, colour_model.read_bytes())
    elsewhere = dataclasses.replace(
        job, origin=job.origin._replace(path=tmp_path / "gone" / "m.tflite")
    )
    with pytest.raises(UserError, match="m.tflite is not on every machine, or not the same"):
        start_naming(dataclasses.replace(elsewhere, content=None))
    # One that others left there under the same name is not used.
    copy = tmp_path / "temporary" / f"keras_flowers-{job.digest[:16]}" / "m.tflite"
    copy.parent.mkdir()
    copy.write_bytes(b"another model")
    table = start_naming(elsewhere)(part_of(colour_photos / "cyan.png"), False)
    assert copy.read_bytes() == colour_model.read_bytes()
    assert table.column("name").to_pylist() == ["cyan"]
    assert table.column("model").to_pylist() == [job.digest]


def test_care_changes_no_answer(colour_model: Path, tmp_path: Path) -> None:
    paths = []
    for number, colour in enumerate(COLOURS.values()):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(encode(Image.new("RGB", (40, 30), colour), "PNG"))
    paths.append(tmp_path / "none.png")
    name = start_naming(job_for(colour_model, None))
    table = name(part_of(*paths), False)
    assert table.column("name").to_pylist() == [*COLOURS, None]
    assert "does not exist" in table.column("error").to_pylist()[3]
    assert name(part_of(*paths), True).equals(table)
    assert name(part_of(), False).num_rows == 0


def test_all_parts_are_read_by_the_same_threads(
    colour_model: Path, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []
    read = naming._read

    def noted(photo: PhotoInput, size: tuple[int, int]) -> Read:
        readers.append(threading.current_thread())
        return read(photo, size)

    monkeypatch.setattr(naming, "_read", noted)
    job = dataclasses.replace(job_for(colour_model, None), cores=2)
    name = start_naming(job)
    for _ in range(4):
        assert name(part_of(*[colour_photos / "cyan.png"] * 20), False).num_rows == 20
    assert len(readers) == 80
    assert len(set(readers)) <= job.cores
    assert threading.current_thread() not in readers


def test_with_care_one_photo_is_read_after_the_other(
    colour_model: Path, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    predict = naming.predict_photos

    def noted(*given: Any, **options: Any) -> Any:
        asked.append(options)
        return predict(*given, **options)

    monkeypatch.setattr(naming, "predict_photos", noted)
    name = start_naming(dataclasses.replace(job_for(colour_model, None), cores=3))
    part = part_of(colour_photos / "cyan.png")
    assert name(part, True).equals(name(part, False))
    careful, usual = asked
    assert (careful["workers"], careful["threads"]) == (1, None)
    assert (usual["workers"], usual["threads"]._max_workers) == (3, 3)


def test_name_that_is_no_text_is_written_as_text(colour_model: Path) -> None:
    part = Part(0, (Input("a\udcff.png", Place("", "/nowhere/a\udcff.png")),), 1)
    table = start_naming(job_for(colour_model, None))(part, False)
    assert table.column("photo").to_pylist() == ["a\\udcff.png"]


def test_digest_of_a_folder_is_of_its_files_and_their_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    first = digest_of_model(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    second = digest_of_model(tmp_path / "a")
    (tmp_path / "a" / "y").write_bytes(b"2")
    assert len({first, second, digest_of_model(tmp_path / "a")}) == 3
    assert digest_of_model(tmp_path / "a" / "y") == (
        "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    )


def test_photo_is_not_to_blame_where_the_process_that_reads_it_cannot_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dead:
        def __init__(self, make: Any) -> None:
            pass

        def start(self) -> None:
            raise WorkerDiedError("died at once")

        def call(self, *of: Any, seconds: float) -> Any:
            self.start()

        def close(self) -> None:
            pass

    monkeypatch.setattr(naming, "Child", Dead)
    job: Any = SimpleNamespace(photo_seconds=1.0)
    with naming._careful_reader(job) as read, pytest.raises(WorkerDiedError, match="died at once"):
        read(PhotoInput("a.jpg", b""), (8, 8))
