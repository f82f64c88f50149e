"""Gathers the photos of flowers in the field again, from clones of the repositories they lie in.

The photos themselves are never redistributed: few of them state a licence. What this project keeps
is the list `field_photos.csv`: for each photo its label, and the repository, the file and the git
blob of the original. From it and from your own clones this tool makes the folder that
`keras-flowers train --data FOLDER/train.csv` reads.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import csv
import hashlib
import io
import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED, exit_with
from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace, write_text
from keras_flowers.inference.image import read_photo
from keras_flowers.progress import progress_bar

LIST = Path(__file__).with_name("field_photos.csv")

SHORT_SIDE = 320
"""Pixels of the shorter side of a photo that is larger; smaller ones stay as they are."""

_QUALITY = 92
_COLUMNS = ("path", "label", "kind", "species", "source")

EXAMPLES = """examples:
  which repositories to clone, each to CLONES/OWNER/NAME
      python tools/fetch_field.py --list
  the photos, as FOLDER/photos/, FOLDER/train.csv and FOLDER/validation.csv
      python tools/fetch_field.py CLONES FOLDER

`coco` and `imagenet` are no repositories: CLONES/coco is the folder val2017 of COCO, and
CLONES/imagenet a folder of ImageNet's photos. Photos that are there already are not made again.
"""


@dataclass(frozen=True)
class FieldPhoto:
    """A row of the list.

    Attributes:
        path: Where the photo goes, below the folder.
        split: `train` or `validation`; no source is in both.
        label: One of the 102 names of TFDS, or `unknown`.
        kind: `known`, `other flower` or `no flower`.
        species: What the source calls it.
        source: The number of the source.
        repository: `owner/name` on GitHub, or `coco`, or `imagenet`.
        file: The path in it; with `#image` behind it, the photo is the data URL in the member
            `image` of a JSON file.
        git_blob: SHA-1 of the original, as git counts it.
    """

    path: str
    split: str
    label: str
    kind: str
    species: str
    source: str
    repository: str
    file: str
    git_blob: str


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options_of = parser()
    options = options_of.parse_args(argv)
    photos = read_list()
    if options.list:
        for repository, count in Counter(one.repository for one in photos).most_common():
            print(f"{count:5}  {repository}")
        return 0
    if options.folder is None:
        options_of.error("expected CLONES and FOLDER, or --list")
    fetched = []
    missing: Counter[str] = Counter()
    with progress_bar(total=len(photos), unit="photo", description="fetching") as bar:
        for photo in photos:
            try:
                fetch(photo, options.clones, options.folder)
                fetched.append(photo)
            except UserError as error:
                bar.write(f"left out {photo.path}: {error}")
                missing[photo.repository] += 1
            bar.update()
    write_tables(fetched, options.folder)
    print(f"{len(fetched)} of {len(photos)} photos are in {options.folder}/")
    for repository, count in missing.most_common():
        print(f"  {count} of {repository} could not be had")
    if not fetched:
        return EXIT_BAD_INPUT
    return EXIT_SOME_FAILED if missing else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("clones", metavar="CLONES", nargs="?", type=Path, help="where clones are")
    options.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, help="where photos go")
    options.add_argument("--list", action="store_true", help="only print the repositories")
    return options


def read_list(path: Path = LIST) -> list[FieldPhoto]:
    """The photos in the list, in its order."""
    with open(path, encoding="utf-8", newline="") as file:
        return [FieldPhoto(**row) for row in csv.DictReader(file)]


def fetch(photo: FieldPhoto, clones: Path, folder: Path) -> None:
    """Writes one photo as a JPEG whose shorter side has at most `SHORT_SIDE` pixels.

    Raises:
        UserError: The original is not in the clone, or is another file than the one in the list.
    """
    path = folder / photo.path
    if path.exists():
        return
    picture = read_photo(original(photo, clones))
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    with atomic_replace(path) as temporary:
        picture.save(temporary, "JPEG", quality=_QUALITY)


def original(photo: FieldPhoto, clones: Path) -> bytes:
    """The bytes of the original, whose hash is that of the list.

    Raises:
        UserError: It is not there, or is another file.
    """
    name, _, member = photo.file.partition("#")
    clone = clones / photo.repository
    if not clone.is_dir():
        raise UserError(f"{clone} is not there; expected a clone of {photo.repository}")
    for content in _candidates(clone, name, photo.git_blob):
        inside = _member(content, member) if member else content
        # The list may name the blob of the JSON file or of the photo in it.
        if inside is not None and photo.git_blob in (git_blob(content), git_blob(inside)):
            return inside
    raise UserError(f"{photo.repository} has no {name} with the git blob {photo.git_blob}")


def _candidates(clone: Path, name: str, blob: str) -> Iterator[bytes]:
    """What may be the original: the file as it lies there, then the blob from git's history."""
    if (clone / name).is_file():
        yield (clone / name).read_bytes()
    if (clone / ".git").exists():
        command = ["git", "-C", str(clone), "cat-file", "blob", blob]
        answer = subprocess.run(command, capture_output=True, check=False)
        if answer.returncode == 0:
            yield answer.stdout


def _member(content: bytes, name: str) -> bytes | None:
    try:
        _, _, text = json.loads(content)[name].partition("base64,")
        return base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def git_blob(content: bytes) -> str:
    """The SHA-1 under which git keeps a file.

    >>> git_blob(b"hello\\n")
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def write_tables(photos: Iterable[FieldPhoto], folder: Path) -> None:
    """Writes `train.csv` and `validation.csv` of the photos that are there."""
    tables = {split: io.StringIO() for split in ("train", "validation")}
    writers = {
        split: csv.DictWriter(file, _COLUMNS, extrasaction="ignore", lineterminator="\n")
        for split, file in tables.items()
    }
    for writer in writers.values():
        writer.writeheader()
    for photo in photos:
        writers[photo.split].writerow(asdict(photo))
    for split, file in tables.items():
        write_text(folder / f"{split}.csv", file.getvalue())


if __name__ == "__main__":
    exit_with(main)
