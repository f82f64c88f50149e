"""A whole training on folders of photos: what it writes, and that all that follows finds them."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="training needs the extra [train]")

from keras_flowers.commands import compare as compare_command
from keras_flowers.commands import doubt as doubt_command
from keras_flowers.commands import evaluate as evaluate_command
from keras_flowers.commands import export as export_command
from keras_flowers.commands import train as train_command
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.export import tflite_export
from keras_flowers.export.export import export_model
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.training import run_directory, train
from keras_flowers.training.config import ResolvedConfig, TrainConfig, from_settings
from keras_flowers.training.model import OUTPUT
from keras_flowers.training.refit_doubt import refit_doubt
from keras_flowers.training.run_directory import Run, settings_like
from keras_flowers.training.sources.labelled import LabelledPhotos
from keras_flowers.training.synthetic import draw_flower, prepare

NAMES = {0: "red trefoil", 3: "blue daisy", 5: "yellow fivestar"}
COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in `own` (one of them broken), a base in `cache`, and a run."""
    folder = tmp_path_factory.mktemp("own_photos")
    base = prepare(folder / "cache")
    for label, name in NAMES.items():
        (folder / "own" / name).mkdir(parents=True)
        for number in range(COUNT):
            draw_flower(label, seed=(7, label, number)).save(
                folder / "own" / name / f"{number:02}.jpg", quality=92
            )
    (folder / "own" / "red trefoil" / "broken.jpg").write_bytes(b"broken")
    (folder / "own" / "unknown").mkdir()
    draw_flower(7, seed=1).save(folder / "own" / "unknown" / "disc.png")
    arguments = ["--data", str(folder / "own"), "--base", str(base)]
    arguments += ["--cache_dir", str(folder / "cache"), "--output", str(folder / "run")]
    assert train_command.main(arguments) == 0
    return folder


def test_run_lists_which_photo_is_on_which_side(folder: Path) -> None:
    with (folder / "run" / "split.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT * len(NAMES) + 1
    sides = {row["photo"]: row["split"] for row in rows}
    assert sides["unknown/disc.png"] == "unknown"
    scores = json.loads((folder / "run" / "metrics.json").read_text())
    assert scores["trained_on"]["photos"] == list(sides.values()).count("train")
    for split in ("validation", "test"):
        assert scores["scores"][split]["photos"] == list(sides.values()).count(split)
    assert scores["scores"]["test"]["top1"]["value"] > 0.6


def test_run_lists_what_was_left_out(folder: Path) -> None:
    with (folder / "run" / "left_out.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["class"], row["photo"]) == ("red trefoil", "red trefoil/broken.jpg")
    assert "not a photo" in row["reason"]


def test_evaluating_takes_the_photos_of_the_run_as_they_were_divided(
    folder: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.json"
    assert evaluate_command.main([str(folder / "run"), "--json", str(scores)]) == 0
    expected = json.loads((folder / "run" / "metrics.json").read_text())["scores"]["test"]
    found = json.loads(scores.read_text())
    assert found["photos"] == expected["photos"]
    assert found["top1"]["value"] == expected["top1"]["value"]
    # By the list of the run, not drawn anew.
    run = Run.at(folder / "run")
    table = run.split_path.read_text()
    try:
        turned = {
            "train": "test",
            "test": "train",
            "validation": "validation",
            "unknown": "unknown",
        }
        lines = [line.split(",") for line in table.splitlines()]
        run.split_path.write_text(
            "\n".join(",".join([one[0], turned.get(one[1], one[1]), *one[2:]]) for one in lines)
        )
        counts = [line[1] for line in lines]
        assert run.photos("test").count == counts.count("train")
        assert run.photos("train[:3]").count == 3
    finally:
        run.split_path.write_text(table)


def test_photos_of_the_run_are_checked_against_the_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    for name in ("rose", "red trefoil"):
        (tmp_path / "other" / name).mkdir(parents=True)
        draw_flower(0, seed=5).save(tmp_path / "other" / name / "a.jpg")
    run = Run.at(folder / "run")
    model, metadata = run.model_path, run_directory.read_metadata(run.model_path)
    theirs = [str(tmp_path / "other")]
    with pytest.raises(UserError, match="has labels that are none of our classes: rose; name each"):
        run_directory.photos_of(model, metadata, None, sources=theirs)
    label_map = tmp_path / "map.csv"
    label_map.write_text("rose,rose\n")
    maps = [str(label_map)]
    with pytest.raises(UserError, match="has the class 'rose', which the model does not know"):
        run_directory.photos_of(model, metadata, None, sources=theirs, label_map=maps)
    label_map.write_text("rose,-\n")
    photos = run_directory.photos_of(model, metadata, None, sources=theirs, label_map=maps)
    assert photos.labels == tuple(NAMES[label] for label in (3, 0, 5))
    assert photos.label_numbers.tolist() == [1]


def test_photos_of_the_run_are_opened_as_they_were_or_where_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def open_photos(data: object, **options: object) -> object:
        asked.append({"data": data, **options})
        return type("Photos", (), {"photos": lambda self, split: split})()

    monkeypatch.setattr("keras_flowers.training.sources.open_photos", open_photos)
    run = Run.at(folder / "run")
    assert run.photos("validation", None) == "validation"
    assert run.photos("validation", "elsewhere") == "validation"
    assert [one["data_dir"] for one in asked] == [None, "elsewhere"]
    assert asked[0]["data"] == [str(folder / "own")]
    assert asked[0]["division"] == run.split_path
    assert asked[0]["cache_dir"] == folder / "cache"
    assert asked[0]["labels"] == run.metadata.labels


def test_more_photos_to_choose_on_join_those_of_validation(folder: Path, tmp_path: Path) -> None:
    more = tmp_path / "garden"
    for label, name in NAMES.items():
        (more / name).mkdir(parents=True)
        draw_flower(label, seed=(9, label)).save(more / name / "one.jpg")
    (more / "unknown").mkdir()
    draw_flower(7, seed=2).save(more / "unknown" / "disc.png")
    run = Run.at(folder / "run")
    config = from_settings(settings_like(run.config_path, {"validation_data": (str(more),)}))
    splits = train.open_splits(config)
    own = run.photos("validation")
    assert splits.validation is not None
    assert splits.validation.count == own.count + len(NAMES)  # unknown flowers have no right name
    assert splits.validation.label_numbers.tolist()[own.count :] == sorted(
        own.labels.index(name) for name in NAMES.values()
    )
    assert splits.validation.split == "validation + garden"
    assert (splits.train.count, splits.test.count) == (
        run.photos("train").count,
        run.photos("test").count,
    )
    # Where the split itself is learned from, they are what is left to choose on.
    all_photos = dataclasses.replace(config, train_split="train+validation", temperature=1.0)
    alone = train.open_splits(all_photos).validation
    assert alone is not None
    assert (alone.count, alone.split) == (len(NAMES), "garden")


def test_photo_to_choose_on_is_not_learned_from(folder: Path, tmp_path: Path) -> None:
    place = next(
        row["photo"]
        for row in csv.DictReader((folder / "run" / "split.csv").open())
        if row["split"] == "train"
    )
    (tmp_path / "garden" / Path(place).parent).mkdir(parents=True)
    shutil.copy(folder / "own" / place, tmp_path / "garden" / place)
    changes = {"validation_data": (str(tmp_path / "garden"),)}
    config = from_settings(settings_like(Run.at(folder / "run").config_path, changes))
    with pytest.raises(UserError, match="--validation_data shares 1 photos with train; expected"):
        train.open_splits(config)


def test_photos_that_are_learned_from_have_the_weights_that_were_asked_for(folder: Path) -> None:
    class Extractor:
        """Gives the photos in place of their features."""

        def features(self, photos: LabelledPhotos, views: list[int]) -> LabelledPhotos:
            return photos

    settings = Run.at(folder / "run").settings
    splits = train.open_splits(from_settings(settings))
    for changes, weighted in (({}, False), ({"balance_classes": True, "data_weight": [2]}, True)):
        asked = ResolvedConfig(from_settings({**settings, **changes}), image_size=96, epochs=1)
        head = train._features(asked, splits, Extractor())  # type: ignore[arg-type]
        assert head.validation is not None
        assert (head.train.weights is not None, head.validation.weights) == (weighted, None)
    counted = np.bincount(splits.train.label_numbers, head.train.weights)
    np.testing.assert_allclose(counted, splits.train.count / 3, rtol=1e-5)


def test_photos_learned_from_beside_the_first_source_need_not_be_here(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As those of the field for who has the model that ships.
    show_messages()
    shutil.copytree(folder / "run", tmp_path / "run")
    run = Run.at(tmp_path / "run")
    content = json.loads(run.config_path.read_text())
    content["settings"]["data"] += ["field/train.csv"]
    run.config_path.write_text(json.dumps(content))
    expected = Run.at(folder / "run").photos("test")
    assert run.photos("test").digests.tolist() == expected.digests.tolist()
    assert "field/train.csv is not here: the photos of" in capsys.readouterr().out
    content["settings"]["data"] = ["field/train.csv", *content["settings"]["data"][:1]]
    run.config_path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="field/train.csv does not exist"):
        Run.at(tmp_path / "run").photos("test")


def test_new_class_is_added_to_a_finished_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its name sorts before all others, and one more photo comes to a class that is known.
    for name, label, count in (("a dark fivestar", 6, 9), ("Red-Trefoil", 0, 1)):
        (tmp_path / "new" / name).mkdir(parents=True)
        for number in range(count):
            picture = draw_flower(label, seed=(8, label, number))
            picture.save(tmp_path / "new" / name / f"{number}.jpg", quality=92)
    arguments = ["--start_from", str(folder / "run"), "--data", str(tmp_path / "new")]
    assert train_command.main([*arguments, "--output", str(tmp_path / "more")]) == 0
    said = capsys.readouterr().out
    assert "its network and its 3 classes are taken over; new: 'a dark fivestar'" in said
    old, more = Run.at(folder / "run"), Run.at(tmp_path / "more")
    assert more.metadata.labels == (*old.metadata.labels, "a dark fivestar")
    assert more.metadata.provenance["start_from"] == "run"
    sides = [
        {row["digest"]: row["split"] for row in csv.DictReader(run.split_path.open())}
        for run in (old, more)
    ]
    assert sides[1].items() > sides[0].items()
    assert len(sides[1]) == len(sides[0]) + 10
    kept, grown = (
        run.load_model().get_layer(OUTPUT).get_weights()[0].astype(np.float64)
        for run in (old, more)
    )
    # They go on from where they were: a head trained anew has other columns.
    cosines = (kept * grown[:, :3]).sum(axis=0)
    cosines /= np.linalg.norm(kept, axis=0) * np.linalg.norm(grown[:, :3], axis=0)
    assert cosines.min() > 0.9
    scores = more.metrics["scores"]["test"]
    assert scores["classes"] == 4
    assert scores["top1"]["value"] > 0.6
    # What comes after finds its photos, divided as they were.
    assert more.photos("test").count == scores["photos"]
    # Both on the photos that both have for choosing: the new class is in one of them.
    photos = old.photos("validation")
    capsys.readouterr()
    runs = [str(run.folder) for run in (old, more)]
    assert compare_command.main([*runs, "--json", str(tmp_path / "compared.json")]) == 0
    said = capsys.readouterr().out
    assert f"validation: {photos.count} photos" in said
    assert "start_from" in said
    assert "run and more are right about the same" in said or "Were they equally good" in said
    found = json.loads((tmp_path / "compared.json").read_text())
    assert found["left_out"] == more.photos("validation").count - photos.count
    expected = [old.metrics["scores"]["validation"]["top1"]["value"]]
    assert [found["runs"][0]["top1"]["value"]] == expected
    # Of the new photos alone nothing comes but a model that knows nothing else.
    alone = from_settings({**more.settings, "data": [str(tmp_path / "new")]})
    with pytest.raises(UserError, match="new has no photos of 'blue daisy' and 1 more classes tha"):
        train.open_splits(alone, old)
    with pytest.raises(UserError, match="has the class 'a dark fivestar', which .* does not know"):
        refit_doubt(_with_settings(old, more.settings, tmp_path / "changed"))


def _with_settings(run: Run, settings: dict[str, object], folder: Path) -> Run:
    """A copy of a run that says it was made with others."""
    shutil.copytree(run.folder, folder)
    copy = Run.at(folder)
    copy.config_path.write_text(json.dumps({"settings": settings}))
    return copy


def test_int8_is_calibrated_on_the_photos_of_the_run(folder: Path, tmp_path: Path) -> None:
    files = export_model(folder / "run", ["int8"], output=tmp_path)
    metadata = run_directory.read_metadata(files["int8"])
    assert metadata.labels == ("blue daisy", "red trefoil", "yellow fivestar")
    assert metadata.provenance["calibrated_on"]["split"] == "train"


def test_int8_of_a_model_without_its_photos_is_calibrated_on_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copy(folder / "run" / "model.keras", tmp_path / "theirs.keras")
    seen: list[tuple[int, ...]] = []

    def convert_int8(model: object, pixels: np.ndarray, others: np.ndarray) -> bytes:
        seen.append(pixels.shape)
        raise UserError("enough seen")

    monkeypatch.setattr(tflite_export, "convert_int8", convert_int8)
    label_map = tmp_path / "map.csv"
    label_map.write_text("red trefoil,-\n")
    options = ["--formats", "int8", "--data", str(folder / "own"), "--label_map", str(label_map)]
    with pytest.raises(UserError, match="enough seen"):
        export_command.main([str(model), *options])
    with pytest.raises(UserError, match="enough seen"):
        export_model(model, ["int8"], sources=[str(folder / "own")])
    # Neither what shows none of the classes nor what the map leaves out.
    assert seen == [(2 * COUNT, 96, 96, 3), (3 * COUNT, 96, 96, 3)]


def test_doubt_is_fitted_again_with_more_photos_and_a_taxonomy(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "other" / "unknown").mkdir(parents=True)
    for number in range(6):
        draw_flower(7, seed=(2, number)).save(tmp_path / "other" / "unknown" / f"{number}.png")
    table = tmp_path / "taxonomy.csv"
    rows = "blue daisy,Nerium,\nred trefoil,Trifolium,Fabaceae\nyellow fivestar,,Fabaceae\n"
    table.write_text(f"label,genus,family\n{rows}")
    before = Run.open(folder / "run")
    arguments = ["--data", str(tmp_path / "other"), "--taxonomy", str(table)]
    assert doubt_command.main([str(run), *arguments]) == 0
    said = capsys.readouterr().out
    assert "\nnames nothing below known = 0." in said
    assert said.endswith(f"next: keras-flowers export {run}\n")
    after = Run.open(run)
    assert before.metadata.doubt is not None
    assert after.metadata.doubt is not None
    assert before.metadata.doubt.groups == ()
    assert [one.name for one in after.metadata.doubt.groups] == [
        "a plant of the pea family (Fabaceae)"
    ]
    assert after.metadata.doubt.deadly == (0,)
    assert before.metadata.doubt.fitted["unknown_photos"] == 1
    assert after.metadata.doubt.fitted["unknown_photos"] == 7
    assert after.metrics["doubt"] == after.metadata.doubt.as_dict()
    assert {**after.metrics, "doubt": 0} == {**before.metrics, "doubt": 0}
    # Which flower it is stays as it was.
    pixels = np.stack([np.asarray(draw_flower(3, seed=n).resize((96, 96))) for n in range(3)])
    old, new = (load_classifier(one.folder).probabilities(pixels) for one in (before, after))
    np.testing.assert_allclose(new, old, atol=1e-5)
    assert sorted(one.name for one in run.iterdir() if one.name != ".lock") == sorted(
        one.name for one in before.folder.iterdir() if one.name != ".lock"
    )


def test_doubt_of_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a .keras model or the folder of a finished run"):
        doubt_command.main([str(tmp_path)])


def test_class_called_none_of_these_is_refused_before_training(tmp_path: Path) -> None:
    for label, name in ((0, "red trefoil"), (3, "none of these")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(6):
            draw_flower(label, seed=(7, label, number)).save(
                tmp_path / "own" / name / f"{number}.jpg"
            )
    config = TrainConfig(data=(str(tmp_path / "own"),), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError, match="a class is called 'none of these'"):
        train.open_splits(config)
