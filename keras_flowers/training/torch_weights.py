"""Reads the tensors of a PyTorch state dict in the format of before 2020, without PyTorch.

Such a file is a row of pickles (a magic number, the version of the protocol, the widths of the
writer's types, the state dict, the keys of its storages), and behind them the storages themselves
in the order of their keys: how many numbers as a little-endian 64-bit integer, then the numbers.
A tensor is a view of a storage: an offset, a shape and strides. See `_legacy_load` in PyTorch's
`torch/serialization.py`.
"""

from __future__ import annotations

import collections
import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
"""The types of numbers of which a network's weights and the counters of its batch norms are."""


def read_state_dict(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Reads every tensor of the file; nothing that stands in it is run.

    Returns:
        The tensors by their names, in stored order, as arrays of float32 or int64 of their own,
        contiguous however the file's strides laid them out.

    Raises:
        UserError: The file is damaged, of another format, or asks for something to be called that
            a state dict needs not.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"{path} cannot be read ({reason_of(error)}); expected a PyTorch state dict in the "
            "format of before 2020: install the package that it belongs to again"
        ) from None


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]
    size: int  # in numbers


@dataclass(frozen=True)
class _View:
    storage: _Storage
    offset: int  # in numbers, as the strides are
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _read(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or not system["little_endian"]:
        raise ValueError("another format")
    views: dict[str, _View] = _Unpickler(file).load()
    named = {view.storage.key: view.storage for view in views.values()}
    numbers = {}
    for key in _Unpickler(file).load():
        storage = named[key]
        size = int.from_bytes(file.read(8), "little")
        content = file.read(storage.size * storage.dtype.itemsize)
        if size != storage.size or len(content) != storage.size * storage.dtype.itemsize:
            raise ValueError("cut off or damaged")
        numbers[key] = np.frombuffer(content, storage.dtype)
    if file.read(1):
        raise ValueError("something stands behind its end")
    return {name: _array(view, numbers[view.storage.key]) for name, view in views.items()}


class _Unpickler(pickle.Unpickler):
    """Admits what a state dict is made of, and nothing else.

    A pickle names functions and calls them: the usual unpickler runs whatever a file asks for.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise ValueError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, size, part = pid
        # A part of another storage: nobody has written any since 2016.
        if kind != "storage" or dtype not in _STORAGES.values() or part is not None or size < 0:
            raise ValueError("it has storages of another kind")
        return _Storage(key, dtype, size)


def _view(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _View:
    """In the place of PyTorch's `_rebuild_tensor_v2`; what else it is told concerns training."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides):
        raise ValueError("a tensor has no storage, or a stride too few")
    if min((offset, *shape, *strides)) < 0:
        raise ValueError("a tensor has a negative shape or stride")
    if 0 in shape:
        raise ValueError("a tensor is empty")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    if math.prod(shape) > storage.size:  # by strides of 0: it could take all memory
        raise ValueError("a tensor is larger than its storage")
    return _View(storage, offset, tuple(shape), tuple(strides))


def _array(view: _View, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    steps = tuple(step * numbers.itemsize for step in view.strides)
    # Within its storage: `_view` has looked.
    strided = np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, steps)
    return strided.copy(order="C")
