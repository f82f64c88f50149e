"""On real photos the page gives the names and the probabilities of Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from keras_flowers.export.browser import classifier_in
from keras_flowers.inference.classifier import default_model, load_classifier
from keras_flowers.inference.image import read_pixels

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHOTOS = 200


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Photos of `test`: nothing is chosen by them, only two ways to the same answer compared."""
    if "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("oxford_flowers102 is not at hand; set TFDS_DATA_DIR")
    pytest.importorskip("tensorflow", reason="reading the data set needs the extra [train]")
    from keras_flowers.training import data

    photos = data.load_photos("oxford_flowers102", f"test[:{PHOTOS}]")
    return [content for _, content, _ in photos.records.as_numpy_iterator()]


@pytest.mark.parametrize(
    ("variant", "agreement", "reads_itself", "same_pixels"),
    [("float16", 1.0, 5e-3, 1e-3), ("int8", 0.99, None, None)],
)
def test_page_and_python_agree_on_real_photos(
    browser: Browser,
    files: list[bytes],
    variant: str,
    agreement: float,
    reads_itself: float | None,
    same_pixels: float | None,
) -> None:
    model = default_model().with_name(f"flowers102_{variant}.tflite")
    python = load_classifier(model)
    pixels = np.stack([read_pixels(file, python.image_size) for file in files])
    expected = python.outputs(pixels)
    with classifier_in(browser, model) as page:
        by_file = page.classify_files(files)
        by_pixels = page.classify_pixels(pixels[:50])
    assert len(by_file) == len(expected) == PHOTOS
    # Of classes with the same probability, any of them will do.
    best = expected == expected.max(1, keepdims=True)
    agrees = (best & (by_file == by_file.max(1, keepdims=True))).any(1)
    assert agrees.mean() >= agreement
    if reads_itself is not None:
        assert np.abs(by_file - expected).max() <= reads_itself
        assert np.abs(by_pixels - expected[:50]).max() <= same_pixels
