"""Pictures that show nothing: noise, colours, patterns, charts, text. No model may name them.

They stand in for all that is no photo, so that every model learns what it is not, whatever it was
trained on. A few dozen are drawn, the same ones each time.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

EACH = 12
"""How many pictures of each kind are drawn."""

_SIDE = 320  # of a drawing in pixels, before it is resized

_WORDS = ("a", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "1234567890", "signs")


def draw_pictures(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draws `EACH` pictures of each kind.

    Args:
        size: Height and width in pixels.

    Returns:
        uint8 [N, height, width, 3], 0..255.
    """
    height, width = size
    pictures = []
    for number, draw in enumerate(_KINDS):
        for index in range(EACH):
            picture = draw(np.random.default_rng((number, index))).convert("RGB")
            resized = picture.resize((width, height), Image.Resampling.BILINEAR)
            pictures.append(np.asarray(resized))
    return np.stack(pictures)


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    rgb = colorsys.hsv_to_rgb(random.random(), random.random() ** 0.7, random.uniform(0.1, 1.0))
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue


def _paper(random: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A plain ground, white more often than not, and what draws on it."""
    ground = (255, 255, 255) if random.random() < 0.6 else _colour(random)
    picture = Image.new("RGB", (_SIDE, _SIDE), ground)
    return picture, ImageDraw.Draw(picture)


def _noise(random: np.random.Generator) -> Image.Image:
    """Coloured or grey, of grains from one pixel to an eighth of the picture."""
    grain = int(random.choice([1, 2, 4, 10, 40]))
    channels = int(random.choice([1, 3]))
    side = _SIDE // grain
    if random.random() < 0.5:
        values = random.integers(0, 256, (side, side, channels))
    else:
        values = np.clip(random.normal(128, random.uniform(10, 80), (side, side, channels)), 0, 255)
    picture = Image.fromarray(np.broadcast_to(values, (side, side, 3)).astype(np.uint8))
    smooth = Image.Resampling.NEAREST if random.random() < 0.5 else Image.Resampling.BICUBIC
    return picture.resize((_SIDE, _SIDE), smooth)


def _plain(random: np.random.Generator) -> Image.Image:
    """One colour, with hardly visible grain as of a camera, or none."""
    values = np.full((_SIDE, _SIDE, 3), _colour(random), np.float32)
    values += random.normal(0, random.choice([0.0, 2.0, 6.0]), values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _gradient(random: np.random.Generator) -> Image.Image:
    """One colour passing into another: straight, or round as a lamp on a wall."""
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    angle = random.uniform(0, 2 * np.pi)
    place = rows * np.sin(angle) + columns * np.cos(angle)
    if random.random() < 0.5:
        place = np.hypot(rows - random.random(), columns - random.random())
    share = ((place - place.min()) / np.ptp(place))[..., None]
    mixed = share * np.array(_colour(random)) + (1 - share) * np.array(_colour(random))
    return Image.fromarray(mixed.astype(np.uint8))


def _pattern(random: np.random.Generator) -> Image.Image:
    """Stripes, checks or dots."""
    picture, draw = _paper(random)
    step, colour = int(random.integers(8, 60)), _colour(random)
    kind = random.integers(3)
    for row in range(0, _SIDE, step):
        for column in range(0, _SIDE, step):
            box = (column, row, column + step - 1, row + step - 1)
            if kind == 0 and (row // step) % 2 or kind == 1 and (row // step + column // step) % 2:
                draw.rectangle(box, colour)
            elif kind == 2:
                edge = step / 4
                draw.ellipse((box[0] + edge, box[1] + edge, box[2] - edge, box[3] - edge), colour)
    return picture


def _chart(random: np.random.Generator) -> Image.Image:
    """Bars, lines or slices, with axes and labels."""
    picture, draw = _paper(random)
    count, left, bottom = int(random.integers(3, 12)), 40, _SIDE - 40
    values = random.uniform(0.1, 1.0, count)
    kind = random.integers(4)
    if kind == 3:
        ends = np.concatenate([[0], np.cumsum(values) / values.sum()]) * 360
        for start, end in zip(ends[:-1], ends[1:], strict=True):
            draw.pieslice((50, 50, _SIDE - 50, _SIDE - 50), start, end, _colour(random))
        return picture
    draw.line((left, 20, left, bottom, _SIDE - 20, bottom), (40, 40, 40), 2)
    step, colour = (_SIDE - 70) / count, _colour(random)
    tops = bottom - values * (bottom - 40)
    for number, top in enumerate(tops):
        x = left + 5 + number * step
        if kind == 0:
            draw.rectangle((x, top, x + 0.7 * step, bottom), colour)
        elif kind == 1:  # across
            y = 30 + number * (bottom - 40) / count
            draw.rectangle((left, y, left + values[number] * 220, y + 0.6 * step), colour)
        draw.text((x, bottom + 6), str(number), (60, 60, 60))
    if kind == 2:
        for _ in range(int(random.integers(1, 4))):
            points = [
                (left + 5 + number * step, float(bottom - random.random() * (bottom - 40)))
                for number in range(count)
            ]
            draw.line(points, _colour(random), 3)
    return picture


def _text(random: np.random.Generator) -> Image.Image:
    """A page, a sign or a screen."""
    picture, draw = _paper(random)
    size = int(random.integers(10, 60))
    font = ImageFont.load_default(size)
    ink = (20, 20, 20) if random.random() < 0.6 else _colour(random)
    for row in range(10, _SIDE - size, round(1.4 * size)):
        words = random.choice(_WORDS, max(2, 300 // (3 * size)))
        draw.text((10, row), " ".join(words), ink, font=font)
    return picture


def _logo(random: np.random.Generator) -> Image.Image:
    """A few shapes of plain colours: discs, rings, polygons, stars."""
    picture, draw = _paper(random)
    for _ in range(int(random.integers(1, 5))):
        x, y = random.uniform(60, _SIDE - 60, 2)
        radius, colour = random.uniform(20, 130), _colour(random)
        box = (x - radius, y - radius, x + radius, y + radius)
        kind = random.integers(4)
        if kind == 0:
            draw.ellipse(box, colour)
        elif kind == 1:
            draw.ellipse(box, outline=colour, width=int(radius / 4) + 1)
        elif kind == 2:
            draw.rounded_rectangle(box, radius / 5, colour)
        else:
            corners = int(random.integers(3, 9))
            angles = np.arange(2 * corners) * np.pi / corners
            radii = radius * np.where(np.arange(2 * corners) % 2, random.uniform(0.3, 1.0), 1.0)
            points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
            draw.polygon([tuple(point) for point in points.tolist()], colour)
    return picture


def _blur(random: np.random.Generator) -> Image.Image:
    """Patches of colour out of focus, as a lens that points nowhere."""
    picture = _noise(random).resize((8, 8)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    tint = Image.new("RGB", picture.size, _colour(random))
    blurred = Image.blend(picture.convert("RGB"), tint, random.uniform(0.2, 0.8))
    return blurred.filter(ImageFilter.GaussianBlur(random.uniform(4, 30)))


_KINDS: tuple[Callable[[np.random.Generator], Image.Image], ...] = (
    _noise,
    _plain,
    _gradient,
    _pattern,
    _chart,
    _text,
    _logo,
    _blur,
)
