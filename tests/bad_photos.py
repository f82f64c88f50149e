"""Photos as strangers have them: odd, broken and hostile ones, made on the spot."""

from __future__ import annotations

import importlib.util
import itertools
import os
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from conftest import COLOURS
from PIL import ExifTags, Image, TiffImagePlugin, features
from PIL.PngImagePlugin import PngInfo

CYAN, MAGENTA, YELLOW = COLOURS.values()

ODD_NAMES = {
    "with space.png": "cyan",
    "new\nline.png": "magenta",
    "ünï花.png": "yellow",
    "-dash.png": "cyan",
    "--help.png": "magenta",
    "escape\x1b[31m.png": "yellow",
    os.fsdecode(b"not-utf8-\xff.png"): "cyan",
}


@dataclass
class Corpus:
    """What `make` put into a folder.

    Attributes:
        good: Name of the file -> its colour, or None where it is grey.
        bad: Name of the file -> words that the reason must contain.
        cut: Photos that end too early; most cannot be read, of a few only the end is missing.
    """

    folder: Path
    good: dict[str, str | None] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    cut: list[str] = field(default_factory=list)


def make(folder: Path) -> Corpus:
    """Fills `folder`."""
    corpus = Corpus(folder)

    def write(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)

    def good(name: str, colour: str | None, data: bytes) -> None:
        write(name, data)
        corpus.good[name] = colour

    def bad(name: str, reason: str, data: bytes) -> None:
        write(name, data)
        corpus.bad[name] = reason

    jpeg = encode(picture(YELLOW), "JPEG")
    png = encode(picture(MAGENTA), "PNG")
    for name, colour in ODD_NAMES.items():
        good(name, colour, encode(picture(COLOURS[colour]), "PNG"))
    good("wrong_ending.jpg", "magenta", png)
    good("wrong_ending.png", "yellow", jpeg)

    # Kinds of files.
    good("cmyk.jpg", "cyan", encode(picture(CYAN).convert("CMYK"), "JPEG"))
    good("ycck.jpg", "magenta", ycck_jpeg(MAGENTA))
    good("progressive.jpg", "yellow", encode(picture(YELLOW), "JPEG", progressive=True))
    good("interlaced.png", "cyan", raw_png(13, 9, CYAN, interlaced=True))
    good("sixteen_bits.png", "magenta", raw_png(13, 9, MAGENTA, bits=16))
    good("sixteen_bits_grey.png", None, encode(grey_16_bits(), "PNG"))
    good("palette.png", "yellow", transparent_palette(YELLOW))
    good("still.webp", "cyan", encode(picture(CYAN), "WEBP"))
    for kind in ("gif", "webp"):
        frames = [picture(CYAN), picture(MAGENTA)]
        good(
            f"animated.{kind}",
            "cyan",
            encode(frames[0], kind.upper(), save_all=True, append_images=frames[1:]),
        )
    good("scan.tif", "magenta", encode(picture(MAGENTA), "TIFF", compression="tiff_lzw"))
    frames = [picture(CYAN), picture(MAGENTA)]
    good("phone.mpo", "cyan", encode(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    good("moving.apng", "cyan", encode(frames[0], "PNG", save_all=True, append_images=frames[1:]))
    good("bitmap.dib", "yellow", encode(picture(YELLOW), "BMP"))
    good("headless.dib", "yellow", encode(picture(YELLOW), "DIB"))
    if features.check("avif"):
        good("small.avif", "magenta", encode(picture(MAGENTA), "AVIF"))
        good("moving.avifs", "cyan", encode(frames[0], "AVIF", save_all=True, append_images=frames))

    # Sizes.
    good("one_pixel.png", "yellow", encode(Image.new("RGB", (1, 1), YELLOW), "PNG"))
    good("thread.png", "cyan", encode(Image.new("RGB", (1, 20_000), CYAN), "PNG"))
    good("ribbon.png", "cyan", encode(Image.new("RGB", (20_000, 1), CYAN), "PNG"))
    large = Image.new("P", (8_000, 7_500))
    large.putpalette(MAGENTA)
    good("60_megapixels.png", "magenta", encode(large, "PNG"))
    large = Image.new("L", (8_000, 7_500), 90)
    good("60_megapixels.jpg", None, encode(large, "JPEG", progressive=True))
    bad("too_large.png", "64 million", raw_png_header(11_000, 7_000))
    bad("bomb.png", "120 million", raw_png_header(13_000, 12_000))
    bad("huge_bomb.png", "120 million", raw_png_header(60_000, 60_000))
    bad("text_bomb.png", "damaged", png_with_text(png, b"\0" * (64 << 20)))

    # What cameras and programs write beside the pixels.
    good("broken_exif.jpg", "yellow", encode(picture(YELLOW), "JPEG", exif=b"Exif\0\0MM\0*broken"))
    good("broken_exif.png", "magenta", encode(picture(MAGENTA), "PNG", exif=b"MM\0*\0\0\xff\xff"))
    good("broken_icc.jpg", "cyan", encode(picture(CYAN), "JPEG", icc_profile=b"no profile"))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(picture(CYAN), "JPEG", exif=exif)
        good(f"orientation_{orientation}.jpg", "cyan", data)

    good("p3.jpg", "yellow", encode(picture(YELLOW), "JPEG", icc_profile=matrix_profile(P3, 2.2)))
    good("printed.jpg", "magenta", encode(Image.new("CMYK", (60, 40), (0, 255, 0, 0)), "JPEG"))

    # Photos that nothing here reads.
    is_installed = importlib.util.find_spec("pillow_heif") is not None
    heic = "not a photo" if is_installed else "pip install pillow-heif, or save it as JPEG"
    bad("iphone.hif", heic, b"\0\0\0\x18ftypheix" + bytes(100))
    bad("burst.heics", heic, b"\0\0\0\x18ftyphevc" + bytes(100))
    bad("next.jxl", "JPEG XL", b"\xff\x0a" + bytes(100))
    bad("boxed.jxl", "JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100))
    bad("old.jp2", "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    for name in ("a.dng", "a.nef", "a.arw"):
        bad(name, "raw file", encode(picture(CYAN), "TIFF"))
    bad("a.cr2", "raw file", b"II*\0\x10\0\0\0CR\x02\0" + bytes(100))
    bad("a.raf", "raw file", b"FUJIFILMCCD-RAW 0201" + bytes(100))
    bad("a.cr3", "raw file", b"\0\0\0\x18ftypcrx " + bytes(100))
    bad("preview.tif", "raw file", raw_preview(CYAN))
    bad("film.jpg", "video", b"\0\0\0\x18ftypisom" + bytes(100))
    bad("strips.tif", "not a photo", tiff_with_too_many_samples())

    # No photos.
    bad("empty.jpg", "empty", b"")
    bad("page.jpg", "web page, not a photo", b"<!doctype html><title>404</title>")
    bad("archive.jpg", "not a photo", b"PK\x03\x04" + bytes(100))
    bad("iphone.heic", heic, b"\0\0\0\x18ftypheic" + bytes(100))
    bad("program.jpg", "not a photo", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(folder / "pipe.jpg")
    corpus.bad["pipe.jpg"] = "not an ordinary file"
    (folder / "broken_link.jpg").symlink_to("nowhere.jpg")
    corpus.bad["broken_link.jpg"] = "does not exist"
    (folder / "folder.jpg").mkdir()
    if os.geteuid() != 0:  # root may read everything
        bad("forbidden.jpg", "cannot be read", jpeg)
        (folder / "forbidden.jpg").chmod(0)

    small = picture(YELLOW).resize((16, 16))
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF"):
        data = encode(small, kind)
        for end in range(10, len(data), 10):
            name = f"cut_{end:04}.{kind.lower()}"
            write(name, data[:end])
            corpus.cut.append(name)
    return corpus


def picture(colour: tuple[int, int, int]) -> Image.Image:
    """A small photo of one colour, a little noisy, so that files have something to break."""
    noise = np.random.default_rng(0).integers(-8, 9, (40, 60, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file in memory."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey_16_bits() -> Image.Image:
    """Grey from black to white in 16 bits."""
    return Image.fromarray(np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40))


def transparent_palette(colour: tuple[int, int, int]) -> bytes:
    """A PNG with a palette of which one entry is transparent."""
    image = Image.new("P", (30, 20), 1)
    image.putpalette((0, 0, 0, *colour))
    return encode(image, "PNG", transparency=0)


def ycck_jpeg(colour: tuple[int, int, int]) -> bytes:
    """A JPEG in YCCK, as Photoshop writes them and Pillow does not."""
    # libjpeg decodes YCCK to inverted CMYK: the three are the YCbCr of the inverse colour. Pillow
    # inverts all four when it writes.
    inverse = tuple(255 - value for value in colour)
    planes = Image.new("RGB", (60, 40), inverse).convert("YCbCr").split()
    planes = (
        *(plane.point(lambda value: 255 - value) for plane in planes),
        Image.new("L", (60, 40)),
    )
    data = bytearray(encode(Image.merge("CMYK", planes), "JPEG", quality=100))
    data[data.index(b"Adobe") + 11] = 2  # the transform byte: 0 is CMYK, 2 is YCCK
    return bytes(data)


def raw_preview(colour: tuple[int, int, int]) -> bytes:
    """A TIFF whose first picture is marked as a small preview of others, as in raw files."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254], tags[330] = 1, 0
    return encode(picture(colour), "TIFF", tiffinfo=tags)


def tiff_with_too_many_samples() -> bytes:
    """A TIFF that claims nine colours a pixel: Pillow writes an error about it into its log."""
    data = bytearray(encode(picture(CYAN), "TIFF"))
    samples = struct.pack("<HHI", 277, 3, 1)
    data[data.index(samples) + 8] = 9
    return bytes(data)


P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
"""Display P3: where red, green and blue lie, as XYZ under the light D50."""

SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""As the profile that Adobe gives away has them."""


def matrix_profile(colorants: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """An ICC profile of a screen, version 2."""
    tags = {
        **{
            key: b"XYZ " + bytes(4) + b"".join(_fixed(n) for n in colorant)
            for key, colorant in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
        },
        **{key: _gamma(gamma) for key in (b"rTRC", b"gTRC", b"bTRC")},
    }
    return _profile(b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey, version 2."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def ink_profile(lab: dict[tuple[int, int, int, int], tuple[int, int, int]]) -> bytes:
    """An ICC profile of a printer: the colour (L 0..255, a + 128, b + 128) of inks that are 0 or 1.

    Inks that are not in `lab` are white.
    """
    inks = itertools.product((0, 1), repeat=4)
    table = b"".join(bytes(lab.get(one, (255, 128, 128))) for one in inks)
    identity = b"".join(_fixed(n) for n in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut})


def chunks(**values: tuple[float, ...]) -> PngInfo:
    """What a PNG says of its colours: gAMA, cHRM (numbers) and sRGB (an intent)."""
    info = PngInfo()
    for name, numbers in values.items():
        if name == "sRGB":
            info.add(b"sRGB", bytes([int(number) for number in numbers]))
        else:
            info.add(
                name.encode(), struct.pack(f">{len(numbers)}I", *(round(n * 1e5) for n in numbers))
            )
    return info


def exif_of_colours(space: int | None, index: str | None) -> Image.Exif:
    """What cameras write about colours into EXIF: the colour space and the index R98 or R03."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Canon"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if space is not None:
        details[ExifTags.Base.ColorSpace] = space
    if index is not None:
        details[ExifTags.IFD.Interop] = {1: index, 2: b"0100"}
    return exif


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"wtpt": b"XYZ " + bytes(4) + _fixed(0.9642) + _fixed(1) + _fixed(0.8249), **tags}
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, data in tags.items():
        directory += key + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = bytearray(128)
    header[0:4] = struct.pack(">I", start + len(body))
    header[8:12] = bytes([2, 0x40, 0, 0])
    header[12:24] = kind + space + connection
    header[36:40] = b"acsp"
    header[68:80] = _fixed(0.9642) + _fixed(1) + _fixed(0.8249)
    return bytes(header) + directory + body


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _gamma(number: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(number * 256)) + bytes(2)


def raw_png(
    width: int,
    height: int,
    colour: tuple[int, int, int],
    *,
    bits: int = 8,
    interlaced: bool = False,
) -> bytes:
    """A PNG of one colour, in the two kinds that Pillow reads and does not write."""
    pixel = b"".join(value.to_bytes(1, "big") * (bits // 8) for value in colour)
    # Adam7: first column and row, then the steps, of each of the seven passes.
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b""
    for x, y, step_x, step_y in passes if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(x, width, step_x))
        rows += len(range(y, height, step_y)) * (b"\0" + columns * pixel) if columns else b""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, int(interlaced))
    return png_file((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def raw_png_header(width: int, height: int) -> bytes:
    """A small file that claims to be a large PNG."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_file((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))


def png_with_text(png: bytes, text: bytes) -> bytes:
    """`png` with a compressed comment."""
    chunk = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(text))
    return png[:33] + chunk + png[33:]  # after the signature and IHDR


def png_file(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from its chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
