"""Runs a TFLite model through LiteRT on all cores."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.metadata import MAX_SIDE
from keras_flowers.inference.scaling import Scaling
from keras_flowers.system import available_cores, standard_error_held_back

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

LOAD_SECONDS = 8
"""A model that takes longer to load is damaged: one of 250 MB takes a fraction of a second."""

RUN_SECONDS = 60
"""A model that takes longer for a picture is damaged, or meant for another machine."""

VERSION_FOR_ARM = "2.1.3"
"""The newest LiteRT whose answers were right on 64-bit Arm, under emulation: 2.1.6 gives other
answers for int8 models, and 2.2.0 and 2.3.0 crash. setup.cfg installs none newer there."""

MAX_MEMORY = 4 << 30
"""Bytes that a model may ask for, above those in use; the largest base needs an eighth of it."""


class LiteRTModel:
    """A TFLite model as a function from a batch of pixels to its outputs.

    With `workers` interpreters of one thread each, the photos of a batch are spread over the
    cores. That is faster than one interpreter with as many threads, which waits at the end of
    every layer; but a single photo is answered sooner by the latter: `workers=1` makes that.

    It works on in a process that was forked from this one: there it loads the model anew.

    Args:
        content: The bytes of a `.tflite` file. It must have one input [1, H, W, 3].
        workers: How many interpreters run at a time.
        threads: How many threads each of them has; None gives all cores to a single one, and one
            thread each to several.

    Attributes:
        scaling: What becomes of pixels first; None gives them as they are, to an int8 input less
            128.

    Raises:
        UserError: LiteRT cannot load `content`, or its input is no single picture.
    """

    def __init__(self, content: bytes, *, workers: int = 1, threads: int | None = None) -> None:
        if threads is None:
            threads = available_cores() if workers == 1 else 1
        self.scaling: Scaling | None = None
        self._options = (content, workers, threads)
        self._crew = _Crew(*self._options)
        interpreter = self._crew.idle.get()
        (self._input,) = interpreter.get_input_details()
        # Outputs come in no promised order; their names end in ":0", ":1", ... when converted
        # from a signature, and the signature's order is the one callers know.
        self._outputs = sorted(interpreter.get_output_details(), key=lambda output: output["name"])
        self._crew.idle.put(interpreter)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        _, height, width, _ = self._input["shape"]
        return int(height), int(width)

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each output, without the batch dimension."""
        return [tuple(int(n) for n in output["shape"][1:]) for output in self._outputs]

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """float32, uint8 or int8."""
        dtype: np.dtype[Any] = np.dtype(self._input["dtype"])
        return dtype

    @property
    def input_range(self) -> tuple[float, float]:
        """The smallest and the largest number that an input of whole numbers stands for."""
        scale, zero_point = self._input["quantization"]
        limits = np.iinfo(self.input_dtype)
        return (limits.min - zero_point) * scale, (limits.max - zero_point) * scale

    def __call__(self, pixels: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        """Runs a batch.

        Args:
            pixels: uint8 or float32 [N, H, W, 3], values 0..255.

        Returns:
            One float32 array [N, ...] for each output, dequantised where it is quantised.
        """
        outputs = [np.empty((len(pixels), *shape), np.float32) for shape in self.output_shapes]
        photos = iter(enumerate(pixels))
        crew = self._crew
        if crew.process != os.getpid():  # forked: its threads, and LiteRT's, are not here
            crew = self._crew = _Crew(*self._options)
        if crew.pool is None:
            self._run(crew, photos, outputs)
        else:
            # Whoever is done takes the next photo; Python's lock hands each out once. One task each
            # would cost 4 % of the time of a small network.
            tasks = range(crew.workers)
            list(crew.pool.map(lambda _: self._run(crew, photos, outputs), tasks))
        return outputs

    def _run(
        self,
        crew: _Crew,
        photos: Iterator[tuple[int, npt.NDArray[Any]]],
        outputs: list[npt.NDArray[np.float32]],
    ) -> None:
        """Runs what is left of `photos` through an idle interpreter, into the rows of `outputs`."""
        interpreter = crew.idle.get()
        try:
            for row, pixels in photos:
                # Each by itself: all at once, they would have gone through memory once more.
                numbers = self._as_input(pixels)
                interpreter.set_tensor(self._input["index"], numbers[None])
                interpreter.invoke()
                for output, values in zip(self._outputs, outputs, strict=True):
                    given = interpreter.get_tensor(output["index"])[0]
                    values[row] = _dequantised(given, output["quantization"])
        except (RuntimeError, ValueError) as error:
            raise UserError(f"LiteRT cannot run this TFLite model ({reason_of(error)})") from None
        finally:
            crew.idle.put(interpreter)

    def _as_input(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        dtype = self.input_dtype
        if self.scaling is None:
            return _as_type(pixels, dtype)
        numbers = self.scaling(pixels)
        if dtype == np.float32:
            return numbers
        scale, zero_point = self._input["quantization"]
        limits = np.iinfo(dtype)
        quantised = np.rint(numbers / np.float32(scale or 1)) + zero_point
        return np.asarray(np.clip(quantised, limits.min, limits.max), dtype)


class _Crew:
    """The interpreters of one process, and the threads that run them."""

    def __init__(self, content: bytes, workers: int, threads: int) -> None:
        self.process = os.getpid()
        self.workers = workers
        self.idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(workers):
            self.idle.put(_interpreter(content, threads))
        self.pool: ThreadPoolExecutor | None = None
        if workers > 1:
            # Here, since a single photo needs no threads.
            from concurrent.futures import ThreadPoolExecutor

            self.pool = ThreadPoolExecutor(workers)

    def __del__(self) -> None:
        if os.getpid() != self.process:
            # To free an interpreter waits for its threads to end, which do not exist here: one more
            # reference, which nobody gives back.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.idle))


@contextmanager
def probe_in_subprocess(content: bytes) -> Iterator[None]:
    """Loads a model and runs it once in a process of its own, so that only that one dies of it.

    LiteRT checks the form of a file, but not all that it says: some damaged files crash it, hang it
    or have it take all memory. The body of the `with` statement runs at the same time. Where the
    system cannot fork (Windows) nothing else is done.

    Args:
        content: The bytes of a `.tflite` file from anywhere.

    Raises:
        UserError: At the end: LiteRT crashes, or cannot load or run the model.
    """
    if not hasattr(os, "fork"):
        yield
        return
    import ai_edge_litert.interpreter  # noqa: F401  # here, so that it is not imported twice

    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        _probe_and_exit(content, writing)
    os.close(writing)
    try:
        yield
    finally:
        with open(reading, encoding="utf-8") as pipe:
            refusal = pipe.read()
        _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        fault = f"crashes LiteRT ({signal.Signals(number).name})"
        if number == signal.SIGALRM:
            fault = "takes too long"
        raise UserError(f"this TFLite model {fault}; {_advice(os.uname().machine)}")
    if refusal:
        raise UserError(refusal)


def may_crash_with_every_model() -> bool:
    """Whether this is a machine on which some versions of LiteRT crash with every model.

    2.2.0 and 2.3.0 do on emulated 64-bit Arm (qemu 7.2). Nobody has looked on a real board.
    """
    return hasattr(os, "uname") and os.uname().machine == "aarch64"


def _advice(machine: str) -> str:
    """What to do about a model that crashes LiteRT.

    >>> _advice("x86_64")
    'it is damaged: export it again'
    """
    if machine != "aarch64":
        return "it is damaged: export it again"
    from importlib import metadata

    return (
        f"it is damaged, or LiteRT {metadata.version('ai-edge-litert')} does not run on this "
        f'machine: pip install "ai-edge-litert=={VERSION_FOR_ARM}"'
    )


def _probe_and_exit(content: bytes, writing: int) -> NoReturn:
    import resource

    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _data_in_use() + MAX_MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
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


def _data_in_use() -> int:
    """The bytes that this process has for data already, which a fork has taken over."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # another system
        return 0


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
    if dtype not in (np.uint8, np.int8, np.float32):
        raise UserError(f"expected a TFLite model of uint8, int8 or float32 pixels, got {dtype}")
    if any(not np.issubdtype(one["dtype"], np.number) for one in outputs):
        raise UserError("expected a TFLite model that gives numbers, got text")
    if any(tensor["dtype"] is np.object_ for tensor in tensors):
        # A converter that is given a function and the model it belongs to makes such files; they
        # run, on whatever is in memory.
        raise UserError(
            "the weights are not inside this TFLite model; convert it again, with the signature "
            "of a SavedModel"
        )
    return interpreter


def _is_no_info(line: bytes) -> bool:
    # LiteRT has no switch for these: every loaded model is a line "INFO: Created TensorFlow Lite
    # XNNPACK delegate for CPU.". Its warnings and errors stay.
    return not line.startswith(b"INFO:")


def _as_type(pixels: npt.NDArray[Any], dtype: Any) -> npt.NDArray[Any]:
    if dtype != np.float32 and pixels.dtype != np.uint8:
        pixels = np.rint(pixels)
    if dtype == np.int8:
        pixels = pixels.astype(np.int16) - 128
    return pixels.astype(dtype, copy=False)


def _dequantised(
    values: npt.NDArray[Any], quantization: tuple[float, int]
) -> npt.NDArray[np.float32]:
    scale, zero_point = quantization
    if not scale:
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float32) - zero_point) * np.float32(scale), np.float32)
