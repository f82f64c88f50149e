"""Standard TFLite metadata: with it, code that is not ours names flowers with our files.

MediaPipe Tasks, ML Kit and Android Studio read it: tables that say what goes in and comes out, kept
in the model's own FlatBuffer, and the label files in a zip archive behind that.

MediaPipe's writer needs a compiled module that its wheel lacks, and its schema module imports
TensorFlow, so the few tables are written by hand. The enums below are its tables and their fields:
a field's number is its place in the table in `metadata_schema.fbs` (in MediaPipe's wheel under
mediapipe/tasks/metadata/, schema version 1.5.0), counted from 0; a union counts twice, for its type
and its value.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import flatbuffers
import numpy as np

from keras_flowers.inference.doubt import NONE
from keras_flowers.inference.flowers import flower_named
from keras_flowers.inference.metadata import LABELS_MEMBER, Metadata, add_to_archive

SCIENTIFIC_MEMBER = "labels_la.txt"
"""The scientific names in the order of the outputs. The standard provides for labels in several
languages; with the locale "la" MediaPipe gives these (`display_names_locale="la"`)."""

_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
"""The oldest version of the schema that has all fields used here."""


class _Model(IntEnum):
    NAME, DESCRIPTION, VERSION, GRAPHS, AUTHOR, LICENSE, FILES, MIN_PARSER_VERSION = range(8)


class _Graph(IntEnum):
    NAME, DESCRIPTION, INPUTS, OUTPUTS = range(4)


class _Tensor(IntEnum):
    NAME, DESCRIPTION, DIMENSIONS, CONTENT, PROCESS_UNITS, STATS, FILES = range(7)


class _Content(IntEnum):
    PROPERTIES_TYPE, PROPERTIES = range(2)


class _Image(IntEnum):
    COLOR_SPACE, SIZE = range(2)


class _Size(IntEnum):
    WIDTH, HEIGHT = range(2)


class _ProcessUnit(IntEnum):
    OPTIONS_TYPE, OPTIONS = range(2)


class _Normalization(IntEnum):
    MEAN, STD = range(2)


class _Stats(IntEnum):
    MAX, MIN = range(2)


class _File(IntEnum):
    NAME, DESCRIPTION, TYPE, LOCALE = range(4)


# Values of the schema's enums and unions.
_TENSOR_AXIS_LABELS = np.uint8(2)
_RGB = np.uint8(1)
_FEATURE_PROPERTIES = np.uint8(1)
_IMAGE_PROPERTIES = np.uint8(2)
_NORMALIZATION_OPTIONS = np.uint8(1)

Value: TypeAlias = "str | np.uint8 | np.uint32 | Sequence[float] | Sequence[Table] | Table"
Table: TypeAlias = Mapping[int, "Value"]


def write(path: Path, content: bytes, metadata: Metadata, *, name: str, description: str) -> None:
    """Writes a `.tflite` file that describes itself.

    Args:
        path: The file.
        content: An image classifier with one input, pixels 0..255 [N, H, W, 3], and one output,
            probabilities [N, classes].
        metadata: Its labels, image size and provenance.
        name: The model's name.
        description: What it does, was trained on, and how well it does.
    """
    scientific = _scientific_names(metadata.outputs)
    tables = _tables(metadata, name, description, has_scientific=scientific is not None)
    path.write_bytes(_with_entry(content, tables))
    add_to_archive(path, metadata)
    if scientific is not None:
        with zipfile.ZipFile(path, "a") as archive:
            # A fixed time stamp, as in `add_to_archive`.
            member = zipfile.ZipInfo(SCIENTIFIC_MEMBER, date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, "".join(f"{one}\n" for one in scientific))


def _scientific_names(labels: Sequence[str]) -> list[str] | None:
    names = []
    for label in labels:
        flower = flower_named(label)
        if flower is None and label != NONE:
            return None
        names.append(flower.scientific_name if flower else label)
    return names


def _tables(metadata: Metadata, name: str, description: str, *, has_scientific: bool) -> bytes:
    """The table ModelMetadata, as a FlatBuffer of its own."""
    assert metadata.image_size is not None
    height, width = metadata.image_size
    size: Table = {_Size.WIDTH: np.uint32(width), _Size.HEIGHT: np.uint32(height)}
    image: Table = {_Image.COLOR_SPACE: _RGB, _Image.SIZE: size}
    # Pixels go in as they are: the scaling is in the model. MediaPipe refuses a float model that
    # does not say so.
    normalization: Table = {_Normalization.MEAN: [0.0], _Normalization.STD: [1.0]}
    scaling: Table = {
        _ProcessUnit.OPTIONS_TYPE: _NORMALIZATION_OPTIONS,
        _ProcessUnit.OPTIONS: normalization,
    }
    pixels: Table = {
        _Tensor.NAME: "pixels",
        _Tensor.DESCRIPTION: f"The whole photo, squashed to {width} x {height} (width x height), "
        "RGB, 0..255",
        _Tensor.CONTENT: {_Content.PROPERTIES_TYPE: _IMAGE_PROPERTIES, _Content.PROPERTIES: image},
        _Tensor.PROCESS_UNITS: [scaling],
        _Tensor.STATS: {_Stats.MAX: [255.0], _Stats.MIN: [0.0]},
    }
    files = [_label_file(LABELS_MEMBER, "Common name of each class", "en")]
    if has_scientific:
        files.append(_label_file(SCIENTIFIC_MEMBER, "Scientific name of each class", "la"))
    probabilities: Table = {
        _Tensor.NAME: "probabilities",
        _Tensor.DESCRIPTION: "The probability of each class, 0..1, in the order of the labels; "
        "they add up to 1",
        _Tensor.CONTENT: {_Content.PROPERTIES_TYPE: _FEATURE_PROPERTIES, _Content.PROPERTIES: {}},
        _Tensor.STATS: {_Stats.MAX: [1.0], _Stats.MIN: [0.0]},
        _Tensor.FILES: files,
    }
    graph: Table = {
        _Graph.NAME: name,
        _Graph.DESCRIPTION: description,
        _Graph.INPUTS: [pixels],
        _Graph.OUTPUTS: [probabilities],
    }
    return _flatbuffer(
        {
            _Model.NAME: name,
            _Model.DESCRIPTION: description,
            _Model.VERSION: str(metadata.provenance.get("package", "")),
            _Model.GRAPHS: [graph],
            _Model.AUTHOR: "keras_flowers",
            _Model.LICENSE: "Apache-2.0",
            _Model.MIN_PARSER_VERSION: _PARSER_VERSION,
        }
    )


def _label_file(name: str, description: str, locale: str) -> Table:
    return {
        _File.NAME: name,
        _File.DESCRIPTION: description,
        _File.TYPE: _TENSOR_AXIS_LABELS,
        _File.LOCALE: locale,
    }


def _flatbuffer(root: Table) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(_write_table(builder, root), _IDENTIFIER)
    return bytes(builder.Output())


def _write_table(builder: Any, table: Table) -> int:
    """Writes what the fields point to, then the table; returns its place."""
    offsets = {
        field: _write_value(builder, value)
        for field, value in table.items()
        if not isinstance(value, np.unsignedinteger)
    }
    builder.StartObject(max(table, default=-1) + 1)
    for field, value in table.items():
        if isinstance(value, np.uint8):
            builder.PrependUint8Slot(field, int(value), 0)
        elif isinstance(value, np.uint32):
            builder.PrependUint32Slot(field, int(value), 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, offsets[field], 0)
    return int(builder.EndObject())


def _write_value(builder: Any, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Mapping):
        return _write_table(builder, value)
    if isinstance(value[0], float):
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    return _write_vector(builder, [_write_table(builder, table) for table in value])


def _write_vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):  # FlatBuffers grow downwards
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _with_entry(content: bytes, tables: bytes) -> bytes:
    """The model with `tables` as its metadata entry, and its output named as its input is."""
    # Loading the schema takes 0.2 s, which a training that exports nothing need not wait for.
    from ai_edge_litert import schema_py_generated as tflite_schema

    model = tflite_schema.ModelT.InitFromPackedBuf(content)
    (signature,) = model.signatureDefs
    signature.outputs[0].name = "probabilities"
    model.metadata = [one for one in model.metadata or [] if one.name != _ENTRY.encode()]
    entry = tflite_schema.MetadataT(name=_ENTRY, buffer=len(model.buffers))
    model.metadata.append(entry)
    model.buffers.append(tflite_schema.BufferT(data=np.frombuffer(tables, np.uint8)))
    builder = _WeightsBuilder(len(content) + len(tables) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _WeightsBuilder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers is untyped
    """Puts weights at multiples of 16 bytes, as the schema of TFLite demands of them.

    They are used where they lie in the file. The generated Python code aligns vectors of bytes to
    one byte, so that floats come to lie across the lines of the processor's cache.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        """Begins a vector; of bytes, at a multiple of 16."""
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)
