"""Going on from a finished run: whose settings and photos count, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.commands import train as train_command
from keras_flowers.errors import UserError
from keras_flowers.inference.keras_insides import FEATURES, OUTPUT
from keras_flowers.inference.metadata import Metadata, add_to_archive
from keras_flowers.training import head, new_classes, run_files, start_from, train
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import ResolvedConfig, TrainConfig, from_settings
from keras_flowers.training.head import _begun
from keras_flowers.training.new_classes import Apart
from keras_flowers.training.run_directory import Run, settings_to_go_on
from keras_flowers.training.start_from import balance_new, find_start, load_start
from keras_flowers.training.whitening import Whitening


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """What a finished run says of itself, without a network."""
    (tmp_path / "old").mkdir()
    run = Run.at(tmp_path / "run")
    run.folder.mkdir()
    settings = {
        "base": "MobileNetV2",
        "image_size": 320,
        "data": [str(tmp_path / "old"), str(tmp_path / "gone.csv")],
        "data_weight": [1.0, 0.25],
        "label_map": ["-", str(tmp_path / "names.csv")],
        "validation_data": [str(tmp_path / "gone_too.csv")],
        "fine_tune": "block_6_project_BN",
        "teacher": ["teacher"],
        "epochs": 7,
        "views": 3,
        "output": str(run.folder),
    }
    run.config_path.write_text(json.dumps({"settings": settings}))
    run.metrics_path.write_text(json.dumps({"scores": {}, "temperature": 2.0}))
    provenance = {"trained_on": {"split": "train", "photos": 3}, "dataset": "old"}
    add_to_archive(run.model_path, Metadata(("rose", "daisy"), (320, 320), provenance))
    return run


def test_settings_and_photos_of_the_run_count_where_nothing_else_is_said(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    arguments = ["--start_from", str(run.folder), "--data", str(tmp_path / "new"), "--views", "2"]
    config, _ = train_command.parse_arguments(arguments)
    # What is not where it was is left out, with what belongs to it.
    assert config.data == (str(tmp_path / "old"), str(tmp_path / "new"))
    assert (config.data_weight, config.label_map, config.validation_data) == ((), (), ())
    assert (config.image_size, config.views) == (320, 2)
    # How the base was tuned is no setting of what comes after it.
    assert (config.fine_tune, config.teacher, config.epochs) == (None, (), None)
    assert config.run_dir == Path("saved_models/run_more")


def test_source_that_is_given_again_is_not_read_twice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gone.csv").touch()
    changes: dict[str, Any] = {"data": [str(tmp_path / "new"), str(tmp_path / "old")]}
    changes["data_weight"] = [3.0, 2.0]
    config = from_settings(settings_to_go_on(str(run.folder), changes))
    assert config.data == tuple(str(tmp_path / name) for name in ("old", "gone.csv", "new"))
    assert config.data_weight == (2.0, 0.25, 3.0)
    assert config.label_map == ("-", str(tmp_path / "names.csv"), "-")
    with pytest.raises(UserError, match="2 --label_map and 1 --data_weight for 2 --data"):
        settings_to_go_on(str(run.folder), {**changes, "data_weight": [3.0], "label_map": ["a"]})


def test_data_set_of_the_run_is_its_first_source(run: Run) -> None:
    content = json.loads(run.config_path.read_text())
    content["settings"] = {"dataset": "tf_flowers", "base": "MobileNetV2"}
    run.config_path.write_text(json.dumps(content))
    made = settings_to_go_on(str(run.folder), {"data": ["new"]})
    assert made["data"] == ("tfds:tf_flowers", "new")
    assert "data" not in settings_to_go_on(str(run.folder), {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "MobileNet"}, "--base MobileNet: .*run was built upon MobileNetV2; leave"),
        ({"image_size": 224}, "--image_size 224: .*run takes 320 pixels; leave"),
        ({"start_from": "nowhere"}, "--start_from nowhere does not exist; expected the folder"),
    ],
)
def test_start_that_does_not_fit_is_refused(
    run: Run, changes: dict[str, Any], message: str
) -> None:
    asked = {"start_from": str(run.folder), "base": "mobilenetv2", "image_size": 320}
    assert find_start(TrainConfig(**asked)) is not None
    with pytest.raises(UserError, match=message):
        find_start(TrainConfig(**{**asked, **changes}))


def test_run_that_is_not_finished_is_refused(run: Run) -> None:
    run.metrics_path.unlink()
    with pytest.raises(UserError, match="run is no finished run: expected a folder that keras-fl"):
        find_start(TrainConfig(start_from=str(run.folder)))


def test_class_without_photos_and_photos_that_were_learned_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def splits(*labels: str) -> Any:
        photos = SimpleNamespace(labels=labels, dataset="new", split="validation")
        return SimpleNamespace(train=photos, validation=photos, test=photos)

    with pytest.raises(UserError, match="new has no class 'daisy', which .*run knows; a head forg"):
        load_start(run, splits("rose", "tulip"))
    with pytest.raises(UserError, match="new has the classes in another order, which"):
        load_start(run, splits("daisy", "rose"))
    monkeypatch.setattr(start_from, "count_learned", lambda *_: 5)
    with pytest.raises(UserError, match="was trained on 5 of the photos of validation: a score on"):
        load_start(run, splits("rose", "daisy"))


def test_training_without_a_start_begins_anew() -> None:
    assert find_start(TrainConfig()) is None


def test_base_is_the_same_by_any_of_its_names_and_a_file_by_its_path(tmp_path: Path) -> None:
    assert start_from._is_same_base("mobilenetv2", "MobileNetV2")
    assert not start_from._is_same_base("MobileNet", "MobileNetV2")
    gone = tmp_path / "gone.keras"
    assert start_from._is_same_base(str(gone), str(tmp_path / "x" / ".." / "gone.keras")) is False
    assert start_from._is_same_base(str(gone), f"{tmp_path}//gone.keras")


@pytest.fixture
def network() -> Any:
    """Two features, two classes; both have a bias."""
    import keras

    pixels = keras.Input((1, 1, 2), name="pixels")
    features = keras.layers.Identity(name=FEATURES)(keras.layers.Flatten()(pixels))
    head = keras.layers.Dense(2, activation="softmax", name=OUTPUT)
    model = keras.Model(pixels, head(features))
    head.set_weights([np.float32([[1, 2], [3, 4]]), np.float32([0.5, -0.5])])
    return model


def test_start_is_the_model_before_its_temperature(
    run: Run, network: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Run, "load_model", lambda self: network)
    photos = SimpleNamespace(labels=("rose", "daisy", *"abcdefg"), dataset="new")
    refused: list[Any] = []
    monkeypatch.setattr(start_from, "refuse_learned", lambda *given: refused.append(given))
    splits: Any = SimpleNamespace(train=photos)
    with caplog.at_level("INFO"):
        start = load_start(run, splits)
    assert refused == [(run, splits)]
    assert start.temperature == 2.0
    np.testing.assert_array_equal(start.head[0], [[2, 4], [6, 8]])
    np.testing.assert_array_equal(start.head[1], [1, -1])
    assert caplog.messages == [
        f"goes on from {run.folder}: its network and its 2 classes are taken over; new: 'a', 'b', "
        "'c', 'd', 'e' and 2 more"
    ]
    caplog.clear()
    photos.labels = ("rose", "daisy", *"abcde")
    with caplog.at_level("INFO"):
        load_start(run, splits)
    assert caplog.messages[0].endswith("new: 'a', 'b', 'c', 'd', 'e'")
    photos.labels = ("rose", "daisy")
    caplog.clear()
    with caplog.at_level("INFO"):
        load_start(run, splits)
    assert caplog.messages[0].endswith("its 2 classes are taken over")
    tuned = TrainConfig(fine_tune="block_6_project_BN")
    assert start.keeps_head(tuned, ("rose", "daisy"))
    assert not start.keeps_head(tuned, ("rose", "daisy", "a"))
    assert not start.keeps_head(TrainConfig(), ("rose", "daisy"))


def test_new_classes_begin_with_nothing_and_the_others_as_they_were(run: Run, network: Any) -> None:
    start = start_from.Start(run, network, 1.0)
    wider = start.with_classes(4, seed=0)
    kernel, bias = wider.get_layer(OUTPUT).get_weights()
    np.testing.assert_array_equal(kernel, [[1, 2, 0, 0], [3, 4, 0, 0]])
    np.testing.assert_array_equal(bias, [0.5, -0.5, 0, 0])
    assert wider.get_layer(OUTPUT).activation.__name__ == "softmax"
    assert start.with_classes(2, seed=0).output_shape == (None, 2)


def test_photos_without_a_test_split_are_not_asked_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(start_from, "count_learned", lambda one, *_: asked.append(one) or 0)
    start_from.refuse_learned(run, SimpleNamespace(validation=None, test="test"))  # type: ignore[arg-type]
    assert asked == ["test"]


def test_kept_classes_answer_as_before_and_a_new_one_begins_at_its_photos() -> None:
    random = np.random.default_rng(0)
    matrix = np.asfortranarray(np.tril(random.normal(size=(6, 6))) + 3 * np.eye(6), np.float32)
    whitening = Whitening(random.normal(size=6).astype(np.float32), matrix)
    means = 5 * random.normal(size=(4, 6)).astype(np.float32)
    kernel = matrix.T @ (0.1 * (matrix @ (means[:3] - whitening.centre).T))
    bias = random.normal(size=3).astype(np.float32)
    start = whitening.fold(*_begun(kernel, bias, whitening, means))
    np.testing.assert_allclose(start[0][:, :3], kernel, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(start[1][:3], bias, rtol=1e-3, atol=1e-3)
    assert (means @ start[0] + start[1]).argmax(axis=1).tolist() == [0, 1, 2, 3]


def head_with_a_timid_class(overlap: float) -> tuple[Any, Any, CachedFeatures]:
    """A head of three classes of which the third is new and too quiet, its start, and photos.

    Args:
        overlap: How far photos of the first class reach towards the third.
    """
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [400, 400, 40])
    rows = 4 * np.eye(3, dtype=np.float32)[labels] + random.normal(0, 0.5, (840, 3))
    rows[:400, 2] += overlap
    kernel, bias = np.eye(3, dtype=np.float32), np.float32([0, 0, -4])
    start = (kernel[:, :2], bias[:2])
    return (kernel, bias), start, CachedFeatures([rows.astype(np.float16)], labels)


def test_new_class_is_named_as_readily_as_validation_asks_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (kernel, bias), start, photos = head_with_a_timid_class(0)
    rows, labels = photos.views[0][:].astype(np.float32), photos.labels
    with caplog.at_level("INFO"):
        raised = balance_new(kernel, bias, start, photos)
    (said,) = caplog.messages
    times = re.fullmatch(
        r"new classes are named (\d+\.\d) times as readily, as photos ask for that were not "
        "learned from",
        said,
    )
    assert times is not None and float(times[1]) > 1
    assert raised.dtype == np.float32
    assert raised[:2].tolist() == bias[:2].tolist()
    before, after = ((rows @ kernel + one).argmax(axis=1) == labels for one in (bias, raised))
    assert before[labels == 2].mean() < 0.6
    assert after[labels == 2].mean() > 0.9
    assert after[labels < 2].mean() >= before[labels < 2].mean() - 0.005


def test_new_class_may_not_cost_the_old_ones_more_than_half_a_point() -> None:
    (kernel, bias), start, photos = head_with_a_timid_class(6)
    rows, old = photos.views[0][:].astype(np.float32), photos.labels < 2
    raised = balance_new(kernel, bias, start, photos)

    def accuracy(of: Any) -> float:
        return float(((rows @ kernel + of).argmax(axis=1) == photos.labels)[old].mean())

    reference = float(((rows @ start[0] + start[1]).argmax(axis=1) == photos.labels)[old].mean())
    assert accuracy(raised) >= reference - 0.005
    # It is raised as far as that goes.
    assert raised[2] > bias[2]
    assert accuracy(raised + np.float32([0, 0, 0.1])) < reference - 0.005


def test_new_class_that_costs_more_is_named_less_readily() -> None:
    (kernel, bias), start, photos = head_with_a_timid_class(6)
    rows, old = photos.views[0][:].astype(np.float32), photos.labels < 2
    loud = bias + np.float32([0, 0, 2])

    def accuracy(kernel: Any, bias: Any) -> float:
        return float(((rows @ kernel + bias).argmax(axis=1) == photos.labels)[old].mean())

    assert accuracy(kernel, loud) < accuracy(*start) - 0.005
    assert accuracy(kernel, balance_new(kernel, loud, start, photos)) >= accuracy(*start) - 0.005


def test_head_without_new_classes_on_validation_stays_as_it_is() -> None:
    (kernel, bias), start, photos = head_with_a_timid_class(0)
    some = photos.some(np.flatnonzero(photos.labels < 2))
    assert balance_new(kernel, bias, start, some) is bias
    assert balance_new(kernel[:, :2], bias[:2], start, some).tolist() == bias[:2].tolist()


def test_new_photos_that_were_left_out_stand_in_for_those_of_validation() -> None:
    (kernel, bias), start, photos = head_with_a_timid_class(0)
    old, new = (photos.some(np.flatnonzero(of)) for of in (photos.labels < 2, photos.labels == 2))
    rows = np.asarray(new.views[0][:], np.float32)
    apart = Apart(rows @ kernel + bias, new.labels)
    raised = balance_new(kernel, bias, start, old, apart)
    np.testing.assert_array_equal(raised, balance_new(kernel, bias, start, photos))
    assert raised[2] > bias[2]
    # The old photos, not these, say what may be lost.
    sure = Apart(np.float32([[0, 0, -60]]), np.array([2]))
    lost = balance_new(kernel, np.float32([0, 0, 0]), start, old, sure)
    rows, labels = np.asarray(old.views[0][:], np.float32), old.labels
    right = [((rows @ kernel + of).argmax(axis=1) == labels).mean() for of in (bias, lost)]
    assert right[1] >= right[0] - 0.005


def test_head_that_goes_on_learns_gently_and_balances_new_classes(
    run: Run, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_from.Start(run, network, 1.0)
    wider = start.with_classes(3, seed=0)
    asked: list[Any] = []
    fitted = np.float32([[1, 2, 0], [3, 4, 0]]), np.float32([0.5, -0.5, -3])

    def fit_head(*given: Any, start: Any, **_: Any) -> head.FittedHead:
        asked.append((given[3].learning_rate, start is None))
        return head.FittedHead(*fitted, None, [])  # type: ignore[arg-type]

    def balance(kernel: Any, bias: Any, before: Any, validation: Any, apart: Any) -> Any:
        assert apart is None
        assert before[1].tolist() == [0.5, -0.5]
        assert validation == "validation"
        return bias + [0, 0, 2]

    monkeypatch.setattr(head, "fit_head", fit_head)
    monkeypatch.setattr(train, "balance_new", balance)
    config = ResolvedConfig(TrainConfig(learning_rate=0.01), 320, 2)
    photos = CachedFeatures([np.ones((3, 2), np.float16)], np.arange(3))
    validation: Any = "validation"
    both: Any = train._Head(photos, validation)
    train._fit_head(config, wider, both, run, start)
    assert wider.get_layer(OUTPUT).get_weights()[1].tolist() == [0.5, -0.5, -1]
    train._fit_head(config, wider, both._replace(validation=None), run, start)
    train._fit_head(config, wider, both, run, None)
    assert wider.get_layer(OUTPUT).get_weights()[1].tolist() == [0.5, -0.5, -3]
    assert asked == [(pytest.approx(0.003), False)] * 2 + [(0.01, True)]


def tuned_as(run: Run, fine_tune: str | None) -> Run:
    """The run with another model, that was made so."""
    run.model_path.unlink()
    provenance = {"fine_tune": fine_tune}
    add_to_archive(run.model_path, Metadata(("rose", "daisy"), (320, 320), provenance))
    return Run.at(run.folder)


def test_head_upon_a_tuned_network_grows_to_know_new_classes(
    run: Run, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not start_from.Start(run, network, 2.0).is_to_grow(3)
    start = start_from.Start(tuned_as(run, "block_6_project_BN"), network, 2.0)
    assert start.is_to_grow(3)
    assert not start.is_to_grow(2)
    grown = new_classes.Grown(
        np.float32([[1, 2, 0], [3, 4, 0]]),
        np.float32([0.5, -0.5, -3]),
        new_classes.Apart(np.zeros((1, 3), np.float32), np.array([2])),
        [{"epoch": 1.0}],
    )
    asked: list[Any] = []

    def grow(*given: Any) -> Any:
        asked.append(given)
        return grown

    def balance(kernel: Any, bias: Any, before: Any, validation: Any, apart: Any) -> Any:
        assert apart is grown.apart
        return bias + [0, 0, 2]

    monkeypatch.setattr(new_classes, "grow_head", grow)
    monkeypatch.setattr(train, "balance_new", balance)
    rows = np.float16([[0, 0], [4, 0], [0, 4], [2, 2]])
    photos = CachedFeatures([rows], np.array([0, 1, 2, 2]))
    validation: Any = "validation"
    both: Any = train._Head(photos, validation)
    config = ResolvedConfig(TrainConfig(shrinkage=0.25), 320, 2)
    wider = start.with_classes(3, seed=0)
    assert train._fit_head(config, wider, both, run, start) == [{"epoch": 1.0}]
    (((kernel, bias), *others),) = asked
    assert kernel.tolist() == [[1, 2], [3, 4]]
    assert bias.tolist() == [0.5, -0.5]
    temperature, learned, means, whitening = others
    assert (temperature, learned) == (2.0, photos)
    assert means.tolist() == [[0, 0], [4, 0], [1, 3]]
    # The correlation within the classes is -1: what is whitened has its inverse, shrunken.
    inverse = np.linalg.inv(0.5 * np.float32([[1.25, -1], [-1, 1.25]]))
    np.testing.assert_allclose(whitening.matrix.T @ whitening.matrix, inverse, rtol=1e-4)
    kernel, bias = wider.get_layer(OUTPUT).get_weights()
    np.testing.assert_array_equal(kernel, grown.kernel)
    assert bias.tolist() == [0.5, -0.5, -1]


def test_network_stays_tuned_however_often_a_training_goes_on_from_it(run: Run) -> None:
    assert run_files._tuned_before(str(tuned_as(run, "all").folder)) == "all"
    assert run_files._tuned_before(str(tuned_as(run, None).folder)) is None
    assert run_files._tuned_before(None) is None
