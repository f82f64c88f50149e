"""The verb `train`: trains a flower classifier."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from keras_flowers.commands.exit import EXIT_SOME_FAILED
from keras_flowers.files import exclusive_lock
from keras_flowers.system import import_tensorflow
from keras_flowers.training.bases import BASES
from keras_flowers.training.config import TrainConfig, from_settings, load_settings
from keras_flowers.training.run_directory import Run
from keras_flowers.training.train import train_and_evaluate

STOPPED = (
    "stopped; features, checkpoints and what is finished are kept: the same command goes on from "
    "there"
)
"""What is said after Ctrl-C."""

EXAMPLES = """examples:
  everything by default: 102 flowers, MobileNetV2, 1,020 photos
      python -m keras_flowers.train
  see the whole system work in a minute, with nothing to download
      python -m keras_flowers.train --demo
  another base
      python -m keras_flowers.train --base EfficientNetB0
  on all 2,040 labelled photos, with the settings that the first run chose on validation
      python -m keras_flowers.train --config saved_models/MobileNetV2/config.json \\
          --train_split train+validation --output saved_models/MobileNetV2_2040
  fine-tuning: a small network learns to answer as a larger one does
      python -m keras_flowers.train --base EfficientNetB0 --output saved_models/teacher
      python -m keras_flowers.train --fine_tune block_6_project_BN \\
          --teacher saved_models/teacher --output saved_models/student

A run that was interrupted goes on when the same command is given again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    config = parse_arguments(argv, __doc__ or "", EXAMPLES)
    exports = config.export or config.demo  # the demo shows the whole system
    if exports and _is_trained(config):
        print(f"{config.run_dir} is trained already: going on with the export")
        with exclusive_lock(config.run_dir):
            Run.at(config.run_dir).remove_checkpoints()  # if it was stopped just before
    else:
        train_and_evaluate(config)
    if exports:
        import_tensorflow()
        from keras_flowers.commands.export import export_and_verify

        if not export_and_verify(config.run_dir, data_dir=config.data_dir):
            return EXIT_SOME_FAILED
    if config.demo:
        from keras_flowers.training.synthetic import write_photo

        photo = write_photo(config.run_dir)
        print(f"next: python -m keras_flowers.predict {photo} --model {config.run_dir}")
    return 0


def _is_trained(config: TrainConfig) -> bool:
    """Whether the run directory holds the finished model of these settings."""
    if config.overwrite or not Run.at(config.run_dir).is_finished:
        return False
    made = load_settings(config.run_dir / "config.json")
    # What changes nothing in the model, and what the demo chooses itself.
    free = {"overwrite", "export", "output", "cache_dir"}
    free |= {"dataset", "data_dir", "base"} if config.demo else set()
    asked = dataclasses.asdict(config)
    return all(asked[name] in (None, made.get(name)) for name in asked.keys() - free)


def parse_arguments(argv: Sequence[str] | None, description: str, examples: str) -> TrainConfig:
    """Makes a `TrainConfig` from a command line.

    `--config FILE` takes the settings of an earlier run; other options override them.

    Raises:
        UserError: A value is out of its range, or FILE is not a `config.json`.
        SystemExit: After `--help`, and for options that argparse refuses.
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_flowers.train",
        description=description,
        epilog=f"bases: {', '.join(BASES)}\n\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="repeat the run whose config.json this is")
    types = get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        _add_argument(parser, field, types[field.name])
    given = {
        key: value for key, value in vars(parser.parse_args(argv)).items() if value is not None
    }
    file = given.pop("config", None)
    return from_settings({**(load_settings(Path(file)) if file else {}), **given})


def _add_argument(
    parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any
) -> None:
    text = field.metadata["help"].replace("%", "%%")
    if hint is bool:
        parser.add_argument(f"--{field.name}", action="store_true", default=None, help=text)
        return
    if field.default is not None:
        text += f" (default: {field.default})"
    kind = next(kind for kind in (int, float, str) if isinstance(kind(), hint))
    parser.add_argument(f"--{field.name}", type=kind, metavar=kind.__name__.upper(), help=text)
