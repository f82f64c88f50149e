"""Colours that a profile says are others than sRGB become sRGB; all else is left as it is."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_photos import (
    ADOBE_RGB,
    P3,
    SRGB,
    chunks,
    encode,
    exif_of_colours,
    grey_profile,
    ink_profile,
    matrix_profile,
)
from PIL import Image, ImageCms

from keras_flowers.inference import colour as colours
from keras_flowers.inference import icc
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.image import read_photo, read_pixels

ORANGE = (250, 120, 40)


def flat(colour: int | tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (64, 48), colour)


def colour_of(data: bytes) -> np.ndarray:
    return read_pixels(data, (8, 8)).reshape(-1, 3).mean(0)


def p3_of(srgb: tuple[int, int, int]) -> tuple[int, ...]:
    """The numbers that Display P3 has for a colour of sRGB, worked out by hand."""
    linear = np.array(srgb) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    there = np.linalg.solve(np.array(P3).T, np.array(SRGB).T @ linear)
    return tuple(int(n) for n in np.rint(255 * np.clip(there, 0, 1) ** (1 / 2.2)))


@pytest.mark.parametrize("colour", [ORANGE, (40, 160, 90), (90, 60, 200), (255, 255, 255)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_display_p3_becomes_srgb(colour: tuple[int, int, int], kind: str) -> None:
    stored = p3_of(colour)
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = encode(flat(stored), kind, icc_profile=matrix_profile(P3, 2.2), **options)
    assert np.abs(colour_of(data) - colour).max() <= 4
    assert np.abs(np.asarray(read_photo(data))[20, 20].astype(int) - colour).max() <= 4
    if colour != (255, 255, 255):
        without = encode(flat(stored), kind, **options)
        assert np.abs(colour_of(without) - colour).max() > 8


@pytest.mark.parametrize(
    "profile",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"no profile",
        matrix_profile(P3, 2.2)[:200],
        matrix_profile(P3, 2.2)[:16] + b"CMYK" + matrix_profile(P3, 2.2)[20:],
        grey_profile(1.0),
        bytes(500),
    ],
    ids=["sRGB", "broken", "cut", "of inks", "of grey", "zeros"],
)
def test_other_profiles_leave_an_rgb_photo_as_it_is(profile: bytes) -> None:
    with_it, without = (
        encode(flat(ORANGE), "PNG", **options) for options in ({"icc_profile": profile}, {})
    )
    np.testing.assert_array_equal(read_pixels(with_it, (8, 8)), read_pixels(without, (8, 8)))


def test_grey_with_a_profile_of_grey_becomes_srgb() -> None:
    data = encode(flat(64, "L"), "PNG", icc_profile=grey_profile(1.0))
    # A quarter of the light is 137 in sRGB.
    assert np.abs(colour_of(data) - 137).max() <= 1


def test_inks_are_mixed_as_their_profile_says() -> None:
    # A printer whose cyan is red: Lab 53, 80, 67.
    profile = ink_profile({(1, 0, 0, 0): (136, 208, 195)})
    data = encode(flat((255, 0, 0, 0), "CMYK"), "JPEG", icc_profile=profile, quality=95)
    assert np.abs(colour_of(data) - (255, 0, 0)).max() <= 10
    assert (
        np.abs(colour_of(encode(flat((255, 0, 0, 0), "CMYK"), "JPEG")) - (0, 255, 255)).max() <= 4
    )


def test_lab_is_read() -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    data = encode(ImageCms.applyTransform(flat(ORANGE), to_lab), "TIFF")
    assert np.abs(colour_of(data) - ORANGE).max() <= 4


def test_profile_counts_for_transparent_photos_and_those_on_their_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    half = Image.new("RGBA", (64, 48), (*p3_of(ORANGE), 255))
    half.paste((0, 0, 0, 0), (0, 0, 64, 24))
    data = encode(half, "PNG", icc_profile=matrix_profile(P3, 2.2), exif=exif)
    photo = np.asarray(read_photo(data))
    assert photo.shape == (64, 48, 3)
    assert photo[:, -8:].min() == 255
    assert np.abs(photo[:, :8].reshape(-1, 3).mean(0) - ORANGE).max() <= 4


def test_pil_image_with_a_profile_is_converted_and_left_as_it_was() -> None:
    image = flat(p3_of(ORANGE))
    image.info["icc_profile"] = matrix_profile(P3, 2.2)
    assert np.abs(read_pixels(image, (8, 8))[0, 0].astype(int) - ORANGE).max() <= 4
    assert image.getpixel((0, 0)) == p3_of(ORANGE)


ADOBE_GAMMA = 563 / 256
P3_CHROMATICITIES = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_CHROMATICITIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
GAMMA = 1 / 2.2


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("colour", [(200, 100, 50), (40, 160, 90), (90, 60, 200)])
def test_adobe_rgb_that_only_exif_states_becomes_srgb(
    colour: tuple[int, int, int], kind: str
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    exif = exif_of_colours(0xFFFF, "R03")
    stated = colour_of(encode(flat(colour), kind, exif=exif, **options))
    profile = matrix_profile(ADOBE_RGB, ADOBE_GAMMA)
    with_profile = colour_of(encode(flat(colour), kind, icc_profile=profile, **options))
    np.testing.assert_allclose(stated, with_profile, atol=0.6)
    assert np.abs(stated - colour_of(encode(flat(colour), kind, **options))).max() > 8


@pytest.mark.parametrize(
    ("space", "index"), [(0xFFFF, "R98"), (0xFFFF, None), (1, "R03"), (1, None), (None, "R98")]
)
def test_other_exif_leaves_a_photo_as_it_is(space: int | None, index: str | None) -> None:
    data = encode(flat(ORANGE), "JPEG", exif=exif_of_colours(space, index), quality=95)
    plain = encode(flat(ORANGE), "JPEG", quality=95)
    np.testing.assert_array_equal(read_pixels(data, (8, 8)), read_pixels(plain, (8, 8)))


def test_profile_and_chunks_count_before_exif() -> None:
    exif = exif_of_colours(0xFFFF, "R03")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile = encode(flat(ORANGE), "JPEG", exif=exif, icc_profile=srgb, quality=95)
    assert np.abs(colour_of(with_profile) - ORANGE).max() <= 4
    with_chunk = encode(flat(ORANGE), "PNG", exif=exif, pnginfo=chunks(sRGB=(0,)))
    np.testing.assert_array_equal(colour_of(with_chunk), ORANGE)


def test_damaged_exif_that_names_adobe_rgb_leaves_a_photo_as_it_is() -> None:
    for exif in (b"Exif\0\0R03\0", b"Exif\0\0MM\0*\xff\xff\xff\xffR03\0", b"R03\0" * 20):
        data = encode(flat(ORANGE), "PNG", exif=exif)
        np.testing.assert_array_equal(colour_of(data), ORANGE)
    comment = Image.Exif()
    comment[0x010E] = "a photo of R03"
    np.testing.assert_array_equal(colour_of(encode(flat(ORANGE), "PNG", exif=comment)), ORANGE)


def test_png_with_primaries_and_a_gamma_becomes_srgb() -> None:
    info = chunks(gAMA=(GAMMA,), cHRM=P3_CHROMATICITIES)
    for colour in (ORANGE, (40, 160, 90), (90, 60, 200)):
        data = encode(flat(p3_of(colour)), "PNG", pnginfo=info)
        assert np.abs(colour_of(data) - colour).max() <= 4
    np.testing.assert_array_equal(
        colour_of(encode(flat((255, 255, 255)), "PNG", pnginfo=info)), (255, 255, 255)
    )


@pytest.mark.parametrize("mode", ["L", "LA", "P", "I;16", "RGB", "RGBA"])
def test_gamma_of_a_png_counts_in_every_mode(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((48, 64), 64 * 257, np.uint16))
    else:
        grey = flat((64, 64, 64))
        picture = grey.quantize(2) if mode == "P" else grey.convert(mode)
    data = encode(picture, "PNG", pnginfo=chunks(gAMA=(1.0,)))
    # A quarter of the light is 137 in sRGB.
    assert np.abs(colour_of(data) - 137).max() <= 1
    assert np.abs(np.asarray(read_photo(data)).astype(int) - 137).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        {"gAMA": (0.45455,)},
        {"gAMA": (0.45455 * 1.04,)},
        {"gAMA": (0.45455 * 0.96,)},
        {"gAMA": (0.45455,), "cHRM": SRGB_CHROMATICITIES},
        {"cHRM": P3_CHROMATICITIES},
        {"gAMA": (1.0,), "cHRM": P3_CHROMATICITIES, "sRGB": (0,)},
        {"gAMA": (0.0,)},
        {"gAMA": (0.00001,)},
        {"gAMA": (40_000.0,)},
        {"gAMA": (1.0,), "cHRM": (0.0,) * 8},
        {"gAMA": (1.0,), "cHRM": (0.3,) * 8},
    ],
    ids=lambda values: " ".join(values),
)
def test_other_chunks_leave_a_png_as_it_is(values: dict[str, tuple[float, ...]]) -> None:
    data = encode(flat(ORANGE), "PNG", pnginfo=chunks(**values))
    np.testing.assert_array_equal(colour_of(data), ORANGE)


def test_gamma_alone_counts_from_five_percent_on() -> None:
    for factor in (0.94, 1.06):
        data = encode(flat(ORANGE), "PNG", pnginfo=chunks(gAMA=(0.45455 * factor,)))
        assert np.abs(colour_of(data) - ORANGE).max() >= 3


def test_gamma_alone_is_of_srgb_s_own_primaries() -> None:
    data = encode(flat((200, 100, 50)), "PNG", pnginfo=chunks(gAMA=(1.0,)))
    light = np.array([200, 100, 50]) / 255
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(colour_of(data) - 255 * expected).max() <= 1.5


def test_profile_of_a_png_counts_before_its_chunks() -> None:
    info = chunks(gAMA=(1.0,), cHRM=SRGB_CHROMATICITIES)
    profile = matrix_profile(P3, 2.2)
    data = encode(flat(p3_of(ORANGE)), "PNG", icc_profile=profile, pnginfo=info)
    assert np.abs(colour_of(data) - ORANGE).max() <= 4


def test_profile_of_adobes_primaries_is_the_one_that_adobe_gives_away() -> None:
    ours = icc.matrix_profile(icc.ADOBE_RGB, icc.ADOBE_RGB_GAMMA)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(ours)).profile
    found = [getattr(profile, f"{name}_colorant")[0] for name in ("red", "green", "blue")]
    np.testing.assert_allclose(found, ADOBE_RGB, atol=3e-5)
    # Numbers have 16 bits before and after the point: D50 as the ICC itself writes it.
    assert bytes.fromhex("58595A20 00000000 0000F6D6 00010000 0000D32D") in ours
    too_few: Any = SRGB_CHROMATICITIES[:4]  # as a damaged chunk may give them
    for wrong in ((0.0,) * 8, too_few, (0.3,) * 8):
        with pytest.raises((ValueError, ArithmeticError)):
            icc.matrix_profile(wrong, 2.2)
    with pytest.raises(ValueError, match="gamma"):
        icc.matrix_profile(icc.SRGB, 300.0)


def test_srgb_costs_next_to_nothing() -> None:
    # A photo as phones and cameras write them, with the profile that nearly all of them have.
    header = bytearray(matrix_profile(SRGB, 2.2))
    header[48:56] = b"IEC sRGB"
    known = encode(flat(ORANGE), "JPEG", icc_profile=bytes(header))
    colours._transform.cache_clear()
    read_pixels(known, (32, 32))
    assert colours._transform.cache_info().misses == 0  # known by its maker's name
    # Another one has to be looked into, once; no pixel is ever converted.
    other = encode(flat(ORANGE), "JPEG", icc_profile=matrix_profile(SRGB, 2.2))
    for _ in range(3):
        read_pixels(other, (32, 32))
    found = colours._transform.cache_info()
    assert (found.misses, found.hits) == (1, 2)
    for data in (known, other):
        assert colours.transform_to_srgb(Image.open(io.BytesIO(data))) is None


@pytest.mark.parametrize(
    ("name", "flower"),
    [
        ("p3.jpg", "globe-flower"),
        ("adobe.jpg", "ruby-lipped cattleya"),
        ("prophoto.jpg", "rose"),
        ("sunflower.mpo", "sunflower"),
        ("sunflower.avif", "sunflower"),
    ],
)
def test_real_photos_that_went_wrong_are_right(name: str, flower: str) -> None:
    folder = os.environ.get("KERAS_FLOWERS_CASES")
    if folder is None:
        pytest.skip("the real cases are not here; name their folder in KERAS_FLOWERS_CASES")
    assert load_classifier().predict(Path(folder, name)).name == flower


@pytest.mark.parametrize(("change", "is_little"), [(4, True), (5, False)])
def test_profile_that_changes_no_colour_by_more_than_four_levels_is_left_out(
    change: int, is_little: bool
) -> None:
    shown: list[np.ndarray] = []

    class Transform:
        def apply(self, picture: Image.Image) -> Image.Image:
            shown.append(np.asarray(picture))
            changed = shown[-1].copy()
            changed[0, 0, 2] += change  # of black, the blue
            return Image.fromarray(changed)

    assert colours._changes_little(Transform()) is is_little
    # Six levels of each, from the darkest to the brightest.
    assert len(np.unique(shown[0].reshape(-1, 3), axis=0)) == 6**3
    assert np.unique(shown[0]).tolist() == [0, 51, 102, 153, 204, 255]
