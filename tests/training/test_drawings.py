"""What is drawn stays what it was: models and cached features were made with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_flowers.training.drawings import EACH, draw_pictures

# Red, green and blue on average and the deviation of all, in hexadecimal: a line of twelve pictures
# for each kind, in the order of `drawings`.
PICTURES = """
8885893f 7f818122 7f7f7f3f 7f7f8012 7f7e8029 8080801d 81818129 82828234 807f8007 80807f08 7f7f7f18 7f7f800c
03363a19 2a8d282f 367a651c 8165620e 18ec6757 0de14f59 d2b70d58 32ad4536 088db44a 2f2a6e1f 5f47650d bd704830
60535719 606f5d22 46977623 1344752c 0f6a432d 6deb8940 5e8e183a 40323709 50444715 cec17926 99d57631 bccbad0f
998c9c5f a1caa34c d2d1d250 eccaca2b 64617e38 f0d5e618 dfe1de3b 3353571b d8dddd3f 48964850 1544121d 7cae8e38
062d2f18 1f292509 8582a036 6371570c d7f0f334 e3f6f028 cfcfd259 1f5d4237 4a29360e d5d0d94e 775a4424 e3e2e236
4d21551a 2ec5aa48 e5e5e533 68321e21 e0e0e01a c33cae3d 43970d3b f1edf21f 0f9a6139 8533ab33 e5e5e535 f3f1fe11
cccddc50 cbbcbf3e d27d6241 dde5ea3e faf9f70f a8c2a757 c4d2d652 b2b3e65f 5d252920 e2e4ea3f cacbc562 3e291f21
3c849a2b 8d8f6423 67303b18 a6aca704 5239450a 715f6308 8e9b601f 56655a06 57434809 a35e3b2c 5b5e6208 42a1b834
"""  # noqa: E501

FLOWERS = (
    "c1978e50 8997c550 bb96894f 8996bb4f c1c4b938 bcc38b47 8f8e9350 cca36a4e",
    "684b2e3e 33565d3d 644d2f3b 32575a3a 6a7c594d 64722c40 3a4a3328 8b602447",
)


def seen(picture: np.ndarray) -> list[float]:
    return [*picture.mean(axis=(0, 1)), picture.std()]


def numbers(text: str) -> np.ndarray:
    return np.array([list(bytes.fromhex(one)) for one in text.split()])


def test_pictures_of_nothing_are_what_they_were() -> None:
    pictures = draw_pictures((64, 96)).astype(float)
    found = np.array([seen(one) for one in pictures])
    expected = numbers(PICTURES)
    assert len(expected) == len(pictures) == 8 * EACH
    # Letters, in charts and text, differ a little from one version of FreeType to the other.
    np.testing.assert_allclose(found, expected, atol=1.5)


@pytest.mark.parametrize("seed", [2])
def test_drawn_flowers_are_what_they_were(seed: int) -> None:
    pytest.importorskip("tensorflow_datasets", reason="drawn flowers need the extra [train]")
    from keras_flowers.training.synthetic import CLASSES, draw_flower

    pictures = [draw_flower(label, seed) for label in range(len(CLASSES))]
    assert {one.size for one in pictures} == {(0, (158, 161), (187, 141))[seed]}
    found = np.array([seen(np.asarray(one, float)) for one in pictures])
    np.testing.assert_allclose(found, numbers(FLOWERS[seed - 1]), atol=1)


def test_photo_for_a_first_prediction_is_a_file_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_datasets", reason="drawn flowers need the extra [train]")
    from keras_flowers.training.synthetic import CLASSES, COUNTS, draw_flower, write_photo

    path = write_photo(tmp_path)
    assert path == tmp_path / "photo.jpg"
    shown = np.asarray(Image.open(path), float)
    # A daisy in blue, and none of those that are learned or tested on.
    assert CLASSES[3][0] == "blue daisy"
    drawn = np.asarray(draw_flower(3, seed=(3, 0)), float)
    assert np.abs(shown - drawn).mean() < 8
    assert list(COUNTS) == ["train", "validation", "test"]
