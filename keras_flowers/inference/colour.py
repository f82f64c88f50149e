"""Brings the colours of a photo to sRGB with 8 bits each, which models are trained on.

A photo of a phone (Display P3), a camera (Adobe RGB) or a printer (CMYK) says in its ICC profile
what its numbers mean. Read as sRGB they are paler or more vivid than the flower was. Cameras also
say Adobe RGB in EXIF alone, and a PNG may state its primaries and gamma in chunks.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from keras_flowers.inference import icc

_MODES = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}
"""Pillow's mode for each kind of colours that a profile may be made for."""

_MAX_DIFFERENCE = 4
"""Profiles that change no colour by more levels than this are sRGB, of which there are dozens."""

_NEUTRAL_GAMMA = 0.05
"""How far a gamma may be from that of sRGB: libpng's PNG_GAMMA_THRESHOLD."""

_ADOBE_RGB = b"R03\0"


def transform_to_srgb(image: Image.Image) -> Any | None:
    """What brings the colours of `image` to sRGB.

    Returns:
        A transform of Pillow's, whose `apply` takes an image in its `input_mode` (RGB, CMYK, L or
        LAB) to one in RGB; None where nothing has to be done or nothing is known: the colours are
        in sRGB, the file does not say which they are, or its profile is broken or one for another
        kind of colours.
    """
    if image.mode == "LAB":
        return _transform(None, "LAB")
    profile = image.info.get("icc_profile") or _stated_elsewhere(image)
    # Bytes 48 to 55 name the maker and the model: this is the profile in nearly every photo.
    if not isinstance(profile, bytes) or profile[48:56] == b"IEC sRGB":
        return None
    mode = _MODES.get(profile[16:20])
    if mode is None or (mode == "CMYK") != (image.mode == "CMYK"):
        return None
    if mode == "L" and image.mode not in ("L", "LA", "1") and not image.mode.startswith("I;16"):
        return None
    return _transform(profile, mode)


def in_rgb(image: Image.Image) -> Image.Image:
    """The image in mode "RGB": transparency on white, grey of more than 8 bits scaled, not cut."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _in_8_bits(image)
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        on_white = Image.new("RGB", image.size, "white")
        on_white.paste(image, mask=image)
        return on_white
    # convert() would copy a photo that is in RGB already.
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, or of 32 that hold 8, 16 or (fractions 0..1) none, as 8 bits."""
    # convert("RGB") would cut everything above 255 to white.
    # What white is, nothing but the values themselves tells.
    brightest = float(np.max(image.getextrema())) if image.mode in ("I", "F") else 65535.0
    white = 65535.0 if brightest > 255 else 255.0 if image.mode == "I" or brightest > 1 else 1.0
    grey = np.empty((image.height, image.width), np.uint8)
    rows = max(1, (1 << 22) // image.width)  # a strip at a time: floats take four times the memory
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom))
        values = np.nan_to_num(np.asarray(strip, np.float32)) * (255.0 / white)
        grey[top:bottom] = np.clip(values, 0, 255)
    return Image.fromarray(grey)


def _stated_elsewhere(image: Image.Image) -> bytes | None:
    """The profile of colours that a file without one states in PNG chunks, or in EXIF.

    Chunks count as in browsers (Chromium's `PNGImageDecoder`): sRGB before the others, primaries
    only together with a gamma, a gamma alone only where it is more than 5 % from 1/2.2.

    EXIF says Adobe RGB by the interoperability index R03 (DCF 2.0, "optional file"), which
    photographers' programs such as darktable and GIMP obey; a colour space of 1 is sRGB.
    """
    if "srgb" in image.info:
        return None
    gamma = image.info.get("gamma")
    if isinstance(gamma, float) and 0.1 <= gamma <= 10:  # others are damaged
        chromaticities = image.info.get("chromaticity")
        if chromaticities is None and abs(gamma * 2.2 - 1) <= _NEUTRAL_GAMMA:
            return None
        try:
            return icc.matrix_profile(tuple(chromaticities or icc.SRGB), 1 / gamma)
        except (ValueError, ArithmeticError):
            return None  # no such colours: the chunk is damaged
    # Looked for in the bytes, since parsing EXIF takes as long as decoding a small photo.
    exif = image.info.get("exif")
    if not isinstance(exif, bytes) or _ADOBE_RGB not in exif:
        return None
    try:
        tags = image.getexif()
        index = tags.get_ifd(ExifTags.IFD.Interop).get(ExifTags.Interop.InteropIndex)
        space = tags.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace)
    except Exception:  # a broken EXIF block says nothing about the photo itself
        return None
    if str(index).strip(" \0") != "R03" or space == 1:
        return None
    return icc.matrix_profile(icc.ADOBE_RGB, icc.ADOBE_RGB_GAMMA)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes | None, mode: str) -> Any | None:
    try:
        from PIL import ImageCms

        srgb = ImageCms.createProfile("sRGB")
        if profile is None:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    except Exception:  # whatever is wrong with a profile, the photo can still be looked at
        return None
    return None if mode == "RGB" and _changes_little(transform) else transform


def _changes_little(transform: Any) -> bool:
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(transform.apply(Image.fromarray(colours)))
    return bool(np.abs(changed.astype(int) - colours).max() <= _MAX_DIFFERENCE)
