"""How pixels become the numbers that a TFLite model was trained on, and where a file says it.

Models of other tools often expect (pixel - mean) / std, and say so in their metadata: the
NormalizationOptions of `metadata_schema.fbs`, which Model Maker, AutoML and Teachable Machine
write. What is read here is read without TensorFlow, and from strangers' files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of

Scale: TypeAlias = tuple[float | Sequence[float], float | Sequence[float]]


@dataclass(frozen=True)
class Scaling:
    """A pixel 0..255 goes into the model as (pixel - mean) / std.

    Attributes:
        mean: One number for all channels, or one each for red, green and blue.
        std: The same, above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (*self.mean, *self.std)
        lengths_fit = len(self.mean) in (1, 3) and len(self.std) in (1, 3)
        if not lengths_fit or not all(map(math.isfinite, numbers)) or min(self.std) <= 0:
            raise UserError(
                f"pixels cannot be scaled with the mean {self.mean} and the std {self.std}; "
                "expected one or three numbers each, the std above 0"
            )

    def __call__(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scales pixels [..., 3], 0..255, to float32 of the same shape."""
        mean, std = (np.array(numbers, np.float32) for numbers in (self.mean, self.std))
        return np.asarray((pixels.astype(np.float32) - mean) / std, np.float32)


AS_THEY_ARE = Scaling((0.0,), (1.0,))
TO_ONE = Scaling((0.0,), (255.0,))
"""To 0..1."""
AROUND_ZERO = Scaling((127.5,), (127.5,))
"""To -1..1."""


def scaling_of(scale: Scale) -> Scaling:
    """The scaling for a mean and a std, each a number or three.

    >>> scaling_of((127.5, 127.5)) == AROUND_ZERO
    True
    """
    try:
        mean, std = (tuple(float(n) for n in np.atleast_1d(part)) for part in scale)
    except (TypeError, ValueError):
        raise UserError(f"scale is {scale!r}; expected (mean, std), as (127.5, 127.5)") from None
    return Scaling(mean, std)


def scaling_of_range(lowest: float, highest: float) -> Scaling | None:
    """The scaling for which all of a quantised input's range is used; None if it is no usual one.

    >>> scaling_of_range(-1.0, 0.992) == AROUND_ZERO
    True
    """
    for scaling in (AS_THEY_ARE, TO_ONE, AROUND_ZERO):
        low, high = (float(n) for n in scaling(np.array([0.0, 255.0])))
        # Calibration seldom sees pure black and white, so that ranges fall a little short.
        tolerance = 0.06 * (high - low)
        if abs(lowest - low) <= tolerance and abs(highest - high) <= tolerance:
            return scaling
    return None


class StandardMetadata(NamedTuple):
    """What the standard metadata of a `.tflite` file say about it.

    Attributes:
        scaling: How it wants its pixels; None where they do not say.
        label_file: The file with the names of its classes, in the zip archive behind the model.
    """

    scaling: Scaling | None = None
    label_file: str | None = None


def read_standard_metadata(content: bytes) -> StandardMetadata:
    """Reads the standard metadata of a TFLite model of one input and one output.

    Args:
        content: The whole `.tflite` file.

    Raises:
        UserError: They are there, but damaged.
    """
    try:
        return _read(content)
    except UserError:
        raise
    except Exception as error:  # flatbuffers checks nothing: struct.error, IndexError, TypeError
        raise UserError(
            f"the metadata of this TFLite model are damaged ({reason_of(error)}); export it again"
        ) from None


# A field's number is its place in the table in `schema.fbs` of TFLite and in `metadata_schema.fbs`,
# counted from 0; a union counts twice, for its type and its value.
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_ENTRY_NAME, _ENTRY_BUFFER = 0, 1
_BUFFER_DATA = 0
_SUBGRAPHS = 3
_INPUTS, _OUTPUTS = 2, 3
_PROCESS_UNITS, _FILES = 4, 6
_OPTIONS_TYPE, _OPTIONS = 0, 1
_MEAN, _STD = 0, 1
_FILE_NAME, _FILE_TYPE = 0, 2
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2


def _read(content: bytes) -> StandardMetadata:
    from flatbuffers import number_types

    model = _root(content)
    for entry in _tables(model, _MODEL_METADATA):
        if _text(entry, _ENTRY_NAME) == "TFLITE_METADATA":
            buffer = _number(entry, _ENTRY_BUFFER, number_types.Uint32Flags)
            break
    else:
        return StandardMetadata()
    data = _vector(_tables(model, _MODEL_BUFFERS)[buffer], _BUFFER_DATA, np.uint8).tobytes()
    (subgraph, *_) = _tables(_root(data), _SUBGRAPHS)
    scaling = label_file = None
    for tensor in _tables(subgraph, _INPUTS)[:1]:
        for unit in _tables(tensor, _PROCESS_UNITS):
            if _number(unit, _OPTIONS_TYPE, number_types.Uint8Flags) == _NORMALIZATION_OPTIONS:
                options = _table(unit, _OPTIONS)
                mean, std = (_vector(options, field, np.float32) for field in (_MEAN, _STD))
                scaling = Scaling(tuple(map(float, mean)), tuple(map(float, std)))
    for tensor in _tables(subgraph, _OUTPUTS)[:1]:
        for file in _tables(tensor, _FILES):
            if _number(file, _FILE_TYPE, number_types.Uint8Flags) == _TENSOR_AXIS_LABELS:
                # The first; others are in other languages.
                label_file = label_file or _text(file, _FILE_NAME)
    return StandardMetadata(scaling, label_file)


def _root(buffer: bytes) -> Any:
    from flatbuffers.table import Table

    return Table(buffer, int.from_bytes(buffer[:4], "little"))


def _place(table: Any, field: int) -> int:
    """Where a field's value lies from the start of its table; 0 if it has none."""
    return int(table.Offset(4 + 2 * field))


def _number(table: Any, field: int, kind: Any) -> int:
    place = _place(table, field)
    return int(table.Get(kind, table.Pos + place)) if place else 0


def _text(table: Any, field: int) -> str:
    place = _place(table, field)
    return str(table.String(table.Pos + place).decode()) if place else ""


def _table(table: Any, field: int) -> Any:
    from flatbuffers.table import Table

    place = _place(table, field)
    if not place:
        raise ValueError(f"table {field} is not there")
    return Table(table.Bytes, table.Indirect(table.Pos + place))


def _tables(table: Any, field: int) -> list[Any]:
    from flatbuffers.table import Table

    place = _place(table, field)
    if not place:
        return []
    start, length = table.Vector(place), table.VectorLen(place)
    if start + 4 * length > len(table.Bytes):
        raise ValueError(f"{length} tables are more than the file can hold")
    return [Table(table.Bytes, table.Indirect(start + 4 * n)) for n in range(length)]


def _vector(table: Any, field: int, kind: Any) -> npt.NDArray[Any]:
    place = _place(table, field)
    if not place:
        return np.empty(0, kind)
    return np.frombuffer(table.Bytes, kind, table.VectorLen(place), table.Vector(place))
