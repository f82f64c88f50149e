"""The page for browsers as a static site: what was built from `page/`, with a model beside it.

Nothing on a server is needed but to give the files: the model runs in the browser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace
from keras_flowers.inference.classifier import default_model
from keras_flowers.inference.metadata import read_metadata

BUILD_COMMAND = "npm --prefix page ci && npm --prefix page run build"
"""Builds the page in a clone; needs Node.js 20 or newer."""

_PACKAGE = Path(__file__).parents[1]
_BUILT = _PACKAGE / "page"

INDEX = "index.html"
"""What is given for the address of the site itself."""

_SERVICE_WORKER = "sw.js"
_MODEL = "model.tflite"


@dataclass(frozen=True)
class Site:
    """The files of a site.

    Attributes:
        files: By their paths in the site, with "/": where each lies on this disk.
        service_worker: The content of `sw.js`, which keeps the others in the browser.
        hashes: By path, of each file, a hash of its content.
    """

    files: dict[str, Path]
    service_worker: bytes
    hashes: dict[str, str] = field(repr=False)

    def __contains__(self, path: str) -> bool:
        return path in self.hashes

    def __iter__(self) -> Iterator[str]:
        return iter(self.hashes)

    def read(self, path: str) -> bytes:
        """The content of one file."""
        return self.service_worker if path == _SERVICE_WORKER else self.files[path].read_bytes()


def is_built() -> bool:
    """Whether the page was built."""
    return (_BUILT / _SERVICE_WORKER).is_file()


def load_site(model: Path | None = None) -> Site:
    """The page with a model.

    Args:
        model: A `.tflite` file; None takes the one that ships with the package.

    Raises:
        UserError: The page was not built, or the model is not one that the page can use.
    """
    model = default_model() if model is None else model
    _check_model(model)
    if not is_built():
        raise UserError(_how_to_build(_PACKAGE.parent))
    files = {
        path.relative_to(_BUILT).as_posix(): path
        for path in sorted(_BUILT.rglob("*"))
        if path.is_file() and path.name != _SERVICE_WORKER
    }
    files[_MODEL] = model
    hashes = {name: _hash(path.read_bytes()) for name, path in files.items()}
    # A list of everything in front of the script: where a file has changed, so has the script.
    listed = f"const SITE = {json.dumps(hashes)};\n".encode()
    service_worker = listed + (_BUILT / _SERVICE_WORKER).read_bytes()
    hashes[_SERVICE_WORKER] = _hash(service_worker)
    return Site(files, service_worker, hashes)


def write_site(site: Site, folder: Path) -> None:
    """Writes all files of a site into a folder, which any web space can give to browsers.

    Args:
        site: The site.
        folder: A new or empty folder, or one that this function wrote, which is replaced.

    Raises:
        UserError: Something else is in the folder.
    """
    if folder.exists() and not _may_be_replaced(folder):
        raise UserError(
            f"{folder} is not empty; expected a new folder, or one that --build wrote before"
        )
    with atomic_replace(folder) as written:
        for name in site:
            path = written / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(site.read(name))


def _may_be_replaced(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or {INDEX, _SERVICE_WORKER, _MODEL} <= names


def _check_model(model: Path) -> None:
    if model.suffix != ".tflite":
        raise UserError(f"{model} is no .tflite file, which a browser needs; export one first")
    if not model.exists():
        raise UserError(f"{model} does not exist; expected a .tflite file")
    if not model.is_file():
        raise UserError(f"{model} is not a file; expected a .tflite file")
    read_metadata(model)  # the page, too, finds the names of the flowers there


def _how_to_build(clone: Path) -> str:
    if (clone / "page" / "package.json").is_file():
        return f"the page is not built yet; build it with Node.js, in {clone}: {BUILD_COMMAND}"
    return (
        "this installation has no page; build it in the clone with Node.js "
        f"({BUILD_COMMAND}), then install the package again"
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
