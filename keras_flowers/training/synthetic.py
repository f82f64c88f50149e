"""A small set of drawn flowers in TFDS form, and a base, for where nothing can be downloaded.

The classes differ in what a pipeline can break: red and blue petals (exchanged channels), how many
petals there are (crops and resizing), pale and dark ones (the scaling of the pixels), and the names
(shifted labels). Size, place, background and shades vary within each class, so that no single
pixel or mean colour gives it away.
"""

from __future__ import annotations

import colorsys
import contextlib
import dataclasses
import io
import logging
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw

from keras_flowers.files import atomic_replace
from keras_flowers.system import standard_error_held_back
from keras_flowers.training import data
from keras_flowers.training.config import TrainConfig
from keras_flowers.training.model import build_model, split_at

_logger = logging.getLogger(__name__)

DATASET = "drawn_flowers"

CLASSES = (
    # name, hue of the petals in degrees, lightness, number of petals, width / length of a petal
    ("red trefoil", 0, 0.50, 3, 0.75),
    ("blue trefoil", 235, 0.50, 3, 0.75),
    ("red daisy", 0, 0.50, 13, 0.18),
    ("blue daisy", 235, 0.50, 13, 0.18),
    ("pale daisy", 0, 0.93, 13, 0.18),
    ("yellow fivestar", 52, 0.55, 5, 0.45),
    ("dark fivestar", 290, 0.16, 5, 0.45),
    ("orange disc", 28, 0.52, 40, 0.30),
)

_IMAGE_SIZE = 96

COUNTS = {"train": 20, "validation": 10, "test": 10}
"""Pictures of each class in each split."""


class DrawnFlowers(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Draws the pictures while TFDS prepares the data set; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    name = DATASET

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=[name for name, *_ in CLASSES]),
            }
        )
        return tfds.core.DatasetInfo(
            builder=self, features=features, description=__doc__, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(COUNTS[split] * len(CLASSES)):
            label = index % len(CLASSES)
            picture = draw_flower(label, seed=(list(COUNTS).index(split), index))
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=92)
            yield index, {"image": file.getvalue(), "label": label}


def demo_config(config: TrainConfig) -> TrainConfig:
    """The same settings on the drawn data set and its base, which are made in `cache_dir`."""
    folder = config.cache_folder
    base = prepare(folder)
    return dataclasses.replace(config, dataset=DATASET, data_dir=str(folder), base=str(base))


def prepare(folder: Path) -> Path:
    """Draws the data set into `folder`, where TFDS finds it, and makes a base for it.

    Returns:
        The path of a saved feature extractor for photos of 96 x 96 pixels.
    """
    builder = DrawnFlowers(data_dir=folder)
    if not Path(builder.data_dir).exists():
        _logger.info(f"drawing {sum(COUNTS.values()) * len(CLASSES)} flowers into {folder}")
    # TFDS tells of a download of unknown size, in lines of 130 columns.
    with contextlib.redirect_stdout(io.StringIO()), standard_error_held_back():
        builder.download_and_prepare()
    path = folder / "drawn_flowers_base.keras"
    if path.exists() and not zipfile.is_zipfile(path):
        _logger.warning(f"{path} is damaged: it is made again")
        path.unlink()
    if not path.exists():
        train = data.load_photos(DATASET, "train", str(folder), folder)
        pixels = data.some_pixels(train, _IMAGE_SIZE)
        # The first third of a MobileNet: random weights tell pictures apart there, while the
        # deeper layers need trained ones.
        model = build_model("MobileNet_0.25", _IMAGE_SIZE, 2, random_weights_for=pixels)
        with atomic_replace(path) as temporary:
            split_at(model, "conv_pw_5_relu")[0].save(temporary)
    return path


def write_photo(folder: Path) -> Path:
    """Draws a flower that is in no split into `folder`, for a first prediction.

    Returns:
        The path of the JPEG file; the flower is a blue daisy.
    """
    path = folder / "photo.jpg"
    with atomic_replace(path) as temporary:
        draw_flower(3, seed=(len(COUNTS), 0)).save(temporary, "JPEG", quality=92)
    return path


def draw_flower(label: int, seed: int | tuple[int, ...]) -> Image.Image:
    """Draws a flower of class `label`; the seed determines everything that varies within it.

    Returns:
        An RGB picture, 120 to 200 pixels wide and high.
    """
    _, hue, lightness, petals, slenderness = CLASSES[label]
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(120, 201, 2))
    # Drawn at twice the size and reduced: smooth edges.
    width, height = 2 * width, 2 * height
    ground = _colour(random.uniform(70, 170), random.uniform(0.1, 0.5), random.uniform(0.15, 0.85))
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, size = random.uniform(0, width), random.uniform(0, height), random.uniform(10, 70)
        shade = _colour(random.uniform(60, 180), random.uniform(0, 0.5), random.uniform(0.1, 0.9))
        draw.ellipse((x - size, y - size / 2, x + size, y + size / 2), shade)
    radius = random.uniform(0.28, 0.46) * min(width, height)
    middle = (
        random.uniform(radius, width - radius),
        random.uniform(radius, height - radius),
    )
    turn = random.uniform(0, 2 * math.pi)
    shift, lift = random.uniform(-8, 8), random.uniform(-0.04, 0.04)
    for petal in range(petals):
        colour = _colour(hue + shift, random.uniform(0.75, 0.95), lightness + lift)
        _draw_petal(draw, middle, radius, turn + 2 * math.pi * petal / petals, slenderness, colour)
    eye = radius * random.uniform(0.15, 0.28)
    centre = _colour(random.uniform(35, 55), 0.8, random.uniform(0.25, 0.6))
    draw.ellipse((middle[0] - eye, middle[1] - eye, middle[0] + eye, middle[1] + eye), centre)
    picture = picture.resize((width // 2, height // 2), Image.Resampling.BOX)
    noise = random.normal(0, 6, (height // 2, width // 2, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _draw_petal(
    draw: ImageDraw.ImageDraw,
    middle: tuple[float, float],
    length: float,
    angle: float,
    slenderness: float,
    colour: tuple[int, int, int],
) -> None:
    outline = []
    for step in np.linspace(0, 2 * math.pi, 40):
        along = length * (0.5 - 0.5 * math.cos(step))
        across = length * slenderness * 0.5 * math.sin(step)
        outline.append(
            (
                middle[0] + along * math.cos(angle) - across * math.sin(angle),
                middle[1] + along * math.sin(angle) + across * math.cos(angle),
            )
        )
    draw.polygon(outline, colour)


def _colour(hue: float, saturation: float, lightness: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(hue % 360 / 360, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
