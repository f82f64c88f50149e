"""Each recipe is the command in its docstring, and they come in an order in which they can run."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest

from keras_flowers.commands.train import parse_arguments
from keras_flowers.files import write_json
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.recipes import FIELD_VARIABLE, RECIPES

CALLED = {"MobileNetV2": "frozen", "MobileNetV2_2040": "frozen_2040"}
"""What the README calls the runs of some recipes."""

LATER = {"flowers102_second": 1, "flowers102": 2}
"""The trainings that go on from another, with other views: by how much their seed is greater."""


def finish(runs: Path, config: TrainConfig) -> None:
    """Writes what a training of these settings leaves for the next."""
    settings = {**dataclasses.asdict(config), "image_size": 320, "epochs": 20}
    write_json(config.run_dir / "config.json", {"settings": settings})
    write_json(config.run_dir / "metrics.json", {"scores": {}, "temperature": 0.75})


def command_of(name: str, runs: Path) -> list[str]:
    """The arguments of the command in the docstring, with the folders of the test."""
    found = re.search(r"keras-flowers train(.*?)\n\n", RECIPES[name].__doc__ or "", re.DOTALL)
    assert found is not None
    words = shlex.split(found[1].replace("\\\n", " "))
    return [
        re.sub(r"saved_models/(\w+)", lambda one: str(runs / CALLED.get(one[1], one[1])), word)
        for word in words
    ]


@pytest.fixture(autouse=True)
def _field_as_in_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FIELD_VARIABLE, raising=False)


def test_recipe_is_the_command_that_it_names(tmp_path: Path) -> None:
    for name, recipe in RECIPES.items():
        config = recipe(tmp_path, 0)
        assert config.run_dir == tmp_path / name
        asked, extras = parse_arguments(
            [*command_of(name, tmp_path), "--output", str(tmp_path / name)]
        )
        assert dataclasses.replace(asked, export=False) == config
        assert asked.export is (name == "flowers102")  # the model that ships
        assert not any(extras)
        finish(tmp_path, config)


def test_seed_is_that_of_the_run_and_of_those_it_builds_on(tmp_path: Path) -> None:
    for recipe in RECIPES.values():
        config = recipe(tmp_path, 7)
        assert config.seed == 7 + LATER.get(recipe.__name__, 0)
        finish(tmp_path, config)


def test_all_photos_are_learned_with_the_temperature_found_without_them(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="config.json"):  # trained first, as the docstrings say
        RECIPES["frozen_2040"](tmp_path, 0)
    for name in ("frozen", "teacher", "fine_tuned", "field_lite0", "field_lite2"):
        finish(tmp_path, RECIPES[name](tmp_path, 0))
    learned_without = ("frozen", "teacher", "fine_tuned", "field_lite0", "field_lite2")
    for name in learned_without:
        config = RECIPES[f"{name}_2040"](tmp_path, 0)
        assert (config.train_split, config.temperature) == ("train+validation", 0.75)
        assert (config.image_size, config.epochs) == (320, 20)
        assert config.validation_split == "validation"


def test_field_photos_to_choose_on_are_never_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FIELD_VARIABLE, "gathered")
    for name in ("field_lite0", "field_lite2", "flowers102_first", *LATER):
        config = RECIPES[name](tmp_path, 0)
        finish(tmp_path, config)
        assert config.data == ("tfds:oxford_flowers102", str(Path("gathered") / "train.csv"))
        assert config.validation_data == (str(Path("gathered") / "validation.csv"),)
        assert config.temperature is None


def test_model_that_ships_was_made_by_its_recipe(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "saved_models" / "flowers102" / "config.json"
    settings = json.loads(shipped.read_text())["settings"]
    for name in ("flowers102_first", "flowers102_second"):
        finish(tmp_path, RECIPES[name](tmp_path, 0))
    config = RECIPES["flowers102"](tmp_path, 0)
    # Where it was made and what it was called then is another's.
    places = {"base", "teacher", "start_from", "output", "data_dir", "cache_dir", "export"}
    chosen = {"image_size", "epochs", "temperature", "overwrite"}
    asked = json.loads(json.dumps(dataclasses.asdict(config)))  # lists, as the file has them
    compared = (settings.keys() & asked.keys()) - places - chosen
    assert {"data", "learning_rate", "fine_tune", "fine_tune_views", "shrinkage"} <= compared
    assert {key: settings[key] for key in compared} == {key: asked[key] for key in compared}
