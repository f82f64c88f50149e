"""The index of training photos: which photos are in it, and what they are compared by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets", reason="an index is made with the extra [train]")

from keras_flowers.errors import UserError
from keras_flowers.training import similarity
from keras_flowers.training.batches import CachedFeatures
from keras_flowers.training.similarity import build_index, read_photos
from keras_flowers.training.whitening import fit_whitening, measure_moments

CLASSES, SIZE, COUNT = 4, 10, 60


@pytest.fixture
def photos() -> Any:
    """Photos of four classes; every tenth shows none of them."""
    labels = np.arange(COUNT) % CLASSES
    labels[::10] = -1
    return SimpleNamespace(
        label_numbers=labels,
        labels=tuple("abcd"),
        dataset="drawn",
        split="train",
        names=tuple(f"{number}.jpg" for number in range(COUNT)),
        digests=np.array([b"%032x" % number for number in range(COUNT)]),
    )


def features(photos: Any) -> np.ndarray:
    random = np.random.default_rng(0)
    means = 3 * random.normal(size=(CLASSES, SIZE))
    return means[photos.label_numbers] + random.normal(size=(COUNT, SIZE))


def test_index_holds_the_photos_of_classes_in_the_order_of_their_features(photos: Any) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    kernel = np.random.default_rng(2).normal(size=(SIZE, CLASSES)).astype(np.float32)
    rows = features(photos)[order]
    index = build_index(photos, rows, order, kernel)
    kept = order[photos.label_numbers[order] >= 0]
    assert index.places == tuple(f"{number}.jpg" for number in kept)
    assert index.digests.tolist() == [b"0" * 16] * len(kept)  # the first 16 of 32 digits
    np.testing.assert_array_equal(index.classes, photos.label_numbers[kept])
    np.testing.assert_allclose(index.head, np.sqrt((kernel**2).sum(axis=0)), rtol=1e-6)
    assert (index.dataset, index.split, index.labels) == ("drawn", "train", tuple("abcd"))
    assert (index.projection.dtype, index.rows.dtype) == (np.float16, np.float16)
    assert float(np.abs(index.projection).max()) == 1
    # Every row is its photo as it would be compared.
    seen = rows[photos.label_numbers[order] >= 0]
    np.testing.assert_allclose(index.rows, index.project(seen), atol=1e-3)
    assert index.nearest(seen[7], 1)[0].place == index.places[7]


def test_with_all_directions_cosines_are_those_of_the_whitened_features(photos: Any) -> None:
    rows = features(photos)
    index = build_index(photos, rows, np.arange(COUNT), np.ones((SIZE, CLASSES), np.float32))
    assert index.projection.shape == (SIZE, SIZE)
    known = photos.label_numbers >= 0
    cached = CachedFeatures([rows[known]], photos.label_numbers[known])
    whitening = fit_whitening(measure_moments(cached, CLASSES), similarity._SHRINKAGE)
    whitened = np.asarray(whitening.apply(cached).views[0], float)
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    found = index.rows.astype(float)
    np.testing.assert_allclose(found @ found.T, whitened @ whitened.T, atol=0.01)


def test_few_directions_are_those_in_which_photos_differ_most(
    photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = features(photos)
    known = photos.label_numbers >= 0
    seen = CachedFeatures([rows[known]], photos.label_numbers[known])
    whitening = fit_whitening(measure_moments(seen, CLASSES), 1.0)
    whitened = np.asarray(whitening.apply(seen).views[0], float)
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    best = np.linalg.svd(whitened, full_matrices=False)[2][:3].T
    monkeypatch.setattr(similarity, "RANK", 3)
    found = similarity._directions(seen, whitening)
    assert found.shape == (SIZE, 3)
    inner = np.linalg.lstsq(whitening.matrix.T.astype(float), found.astype(float), rcond=None)[0]
    spans = [np.linalg.qr(one)[0] for one in (inner, best)]
    np.testing.assert_allclose(spans[0] @ spans[0].T, spans[1] @ spans[1].T, atol=1e-3)
    # From more photos than are looked at, every so many, the same ones each time.
    monkeypatch.setattr(similarity, "_SAMPLE", 20)
    third = CachedFeatures([rows[known][::3]], photos.label_numbers[known][::3])
    np.testing.assert_array_equal(
        similarity._directions(seen, whitening), similarity._directions(third, whitening)
    )


def classifier(**provenance: Any) -> Any:
    class Named(SimpleNamespace):
        def __repr__(self) -> str:
            return "<it>"

    return Named(
        origin=SimpleNamespace(path=Path("nowhere/model.tflite")),
        metadata=SimpleNamespace(provenance=provenance),
        similar_index=SimpleNamespace(split="train"),
    )


def test_model_says_what_it_was_trained_on_or_is_refused() -> None:
    assert similarity._learned(classifier(trained_on={"split": "train+validation"})) == (
        "train+validation"
    )
    for said in ({}, {"trained_on": "train"}, {"trained_on": {"photos": 3}}):
        with pytest.raises(UserError, match="<it> does not say what it was trained on; expected a"):
            similarity._learned(classifier(**said))


def test_photos_are_asked_for_only_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        similarity, "photos_of", lambda path, metadata, split, **options: (split, options)
    )
    monkeypatch.setattr(similarity, "is_at_hand", lambda *given: asked.append(given) or False)
    made = classifier(dataset="oxford_flowers102:2.1.1 + mine")
    with pytest.raises(UserError, match=r"the photos of oxford_flowers102\S* are not at hand; say"):
        similarity._training_photos(made, "train", (), "d", download=False)
    assert asked[0][1] == "d"
    for sources, download in ((["x"], False), ((), True)):
        split, options = similarity._training_photos(
            made, "train", sources, None, download=download
        )
        assert (split, options["sources"], options["data_dir"]) == ("train", sources, None)
    assert len(asked) == 1


def test_photos_are_looked_for_where_they_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    class LookedForError(Exception):
        pass

    def look(*given: Any, **options: Any) -> Any:
        raise LookedForError(given, options)

    monkeypatch.setattr(similarity, "_training_photos", look)
    made = classifier(trained_on={"split": "train[:9]"})
    made.insides = None
    loaded: list[Any] = []
    monkeypatch.setattr(
        similarity, "load_classifier", lambda *a, **b: loaded.append((a, b)) or made
    )
    monkeypatch.setattr(similarity, "available_cores", lambda: 5)
    split = "train[:9]"
    for download in (True, False):
        with pytest.raises(LookedForError) as built:
            similarity.write_index("run", ["s"], data_dir="D", download=download)
        assert built.value.args == ((made, split, ["s"], "D"), {"download": download})
    with pytest.raises(LookedForError) as plain:
        similarity.write_index("run")
    assert plain.value.args == ((made, split, (), None), {"download": True})
    assert loaded[0] == (("run",), {"workers": 5})
    # For pictures alone nothing is downloaded; they are of the split that the index is of.
    found: Any = None
    with pytest.raises(LookedForError) as read:
        similarity.with_pictures(made, found, ["s"], data_dir="D")
    assert read.value.args == ((made, "train", ["s"], "D"), {"download": False})


def test_files_of_photos_are_found_by_their_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(*digests: bytes) -> Any:
        return SimpleNamespace(
            found=SimpleNamespace(digests=np.array(digests)),
            numbers=np.arange(len(digests)) + 10,
            photos=SimpleNamespace(
                contents=lambda numbers: [(n, lambda n=n: b"photo %d" % n) for n in numbers]
            ),
        )

    one, two, three = (b"%016x" % number + b"rest" for number in range(3))
    parts = [part(three, one), part(two)]
    monkeypatch.setattr(
        similarity, "_training_photos", lambda *_, **__: SimpleNamespace(parts=parts, dataset="x")
    )
    from keras_flowers.inference.similar import SimilarPhoto

    wanted = [SimilarPhoto(1, "rose", f"{n}.jpg", f"{n:016x}") for n in (0, 1, 9)]
    found = read_photos(classifier(), wanted)
    assert found == {f"{0:016x}": b"photo 11", f"{1:016x}": b"photo 10"}
    with pytest.raises(UserError, match="x has no photo '9.jpg'; expected the photos that the mod"):
        read_photos(classifier(), wanted[2:])
    assert read_photos(classifier(), []) == {}
