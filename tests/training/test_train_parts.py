"""What a training chooses before it begins, and what it says of its cache; nothing is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="training needs the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training import train
from keras_flowers.training.config import ResolvedConfig, TrainConfig
from keras_flowers.training.run_directory import Run
from keras_flowers.training.views import View


def test_large_cache_is_told_of_and_a_smaller_one_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for size, said in (
        (1_000_000_000, []),
        (
            1_250_000_001,
            [
                f"cached features take 1.3 GB in {tmp_path}: keras-flowers cache lists them, and "
                "with --limit 1GB deletes the oldest"
            ],
        ),
    ):
        monkeypatch.setattr(train, "FeatureCache", lambda folder, n=size: SimpleNamespace(bytes=n))
        caplog.clear()
        with caplog.at_level("INFO"):
            train._tell_of_cache(tmp_path)
        assert caplog.messages == said


def test_views_are_those_of_the_photo_and_of_the_field() -> None:
    assert train._views(TrainConfig(views=3)) == [0, 1, 2]
    assert train._views(TrainConfig(views=2, field_views=2)) == [0, 1, View.field(0), View.field(1)]


def test_few_photos_are_learned_in_as_many_steps() -> None:
    assert train.epochs_for(1, 256) == 80
    assert train.epochs_for(256, 256) == 80
    assert train.epochs_for(257, 256) == 40
    assert train.epochs_for(16 * 256, 256) == 5
    assert train.epochs_for(15 * 256, 256) == 6


def test_nothing_is_chosen_on_photos_that_are_learned_from() -> None:
    photos: Any = SimpleNamespace(count=256)
    splits: Any = SimpleNamespace(train=photos, validation=None)
    with pytest.raises(UserError, match="--train_split train holds the validation photos, so noth"):
        train._resolve(TrainConfig(), splits)
    resolved = train._resolve(TrainConfig(temperature=0.5, image_size=96, views=2), splits)
    assert (resolved.image_size, resolved.epochs) == (96, train.epochs_for(512, 256))
    start: Any = SimpleNamespace(model=SimpleNamespace(input_shape=(None, 128, 128, 3)))
    splits.validation = photos
    assert train._resolve(TrainConfig(epochs=7), splits, start).image_size == 128
    assert train._resolve(TrainConfig(epochs=7), splits, start).epochs == 7
    assert train._resolve(TrainConfig(base="MobileNetV2"), splits).image_size == 224
    with pytest.raises(ValueError, match="no validation photos to fit a temperature on"):
        train._calibrate(TrainConfig(), None, None)


@pytest.mark.parametrize(
    ("name", "is_finished", "provenance", "is_tuned"),
    [
        ("model.keras", True, {"fine_tune": "all"}, True),
        ("model.keras", False, {"fine_tune": "all"}, False),
        ("model.keras", True, {}, False),
        ("other.keras", True, {"fine_tune": "all"}, False),
    ],
)
def test_base_has_learned_from_photos_only_where_its_run_says_so(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    is_finished: bool,
    provenance: dict[str, str],
    is_tuned: bool,
) -> None:
    run = SimpleNamespace(
        model_path=Path("run") / name,
        is_finished=is_finished,
        metadata=SimpleNamespace(provenance=provenance),
    )
    monkeypatch.setattr(train, "file_of_base", lambda base: base)
    monkeypatch.setattr(Run, "open", lambda path: run)
    assert (train._tuned_base("run") is run) is is_tuned
    assert train._tuned_base("MobileNetV2") is None


def test_worker_has_four_cores_at_most_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_flowers.inference.scale import ray_workers

    asked: list[Any] = []
    monkeypatch.setattr(ray_workers, "ray_workers", lambda make, **options: asked.append(options))
    for cores, config in ((16, {}), (2, {}), (16, {"worker_cores": 6, "engine": "ray"})):
        monkeypatch.setattr(train, "available_cores", lambda cores=cores: cores)
        train._workers(TrainConfig(**config))
    assert [one["cores"] for one in asked] == [4, 2, 6]
    assert asked[0] == {"address": None, "workers": None, "cores": 4, "memory_mb": None}


def test_photos_to_choose_on_that_are_learned_or_tested_on_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import numpy as np

    from keras_flowers.training import sources

    def photos(*digests: bytes, split: str = "x") -> Any:
        return Photos(digests=np.array(digests), split=split, labels=("a",), dataset="holiday")

    class Photos(SimpleNamespace):
        pass

    opened = SimpleNamespace(
        counts={"train": 1, "unknown": 1, "test": 1},
        photos=lambda split: asked.append(split) or photos(b"1", b"2", b"3"),
    )
    asked: list[str] = []
    monkeypatch.setattr(sources, "open_photos", lambda *_, **__: opened)
    monkeypatch.setattr(
        train.dataclasses, "replace", lambda one, **new: Photos(**{**vars(one), **new})
    )
    config = TrainConfig(validation_data=("holiday",), data=("x",))
    found = train._open_validation_data(config, photos(b"8"), photos(b"9"))
    assert asked == ["train+test"]
    assert found.split == "holiday"
    for learned, tested in (((b"2", b"3"), (b"9",)), ((b"8",), (b"1", b"3"))):
        with pytest.raises(UserError, match="--validation_data shares 2 photos with y; expected"):
            train._open_validation_data(
                config,
                photos(*learned, split="y" if len(learned) > 1 else "z"),
                photos(*tested, split="y"),
            )


def test_every_option_about_photos_reaches_what_opens_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras_flowers.training import sources

    class OpenedError(Exception):
        pass

    asked: list[Any] = []

    def open_photos(given: Any, **options: Any) -> Any:
        asked.append((given, options))
        raise OpenedError

    monkeypatch.setattr(sources, "open_photos", open_photos)
    config = TrainConfig(
        data=("mine",),
        data_dir="D",
        category_names="N",
        label_map=("L",),
        cache_dir=str(tmp_path),
        strict=True,
        validation_data=("more",),
    )
    begun = Run.at(tmp_path)
    monkeypatch.setattr(Run, "metadata", property(lambda self: SimpleNamespace(labels=("a", "b"))))
    for run in (None, begun):
        with pytest.raises(OpenedError):
            train.open_splits(config, run)
    begun.split_path.touch()
    with pytest.raises(OpenedError):
        train.open_splits(config, begun)
    alike = {
        "data_dir": "D",
        "category_names": "N",
        "label_map": ("L",),
        "cache_dir": tmp_path,
        "strict": True,
    }
    new = {**alike, "division": None, "labels": None, "new_labels": False}
    gone_on = {**alike, "division": None, "labels": ("a", "b"), "new_labels": True}
    assert asked == [
        (("mine",), new),
        (("mine",), gone_on),
        (("mine",), {**gone_on, "division": begun.split_path}),
    ]
    asked.clear()
    known: Any = SimpleNamespace(labels=("a",))
    with pytest.raises(OpenedError):
        train._open_validation_data(config, known, known)
    options = {"data_dir": "D", "cache_dir": tmp_path, "strict": True, "labels": ("a",)}
    assert asked == [(("more",), {**options, "divide": False})]


def test_every_option_about_weights_and_views_reaches_the_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keras_flowers.training.sources import labelled

    weighed: list[Any] = []
    monkeypatch.setattr(
        labelled, "weigh", lambda photos, *a, **b: weighed.append((photos, a, b)) or "weighed"
    )
    ran: list[Any] = []
    extractor: Any = SimpleNamespace(features=lambda photos, views: ran.append((photos, views)))
    asked = TrainConfig(data=("a",), data_weight=(0.5,), balance_classes=True, views=1)
    splits: Any = SimpleNamespace(train="train", validation="validation")
    config: Any = SimpleNamespace(asked=asked)
    train._features(config, splits, extractor)
    assert weighed == [("train", ((0.5,),), {"balance_classes": True})]
    assert ran == [("weighed", [0]), ("validation", [View.FULL])]
    splits.validation = None
    assert train._validation_features(splits, extractor) is None


def test_head_is_fitted_with_its_settings_and_goes_on_in_the_way_of_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from keras_flowers.training import head as heads
    from keras_flowers.training import model as models

    set_: list[Any] = []
    layer = SimpleNamespace(set_weights=set_.append)
    layers = {models.OUTPUT: layer}
    tail = SimpleNamespace(get_layer=layers.get, output_shape=(None, 3))
    monkeypatch.setattr(models, "split_at", lambda model, name: ("trunk", tail))
    asked: list[Any] = []
    weights: Any = np.float32(6), np.float32(2)
    whitening: Any = None
    fitted = heads.FittedHead(*weights, whitening, [{"epoch": 1}])
    monkeypatch.setattr(heads, "fit_head", lambda *a, **b: asked.append((a, b)) or fitted)
    balanced: list[Any] = []
    monkeypatch.setattr(train, "balance_new", lambda *a: balanced.append(a) or "raised")
    run = Run.at(tmp_path)
    config = ResolvedConfig(TrainConfig(learning_rate=0.01), 224, 7)
    head = train._Head("train", "validation")  # type: ignore[arg-type]
    assert train._fit_head(config, "model", head, run, None) == [{"epoch": 1}]  # type: ignore[arg-type]
    options = {"checkpoint": tmp_path / "checkpoints" / "head.npz", "title": "head"}
    options["start"] = None
    assert asked == [((tail, "train", "validation", config.asked, 7), options)]
    assert (set_, balanced) == ([[6, 2]], [])
    theirs = np.float32(8), np.float32(4)
    gentler = dataclasses.replace(config.asked, learning_rate=0.3 * 0.01)
    start: Any = SimpleNamespace(head=theirs, is_to_grow=lambda classes: False)
    train._fit_head(config, "model", head, run, start)  # type: ignore[arg-type]
    options["start"] = theirs
    assert asked[1] == ((tail, "train", "validation", gentler, 7), options)
    assert balanced == [(6, 2, theirs, "validation", None)]
    assert set_[1] == [6, "raised"]
    # Nothing tells then how readily new classes are to be named.
    train._fit_head(config, "model", head._replace(validation=None), run, start)  # type: ignore[arg-type]
    assert (len(balanced), set_[2]) == (1, [6, 2])


def test_teachers_are_kept_from_the_photos_that_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keras_flowers.training import teachers

    splits: Any = SimpleNamespace(train="train", validation="validation", test="test")
    assert train._load_teachers(ResolvedConfig(TrainConfig(), 160, 3), splits) == []
    asked: list[Any] = []
    monkeypatch.setattr(teachers, "load_teachers", lambda *a: asked.append(a) or ["teacher"])
    without: Any = SimpleNamespace(train="train", validation=None, test="test")
    config = ResolvedConfig(TrainConfig(teacher=("a", "b"), fine_tune="all"), 160, 3)
    assert train._load_teachers(config, splits) == ["teacher"]
    train._load_teachers(config, without)
    paths = [Path("a"), Path("b")]
    assert asked == [
        (paths, "train", ["validation", "test"], 160),
        (paths, "train", ["test"], 160),
    ]


def test_base_is_tuned_with_the_teachers_on_all_photos(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from keras_flowers.training import fine_tune

    asked: list[Any] = []
    monkeypatch.setattr(fine_tune, "fine_tune", lambda *a, **b: asked.append((a, b)) or ["row"])
    splits: Any = SimpleNamespace(train="train", validation="validation")
    config = ResolvedConfig(TrainConfig(), 160, 3)
    made: Any = "made"
    told = train._fine_tune(config, splits, "model", ["a"], made, Run.at(tmp_path))  # type: ignore[arg-type]
    assert told == ["row"]
    options = {"extractor_of": "made", "checkpoint": tmp_path / "checkpoints" / "fine_tune.npz"}
    assert asked == [((config.asked, "model", ["a"], "train", "validation"), options)]


def test_features_are_kept_for_the_run_that_asks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from keras_flowers.training import features

    made: list[Any] = []
    monkeypatch.setattr(features, "FeatureExtractor", lambda *a, **b: made.append((a, b)))
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(seed=5, cache_dir="cache", output=".")
    with train.extractors(config) as extractor_of:
        extractor_of("trunk")  # type: ignore[arg-type]
    with train.extractors(TrainConfig(engine="ray", output="x/mine")) as extractor_of:
        extractor_of("trunk")  # type: ignore[arg-type]
    (arguments, options), (_, by_ray) = made
    assert arguments == ("trunk",)
    folder = Path("cache") / "features"
    assert options == {"seed": 5, "folder": folder, "run": tmp_path.name, "crew": None}
    assert by_ray["run"] == "mine"
    assert callable(by_ray["crew"])  # Ray is started at the first feature that is not cached


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each step of a training as it is taken, with all that it is given; none does anything."""
    import tensorflow as tf

    from keras_flowers.training import model as models

    taken: list[Any] = []

    def stand_in(place: Any, name: str, answer: Any) -> None:
        def step(*given: Any) -> Any:
            taken.append((name, *given))
            return answer(*given) if callable(answer) else answer

        monkeypatch.setattr(place, name, step)

    stand_in(tf.config.experimental, "enable_op_determinism", None)
    stand_in(models, "split_at", lambda model, layer: (f"trunk of {model} at {layer}", None))
    stand_in(train, "_resolve", lambda config, *_: ResolvedConfig(config, 96, 7))
    stand_in(train, "_load_teachers", ["teacher"])
    stand_in(train, "_build", "model")
    stand_in(train, "_features", SimpleNamespace(validation="features of validation"))
    stand_in(train, "_fit_head", [{"epoch": 1}, {"epoch": 2}])
    stand_in(train, "_fine_tune", [{"epoch": 1, "loss": 0.5}])
    stand_in(train, "_validation_features", "tuned features of validation")
    stand_in(train, "_calibrate", 0.75)
    stand_in(train, "_score", {"test": "scores"})
    stand_in(train, "add_doubt", ("model with doubt", "doubt"))
    stand_in(train, "write_run", None)
    stand_in(train, "_tell_of_cache", None)
    clock = iter((100.0, 160.5))
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock))
    return taken


class Extractor:
    """Of what network, and whether its features are still kept."""

    def __init__(self, trunk: str) -> None:
        self.trunk, self.is_kept = trunk, True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extractor) and self.trunk == other.trunk

    def forget(self) -> None:
        self.is_kept = False


TRUNK = Extractor("trunk of model at features")


def test_training_takes_its_steps_in_their_order(
    steps: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ("aster", "rose")
    splits: Any = SimpleNamespace(
        train=SimpleNamespace(split="train", count=12, labels=labels), validation="validation"
    )
    monkeypatch.setattr(train, "open_splits", lambda *given: splits)
    config, run = TrainConfig(cache_dir=str(tmp_path)), Run.at(tmp_path / "run")
    made: Any = Extractor
    result = train._train(config, run, None, made)
    resolved = ResolvedConfig(config, 96, 7)
    head = SimpleNamespace(validation="features of validation")
    assert steps == [
        ("enable_op_determinism",),
        ("_resolve", config, splits, None),
        ("_load_teachers", resolved, splits),
        ("_build", resolved, splits, None),
        ("split_at", "model", "features"),
        ("_features", resolved, splits, TRUNK),
        ("_fit_head", resolved, "model", head, run, None),
        ("_calibrate", config, "model", "features of validation"),
        ("_score", splits, "model", "features of validation", TRUNK),
        ("add_doubt", config, splits, "model", TRUNK, run),
        ("write_run", result, "model with doubt", splits, [{"epoch": 1}, {"epoch": 2}]),
        ("_tell_of_cache", tmp_path / "features"),
    ]
    assert (result.run, result.config, result.scores) == (run, resolved, {"test": "scores"})
    assert (result.temperature, result.doubt, result.seconds) == (0.75, "doubt", 60.5)
    assert result.trained_on == {"split": "train", "photos": 12}


def test_tuning_comes_behind_the_head_and_its_features_are_not_kept(
    steps: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: Any = SimpleNamespace(
        train=SimpleNamespace(split="train", count=12, labels=()), validation="validation"
    )
    monkeypatch.setattr(train, "open_splits", lambda *given: splits)
    config = TrainConfig(fine_tune="all", cache_dir=str(tmp_path))
    run, extractors = Run.at(tmp_path), []

    def extractor_of(trunk: Any) -> Any:
        extractors.append(Extractor(trunk))
        return extractors[-1]

    train._train(config, run, None, extractor_of)
    names = [name for name, *_ in steps]
    assert names[6:10] == ["_fit_head", "_fine_tune", "split_at", "_validation_features"]
    resolved = ResolvedConfig(config, 96, 7)
    assert steps[7][1:] == (resolved, splits, "model", ["teacher"], extractor_of, run)
    assert steps[10] == ("_calibrate", config, "model", "tuned features of validation")
    # One history, its epochs counted on.
    history = [{"epoch": 1}, {"epoch": 2}, {"epoch": 3, "loss": 0.5}]
    assert next(step for step in steps if step[0] == "write_run")[-1] == history
    first, second = extractors
    assert steps[9] == ("_validation_features", splits, second)
    assert (first.is_kept, second.is_kept) == (True, False)


@pytest.mark.parametrize("keeps_head", [True, False])
def test_start_has_the_temperature_and_the_head_where_nothing_else_says_so(
    steps: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    keeps_head: bool,
) -> None:
    splits: Any = SimpleNamespace(
        train=SimpleNamespace(split="all", count=1, labels="ab"), validation=None
    )
    asked: list[Any] = []
    start: Any = SimpleNamespace(
        run=Run.at(tmp_path / "first"),
        temperature=0.625,
        keeps_head=lambda *given: asked.append(given) or keeps_head,
    )
    monkeypatch.setattr(train, "open_splits", lambda *given: asked.append(given) or splits)
    monkeypatch.setattr(train, "load_start", lambda *given: asked.append(given) or start)
    config, begun = TrainConfig(cache_dir=str(tmp_path)), Run.at(tmp_path / "begun")
    made: Any = Extractor
    with caplog.at_level("INFO"):
        train._train(config, Run.at(tmp_path), begun, made)
    warm = dataclasses.replace(config, temperature=0.625)
    assert asked == [(config, begun), (begun, splits), (warm, "ab")]
    assert caplog.messages == [
        f"no photos to choose on: the temperature is that of {tmp_path / 'first'}"
    ]
    assert steps[1] == ("_resolve", warm, splits, start)
    assert [name for name, *_ in steps].count("_fit_head") == (0 if keeps_head else 1)
    validation = None if keeps_head else "features of validation"
    assert ("_calibrate", warm, "model", validation) in steps
    steps.clear()
    monkeypatch.setattr(train.time, "monotonic", lambda: 0.0)
    given = TrainConfig(temperature=0.5, cache_dir=str(tmp_path))
    train._train(given, Run.at(tmp_path), begun, made)
    assert steps[1][1] == given  # what is asked for stays


def test_network_is_built_for_its_classes_or_is_that_of_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from keras_flowers.training import model as models

    asked: list[Any] = []

    def record(place: Any, name: str, answer: Any) -> None:
        def call(*given: Any, **options: Any) -> Any:
            asked.append((name, *given, *options.items()))
            return answer

        monkeypatch.setattr(place, name, call)

    record(models, "build_model", "new model")
    record(models, "split_at", None)
    record(train, "refuse_learned", None)
    record(train, "_tuned_base", None)
    splits: Any = SimpleNamespace(
        train=SimpleNamespace(labels="abc", count=12, dataset="beds", split="train")
    )

    def build(start: Any = None, **settings: Any) -> Any:
        asked.clear()
        config = TrainConfig(base="MobileNet", seed=7, **settings)
        return train._build(ResolvedConfig(config, 96, 5), splits, start)

    with caplog.at_level("INFO"):
        assert build() == "new model"
    assert asked == [("_tuned_base", "MobileNet"), ("build_model", "MobileNet", 96, 3, ("seed", 7))]
    assert caplog.messages == [
        "MobileNet at 96 x 96 pixels, frozen; 12 photos of beds train, 3 classes",
    ]
    # A layer that there is not is found before the features are computed.
    build(fine_tune="block_6")
    assert asked[-1] == ("split_at", "new model", "block_6")
    build(fine_tune="all")
    assert "split_at" not in {name for name, *_ in asked}
    # What a base has learned from must not be scored.
    record(train, "_tuned_base", "its run")
    build()
    assert asked[1] == ("refuse_learned", "its run", splits)
    start: Any = SimpleNamespace(with_classes=lambda *given: asked.append(given) or "old model")
    assert build(start) == "old model"
    assert asked == [(3, 7)]


def test_scores_are_of_what_was_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    from keras_flowers.training import fit, metrics
    from keras_flowers.training import model as models

    monkeypatch.setattr(models, "split_at", lambda model, layer: (None, f"{model} from {layer}"))
    monkeypatch.setattr(fit, "predict_all", lambda tail, rows: (tail, rows))
    monkeypatch.setattr(metrics, "score", lambda *answers: answers)
    test, validation = (SimpleNamespace(split=split) for split in ("test[:9]", "mine"))
    splits: Any = SimpleNamespace(test=test, validation=validation)
    extractor: Any = SimpleNamespace(features=lambda photos, views: (photos.split, views))
    model: Any = "model"
    of_test = ("model from features", ("test[:9]", [View.FULL]))
    found: Any = train._score(splits, model, "rows", extractor)
    assert found == {"mine": ("model from features", "rows"), "test[:9]": of_test}
    assert train._score(splits, model, None, extractor) == {"test[:9]": of_test}
    splits.validation = None
    assert train._score(splits, model, None, extractor) == {"test[:9]": of_test}


def test_temperature_is_the_one_asked_for_or_that_of_the_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keras_flowers.training import fit, metrics
    from keras_flowers.training import model as models

    applied: list[Any] = []
    monkeypatch.setattr(models, "split_at", lambda model, layer: (None, f"{model} from {layer}"))
    monkeypatch.setattr(models, "apply_temperature", lambda *given: applied.append(given))
    monkeypatch.setattr(fit, "predict_all", lambda tail, rows: (tail, rows))
    monkeypatch.setattr(
        metrics,
        "fit_temperature",
        lambda *answers: SimpleNamespace(
            temperature=0.625 if answers == ("model from features", "rows") else None
        ),
    )
    model: Any = "model"
    rows: Any = "rows"
    assert train._calibrate(TrainConfig(), model, rows) == 0.625
    assert train._calibrate(TrainConfig(temperature=2.0), model, rows) == 2.0
    assert train._calibrate(TrainConfig(temperature=2.0), model, None) == 2.0
    assert applied == [("model", 0.625), ("model", 2.0), ("model", 2.0)]
