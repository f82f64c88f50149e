"""Photo files become the pixels that the model was trained on, whatever wrote them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bad_photos
import numpy as np
import pytest
from bad_photos import encode
from conftest import COLOURS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from keras_flowers.errors import UserError
from keras_flowers.inference import image
from keras_flowers.inference.image import read_photo, read_pixels, shrink_ratio, squash
from keras_flowers.inference.text import printable

CYAN, MAGENTA, YELLOW = COLOURS.values()


def quarters(width: int = 48, height: int = 32) -> Image.Image:
    """A picture that tells every turn and mirroring: cyan, magenta / yellow, black."""
    picture = Image.new("RGB", (width, height))
    picture.paste(CYAN, (0, 0, width // 2, height // 2))
    picture.paste(MAGENTA, (width // 2, 0, width, height // 2))
    picture.paste(YELLOW, (0, height // 2, width // 2, height))
    return picture


def corners(photo: Image.Image) -> list[tuple[int, ...]]:
    """The colours of the four corners, row by row."""
    right, bottom = photo.width - 2, photo.height - 2
    return [photo.getpixel(place) for place in ((1, 1), (right, 1), (1, bottom), (right, bottom))]


# The colours and the shape.


def test_whole_photo_is_squashed_and_nothing_is_cropped() -> None:
    bordered = Image.new("RGB", (300, 100), "black")
    bordered.paste("white", (30, 10, 270, 90))
    pixels = read_pixels(encode(bordered, "PNG"), (40, 60))
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert border.max() == 0
    assert pixels[8:-8, 10:-10].min() == 255


def test_pixels_are_rgb_rows_from_the_top() -> None:
    pixels = read_pixels(encode(quarters(), "PNG"), (20, 30))
    assert tuple(pixels[2, 2]) == CYAN
    assert tuple(pixels[2, -3]) == MAGENTA
    assert tuple(pixels[-3, 2]) == YELLOW


@pytest.mark.parametrize("shape", [(256, 256), (256, 16), (40, 16 * 7 + 5)])
def test_no_pixel_of_a_large_photo_is_skipped(shape: tuple[int, int]) -> None:
    # A fine chequerboard: where pixels are skipped it gives black, white or stripes.
    board = np.indices(shape).sum(axis=0) % 2 * 255
    pixels = squash(Image.fromarray(board.astype(np.uint8)).convert("RGB"), (16, 16))
    assert abs(pixels.astype(int) - 127).max() <= 1


def test_shrinking_and_resizing_are_means_and_interpolation() -> None:
    # 11 rows for 4: each two become their mean, 8, 16, 24, 40 and 80, and the last is left out.
    rows = np.array([0, 16, 16, 16, 20, 28, 40, 40, 60, 100, 7], np.uint8)
    photo = Image.fromarray(np.repeat(rows, 4 * 3).reshape(11, 4, 3))
    # The middles of four pixels lie at 1/8, 1 3/8, 2 5/8 and 3 7/8 of these five.
    np.testing.assert_array_equal(squash(photo, (4, 4))[:, 0, 0], [9, 19, 34, 75])


@given(
    pixels=st.tuples(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False)).map(
        lambda args: np.array(
            [args[2].randrange(256) for _ in range(args[0] * args[1] * 3)], np.uint8
        ).reshape(args[0], args[1], 3)
    ),
    kind=st.sampled_from(["PNG", "BMP", "TIFF"]),
)
def test_lossless_files_keep_every_pixel(pixels: np.ndarray, kind: str) -> None:
    data = encode(Image.fromarray(pixels), kind)
    np.testing.assert_array_equal(read_pixels(data, pixels.shape[:2]), pixels)


def test_path_and_bytes_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(quarters(), "JPEG"))
    np.testing.assert_array_equal(read_photo(path), read_photo(path.read_bytes()))
    np.testing.assert_array_equal(read_photo(str(path)), read_photo(path))


# Kinds of files.


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda c: encode(Image.new("RGB", (60, 40), c), "JPEG"), id="jpeg"),
        pytest.param(
            lambda c: encode(Image.new("RGB", (60, 40), c).convert("CMYK"), "JPEG"), id="cmyk"
        ),
        pytest.param(bad_photos.ycck_jpeg, id="ycck"),
        pytest.param(lambda c: bad_photos.raw_png(13, 9, c, interlaced=True), id="interlaced"),
        pytest.param(lambda c: bad_photos.raw_png(13, 9, c, bits=16), id="16-bit"),
        pytest.param(bad_photos.transparent_palette, id="palette"),
        pytest.param(lambda c: encode(Image.new("RGBA", (9, 9), (*c, 255)), "PNG"), id="rgba"),
        pytest.param(lambda c: encode(Image.new("RGB", (9, 9), c), "GIF"), id="gif"),
        pytest.param(
            lambda c: encode(Image.new("RGB", (9, 9), c), "WEBP", lossless=True), id="webp"
        ),
        pytest.param(lambda c: encode(Image.new("RGB", (9, 9), c), "TIFF"), id="tiff"),
        pytest.param(lambda c: encode(Image.new("RGB", (9, 9), c), "BMP"), id="bmp"),
    ],
)
def test_every_kind_of_file_keeps_its_colour(make, colour: str) -> None:  # type: ignore[no-untyped-def]
    pixels = read_pixels(make(COLOURS[colour]), (8, 8)).astype(int)
    assert abs(pixels - COLOURS[colour]).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode: str) -> None:
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    data = encode(clear.convert(mode), "PNG", **({"transparency": 0} if mode == "P" else {}))
    assert read_pixels(data, (8, 8)).min() == 255


def test_half_transparent_is_half_white() -> None:
    data = encode(Image.new("RGBA", (20, 20), (0, 0, 0, 128)), "PNG")
    assert abs(read_pixels(data, (8, 8)).astype(int) - 127).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_cut() -> None:
    grey = np.asarray(read_photo(encode(bad_photos.grey_16_bits(), "PNG")))
    expected = np.linspace(0, 255, 1200).reshape(30, 40)
    assert np.abs(grey[..., 0] - expected).max() <= 1
    assert (grey[..., 0] == grey[..., 2]).all()


@pytest.mark.parametrize(
    ("white", "kind"), [(1.0, np.float32), (255.0, np.float32), (255, np.int32)]
)
def test_grey_of_32_bits_is_brought_to_8(white: float, kind: type) -> None:
    values = (np.linspace(0, 1, 1200).reshape(30, 40) * white).astype(kind)
    grey = np.asarray(read_photo(encode(Image.fromarray(values), "TIFF")))
    assert np.abs(grey[..., 1] - np.linspace(0, 255, 1200).reshape(30, 40)).max() <= 1


def test_values_that_are_no_numbers_are_read() -> None:
    values = np.full((4, 4), np.nan, np.float32)
    values[0] = 1.0
    grey = np.asarray(read_photo(encode(Image.fromarray(values), "TIFF")))
    assert grey[0].min() == 255
    assert grey[1:].max() == 0


def test_black_and_white_is_read() -> None:
    data = encode(Image.new("1", (20, 20), 1), "PNG")
    assert read_pixels(data, (8, 8)).min() == 255


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (YELLOW, CYAN)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert abs(read_pixels(data, (8, 8)).astype(int) - YELLOW).max() <= 3


def test_postscript_is_not_opened() -> None:
    # Pillow would start Ghostscript.
    data = encode(Image.new("RGB", (20, 20)), "EPS")
    with pytest.raises(UserError, match="not a photo"):
        read_photo(data)


# Turning.


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_are_turned_upright(orientation: int, kind: str) -> None:
    stored = as_stored(quarters(), orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encode(stored, kind, exif=exif, quality=95))
    assert photo.size == (48, 32)
    for found, expected in zip(corners(photo), (CYAN, MAGENTA, YELLOW, (0, 0, 0)), strict=True):
        assert np.abs(np.subtract(found, expected)).max() <= 30


def as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera held that way stores it; written from the EXIF standard's table."""
    pixels = np.asarray(upright)
    # What the stored row 0 and column 0 show of the upright picture.
    stored = {
        1: pixels,  # top, left
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.transpose(1, 0, 2),  # left, top
        6: pixels[:, ::-1].transpose(1, 0, 2),  # right, top
        7: pixels[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: pixels[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]
    return Image.fromarray(stored)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_mean_upright(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert corners(read_photo(encode(quarters(), "PNG", exif=exif)))[:2] == [CYAN, MAGENTA]


def test_damaged_exif_that_tells_the_orientation_is_obeyed() -> None:
    # The camera's make as a number: Pillow reads the block but cannot write it anew.
    make = b"\x01\x0f\0\x0b\0\0\0\x01\x3f\xc0\0\0"
    orientation = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + make + orientation + b"\0\0\0\0"
    photo = read_photo(encode(as_stored(quarters(), 6), "PNG", exif=exif))
    assert corners(photo)[:2] == [CYAN, MAGENTA]


def test_broken_exif_leaves_the_photo_as_stored_and_says_nothing() -> None:
    data = encode(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken", quality=95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(data, (8, 8)).size == (48 // 4, 32 // 4)


# Decoding no more than needed.


def test_jpeg_is_decoded_no_larger_than_needed() -> None:
    data = encode(quarters(1000, 600), "JPEG")
    assert read_photo(data, (100, 100)).size == (250, 150)
    assert read_photo(data).size == (1000, 600)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shrunk_by_its_upright_sides(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = (1600, 400) if orientation < 5 else (400, 1600)
    data = encode(Image.new("RGB", stored), "JPEG", exif=exif)
    assert read_photo(data, (100, 800)).size == (800, 200)


def test_shrinking_goes_by_the_upright_sides() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (1600, 400)), "JPEG", exif=exif)  # upright: 400 x 1600
    assert read_photo(data, (800, 100)).size == (200, 800)
    assert read_photo(data, (100, 800)).size == (400, 1600)


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 600), st.integers(1, 600))
def test_shrunk_jpeg_covers_the_size_and_half_of_it_would_not(
    height: int, width: int, model_height: int, model_width: int
) -> None:
    ratio = shrink_ratio(height, width, (model_height, model_width))
    assert ratio in (1, 2, 4, 8)
    covers = height // ratio >= model_height and width // ratio >= model_width
    assert covers or ratio == 1
    if covers and ratio < 8:
        half = 2 * ratio
        assert height // half < model_height or width // half < model_width


# Photos that are no files.


def test_every_kind_of_photo_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    quarters(300, 200).save(path)
    expected = read_pixels(path, (40, 60))
    with open(path, "rb") as file, Image.open(path) as lazy:
        photos = [
            str(path),
            path.read_bytes(),
            bytearray(path.read_bytes()),
            memoryview(path.read_bytes()),
            io.BytesIO(path.read_bytes()),
            file,
            lazy,
            quarters(300, 200),
            np.asarray(quarters(300, 200)),
            np.asarray(quarters(300, 200)).astype(np.float32),
            np.asarray(quarters(300, 200)).astype(np.int64),
        ]
        for photo in photos:
            np.testing.assert_array_equal(read_pixels(photo, (40, 60)), expected)


def test_pil_image_is_left_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encode(as_stored(quarters(480, 320), 6), "JPEG", exif=exif)))
    assert corners(read_photo(image, (20, 20)))[0] == pytest.approx(CYAN, abs=30)
    assert image.size == (320, 480)  # neither shrunk nor turned
    own = quarters()
    assert read_photo(own) is not own
    for mode in ("RGBA", "L", "P", "CMYK", "1", "I;16", "LA"):
        assert read_photo(quarters().convert("L").convert(mode)).mode == "RGB"


def test_damaged_pil_image_is_a_user_error() -> None:
    whole = encode(quarters(300, 200), "PNG")
    with pytest.raises(UserError, match="the photo is damaged or incomplete"):
        read_photo(Image.open(io.BytesIO(whole[: len(whole) // 2])))


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (np.zeros((4, 4), np.uint8), r"an array of the shape \(4, 4\); expected \(H, W, 3\), RGB"),
        (np.zeros((4, 4, 4), np.uint8), r"the shape \(4, 4, 4\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"the shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"the shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), bool), "the type bool; expected uint8 or float32"),
        (np.full((4, 4, 3), 0.5), "pixels are 0.5 to 0.5; expected 0 to 255: multiply them by 255"),
        (np.ones((4, 4, 3)), "pixels are 1 to 1; expected 0 to 255: multiply them by 255"),
        (np.full((4, 4, 3), np.nan), "pixels are nan to nan"),
        (np.full((4, 4, 3), 256), "pixels are 256 to 256; expected 0 to 255"),
        (np.full((4, 4, 3), -7), "pixels are -7 to -7; expected 0 to 255"),
        (["a.jpg", "b.jpg"], r"got a list; several photos are for predict_many\(\)"),
        (7, "got a int"),
        (io.StringIO("text"), "open it with mode 'rb'"),
        (io.BytesIO(), "the photo is empty"),
        ("https://example.org/a.jpg", "is a URL; download it first, and give the file"),
        ("HTTPS://example.org/A.JPG", "is a URL; download it first, and give the file"),
        (Path("s3://photos/a.jpg"), "^s3:/photos/a.jpg is a URL; download it first"),
        ("C:/photos/a.jpg", "does not exist"),
        (b"<html>", "the photo is a web page, .*; download the photo itself"),
        (b"nothing", "^this is not a photo that can be read; expected a photo"),
    ],
)
def test_what_is_no_photo_is_refused(photo: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_photo(photo)


def test_file_object_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="MiB"):
        read_photo(io.BytesIO(bytes(101)))
    whole = encode(quarters(), "PNG")
    monkeypatch.setattr(image, "MAX_BYTES", len(whole))
    assert read_photo(io.BytesIO(whole)).size == (48, 32)


def test_warnings_of_others_are_still_shown() -> None:
    image.silence_pillow()
    with pytest.warns(UserWarning, match="theirs"):
        warnings.warn("theirs", UserWarning, stacklevel=1)


def test_floats_of_0_to_1_are_taken_where_that_is_said() -> None:
    floats = np.array([[[0.0, 0.5, 1.0]]], np.float32)
    np.testing.assert_array_equal(image.checked_pixels(floats, max_value=1), floats * 255)
    np.testing.assert_array_equal(image.checked_pixels(floats, max_value=255), floats)
    for values, max_value in ((floats * 2, 1), (floats - 0.1, 1), (floats, 7)):
        with pytest.raises(UserError, match="expected"):
            image.checked_pixels(values, max_value=max_value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_photos_are_read_in_a_process_forked_while_a_large_one_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image, "_LARGE_PIXELS", 0)
    with image._one_large_photo:
        process = os.fork()
        if not process:
            signal.alarm(5)  # where it would wait for ever
            read_photo(encode(quarters(), "PNG"))
            os._exit(0)
    assert os.waitpid(process, 0)[1] == 0


def test_pillow_says_nothing_about_a_damaged_file(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import bad_photos; from keras_flowers.inference.image import read_photo\n"
        "try: read_photo(bad_photos.tiff_with_too_many_samples())\n"
        "except Exception as error: print(error)"
    )
    places = [str(Path(bad_photos.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    output = capfd.readouterr()
    assert output.out.startswith("this is not a photo that can be read")
    assert output.err == ""


# Refusing.


@settings(max_examples=200)
@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=40).map(lambda b: b"\xff\xd8\xff" + b))
)
def test_any_bytes_are_a_photo_or_a_user_error(data: bytes) -> None:
    try:
        assert read_photo(data).mode == "RGB"
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=8),
    end=st.integers(0, 10_000),
)
def test_mutated_photos_are_read_or_refused(
    kind: str, changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(encode(quarters(16, 16), kind))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        assert read_pixels(bytes(data[: end % len(data) + 1]), (8, 8)).shape == (8, 8, 3)
    except UserError as error:
        assert str(error).startswith(("the photo ", "this is not a photo"))


def test_refusals_name_the_photo_and_the_reason(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "none.jpg", "does not exist"),
        (tmp_path / "nul\0.jpg", "cannot be read"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            read_photo(path)
        assert str(caught.value).startswith(printable(path))


def test_photo_without_permission_to_read_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(quarters(16, 16), "PNG"))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    with pytest.raises(UserError, match=r"a\.png cannot be read \(Permission denied\)"):
        read_photo(path)


def test_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="not an ordinary file"):
        read_photo(tmp_path / "pipe.jpg")


def test_photos_beyond_the_limits_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (image.MAX_PIXELS, image.MAX_DECODED_PIXELS) == (120_000_000, 64_000_000)
    data = encode(quarters(400, 300), "JPEG")
    monkeypatch.setattr(image, "MAX_DECODED_PIXELS", 40_000)
    with pytest.raises(UserError, match="400 x 300 pixels"):
        read_photo(data)
    assert read_photo(data, (100, 100)).size == (200, 150)
    with pytest.raises(UserError, match="400 x 300 pixels"):
        read_photo(encode(quarters(400, 300), "PNG"), (100, 100))
    monkeypatch.setattr(image, "MAX_PIXELS", 100_000)
    with pytest.raises(UserError, match="400 x 300 pixels"):
        read_photo(data, (10, 10))
    monkeypatch.setattr(image, "MAX_BYTES", 100)
    (tmp_path / "long.jpg").write_bytes(data)
    with pytest.raises(UserError, match="MiB"):
        read_photo(tmp_path / "long.jpg")


@pytest.mark.parametrize(("kind", "limit"), [("PNG", 40_000), ("WEBP", 20_000)])
def test_webp_may_have_half_as_many_pixels(
    kind: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "MAX_DECODED_PIXELS", 40_000)
    assert read_photo(encode(quarters(200, limit // 200), kind)).width == 200
    with pytest.raises(UserError, match=rf"200 x {limit // 200 + 1} pixels"):
        read_photo(encode(quarters(200, limit // 200 + 1), kind))


def test_raw_preview_is_refused_but_not_a_tiff_with_either_tag_alone() -> None:
    with pytest.raises(UserError, match="is a camera's raw file"):
        read_photo(bad_photos.raw_preview(CYAN))
    for tag in (254, 330):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[tag] = 1
        assert read_photo(encode(quarters(), "TIFF", tiffinfo=tags)).size == (48, 32)


def test_exif_that_cannot_be_read_means_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise ValueError("broken")

    data = encode(quarters(), "PNG")
    monkeypatch.setattr(Image.Image, "getexif", fail)
    assert corners(read_photo(data)) == [CYAN, MAGENTA, YELLOW, (0, 0, 0)]


def test_large_photos_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_LARGE_PIXELS", 0)
    busy = threading.Lock()

    def upright(photo: Image.Image) -> Image.Image:
        assert busy.acquire(blocking=False), "two large photos are in memory at once"
        time.sleep(0.005)
        busy.release()
        return photo

    monkeypatch.setattr(image, "_upright", upright)
    data = encode(quarters(), "PNG")
    with ThreadPoolExecutor(4) as pool:
        photos = list(pool.map(read_photo, [data] * 12))
    assert {photo.size for photo in photos} == {(48, 32)}


def test_reading_without_memory_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(UserError, match="memory"):
        read_photo(b"photo")


# Names.


@given(st.text(st.characters(codec=None), max_size=20))
def test_printable_is_one_line_that_steers_no_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text)


def test_printable_leaves_ordinary_names_alone() -> None:
    assert printable(Path("my ünï flower.jpg")) == "my ünï flower.jpg"


def test_readers_are_loaded_before_the_first_photo() -> None:
    script = (
        "from PIL import Image; from keras_flowers.inference import image; "
        "assert 'JPEG' not in Image.OPEN; image.load_readers(); print('JPEG' in Image.OPEN)"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.stdout == "True\n", process.stderr
