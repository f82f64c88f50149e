"""The front door: one command line, one module a command, nothing imported that is not needed."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_flowers
from keras_flowers.__main__ import COMMANDS, HELP, main
from keras_flowers.commands.completion import SHELLS, _parser, write_completion
from keras_flowers.errors import UserError
from keras_flowers.system import is_verbose

ROOT = Path(keras_flowers.__file__).parents[1]


def run(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `python -m keras_flowers` from the outside, or `code`."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "keras_flowers"]), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_main_and_a_parser_of_its_own_name(name: str) -> None:
    module = importlib.import_module(f"keras_flowers.commands.{name}")
    assert callable(module.main)
    assert module.parser().prog == f"keras-flowers {name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_half_of_an_option(name: str) -> None:
    # A script with --dat would change its meaning with the next option that begins so.
    assert not importlib.import_module(f"keras_flowers.commands.{name}").parser().allow_abbrev


@pytest.mark.parametrize("name", COMMANDS)
def test_what_stands_for_a_value_is_in_capitals(name: str) -> None:
    parser = importlib.import_module(f"keras_flowers.commands.{name}").parser()
    for action in parser._actions:
        names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar,)
        for one in filter(None, names):
            assert re.fullmatch(r"[A-Z][A-Z/:=_.]*|ray", one), action.option_strings


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_what_the_library_says(name: str) -> None:
    # What the library logs is seen nowhere otherwise: not a word of a download, of photos left out.
    module = importlib.import_module(f"keras_flowers.commands.{name}")
    assert "show_messages()" in inspect.getsource(module.main)


@pytest.mark.parametrize("name", ["train", "evaluate", "export", "verify"])
def test_commands_that_use_tensorflow_tell_all_when_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = importlib.import_module(f"keras_flowers.commands.{name}").parser()
    parser.parse_args(["--verbose"] + ["run"] * (name != "train"))
    assert is_verbose()
    assert "also show what TensorFlow reports" in parser.format_help()


def test_every_command_module_has_a_row() -> None:
    shared = {"__init__", "exit", "messages", "completion", "rows", "sources", "parts"}
    files = {path.stem for path in (ROOT / "keras_flowers" / "commands").glob("*.py")}
    assert files - shared == set(COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_is_one_screen_that_says_where_to_start(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out == HELP
    assert HELP.count("\n") <= 20
    assert "Start with: keras-flowers predict PHOTO" in HELP
    assert all(f"\n  {name} " in HELP for name in COMMANDS)


def test_version_is_the_package_s() -> None:
    process = run("--version")
    assert (process.returncode, process.stdout) == (
        0,
        f"keras_flowers {keras_flowers.__version__}\n",
    )


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("predcit", "did you mean predict?"),
        ("holiday/a.jpg", "to name a photo: keras-flowers predict holiday/a.jpg"),
    ],
)
def test_unknown_command_is_one_line_with_the_nearest(argument: str, advice: str) -> None:
    process = run(argument)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(
        f"error: {argument} is not a command; expected one of predict,"
    )
    assert process.stderr.endswith(f"{advice}\n")
    assert process.stderr.count("\n") == 1


def test_arguments_and_exit_code_are_the_command_s() -> None:
    process = run("predict", "there_is_no_photo.jpg")
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert "there_is_no_photo.jpg" in process.stderr


def test_naming_a_photo_imports_no_other_command() -> None:
    code = (
        "import sys; from keras_flowers.__main__ import main\n"
        "assert main(['predict', sys.argv[1], '--no_chart']) == 0\n"
        "print(sorted(one for one in sys.modules if one.startswith('keras_flowers.')))"
    )
    process = run(str(ROOT / "docs" / "sunflower.jpg"), code=code)
    process.check_returncode()
    loaded = set(eval(process.stdout.splitlines()[-1]))
    others = {f"keras_flowers.commands.{name}" for name in (*COMMANDS, "completion")}
    assert loaded & others == {"keras_flowers.commands.predict"}
    assert not any(one.startswith("keras_flowers.training") for one in loaded)


def test_command_s_own_word_is_said_after_ctrl_c() -> None:
    code = (
        "import sys, types; sys.argv[1:] = ['train']\n"
        "def interrupt(argv): raise KeyboardInterrupt\n"
        "sys.modules['keras_flowers.commands.train'] = types.SimpleNamespace(\n"
        "    main=interrupt, STOPPED='stopped; two epochs are kept')\n"
        "from keras_flowers.__main__ import run; run()"
    )
    process = run(code=code)
    assert process.returncode == 130
    assert process.stderr.strip() == "stopped; two epochs are kept"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_a_script_with_all_commands(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab")
    write_completion([shell], COMMANDS)
    script = capsys.readouterr().out
    assert all(name in script for name in (*COMMANDS, "no_chart", "learning_rate"))


def test_completion_offers_files_only_where_a_file_may_stand() -> None:
    shtab = pytest.importorskip("shtab")
    parser = _parser(COMMANDS)
    (commands,) = (one.choices for one in parser._actions if one.dest == "==SUPPRESS==")
    assert isinstance(commands, dict)
    files = {
        name: {one.dest for one in command._actions if getattr(one, "complete", 0) == shtab.FILE}
        for name, command in commands.items()
    }
    assert {"photos", "model", "output"} <= files["predict"]
    assert not {"format", "top_k", "no_chart", "help"} & files["predict"]  # names, a number
    assert "formats" not in files["export"]
    assert not {"epochs", "learning_rate", "verbose"} & files["train"]


def test_completion_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(UserError, match="pip install shtab"):
        main(["--completion", "bash"])


@pytest.mark.parametrize("arguments", [[], ["fish"], ["bash", "zsh"]])
def test_completion_of_another_shell_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="expected one of bash, zsh, tcsh"):
        main(["--completion", *arguments])
