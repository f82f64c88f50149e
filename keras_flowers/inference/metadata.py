"""What travels inside every model file: the labels, the image size and where the model comes from.

The same two members lie in each format, so that a file sent by mail is enough:

    model.keras    a zip archive; the members are added to it
    x.tflite       a zip archive after the FlatBuffer, as TFLite metadata keeps associated files
    SavedModel     the folder assets.extra, which TensorFlow Serving leaves alone
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.doubt import NONE, Doubt, read_doubt
from keras_flowers.inference.labels import format_labels, parse_labels
from keras_flowers.inference.scaling import read_standard_metadata

MODEL_FILE = "model.keras"
"""The Keras model in the folder of a run."""

SAVED_MODEL_PLACE = Path("saved_model") / "1"
"""The SavedModel in the folder of a run: TensorFlow Serving looks for numbered versions."""

LABELS_MEMBER = "labels.txt"
PROVENANCE_MEMBER = "keras_flowers.json"
SAVED_MODEL_FOLDER = "assets.extra"

_DOUBT = "doubt"  # in the provenance member

MAX_SIDE = 4096
"""Models with larger inputs, in pixels, are refused: no photo is read for them."""

_MAX_MEMBER_BYTES = 1 << 20


@dataclass(frozen=True)
class Metadata:
    """Labels, image size and provenance of a model.

    Attributes:
        labels: The name of each class, in the order of the model's outputs; without that of a last
            one for photos of none of them.
        image_size: Height and width in pixels to which the whole photo is squashed, or None where
            the file does not say (a `.tflite` that other tools wrote).
        provenance: JSON-ready facts: package version, base, data set and splits, how many photos
            it was trained on, test accuracy, seed, date.
        doubt: What is said of doubtful answers, where the model's last output is for photos of
            none of its classes; None: it has no such output.
    """

    labels: tuple[str, ...]
    image_size: tuple[int, int] | None
    provenance: dict[str, Any] = field(default_factory=dict)
    doubt: Doubt | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The name of each of the model's outputs: the labels, and `NONE` where it has doubt."""
        return self.labels if self.doubt is None else (*self.labels, NONE)

    def members(self) -> dict[str, str]:
        """The files that carry this, by name: UTF-8 text."""
        content = {
            "image": {
                "size": self.image_size,
                "resize": "whole photo squashed, bilinear",
                "pixels": "RGB, 0..255",
            },
            **self.provenance,
        }
        if self.doubt is not None:
            content[_DOUBT] = self.doubt.as_dict()
        return {
            # Of every output, so that others' code shows "none of these", too.
            LABELS_MEMBER: format_labels(self.outputs),
            PROVENANCE_MEMBER: json.dumps(content, indent=2, ensure_ascii=False) + "\n",
        }


def add_to_archive(path: Path, metadata: Metadata) -> None:
    """Adds the metadata to the zip archive at `path`; any bytes before the archive stay.

    Works for a `.keras` file (Keras reads only the members it knows) and turns a `.tflite` file
    into FlatBuffer + archive.
    """
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in metadata.members().items():
            # A fixed time stamp: the same model gives the same file, byte for byte.
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), text)


def add_to_saved_model(folder: Path, metadata: Metadata) -> None:
    """Adds the metadata to the SavedModel in `folder`."""
    extra = folder / SAVED_MODEL_FOLDER
    extra.mkdir(exist_ok=True)
    for name, text in metadata.members().items():
        (extra / name).write_text(text, encoding="utf-8")


def read_metadata(path: Path) -> Metadata:
    """Reads what `add_to_archive` or `add_to_saved_model` wrote.

    Raises:
        UserError: `path` holds no labels, or they are damaged.
    """
    members = _read_folder(path / SAVED_MODEL_FOLDER) if path.is_dir() else _read_archive(path)
    if LABELS_MEMBER not in members:
        raise UserError(
            f"{path} holds no class names ({LABELS_MEMBER}); expected a model that "
            "`keras-flowers train` or `keras-flowers export` wrote, or another tool with its labels"
        )
    text = _text(members[LABELS_MEMBER], LABELS_MEMBER, path)
    labels = parse_labels(text, source=f"{path}:{LABELS_MEMBER}")
    if PROVENANCE_MEMBER not in members:
        return Metadata(labels, image_size=None)
    try:
        provenance = json.loads(_text(members[PROVENANCE_MEMBER], PROVENANCE_MEMBER, path))
        height, width = provenance.pop("image")["size"]
        if not (0 < int(height) <= MAX_SIDE and 0 < int(width) <= MAX_SIDE):
            raise ValueError(f"image size {height} x {width}")
        doubt = read_doubt(provenance.pop(_DOUBT)) if _DOUBT in provenance else None
        if doubt is not None:
            *labels_list, last = labels
            if last != NONE or not labels_list:
                raise ValueError(f"the last class is {last!r}, not {NONE!r}")
            if any(number >= len(labels_list) for one in doubt.groups for number in one.classes):
                raise ValueError("a group has classes that are not there")
            labels = tuple(labels_list)
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = reason_of(error)
        raise UserError(
            f"the {PROVENANCE_MEMBER} inside {path} is damaged ({reason}); export the model again"
        ) from None
    return Metadata(labels, (int(height), int(width)), provenance, doubt)


def _read_archive(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                name: _member(archive, name)
                for name in (LABELS_MEMBER, PROVENANCE_MEMBER)
                if name in archive.namelist()
            }
            if LABELS_MEMBER not in members and path.suffix == ".tflite":
                # Other tools say in the standard metadata what they call it.
                name = read_standard_metadata(path.read_bytes()).label_file
                if name in archive.namelist():
                    members[LABELS_MEMBER] = _member(archive, name)
            return members
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; expected a .keras or .tflite model") from None
    except zipfile.BadZipFile:
        if path.suffix == ".tflite":
            return {}  # a bare one has no archive
        raise UserError(f"{path} is damaged or incomplete; copy or export it again") from None
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise UserError(
            f"{path} cannot be read ({reason_of(error)}); copy or export it again"
        ) from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    # A real one has a few kilobytes; a stranger's may be a zip bomb.
    data = archive.open(name).read(_MAX_MEMBER_BYTES + 1)
    if len(data) > _MAX_MEMBER_BYTES:
        raise ValueError(f"{name} has more than {_MAX_MEMBER_BYTES >> 20} MiB")
    return data


def _read_folder(folder: Path) -> dict[str, bytes]:
    names = (LABELS_MEMBER, PROVENANCE_MEMBER)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _text(data: bytes, member: str, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"the {member} inside {path} is not UTF-8 text; export it again") from None
