"""The pretrained networks a head can be put on, each with its native image size and its scaling."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keras_flowers.errors import UserError
from keras_flowers.inference.classifier import default_model
from keras_flowers.inference.metadata import MODEL_FILE

LITE = "efficientnet_lite"
"""In the place of a function of `keras.applications`: the network is built by our own module."""


SHIPPED_NAME = "flowers102"
"""What the model that ships is called, also as a base: its network, which knows flowers."""


@dataclass(frozen=True)
class Base:
    """A network that turns photos into feature maps.

    Attributes:
        function: Its name in `keras.applications`, or `LITE`.
        image_size: The height and width in pixels that its ImageNet weights were trained at.
        scaled_inside: Whether the network itself takes pixels 0..255. If not, it expects -1..1 and
            `model.py` puts that scaling in front.
        arguments: What else is said to build it, such as the width multiplier `alpha`.
    """

    function: str
    image_size: int
    scaled_inside: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _bases() -> dict[str, Base]:
    bases = {}
    # Width multipliers for which Keras has ImageNet weights; the published default is 1.0.
    for function, alphas, scaled_inside in (
        ("MobileNet", (0.25, 0.5, 0.75, 1.0), False),
        ("MobileNetV2", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), False),
        ("MobileNetV3Small", (0.75, 1.0), True),
        ("MobileNetV3Large", (0.75, 1.0), True),
    ):
        for alpha in alphas:
            name = function if alpha == 1.0 else f"{function}_{alpha}"
            bases[name] = Base(function, 224, scaled_inside, {"alpha": alpha})
    # Native sizes: EfficientNet, Tan & Le 2019, and EfficientNetV2, Tan & Le 2021, as in the
    # `default_size` of Keras's own constructors.
    for family, sizes in (
        ("EfficientNetB", (224, 240, 260, 300, 380, 456, 528, 600)),
        ("EfficientNetV2B", (224, 240, 260, 300)),
    ):
        for number, size in enumerate(sizes):
            bases[f"{family}{number}"] = Base(f"{family}{number}", size)
    for letter, size in (("S", 384), ("M", 480), ("L", 480)):
        bases[f"EfficientNetV2{letter}"] = Base(f"EfficientNetV2{letter}", size)
    for number, size in enumerate((224, 240, 260)):
        bases[f"EfficientNetLite{number}"] = Base(LITE, size, arguments={"number": number})
    return bases


BASES: Mapping[str, Base] = MappingProxyType(_bases())
"""The bases by the names that `--base` takes.

They are Keras's, with `_alpha` behind where it is not 1, and EfficientNet-Lite, which needs the
extra [lite].
"""


def find_base(name: str) -> str:
    """What `--base` means: a name in `BASES` or `SHIPPED_NAME`, or else the path that it is.

    >>> find_base("mobilenetv2_0.35")
    'MobileNetV2_0.35'

    Raises:
        UserError: `name` is neither, or there is no Keras model at the path.
    """
    by_lower_case = {known.lower(): known for known in (*BASES, SHIPPED_NAME)}
    found = by_lower_case.get(name.lower(), name)
    if found in BASES:
        return found
    file = file_of_base(found)
    if os.path.isfile(file):  # unlike Path, of any text
        return found
    if found == SHIPPED_NAME:
        raise UserError(
            f"--base {found}: there is no {file}, the Keras model of what ships; install "
            "keras_flowers anew, or name the folder of a finished run"
        )
    if file != Path(name):
        raise UserError(f"--base {name}: expected the folder of a finished run, with {MODEL_FILE}")
    if file.suffix == ".keras":
        raise UserError(f"--base: there is no saved model at {name}")
    nearest = difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)
    meant = ", ".join(by_lower_case[one] for one in nearest)
    raise UserError(
        f"--base: {name!r} is not known; "
        + (f"did you mean {meant}? " if nearest else "")
        + "keras-flowers train --help lists all names; the folder of a finished run or the path of "
        "a .keras file will do, too"
    )


def file_of_base(base: str) -> Path:
    """The Keras model that a base is which is not in `BASES`, whether it is there or not."""
    if base == SHIPPED_NAME:
        return default_model().parent / MODEL_FILE
    path = Path(base)
    return path / MODEL_FILE if os.path.isdir(path) else path
