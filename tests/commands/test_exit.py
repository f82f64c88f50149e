"""Every command ends in a result or in one line on standard error."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from keras_flowers.commands.exit import (
    EXIT_BAD_INPUT,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    exit_with,
)
from keras_flowers.commands.messages import show_messages
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
        (missing_extra("tensorflow", "train"), 'pip install ".[train]"'),
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


def test_what_is_said_after_an_interrupt_may_be_found_out_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[str] = []

    def main() -> int:
        kept.append("two epochs")
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        exit_with(main, stopped=lambda: f"stopped; {kept[0]} are kept")
    assert capsys.readouterr().err.strip() == "stopped; two epochs are kept"


def test_interrupt_is_one_line_and_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(raiser(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip() == "stopped"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal's programs get it; some CI runners and `nohup ... &` ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_in_a_library_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise UserError("the library cannot be loaded (initialization failed)")

    assert run(main, stopped="stopped; nothing is lost") == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "stopped; nothing is lost"


@pytest.mark.usefixtures("interruptible")
def test_interrupt_that_a_library_prints_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def print_as_libraries_do() -> None:
        sys.excepthook(*sys.exc_info())  # as PyErr_Print calls it

    def main() -> int:
        try:
            raise ValueError("of the library itself")
        except ValueError:
            print_as_libraries_do()
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print_as_libraries_do()
        raise SystemError("returned NULL without setting an exception")

    hooks = sys.excepthook, sys.unraisablehook
    assert run(main) == EXIT_INTERRUPTED
    printed = capsys.readouterr().err
    assert printed.strip().splitlines()[-2:] == ["", "stopped"]
    assert "ValueError: of the library itself" in printed
    assert "Interrupt" not in printed
    assert (sys.excepthook, sys.unraisablehook) == hooks


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("interruptible")
def test_interrupted_work_that_cannot_be_cleared_away_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class HalfMade:
        def __init__(self) -> None:
            signal.raise_signal(signal.SIGINT)
            self.graph = "a graph"

        def __del__(self) -> None:
            del self.graph

    assert run(lambda: bool(HalfMade())) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "stopped"


@pytest.mark.usefixtures("interruptible")
def test_interrupt_while_an_object_is_cleared_away_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Pressed:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def main() -> int:
        Pressed()
        time.sleep(20)  # ended by what comes again
        return 0

    assert run(main) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "stopped"


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


CLOSED = """
import os, sys
from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.progress import progress_bar
from keras_flowers.system import standard_error_held_back
import logging
def main():
    show_messages()
    with standard_error_held_back(), progress_bar(total=1, unit="photo", description="x") as bar:
        bar.update()
    logging.getLogger("keras_flowers.x").info("said")
    logging.getLogger("keras_flowers.x").warning("warned")
    with open(sys.argv[1], "w") as file:
        assert file.fileno() > 2
        os.write(2, b"from C")
        print("answer", file=file)
    return 0
exit_with(main)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_command_without_standard_streams_does_its_work(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "answer"
    words = shlex.join([sys.executable, "-c", CLOSED, str(file)])
    process = subprocess.run(["sh", "-c", f"{words} {closed}"], capture_output=True, text=True)
    assert process.returncode == 0
    assert file.read_text() == "answer\n"
    assert process.stdout == ("" if ">&-" in closed.split() else "said\n")
    assert "Traceback" not in process.stderr
    assert ("warned" in process.stderr) == ("2>&-" not in closed)


WITHOUT_STREAMS = """
import os, sys
sys.stdin = sys.stdout = sys.stderr = None
for number in range(3) if sys.argv[1] == "closed" else ():
    os.close(number)
from keras_flowers.commands.messages import show_messages
from keras_flowers.progress import progress_bar
from keras_flowers.system import standard_error_held_back
import logging
show_messages()
with standard_error_held_back(), progress_bar(total=1, unit="photo", description="x") as bar:
    bar.update()
logging.getLogger("keras_flowers.x").info("said")
logging.getLogger("keras_flowers.x").warning("warned")
os._exit(0 if bar.n == 0 else 3)
"""


@pytest.mark.parametrize("descriptors", ["open", "closed"])
def test_library_without_standard_streams_does_its_work(descriptors: str) -> None:
    command = [sys.executable, "-c", WITHOUT_STREAMS, descriptors]
    process = subprocess.run(command, capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_messages_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_messages()
    show_messages()
    logger = logging.getLogger("keras_flowers.test")
    logger.info("two\nlines of \x1b[31m")
    logger.warning("left out: \x07.jpg")
    logger.debug("of no interest")
    output = capsys.readouterr()
    assert output.out == "two\nlines of \\x1b[31m\n"
    assert output.err == "left out: \\x07.jpg\n"


SPEAKING = """
import argparse, logging, os, sys
from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.system import standard_error_held_back
parser = argparse.ArgumentParser()
add_verbose(parser)
show_messages()
assert vars(parser.parse_args()) == {}
show_messages()
with standard_error_held_back():
    os.write(2, b"from C\\n")
logging.getLogger("tensorflow").warning("retracing")
"""


@pytest.mark.parametrize(("options", "said"), [([], False), (["--verbose"], True)])
def test_libraries_speak_only_when_asked_to(options: list[str], said: bool) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    process = subprocess.run(
        [sys.executable, "-c", SPEAKING, *options],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert process.stdout == ""
    assert process.stderr == ("from C\nretracing\n" if said else "")
