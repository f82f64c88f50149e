"""The base that ships and its measures: tools/shrink_keras.py, new_flowers.py and going_on.py."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the tools need the extra [train]")

from export_fixtures import tool  # noqa: E402

from keras_flowers.errors import UserError  # noqa: E402
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata  # noqa: E402
from keras_flowers.training.batches import CachedFeatures  # noqa: E402
from keras_flowers.training.whitening import fit_whitening, measure_moments  # noqa: E402


def test_fewer_bytes_give_the_same_model(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(64, 3, name="kernel")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dense(400, "softmax", name="head")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    # Too small for weights of 16 bits, in which it would be 0.
    statistics = [*model.get_layer("norm").get_weights()[:3], np.full(64, 3e-9, np.float32)]
    model.get_layer("norm").set_weights(statistics)
    whole = tmp_path / "whole.keras"
    model.save(whole)
    metadata = Metadata(("rose", "daisy"), (8, 8), {"seed": 3})
    add_to_archive(whole, metadata)
    small = tmp_path / "small.keras"
    content = tool("shrink_keras").shrunken(whole.read_bytes())
    small.write_bytes(content)
    assert len(content) < 0.68 * whole.stat().st_size
    assert tool("shrink_keras").shrunken(whole.read_bytes()) == content
    assert read_metadata(small) == metadata
    loaded = keras.saving.load_model(small)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        assert other.dtype == "float32"
        # Half of the last of 14 bits that are kept; vectors are the same.
        near = 2.0**-15 if len(one.shape) > 1 else 0
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=near, atol=0)


def test_each_draw_takes_other_photos_of_those_that_may_be_learned_from() -> None:
    labels = np.repeat(np.arange(3), 40)
    allowed = np.arange(len(labels)) % 2 == 0
    draw = tool("new_flowers").draw
    drawn = draw(labels, allowed, 5, seed=1)
    assert [labels[numbers].tolist() for numbers in drawn] == [[one] * 5 for one in range(3)]
    assert allowed[np.concatenate(drawn)].all()
    # Who learns from 10 learns from these 5, too.
    assert [numbers[:5].tolist() for numbers in draw(labels, allowed, 10, seed=1)] == [
        numbers.tolist() for numbers in drawn
    ]
    assert not np.array_equal(drawn, draw(labels, allowed, 5, seed=2))
    with pytest.raises(UserError, match="a flower has less than 21 photos that can be read"):
        draw(labels, allowed, 21, seed=1)


def test_flowers_with_enough_photos_of_both_kinds_are_taken(tmp_path: Path) -> None:
    kinds = {
        "train.csv": ["tulip"] * 3 + ["lilac"] * 2 + ["peony"] * 3,
        "validation.csv": ["tulip", "lilac"],
    }
    for name, species in kinds.items():
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "kind", "species"))
            writer.writerows(("1.jpg", "other flower", one) for one in species)
            writer.writerow(("2.jpg", "known", "tulip"))
    new_flowers = tool("new_flowers")
    found = new_flowers.with_enough(new_flowers.read_rows(tmp_path), 3)
    assert [(row["species"], row["file"]) for row in found] == [
        *[("tulip", "train.csv")] * 3,
        ("tulip", "validation.csv"),
    ]
    assert Path(found[0]["path"]).is_absolute()


def test_new_flowers_are_tested_on_photos_of_other_sources_than_those_that_are_learned() -> None:
    going_on = tool("going_on")
    random = np.random.default_rng(0)
    centres = random.normal(0, 1.5, (5, 16))

    def photos(labels: list[int]) -> CachedFeatures:
        rows = centres[labels] + random.normal(0, 0.5, (len(labels), 16))
        return CachedFeatures([rows.astype(np.float16)], np.array(labels))

    # Two old flowers; of the others, tulips and peonies are a pair.
    old = centres[:2]
    bias = -(old**2).sum(axis=1) / 2
    train = photos([0, 1] * 50)
    moments = measure_moments(train, 2)
    head = going_on.Head(
        old.T.astype(np.float32),
        bias.astype(np.float32),
        0.5,
        moments.means,
        fit_whitening(moments, shrinkage=0.5),
    )
    new = photos([2] * 40 + [3] * 40 + [4] * 9)
    sources = np.array([f"train.csv:{number // 2}" for number in range(89)])
    learnable = np.arange(89) % 40 < 30
    species = np.array(["tulip", "peony", "lilac"])[new.labels - 2]
    features = going_on.Features(train, photos([0, 1] * 40), new, species, sources, learnable)
    found = going_on.measure(head, features, ("tulip", "peony"), seed=1)
    # Of 60 that may be learned 30 are, and what shares their sources is not tested.
    assert 20 <= found["tested"] < 50
    assert found["balanced"]["new"] >= found["fitted"]["new"] > 0.8
    assert found["balanced"]["old"] >= -0.005
    assert going_on.measure(head, features, ("tulip", "peony"), seed=1) == found
