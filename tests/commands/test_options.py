"""Every option of every command: what it takes, what it is when it is left out, where it stands.

Scripts are written for these; whoever changes one here says so in CHANGELOG.md.
"""

from __future__ import annotations

import argparse
import importlib

import pytest

pytest.importorskip("tensorflow_datasets", reason="some commands need the extra [train]")

from keras_flowers.__main__ import COMMANDS

OPTIONS = """
predict:
 positional arguments
  photos PHOTO x*
 options
  --camera
 model
  --model FILE (Path)
  --category_names FILE (Path)
  --scale MEAN STD (_numbers)
 answer
  --top_k K (int) = 5
  --threshold NAME=VALUE (_threshold) again
  --format FORMAT {text,csv,json,jsonl}
  --json means jsonl
  --csv means csv
  --output FILE
  --chart FILE (Path)
  --no_chart
  --explain
 long runs (with --output FOLDER/, which needs the extra [scale])
  --shard I/N (_shard)
  --engine {ray}
  --ray_address HOST:PORT
  --workers N (int)
  --worker_cores N (int) = 1
  --worker_memory MIB (int)
  --part_photos N (int)
  --photo_seconds S (float) = 60.0
 one of --format --json --csv

merge:
 positional arguments
  folder FOLDER (Path)
 options
  --output FILE (Path)

similar:
 positional arguments
  photo PHOTO x?
 options
  --count N (int) = 5
  --model FILE (Path)
  --json
  --chart FILE x? (Path) means .
  --build MODEL (Path)
 training photos
  --data SOURCE again
  --data_dir FOLDER

page:
 options
  --model FILE (Path)
  --port N (int) = 8102
  --build FOLDER (Path)

data:
 positional arguments
  source SOURCE
 options
  --label_map FILE
  --category_names FILE
  --data_dir FOLDER
  --quick
  --base NAME = MobileNetV2
  --image_size PIXELS (int)
  --output FOLDER (Path) = data_check
  --copies
  --overwrite
  --cache_dir FOLDER
  --verbose

train:
 options
  --config FILE
  --demo
  --report
  --verbose
 data
  --data SOURCE (str) again
  --label_map FILE (str) again
  --data_weight WEIGHT (float) again
  --balance_classes
  --category_names FILE (str)
  --taxonomy FILE (str)
  --validation_data SOURCE (str) again
  --strict
  --dataset NAME (str)
  --data_dir FOLDER (str)
  --train_split SPLIT (str)
  --validation_split SPLIT (str)
  --test_split SPLIT (str)
 network
  --base NAME (str)
  --image_size PIXELS (int)
  --start_from RUN (str)
  --dropout SHARE (float)
 learning
  --views N (int)
  --field_views N (int)
  --epochs N (int)
  --batch_size N (int)
  --learning_rate RATE (float)
  --weight_decay RATE (float)
  --label_smoothing SHARE (float)
  --shrinkage X (float)
  --temperature T (float)
  --seed N (int)
 fine-tuning
  --fine_tune LAYER (str)
  --teacher RUN (str) again
  --distillation_temperature T (float)
  --fine_tune_views N (int)
  --fine_tune_field_views N (int)
  --fine_tune_epochs N (int)
  --fine_tune_learning_rate RATE (float)
 where things go
  --output FOLDER (str)
  --overwrite
  --cache_dir FOLDER (str)
  --export
 on many machines (needs the extra [scale])
  --engine ray (str)
  --ray_address HOST:PORT (str)
  --worker_cores N (int)

report:
 positional arguments
  model RUN (Path)
 options
  --verbose
 photos
  --data SOURCE again
  --label_map FILE again
  --split SPLIT
  --data_dir FOLDER
 the page
  --output FILE (Path)
  --no_photos
  --quick

evaluate:
 positional arguments
  model MODEL
 options
  --verbose
 data
  --split SPLIT
  --data SOURCE again
  --label_map FILE again
  --dataset NAME
  --data_dir FOLDER
  --taxonomy FILE
 where things go
  --json FILE
  --report FOLDER

compare:
 positional arguments
  runs RUN x+
 options
  --verbose
 data
  --split SPLIT
  --data SOURCE again
  --label_map FILE again
  --data_dir FOLDER
 where things go
  --json FILE

export:
 positional arguments
  model RUN (Path)
 options
  --output FOLDER (Path)
  --data_dir FOLDER
  --data SOURCE again
  --label_map FILE again
  --formats FORMAT x+ {saved_model,float32,float16,int8}
  --verify
  --verbose

verify:
 positional arguments
  run RUN (Path)
 options
  --data SOURCE again
  --label_map FILE again
  --split SPLIT
  --photos FOLDER (Path)
  --data_dir FOLDER
  --limit N (int)
  --verbose
 one of --split --photos

doubt:
 positional arguments
  run RUN (Path)
 options
  --data SOURCE again
  --validation_data SOURCE again
  --data_dir FOLDER
  --taxonomy FILE
  --verbose

cache:
 options
  --clear
  --limit SIZE (parse_size)
  --cache_dir FOLDER
 one of --clear --limit
"""


def line_of(action: argparse.Action) -> str:
    """An option in a line: its name, its values with their types, and its default."""
    names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
    words = ["/".join(action.option_strings) or action.dest, *(one for one in names if one)]
    if action.nargs not in (None, 0) and len(names) == 1:
        words.append(f"x{action.nargs}")
    if action.choices is not None:
        words.append(f"{{{','.join(map(str, action.choices))}}}")
    if callable(action.type):
        words.append(f"({action.type.__name__})")
    if action.const is not None and action.const is not True:
        words.append(f"means {action.const}")
    if isinstance(action, argparse._AppendAction):
        words.append("again")
    if action.default not in (None, False, [], argparse.SUPPRESS):
        words.append(f"= {action.default}")
    return " ".join(words)


def options_of(name: str) -> str:
    """All of a command's options in their groups, and which of them exclude each other."""
    parser = importlib.import_module(f"keras_flowers.commands.{name}").parser()
    lines = [f"{name}:"]
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.dest != "help"]
        if actions:
            lines.append(f" {group.title}")
            lines += [f"  {line_of(one)}" for one in actions]
            assert all(one.help for one in actions)
    for one in parser._mutually_exclusive_groups:
        lines.append(" one of " + " ".join("/".join(a.option_strings) for a in one._group_actions))
    return "\n".join(lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_takes_what_it_took(name: str) -> None:
    expected = dict(one.split(":\n", 1) for one in OPTIONS.strip().split("\n\n"))
    assert options_of(name) == f"{name}:\n{expected[name]}"
