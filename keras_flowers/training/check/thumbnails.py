"""Small pictures of photos, as text that stands in a page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference.image import read_photo
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores
from keras_flowers.training.check.check import DataCheck
from keras_flowers.training.sources.source import Read

SIDE: Final = 112
"""The longer side of a thumbnail in pixels: some 3 kB each, so that hundreds open in a moment."""

_AT_A_TIME = 16  # photos whose bytes are in memory


def thumbnails(check: DataCheck, rows: Sequence[int]) -> dict[int, str]:
    """A `data:` address for each photo; none for those that could not be read again.

    Args:
        check: What the photos are of.
        rows: Their numbers, in any order.
    """
    found: dict[int, str] = {}
    bar = progress_bar(total=len(set(rows)), unit="photo", description="drawing thumbnails")
    with bar, ThreadPoolExecutor(available_cores()) as pool:
        reads: Iterator[tuple[int, Read]] = check.contents(rows)
        while some := list(islice(reads, _AT_A_TIME)):
            drawn = pool.map(_draw, [read for _, read in some])
            for (row, _), text in zip(some, drawn, strict=True):
                if text is not None:
                    found[row] = text
            bar.update(len(some))
    return found


def _draw(read: Read) -> str | None:
    try:
        photo = read_photo(read(), (SIDE, SIDE))
    except (OSError, UserError):
        return None
    photo.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
