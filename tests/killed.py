"""Trains and exports in processes that are killed at random moments: python tests/killed.py FOLDER

TensorFlow is imported once; each training is a fork of this process, since importing it takes
longer than all else. Not a test itself: `test_killed.py` runs it and reads what it found.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

COMMAND = ["--demo", "--views", "2", "--epochs", "4"]
COMMAND += [f"--{split}_split={split}[:32]" for split in ("train", "validation", "test")]
CACHE, RUN = "cache", "run"
LONGEST_DELAY = 0.2
"""Seconds from the event that chooses the moment to the kill; most events are closer together."""


def start(folder: Path) -> tuple[int, int]:
    """Starts a training in `folder`.

    Returns:
        Its process, and a pipe on which it sends a byte whenever it touches a file.
    """
    events, sending = os.pipe()
    process = os.fork()
    if process:
        os.close(sending)
        return process, events
    from keras_flowers.commands import train
    from keras_flowers.commands.exit import exit_with
    from keras_flowers.export import verify
    from keras_flowers.training import fit

    try:
        # Under nohup, and in some CI runners, it is ignored: a Ctrl-C would then do nothing.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(events)
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        fit.SECONDS_BETWEEN_CHECKPOINTS = 0.0
        verify.verify_model = _verified

        def send(event: str, arguments: tuple[Any, ...]) -> None:
            del event
            if any(str(argument).startswith((CACHE, RUN)) for argument in arguments):
                os.write(sending, b".")

        sys.addaudithook(send)
        command = [*COMMAND, "--cache_dir", CACHE, "--output", RUN]
        exit_with(lambda: train.main(command), stopped=train.STOPPED)
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(70)


def _verified(*_: Any) -> None:
    """Ends the process in place of the verification, which writes nothing and takes seconds."""
    raise SystemExit(0)


def wait(
    process: int,
    events: int,
    number: int = signal.SIGKILL,
    kill_at: int | None = None,
    delay: float = 0.0,
) -> tuple[int, int]:
    """Waits for the end, or sends signal `number`, `delay` seconds after the event `kill_at`.

    Returns:
        How many events there were, and the exit code; that of a killed process is negative.
    """
    count = 0
    while received := os.read(events, 1 if kill_at else 1 << 16):
        count += len(received)
        if count == kill_at:
            time.sleep(delay)
            os.kill(process, number)
    os.close(events)
    return count, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def weights(folder: Path) -> bytes:
    """The file with all weights in the model of a finished run."""
    with zipfile.ZipFile(folder / RUN / "model.keras") as archive:
        return archive.read("model.weights.h5")


def files(folder: Path) -> list[str]:
    """What a run left in its directory and among the kept features."""
    return sorted(
        str(path.relative_to(folder))
        for part in (folder / RUN, folder / CACHE / "features")
        for path in part.rglob("*")
        if "tfevents" not in path.name  # named after the process
    )


def main(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kills as often as told, each time letting the same command go on; compares what ends.

    Returns:
        "killed": how often; "stopped": how often by Ctrl-C instead, with a line that says how to go
        on; "ended": how many commands came to their end; and of those, how many left the same
        "weights" and "files" as the one that nobody disturbed.
    """
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    straight = folder / "straight"
    events, code = wait(*start(straight))
    assert code == 0, (straight / "log").read_text()
    choose = random.Random(seed)
    found = {"killed": 0, "stopped": 0, "ended": 0, "weights": 0, "files": 0}
    code, left = -1, events
    # Each round kills, stops by Ctrl-C (every fourth) or comes to the end.
    for _ in range(3 * kills + 10):
        if found["killed"] == kills and code == 0:
            break
        # Ctrl-C now and then.
        number = signal.SIGINT if (found["killed"] + found["stopped"]) % 4 == 1 else signal.SIGKILL
        kill_at = choose.randint(1, left) if found["killed"] < kills else None
        delay = choose.choice([0.0, choose.uniform(0, LONGEST_DELAY)])
        interrupted = folder / str(found["ended"])
        touched, code = wait(*start(interrupted), number, kill_at, delay)
        # About what there is still to do: most moments are to lie before the end of a command, and
        # not all of them at its beginning.
        left -= touched
        if code == 0 or left < events // 4:
            left = events
        log = (interrupted / "log").read_text()
        print(f"event {kill_at} + {delay:.2f} s: code {code}", file=sys.stderr)
        if code == -signal.SIGKILL:
            found["killed"] += 1
        elif code == 128 + signal.SIGINT and "the same command goes on from there" in log:
            found["stopped"] += 1
        else:
            assert code == 0, log
            found["ended"] += 1
            found["weights"] += weights(interrupted) == weights(straight)
            found["files"] += files(interrupted) == files(straight)
        # Also where Ctrl-C met C code that prints errors by itself (TensorFlow's, Cython's), or the
        # clearing away of an object, which drops them.
        assert "Traceback" not in log and "Exception ignored" not in log, log
    else:
        raise AssertionError(f"after {3 * kills + 10} rounds: {found}")
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))))
