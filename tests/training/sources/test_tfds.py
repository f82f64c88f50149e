"""Data sets of TFDS: what is damaged, what cannot be downloaded, what is none of photos."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError

pytest.importorskip("tensorflow_datasets", reason="training needs TensorFlow Datasets")

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_flowers.training import data, tf_image
from keras_flowers.training.sources import inspection, open_photos, open_source


def jpeg(number: int) -> bytes:
    """A photo like no other."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


class DamagedFlowers(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Twenty photos, of which the third is cut off and the fourth is a web page."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        label = tfds.features.ClassLabel(names=["rose", "aster"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        del dl_manager
        return {"train": self._generate_examples(0), "test": self._generate_examples(100)}

    def _generate_examples(self, start: int) -> Any:
        for number in range(20):
            content = jpeg(start + number)
            if start == 0 and number in (2, 3):
                content = content[:400] if number == 2 else b"<html>not found</html>"
            yield number, {"image": content, "label": number % 2}


class Sentences(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """No photos."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> Any:
        del dl_manager
        return {"train": iter([(0, {"text": "a rose"})])}

    def _generate_examples(self) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where TFDS has both."""
    folder = tmp_path_factory.mktemp("tfds")
    DamagedFlowers(data_dir=folder).download_and_prepare()
    Sentences(data_dir=folder).download_and_prepare()
    return folder


def test_damaged_photos_of_a_data_set_are_left_out_and_named(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    photos = data.load_photos("damaged_flowers", "train", str(data_dir))
    assert photos.count == 18
    assert [one.label for one in photos.left_out] == ["rose", "aster"]
    assert [one.place.split(" record ")[1] for one in photos.left_out] == ["2", "3"]
    assert "web page" in photos.left_out[1].reason
    batches = list(data.pixels(photos, (32, 32), batch_size=8).as_numpy_iterator())
    labels = np.concatenate([labels for _, labels in batches])
    assert labels.tolist() == [n % 2 for n in range(20) if n not in (2, 3)]
    assert "2 of 20 photos of damaged_flowers/1.0.0 train cannot be read" in capsys.readouterr().err


def test_photo_of_a_data_set_is_looked_into_once_whatever_asks_for_it(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_into = []
    check = inspection._check

    def count_and_check(*arguments: Any) -> Any:
        looked_into.append(arguments)
        return check(*arguments)

    monkeypatch.setattr(inspection, "_check", count_and_check)
    train = data.load_photos("damaged_flowers", "train", str(data_dir), tmp_path)
    assert len(looked_into) == 20
    some = data.load_photos("damaged_flowers", "test[:25%]+train", str(data_dir), tmp_path)
    assert len(looked_into) == 20 + 5
    assert some.digests.tolist()[5:] == train.digests.tolist()
    assert [one.place for one in some.left_out] == [one.place for one in train.left_out]
    # To divide photos, near duplicates are searched: each is decoded, once.
    whole = open_photos(["tfds:damaged_flowers"], data_dir=str(data_dir), cache_dir=tmp_path)
    assert len(looked_into) == 25 + 38  # what cannot be read has no look
    again = open_photos(["tfds:damaged_flowers"], data_dir=str(data_dir), cache_dir=tmp_path)
    data.load_photos("damaged_flowers", "train+test", str(data_dir), tmp_path)
    assert len(looked_into) == 63
    assert again.as_csv() == whole.as_csv()


def test_missing_split_of_a_data_set_is_taken_from_train(data_dir: Path) -> None:
    whole = open_photos(["tfds:damaged_flowers"], data_dir=str(data_dir))
    assert whole.counts["test"] == 20
    assert whole.counts["train"] + whole.counts["validation"] == 18
    assert whole.counts["validation"] >= 2
    version = data_dir / "damaged_flowers" / "1.0.0"
    assert open_photos([str(version)]).counts == whole.counts
    assert open_source(str(version)).labels == ("rose", "aster")


def test_other_splits_are_of_the_same_data_set_and_folder(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = data.load_photos("damaged_flowers", "test", str(data_dir), tmp_path)
    asked: list[Any] = []
    monkeypatch.setattr(data, "load_photos", lambda *given: asked.append(given))
    test.of_split("train[:3]")
    assert asked == [("damaged_flowers", "train[:3]", str(data_dir), tmp_path)]


def test_data_set_without_photos_is_refused(data_dir: Path) -> None:
    with pytest.raises(UserError, match=r"has the features \['text'\]; expected `image` and"):
        data.load_photos("sentences", "train", str(data_dir))


def test_tensorflows_reader_refuses_a_small_png_of_many_pixels() -> None:
    import bad_photos

    small = bad_photos.raw_png_header(11_000, 7_000)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf_image.decode(tf.constant(small), (32, 32))
    whole = bad_photos.encode(Image.new("1", (8_500, 8_000)), "PNG")
    assert len(whole) < 100_000
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf_image.decode(tf.constant(whole), (32, 32))
