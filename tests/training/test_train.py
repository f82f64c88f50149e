"""The whole path on drawn flowers: data, features, head, run directory, evaluation, resumption."""

from __future__ import annotations

import csv
import dataclasses
import json
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fill

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

from keras_flowers.commands import evaluate as evaluate_command
from keras_flowers.commands import train as train_command
from keras_flowers.commands.exit import EXIT_BAD_INPUT, exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.export.export import export_model
from keras_flowers.files import exclusive_lock
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.metadata import read_metadata
from keras_flowers.inference.scale.ray_workers import Crew
from keras_flowers.training import data, synthetic, tf_image, train
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.config import ResolvedConfig, TrainConfig, load_settings
from keras_flowers.training.evaluate import predict_dataset
from keras_flowers.training.feature_cache import FeatureCache, NpyRows
from keras_flowers.training.feature_worker import make_worker
from keras_flowers.training.features import FeatureExtractor
from keras_flowers.training.fit import FitSettings, fit, predict_all
from keras_flowers.training.history import comparable
from keras_flowers.training.model import FEATURES, build_head, split_at
from keras_flowers.training.result import Splits
from keras_flowers.training.run_directory import Run
from keras_flowers.training.views import View

SETTINGS = FitSettings(
    epochs=6, batch_size=32, learning_rate=0.01, weight_decay=0.01, label_smoothing=0.1, seed=3
)


@pytest.fixture(autouse=True)
def messages_are_shown() -> None:
    show_messages()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def config(folder: Path) -> TrainConfig:
    asked = TrainConfig(cache_dir=str(folder / "cache"), output=str(folder / "run"))
    return synthetic.demo_config(asked)


@pytest.fixture(scope="module")
def run(config: TrainConfig) -> Path:
    train.train_model(config)
    return config.run_dir


def test_drawn_flowers_are_learned(run: Path) -> None:
    scores = json.loads((run / "metrics.json").read_text())["scores"]["test"]
    assert scores["photos"] == 80
    assert scores["top1"]["value"] > 0.85
    low, high = scores["top1"]["interval95"]
    assert low < scores["top1"]["value"] < high


def test_cached_features_tell_which_run_they_are_for(run: Path, config: TrainConfig) -> None:
    entries = FeatureCache(Path(config.cache_dir) / "features").entries()
    assert {one.split for one in entries} == {"train", "validation", "test"}
    assert {one.runs for one in entries} == {(run.name,)}


def test_shuffled_labels_are_not_learned(run: Path, config: TrainConfig) -> None:
    """The negative twin: what passes the gate above passes it because the labels are right."""
    model = load_classifier(run).probabilities
    photos = data.load_photos(synthetic.DATASET, "test", config.cache_dir)
    probabilities, labels = predict_dataset(
        model, data.pixels(photos, (96, 96)).as_numpy_iterator()
    )
    wrong = np.random.default_rng(0).permutation(labels)
    assert (probabilities.argmax(1) == wrong).mean() < 0.4
    swapped = [
        (pixels[..., ::-1], right)
        for pixels, right in data.pixels(photos, (96, 96)).as_numpy_iterator()
    ]
    probabilities, labels = predict_dataset(model, swapped)
    assert (probabilities.argmax(1) == labels).mean() < 0.7


def test_run_directory_holds_what_the_readme_promises(run: Path) -> None:
    names = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert names == {
        "config.json",
        "history.csv",
        "labels.txt",
        "learning_curves.png",
        "logs",
        "metrics.json",
        "model.keras",
    }
    assert {path.name for path in (run / "logs").iterdir()} == {"train", "validation"}
    history = list(csv.DictReader((run / "history.csv").open()))
    assert [int(row["epoch"]) for row in history] == list(range(1, len(history) + 1))
    assert len(history) >= train.EPOCHS
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    assert (run / "labels.txt").read_text().splitlines()[0] == "red trefoil"


def test_model_file_knows_where_it_comes_from(run: Path) -> None:
    metadata = read_metadata(run / "model.keras")
    assert metadata.labels == tuple(name for name, *_ in synthetic.CLASSES)
    assert metadata.image_size == (96, 96)
    assert metadata.provenance["trained_on"] == {"split": "train", "photos": 160}


def test_evaluating_the_saved_model_gives_the_scores_of_training(
    run: Path, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(run), "--data_dir", config.cache_dir, "--json", str(tmp_path / "scores.json")]
    assert evaluate_command.main([*arguments, "--report", str(tmp_path / "report")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    expected = json.loads((run / "metrics.json").read_text())["scores"]["test"]
    assert scores["top1"]["value"] == expected["top1"]["value"]
    assert scores["log_loss"] == pytest.approx(expected["log_loss"], abs=5e-3)
    assert "trained on 160 photos (train)" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "report" / "classes.csv").open()))
    assert [int(row["photos"]) for row in rows] == [10] * 8
    assert (tmp_path / "report" / "confusion_matrix.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "labels", [("poppy",), tuple(name for name, *_ in synthetic.CLASSES)[::-1]]
)
def test_model_of_other_labels_is_refused(
    run: Path, config: TrainConfig, tmp_path: Path, labels: tuple[str, ...]
) -> None:
    metadata = read_metadata(run / "model.keras")
    members = dataclasses.replace(metadata, labels=labels).members()
    with (
        zipfile.ZipFile(run / "model.keras") as whole,
        zipfile.ZipFile(tmp_path / "model.keras", "w") as copy,
    ):
        for name in whole.namelist():
            copy.writestr(name, members.get(name, whole.read(name)))
    for command in (
        lambda: evaluate_command.main(
            [str(tmp_path / "model.keras"), "--data_dir", config.cache_dir]
        ),
        lambda: Run.open(tmp_path / "model.keras").photos("test", config.cache_dir),
    ):
        with pytest.raises(UserError, match="label|classes differently"):
            command()


def test_finished_run_is_not_replaced_unasked(run: Path, config: TrainConfig) -> None:
    before = (run / "model.keras").read_bytes()
    with pytest.raises(UserError, match="keras-flowers evaluate .*run"):
        train.train_model(config)
    assert (run / "model.keras").read_bytes() == before


def test_same_seed_gives_the_same_weights_and_config_repeats_a_run(
    run: Path, config: TrainConfig, folder: Path
) -> None:
    again = ["--config", str(run / "config.json"), "--output", str(folder / "again")]
    assert train_command.main(again) == 0
    weights = []
    for name in ("run", "again"):
        with zipfile.ZipFile(folder / name / "model.keras") as archive:
            weights.append(archive.read("model.weights.h5"))
    assert weights[0] == weights[1]


def test_config_says_with_what_the_run_was_made(run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    assert content["settings"]["seed"] == 0
    assert content["settings"]["image_size"] == 96
    assert content["settings"]["epochs"] == 27  # 80 steps of 256, of which 640 views have 3
    # What was asked for; what was found is a result.
    assert content["settings"]["temperature"] is None
    assert Run.at(run).metrics["temperature"] > 0
    assert content["versions"].keys() == {
        "keras_flowers",
        "python",
        "tensorflow",
        "keras",
        "numpy",
        "ai-edge-litert",
    }


@pytest.mark.parametrize("content", ["", "[]", "{", '{"settings": {"seed": "x"}}'])
def test_damaged_config_is_said_before_anything_is_done(
    run: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(content)
    (error,) = errors_of(lambda: train_command.main(["--config", str(config)]), capsys)
    assert "config.json" in error or "seed" in error
    assert not (tmp_path / "saved_models").exists()


def test_training_on_validation_photos_needs_settings_chosen_before(config: TrainConfig) -> None:
    with pytest.raises(UserError, match="--config RUN/config.json"):
        train.train_model(
            dataclasses.replace(config, train_split="train+validation", output=config.output + "2")
        )


def test_test_photos_are_never_trained_on(config: TrainConfig) -> None:
    with pytest.raises(UserError, match="shares photos"):
        train.train_model(
            dataclasses.replace(config, train_split="train+test[:3]", output=config.output + "3")
        )


def test_two_parts_of_a_split_share_a_photo_only_where_they_overlap(
    run: Path, config: TrainConfig
) -> None:
    first, middle, last = (
        data.load_photos(synthetic.DATASET, f"validation[{part}]", config.cache_dir)
        for part in (":50%", "25%:75%", "50%:")
    )
    assert not data.overlap(first, last)
    assert data.overlap(first, middle)
    assert data.overlap(middle, last)


def test_unknown_split_is_answered_with_those_there_are(run: Path, config: TrainConfig) -> None:
    with pytest.raises(UserError, match="test, train, validation|train, validation, test"):
        data.load_photos(synthetic.DATASET, "tset", config.cache_dir)


def test_every_photo_is_read_once_in_stored_order(run: Path, config: TrainConfig) -> None:
    photos = data.load_photos(synthetic.DATASET, "validation[10:37]", config.cache_dir)
    batches = list(data.pixels(photos, (96, 96), batch_size=8).as_numpy_iterator())
    assert photos.count == 27
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 3]
    labels = np.concatenate([labels for _, labels in batches])
    assert labels.tolist() == [index % 8 for index in range(10, 37)]
    assert batches[0][0].dtype == np.uint8


def test_views_depend_on_photo_view_and_seed_alone(run: Path, config: TrainConfig) -> None:
    photos = data.load_photos(synthetic.DATASET, "validation[:6]", config.cache_dir)

    def view(number: int, seed: int = 0, batch_size: int = 64) -> np.ndarray:
        batches = data.pixels(photos, (96, 96), view=number, seed=seed, batch_size=batch_size)
        return np.concatenate([pixels for pixels, _ in batches.as_numpy_iterator()])

    np.testing.assert_array_equal(view(View.FLIPPED), view(View.FULL)[:, :, ::-1])
    np.testing.assert_array_equal(view(2), view(2, batch_size=4))
    assert (view(2) != view(3)).mean() > 0.5
    assert (view(2) != view(2, seed=1)).mean() > 0.5
    together = data.pixels_of_views(photos, (96, 96), [3, View.FLIPPED, 2], batch_size=4)
    found = np.concatenate([pixels for pixels, _ in together.as_numpy_iterator()])
    expected = np.stack([view(3), view(View.FLIPPED), view(2)], axis=1)
    np.testing.assert_array_equal(found, expected)


def test_random_views_change_light_and_colours_a_little() -> None:
    dark_and_light = np.repeat(np.uint8([60, 180]), 50)[:, None, None] * np.ones((1, 80, 3))
    steps, colours = [], []
    for number in range(40):
        seed = np.array([0, number], np.int32)
        view = tf_image.random_view(dark_and_light.astype(np.uint8), (24, 24), seed).numpy()
        assert np.ptp(view, axis=-1).max() == 0, "grey became coloured"
        steps.append(np.ptp(view) / 120)
        red = tf_image.random_view(np.full((50, 80, 3), (90, 50, 50), np.uint8), (24, 24), seed)
        assert len(np.unique(red.numpy().reshape(-1, 3), axis=0)) == 1
        colours.append(float(red[0, 0, 0] - red[0, 0, 1]) / 40)
    assert 0.63 < min(steps) < 0.8 and 1.2 < max(steps) < 1.45  # contrast by brightness
    assert 0.48 < min(colours) < 0.8 and 1.2 < max(colours) < 1.75  # and by saturation


@pytest.fixture(scope="module")
def parts(run: Path, config: TrainConfig) -> tuple:
    """The model's trunk and tail, and the kept features of the drawn training photos."""
    keras = pytest.importorskip("keras")
    model = keras.saving.load_model(run / "model.keras")
    trunk, tail = split_at(model, FEATURES)
    photos = data.load_photos(synthetic.DATASET, "train", config.cache_dir)
    kept = FeatureExtractor(trunk, seed=0, folder=Path(config.cache_dir) / "features").features(
        photos, [0]
    )
    return model, trunk, tail, photos, kept


def test_head_on_kept_features_is_the_full_model_on_photos(parts: tuple) -> None:
    model, _, tail, photos, kept = parts
    pixels = np.concatenate([p for p, _ in data.pixels(photos, (96, 96)).as_numpy_iterator()])
    # What is cached stands in the order of its content.
    pixels = pixels[np.argsort(photos.digests)]
    full = model.predict(pixels.astype(np.float32), verbose=0)
    # Kept in 16 bits: 11 bits of precision.
    np.testing.assert_allclose(predict_all(tail, kept)[0], full, atol=1e-2)


def test_weights_stay_with_their_photos_in_the_order_of_the_features(
    parts: tuple, config: TrainConfig
) -> None:
    _, trunk, _, photos, kept = parts
    assert kept.weights is None
    weighted = dataclasses.replace(photos, weights=np.arange(photos.count, dtype=np.float32))
    found = FeatureExtractor(trunk, seed=0, folder=Path(config.cache_dir) / "features").features(
        weighted, [0]
    )
    assert found.weights.tolist() == np.argsort(photos.digests).tolist()


def test_features_are_kept_on_however_many_models_were_built_before(
    run: Path, config: TrainConfig, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # `run` is there, and with it the base, so that other models are built before this one.
    again = dataclasses.replace(config, output=str(folder / "kept"), epochs=1)
    train.train_model(again)
    said = capsys.readouterr()
    # Of each split, and of train and validation again for the doubt.
    assert said.out.count("cached features are used") == 5
    assert "features through" not in said.err


def test_rows_on_disk_are_those_of_the_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float16)
    np.save(tmp_path / "rows.npy", array)
    rows = NpyRows(tmp_path / "rows.npy")
    assert (len(rows), rows.shape) == (9, (9, 2, 3))
    for some in (slice(None), slice(2, 5), np.array([7, 0, 7]), np.array([], int)):
        np.testing.assert_array_equal(rows[some], array[some])
    assert type(rows[2:5]) is np.ndarray  # not a map of the file
    (tmp_path / "rows.npy").write_bytes((tmp_path / "rows.npy").read_bytes()[:-1])
    with pytest.raises(ValueError, match="mmap length"):
        NpyRows(tmp_path / "rows.npy")


def test_interruption_loses_no_more_than_a_piece(
    parts: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trunk, _, photos, _ = parts
    views = [View.FULL, View.random(0)]
    whole = FeatureExtractor(trunk, seed=0, folder=tmp_path / "whole").features(photos, views)
    monkeypatch.setattr("keras_flowers.training.feature_cache._PIECE_PHOTOS", 48)
    monkeypatch.setattr("keras_flowers.training.feature_pass.photos_at_a_time", lambda *_: 20)
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path / "pieces")
    run, _ = extractor._engine
    passed: list[int] = []

    def interrupted(pixels: np.ndarray) -> np.ndarray:
        if len(passed) == 5:  # of 8 batches: 100 photos, so that two pieces of 48 are whole
            raise KeyboardInterrupt
        passed.append(len(pixels))
        return run(pixels)

    extractor.__dict__["_engine"] = (interrupted, "a test")
    with pytest.raises(KeyboardInterrupt):
        extractor.features(photos, views)
    again: list[int] = []
    extractor.__dict__["_engine"] = (lambda pixels: again.append(len(pixels)) or run(pixels), "")
    found = extractor.features(photos, views)
    assert sum(again) == 2 * (160 - 96)
    for one, other in zip(found.views, whole.views, strict=True):
        np.testing.assert_array_equal(one[:], other[:])
    np.testing.assert_array_equal(found.labels, whole.labels)


class HereAsElsewhere:
    """A worker that gets what another process would get."""

    def __init__(self) -> None:
        self._do = make_worker(cores=2)

    def call(self, task: Any, careful: bool) -> Any:
        return self._do(pickle.loads(pickle.dumps(task)), careful)

    def close(self) -> None:
        pass


def test_workers_elsewhere_give_the_same_pieces(
    parts: tuple, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, trunk, _, _, _ = parts
    photos = data.load_photos(synthetic.DATASET, "test[10:50]+validation", config.cache_dir)
    views = [View.FULL, View.random(0), View.field(0)]
    monkeypatch.setattr("keras_flowers.training.feature_cache._PIECE_PHOTOS", 48)
    crew = Crew(HereAsElsewhere, 2)
    options: dict[str, Any] = {"seed": 0, "run": "a run"}
    FeatureExtractor(trunk, folder=tmp_path / "here", **options).features(photos, views)
    elsewhere = FeatureExtractor(trunk, folder=tmp_path / "elsewhere", crew=lambda: crew, **options)
    elsewhere.__dict__["_engine"] = None  # this process has nothing to run
    elsewhere.features(photos, views)
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("here", "elsewhere")
    )
    assert len(here) == 2 * 3 * 3  # arrays and what says what they hold, views, pieces
    assert here == there


def test_ray_gives_the_same_features_and_the_same_model(
    run: Path, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="needs the extra [scale]")
    asked = dataclasses.replace(
        config, cache_dir=str(tmp_path), output=str(tmp_path / "run"), engine="ray", worker_cores=1
    )
    train.train_model(asked)
    assert "features through" in capsys.readouterr().err
    one, other = (
        {path.name: path.read_bytes() for path in (Path(cache) / "features").glob("*.npy")}
        for cache in (config.cache_dir, tmp_path)
    )
    assert len(other) >= 6
    assert other.items() <= one.items()
    weights = []
    for folder in (run, tmp_path / "run"):
        with zipfile.ZipFile(folder / "model.keras") as archive:
            weights.append(archive.read("model.weights.h5"))
    assert weights[0] == weights[1]
    settings = load_settings(Run.at(tmp_path / "run").config_path)
    assert not {"engine", "worker_cores"} & settings.keys()


def test_damaged_features_are_found_said_and_made_again(
    parts: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, trunk, _, photos, kept = parts
    extractor = FeatureExtractor(trunk, seed=0, folder=tmp_path)
    extractor.features(photos, [0])
    (file,) = tmp_path.glob("*.npy")
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        file.write_bytes(damaged)
        again = extractor.features(photos, [0])
        assert "damaged" in capsys.readouterr().err
        np.testing.assert_array_equal(again.views[0][:], kept.views[0][:])
        assert file.read_bytes() == whole
    extractor.features(photos, [0])
    assert "cached features are used" in capsys.readouterr().out


def test_features_of_other_photos_are_found_said_and_made_again(
    parts: tuple, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, trunk, _, photos, kept = parts
    other = data.load_photos(synthetic.DATASET, "test[:80]+validation", config.cache_dir)
    FeatureExtractor(trunk, seed=0, folder=tmp_path / "other").features(other, [0])
    FeatureExtractor(trunk, seed=0, folder=tmp_path).features(photos, [0])
    (file,) = tmp_path.glob("*.npy")
    for suffixes in ([".npy", ".json"], [".npy"]):
        for suffix in suffixes:
            (foreign,) = (tmp_path / "other").glob(f"*{suffix}")
            shutil.copy(foreign, file.with_suffix(suffix))
        again = FeatureExtractor(trunk, seed=0, folder=tmp_path).features(photos, [0])
        # A whole piece of other photos says of which; rows that are not those of their list do not.
        is_damaged = f"{file} are damaged: they are made again" in capsys.readouterr().err
        assert is_damaged == (suffixes == [".npy"])
        np.testing.assert_array_equal(again.views[0][:], kept.views[0][:])
        np.testing.assert_array_equal(again.labels, kept.labels)


def test_damaged_base_of_the_demo_is_made_again(
    run: Path, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (synthetic.DATASET, "drawn_flowers_base.keras"):
        (tmp_path / name).symlink_to(Path(config.cache_dir) / name)
    base = synthetic.prepare(tmp_path)
    whole = base.read_bytes()
    base.unlink()
    base.write_bytes(whole[:1000])
    assert zipfile.is_zipfile(synthetic.prepare(tmp_path))
    assert "is damaged: it is made again" in capsys.readouterr().err


def test_interrupted_training_ends_with_the_same_weights(
    parts: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras_flowers.training.fit.SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    _, _, tail, _, kept = parts
    straight = head_trained(tail, kept, tmp_path / "straight.npz")
    with pytest.raises(KeyboardInterrupt):
        head_trained(tail, kept, tmp_path / "resumed.npz", stop_after=4)
    assert (tmp_path / "resumed.npz").exists()
    for one, other in zip(
        straight, head_trained(tail, kept, tmp_path / "resumed.npz"), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def head_trained(
    tail: Any, kept: CachedFeatures, checkpoint: Path, *, stop_after: int = 0, dropout: float = 0.0
) -> list[np.ndarray]:
    """The weights of a new head after six epochs; `stop_after` is the last before Ctrl-C."""

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == stop_after:
            raise KeyboardInterrupt

    head = build_head(tail, dropout, seed=3)
    fit(head, kept, kept, SETTINGS, checkpoint=checkpoint, title="head", on_epoch=stop)
    return list(head.get_weights())


def test_checkpoint_of_another_training_is_found_said_and_made_anew(
    parts: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, tail, _, kept = parts
    other_features = CachedFeatures([view[:] * np.float16(2) for view in kept.views], kept.labels)
    checkpoint = tmp_path / "head.npz"
    expected = head_trained(tail, kept, tmp_path / "straight.npz", dropout=0.2)
    for make in (
        lambda: head_trained(tail, other_features, checkpoint, dropout=0.2),
        lambda: head_trained(tail, kept, checkpoint, dropout=0.5),
    ):
        checkpoint.unlink(missing_ok=True)
        make()
        capsys.readouterr()
        weights = head_trained(tail, kept, checkpoint, dropout=0.2)
        assert "is of other settings or photos" in capsys.readouterr().err
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_damaged_checkpoint_is_found_said_and_made_anew(
    parts: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, tail, _, kept = parts
    checkpoint = tmp_path / "head.npz"
    expected = head_trained(tail, kept, checkpoint)
    whole = checkpoint.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:-100], flipped):
        checkpoint.write_bytes(damaged)
        weights = head_trained(tail, kept, checkpoint)
        assert f"{checkpoint} is damaged" in capsys.readouterr().err
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_checksum_changes_with_each_part_of_the_features() -> None:
    view, labels = np.arange(6, dtype=np.float16).reshape(3, 2), np.arange(3)
    variants = [
        CachedFeatures([view], labels),
        CachedFeatures([view], labels[::-1]),
        CachedFeatures([view, view], labels),
        CachedFeatures([view, view + 1], labels),
        CachedFeatures([view + 1, view], labels),
    ]
    assert len({features.checksum() for features in variants}) == len(variants)


def test_validation_is_of_every_photo_once_in_each_epoch(parts: tuple, tmp_path: Path) -> None:
    _, _, tail, _, kept = parts
    # More than one batch, of different losses, under weights that stay as they are.
    longer = CachedFeatures([np.concatenate([kept.views[0][:]] * 2)], np.arange(320) % 8)
    start = tail.get_weights()
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-12, weight_decay=0.0)
    history = fit(tail, kept, longer, settings, checkpoint=tmp_path / "c.npz", title="head")
    expected = (predict_all(tail, longer)[0].argmax(1) == longer.labels).mean()
    tail.set_weights(start)
    assert [row["val_accuracy"] for row in history] == pytest.approx([expected] * 6, abs=1e-6)
    assert len({round(row["val_log_loss"], 4) for row in history}) == 1


def test_diverging_loss_is_said(parts: tuple, tmp_path: Path) -> None:
    _, _, tail, _, kept = parts
    broken = CachedFeatures([np.full_like(kept.views[0][:], np.nan)], kept.labels)
    settings = FitSettings(2, 64, 0.1, 0.0, 0.0, 0)
    start = tail.get_weights()
    with pytest.raises(UserError, match="loss became nan"):
        fit(tail, broken, None, settings, checkpoint=tmp_path / "c.npz", title="head")
    tail.set_weights(start)


def test_default_views_are_the_whole_its_mirror_image_and_two_crops() -> None:
    asked: list[tuple[str, list[int]]] = []

    class Extractor:
        def features(self, photos: str, views: Sequence[int]) -> None:
            asked.append((photos, list(views)))

    named: Any = ("train", "validation", "test")
    extractor: Any = Extractor()
    train._features(ResolvedConfig(TrainConfig(), 224, 5), Splits(*named), extractor)
    crops = [View.random(0), View.random(1)]
    assert asked == [("train", [View.FULL, View.FLIPPED, *crops]), ("validation", [View.FULL])]


def test_curves_show_losses_that_can_be_compared() -> None:
    row = {"epoch": 1, "loss": 0.9, "accuracy": 1.0, "val_accuracy": 0.9}
    found = comparable([{**row, "log_loss": 0.1, "val_log_loss": 0.2}])
    assert (found[0]["loss"], found[0]["val_loss"]) == (0.1, 0.2)
    # Of a teacher's student or an earlier version: nothing to compare is drawn.
    assert comparable([{**row, "val_loss": 1.57}]) == [row]


# A full or read-only disk.


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "checkpoints"
    }


def errors_of(main: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a command that must fail says, but for progress bars and TensorFlow."""
    with pytest.raises(SystemExit) as ended:
        exit_with(main)
    assert ended.value.code == EXIT_BAD_INPUT
    output = capsys.readouterr().err
    assert "Traceback" not in output
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("kibibytes", [8, 100, 350])
def test_full_disk_is_one_line_and_leaves_the_earlier_run(
    run: Path,
    config: TrainConfig,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
    kibibytes: int,
) -> None:
    output = shutil.copytree(run, small_disk / "run")
    before = contents(output)
    fill(small_disk, kibibytes << 10)
    arguments = ["--demo", "--cache_dir", config.cache_dir, "--output", str(output)]
    arguments += ["--overwrite", "--epochs", "1", "--shrinkage", "1"]
    (error,) = errors_of(lambda: train_command.main(arguments), capsys)
    assert error.startswith(f"error: No space left on device: {output}/")
    assert contents(output) == before


def test_full_disk_while_features_are_kept_is_an_error_that_names_the_place(
    parts: tuple, small_disk: Path
) -> None:
    _, trunk, _, photos, _ = parts
    extractor = FeatureExtractor(trunk, seed=0, folder=small_disk)
    fill(small_disk, 16 << 10)
    with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/"):
        extractor.features(photos, [0])
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]
    (small_disk / "ballast").unlink()
    extractor.features(photos, [0])


def test_full_disk_while_exporting_leaves_the_earlier_export(run: Path, small_disk: Path) -> None:
    def write() -> None:
        export_model(run, ["saved_model", "float32"], output=small_disk)

    write()
    before = contents(small_disk)
    for kibibytes in (8, 300):
        fill(small_disk, kibibytes << 10)
        with pytest.raises(OSError, match=f"No space left on device: '{small_disk}/saved_model/1'"):
            export_model(run, ["saved_model"], output=small_disk)
    with pytest.raises(OSError, match=r"No space left on device: .*float32\.tflite'"):
        fill(small_disk, 8 << 10)
        export_model(run, ["float32"], output=small_disk)
    (small_disk / "ballast").unlink()
    assert contents(small_disk) == before


def test_read_only_output_is_one_line_before_anything_is_done(
    run: Path, config: TrainConfig, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = shutil.copytree(run, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    cache = config.cache_dir + "_never_made"
    for output, options in ((finished, ["--overwrite"]), (small_disk / "new", [])):
        arguments = ["--demo", "--cache_dir", cache, "--output", str(output), *options]
        (error,) = errors_of(lambda arguments=arguments: train_command.main(arguments), capsys)
        assert error.startswith(f"error: Read-only file system: {output}")
    assert not Path(cache).exists()
    with pytest.raises(OSError, match=f"Read-only file system: '{finished}"):
        export_model(finished, ["float32"])


def test_second_run_into_a_directory_is_refused_and_changes_nothing(
    run: Path, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    arguments = ["--demo", "--cache_dir", config.cache_dir, "--output", str(run)]
    with exclusive_lock(run):
        for option in ("--overwrite", "--export"):
            (error,) = errors_of(lambda o=option: train_command.main([*arguments, o]), capsys)
            assert error.startswith(f"error: another run is writing to {run}; wait for it")
    assert contents(run) == before


def test_export_goes_on_in_a_finished_run_of_the_same_settings_only(
    run: Path,
    config: TrainConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported = []
    monkeypatch.setattr(
        "keras_flowers.commands.export.export_and_verify", lambda run, **_: not exported.append(run)
    )
    arguments = ["--demo", "--cache_dir", config.cache_dir, "--output", str(run)]
    (run / "checkpoints").mkdir()  # as after a kill between the last file and their removal
    assert train_command.main(arguments) == 0
    assert not (run / "checkpoints").exists()
    assert exported == [run]
    output = capsys.readouterr().out
    assert f"{run} is trained already" in output
    # The demo ends with a command that works as it stands.
    command, model = output.splitlines()[-1].split(" --model ")
    assert command == f"next: keras-flowers predict {run / 'photo.jpg'}"
    assert load_classifier(model).predict(run / "photo.jpg").name == "blue daisy"
    for other in (["--seed", "1"], ["--temperature", "2"], ["--image_size", "64"]):
        with pytest.raises(UserError, match="holds a finished model"):
            train_command.main([*arguments, *other])
    assert exported == [run]
