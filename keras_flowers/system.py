"""Imports TensorFlow and Keras without their start-up chatter, or says how to install them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from keras_flowers.errors import missing_extra


def import_tensorflow() -> None:
    """Imports TensorFlow and Keras, silently, so that later imports of them cost nothing.

    TensorFlow 2.21 writes ten lines about CPU instructions and missing GPUs to standard error at
    every start; half of them come before any setting could stop them.

    Raises:
        UserError: They are not installed.
    """
    if "tensorflow" in sys.modules:
        return
    # Errors too: those that matter are exceptions as well, those that do not puzzle people.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with standard_error_closed():
            import keras  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs once, and reports on the way
    except ImportError as error:
        raise missing_extra(error.name or "tensorflow", "train") from None


@contextlib.contextmanager
def standard_error_closed() -> Iterator[None]:
    """Discards what is written to standard error meanwhile."""
    # At the level of the file descriptor: the lines come from C++, not through sys.stderr.
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
