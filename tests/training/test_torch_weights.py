"""State dicts of PyTorch's old format, written by hand: what is read, and what is refused."""

from __future__ import annotations

import collections
import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from keras_flowers.errors import UserError
from keras_flowers.training.torch_weights import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C

Tensor = tuple[str, int, tuple[int, ...], tuple[int, ...]]
"""The key of its storage, the offset, the shape and the strides."""


class _Storage:
    def __init__(self, key: str, numbers: npt.NDArray[Any]) -> None:
        self.key, self.numbers = key, numbers


class _Writer(pickle.Pickler):
    """As PyTorch pickles: storages stand behind, and are named by a persistent id."""

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        kind = "LongStorage" if obj.numbers.dtype.kind == "i" else "FloatStorage"
        kind = getattr(sys.modules["torch"], kind)
        return ("storage", kind, obj.key, "cpu", obj.numbers.size, None)


class _Pickled:
    """Pickled as a call, as PyTorch's tensors are."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """As much of PyTorch as pickling by name needs."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, name in ((torch, "FloatStorage"), (torch, "LongStorage"), (torch, "HalfStorage")):
        setattr(module, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def _write(
    path: Path,
    storages: dict[str, npt.NDArray[Any]],
    tensors: dict[str, Tensor | _Pickled],
    *,
    magic: int = MAGIC,
    little_endian: bool = True,
) -> bytes:
    kept = {key: _Storage(key, numbers) for key, numbers in storages.items()}
    state: Any = collections.OrderedDict()
    for name, tensor in tensors.items():
        if isinstance(tensor, tuple):
            key, offset, shape, strides = tensor
            rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
            hooks: Any = collections.OrderedDict()
            tensor = _Pickled(rebuild, kept[key], offset, shape, strides, False, hooks)
        state[name] = tensor
    state._metadata = collections.OrderedDict()  # as PyTorch's modules leave it
    file = io.BytesIO()
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": sizes}
    for part in (magic, 1001, system, state, sorted(storages)):
        _Writer(file, protocol=2).dump(part)
    for key in sorted(storages):
        file.write(len(storages[key]).to_bytes(8, "little") + storages[key].tobytes())
    path.write_bytes(file.getvalue())
    return file.getvalue()


FLOATS = np.arange(24, dtype="<f4")


def test_tensors_are_read_as_their_strides_say(tmp_path: Path, torch: types.ModuleType) -> None:
    path = tmp_path / "weights.pth"
    tensors: dict[str, Tensor | _Pickled] = {
        "contiguous": ("7", 0, (4, 6), (6, 1)),
        "transposed": ("7", 0, (6, 4), (1, 6)),
        "a part of it": ("7", 13, (2, 2), (6, 2)),
        "one for all": ("7", 5, (3,), (0,)),
        "counter": ("3", 0, (), ()),
    }
    _write(path, {"7": FLOATS, "3": np.array([42], "<i8")}, tensors)
    read = read_state_dict(path)
    assert list(read) == list(tensors)
    grid = FLOATS.reshape(4, 6)
    np.testing.assert_array_equal(read["contiguous"], grid)
    np.testing.assert_array_equal(read["transposed"], grid.T)
    np.testing.assert_array_equal(read["a part of it"], grid[2:, 1:4:2])
    np.testing.assert_array_equal(read["one for all"], [5, 5, 5])
    assert read["counter"].shape == () and read["counter"] == 42
    assert read["contiguous"].dtype == np.float32 and read["counter"].dtype == np.int64
    assert all(one.flags.c_contiguous and one.flags.owndata for one in read.values())


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (("7", 0, (4, 6), (7, 1)), "reaches beyond its storage"),
        (("7", 1, (4, 6), (6, 1)), "reaches beyond its storage"),
        (("7", 0, (2, 2), (1, 2**62)), "reaches beyond its storage"),
        (("7", 0, (2**40,), (0,)), "larger than its storage"),
        (("7", 23, (2,), (-1,)), "negative"),
        (("7", -1, (2,), (1,)), "negative"),
        (("7", 0, (0,), (1,)), "empty"),
        (("7", 0, (4, 6), (6,)), "a stride too few"),
    ],
)
def test_tensor_outside_of_its_storage_is_refused(
    tmp_path: Path, torch: types.ModuleType, tensor: Tensor, reason: str
) -> None:
    path = tmp_path / "weights.pth"
    _write(path, {"7": FLOATS}, {"weight": tensor})
    with pytest.raises(UserError, match=reason):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.mkdir, ("made",), r"(posix|nt)\.mkdir"),
        (eval, ("__import__('os').mkdir('made')",), r"_*builtins?_*\.eval"),
        (getattr, ("a string", "upper"), r"_*builtins?_*\.getattr"),
        (np.zeros, (2**40,), r"numpy.*zeros"),
    ],
)
def test_file_that_calls_anything_is_refused(
    tmp_path: Path,
    torch: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    function: Any,
    arguments: tuple[Any, ...],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    content = _write(path, {"7": FLOATS}, {"weight": _Pickled(function, *arguments)})
    with pytest.raises(UserError, match=f"asks for {name}") as refused:
        read_state_dict(path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()
    if function is os.mkdir:  # the usual unpickler does as it is told
        file = io.BytesIO(content)
        for _ in range(3):
            pickle.load(file)
        pickle.load(file)
        assert (tmp_path / "made").exists()


def test_other_numbers_are_refused(tmp_path: Path, torch: types.ModuleType) -> None:
    path = tmp_path / "weights.pth"
    torch.FloatStorage = torch.HalfStorage  # type: ignore[attr-defined]
    _write(path, {"7": FLOATS}, {"weight": ("7", 0, (24,), (1,))})
    with pytest.raises(UserError, match=r"asks for torch\.HalfStorage"):
        read_state_dict(path)


def test_damaged_file_is_refused(tmp_path: Path, torch: types.ModuleType) -> None:
    path = tmp_path / "weights.pth"
    whole = _write(path, {"7": FLOATS}, {"weight": ("7", 0, (24,), (1,))})
    read_state_dict(path)
    # Cut off in each of the pickles, in the length and in the numbers; too long; of another count.
    cuts = [whole[:length] for length in (*range(0, len(whole) - 1, 7), len(whole) - 1)]
    for content in (
        *cuts,
        whole + b"\0",
        whole[:-104] + b"\x17" + whole[-103:],
        b"PK\3\4",
        b"<html>",
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"weights\.pth cannot be read .*install") as refused:
            read_state_dict(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("settings", [{"magic": MAGIC + 1}, {"little_endian": False}])
def test_other_format_is_refused(
    tmp_path: Path, torch: types.ModuleType, settings: dict[str, Any]
) -> None:
    path = tmp_path / "weights.pth"
    _write(path, {"7": FLOATS}, {"weight": ("7", 0, (24,), (1,))}, **settings)
    with pytest.raises(UserError, match="another format"):
        read_state_dict(path)
