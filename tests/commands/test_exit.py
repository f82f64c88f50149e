"""Every command ends in a result or in one line on standard error."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from keras_flowers.commands.exit import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    exit_with,
)
from keras_flowers.errors import UserError, missing_extra


def run(main: Callable[[], int], **options: str) -> int:
    with pytest.raises(SystemExit) as caught:
        exit_with(main, **options)
    code = caught.value.code
    assert isinstance(code, int)
    return code


def raiser(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize("code", [0, EXIT_SOME_FAILED, EXIT_BAD_INPUT])
def test_exit_code_is_what_main_returns(code: int) -> None:
    assert run(lambda: code) == code


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such flower;\nname another"), "error: no such flower; name another"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.jpg"),
            "error: No such file or directory: a.jpg",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device"),
        (UserError("the file \x1b[31m\x07"), r"error: the file \x1b[31m\x07"),
        (missing_extra("tensorflow", "train"), 'pip install "keras_flowers[train]"'),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raiser(error)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert line in output.err
    assert output.err.count("\n") == 1


def test_interrupt_is_one_line_and_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raiser(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip() == "stopped"


def test_interrupt_in_a_library_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise UserError("the library cannot be loaded (initialization failed)")

    assert run(main, stopped="stopped; nothing is lost") == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "stopped; nothing is lost"


def test_interrupt_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(lambda: signal.raise_signal(signal.SIGINT) or 0) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_with(raiser(ZeroDivisionError()))


PRINTING = """
from keras_flowers.commands.exit import exit_with
def main():
    for number in range(100_000):
        print(number)
    return 0
exit_with(main)
"""


def test_reader_that_leaves_early_gets_no_complaint() -> None:
    command = [sys.executable, "-c", PRINTING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == EXIT_SOME_FAILED


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-c", PRINTING], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert process.stderr == "error: No space left on device\n"
    assert process.returncode == EXIT_BAD_INPUT
