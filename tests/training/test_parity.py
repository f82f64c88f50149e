"""Keras, SavedModel and TFLite, TensorFlow's reading of photos and Pillow's: the same answers."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from export_fixtures import SIZE, Exported, load_saved_model
from PIL import Image, ImageDraw

import tensorflow as tf  # isort: skip  # export_fixtures imports it silently

from keras_flowers.export.formats import TFLITE_VARIANTS as VARIANTS
from keras_flowers.inference import image
from keras_flowers.inference.classifier import Classifier, load_classifier
from keras_flowers.training import data, tf_image

ORIENTATIONS = range(1, 9)
SIZES = ((SIZE, SIZE), (40, 100))


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def drawing(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft colours with hard edges on them, different in each corner."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width // 8, height // 8, width // 2, height // 3), "red")
    draw.polygon([(width // 2, height), (width, height // 2), (width, height)], "yellow")
    return picture


def exif(orientation: int, order: str = "<", kind: str = "H") -> bytes:
    """An EXIF block with the maker's name and the orientation."""
    mark = {"<": b"II", ">": b"MM"}[order]
    types = {"H": 3, "I": 4}
    value = struct.pack(f"{order}{kind}", orientation).ljust(4, b"\0")
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc\0")
    entry = struct.pack(f"{order}HHI4s", 0x0112, types[kind], 1, value)
    directory = struct.pack(f"{order}H", 2) + maker + entry + bytes(4)
    return b"Exif\0\0" + mark + struct.pack(f"{order}HI", 42, 8) + directory


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that writes this orientation."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return picture.transpose(turns[orientation]) if orientation in turns else picture


@functools.cache
def reader(size: tuple[int, int]) -> Callable[[bytes], tf.Tensor]:
    """TensorFlow's reading, as a graph."""

    def read(content: tf.Tensor) -> tf.Tensor:
        return tf_image.squash(tf_image.decode(content, size), size)

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string)])


@functools.cache
def orientation_reader() -> Callable[[bytes], tf.Tensor]:
    return tf.function(tf_image.orientation, input_signature=[tf.TensorSpec([], tf.string)])


def read_orientation(content: bytes) -> int:
    return int(orientation_reader()(content))


def difference(content: bytes, size: tuple[int, int]) -> int:
    """The largest difference of a pixel between TensorFlow's reading and Pillow's."""
    ours = reader(size)(content).numpy()
    return int(np.abs(ours.astype(int) - image.read_pixels(content, size)).max())


# The same pixels.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(60, 50), (130, 200), (667, 500), (500, 667), (1300, 900)])
def test_tensorflow_and_pillow_read_a_jpeg_alike(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    width, height = shape
    ratio = image.shrink_ratio(height, width, size)
    shrunk = height // ratio >= 2 * size[0] or width // ratio >= 2 * size[1]
    for quality in (50, 92):
        content = encode(drawing(*shape), "JPEG", quality=quality)
        # Shrinking and resizing are each cut to whole numbers.
        assert difference(content, size) <= 1 + shrunk


WITH_HOLES = drawing(90, 70).convert("RGBA")
WITH_HOLES.putalpha(drawing(90, 70, seed=1).convert("L"))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode(drawing(90, 70), "PNG"), id="PNG"),
        pytest.param(encode(drawing(90, 70).convert("L"), "PNG"), id="grey PNG"),
        pytest.param(encode(drawing(90, 70).convert("1"), "PNG"), id="1-bit PNG"),
        pytest.param(encode(drawing(90, 70).quantize(4), "PNG"), id="PNG of 4 colours"),
        pytest.param(encode(drawing(90, 70).quantize(200), "PNG"), id="PNG of 200 colours"),
        pytest.param(
            encode(drawing(90, 70).quantize(4), "PNG", transparency=2), id="4 colours, 1 clear"
        ),
        pytest.param(
            encode(drawing(90, 70).quantize(200), "PNG", transparency=2), id="200 colours, 1 clear"
        ),
        # Hardly there at all, but more than TensorFlow's word for "opaque" of so few bits.
        pytest.param(
            encode(drawing(90, 70).quantize(4), "PNG", transparency=bytes([6] * 4)),
            id="4 colours, nearly clear",
        ),
        pytest.param(
            encode(drawing(90, 70).quantize(16), "PNG", transparency=bytes([20] * 16)),
            id="16 colours, nearly clear",
        ),
        pytest.param(encode(WITH_HOLES, "PNG"), id="PNG with transparency"),
        pytest.param(encode(WITH_HOLES.convert("LA"), "PNG"), id="grey PNG with transparency"),
        pytest.param(
            encode(Image.fromarray(np.arange(0, 65536, 8, np.uint16).reshape(64, 128)), "PNG"),
            id="16-bit PNG",
        ),
        pytest.param(encode(drawing(90, 70).convert("L"), "JPEG"), id="grey JPEG"),
        pytest.param(encode(drawing(90, 70), "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(encode(drawing(90, 70).convert("CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(encode(drawing(90, 70), "BMP"), id="BMP"),
        pytest.param(encode(drawing(90, 70).convert("L"), "BMP"), id="grey BMP"),
        pytest.param(encode(drawing(90, 70).quantize(200), "BMP"), id="BMP of 200 colours"),
        pytest.param(encode(WITH_HOLES, "BMP"), id="32-bit BMP"),
        pytest.param(encode(drawing(90, 70).quantize(200), "GIF"), id="GIF"),
        pytest.param(
            encode(
                drawing(90, 70).quantize(200),
                "GIF",
                save_all=True,
                append_images=[drawing(90, 70, seed=seed).quantize(200) for seed in (2, 3)],
            ),
            id="moving GIF",
        ),
    ],
)
def test_tensorflow_and_pillow_read_other_files_alike(content: bytes) -> None:
    for size in SIZES:
        assert difference(content, size) <= 1


def test_a_difference_would_be_seen() -> None:
    # Neither Pillow's default, nor what TensorFlow's does, nor a photo that is cut.
    content = encode(drawing(667, 500), "JPEG")
    ours = image.read_pixels(content, (SIZE, SIZE)).astype(int)
    for other in (
        tf.image.resize(tf.io.decode_jpeg(content), (SIZE, SIZE)).numpy(),
        tf.image.resize(tf.io.decode_jpeg(content), (SIZE, SIZE), "area").numpy(),
        tf_image.squash(tf_image.decode(tf.constant(content), (SIZE, SIZE))[:-9], (SIZE, SIZE)),
    ):
        assert np.abs(np.asarray(other, int) - ours).max() > 5


def test_real_photos_are_read_alike() -> None:
    if "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("oxford_flowers102 is not at hand; set TFDS_DATA_DIR")
    photos = data.load_photos("oxford_flowers102", "validation")
    differences = [
        difference(content, (224, 224))
        for _, content, _ in photos.records.take(40).as_numpy_iterator()
    ]
    assert max(differences) <= 1


# The orientation.


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(("order", "kind"), [("<", "H"), (">", "H"), ("<", "I"), (">", "I")])
def test_orientation_is_read_in_both_byte_orders(orientation: int, order: str, kind: str) -> None:
    block = exif(orientation, order, kind)
    content = encode(drawing(30, 20), "JPEG", exif=block)
    assert read_orientation(content) == orientation
    # Behind a comment and other application segments, with padding between them.
    app = b"\xff\xee\x00\x06Adob"
    comment = b"\xff\xfe\x00\x08" + b"Exif\0\0"  # no EXIF, though it says so
    end = content.index(b"\xff\xe1")
    moved = content[:end] + app + b"\xff\xff\xff" + comment[1:] + content[end:]
    assert read_orientation(moved) == orientation
    png = encode(drawing(30, 20), "PNG", exif=block[6:])
    assert read_orientation(png) == orientation


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_photo_is_read_as_pillow_reads_it(orientation: int) -> None:
    # So large that it is shrunk while decoding, by a ratio that depends on which side is up.
    stored = turned(drawing(650, 210), orientation)
    content = encode(stored, "JPEG", exif=exif(orientation))
    for size in SIZES:
        assert difference(content, size) <= 1
    content = encode(stored, "PNG", exif=exif(orientation)[6:])
    assert difference(content, SIZES[1]) <= 1


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(exif(0), id="0"),
        pytest.param(exif(9), id="9"),
        pytest.param(exif(6)[:20], id="cut in the list"),
        pytest.param(exif(6)[:10], id="cut in the header"),
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(b"Exif\0\0" + b"II" + struct.pack("<HI", 42, 2**32 - 1), id="list far away"),
        pytest.param(b"Exif\0\0" + b"II" + struct.pack("<HIH", 42, 8, 0), id="no entries"),
        pytest.param(b"Exif\0\0" + b"\xff" * 60, id="noise"),
    ],
)
def test_a_broken_exif_block_leaves_the_photo_upright(block: bytes) -> None:
    plain = encode(drawing(30, 20), "JPEG")
    content = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    assert read_orientation(content) == 1
    pixels = tf_image.decode(tf.constant(content), (20, 30)).numpy()
    np.testing.assert_array_equal(pixels, tf_image.decode(tf.constant(plain), (20, 30)).numpy())


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 5000])
def test_files_without_an_end_have_no_orientation(content: bytes) -> None:
    assert read_orientation(content) == 1


# The same answers.


@pytest.fixture(scope="module")
def classifiers(exported: Exported) -> dict[str, Classifier]:
    run = exported.run
    paths = {"Keras": run / "model.keras", "SavedModel": run / "saved_model" / "1"}
    paths |= {variant: run / f"run_{variant}.tflite" for variant in VARIANTS}
    return {name: load_classifier(path) for name, path in paths.items()}


def test_every_version_gives_the_same_probabilities(
    exported: Exported,
    classifiers: dict[str, Classifier],
) -> None:
    expected = classifiers["Keras"].probabilities(exported.pixels)
    assert (expected.argmax(1) == exported.classes).mean() > 0.75
    for name, allowed in (("SavedModel", 1e-3), ("float32", 1e-3), ("float16", 0.1)):
        found = classifiers[name].probabilities(exported.pixels)
        assert np.abs(found - expected).max() < allowed, name
    found = classifiers["int8"].probabilities(exported.pixels)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.85
    assert np.abs(found - expected).mean() < 0.03


def test_every_version_has_the_same_names_and_size(classifiers: dict[str, Classifier]) -> None:
    assert len({one.labels for one in classifiers.values()}) == 1
    assert {one.image_size for one in classifiers.values()} == {(SIZE, SIZE)}


def test_how_a_photo_lies_changes_no_answer(
    exported: Exported,
    classifiers: dict[str, Classifier],
) -> None:
    surest = classifiers["Keras"].probabilities(exported.pixels).max(axis=1).argmax()
    # Of whole JPEG blocks: turned by the camera or by us, they hold the same.
    picture = Image.open(BytesIO(exported.photos[surest])).resize((208, 144))
    files = [
        encode(turned(picture, one), "JPEG", quality=95, subsampling=0, exif=exif(one))
        for one in ORIENTATIONS
    ]
    as_keras_reads = np.stack([reader((SIZE, SIZE))(one).numpy() for one in files])
    as_pillow_reads = np.stack([image.read_pixels(one, (SIZE, SIZE)) for one in files])
    serve = load_saved_model(exported.run).signatures
    answers = {
        "Keras": classifiers["Keras"].probabilities(as_keras_reads),
        "SavedModel": serve["serving_default"](image_bytes=tf.constant(files))["probabilities"],
        **{name: classifiers[name].probabilities(as_pillow_reads) for name in VARIANTS},
    }
    for name, answer in answers.items():
        rows = np.asarray(answer)
        assert len(set(rows.argmax(1))) == 1, name
        assert np.ptp(rows, axis=0).max() < 0.02, name
    # The orientation does matter: without the tag some photo gets another answer.
    sideways = exported.pixels.swapaxes(1, 2)
    run = classifiers["Keras"].probabilities
    assert np.abs(run(sideways) - run(exported.pixels)).max() > 0.02
