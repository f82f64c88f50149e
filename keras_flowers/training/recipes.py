"""The recipes behind the README's table; `tools/results.py` trains and scores them all.

Each is a function of the folder for the runs and the seed. Recipes on all 2,040 labelled photos
take over the temperature that the same recipe, trained without them, found on the validation
photos; those with a teacher need it trained first: `RECIPES` is in an order in which that works.

What each reaches stands in the README and, with its intervals, in docs/results.json. Times are of
two cores of an AMD EPYC server, no GPU.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keras_flowers.training.config import TrainConfig, from_settings
from keras_flowers.training.run_directory import Run, settings_like

Recipe = Callable[[Path, int], TrainConfig]

FIELD_VARIABLE = "KERAS_FLOWERS_FIELD"
"""The environment variable that says in which folder the field's tables and photos lie, as
`tools/fetch_field.py` gathers them; without it, `field`."""


def frozen(runs: Path, seed: int) -> TrainConfig:
    """MobileNetV2 as ImageNet left it, and a head: what training does by default.

    keras-flowers train

    1 minute.
    """
    return TrainConfig(seed=seed, output=str(runs / "frozen"))


def frozen_lite0(runs: Path, seed: int) -> TrainConfig:
    """The same on EfficientNet-Lite0, a little larger and better.

    keras-flowers train --base EfficientNetLite0

    1 minute.
    """
    return TrainConfig(base="EfficientNetLite0", seed=seed, output=str(runs / "frozen_lite0"))


def frozen_lite2(runs: Path, seed: int) -> TrainConfig:
    """The best base that is left as it was, at 320 pixels.

    keras-flowers train --base EfficientNetLite2 --image_size 320

    3 minutes.
    """
    return TrainConfig(
        base="EfficientNetLite2", image_size=320, seed=seed, output=str(runs / "frozen_lite2")
    )


def frozen_lite2_views(runs: Path, seed: int) -> TrainConfig:
    """The same, shown how flowers look in the field without a photo from there.

    keras-flowers train --base EfficientNetLite2 --image_size 320 --field_views 4 \
        --output saved_models/frozen_lite2_views

    6 minutes.
    """
    return dataclasses.replace(
        frozen_lite2(runs, seed), field_views=4, output=str(runs / "frozen_lite2_views")
    )


def frozen_lite2_views_2040(runs: Path, seed: int) -> TrainConfig:
    """The best in the field that has learned from Oxford's photos alone, all that are labelled.

    keras-flowers train --config saved_models/frozen_lite2_views/config.json \
        --train_split train+validation --output saved_models/frozen_lite2_views_2040

    6 minutes.
    """
    return _on_all_photos(frozen_lite2_views(runs, seed), runs / "frozen_lite2_views_2040")


def frozen_lite2_2040(runs: Path, seed: int) -> TrainConfig:
    """The best frozen base on all labelled photos of Oxford's.

    keras-flowers train --config saved_models/frozen_lite2/config.json \
        --train_split train+validation --output saved_models/frozen_lite2_2040

    3 minutes.
    """
    return _on_all_photos(frozen_lite2(runs, seed), runs / "frozen_lite2_2040")


def frozen_2040(runs: Path, seed: int) -> TrainConfig:
    """The default on all labelled photos.

    keras-flowers train --config saved_models/MobileNetV2/config.json \
        --train_split train+validation --output saved_models/MobileNetV2_2040

    1 minute.
    """
    return _on_all_photos(frozen(runs, seed), runs / "frozen_2040")


def teacher(runs: Path, seed: int) -> TrainConfig:
    """EfficientNet-Lite0 frozen at 320 pixels: teaches `fine_tuned`.

    keras-flowers train --base EfficientNetLite0 --image_size 320 \
        --epochs 20 --batch_size 64 --learning_rate 3e-4 --output saved_models/teacher

    1 minute.
    """
    return _with_longer_head(
        TrainConfig(
            base="EfficientNetLite0", image_size=320, seed=seed, output=str(runs / "teacher")
        )
    )


def fine_tuned(runs: Path, seed: int) -> TrainConfig:
    """MobileNetV2 at 320 pixels, tuned above block 6 to answer as the teacher does.

    keras-flowers train --image_size 320 --fine_tune block_6_project_BN \
        --epochs 20 --batch_size 64 --learning_rate 3e-4 \
        --teacher saved_models/teacher --output saved_models/fine_tuned

    15 minutes where nothing else runs.
    """
    return _with_longer_head(
        TrainConfig(
            image_size=320,
            fine_tune="block_6_project_BN",
            teacher=(str(runs / "teacher"),),
            seed=seed,
            output=str(runs / "fine_tuned"),
        )
    )


def teacher_2040(runs: Path, seed: int) -> TrainConfig:
    """The teacher on all labelled photos.

    keras-flowers train --config saved_models/teacher/config.json \
        --train_split train+validation --output saved_models/teacher_2040

    1 minute.
    """
    return _on_all_photos(teacher(runs, seed), runs / "teacher_2040")


def fine_tuned_2040(runs: Path, seed: int) -> TrainConfig:
    """`fine_tuned` on all labelled photos of Oxford's: the best on the benchmark alone.

    keras-flowers train --config saved_models/fine_tuned/config.json \
        --train_split train+validation --teacher saved_models/teacher_2040 \
        --output saved_models/fine_tuned_2040

    33 minutes.
    """
    config = _on_all_photos(fine_tuned(runs, seed), runs / "fine_tuned_2040")
    return dataclasses.replace(config, teacher=(str(runs / "teacher_2040"),))


def field_lite0(runs: Path, seed: int) -> TrainConfig:
    """EfficientNet-Lite0 that has seen the field: teaches `flowers102`.

    keras-flowers train --base EfficientNetLite0 --image_size 320 \
        --data tfds:oxford_flowers102 --data field/train.csv \
        --validation_data field/validation.csv --field_views 4 --shrinkage 0.5 --epochs 3 \
        --output saved_models/field_lite0

    6 minutes.
    """
    return _in_the_field(runs / "field_lite0", seed, base="EfficientNetLite0")


def field_lite2(runs: Path, seed: int) -> TrainConfig:
    """The same on EfficientNet-Lite2.

    keras-flowers train --base EfficientNetLite2 --image_size 320 \
        --data tfds:oxford_flowers102 --data field/train.csv \
        --validation_data field/validation.csv --field_views 4 --shrinkage 0.5 --epochs 3 \
        --output saved_models/field_lite2

    8 minutes.
    """
    return _in_the_field(runs / "field_lite2", seed, base="EfficientNetLite2")


def field_lite0_2040(runs: Path, seed: int) -> TrainConfig:
    """The first teacher on all labelled photos.

    keras-flowers train --config saved_models/field_lite0/config.json \
        --train_split train+validation --output saved_models/field_lite0_2040

    3 minutes.
    """
    return _on_all_photos(field_lite0(runs, seed), runs / "field_lite0_2040")


def field_lite2_2040(runs: Path, seed: int) -> TrainConfig:
    """The second teacher on all labelled photos.

    keras-flowers train --config saved_models/field_lite2/config.json \
        --train_split train+validation --output saved_models/field_lite2_2040

    4 minutes.
    """
    return _on_all_photos(field_lite2(runs, seed), runs / "field_lite2_2040")


def flowers102_first(runs: Path, seed: int) -> TrainConfig:
    """MobileNetV2, tuned to answer as the two do, in the field too.

    keras-flowers train --image_size 320 --fine_tune block_6_project_BN \
        --data tfds:oxford_flowers102 --data field/train.csv \
        --validation_data field/validation.csv --train_split train+validation \
        --field_views 4 --shrinkage 0.5 --epochs 3 \
        --fine_tune_views 2 --fine_tune_field_views 2 \
        --teacher saved_models/field_lite0_2040 --teacher saved_models/field_lite2_2040 \
        --output saved_models/flowers102_first

    How far it is tuned was chosen for `fine_tuned`; its temperature is that of the field's
    validation photos. An hour.
    """
    return _in_the_field(
        runs / "flowers102_first",
        seed,
        train_split="train+validation",
        fine_tune="block_6_project_BN",
        fine_tune_views=2,
        fine_tune_field_views=2,
        teacher=(str(runs / "field_lite0_2040"), str(runs / "field_lite2_2040")),
    )


def flowers102_second(runs: Path, seed: int) -> TrainConfig:
    """The same network, tuned on with six views that it has not seen.

    keras-flowers train --config saved_models/flowers102_first/config.json \
        --start_from saved_models/flowers102_first --seed 1 \
        --fine_tune_views 3 --fine_tune_field_views 3 --output saved_models/flowers102_second

    An hour. Other views are those of another seed.
    """
    return _tuned_on(
        runs / "flowers102_first",
        runs / "flowers102_second",
        seed=seed + 1,
        fine_tune_views=3,
        fine_tune_field_views=3,
    )


def flowers102(runs: Path, seed: int) -> TrainConfig:
    """The model that ships (seed 0): tuned once more, to answer as all four before it together.

    keras-flowers train --config saved_models/flowers102_second/config.json \
        --start_from saved_models/flowers102_second --seed 2 \
        --teacher saved_models/field_lite0_2040 --teacher saved_models/field_lite2_2040 \
        --teacher saved_models/flowers102_first --teacher saved_models/flowers102_second \
        --fine_tune_views 3 --fine_tune_field_views 2 --fine_tune_learning_rate 5e-4 \
        --output saved_models/flowers102 --export

    A network and its teachers err at different photos, so that their mean is better than any of
    them: Furlanello et al. 2018, "Born Again Neural Networks". An hour.
    """
    teachers = ("field_lite0_2040", "field_lite2_2040", "flowers102_first", "flowers102_second")
    return _tuned_on(
        runs / "flowers102_second",
        runs / "flowers102",
        seed=seed + 2,
        teacher=[str(runs / name) for name in teachers],
        fine_tune_views=3,
        fine_tune_field_views=2,
        fine_tune_learning_rate=5e-4,
    )


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.__name__: recipe
        for recipe in (
            frozen,
            frozen_lite0,
            frozen_lite2,
            frozen_lite2_views,
            frozen_lite2_views_2040,
            frozen_lite2_2040,
            frozen_2040,
            teacher,
            fine_tuned,
            teacher_2040,
            fine_tuned_2040,
            field_lite0,
            field_lite2,
            field_lite0_2040,
            field_lite2_2040,
            flowers102_first,
            flowers102_second,
            flowers102,
        )
    }
)
"""By name, each after those it needs."""


def _on_all_photos(chosen: TrainConfig, output: Path) -> TrainConfig:
    """The settings that a finished run chose on validation, for training on that, too."""
    changes = {"train_split": "train+validation", "output": str(output)}
    return from_settings(settings_like(Run.at(chosen.run_dir).config_path, changes))


def _tuned_on(start: Path, output: Path, **changes: Any) -> TrainConfig:
    """The settings of a finished run, to go on from it."""
    changes = {**changes, "start_from": str(start), "output": str(output)}
    return from_settings(settings_like(Run.at(start).config_path, changes))


def _in_the_field(output: Path, seed: int, **settings: Any) -> TrainConfig:
    """Learns from Oxford's photos and the field's; chooses on those of both that are kept apart."""
    field = Path(os.environ.get(FIELD_VARIABLE, "field"))
    return TrainConfig(
        image_size=320,
        seed=seed,
        output=str(output),
        **settings,
        data=("tfds:oxford_flowers102", str(field / "train.csv")),
        validation_data=(str(field / "validation.csv"),),
        field_views=4,
        shrinkage=0.5,
        epochs=3,
    )


def _with_longer_head(config: TrainConfig) -> TrainConfig:
    """As the head of the model was trained that shipped first, for which its base was tuned.

    The default since then takes a third of the time and is no worse on validation.
    """
    return dataclasses.replace(config, epochs=20, batch_size=64, learning_rate=3e-4)
