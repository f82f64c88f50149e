"""Standard TFLite metadata: with it, code that is not ours names flowers with our files.

MediaPipe Tasks, ML Kit and Android Studio read it: tables that say what goes in and comes out, kept
in the model's own FlatBuffer, and the label files in a zip archive behind that.

MediaPipe's writer needs a compiled module that its wheel lacks, and its schema module imports
TensorFlow, so the few tables are written by hand. A field's number is its place in the table in
`metadata_schema.fbs` (in MediaPipe's wheel under mediapipe/tasks/metadata/, schema version 1.5.0),
counted from 0; a union counts twice, for its type and its value.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import flatbuffers
import numpy as np

from keras_flowers.inference.flowers import flower_named
from keras_flowers.inference.metadata import LABELS_MEMBER, Metadata, add_to_archive

SCIENTIFIC_MEMBER = "labels_la.txt"
"""The scientific names in the order of the outputs. The standard provides for labels in several
languages; with the locale "la" MediaPipe gives these (`display_names_locale="la"`)."""

_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"  # of the schema; nothing newer is used

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
        name: The model's name, for people.
        description: What it does, was trained on, and how well it does.
    """
    scientific = _scientific_names(metadata.labels)
    tables = _tables(metadata, name, description, has_scientific=scientific is not None)
    path.write_bytes(_with_entry(content, tables))
    add_to_archive(path, metadata)
    if scientific is not None:
        with zipfile.ZipFile(path, "a") as archive:
            # A fixed time stamp, as in `add_to_archive`.
            member = zipfile.ZipInfo(SCIENTIFIC_MEMBER, date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(member, "".join(f"{one}\n" for one in scientific))


def _scientific_names(labels: Sequence[str]) -> list[str] | None:
    flowers = [flower_named(label) for label in labels]
    names = [flower.scientific_name for flower in flowers if flower is not None]
    return names if len(names) == len(labels) else None


def _tables(metadata: Metadata, name: str, description: str, *, has_scientific: bool) -> bytes:
    """The table ModelMetadata, as a FlatBuffer of its own."""
    assert metadata.image_size is not None
    height, width = metadata.image_size
    image: Table = {0: _RGB, 1: {0: np.uint32(width), 1: np.uint32(height)}}  # ImageProperties
    # Pixels go in as they are: the scaling is in the model. MediaPipe refuses a float model that
    # does not say so.
    normalization: Table = {0: [0.0], 1: [1.0]}  # NormalizationOptions: mean, std
    pixels: Table = {  # TensorMetadata
        0: "pixels",
        1: f"The whole photo, squashed to {width} x {height} (width x height), RGB, 0..255",
        3: {0: _IMAGE_PROPERTIES, 1: image},  # Content
        4: [{0: _NORMALIZATION_OPTIONS, 1: normalization}],  # ProcessUnit
        5: {0: [255.0], 1: [0.0]},  # Stats: max, min
    }
    files = [_label_file(LABELS_MEMBER, "Common name of each class", "en")]
    if has_scientific:
        files.append(_label_file(SCIENTIFIC_MEMBER, "Scientific name of each class", "la"))
    probabilities: Table = {
        0: "probabilities",
        1: "The probability of each class, 0..1, in the order of the labels; they add up to 1",
        3: {0: _FEATURE_PROPERTIES, 1: {}},
        5: {0: [1.0], 1: [0.0]},
        6: files,
    }
    return _flatbuffer(
        {
            0: name,
            1: description,
            2: str(metadata.provenance.get("package", "")),
            3: [{0: name, 1: description, 2: [pixels], 3: [probabilities]}],  # SubGraphMetadata
            4: "keras_flowers",
            5: "Apache-2.0",
            7: _PARSER_VERSION,
        }
    )


def _label_file(name: str, description: str, locale: str) -> Table:
    return {0: name, 1: description, 2: _TENSOR_AXIS_LABELS, 3: locale}  # AssociatedFile


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
