"""Doubt is fitted again on the photos of the training and on those that are added; nothing else."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets", reason="fitting doubt needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import Doubt, Thresholds
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata
from keras_flowers.training import known, model, refit_doubt, train
from keras_flowers.training.result import Splits
from keras_flowers.training.run_directory import Run

DOUBT = Doubt(Thresholds(0.1, 0.7, 0.9), fitted={"photos": 3})


class Photos(SimpleNamespace):
    """Some photos, and the names of those that were joined to them."""

    def joined_with(self, other: Photos) -> Photos:
        return Photos(**{**vars(self), "name": f"{self.name} + {other.name}"})


def splits(labels: tuple[str, ...] = ("poppy", "rose"), unknown: Photos | None = None) -> Any:
    return Splits(Photos(labels=labels, dataset="beds"), None, None, unknown, None)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run, as far as its files say."""
    made = Run.at(tmp_path / "mine")
    made.folder.mkdir()
    with zipfile.ZipFile(made.model_path, "w"):
        pass
    add_to_archive(made.model_path, Metadata(("poppy", "rose"), (8, 8), {"base": "x"}))
    settings = {"seed": 3, "taxonomy": "theirs.csv", "data_dir": "T", "validation_data": ["old"]}
    made.config_path.write_text(json.dumps({"settings": settings}))
    made.metrics_path.write_text(json.dumps({"scores": {"test": {}}, "seconds": 5}))
    made.checkpoints.mkdir()
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the steps were asked for; `splits` and `doubt` are what they give."""
    calls: dict[str, Any] = {"splits": splits(), "doubt": DOUBT}

    @contextlib.contextmanager
    def extractors(config: Any) -> Iterator[Any]:
        yield lambda trunk: f"extractor of {trunk}"

    def add_doubt(config: Any, given: Any, model: Any, extractor: Any, run: Run) -> Any:
        calls["fitted"] = (config, given, model, extractor, run)
        saved = SimpleNamespace(save=lambda path: zipfile.ZipFile(path, "w").close())
        return saved, calls["doubt"]

    def open_splits(config: Any, run: Run) -> Any:
        calls["opened"] = (config, run)
        return calls["splits"]

    def photos_of(*given: Any, **options: Any) -> Photos:
        calls["more"] = (given, options)
        return Photos(name="more")

    monkeypatch.setattr(refit_doubt, "import_tensorflow", lambda: None)
    monkeypatch.setattr(refit_doubt, "photos_of", photos_of)
    monkeypatch.setattr(Run, "load_model", lambda self: "loaded")
    monkeypatch.setattr(known, "without_known", lambda made: f"{made}, without known")
    monkeypatch.setattr(model, "split_at", lambda made, name: (f"trunk of {made}", None))
    monkeypatch.setattr(train, "add_doubt", add_doubt)
    monkeypatch.setattr(train, "extractors", extractors)
    monkeypatch.setattr(train, "open_splits", open_splits)
    return calls


def test_model_is_written_anew_with_what_was_fitted(run: Run, asked: dict[str, Any]) -> None:
    assert refit_doubt.refit_doubt(str(run.folder)) == DOUBT
    config, given, model, extractor, of_run = asked["fitted"]
    assert (config.seed, config.output) == (3, str(run.folder))
    assert (config.taxonomy, config.data_dir, config.validation_data) == (
        "theirs.csv",
        "T",
        ("old",),
    )
    assert given is asked["splits"]
    assert model == "loaded, without known"
    assert extractor == "extractor of trunk of loaded, without known"
    assert of_run == asked["opened"][1] == Run.at(run.folder)
    assert "more" not in asked
    written = read_metadata(run.model_path)
    assert written.doubt == DOUBT
    assert (written.provenance, written.image_size) == ({"base": "x"}, (8, 8))
    assert json.loads(run.metrics_path.read_text()) == {
        "scores": {"test": {}},
        "seconds": 5,
        "doubt": DOUBT.as_dict(),
    }
    assert not run.checkpoints.exists()


def test_what_is_given_takes_the_place_of_what_training_had(
    run: Run, asked: dict[str, Any]
) -> None:
    for unknown, joined in ((None, "more"), (Photos(name="theirs"), "theirs + more")):
        asked["splits"] = splits(unknown=unknown)
        refit_doubt.refit_doubt(
            Run.at(run.folder),
            data=["a", "b"],
            validation_data=["v"],
            data_dir="D",
            taxonomy="mine.csv",
        )
        config, given, *_ = asked["fitted"]
        assert (config.taxonomy, config.data_dir, config.validation_data) == (
            "mine.csv",
            "D",
            ("v",),
        )
        assert given.unknown.name == joined
        (path, metadata, split), options = asked["more"]
        assert (path, metadata.labels, split) == (run.model_path, ("poppy", "rose"), "unknown")
        assert options == {"run": Run.at(run.folder), "data_dir": "D", "sources": ["a", "b"]}


def test_what_cannot_be_fitted_leaves_the_run_as_it_was(run: Run, asked: dict[str, Any]) -> None:
    before = run.model_path.read_bytes()
    asked["doubt"] = None
    with pytest.raises(UserError, match="has neither photos labelled unknown nor photos to choose"):
        refit_doubt.refit_doubt(run)
    asked["splits"] = splits(labels=("poppy", "rose", "iris"))
    with pytest.raises(
        UserError, match="beds has the class 'iris', which .*mine does not know; te"
    ):
        refit_doubt.refit_doubt(run)
    assert run.model_path.read_bytes() == before
    assert run.checkpoints.exists()
    run.metrics_path.unlink()
    with pytest.raises(UserError, match="mine is no finished run; expected one of keras-flowers"):
        refit_doubt.refit_doubt(run)
