"""The options: one place for each, refused when out of range, repeated from a file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_flowers.commands.train import parse_arguments
from keras_flowers.errors import UserError
from keras_flowers.training.bases import BASES
from keras_flowers.training.config import (
    ResolvedConfig,
    TrainConfig,
    from_settings,
    load_settings,
)
from keras_flowers.training.train import epochs_for
from keras_flowers.training.views import LARGEST_SEED, View, seed_of


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


@pytest.mark.parametrize(
    ("option", "inside", "outside"),
    [
        ("image_size", (32, 1024), (31, 1025)),
        ("dropout", (0.0, 0.999), (-0.001, 1.0)),
        ("views", (1, 100), (0, 101)),
        ("field_views", (0, 100), (-1, 101)),
        ("epochs", (1, 10_000), (0, 10_001)),
        ("batch_size", (1, 100_000), (0, 100_001)),
        ("learning_rate", (1e-9, 99.9), (0.0, 100.0)),
        ("weight_decay", (0.0, 99.9), (-0.001, 100.0)),
        ("label_smoothing", (0.0, 0.999), (-0.001, 1.0)),
        ("shrinkage", (1e-9, 1e9), (0.0, math.inf)),
        ("temperature", (1e-9, 1e9), (0.0, math.inf)),
        ("distillation_temperature", (1.0, 1e9), (0.999, math.inf)),
        ("fine_tune_views", (1, 500), (0, 501)),
        ("fine_tune_field_views", (0, 100), (-1, 101)),
        ("fine_tune_epochs", (1, 500), (0, 501)),
        ("fine_tune_learning_rate", (1e-9, 99.9), (0.0, 100.0)),
        ("seed", (0, 2**20 - 1), (-1, 2**20)),
        ("worker_cores", (1, 1024), (0, 1025)),
    ],
)
def test_both_ends_of_a_range_are_where_the_message_says(
    option: str, inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    needed = {"engine": "ray"} if option == "worker_cores" else {}
    for value in inside:
        assert getattr(TrainConfig(**needed, **{option: value}), option) == value
    for value in outside:
        with pytest.raises(UserError, match=f"--{option}: expected .*, got {value}"):
            TrainConfig(**needed, **{option: value})


def test_defaults_are_those_of_the_published_results() -> None:
    # The README's table was made with them: who changes one measures anew.
    expected = {
        "data": (),
        "label_map": (),
        "data_weight": (),
        "balance_classes": False,
        "category_names": None,
        "taxonomy": None,
        "validation_data": (),
        "strict": False,
        "dataset": "oxford_flowers102",
        "data_dir": None,
        "train_split": "train",
        "validation_split": "validation",
        "test_split": "test",
        "base": "MobileNetV2",
        "image_size": None,
        "start_from": None,
        "dropout": 0.0,
        "views": 4,
        "field_views": 0,
        "epochs": None,
        "batch_size": 256,
        "learning_rate": 5e-4,
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "shrinkage": 1.0,
        "temperature": None,
        "seed": 0,
        "fine_tune": None,
        "teacher": (),
        "distillation_temperature": 3.5,
        "fine_tune_views": 16,
        "fine_tune_field_views": 0,
        "fine_tune_epochs": 4,
        "fine_tune_learning_rate": 1e-3,
        "output": None,
        "overwrite": False,
        "cache_dir": None,
        "export": False,
        "engine": None,
        "ray_address": None,
        "worker_cores": None,
    }
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    assert defaults == vars(TrainConfig()) == expected


def test_options_that_belong_to_others_are_refused_without_them() -> None:
    with pytest.raises(UserError, match="--teacher teaches fine-tuning; add --fine_tune LAYER"):
        TrainConfig(teacher=("run",))
    of_data: list[dict[str, Any]]
    of_data = [{"label_map": ("a",)}, {"category_names": "n.json"}, {"strict": True}]
    for options in of_data:
        with pytest.raises(UserError, match="--strict are about --data; add it"):
            TrainConfig(**options)
        assert TrainConfig(data=("roses",), **options).data == ("roses",)


def test_work_elsewhere_is_that_of_ray() -> None:
    with pytest.raises(UserError, match="^--engine: expected ray, got spark$"):
        TrainConfig(engine="spark")
    of_ray: list[dict[str, Any]] = [{"ray_address": "a:1"}, {"worker_cores": 2}]
    for options in of_ray:
        with pytest.raises(UserError, match="--ray_address and --worker_cores are for --engine"):
            TrainConfig(**options)
        assert TrainConfig(engine="ray", **options).engine == "ray"


def test_who_does_the_work_is_not_kept(tmp_path: Path) -> None:
    config = TrainConfig(engine="ray", ray_address="a:1", worker_cores=2, seed=5)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"settings": dataclasses.asdict(config)}))
    assert parse("--config", str(file)) == TrainConfig(seed=5)


def test_each_source_has_a_weight_or_none_has() -> None:
    sources = ("--data", "tfds:a", "--data", "tfds:b")
    config = parse(*sources, "--data_weight", "1", "--data_weight", "0.25")
    assert config.data_weight == (1.0, 0.25)
    assert from_settings(json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert parse(*sources).data_weight == ()
    with pytest.raises(UserError, match="1 --data_weight for 2 --data; expected one for each"):
        parse(*sources, "--data_weight", "1")
    with pytest.raises(UserError, match="1 --data_weight for 0 --data; expected one for each"):
        parse("--data_weight", "1")
    for wrong in ("0", "-1", "1001", "nan", "inf"):
        with pytest.raises(UserError, match="--data_weight: expected more than 0, at most 1000"):
            parse("--data", "tfds:a", "--data_weight", wrong)


def test_cache_is_where_the_system_has_its_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert TrainConfig().cache_folder == tmp_path / "caches" / "keras_flowers"
    # Empty and relative ones are not to be used, says the specification.
    for nowhere in ("", "caches"):
        monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
        assert TrainConfig().cache_folder == tmp_path / ".cache" / "keras_flowers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert TrainConfig().cache_folder == tmp_path / ".cache" / "keras_flowers"
    assert TrainConfig(cache_dir="~/mine").cache_folder == tmp_path / "mine"


def test_places_are_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "map.csv").touch()
    (tmp_path / "names.json").touch()
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(
        data=("own", "cifar10"), label_map=("map.csv", "-"), category_names="names.json"
    )
    assert config.data == (str(tmp_path / "own"), "cifar10")
    assert config.label_map == (str(tmp_path / "map.csv"), "-")
    assert config.category_names == str(tmp_path / "names.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert TrainConfig(data=("~/own",)).data == (str(tmp_path / "own"),)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"data": "own"}, "data: expected a list of text, got 'own'"),
        ({"data": ["own", 1]}, r"data: expected a list of text, got \['own', 1\]"),
        ({"data_weight": 2}, "data_weight: expected a list of numbers, got 2"),
        ({"data_weight": ["1"]}, r"data_weight: expected a list of numbers, got \['1'\]"),
        ({"data_weight": [True]}, r"data_weight: expected a list of numbers, got \[True\]"),
        ({"views": 4.0}, "views: expected int, got 4.0"),
        ({"views": True}, "views: expected int, got True"),
        ({"strict": 1}, "strict: expected bool, got 1"),
        ({"dropout": "0"}, "dropout: expected float, got '0'"),
        ({"vews": 1}, "'vews' is not a setting; expected some of data, "),
    ],
)
def test_settings_of_another_type_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        from_settings(settings)


def test_whole_numbers_are_numbers_and_lists_are_kept() -> None:
    config = from_settings({"dropout": 0, "temperature": 2, "data": ["a", "b"]})
    assert (config.dropout, config.temperature, config.data) == (0.0, 2.0, ("a", "b"))
    assert type(config.dropout) is type(config.temperature) is float
    assert type(from_settings({"views": 3}).views) is int


@pytest.mark.parametrize("content", ["[]", '{"views": 4}', '{"settings": [1]}'])
def test_file_without_settings_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match='has no "settings"; expected the config.json of a run'):
        load_settings(tmp_path / "config.json")


def test_permission_to_replace_is_not_kept(tmp_path: Path) -> None:
    settings = {"overwrite": True, "demo": True, "views": 3, "data": ["a"]}
    (tmp_path / "config.json").write_text(json.dumps({"settings": settings}))
    assert load_settings(tmp_path / "config.json") == {"views": 3, "data": ("a",)}


@pytest.mark.parametrize(("teacher", "expected"), [(None, ()), ("run", ("run",))])
def test_one_teacher_of_an_earlier_version_is_read(
    teacher: str | None, expected: tuple[str, ...], tmp_path: Path
) -> None:
    settings = {"settings": {"teacher": teacher}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert load_settings(tmp_path / "config.json") == {"teacher": expected}


def test_range_is_tried_for_every_number() -> None:
    tried = test_both_ends_of_a_range_are_where_the_message_says.pytestmark[0].args[1]
    numbers = {
        field.name
        for field in dataclasses.fields(TrainConfig)
        if type(field.default) in (int, float)
        or {int, float} & set(get_args(get_type_hints(TrainConfig)[field.name]))
    }
    numbers -= {"data_weight"}  # a list of them, with a test of its own
    assert {name for name, *_ in tried} == numbers


def test_view_of_one_seed_is_never_one_of_another() -> None:
    most = View.RANDOM_COUNT
    assert seed_of(0, View.random(most - 1)) < seed_of(1, View.FULL)
    assert seed_of(LARGEST_SEED, View.random(most - 1)) < 2**31
    assert View.is_random(View.random(0))
    assert not View.is_random(View.FLIPPED)


def test_unknown_base_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UserError) as refused:
        parse("--base", "MobilNetV2")
    assert "did you mean MobileNetV2, " in str(refused.value)
    assert "keras-flowers train --help" in str(refused.value)
    assert len(str(refused.value)) < 250
    with pytest.raises(UserError, match="'xyz' is not known; keras-flowers train --help"):
        parse("--base", "xyz")


def test_help_shows_the_options_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert text.startswith("usage: keras-flowers train ")
    groups = ["data:", "network:", "learning:", "fine-tuning:", "where things go:", "bases:"]
    places = [text.index(f"\n{group}\n") for group in groups]
    assert places == sorted(places)
    for word in (" STR", " INT", " FLOAT", "python -m"):
        assert word not in text


def test_temperature_of_a_run_is_taken_over_where_other_photos_are_learned_from(
    tmp_path: Path,
) -> None:
    config = ResolvedConfig(TrainConfig(seed=7), image_size=224, epochs=5)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"settings": config.settings()}))
    options = ("--config", str(file), "--train_split", "train+validation")
    assert parse(*options).temperature is None
    (tmp_path / "metrics.json").write_text('{"scores": {}, "temperature": 0.25}')
    assert parse(*options) == dataclasses.replace(
        config.asked, image_size=224, epochs=5, temperature=0.25, train_split="train+validation"
    )
    assert parse(*options, "--temperature", "2").temperature == 2
    # On the same photos it is fitted again, as the settings may be others.
    assert parse("--config", str(file), "--seed", "1").temperature is None


def test_config_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    settings = {**dataclasses.asdict(TrainConfig()), "demo": False, "temperature": 0.264}
    (tmp_path / "config.json").write_text(json.dumps({"settings": settings}))
    assert parse("--config", str(tmp_path / "config.json")) == TrainConfig(temperature=0.264)


@pytest.mark.parametrize(
    ("photos", "views", "epochs"),
    [(1, 1, 80), (64, 4, 80), (65, 4, 40), (1020, 4, 5), (100_000, 4, 5)],
)
def test_few_photos_are_passed_over_more_often(photos: int, views: int, epochs: int) -> None:
    found = epochs_for(photos * views, TrainConfig().batch_size)
    assert found == epochs
    assert found * -(-photos * views // 256) >= 80


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
