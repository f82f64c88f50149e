"""What a run folder holds, and the way from a model back to its photos."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference.metadata import Metadata, add_to_archive
from keras_flowers.training import run_directory
from keras_flowers.training.run_directory import Run, photos_of, size_of

PROVENANCE = {"dataset": "a_set/a_config/1.2.3", "trained_on": {"split": "train", "photos": 2}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose model no Keras can load: only what lies beside the weights is read here."""
    path = tmp_path / "tulips"
    (path / "saved_model" / "1").mkdir(parents=True)
    with zipfile.ZipFile(path / "model.keras", "w"):
        pass
    add_to_archive(path / "model.keras", Metadata(("poppy", "rose"), (32, 32), PROVENANCE))
    settings = {"data_dir": "/their/data", "cache_dir": "/their/cache", "overwrite": True}
    (path / "config.json").write_text(json.dumps({"settings": settings}))
    (path / "tulips_int8.tflite").touch()
    return path


def test_run_knows_its_name_its_files_and_whether_it_is_finished(folder: Path) -> None:
    run = Run.open(folder)
    assert run == Run.open(folder / "model.keras") == Run.at(folder)
    assert run.name == "tulips"
    assert run.tflite_files() == [run.tflite_path("int8")]
    assert run.saved_model == folder / "saved_model" / "1"
    assert not run.is_finished
    run.refuse_finished()
    run.metrics_path.write_text('{"scores": {"test": {}}}')
    assert run.is_finished
    assert run.metrics["scores"] == {"test": {}}
    with pytest.raises(UserError, match=f"keras-flowers evaluate {folder}"):
        run.refuse_finished()


def test_settings_and_metadata_are_read_once(folder: Path) -> None:
    run = Run.open(folder)
    assert run.settings == {"data_dir": "/their/data", "cache_dir": "/their/cache"}
    assert run.metadata.labels == ("poppy", "rose")
    for path in (run.config_path, run.model_path):
        path.unlink()
    assert run.settings["data_dir"] == "/their/data"
    assert run.metadata.image_size == (32, 32)


def test_model_outside_of_a_run_is_called_as_its_file_and_has_no_settings(folder: Path) -> None:
    (folder / "model.keras").rename(folder / "mine.keras")
    run = Run.open(folder / "mine.keras")
    assert (run.name, run.settings, run.metadata.labels) == ("mine", {}, ("poppy", "rose"))


def test_run_around_a_model_file_is_found(folder: Path, tmp_path: Path) -> None:
    for name in ("", "model.keras", "tulips_int8.tflite", "saved_model", "saved_model/1"):
        assert Run.around(folder / name) == Run.at(folder)
    (folder / "other").mkdir()
    for path in (tmp_path, tmp_path / "x.tflite", folder / "other", folder / "mine.keras"):
        assert Run.around(path) is None


@pytest.mark.parametrize("name", ["nothing", "nothing.keras", "empty"])
def test_no_model_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="expected a .keras model or the folder of a finished run"):
        Run.open(tmp_path / name)


def test_run_that_is_not_there_or_not_finished_is_said_with_its_option(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^--x none does not exist; expected the folder of a fini"):
        run_directory.finished_run("none", "--x")
    reason = "tulips is no finished run: expected a folder that keras-flowers train wrote, with mo"
    with pytest.raises(UserError, match=reason):
        run_directory.finished_run(str(folder), "--x")
    run = Run.at(folder)
    run.metrics_path.write_text("{}")
    assert run_directory.finished_run(str(folder), "--x") == run
    run.config_path.unlink()
    with pytest.raises(UserError, match=reason):
        run_directory.finished_run(str(folder), "--x")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scores": 3}'])
def test_damaged_scores_are_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match="metrics.json"):
        assert Run.at(tmp_path).metrics


def test_photos_are_those_of_the_version_and_folder_of_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [train]")
    from keras_flowers.training import data

    asked: list[tuple[Any, ...]] = []

    def load_photos(*arguments: Any) -> Any:
        asked.append(arguments)
        return type("Photos", (), {"labels": ("poppy", "rose"), "dataset": "a_set"})

    monkeypatch.setattr(data, "load_photos", load_photos)
    run = Run.open(folder)
    run.photos("test[:2]")
    run.photos("train", "/elsewhere")
    cache = Path("/their/cache")
    assert asked == [
        ("a_set/a_config:1.2.3", "test[:2]", "/their/data", cache),
        ("a_set/a_config:1.2.3", "train", "/elsewhere", cache),
    ]


def test_photos_of_a_run_that_is_given_others_are_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        run_directory, "photos_of", lambda *given, **options: asked.append((given, options))
    )
    monkeypatch.setattr(run_directory, "read_metadata", lambda path: f"of {path.name}")
    own = Run.at(tmp_path)
    others = Run(tmp_path, own.model_path, ("a", "b"), ("m",))
    own.photos("train")
    others.photos("train", "D")
    given = (own.model_path, "of model.keras")
    plain = {"run": own, "data_dir": None, "sources": (), "label_map": ()}
    of_others = {"run": others, "data_dir": "D", "sources": ("a", "b"), "label_map": ("m",)}
    assert asked == [((*given, "train"), plain), ((*given, None), of_others)]


def test_size_is_that_of_a_file_or_of_all_files_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(bytes(7))
    (tmp_path / "a" / "b" / "y").write_bytes(bytes(5))
    assert size_of(tmp_path / "a" / "x") == 7
    assert size_of(tmp_path) == 12
    assert size_of(tmp_path / "none") == 0


def test_checkpoints_go_and_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    run = Run.at(tmp_path)
    run.remove_checkpoints()
    run.checkpoints.mkdir()
    (run.checkpoints / "head.npz").touch()
    (tmp_path / "notes.txt").touch()
    run.remove_checkpoints()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_data_set_of_other_classes_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [train]")
    from keras_flowers.training import data

    other = SimpleNamespace(labels=("rose", "poppy", "iris"), dataset="b_set/1.0.0")
    asked: list[Any] = []
    monkeypatch.setattr(data, "load_photos", lambda *a: asked.append(a) or other)
    run = Run.open(folder)
    reason = (
        r"model.keras and b_set/1.0.0 name their classes differently: 2 \(poppy, ...\) and 3 "
        r"\(rose, ...\); expected the same names in the same order: choose another --dataset$"
    )
    with pytest.raises(UserError, match=reason):
        photos_of(run.model_path, run.metadata, None, run=run, dataset="b_set")
    # Where another data set lies is not where training had its own from.
    assert asked == [("b_set", "test", None, Path("/their/cache"))]
    # Of several data sets, the first decides.
    mixed = Metadata(("poppy", "rose"), (8, 8), {"dataset": "a_set/1.0.0 + more"})
    with pytest.raises(UserError, match="name their classes differently"):
        photos_of(Path("x"), mixed, "train")
    assert asked[1][:3] == ("a_set:1.0.0", "train", None)


class Opened:
    """What `open_photos` gives: keeps how it was called, and which split was asked for."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        self.calls: list[Any] = []

    def __call__(self, sources: Any, **options: Any) -> Opened:
        self.calls.append((sources, options))
        return self

    def photos(self, split: str) -> str:
        return f"photos of {split}"


@pytest.mark.parametrize(
    ("split", "counts", "taken"),
    [
        (None, {"photos": 3}, "photos"),
        (None, {"train": 3, "test": 2}, "test"),
        ("train[:2]", {"train": 3, "test": 2}, "train[:2]"),
    ],
)
def test_photos_of_other_sources_are_opened_as_the_model_calls_its_classes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    split: str | None,
    counts: dict[str, int],
    taken: str,
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [train]")
    from keras_flowers.training import sources

    opened = Opened(counts)
    monkeypatch.setattr(sources, "open_photos", opened)
    run = Run.open(folder)
    found = photos_of(
        run.model_path,
        run.metadata,
        split,
        run=run,
        data_dir="D",
        sources=["a", "b"],
        label_map=["m"],
    )
    assert found == f"photos of {taken}"
    options = {
        "data_dir": "D",
        "label_map": ["m"],
        "cache_dir": Path("/their/cache"),
        "labels": ("poppy", "rose"),
        "divide": False,
    }
    assert opened.calls == [(["a", "b"], options)]


def test_photos_of_a_run_are_those_that_are_here_divided_as_they_were(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("tensorflow_datasets", reason="needs the extra [train]")
    from keras_flowers.training import sources

    more = tmp_path / "more"
    settings: dict[str, Any] = {
        "data": ["tfds:mine", str(more)],
        "label_map": ["-", "m.csv"],
        "category_names": "n.json",
        "data_dir": "D",
        "cache_dir": "C",
    }
    (folder / "config.json").write_text(json.dumps({"settings": settings}))
    opened = Opened({})
    monkeypatch.setattr(sources, "open_photos", opened)
    with caplog.at_level("INFO"):
        assert Run.open(folder).photos("test") == "photos of test"
    assert caplog.messages == [f"{more} is not here: the photos of tfds:mine are taken alone"]
    alike = {
        "data_dir": "D",
        "category_names": "n.json",
        "cache_dir": Path("C"),
        "labels": ("poppy", "rose"),
    }
    alone = {**alike, "label_map": ["-"], "division": None}
    more.mkdir()
    (folder / "split.csv").touch()
    assert Run.open(folder).photos("train", "elsewhere") == "photos of train"
    both = {**alike, "label_map": ["-", "m.csv"], "division": folder / "split.csv"}
    # One map is for all sources, however many of them are here.
    settings["label_map"] = ["one.csv"]
    (folder / "config.json").write_text(json.dumps({"settings": settings}))
    Run.open(folder).photos("train")
    assert opened.calls == [
        (["tfds:mine"], alone),
        (["tfds:mine", str(more)], {**both, "data_dir": "elsewhere"}),
        (["tfds:mine", str(more)], {**both, "label_map": ["one.csv"]}),
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"data": ("a", "b")}, {"a": ("-", 1.0), "b": ("-", 1.0)}),
        ({"data": ("a", "b"), "label_map": ("m",)}, {"a": ("m", 1.0), "b": ("m", 1.0)}),
        (
            {"data": ("a", "b"), "label_map": ("m", "-"), "data_weight": (2.0, 0.5)},
            {"a": ("m", 2.0), "b": ("-", 0.5)},
        ),
    ],
)
def test_each_source_has_its_map_and_its_weight(
    settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert run_directory._sources_of(settings) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"data": ("a", "b", "c"), "label_map": ("m", "n")},
        {"data": ("a",), "label_map": ("m", "n")},
        {"data": ("a", "b"), "data_weight": (1.0,)},
    ],
)
def test_maps_and_weights_of_another_number_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected one for each --data of this command, those of"):
        run_directory._sources_of(settings)
