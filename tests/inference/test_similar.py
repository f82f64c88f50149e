"""The training photos most like a photo: cosines, exact, the right index, and the right names."""

from __future__ import annotations

import base64
import dataclasses
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference import similar
from keras_flowers.inference.classifier import default_model, load_classifier
from keras_flowers.inference.similar import (
    INDEX_FILE,
    SimilarIndex,
    SimilarPhoto,
    SimilarPhotos,
)

if TYPE_CHECKING:
    from export_fixtures import Exported

PHOTOS, SIZE, RANK = 50, 12, 5


@pytest.fixture
def index() -> SimilarIndex:
    """Random photos in random directions."""
    random = np.random.default_rng(0)
    made = SimilarIndex(
        dataset="drawn/1.0.0",
        split="train",
        labels=("daisy", "rose"),
        places=tuple(f"bed {number}.jpg" for number in range(PHOTOS)),
        digests=np.array([f"{number:016x}" for number in range(PHOTOS)], "S16"),
        classes=random.integers(0, 2, PHOTOS).astype(np.int32),
        centre=random.normal(size=SIZE).astype(np.float32),
        projection=random.normal(size=(SIZE, RANK)).astype(np.float16),
        rows=np.zeros((PHOTOS, RANK), np.float16),
        head=np.float32([1.0, 2.0]),
    )
    made.rows[:] = made.project(random.normal(size=(PHOTOS, SIZE)))
    return made


def test_nearest_photos_are_those_of_the_largest_cosine(index: SimilarIndex) -> None:
    features = np.random.default_rng(1).normal(size=SIZE)
    whitened = (features - index.centre) @ index.projection.astype(np.float64)
    rows = index.rows.astype(np.float64)
    cosines = rows @ whitened / np.linalg.norm(whitened) / np.linalg.norm(rows, axis=1)
    found = index.nearest(features, 7)
    expected = np.argsort(-cosines)[:7]
    assert [one.place for one in found] == [index.places[row] for row in expected]
    assert [one.name for one in found] == [index.labels[index.classes[row]] for row in expected]
    np.testing.assert_allclose([one.similarity for one in found], cosines[expected], atol=2e-3)


def test_photo_resembles_itself_most(index: SimilarIndex) -> None:
    whitened = index.rows[17].astype(np.float64)
    features = index.centre + np.linalg.pinv(index.projection.astype(np.float64)).T @ whitened
    best = index.nearest(features, 1)[0]
    assert best.place == "bed 17.jpg"
    assert best.similarity == pytest.approx(1, abs=1e-3)


def test_more_photos_than_there_are_gives_all(index: SimilarIndex) -> None:
    assert len(index.nearest(np.ones(SIZE), 1000)) == PHOTOS


def test_index_is_read_as_it_was_written_and_is_the_same_bytes(
    index: SimilarIndex, tmp_path: Path
) -> None:
    for name in ("one.npz", "other.npz"):
        index.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    read = SimilarIndex.load(tmp_path / "one.npz")
    for field in dataclasses.fields(SimilarIndex):
        one, other = getattr(index, field.name), getattr(read, field.name)
        np.testing.assert_array_equal(one, other)
        assert type(one) is type(other)


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "uneven"])
def test_bad_index_is_one_line_that_says_how_to_make_it(
    index: SimilarIndex, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / INDEX_FILE
    if damage == "uneven":
        dataclasses.replace(index, places=index.places[1:]).save(path)
    elif damage != "missing":
        index.save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no archive")
    with pytest.raises(UserError, match=r"keras-flowers similar --build .*") as caught:
        SimilarIndex.load(path)
    assert "\n" not in str(caught.value)


def test_index_of_another_model_is_refused(index: SimilarIndex) -> None:
    kernel = np.zeros((SIZE, 2))
    kernel[0] = (1.0, 2.0)
    # float16 rounds the weights: a hundredth is the same model.
    for same in (kernel, kernel * 1.009, kernel * 0.991):
        index.check_model(same, Path("similar.npz"))
    for other in (kernel * 1.012, kernel[:, :1], kernel[:-1]):
        with pytest.raises(UserError, match="was made with another model"):
            index.check_model(other, Path("similar.npz"))


def test_many_photos_are_compared_in_pieces(
    index: SimilarIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = np.random.default_rng(1).normal(size=SIZE)
    whole = index.nearest(features, PHOTOS)
    for rows in (1, 7, 49, 50):
        monkeypatch.setattr(similar, "_ROWS", rows)
        for one, other in zip(index.nearest(features, PHOTOS), whole, strict=True):
            assert one.place == other.place
            assert one.similarity == pytest.approx(other.similarity, abs=1e-5)


def test_photos_that_are_as_similar_come_in_their_order(index: SimilarIndex) -> None:
    index.rows[:] = index.rows[3]
    found = index.nearest(np.ones(SIZE), 4)
    assert [one.place for one in found] == [f"bed {number}.jpg" for number in range(4)]
    assert found[0].digest == f"{0:016x}"
    assert [one.name for one in index.nearest(np.ones(SIZE), 2, ("x", "y"))] == [
        "xy"[index.classes[number]] for number in range(2)
    ]


def test_nothing_resembles_the_average_photo(index: SimilarIndex) -> None:
    found = index.nearest(index.centre.astype(float), 1)
    assert found[0].similarity == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rows", np.zeros((PHOTOS, RANK + 1), np.float16)),
        ("rows", np.zeros((PHOTOS, 1, RANK), np.float16)),
        ("rows", np.zeros((PHOTOS - 1, RANK), np.float16)),
        ("projection", np.zeros((SIZE + 1, RANK), np.float16)),
        ("centre", np.zeros(SIZE - 1, np.float32)),
        ("digests", np.zeros(PHOTOS + 1, "S16")),
        ("classes", np.zeros(PHOTOS - 1, np.int32)),
        ("classes", np.full(PHOTOS, 2, np.int32)),
        ("classes", np.full(PHOTOS, -1, np.int32)),
    ],
)
def test_index_whose_parts_do_not_fit_is_damaged(
    index: SimilarIndex, tmp_path: Path, field: str, value: np.ndarray
) -> None:
    dataclasses.replace(index, **{field: value}).save(tmp_path / INDEX_FILE)
    with pytest.raises(UserError, match=r"is damaged \(its parts do not fit together\); make it"):
        SimilarIndex.load(tmp_path / INDEX_FILE)


def test_index_without_photos_is_damaged(index: SimilarIndex, tmp_path: Path) -> None:
    nothing = dataclasses.replace(
        index, places=(), digests=index.digests[:0], classes=index.classes[:0], rows=index.rows[:0]
    )
    nothing.save(tmp_path / INDEX_FILE)
    with pytest.raises(UserError, match="is damaged"):
        SimilarIndex.load(tmp_path / INDEX_FILE)


def test_similar_photos_are_a_table_as_text() -> None:
    photos = (SimilarPhoto(0.987, "rose", "a.jpg", "d"), SimilarPhoto(-0.5, "daisies", "b", "e"))
    found = SimilarPhotos(photos)
    assert str(found) == " 0.99  rose     a.jpg\n-0.50  daisies  b"
    assert str(SimilarPhotos(())) == ""
    assert (len(found), found[1], list(found)) == (2, photos[1], list(photos))
    file = io.BytesIO()
    Image.new("RGB", (512, 256)).save(file, "PNG")
    shown = SimilarPhotos(photos, (b"", file.getvalue()))._repr_html_()
    assert shown.startswith("<table><tr><td></td><td>0.99</td><td>rose</td><td>a.jpg</td></tr><tr>")
    data = base64.b64decode(shown.partition("base64,")[2].partition('"')[0])
    assert Image.open(io.BytesIO(data)).size == (128, 64)
    assert found._repr_html_().startswith("<table><tr><td>0.99</td>")


def test_similar_photos_show_themselves(index: SimilarIndex) -> None:
    found = index.nearest(np.ones(SIZE), 2, ("<b>", "oxeye"))
    assert str(found).count("bed ") == 2
    assert "<b>" not in found._repr_html_().replace("&lt;b&gt;", "")
    assert found[0].similarity >= found[1].similarity


def test_index_made_of_a_run_names_its_own_photos(exported: Exported) -> None:
    from keras_flowers.training.similarity import read_photos, with_pictures, write_index

    index, path = write_index(exported.run / "run_float32.tflite")
    assert path == exported.run / INDEX_FILE
    assert index.rows.shape[1] <= 128
    assert len(set(index.places)) == len(index.places)
    found = []
    for model in ("model.keras", "run_float32.tflite", "run_float16.tflite"):
        classifier = load_classifier(exported.run / model)
        photos = classifier.similar(exported.photos[0], 3)
        assert photos[0].name == classifier.labels[exported.classes[0]]
        found.append([one.place for one in photos])
    assert found[0] == found[1]
    # A training photo resembles itself, and its file is found again.
    shown = with_pictures(classifier, photos)
    assert shown._repr_html_().count('src="data:image/jpeg;base64,') == len(photos)
    (content,) = read_photos(classifier, photos[:1]).values()
    assert content == shown.pictures[0]
    absent = photos[0]._replace(digest="0" * 16, place="elsewhere.jpg")
    assert list(read_photos(classifier, [*photos[:1], absent])) == [photos[0].digest]
    with pytest.raises(UserError, match="has no photo 'elsewhere.jpg'"):
        read_photos(classifier, [absent])
    itself = classifier.similar(content, 1)[0]
    assert itself.place == photos[0].place
    assert itself.similarity > 0.99
    with pytest.raises(UserError, match="cannot be compared"):
        load_classifier(exported.run / "run_int8.tflite").similar(exported.photos[0])


@pytest.mark.skipif(
    "TFDS_DATA_DIR" not in os.environ, reason="oxford_flowers102 is not at hand; set TFDS_DATA_DIR"
)
def test_nearest_training_photo_has_the_right_name() -> None:
    """On 102 of Oxford's test photos; nothing is chosen by it."""
    pytest.importorskip("tensorflow_datasets")
    from keras_flowers.system import available_cores
    from keras_flowers.training import data

    classifier = load_classifier(default_model(), workers=available_cores())
    if not classifier.similar_path.is_file():
        pytest.skip("the model that ships has no index: keras-flowers similar --build RUN")
    photos = data.load_photos("oxford_flowers102", "test")
    some = dataclasses.replace(photos, records=photos.records.shard(photos.count // 102, 0))
    right = []
    for pixels, classes in data.pixels(some, classifier.image_size).as_numpy_iterator():
        for features, number in zip(classifier.insides.features(pixels), classes, strict=True):
            (best,) = classifier.similar_index.nearest(features, 1)
            right.append(best.name == classifier.labels[number])
    assert len(right) >= 100
    # Of 1,020 more are right; of so few, some more may be wrong by chance.
    assert np.mean(right) >= 0.9
