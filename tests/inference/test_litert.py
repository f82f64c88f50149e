"""How LiteRT is run: its limits, what it refuses, and what becomes of its numbers."""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOUR_IMAGE_SIZE, COLOURS

from keras_flowers.errors import UserError
from keras_flowers.inference import litert, models
from keras_flowers.inference.classifier import load_classifier
from keras_flowers.inference.litert import LiteRTModel
from keras_flowers.inference.metadata import Metadata, add_to_archive


def converted(function: Any, *shape: int) -> bytes:
    """A TFLite model of a function of float32 pixels."""
    tf = pytest.importorskip("tensorflow")
    concrete = tf.function(function, input_signature=[tf.TensorSpec(shape, "float32")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete.get_concrete_function()])
    return bytes(converter.convert())


def test_limits_are_those_that_are_promised() -> None:
    assert (litert.LOAD_SECONDS, litert.RUN_SECONDS) == (8, 60)
    assert litert.MAX_MEMORY == 4 << 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="models are rehearsed in a fork")
def test_what_the_process_holds_already_is_not_the_model_s(
    colour_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a notebook or a training: the fork that rehearses the model has all of it, too.
    used = litert._data_in_use()
    assert used > 1 << 20 or sys.platform != "linux"
    held = np.zeros(3 << 30, np.uint8)  # promised, not touched
    if used:
        assert (2 << 30) < litert._data_in_use() - used < (4 << 30)
    monkeypatch.setattr(litert, "MAX_MEMORY", 1 << 30)

    def take_half(*_: Any, **__: Any) -> None:
        raise UserError(f"{len(bytes(1 << 29))} bytes were to be had")

    monkeypatch.setattr(LiteRTModel, "__init__", take_half)
    with pytest.raises(UserError, match="536870912 bytes were to be had"):
        load_classifier(colour_model)
    del held


def test_memory_in_use_is_unknown_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", refuse)
    assert litert._data_in_use() == 0


@pytest.mark.parametrize("error", [RuntimeError("tensor 7 is\nodd"), ValueError("tensor 7 is")])
def test_failure_while_running_is_one_line_and_the_model_stays_usable(
    colour_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model = LiteRTModel(colour_model.read_bytes())
    pixels = np.zeros((1, *COLOUR_IMAGE_SIZE, 3), np.uint8)

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as context:
        context.setattr(litert, "_dequantised", fail)
        with pytest.raises(UserError, match=r"LiteRT cannot run this TFLite model \(tensor 7 is"):
            model(pixels)
    assert np.asarray(model(pixels)).shape == (1, 1, 3)


def test_system_that_cannot_fork_loads_models_all_the_same(
    colour_model: Path, colour_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork")
    assert load_classifier(colour_model).predict(colour_photos / "cyan.png").name == "cyan"
    with pytest.raises(UserError, match="LiteRT cannot load this TFLite model"):
        with litert.probe_in_subprocess(b""):
            pass
        LiteRTModel(b"TFL3" * 20)


def test_our_own_model_is_rehearsed_only_where_some_version_crashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rehearsed: list[bytes] = []
    probe = models.probe_in_subprocess

    def remember(content: bytes) -> Any:
        rehearsed.append(content)
        return probe(content)

    monkeypatch.setattr(models, "probe_in_subprocess", remember)
    load_classifier()
    assert rehearsed == []
    monkeypatch.setattr(os, "uname", lambda: type("Machine", (), {"machine": "aarch64"}))
    assert litert.may_crash_with_every_model()
    load_classifier()
    assert len(rehearsed) == 1
    monkeypatch.setattr(os, "uname", lambda: type("Machine", (), {"machine": "armv7l"}))
    assert not litert.may_crash_with_every_model()
    monkeypatch.delattr(os, "uname")
    assert not litert.may_crash_with_every_model()


def test_on_64_bit_arm_the_version_that_runs_is_named() -> None:
    assert litert._advice("aarch64") == (
        f"it is damaged, or LiteRT {metadata.version('ai-edge-litert')} does not run on this "
        'machine: pip install "ai-edge-litert==2.1.3"'
    )
    assert litert._advice("x86_64") == "it is damaged: export it again"


def test_model_of_too_many_pixels_is_refused() -> None:
    content = converted(lambda pixels: pixels[:, 0, :2, 0], 1, 8, 4097, 3)
    with pytest.raises(UserError, match=r"up to 4096 pixels, got \[\[1, 8, 4097, 3\]\]"):
        LiteRTModel(content)
    assert LiteRTModel(converted(lambda p: p[:, 0, :2, 0], 1, 8, 4096, 3)).image_size == (8, 4096)


def test_outputs_are_in_the_order_of_their_signature() -> None:
    content = converted(
        lambda pixels: {"b": pixels[:, 0, :2, 0], "a": pixels[:, 0, :3, 1]}, 1, 4, 5, 3
    )
    model = LiteRTModel(content)
    assert sorted(model.output_shapes) == [(2,), (3,)]
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)
    outputs = model(pixels)
    assert [one.shape[1:] for one in outputs] == model.output_shapes
    by_size = {one.shape[1]: one for one in outputs}
    np.testing.assert_array_equal(by_size[2], pixels[:, 0, :2, 0])
    np.testing.assert_array_equal(by_size[3], pixels[:, 0, :3, 1])


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda p: {"a": p[:, 0, :3, 0], "b": p[:, 0, :2, 0]}, r"\[\(3,\), \(2,\)\]"),
        (lambda p: p[:, :2, :3, 0], r"\[\(2, 3\)\]"),
    ],
)
def test_model_of_other_outputs_is_no_classifier(
    function: Any, shapes: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(converted(function, 1, *COLOUR_IMAGE_SIZE, 3))
    add_to_archive(path, Metadata(tuple(COLOURS), COLOUR_IMAGE_SIZE))
    with pytest.raises(UserError, match=f"not a classifier: its outputs have the shapes {shapes}"):
        load_classifier(path)


def test_floats_are_rounded_for_a_quantised_input_and_int8_is_shifted() -> None:
    pixels = np.array([[[0.4, 0.6, 254.6]]], np.float32)
    assert litert._as_type(pixels, np.uint8).tolist() == [[[0, 1, 255]]]
    assert litert._as_type(pixels, np.int8).tolist() == [[[-128, -127, 127]]]
    assert litert._as_type(pixels, np.float32).tolist() == pixels.tolist()
    whole = np.array([[[0, 127, 255]]], np.uint8)
    assert litert._as_type(whole, np.int8).tolist() == [[[-128, -1, 127]]]
    assert litert._as_type(whole, np.float32).dtype == np.float32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_model_that_hangs_is_given_up_where_the_program_has_an_alarm_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hangs:
        def __init__(self, content: bytes) -> None:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                time.sleep(0.05)

    monkeypatch.setattr(litert, "LiteRTModel", Hangs)
    monkeypatch.setattr(litert, "LOAD_SECONDS", 1)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        refused = pytest.raises(UserError, match="this TFLite model takes too long; it is dam")
        with refused, litert.probe_in_subprocess(b""):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("options", "threads"),
    [
        ({}, [6]),  # one photo is answered sooner by all cores
        ({"workers": 1, "threads": 2}, [2]),
        ({"workers": 3}, [1, 1, 1]),
        ({"workers": 2, "threads": 4}, [4, 4]),
    ],
)
def test_threads_are_all_cores_of_one_interpreter_or_one_each_of_several(
    options: dict[str, int],
    threads: list[int],
    colour_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    make = litert._interpreter

    def note(content: bytes, threads: int) -> Any:
        made.append(threads)
        return make(content, 1)

    monkeypatch.setattr(litert, "_interpreter", note)
    monkeypatch.setattr(litert, "available_cores", lambda: 6)
    LiteRTModel(colour_model.read_bytes(), **options)
    assert made == threads
