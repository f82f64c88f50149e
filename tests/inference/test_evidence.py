"""What each place adds to a name: exact, the same from every file, and where the flower is."""

from __future__ import annotations

import dataclasses
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import COLOUR_IMAGE_SIZE, COLOURS
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference import evidence, tflite_insides
from keras_flowers.inference.classifier import default_model, load_classifier
from keras_flowers.inference.evidence import Evidence, gray_out, occlude, split_logits
from keras_flowers.inference.image import read_pixels
from keras_flowers.inference.insides import Padding, Parts
from keras_flowers.inference.prediction import Prediction

if TYPE_CHECKING:
    from export_fixtures import Exported

SUNFLOWER = Path(__file__).parents[2] / "docs" / "sunflower.jpg"


def parts(*maps: np.ndarray, classes: int = 3, seed: int = 0) -> Parts:
    """Parts of a network that pools `maps` and takes the root."""
    random = np.random.default_rng(seed)
    pooled = np.concatenate([one.mean(axis=(0, 1)) for one in maps])
    features = np.sign(pooled) * np.sqrt(np.abs(pooled))
    kernel = random.normal(size=(len(features), classes))
    return Parts(maps, features, np.zeros_like(features), kernel, random.normal(size=classes))


@pytest.mark.parametrize("shapes", [[(4, 4)], [(4, 4), (8, 8)], [(3, 5), (7, 10)], [(1, 1)]])
def test_places_and_constant_add_up_to_the_logits(shapes: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(1)
    # Signed, and one channel is 0 everywhere.
    maps = [random.normal(size=(*shape, 6)) * ([1, 1, 1, 1, 1, 0]) for shape in shapes]
    given = parts(*maps)
    places, constant = split_logits(given)
    np.testing.assert_allclose(places.sum(axis=(1, 2)) + constant, given.logits, atol=1e-9)
    assert places.shape == (3, max(h for h, _ in shapes), max(w for _, w in shapes))


def test_place_that_answers_gets_all_that_its_map_adds() -> None:
    maps = np.zeros((4, 6, 1))
    maps[1, 4] = 5.0
    given = parts(maps)
    places, constant = split_logits(given)
    expected = np.zeros((3, 4, 6))
    expected[:, 1, 4] = given.features[0] * given.kernel[0]
    np.testing.assert_allclose(places, expected)
    np.testing.assert_allclose(constant, given.bias)


def test_place_of_coarse_maps_is_spread_over_the_fine_ones_that_it_covers() -> None:
    coarse, fine = np.zeros((2, 2, 1)), np.zeros((4, 4, 1))
    coarse[0, 1] = fine[3, 0] = 1.0
    places, _ = split_logits(parts(coarse, fine))
    assert {tuple(map(int, one)) for one in np.argwhere(places[0])} == {
        (0, 2), (0, 3), (1, 2), (1, 3), (3, 0),
    }  # fmt: skip


def test_padding_is_cut_off() -> None:
    maps = np.arange(4 * 6 * 2).reshape(4, 6, 2)
    np.testing.assert_array_equal(Padding(0, 1, 2, 0).cut_off(maps), maps[:3, 2:])
    np.testing.assert_array_equal(Padding().cut_off(maps), maps)


def test_what_features_are_at_rest_belongs_to_no_place() -> None:
    maps = np.ones((2, 2, 1))
    kernel = np.array([[2.0, -1.0]])
    given = Parts([maps], np.array([3.0]), np.array([1.0]), kernel, np.array([0.5, 0.0]))
    places, constant = split_logits(given)
    np.testing.assert_allclose(constant, [2.5, -1.0])
    np.testing.assert_allclose(places[0], np.full((2, 2), 1.0))


def test_evidence_of_a_name_is_above_the_mean_of_all() -> None:
    random = np.random.default_rng(0)
    given = Evidence(
        ("a", "b", "c"),
        np.float32([0.2, 0.5, 0.3]),
        random.normal(size=(3, 2, 5)),
        random.normal(size=3),
    )
    for number, name in enumerate(given.labels):
        logit = given.logits[number] - given.logits.mean()
        assert given.of(name).sum() == pytest.approx(logit)
    with pytest.raises(UserError, match="'d' is not a name"):
        given.of("d")


def test_grayed_places_have_the_mean_colour_and_others_stay() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    places = np.zeros((3, 2), np.bool_)
    places[2, 0] = True
    grayed = gray_out(pixels, places)
    mean = pixels.mean(axis=(0, 1)).round()
    assert (grayed[20:, :10] == mean).all()
    np.testing.assert_array_equal(grayed[:20], pixels[:20])
    np.testing.assert_array_equal(grayed[:, 10:], pixels[:, 10:])


def test_occlusion_finds_the_one_place_that_counts() -> None:
    def probabilities(pixels: np.ndarray) -> np.ndarray:
        bright = pixels[:, 35:40, 25:30].mean(axis=(1, 2, 3)) > 200
        return np.where(bright[:, None], [0.9, 0.1], [0.5, 0.5]).astype(np.float32)

    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[35:40, 25:30] = 255
    places, constant = occlude(probabilities, pixels)
    assert places.shape == (2, 10, 10)
    assert np.argwhere(places[0]).tolist() == [[7, 5]]
    assert places[0, 7, 5] == pytest.approx(np.log(0.9 / 0.5))
    assert places[1, 7, 5] == pytest.approx(np.log(0.1 / 0.5))
    np.testing.assert_allclose(places.sum(axis=(1, 2)) + constant, np.log([0.9, 0.1]), atol=1e-6)


@pytest.mark.parametrize("method", [evidence.EXACT, evidence.OCCLUSION])
def test_model_of_another_build_is_explained(
    colour_model: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It averages the pixels themselves: exact where that is seen, else by graying out.
    if method == evidence.OCCLUSION:
        monkeypatch.setattr(tflite_insides, "insides_of_tflite", lambda *_, **__: None)
    classifier = load_classifier(colour_model)
    height, width = COLOUR_IMAGE_SIZE
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[:, width // 2 :] = COLOURS["cyan"]
    found = classifier.explain(pixels)
    assert found.method == method
    said = found.of("cyan")
    half = said.shape[1] // 2
    assert said[:, half:].sum() > said[:, :half].sum() + 0.5


def test_prediction_explains_itself_and_a_notebook_shows_it() -> None:
    prediction = load_classifier().predict(SUNFLOWER)
    found = prediction.explain()
    assert found is prediction.evidence
    picture = found._repr_png_()
    assert picture is not None
    with Image.open(BytesIO(picture)) as opened:
        assert opened.format == "PNG" and opened.height > 1000


def test_prediction_without_its_photo_says_what_to_do() -> None:
    classifier = load_classifier()
    pixels = read_pixels(SUNFLOWER, classifier.image_size)
    (prediction,) = classifier.predict_pixels(pixels[None])
    for one in (prediction, Prediction(("a",), np.float32([1.0]), SUNFLOWER)):
        with pytest.raises(UserError, match="not at hand"):
            one.explain()


def test_explaining_loads_no_tensorflow() -> None:
    from test_imports import HEAVY, loaded

    code = (
        "from keras_flowers import load_classifier\n"
        f"load_classifier().predict({str(SUNFLOWER)!r}).explain()"
    )
    assert loaded(code, *HEAVY) == set()


@pytest.mark.parametrize("variant", ["float32", "float16", "int8"])
def test_every_tflite_file_gives_the_evidence_of_the_keras_model(
    exported: Exported, variant: str
) -> None:
    keras_model = load_classifier(exported.run / "model.keras")
    tflite = load_classifier(exported.run / f"run_{variant}.tflite")
    for pixels in exported.pixels[:4]:
        whole, light = keras_model.explain(pixels), tflite.explain(pixels)
        assert whole.method == light.method == evidence.EXACT
        assert whole.places.shape == light.places.shape
        for one in (whole, light):
            # Of int8 files the logits are rounded once more before the softmax.
            tolerance = 0.1 if variant == "int8" and one is light else 1e-4
            centred = one.logits - one.logits.mean()
            logarithms = np.log(np.maximum(one.probabilities, 1e-6), dtype=np.float64)
            sure = one.probabilities > 0.01
            expected = logarithms - logarithms[sure].mean()
            found = centred - centred[sure].mean()
            np.testing.assert_allclose(found[sure], expected[sure], atol=tolerance)
        name = whole.top(1)[0][0]
        a, b = whole.of(name), light.of(name)
        if variant == "int8":
            assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9
        else:
            np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(a).max())


def test_keras_evidence_adds_up_to_the_logits_of_the_model(exported: Exported) -> None:
    from keras_flowers.system import load_keras
    from keras_flowers.training.model import logits_of

    logits = logits_of(load_keras(exported.run / "model.keras"))
    classifier = load_classifier(exported.run / "model.keras")
    for pixels in exported.pixels[:4]:
        expected = np.asarray(logits(pixels[None].astype(np.float32)))[0]
        np.testing.assert_allclose(classifier.explain(pixels).logits, expected, atol=1e-4)


def test_damaged_graph_is_not_understood_instead_of_a_traceback(exported: Exported) -> None:
    from keras_flowers.inference.tflite_insides import insides_of_tflite

    content = (exported.run / "run_float32.tflite").read_bytes()
    assert insides_of_tflite(content) is not None
    for cut in (8, 200, len(content) // 2):
        assert insides_of_tflite(content[:cut]) is None


@pytest.mark.skipif(
    "TFDS_DATA_DIR" not in os.environ, reason="oxford_flowers102 is not at hand; set TFDS_DATA_DIR"
)
def test_grayed_evidence_costs_more_than_grayed_random_places() -> None:
    """The pointing test, on twenty of Oxford's test photos; nothing is chosen by it."""
    pytest.importorskip("tensorflow_datasets")
    from keras_flowers.training import data

    classifier = load_classifier(default_model())
    photos = data.load_photos("oxford_flowers102", "test")
    some = dataclasses.replace(photos, records=photos.records.shard(photos.count // 20, 0))
    batches = data.pixels(some, classifier.image_size).as_numpy_iterator()
    random = np.random.default_rng(0)
    lower = []
    for pixels in np.concatenate([batch for batch, _ in batches])[:20]:
        found = classifier.explain(pixels)
        said = found.of(found.top(1)[0][0])
        order = [np.argsort(-said, axis=None), random.permutation(said.size)]
        grayed = []
        for one in order:
            places = np.zeros(said.size, np.bool_)
            places[one[: said.size // 10]] = True
            grayed.append(gray_out(pixels, places.reshape(said.shape)))
        top, by_chance = classifier.probabilities(np.stack(grayed))[:, found.probabilities.argmax()]
        lower.append(top < by_chance)
    assert len(lower) == 20
    assert np.mean(lower) >= 0.95
