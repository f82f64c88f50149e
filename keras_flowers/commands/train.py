"""Trains a flower classifier."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from keras_flowers.commands.exit import EXIT_SOME_FAILED
from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.files import exclusive_lock
from keras_flowers.system import import_tensorflow
from keras_flowers.training.bases import BASES
from keras_flowers.training.config import TrainConfig, from_settings
from keras_flowers.training.result import TrainResult
from keras_flowers.training.run_directory import Run, settings_like, settings_to_go_on
from keras_flowers.training.train import train_model

STOPPED = (
    "stopped; what is done so far is kept, but for the part in work (features of some hundred "
    "photos, or an epoch): the same command goes on from there"
)
"""What is said after Ctrl-C."""

DEMO_OUTPUT = "saved_models/demo"
"""Where the demonstration goes, when --output is not given."""

EXAMPLES = """examples:
  everything by default: 102 flowers, MobileNetV2, 1,020 photos
      keras-flowers train
  see the whole system work in a minute, with nothing to download
      keras-flowers train --demo
  another base
      keras-flowers train --base EfficientNetB0
  your own flowers, on the network of the model that ships, which knows flowers
      keras-flowers train --base flowers102 --data my_photos
  more photos, or new flowers, for a model that is there: nothing begins anew
      keras-flowers train --start_from saved_models/mine --data new_photos
  on all 2,040 labelled photos, with the settings that the first run chose on validation
      keras-flowers train --config saved_models/MobileNetV2/config.json \\
          --train_split train+validation --output saved_models/MobileNetV2_2040
  fine-tuning: a small network learns to answer as a larger one does
      keras-flowers train --base EfficientNetB0 --output saved_models/teacher
      keras-flowers train --fine_tune block_6_project_BN \\
          --teacher saved_models/teacher --output saved_models/student
  the frozen base run over a million photos by a cluster that sees them at the same path
      keras-flowers train --data /archive --engine ray --ray_address auto

A run that was interrupted goes on when the same command is given again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    config, extras = parse_arguments(argv)
    demo = extras.demo
    run = Run.at(config.run_dir)
    exports = config.export or demo  # the demonstration shows the whole system
    if (exports or extras.report) and _is_trained(config, run, demo):
        what = "export" if exports else "report"
        print(f"{run.folder} is trained already: going on with the {what}")
        with exclusive_lock(run.folder):
            run.remove_checkpoints()  # if it was stopped just before
    else:
        if demo:
            config = _with_drawn_flowers(config, run)
        _print_result(train_model(config))
    if exports:
        import_tensorflow()
        from keras_flowers.commands.export import export_and_verify

        if not export_and_verify(run.folder, data_dir=config.data_dir):
            return EXIT_SOME_FAILED
    if extras.report:
        import_tensorflow()
        from keras_flowers.training.report.report import PAGE, report_run

        path = report_run(run.folder, data_dir=config.data_dir).save(run.folder / PAGE)
        print(f"report: {path}")
    photo = "PHOTO"
    if demo:
        from keras_flowers.training.synthetic import write_photo

        photo = str(write_photo(run.folder))
    if config.start_from is not None:
        print(f"next: keras-flowers compare {config.start_from} {run.folder}")
    print(f"next: keras-flowers predict {photo} --model {run.folder}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options: those of `TrainConfig` in its groups, --config, --demo and --report."""
    options = argparse.ArgumentParser(
        prog="keras-flowers train",
        description=__doc__,
        epilog=f"bases:\n{_in_columns(list(BASES))}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "--config",
        metavar="FILE",
        help="take the settings of an earlier run from its config.json; other options change them",
    )
    options.add_argument(
        "--demo",
        action="store_true",
        help="everything, export too, on a small drawn data set and a base of random weights: "
        "nothing is downloaded, about a minute",
    )
    options.add_argument(
        "--report",
        action="store_true",
        help="when all is done, write report.html into the run's folder: see keras-flowers report",
    )
    types = get_type_hints(TrainConfig)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in dataclasses.fields(TrainConfig):
        name = field.metadata["group"]
        if name not in groups:
            groups[name] = options.add_argument_group(name)
        _add_option(groups[name], field, types[field.name])
    add_verbose(options)
    return options


class Extras(NamedTuple):
    """What a command line asks for that is no setting of the training.

    Attributes:
        demo: Whether it is for the demonstration.
        report: Whether a report is written at the end.
    """

    demo: bool
    report: bool


def parse_arguments(argv: Sequence[str] | None) -> tuple[TrainConfig, Extras]:
    """Makes a `TrainConfig` from a command line, and says what else it asks for.

    Raises:
        UserError: A value is out of its range, or --config names no `config.json`.
        SystemExit: After `--help`, and for options that argparse refuses.
    """
    options = vars(parser().parse_args(argv))
    file, extras = options.pop("config"), Extras(options.pop("demo"), options.pop("report"))
    given = {name: value for name, value in options.items() if value is not None}
    if file:
        given = settings_like(Path(file), given)
    elif "start_from" in given:
        given = settings_to_go_on(given["start_from"], given)
    if extras.demo and given.get("output") is None:
        given["output"] = DEMO_OUTPUT
    return from_settings(given), extras


def _add_option(group: argparse._ArgumentGroup, field: dataclasses.Field[Any], hint: Any) -> None:
    text = field.metadata["help"].replace("%", "%%")
    if hint is bool:
        group.add_argument(f"--{field.name}", action="store_true", default=None, help=text)
        return
    metavar = field.metadata["metavar"]
    if hint in (tuple[str, ...], tuple[float, ...]):
        kind = get_args(hint)[0]
        group.add_argument(
            f"--{field.name}", action="append", type=kind, metavar=metavar, help=text
        )
        return
    if field.default is not None:
        text += f" (default: {field.default})"
    kind = next(kind for kind in (int, float, str) if isinstance(kind(), hint))
    group.add_argument(f"--{field.name}", type=kind, metavar=metavar, help=text)


def _in_columns(names: Sequence[str], columns: int = 3) -> str:
    """The names, sorted downwards in columns."""
    rows = -(-len(names) // columns)
    lines = [names[row::rows] for row in range(rows)]
    return "\n".join("  " + "".join(f"{name:<26}" for name in line).rstrip() for line in lines)


def _is_trained(config: TrainConfig, run: Run, demo: bool) -> bool:
    """Whether the run's folder holds the finished model of these settings."""
    if config.overwrite or not run.is_finished:
        return False
    # What changes nothing in the model, and what the demonstration chooses itself.
    free = {"overwrite", "export", "output", "cache_dir", "engine", "ray_address", "worker_cores"}
    free |= {"dataset", "data_dir", "base"} if demo else set()
    asked = dataclasses.asdict(config)
    # What a run of an earlier version could not be asked for, it did as is the default now.
    made = {**dataclasses.asdict(TrainConfig()), **run.settings}
    if made["temperature"] is None:  # it was fitted
        made["temperature"] = run.metrics.get("temperature")
    return all(asked[name] in (None, made.get(name)) for name in asked.keys() - free)


def _with_drawn_flowers(config: TrainConfig, run: Run) -> TrainConfig:
    if not config.overwrite:
        run.refuse_finished()
    import_tensorflow()
    from keras_flowers.training.synthetic import demo_config

    with exclusive_lock(run.folder):  # refused before anything is drawn
        return demo_config(config)


def _print_result(result: TrainResult) -> None:
    learned = result.trained_on
    print(
        f"\n{result.config.asked.base}, trained on {learned['photos']} photos "
        f"({learned['split']}) in {result.seconds:.0f} s"
    )
    for split, scores in result.scores.items():
        print(f"\n{split}: {scores.photos} photos\n{scores}")
    folder = result.run.folder
    if result.run.left_out_path.is_file():
        print(f"\nphotos that were left out, and why: {result.run.left_out_path}")
    print(f"\nwritten to {folder}/; tensorboard --logdir {result.run.logs} shows the training")
