"""The options: one place for each, refused when out of range, repeated from a file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_flowers.commands.train import parse_arguments
from keras_flowers.errors import UserError
from keras_flowers.training.bases import BASES
from keras_flowers.training.config import TrainConfig, from_settings


def parse(*argv: str) -> TrainConfig:
    return parse_arguments(argv)[0]


def test_no_options_give_the_defaults() -> None:
    assert parse() == TrainConfig()


def test_every_field_is_an_option_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("--help")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(TrainConfig):
        assert f"--{field.name}" in text
        assert len(field.metadata["help"]) > 10
    assert "EfficientNetV2S" in text


def test_options_set_their_fields() -> None:
    config = parse("--base", "efficientnetb0", "--learning_rate", "0.01", "--epochs", "3")
    assert config.base == "EfficientNetB0"
    assert (config.learning_rate, config.epochs) == (0.01, 3)


def test_unknown_options_are_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("--epoch", "3")
    assert stopped.value.code == 2
    assert "--epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--image_size", "7"),
        ("--dropout", "1"),
        ("--learning_rate", "0"),
        ("--learning_rate", "nan"),
        ("--views", "0"),
        ("--seed", "-1"),
        ("--temperature", "inf"),
        ("--base", "VGG16"),
        ("--base", "no_such_file.keras"),
    ],
)
def test_values_out_of_range_are_named(option: str, value: str) -> None:
    with pytest.raises(UserError, match=option) as refused:
        parse(option, value)
    assert value in str(refused.value)


def test_a_run_is_repeated_from_its_config_file(tmp_path: Path) -> None:
    config = TrainConfig(base="MobileNetV2_0.35", seed=7, shrinkage=0.3, overwrite=True)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"settings": dataclasses.asdict(config), "versions": {}}))
    repeated = parse("--config", str(file), "--output", "elsewhere")
    # Permission to overwrite is not inherited.
    assert repeated == dataclasses.replace(config, overwrite=False, output="elsewhere")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"settings": 3}', '{"settings": {"colour": 1}}', "\xff"]
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(UserError):
        parse("--config", str(file))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([field.name for field in dataclasses.fields(TrainConfig)]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())
        ),
    )
)
def test_any_settings_make_a_config_or_one_clear_error(values: dict[str, object]) -> None:
    try:
        config = from_settings(values)
    except UserError as error:
        assert str(error)
    else:
        assert from_settings(dataclasses.asdict(config)) == config


def test_run_directory_is_named_after_the_base() -> None:
    assert TrainConfig().run_dir == Path("saved_models/MobileNetV2")
    assert parse("--demo").run_dir == Path("saved_models/demo")
    assert parse("--demo", "--output", "mine").run_dir == Path("mine")


def test_bases_have_keras_names_and_native_sizes() -> None:
    assert BASES["MobileNetV2_1.4"].arguments == {"alpha": 1.4}
    assert BASES["EfficientNetB7"].image_size == 600
    assert BASES["EfficientNetV2L"].image_size == 480
    assert {"MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"} <= BASES.keys()
