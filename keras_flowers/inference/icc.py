"""ICC profiles of colours that a file describes in another way: primaries, a white, a gamma."""

from __future__ import annotations

import functools
import struct
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Chromaticities: TypeAlias = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue (CIE 1931), as the PNG chunk cHRM orders them."""

SRGB: Chromaticities = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""IEC 61966-2-1."""

ADOBE_RGB: Chromaticities = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
"""Adobe RGB (1998) Color Image Encoding, 2005."""

ADOBE_RGB_GAMMA = 563 / 256
"""As above."""

_D50 = (0.9642, 1.0, 0.8249)
"""X, Y and Z of the white that all profiles refer to (ICC.1:2001-04, A.1)."""

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""How the ICC has colours adapted to another white (ICC.1:2001-04, E.1)."""


@functools.lru_cache(maxsize=16)
def matrix_profile(chromaticities: Chromaticities, gamma: float) -> bytes:
    """The ICC profile, version 2, of three primaries that are added.

    Args:
        chromaticities: What red, green and blue are, and which white they make together.
        gamma: The power that light is of a stored number 0..1, such as 2.2.

    Raises:
        ValueError, ArithmeticError: They make no colours.
    """
    if not 0 < gamma < 256:
        raise ValueError(f"gamma is {gamma}; expected more than 0 and less than 256")
    colorants = _adapted(chromaticities)
    if np.abs(colorants).max() >= 1 << 15:
        raise ValueError(f"{chromaticities} are no colours that a profile can hold")
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"wtpt": _xyz(_D50)}
    for name, colorant in zip((b"r", b"g", b"b"), colorants.T, strict=True):
        tags |= {name + b"XYZ": _xyz(tuple(colorant.tolist())), name + b"TRC": curve}
    directory, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        directory += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[0:4] = struct.pack(">I", start + len(body))
    header[8:24] = bytes([2, 0x40, 0, 0]) + b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = _xyz(_D50)[8:]
    return bytes(header) + directory + body


def _adapted(chromaticities: Chromaticities) -> npt.NDArray[np.float64]:
    """X, Y, Z (rows) of red, green and blue (columns) as they are seen under D50."""
    white, *primaries = (
        np.array([x / y, 1.0, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(primaries, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    gains = _BRADFORD @ np.array(_D50) / (_BRADFORD @ white)
    colorants: npt.NDArray[np.float64] = (
        np.linalg.inv(_BRADFORD) @ (gains[:, None] * _BRADFORD) @ columns
    )
    return colorants


def _xyz(values: tuple[float, ...]) -> bytes:
    """Three numbers of 16 bits before and after the point."""
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(one * 65536) for one in values))
