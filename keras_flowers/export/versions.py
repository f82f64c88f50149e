"""The versions of a model that a run holds, the best first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from keras_flowers.export.artifacts import KERAS, load_keras, load_tflite
from keras_flowers.export.formats import FORMATS, Load
from keras_flowers.export.limits import BROWSER, Limits
from keras_flowers.inference.metadata import Metadata, read_metadata
from keras_flowers.training.run_directory import Run


class Version(NamedTuple):
    """A file of the model that is there.

    Attributes:
        name: `Keras`, `SavedModel`, or `TFLite` and the variant (the file where two have the same).
        path: The file or folder.
        metadata: Labels, image size and provenance, as it carries them.
        load: Makes its artifacts; as `Format.load`.
        limits: What is demanded of its answers.
        browser_limits: The same of the page in a browser; None where the page does not take it.
    """

    name: str
    path: Path
    metadata: Metadata
    load: Load
    limits: Limits
    browser_limits: Limits | None = None


def find_versions(run: Run) -> list[Version]:
    """The versions of the model in a run, the best first.

    That is the Keras model, then the formats in their order, then TFLite files of other variants.

    Raises:
        UserError: A file carries no labels, or they are damaged.
    """
    found = []
    if run.model_path.is_file():
        found.append(Version(KERAS, run.model_path, run.metadata, load_keras, Limits()))
    files = [run.saved_model] if run.saved_model.is_dir() else []
    files += run.tflite_files()
    described = [(path, read_metadata(path)) for path in files]
    variants = [_variant(path, metadata) for path, metadata in described]
    known = [one.variant for one in FORMATS]
    for number in sorted(
        range(len(files)),
        key=lambda n: known.index(variants[n]) if variants[n] in known else len(known),
    ):
        (path, metadata), variant = described[number], variants[number]
        name = variant if variants.count(variant) == 1 else f"TFLite {path.name}"
        format_ = next((one for one in FORMATS if one.variant == variant), None)
        load = load_tflite if format_ is None else format_.load
        limits = Limits() if format_ is None else format_.limits
        in_browser = BROWSER if format_ is None else format_.browser_limits
        found.append(Version(name, path, metadata, load, limits, in_browser))
    return found


def _variant(path: Path, metadata: Metadata) -> str:
    """What a file says it is; a TFLite file that says nothing is called as the file."""
    if path.is_dir():
        return "SavedModel"
    return str(metadata.provenance.get("variant") or f"TFLite {path.stem}")
