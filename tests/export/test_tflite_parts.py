"""What a TFLite file is converted from: which photos, how many, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="exporting needs TensorFlow")

import tensorflow as tf

from keras_flowers.errors import UserError
from keras_flowers.export import tflite_export
from keras_flowers.inference.metadata import Metadata
from keras_flowers.training.drawings import draw_pictures
from keras_flowers.training.sources.labelled import LabelledPhotos


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every step towards a file with what it is given; a file is its words."""
    found: list[Any] = []

    def stand_in(place: Any, name: str, answer: Any) -> None:
        def step(*given: Any, **options: Any) -> Any:
            found.append((name, *given, options) if options else (name, *given))
            return answer(*given) if callable(answer) else answer

        monkeypatch.setattr(place, name, step)

    photos = SimpleNamespace(dataset="beds", split="train", unknown_count=0)
    stand_in(tflite_export, "_calibration_photos", photos)
    stand_in(tflite_export, "_some_of", lambda photos, size, count: [0] * 7)
    stand_in(tflite_export, "_others", "others")
    stand_in(tflite_export, "convert_int8", b"int8")
    stand_in(tflite_export.tflite, "convert", b"floats")
    stand_in(tflite_export, "score_in", "score")
    stand_in(tflite_export, "with_known", "model of now")
    stand_in(tflite_export, "with_variant", lambda *given: f"metadata of {given[1]}")
    stand_in(tflite_export, "describe", lambda metadata: f"about {metadata}")
    stand_in(
        tflite_export.tflite_metadata,
        "write",
        lambda path, content, *_: path.write_bytes(content),
    )
    return found


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("variant", ["float32", "float16", "int8"])
def test_file_is_converted_from_what_its_kind_needs(
    calls: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    knows: bool,
) -> None:
    monkeypatch.setattr(tflite_export, "has_known", lambda model: knows)
    model: Any = SimpleNamespace(input_shape=(None, 96, 64, 3))
    run: Any = SimpleNamespace(name="roses", metadata="all")
    path = tmp_path / "a.tflite"
    tflite_export.write_tflite(variant, model, run, path, "D")
    photos = SimpleNamespace(dataset="beds", split="train", unknown_count=0)
    others = [("_others", photos, (96, 64))] if knows else []
    renewed = [("score_in", model), ("with_known", model, "score")] if knows else []
    facts: dict[str, Any] = {}
    if variant == "int8":
        facts = {"calibrated_on": {"dataset": "beds", "split": "train", "photos": 7}}
    options = {"batch_size": None, "float16": variant == "float16"}
    expected = {
        "float32": [("convert", model, options)],
        "float16": [*renewed, ("convert", "model of now" if knows else model, options)],
        "int8": [
            ("_calibration_photos", run, "D"),
            ("_some_of", photos, (96, 64), 200),
            *others,
            ("convert_int8", model, [0] * 7, "others" if knows else None),
        ],
    }
    metadata = f"metadata of TFLite {variant}"
    *steps, said, described, written = calls
    assert steps == expected[variant]
    assert said == ("with_variant", "all", f"TFLite {variant}", facts)
    assert described == ("describe", metadata)
    assert (written[0], *written[2:]) == (
        "write",
        b"int8" if variant == "int8" else b"floats",
        metadata,
        {"name": f"roses {variant}", "description": f"about {metadata}"},
    )
    assert path.read_bytes() == written[2]


def test_int8_sees_the_photos_that_were_learned_or_those_that_are_named() -> None:
    def photos_of(provenance: dict[str, Any], *sources: str) -> Any:
        run: Any = SimpleNamespace(
            metadata=Metadata(("a", "b"), (8, 8), provenance),
            sources=sources,
            model_path=Path("m.keras"),
            photos=lambda *given: given,
        )
        return tflite_export._calibration_photos(run, "D")

    assert photos_of({"trained_on": {"split": "train[:5]"}}) == ("train[:5]", "D")
    assert photos_of({"trained_on": {"split": "all"}}, "mine") == ("all", "D")
    assert photos_of({}, "mine") == ("train", "D")
    with pytest.raises(UserError, match=r"m\.keras does not say what it was trained on; name pho"):
        photos_of({"trained_on": "train"})


@pytest.mark.parametrize(
    ("count", "wanted", "chosen"),
    [(10, 3, [0, 3, 6]), (6, 3, [0, 2, 4]), (5, 3, [0, 1, 2]), (2, 3, [0, 1])],
)
def test_some_photos_are_spread_over_all(
    monkeypatch: pytest.MonkeyPatch, count: int, wanted: int, chosen: list[int]
) -> None:
    sizes: list[Any] = []

    def pixels(photos: LabelledPhotos, size: tuple[int, int]) -> tf.data.Dataset:
        sizes.append(size)
        return photos.records.map(lambda number: (number, number)).batch(2)

    monkeypatch.setattr(tflite_export.data, "pixels", pixels)
    nothing: Any = None
    photos = LabelledPhotos(
        "d", "s", (), count, tf.data.Dataset.range(count), nothing, nothing, nothing, frozenset()
    )
    assert tflite_export._some_of(photos, (8, 6), wanted).tolist() == chosen
    assert sizes == [(8, 6)]


def test_what_is_no_flower_is_drawn_where_no_photo_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos: Any = SimpleNamespace(unknown_count=0)
    drawn = tflite_export._others(photos, (8, 8))
    np.testing.assert_array_equal(drawn, draw_pictures((8, 8))[::3])
    assert len(drawn) == 32
    monkeypatch.setattr(tflite_export, "_some_of", lambda *given: given)
    photos = SimpleNamespace(unknown_count=1, of_split=lambda split: f"{split} photos")
    assert tflite_export._others(photos, (8, 6)) == ("unknown photos", (8, 6), 32)
