"""What a TFLite classifier has computed on the way from a photo to its logits.

A TFLite file gives its probabilities alone. When they are to be explained, the file is read, the
tensors that hold the maps and the features become outputs, too, and that model is loaded beside the
first. So nothing is larger or slower where no explanation is asked for, and files that were
exported before explanations were thought of can be explained.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.insides import Insides, Padding, Parts
from keras_flowers.inference.litert import LiteRTModel

_EMPTY = -1  # the place of an input that an operation is not given


class _NotUnderstoodError(Exception):
    """The graph is not built as ours are."""


@dataclass(frozen=True)
class _Pooling:
    """Where maps are pooled.

    Attributes:
        tensor: The number of the tensor [1, h, w, channels].
        padding: What of it are no places of the photo.
        weights: What the places count, [h, w, channels]; None where the tensor holds that already.
    """

    tensor: int
    padding: Padding
    weights: npt.NDArray[np.float32] | None


class _Layout(NamedTuple):
    """Where in a graph the parts are."""

    poolings: list[_Pooling]
    features: int
    at_rest: npt.NDArray[np.float32]
    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def insides_of_tflite(
    content: bytes, *, workers: int = 1, threads: int | None = None
) -> Insides | None:
    """What a TFLite model computes; None for one that is not built like ours.

    Args:
        content: The bytes of a `.tflite` file that LiteRT can load.
        workers: As for `LiteRTModel`, for the features of many photos.
        threads: As for `LiteRTModel`.
    """
    from ai_edge_litert import schema_py_generated as schema  # takes 0.2 s

    try:
        model = schema.ModelT.InitFromPackedBuf(content)
        layout = _Graph(schema, model).layout()
        tensors = [*(one.tensor for one in layout.poolings), layout.features]
        network = LiteRTModel(_with_outputs(model, tensors), threads=threads)
    except (_NotUnderstoodError, UserError):
        return None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error):
        return None  # a damaged one, which LiteRT takes all the same

    @functools.cache
    def trunk() -> LiteRTModel:
        # By itself: the maps of many photos would fill the memory.
        shortened = _with_outputs(model, [layout.features])
        return LiteRTModel(shortened, workers=workers, threads=threads)

    def features(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        (rows,) = trunk()(pixels)
        return rows.reshape(len(rows), -1)

    def parts(pixels: npt.NDArray[Any]) -> Parts:
        *maps, seen = network(pixels)
        weighted = [
            pooling.padding.cut_off(one[0] * (1 if pooling.weights is None else pooling.weights))
            for one, pooling in zip(maps, layout.poolings, strict=True)
        ]
        return Parts(weighted, seen.reshape(-1), *layout[2:])

    return Insides(parts, features, is_quantised=bool(layout.at_rest.any()))


def _with_outputs(model: Any, tensors: list[int]) -> bytes:
    """The model with these tensors, and no others, as its outputs, in this order."""
    import flatbuffers

    graph = model.subgraphs[0]
    graph.outputs = list(tensors)
    for place, number in enumerate(tensors):
        graph.tensors[number].name = f"part:{place:03}".encode()  # `LiteRTModel` sorts by name
    model.signatureDefs = []
    model.metadata = []
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Graph:
    """A TFLite graph that is read from its end."""

    def __init__(self, schema: Any, model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._types = {value: name for name, value in vars(schema.TensorType).items()}
        self._codes = {value: name for name, value in vars(schema.BuiltinOperator).items()}
        self._maker = {
            int(output): operator
            for operator in self._graph.operators
            for output in operator.outputs
        }

    def layout(self) -> _Layout:
        """Finds the parts.

        Raises:
            _NotUnderstoodError: The graph is not built like ours.
        """
        head = self._head()
        features, kernel, bias = (int(number) for number in head.inputs)
        matrix = self._constant(kernel)
        offset = np.zeros(len(matrix), np.float32) if bias == _EMPTY else self._constant(bias)
        pooled = self._pooled(features)
        several = self._kind(pooled) == "CONCATENATION"
        inputs = self._maker[pooled].inputs if several else [pooled]
        poolings = [self._pooling(int(one)) for one in inputs]
        channels = sum(self._shape(one.tensor)[-1] for one in poolings)
        if matrix.shape[1] != channels:
            raise _NotUnderstoodError
        at_rest = np.broadcast_to(self._at_rest(features, pooled), channels).astype(np.float32)
        return _Layout(poolings, features, at_rest, matrix.T, offset)

    def _head(self) -> Any:
        """The fully connected layer in front of the softmax."""
        for operator in reversed(self._graph.operators):
            if self._kind_of(operator) == "SOFTMAX":
                number = int(operator.inputs[0])
                if self._kind(number) == "FULLY_CONNECTED":
                    return self._maker[number]
        raise _NotUnderstoodError

    def _pooled(self, number: int) -> int:
        """The tensor of all pooled maps, from which the features are made one by one."""
        for _ in range(20):
            kind = self._kind(number)
            inputs = [int(one) for one in self._maker[number].inputs] if kind else []
            if kind == "CONCATENATION":
                return number
            if not kind or (kind == "MEAN" and _places(self._shape(inputs[0])) > 1):
                return number
            if kind == "DEPTHWISE_CONV_2D" and _places(self._shape(inputs[0])) > 1:
                return number
            number = next(one for one in inputs if one in self._maker)
        raise _NotUnderstoodError

    def _pooling(self, number: int) -> _Pooling:
        """How a tensor of pooled maps was made."""
        kind = self._kind(number)
        if kind == "MEAN":
            source = int(self._maker[number].inputs[0])
            if _places(self._shape(source)) > 1:
                maps = source
                if self._kind(source) == "MUL":  # by the weights of the places
                    maps = int(self._maker[source].inputs[0])
                return _Pooling(source, self._padding(maps), None)
        if kind == "DEPTHWISE_CONV_2D":  # as int8 models pool: down, then across
            middle, across, _ = (int(one) for one in self._maker[number].inputs)
            if self._kind(middle) == "DEPTHWISE_CONV_2D":
                source, down, _ = (int(one) for one in self._maker[middle].inputs)
                weights = self._constant(down)[0] * self._constant(across)[0]
                if weights.shape == self._shape(source)[1:]:
                    return _Pooling(source, self._padding(source), weights)
        raise _NotUnderstoodError

    def _padding(self, number: int) -> Padding:
        if self._kind(number) != "PAD":
            return Padding()
        (_, rows, columns, _) = self._constant(int(self._maker[number].inputs[1])).astype(int)
        return Padding(*rows.tolist(), *columns.tolist())

    def _at_rest(self, number: int, pooled: int) -> npt.NDArray[np.float32]:
        """The value of a tensor between pooled maps and features where the maps are 0."""
        if number == pooled:
            return np.zeros(1, np.float32)
        if number not in self._maker:
            return self._constant(number)
        operator = self._maker[number]
        kind = self._kind_of(operator)
        first, *others = (int(one) for one in operator.inputs)
        value = self._at_rest(first, pooled)
        if kind in ("QUANTIZE", "DEQUANTIZE", "RESHAPE", "MEAN"):
            return value
        if kind in _UNARY:
            return np.asarray(_UNARY[kind](value))
        if kind in _BINARY:
            return np.asarray(_BINARY[kind](value, self._at_rest(others[0], pooled)))
        if kind == "DEPTHWISE_CONV_2D":  # of one place
            kernel, bias = (self._constant(one) for one in others)
            return value * kernel.reshape(-1) + bias
        raise _NotUnderstoodError

    def _constant(self, number: int) -> npt.NDArray[np.float32]:
        """The values of a tensor that is the same for all photos."""
        maker = self._maker.get(number)
        if maker is not None:
            if self._kind_of(maker) != "DEQUANTIZE":
                raise _NotUnderstoodError
            return self._constant(int(maker.inputs[0]))
        tensor = self._graph.tensors[number]
        data = self._model.buffers[tensor.buffer].data
        if data is None:
            raise _NotUnderstoodError
        dtype = np.dtype(self._types[tensor.type].lower())
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype)
        values = values.reshape(self._shape(number)).astype(np.float32)
        quantization = tensor.quantization
        scale = getattr(quantization, "scale", None)
        if scale is None or not len(scale):
            return values
        shape = [1] * values.ndim
        if len(scale) > 1:
            shape[quantization.quantizedDimension] = len(scale)
        zero = np.asarray(quantization.zeroPoint, np.float32).reshape(shape)
        return np.asarray((values - zero) * np.asarray(scale, np.float32).reshape(shape))

    def _shape(self, number: int) -> tuple[int, ...]:
        shape = self._graph.tensors[number].shape
        return tuple(int(side) for side in shape) if shape is not None else ()

    def _kind(self, number: int) -> str:
        """What made a tensor; empty for inputs and constants."""
        return self._kind_of(self._maker[number]) if number in self._maker else ""

    def _kind_of(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        # Small numbers stand in the older field, too.
        return str(self._codes[max(code.builtinCode, code.deprecatedBuiltinCode)])


_UNARY: dict[str, Any] = {"ABS": np.abs, "SQRT": np.sqrt, "SIGN": np.sign}
_BINARY: dict[str, Any] = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}


def _places(shape: tuple[int, ...]) -> int:
    """How many places maps of a shape have."""
    return math.prod(shape[1:3]) if len(shape) == 4 else 1
