"""What each command asks of the library and what it says of the answer, with nothing in between.

Each option is given a value of its own, so that one which is lost on the way, or ends up in the
place of another, shows.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="these commands need the extra [train]")

from keras_flowers.commands import data, doubt, evaluate, export, merge, page, train
from keras_flowers.commands.exit import EXIT_SOME_FAILED
from keras_flowers.errors import UserError
from keras_flowers.export import site, site_server
from keras_flowers.inference.doubt import Doubt, Thresholds
from keras_flowers.inference.scale.folder import Count, RunFolder
from keras_flowers.training import metrics, refit_doubt, sources, synthetic
from keras_flowers.training import model as models
from keras_flowers.training.check import check as checking
from keras_flowers.training.check import report as check_report
from keras_flowers.training.config import ResolvedConfig, TrainConfig
from keras_flowers.training.evaluate import Evaluation
from keras_flowers.training.report import report as run_report
from keras_flowers.training.run_directory import Run
from keras_flowers.training.sources import label_map


class Recorder:
    """Stands in for a function: keeps what it was called with."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls.append((arguments, options))
        return self.answer


# doubt


def test_doubt_is_fitted_with_all_that_is_given_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refit = Recorder(Doubt(Thresholds(known=0.1234, sure=0.7, group=0.9)))
    monkeypatch.setattr(refit_doubt, "refit_doubt", refit)
    options = ["--data", "a", "--data", "b", "--validation_data", "c", "--validation_data", "d"]
    assert doubt.main(["run", *options, "--data_dir", "e", "--taxonomy", "f"]) == 0
    assert capsys.readouterr().out == (
        "names nothing below known = 0.123; gives a name alone from 70% on, a genus or family from "
        "90% on\nnext: keras-flowers export run\n"
    )
    doubt.main(["run"])
    nothing = {"data": [], "validation_data": [], "data_dir": None, "taxonomy": None}
    assert refit.calls == [
        (
            (Path("run"),),
            {
                "data": ["a", "b"],
                "validation_data": ["c", "d"],
                "data_dir": "e",
                "taxonomy": "f",
            },
        ),
        ((Path("run"),), nothing),
    ]


# data


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    """The parts of `data`, none of which does anything."""
    monkeypatch.setattr(data, "summary_of", lambda check: f"summary of {check}")
    parts = {
        "tensorflow": (data, "import_tensorflow", None),
        "available": (sources, "check_available", None),
        "open": (sources, "open_source", "source"),
        "size": (models, "image_size_of", 224),
        "features": (checking, "base_features", "features"),
        "check": (checking, "check_data", "check"),
        "map": (label_map, "read_label_map", {"a": "b"}),
        "write": (check_report, "write_check", None),
    }
    made = {}
    for name, (module, function, answer) in parts.items():
        made[name] = Recorder(answer)
        monkeypatch.setattr(module, function, made[name])
    return made


def test_photos_are_checked_as_training_would_see_them(
    checked: dict[str, Recorder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "there"
    arguments = ["garden", "--base", "EfficientNetB0", "--image_size", "96", "--data_dir", "d"]
    arguments += ["--label_map", "m.csv", "--category_names", "n.json", "--copies"]
    assert data.main([*arguments, "--cache_dir", str(cache), "--output", str(folder)]) == 0
    calls = {name: part.calls for name, part in checked.items()}
    assert calls == {
        "tensorflow": [((), {})],
        "available": [((["garden"], "d"), {})],
        "open": [(("garden",), {"data_dir": "d", "category_names": "n.json"})],
        "size": [],
        "features": [(("EfficientNetB0", 96, cache), {})],
        "map": [((Path("m.csv"),), {})],
        "check": [
            (
                ("source",),
                {
                    "image_size": 96,
                    "features": "features",
                    "label_map": {"a": "b"},
                    "cache_dir": cache,
                },
            )
        ],
        "write": [(("check", folder), {"copies": True})],
    }
    table = folder / "photos.csv"
    assert capsys.readouterr().out == (
        f"summary of check\n\nnext: open {folder / 'index.html'}, correct the column label of "
        f"{table}, and train: keras-flowers train --data {table}\n"
    )


def test_check_without_options_takes_what_training_takes(
    checked: dict[str, Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert data.main(["garden"]) == 0
    assert checked["size"].calls == [((TrainConfig.base,), {})]
    assert checked["features"].calls == [((TrainConfig.base, 224, TrainConfig().cache_folder), {})]
    assert checked["map"].calls == []
    assert checked["write"].calls == [(("check", Path("data_check")), {"copies": False})]
    checked["features"].calls.clear()
    assert data.main(["garden", "--quick"]) == 0
    assert checked["features"].calls == []
    assert checked["check"].calls[1][1]["features"] is None
    # Corrections are replaced when that is asked for, and only then.
    Path("data_check").mkdir()
    Path("data_check/photos.csv").touch()
    with pytest.raises(UserError, match="perhaps with your corrections"):
        data.main(["garden"])
    assert len(checked["check"].calls) == 2
    assert data.main(["garden", "--overwrite"]) == 0


# train


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    """The folder of a run that is trained with the defaults, as far as its files say."""
    run = Run.at(tmp_path / "mine")
    run.folder.mkdir()
    settings = ResolvedConfig(TrainConfig(output=str(run.folder)), 224, 5).settings()
    run.config_path.write_text(json.dumps({"settings": settings}))
    run.metrics_path.write_text('{"scores": {}, "temperature": 0.5}')
    return run


@pytest.mark.parametrize(
    "options",
    [
        {"cache_dir": "elsewhere"},
        {"engine": "ray"},
        {"engine": "ray", "ray_address": "a:1", "worker_cores": 3},
        {"temperature": 0.5},
    ],
)
def test_what_changes_nothing_in_the_model_trains_none_anew(
    finished: Run, options: dict[str, Any]
) -> None:
    config = TrainConfig(output=str(finished.folder), **options)
    assert train._is_trained(config, finished, demo=False)


@pytest.mark.parametrize(
    "options", [{"dataset": "x"}, {"data_dir": "x"}, {"base": "MobileNet"}, {"temperature": 0.6}]
)
def test_what_changes_the_model_trains_another(finished: Run, options: dict[str, Any]) -> None:
    config = TrainConfig(output=str(finished.folder), **options)
    assert not train._is_trained(config, finished, demo=False)
    # The demonstration chooses its photos and its base itself.
    assert train._is_trained(config, finished, demo=True) == ("temperature" not in options)


def test_finished_run_goes_on_with_what_is_left(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Recorder()
    exported, reported = Recorder(True), Recorder(SimpleNamespace(save=lambda path: path))
    monkeypatch.setattr(train, "train_model", trained)
    monkeypatch.setattr(train, "import_tensorflow", lambda: None)
    monkeypatch.setattr(export, "export_and_verify", exported)
    monkeypatch.setattr(run_report, "report_run", reported)
    folder = finished.folder
    output = ["--output", str(folder)]
    next_line = f"next: keras-flowers predict PHOTO --model {folder}\n"
    assert train.main([*output, "--export"]) == 0
    assert capsys.readouterr().out == (
        f"{folder} is trained already: going on with the export\n{next_line}"
    )
    assert exported.calls == [((folder,), {"data_dir": None})]
    assert train.main([*output, "--report"]) == 0
    assert capsys.readouterr().out == (
        f"{folder} is trained already: going on with the report\n"
        f"report: {folder / 'report.html'}\n{next_line}"
    )
    assert (len(exported.calls), len(reported.calls)) == (1, 1)
    # Files that do not say what the model says are no success, and get no report.
    exported.answer = False
    assert train.main([*output, "--export", "--report"]) == EXIT_SOME_FAILED
    assert "next: " not in capsys.readouterr().out
    assert len(reported.calls) == 1


def test_demonstration_has_a_folder_and_a_photo_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "import_tensorflow", lambda: None)
    drawn = Recorder(TrainConfig(seed=4, data_dir="drawn"))
    monkeypatch.setattr(synthetic, "demo_config", drawn)
    monkeypatch.setattr(synthetic, "write_photo", lambda folder: folder / "flower.jpg")
    trained, exported = Recorder("result"), Recorder(True)
    monkeypatch.setattr(train, "train_model", trained)
    monkeypatch.setattr(train, "_print_result", lambda result: print(result))
    monkeypatch.setattr(export, "export_and_verify", exported)
    assert train.main(["--demo", "--seed", "4"]) == 0
    folder = Path("saved_models/demo")
    assert drawn.calls == [((TrainConfig(seed=4, output=str(folder)),), {})]
    assert trained.calls == [((drawn.answer,), {})]
    assert exported.calls == [((folder,), {"data_dir": "drawn"})]
    assert capsys.readouterr().out == (
        f"result\nnext: keras-flowers predict {folder / 'flower.jpg'} --model {folder}\n"
    )
    train.main(["--demo", "--output", "other"])
    assert drawn.calls[1][0][0].output == "other"


# evaluate


def test_lists_in_the_terminal_end_after_ten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tuple(f"flower {number:02}" for number in range(14))
    classes = np.repeat(np.arange(14), 2)
    # Of each class the first photo is right, the second is taken for the next class.
    answers = np.eye(14, dtype=np.float32)[(classes + np.arange(28) % 2) % 14]
    origins = tuple(f"garden {number % 14:02}" for number in range(28))
    made = Evaluation(
        model=Path("x"),
        provenance={},
        dataset="beds",
        split="test",
        labels=labels,
        image_size=(32, 32),
        scores=metrics.score(answers, classes, origins),
        confusion_matrix=metrics.confusion_matrix(answers, classes, 14),
        probabilities=answers,
        classes=classes,
        sources=origins,
        unknown_count=0,
        learned_count=0,
        doubt=Doubt(Thresholds(known=0.0, sure=0.5, group=0.9)),
        known=np.ones(28, np.float32),
    )
    asked = Recorder(made)
    monkeypatch.setattr(evaluate, "evaluate_model", asked)
    assert evaluate.main(["x", "--data", "a", "--label_map", "b", "--taxonomy", "c"]) == 0
    assert asked.calls[0][1]["sources"] == ["a"]
    assert asked.calls[0][1]["label_map"] == ["b"]
    assert asked.calls[0][1]["taxonomy"] == "c"
    text = capsys.readouterr().out
    assert text.count("  garden ") == 10
    assert text.count(" of 2  flower ") == 10
    assert text.count(", predicted ") == 10
    curve = text[text.index("where only the surest answers are taken") :].splitlines()[2:8]
    assert [line.split()[0] for line in curve] == [
        "100.0%", "96.4%", "89.3%", "78.6%", "71.4%", "50.0%",
    ]  # fmt: skip


# export


def test_export_of_another_data_set_and_its_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run.at(tmp_path)
    asked, held = Recorder(True), Recorder(nullcontext())
    monkeypatch.setattr(export.Run, "open", lambda path: run)
    monkeypatch.setattr(export, "export", asked)
    monkeypatch.setattr(export, "exclusive_lock", held)
    options = ["--data", "a", "--data", "b", "--label_map", "m", "--data_dir", "d", "--verify"]
    assert export.main(["run", *options, "--formats", "int8", "float16"]) == 0
    ((given, formats), said) = asked.calls[0]
    assert given == dataclasses.replace(run, sources=("a", "b"), label_map=("m",))
    assert formats == ["int8", "float16"]
    assert said == {"output": None, "data_dir": "d", "verify": True}
    assert held.calls == []  # a model alone: there is no run that a training could be in
    run.config_path.touch()
    asked.answer = False
    assert export.main(["run"]) == EXIT_SOME_FAILED
    assert asked.calls[1] == ((run, None), {"output": None, "data_dir": None, "verify": False})
    assert held.calls == [((tmp_path,), {})]
    export.main(["run", "--output", str(tmp_path / "there")])
    assert len(held.calls) == 1  # nothing is written into the run
    assert asked.calls[2][1]["output"] == tmp_path / "there"


# merge


def test_merge_goes_beside_the_folder_or_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    merged = Recorder(Count(70, 0))
    monkeypatch.setattr(RunFolder, "open", lambda path: SimpleNamespace(merge=merged, parts=3))
    assert merge.main(["out"]) == 0
    assert merged.calls == [((tmp_path / "out.parquet",), {})]
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out.parquet'}: 70 photos, each once (parts: 3)\n"
    )
    merged.answer = Count(70, 2)
    assert merge.main(["out/", "--output", "a b.csv"]) == 0
    assert merged.calls[1] == ((Path("a b.csv"),), {})
    assert capsys.readouterr().out == (
        "a b.csv: 70 photos, each once (parts: 3); 2 could not be read, as their rows say\n"
    )


# page


def test_page_is_served_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = Recorder("site")
    monkeypatch.setattr(site, "load_site", loaded)
    served: list[Any] = []

    class Server:
        address = "http://127.0.0.1:7/"

        def __init__(self, *asked: Any) -> None:
            served.append(asked)

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None:
            served.append("closed")

        def serve_forever(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(site_server, "SiteServer", Server)
    assert page.main(["--model", "m.tflite"]) == 0
    assert page.main(["--port", "0"]) == 0
    assert loaded.calls == [((Path("m.tflite"),), {}), ((None,), {})]
    assert served == [("site", page.PORT), "closed", ("site", 0), "closed"]
    opened = "open http://127.0.0.1:7/ in a browser of this machine; Ctrl-C ends it\n\n"
    assert capsys.readouterr().out == 2 * opened


@pytest.mark.parametrize(
    ("port", "allowed"), [(-1, False), (0, True), (65535, True), (65536, False)]
)
def test_port_is_one_of_those_that_there_are(
    port: int, allowed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(model: object) -> Any:
        raise UserError("as far as this")

    monkeypatch.setattr(site, "load_site", ended)
    with pytest.raises(UserError if allowed else SystemExit):
        page.main([f"--port={port}"])
    assert ("--port: expected 0 to 65535" in capsys.readouterr().err) != allowed
