"""`tools/shrink_keras.py` and `tools/new_flowers.py`: the base that ships, and its measure."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="the tools need the extra [train]")

from export_fixtures import tool  # noqa: E402

from keras_flowers.errors import UserError  # noqa: E402
from keras_flowers.inference.metadata import Metadata, add_to_archive, read_metadata  # noqa: E402


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


def test_photos_to_test_on_are_of_other_sources() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    origins = [f"source {number}" for number in random.integers(0, 30, len(labels))]
    drawn, test = tool("new_flowers").draw(labels, origins, 5, seed=1)
    assert [labels[numbers].tolist() for numbers in drawn] == [[one] * 5 for one in range(3)]
    used = {origins[number] for numbers in drawn for number in numbers}
    assert not used & {origins[number] for number in test}
    # As many as there are: all but those of the sources that were learned from.
    assert len(test) == sum(origin not in used for origin in origins)
    again, _ = tool("new_flowers").draw(labels, origins, 5, seed=2)
    assert not np.array_equal(drawn, again)
    with pytest.raises(UserError, match="a flower has too few photos to learn from 40 and to te"):
        tool("new_flowers").draw(labels, origins, 40, seed=1)


def test_flowers_with_the_most_photos_are_taken(tmp_path: Path) -> None:
    rows = [("1.jpg", "other flower", "tulip")] * 3 + [("2.jpg", "other flower", "lilac")] * 2
    rows += [("3.jpg", "other flower", "peony"), ("4.jpg", "known", "rose")]
    for name in ("train.csv", "validation.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "kind", "species"))
            writer.writerows(rows)
    new_flowers = tool("new_flowers")
    found = new_flowers.most_photographed(new_flowers.read_rows(tmp_path), 2)
    assert [row["species"] for row in found] == (["tulip"] * 3 + ["lilac"] * 2) * 2
    assert Path(found[0]["path"]).is_absolute()
