"""Photos as strangers have them: odd, broken and hostile ones, made on the spot."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from conftest import COLOURS
from PIL import Image

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

    # No photos.
    bad("empty.jpg", "empty", b"")
    bad("page.jpg", "not a photo", b"<!doctype html><title>404</title>")
    bad("archive.jpg", "not a photo", b"PK\x03\x04" + bytes(100))
    bad("iphone.heic", "save it as JPEG", b"\0\0\0\x18ftypheic" + bytes(100))
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
