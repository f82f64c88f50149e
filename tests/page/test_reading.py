"""The page reads photos as `image.py` does, and gives the answers of the command."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bad_photos
import numpy as np
import pytest
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.export.browser import BrowserClassifier, classifier_in
from keras_flowers.inference.classifier import Classifier, default_model, load_classifier
from keras_flowers.inference.image import read_pixels

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
SUNFLOWER = ROOT / "docs" / "sunflower.jpg"
SIZE = (320, 320)


@pytest.fixture(scope="module")
def in_browser(browser: Browser) -> Iterator[BrowserClassifier]:
    with classifier_in(browser, default_model()) as classifier:
        yield classifier


@pytest.fixture(scope="module")
def in_python() -> Classifier:
    return load_classifier()


def sunflower(width: int, height: int) -> Image.Image:
    photo = Image.open(SUNFLOWER).convert("RGB")
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int, image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, exif=exif, quality=92)


def transparent() -> Image.Image:
    photo = sunflower(640, 480).convert("RGBA")
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    photo.putalpha(Image.fromarray(np.tile(ramp, (480, 1))))
    return photo


def grey_16_bits() -> Image.Image:
    return Image.fromarray(np.asarray(sunflower(640, 480).convert("L")).astype(np.uint16) * 257)


EXACT = {
    "as it is": SUNFLOWER.read_bytes(),
    "progressive": encode(sunflower(640, 480), progressive=True),
    "all colours in full": encode(sunflower(640, 480), subsampling=0),
    "grey": encode(sunflower(640, 480).convert("L")),
    "CMYK": encode(sunflower(640, 480).convert("CMYK")),
    "smaller than the model": encode(sunflower(300, 200)),
    "as large as the model": encode(sunflower(320, 320)),
    "PNG": encode(sunflower(640, 480), "PNG"),
    "PNG with transparency": encode(transparent(), "PNG"),
    "grey PNG with transparency": encode(transparent().convert("LA"), "PNG"),
    "PNG of 16 bits": encode(grey_16_bits(), "PNG"),
    "palette": encode(sunflower(640, 480).convert("P"), "PNG"),
    "GIF": encode(sunflower(640, 480), "GIF"),
    "WebP": encode(sunflower(640, 480), "WEBP"),
    "BMP": encode(sunflower(640, 480), "BMP"),
    **{f"orientation {n}": turned(n, sunflower(640, 480)) for n in range(1, 9)},
}
"""Photos of which the browser shows its model the very pixels that Pillow reads."""


@pytest.mark.parametrize("name", EXACT)
def test_pixels_are_those_of_pillow(in_browser: BrowserClassifier, name: str) -> None:
    expected = read_pixels(EXACT[name], SIZE)
    np.testing.assert_array_equal(in_browser.read(EXACT[name]).reshape(expected.shape), expected)


LARGE = {
    "1401 x 1053": encode(sunflower(1401, 1053)),
    "phone, 12 megapixels": encode(sunflower(4032, 3024)),
    "phone, 24 megapixels": encode(sunflower(5712, 4284), quality=85),
    "PNG of 5 megapixels": encode(sunflower(2600, 1950), "PNG", compress_level=1),
    # The last row and column of blocks is not full: once turned, it comes first.
    **{f"turned {n}": turned(n, sunflower(2901, 2003)) for n in range(1, 9)},
}
"""Photos that are shrunk while they are decoded, which a browser cannot be told to do."""


@pytest.mark.parametrize("name", LARGE)
def test_pixels_of_large_photos_are_nearly_those_of_pillow(
    in_browser: BrowserClassifier, name: str
) -> None:
    expected = read_pixels(LARGE[name], SIZE)
    difference = np.abs(in_browser.read(LARGE[name]).reshape(expected.shape) - expected.astype(int))
    # A decoder that shrinks rounds once less. Half a pixel beside it, most would differ by 10.
    assert difference.max() <= 6
    assert difference.mean() < 0.25


CASES = pytest.mark.skipif(
    "KERAS_FLOWERS_CASES" not in os.environ,
    reason="the difficult photos are not at hand; set KERAS_FLOWERS_CASES",
)


@CASES
@pytest.mark.parametrize("name", ["p3.jpg", "adobe.jpg", "prophoto.jpg"])
def test_colour_profiles_are_followed(
    in_browser: BrowserClassifier, in_python: Classifier, name: str
) -> None:
    content = Path(os.environ["KERAS_FLOWERS_CASES"], name).read_bytes()
    expected = read_pixels(content, SIZE).astype(int)
    pixels = in_browser.read(content).reshape(expected.shape)
    ignored = np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize(SIZE))
    # Another colour engine, before and not after the photo was made small: nearly the same, and
    # several times nearer than without a profile.
    difference = np.abs(pixels - expected).mean()
    assert difference < 0.7
    assert np.abs(ignored - expected).mean() > 4 * difference
    (row,) = in_browser.classify_files([content])
    (answer,) = in_python.outputs(read_pixels(content, SIZE)[None])
    assert np.abs(row - answer).max() < 0.05
    assert row.argmax() == answer.argmax()


def test_any_photo_is_read_where_the_command_reads_it_or_gets_a_reason(
    in_browser: BrowserClassifier, tmp_path: Path
) -> None:
    corpus = bad_photos.make(tmp_path)
    # What a browser has no decoder for, a file that only Pillow repairs, and what is no file.
    not_here = {"scan.tif", "headless.dib", "a.dng", "a.nef", "a.arw"}
    missing = {"pipe.jpg", "broken_link.jpg", "folder.jpg", "forbidden.jpg"}
    wrong = []
    for name in sorted({*corpus.good, *corpus.bad, *corpus.cut} - missing):
        content = (tmp_path / name).read_bytes()
        try:
            expected: Any = read_pixels(content, (64, 64)) is not None
        except UserError:
            expected = False
        try:
            in_browser.read(content)
        except UserError as error:
            is_sentence = any(kind in str(error) for kind in ("damaged", "kind", "not_a", "empty"))
            if (expected and name not in not_here and name not in corpus.cut) or not is_sentence:
                wrong.append((name, str(error)))
        else:
            if not expected and name != "text_bomb.png":  # its text is not looked at
                wrong.append((name, "was read"))
    assert wrong == []


def test_same_pixels_get_the_same_answer(
    in_browser: BrowserClassifier, in_python: Classifier
) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (4, *SIZE, 3)).astype(np.uint8)
    pixels = np.concatenate([noise, read_pixels(SUNFLOWER, SIZE)[None]])
    expected = in_python.outputs(pixels)
    assert tuple(in_browser.labels) == in_python.metadata.outputs
    np.testing.assert_allclose(in_browser.classify_pixels(pixels), expected, atol=1e-4)


def test_int8_gives_the_same_answer(browser: Browser) -> None:
    model = default_model().with_name("flowers102_int8.tflite")
    with classifier_in(browser, model) as classifier:
        (row,) = classifier.classify_files([SUNFLOWER.read_bytes()])
    # To the bit: whole numbers are rounded as LiteRT does it.
    (expected,) = load_classifier(model).outputs(read_pixels(SUNFLOWER, SIZE)[None])
    np.testing.assert_array_equal(row, expected)


def test_model_of_other_classes_and_size_works(
    browser: Browser, colour_model: Path, colour_photos: Path
) -> None:
    with classifier_in(browser, colour_model) as classifier:
        assert classifier.labels == ["cyan", "magenta", "yellow"]
        names = [path.stem for path in sorted(colour_photos.iterdir())]
        files = [path.read_bytes() for path in sorted(colour_photos.iterdir())]
        rows = classifier.classify_files(files)
    assert [classifier.labels[row.argmax()] for row in rows] == names
    np.testing.assert_allclose(
        rows, [load_classifier(colour_model).predict(one).probabilities for one in files], atol=1e-6
    )
