"""The machine and the process: cores, standard streams, TensorFlow imported without its chatter."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from keras_flowers.errors import UserError, missing_extra, reason_of

if TYPE_CHECKING:
    import keras


def available_cores() -> int:
    """The cores this process may use (a container often has fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_verbose() -> bool:
    """Whether TensorFlow may report what it does: TensorFlow's own variable says so."""
    return os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras, silently, so that later imports of them cost nothing.

    TensorFlow 2.21 writes ten lines about CPU instructions and missing GPUs to standard error at
    every start; half of them come before any setting could stop them.

    Keras is set to what this package needs, for the process: `keras.json`, `$KERAS_BACKEND`,
    `$KERAS_MAX_EPOCHS` and the like are made for the user's other work, and may ask for another
    backend, 16-bit or 64-bit numbers, channels before pixels, or a single epoch.

    Raises:
        UserError: They are not installed, or the program runs Keras on another backend already.
    """
    if not sys.modules.get("keras"):
        os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        if not (sys.modules.get("tensorflow") and sys.modules.get("keras")):
            _import_silently()
        import keras
    except ImportError as error:
        raise missing_extra((error.name or "tensorflow").split(".")[0], "train") from None
    if keras.config.backend() != "tensorflow":
        raise UserError(
            f"this program has imported Keras with the backend {keras.config.backend()}; expected "
            "tensorflow: set KERAS_BACKEND=tensorflow before, or start a process of its own"
        )
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def _import_silently() -> None:
    # Errors too: those that matter are exceptions as well, those that do not puzzle people.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with standard_error_held_back():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for GPUs once, and reports on the way


def load_keras(path: Path) -> keras.Model:
    """Loads a `.keras` file without running code that it may bring.

    Raises:
        UserError: TensorFlow is not installed, or Keras cannot load the file.
    """
    import_tensorflow()
    import keras

    try:
        # Safe mode (the default) refuses Lambda layers: a stranger's file runs none of their code.
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise UserError(f"Keras cannot load {path} ({reason_of(error)})") from None


@contextlib.contextmanager
def standard_error_held_back(
    passed_on: Callable[[bytes], bool] = lambda line: False,
) -> Iterator[None]:
    """Holds back what is written to standard error meanwhile, from C++ as well as from Python.

    With `--verbose` nothing is held back.

    Args:
        passed_on: Which of the lines, as bytes, are written after all, at the end.
    """
    if is_verbose():
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # closed: there is nothing to hold back
        yield
        return
    with _file_in_memory() as held:
        # At the level of the file descriptor: C++ does not write through sys.stderr.
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if passed_on(line):
                    os.write(2, line)


def _file_in_memory() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("standard error"), "w+b")
    # Imported only where it is needed: that takes 10 ms, and a photo is named in 400.
    import tempfile

    return tempfile.TemporaryFile()


def open_standard_streams() -> None:
    """Opens the standard streams that the process was started without, so that they lead nowhere.

    Without them `print` fails or says nothing, and the first files that the process opens take
    their numbers: what a library in C writes to standard error would go into a photo.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
