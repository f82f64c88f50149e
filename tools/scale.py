"""Measures training on many photos, alone and with Ray's workers, for docs/scale.md.

The photos are copies with changed pixels of those that Oxford's train and validation splits have;
none is of its test split. For each number of them the same command runs alone and with `--engine
ray`, each from nothing; cached features and weights must be the same, byte for byte. Meanwhile
the memory and the work of each process are read from /proc, so it needs Linux.

The figures go into docs/scale.json; `python tools/results.py --render` puts them into the page.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_flowers.commands.exit import exit_with
from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace, write_json
from keras_flowers.system import import_tensorflow
from tools.benchmark import parts
from tools.benchmark.measure import in_new_process
from tools.benchmark.table import hardware, versions
from tools.benchmark.task import DATASET

RESULTS = Path(__file__).parents[1] / "docs" / "scale.json"

SHORT_SIDE_PX = 256
VIEWS, EPOCHS = 1, 5

SECONDS_BETWEEN_LOOKS = 1.0

EXAMPLES = """examples:
  training on 2,000 and on 10,000 photos (half an hour on two cores), and what the page says of it
      python -m tools.scale && python tools/results.py --render

What a photo costs is the difference between the fewest and the most photos, so that no start is in
it. Let nothing else run meanwhile.
"""


class Look(NamedTuple):
    """What was seen of a training at a moment.

    Attributes:
        seconds: Since its start.
        core_seconds: What its process had worked until then.
        worker_core_seconds: The same of Ray's workers together.
        memory: Bytes of its process: the proportional set size.
        worker_memory: Bytes of the largest worker.
        pieces: How many pieces of features were cached.
    """

    seconds: float
    core_seconds: float
    worker_core_seconds: float
    memory: int
    worker_memory: int
    pieces: int


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    found: list[dict[str, Any]] = []
    if options.results.is_file():
        found = json.loads(options.results.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for count in sorted(options.photos):
            table = in_new_process(write_copies, work, count, options.data_dir)
            measured = measure_training(table, work, options.image_size)
            others = [one for one in found if one["photos"] != count]
            found = sorted([*others, measured], key=lambda one: int(one["photos"]))
            write_json(options.results, found)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m tools.scale",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "--photos",
        nargs="+",
        type=int,
        default=[2000, 10000],
        metavar="N",
        help="train on so many (default: %(default)s)",
    )
    options.add_argument("--image_size", type=int, default=224, metavar="PIXELS")
    options.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="where photos, caches and runs go, and stay (default: a temporary folder)",
    )
    options.add_argument("--data_dir", help="where TFDS keeps data sets (default: as in training)")
    options.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    return options


def write_copies(work: Path, count: int, data_dir: str | None) -> Path:
    """Writes photos where they are not there yet, and a table that names `count` of them.

    Of ten photos of Oxford's one is to test on and one to choose on, so that no two copies of a
    photo are in different splits.
    """
    import_tensorflow()
    from keras_flowers.training import data

    photos = data.load_photos(DATASET, "train+validation", data_dir)
    rows: dict[int, tuple[str, str, str]] = {}
    for number, (_, content, label) in enumerate(photos.records.as_numpy_iterator()):
        split = {0: "test", 1: "validation"}.get(number % 10, "train")
        wanted = range(number, count, photos.count)
        files = [Path(f"copies/{copy // 1000:03}/{copy:06}.jpg") for copy in wanted]
        write_changed(content, wanted, [work / file for file in files])
        rows |= {
            copy: (str(file), photos.labels[label], split)
            for copy, file in zip(wanted, files, strict=True)
        }
    table = work / f"photos_{count}.csv"
    with atomic_replace(table) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        writer.writerows(rows[copy] for copy in range(count))
    return table


def write_changed(content: bytes, seeds: Sequence[int], files: Sequence[Path]) -> None:
    """Writes a copy of a photo for each seed where none is there: other light, noise, or mirrored.

    Args:
        content: A photo's bytes.
        seeds: Of what is changed.
        files: Where the copies go, JPEGs of `SHORT_SIDE_PX`.
    """
    missing = [one for one in zip(seeds, files, strict=True) if not one[1].is_file()]
    if not missing:
        return
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (SHORT_SIDE_PX, SHORT_SIDE_PX))
        scale = SHORT_SIDE_PX / min(image.size)
        size = (round(scale * image.width), round(scale * image.height))
        pixels = np.asarray(image.convert("RGB").resize(size), np.float32)
    for seed, path in missing:
        random = np.random.default_rng(seed)
        changed = (pixels - 128) * random.uniform(0.85, 1.15) + 128 + random.uniform(-12, 12, 3)
        changed += random.integers(-3, 4, pixels.shape, np.int8)
        if random.integers(2):
            changed = changed[:, ::-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(changed.clip(0, 255).round().astype(np.uint8))
        # Not atomic_replace, which waits for the disk each time.
        half = path.with_suffix(".half")
        picture.save(half, "jpeg", quality=85)
        half.replace(path)


def measure_training(table: Path, work: Path, image_size: int) -> dict[str, Any]:
    """What a training alone and one with Ray's workers take, for docs/scale.json.

    Raises:
        UserError: One fails, or they differ.
    """
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = {one: sum(row["split"] == one for row in rows) for one in ("train", "validation")}
    found: dict[str, Any] = {
        "photos": len(rows),
        "learned": sizes["train"],
        "image_size": image_size,
        "views": VIEWS,
        "epochs": EPOCHS,
        "photo_bytes": sum((work / row["path"]).stat().st_size for row in rows) // len(rows),
        "hardware": hardware(),
        "versions": versions(),
        # It tells later whether the machine had other work.
        "load": round(os.getloadavg()[1], 1),
    }
    made: list[tuple[dict[str, bytes], bytes]] = []
    for name, more in (("alone", []), ("ray", ["--engine", "ray", "--worker_cores", "1"])):
        with tempfile.TemporaryDirectory(dir=work) as folder:
            cache, run = Path(folder, "cache"), Path(folder, "run")
            command = [sys.executable, "-m", "keras_flowers", "train", "--data", str(table)]
            command += ["--views", str(VIEWS), "--epochs", str(EPOCHS), "--image_size"]
            command += [str(image_size), "--cache_dir", str(cache), "--output", str(run), *more]
            looks = watch(command, cache / "features", work / f"{table.stem}_{name}.log")
            made.append(_what_was_made(cache / "features", run / "model.keras"))
            rows_of_piece = max(len(np.load(io.BytesIO(one))) for one in made[-1][0].values())
            found[name] = stages(looks, sizes["train"], sizes["validation"], rows_of_piece)
    if made[0] != made[1]:
        raise UserError("Ray's workers gave other features or another model; see the logs")
    pieces = made[0][0]
    return {
        **found,
        "equal_pieces": len(pieces),
        "feature_bytes": sum(map(len, pieces.values())) / (len(rows) * VIEWS),
    }


def _what_was_made(features: Path, model: Path) -> tuple[dict[str, bytes], bytes]:
    with zipfile.ZipFile(model) as archive:
        weights = archive.read("model.weights.h5")
    return {path.name: path.read_bytes() for path in features.glob("*.npy")}, weights


def watch(command: Sequence[str], features: Path, log: Path) -> list[Look]:
    """Runs a training and looks at it again and again; its messages go into a file.

    Raises:
        UserError: It fails.
    """
    mark = uuid.uuid4().hex
    looks: list[Look] = []
    worked: dict[int, float] = {}
    started = time.perf_counter()
    with log.open("wb") as messages:
        process = subprocess.Popen(
            command, stdout=messages, stderr=messages, env={**os.environ, parts.MARK: mark}
        )
        while process.poll() is None:
            workers = parts.workers_of(mark)
            try:
                worked |= {worker: core_seconds(worker) for worker in workers}
                look = Look(
                    time.perf_counter() - started,
                    core_seconds(process.pid),
                    sum(worked.values()),
                    parts.memory_of(process.pid),
                    max(map(parts.memory_of, workers), default=0),
                    sum(1 for _ in features.glob("*.npy")),
                )
                looks.append(look)
            except OSError:
                pass  # it ended meanwhile
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise UserError(f"{' '.join(command)} failed; see {log}")
    return looks


def core_seconds(pid: int) -> float:
    """What a process has worked so far, all its threads together.

    Raises:
        OSError: There is no such process.
    """
    # Behind the name, which may have any characters.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stages(
    looks: Sequence[Look], learned: int, chosen: int, photos_of_piece: int
) -> dict[str, Any]:
    """What the stages of a training took, told apart by the pieces that were cached.

    Args:
        looks: At the training, from its start to its end.
        learned: How many photos it learned from; they are the first to be cached.
        chosen: How many it chose on; theirs come next, and the head is trained after them.
        photos_of_piece: How many of them go into a piece of one view.

    Returns:
        JSON-ready; the features' work and time are those between the first and the last piece, of
        so many views.
    """
    of_learned, of_chosen = -(-learned // photos_of_piece), -(-chosen // photos_of_piece)

    def at(pieces: int) -> Look:
        return next(look for look in looks if look.pieces >= pieces)

    first, last, done = at(1), at(of_learned), at(of_learned + of_chosen)
    quarters: list[list[Look]] = [[] for _ in range(4)]
    for look in looks:
        if 1 <= look.pieces <= of_learned:
            quarters[min(4 * (look.pieces - 1) // of_learned, 3)].append(look)
    work = last.core_seconds + last.worker_core_seconds
    seconds = {
        "seconds": looks[-1].seconds,
        "core_seconds": looks[-1].core_seconds + looks[-1].worker_core_seconds,
        "until_features_core_seconds": first.core_seconds,
        "feature_seconds": last.seconds - first.seconds,
        "feature_core_seconds": work - first.core_seconds - first.worker_core_seconds,
        "head_core_seconds": at(done.pieces + 1).core_seconds - done.core_seconds,
    }
    return {
        **{name: round(value, 2) for name, value in seconds.items()},
        "feature_views": (last.pieces - first.pieces) * photos_of_piece * VIEWS,
        "memory": max(look.memory for look in looks),
        "memory_by_quarter": [max((one.memory for one in some), default=0) for some in quarters],
        "worker_memory_by_quarter": [
            max((one.worker_memory for one in some), default=0) for some in quarters
        ],
    }


if __name__ == "__main__":
    exit_with(main)
