"""Runs a TFLite model through LiteRT on all cores."""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.system import available_cores, standard_error_held_back

MAX_SIDE = 4096
"""Larger inputs, in pixels, are refused: no photo is read for them."""

LOAD_SECONDS = 8
"""A model that takes longer to load is damaged: one of 250 MB takes a fraction of a second."""

RUN_SECONDS = 60
"""A model that takes longer for a picture is damaged, or meant for another machine."""

MAX_MEMORY = 4 << 30
"""Bytes that a model may ask for; the largest base needs an eighth of it."""


class LiteRTModel:
    """A TFLite model as a function from a batch of pixels to its outputs.

    With `workers` interpreters of one thread each, the photos of a batch are spread over the
    cores. That is faster than one interpreter with as many threads, which waits at the end of
    every layer; but a single photo is answered sooner by the latter: `workers=1` makes that.

    Args:
        content: The bytes of a `.tflite` file. It must have one input [1, H, W, 3].
        workers: How many interpreters run at a time; 1 gives all cores to one interpreter.

    Raises:
        UserError: LiteRT cannot load `content`, or its input is no single picture.
    """

    def __init__(self, content: bytes, *, workers: int = 1) -> None:
        threads = available_cores() if workers == 1 else 1
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(_interpreter(content, threads))
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        interpreter = self._idle.get()
        (self._input,) = interpreter.get_input_details()
        # Outputs come in no promised order; their names end in ":0", ":1", ... when converted
        # from a signature, and the signature's order is the one callers know.
        self._outputs = sorted(interpreter.get_output_details(), key=lambda output: output["name"])
        self._idle.put(interpreter)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        _, height, width, _ = self._input["shape"]
        return int(height), int(width)

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each output, without the batch dimension."""
        return [tuple(int(n) for n in output["shape"][1:]) for output in self._outputs]

    def __call__(self, pixels: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        """Runs a batch.

        Args:
            pixels: uint8 or float32 [N, H, W, 3], values 0..255. A quantised model gets uint8.

        Returns:
            One float32 array [N, ...] for each output, dequantised where it is quantised.
        """
        outputs = [np.empty((len(pixels), *shape), np.float32) for shape in self.output_shapes]
        photos = iter(enumerate(pixels))
        if self._pool is None:
            self._run(photos, outputs)
        else:
            # Whoever is done takes the next photo; Python's lock hands each out once. One task each
            # would cost 4 % of the time of a small network.
            list(self._pool.map(lambda _: self._run(photos, outputs), range(self._workers)))
        return outputs

    def _run(
        self,
        photos: Iterator[tuple[int, npt.NDArray[Any]]],
        outputs: list[npt.NDArray[np.float32]],
    ) -> None:
        """Runs what is left of `photos` through an idle interpreter, into the rows of `outputs`."""
        interpreter = self._idle.get()
        try:
            for row, pixels in photos:
                # Each by itself: all at once, they would have gone through memory once more.
                pixels = _as_type(pixels, self._input["dtype"])
                interpreter.set_tensor(self._input["index"], pixels[None])
                interpreter.invoke()
                for output, values in zip(self._outputs, outputs, strict=True):
                    given = interpreter.get_tensor(output["index"])[0]
                    values[row] = _dequantised(given, output["quantization"])
        except (RuntimeError, ValueError) as error:
            raise UserError(f"LiteRT cannot run this TFLite model ({reason_of(error)})") from None
        finally:
            self._idle.put(interpreter)


def probe_in_subprocess(content: bytes, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Loads a model and runs it once in a process of its own, so that only that one dies of it.

    LiteRT checks the form of a file, but not all that it says: some damaged files crash it, hang it
    or have it take all memory. Where the system cannot fork (Windows) nothing is done.

    Args:
        content: The bytes of a `.tflite` file from anywhere.
        meanwhile: What to do in this process until the other is done.

    Raises:
        UserError: LiteRT crashes, or cannot load or run the model.
    """
    if not hasattr(os, "fork"):
        meanwhile()
        return
    import ai_edge_litert.interpreter  # noqa: F401  # here, so that it is not imported twice

    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        _probe_and_exit(content, writing)
    os.close(writing)
    try:
        meanwhile()
    finally:
        with open(reading, encoding="utf-8") as pipe:
            refusal = pipe.read()
        _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        fault = f"crashes LiteRT ({signal.Signals(number).name})"
        if number == signal.SIGALRM:
            fault = "takes too long"
        raise UserError(f"this TFLite model {fault}; it is damaged: export it again")
    if refusal:
        raise UserError(refusal)


def _probe_and_exit(content: bytes, writing: int) -> NoReturn:
    import resource

    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LOAD_SECONDS)
        model = LiteRTModel(content)
        signal.alarm(RUN_SECONDS)
        # Its own bytes as a noisy picture: to import numpy.random takes longer than all else.
        model(np.resize(np.frombuffer(content, np.uint8), (1, *model.image_size, 3)))
    except UserError as error:
        os.write(writing, str(error).encode())
    except MemoryError:
        os.write(writing, b"this TFLite model does not fit into memory; it is damaged")
    finally:
        os._exit(0)


def _interpreter(content: bytes, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with standard_error_held_back(_is_no_info):
            interpreter = Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        tensors = interpreter.get_tensor_details()
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UserError(
            f"LiteRT cannot load this TFLite model ({reason_of(error)}); export it again"
        ) from None
    shapes = [[int(n) for n in one["shape"]] for one in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or (shapes[0][0], shapes[0][3]) != (1, 3):
        raise UserError(f"expected a TFLite model with one input [1, H, W, 3], got {shapes}")
    if not all(0 < side <= MAX_SIDE for side in shapes[0][1:3]):
        raise UserError(f"expected a TFLite model of up to {MAX_SIDE} pixels, got {shapes}")
    dtype = np.dtype(inputs[0]["dtype"])
    if dtype not in (np.uint8, np.float32):
        raise UserError(f"expected a TFLite model of uint8 or float32 pixels, got {dtype}")
    if any(not np.issubdtype(one["dtype"], np.number) for one in outputs):
        raise UserError("expected a TFLite model that gives numbers, got text")
    if any(tensor["dtype"] is np.object_ for tensor in tensors):
        # A converter that is given a function and the model it belongs to makes such files; they
        # run, on whatever is in memory.
        raise UserError(
            "the weights are not inside this TFLite model; convert it again, as in "
            "tools/export_tflite.py"
        )
    return interpreter


def _is_no_info(line: bytes) -> bool:
    # LiteRT has no switch for these: every loaded model is a line "INFO: Created TensorFlow Lite
    # XNNPACK delegate for CPU.". Its warnings and errors stay.
    return not line.startswith(b"INFO:")


def _as_type(pixels: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    if dtype == np.uint8 and pixels.dtype != np.uint8:
        pixels = np.rint(pixels)
    return pixels.astype(dtype, copy=False)


def _dequantised(
    values: npt.NDArray[Any], quantization: tuple[float, int]
) -> npt.NDArray[np.float32]:
    scale, zero_point = quantization
    if not scale:
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float32) - zero_point) * np.float32(scale), np.float32)
