"""`predict --output FOLDER/`: many photos in parts, by one process, several, or a cluster."""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.commands.exit import EXIT_BAD_INPUT, EXIT_SOME_FAILED
from keras_flowers.errors import UserError
from keras_flowers.inference.text import printable
from keras_flowers.progress import progress_bar
from keras_flowers.system import available_cores

if TYPE_CHECKING:
    from keras_flowers.inference.classifier import Classifier
    from keras_flowers.inference.scale.folder import Count, RunFolder
    from keras_flowers.inference.scale.naming import Job
    from keras_flowers.inference.scale.plan import Plan
    from keras_flowers.inference.scale.ray_workers import Crew

EXAMPLES = """
  a million photos, in parts that a later call goes on from; then one table
    keras-flowers predict archive/ --output answers/
    keras-flowers merge answers/ --output answers.csv

  the same by two machines or terminals that share the folder: one says 1/2, one 2/2
    keras-flowers predict archive/ --output answers/ --shard 1/2

  by a Ray cluster, from a bucket
    keras-flowers predict s3://garden/archive --output answers/ --engine ray --ray_address auto
"""


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Adds the options of long runs."""
    group = parser.add_argument_group(
        "long runs (with --output FOLDER/, which needs the extra [scale])",
        "PHOTO may then also be a table with a column path (CSV, JSON lines, Parquet), a Parquet "
        "or tar file with photos inside, or an address that pyarrow reads (s3://, gs://, ...). The "
        "work is cut into parts; after an interruption the same command does what is left.",
    )
    group.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do one of N shares of the parts; N processes, anywhere, do all",
    )
    group.add_argument(
        "--engine",
        choices=("ray",),
        help="ray: on many cores or machines (default: one process on all cores)",
    )
    group.add_argument(
        "--ray_address",
        metavar="HOST:PORT",
        help="the cluster to work on, or auto for the one this machine is part of (default: this "
        "machine alone)",
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="--engine ray: how many (default: all cores)"
    )
    group.add_argument(
        "--worker_cores",
        type=int,
        default=1,
        metavar="N",
        help="--engine ray: how many cores a worker uses (default: %(default)s)",
    )
    group.add_argument(
        "--worker_memory",
        type=int,
        metavar="MIB",
        help="--engine ray: MiB to set aside for a worker; no machine gets more workers than fit",
    )
    group.add_argument(
        "--part_photos",
        type=int,
        metavar="N",
        help="photos of a part: what an interruption loses, for each worker (default: 512)",
    )
    group.add_argument(
        "--photo_seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="give up a photo that takes longer to read (default: %(default)g)",
    )


def is_in_parts(options: argparse.Namespace) -> bool:
    """Whether the options ask for parts.

    Raises:
        UserError: They ask for it, and for something that does not go with it.
    """
    for name in ("workers", "worker_cores", "worker_memory", "part_photos", "photo_seconds"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise UserError(f"--{name} is {value:g}; expected more than 0")
    for name in ("shard", "engine", "part_photos"):
        if getattr(options, name) is not None and not options.output_is_folder:
            raise UserError(f"--{name} is for --output FOLDER/, with the slash at its end")
    for name in ("ray_address", "workers", "worker_memory"):
        if getattr(options, name) is not None and options.engine is None:
            raise UserError(f"--{name} is for --engine ray; add it, or leave --{name} out")
    if not options.output_is_folder:
        return False
    given = {
        "--format": options.format,
        "--chart": options.chart,
        "--explain": options.explain,
        "--camera": options.camera,
    }
    if wrong := next((name for name, value in given.items() if value), None):
        raise UserError(
            f"{wrong} does not go with --output FOLDER/, which gets Parquet; keras-flowers merge "
            "FOLDER --output answers.csv makes another table of it"
        )
    return True


def answer_in_parts(options: argparse.Namespace, load: Callable[[int], Classifier]) -> int:
    """Names all photos that have no row yet; returns the exit code.

    Args:
        options: Those of `predict`.
        load: Loads the model for so many threads.
    """
    from keras_flowers.inference.scale.inputs import find_all
    from keras_flowers.inference.scale.naming import import_pyarrow
    from keras_flowers.inference.scale.plan import cut

    import_pyarrow()
    cores = options.worker_cores if options.engine else available_cores()
    job = _job(load(cores), options, cores)
    folder: Path = options.output
    with _made(folder):
        photos_of_a_part = _photos_of_a_part(options)
        with cut(find_all(options.photos, photos_of_a_part), photos_of_a_part, folder) as plan:
            run = _begin(options, job, plan, photos_of_a_part)
            return _do(run, plan, job, options)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is there, and not left behind empty where nothing came of it."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def _photos_of_a_part(options: argparse.Namespace) -> int:
    """As asked; otherwise as the run was begun."""
    from keras_flowers.inference.scale.folder import MANIFEST, RunFolder
    from keras_flowers.inference.scale.plan import PHOTOS_OF_A_PART

    if options.part_photos is not None:
        return int(options.part_photos)
    if not (options.output / MANIFEST).is_file():
        return PHOTOS_OF_A_PART
    begun = RunFolder.open(options.output).manifest.get("options", {})
    return int(begun.get("part_photos", PHOTOS_OF_A_PART))


def _job(classifier: Classifier, options: argparse.Namespace, cores: int) -> Job:
    from dataclasses import asdict

    from keras_flowers.inference.scale.naming import Job, digest_of_model

    assert classifier.origin is not None
    path = classifier.origin.path
    return Job(
        classifier.origin,
        classifier.labels,
        None if classifier.thresholds is None else asdict(classifier.thresholds),
        digest_of_model(path),
        min(options.top_k, len(classifier.labels)),
        cores,
        options.photo_seconds,
        path.read_bytes() if options.engine and path.is_file() else None,
    )


def _begin(options: argparse.Namespace, job: Job, plan: Plan, photos_of_a_part: int) -> RunFolder:
    from keras_flowers.inference.scale.folder import RunFolder
    from keras_flowers.inference.scale.places import without_secrets

    return RunFolder.begin(
        options.output,
        {
            "arguments": [without_secrets(printable(one)) for one in options.photos],
            "model": {"name": job.origin.path.name, "sha256": job.digest},
            "inputs": {
                "sha256": plan.digest,
                "photos": plan.photos,
                "shards_of_unknown_size": plan.unknown,
                "parts": len(plan),
            },
            "options": {
                "top_k": job.top_k,
                "thresholds": job.thresholds,
                "labels": list(job.labels) if options.category_names else None,
                "scale": options.scale,
                "part_photos": photos_of_a_part,
            },
        },
    )


def _do(run: RunFolder, plan: Plan, job: Job, options: argparse.Namespace) -> int:
    from keras_flowers.inference.scale.folder import Count, shard_of
    from keras_flowers.inference.scale.work import do_all

    numbers = shard_of(len(plan), options.shard or (1, 1))
    left, before, done, changed = [], Count(), Count(), 0
    for number in numbers:
        is_there = run.is_done(number)
        count = run.count(number, plan.times_of(number)) if is_there else None
        if count is not None:
            before += count
            continue
        left.append(number)
        if is_there:
            # At once, so that no table is made of rows of photos that are not there any more.
            run.forget(number)
            changed += 1
    if changed:
        parts = "1 part is" if changed == 1 else f"{changed} parts are"
        print(f"{parts} done again: photos were changed since", file=sys.stderr)
    start: float | None = None if left else time.monotonic()
    try:
        if left:
            with _crew(job, options) as crew, _progress(plan, left) as show:
                start = time.monotonic()
                for part, table in do_all(map(plan.part, left), crew.new_worker, crew.workers):
                    count = run.write(part.number, table, plan.times_of(part.number))
                    done += count
                    show(part.photos is None, count, before.failed + done.failed)
    finally:  # also after Ctrl-C, but not where no worker was to be had
        total = before + done
        if start is not None:
            is_complete = all(run.is_done(number) for number in range(len(plan)))
            print(_summary(total, done, time.monotonic() - start, options), file=sys.stderr)
            print(_advice(run.path, is_complete), file=sys.stderr)
    if total.photos and total.failed == total.photos:
        return EXIT_BAD_INPUT
    return EXIT_SOME_FAILED if total.failed else 0


@contextmanager
def _crew(job: Job, options: argparse.Namespace) -> Iterator[Crew]:
    from keras_flowers.inference.scale.local_worker import LocalWorker
    from keras_flowers.inference.scale.naming import start_naming
    from keras_flowers.inference.scale.ray_workers import Crew, ray_workers

    make = functools.partial(start_naming, job)
    if options.engine is None:
        # One process, which has the cores: the photos of a part are read and named by threads.
        yield Crew(functools.partial(LocalWorker, make), 1)
        return
    with ray_workers(
        make,
        address=options.ray_address,
        workers=options.workers,
        cores=options.worker_cores,
        memory_mb=options.worker_memory,
    ) as crew:
        yield crew


@contextmanager
def _progress(plan: Plan, left: list[int]) -> Iterator[Callable[[bool, Count, int], None]]:
    """A bar of photos: how many are done, a second, the time left, and how many failed."""
    parts = [plan.photos_of(number) for number in left]
    known = sum(number or 0 for number in parts)
    unknown = parts.count(None)
    bar = progress_bar(total=known or None, unit="photo", description="naming", leave=False)
    seen = seen_photos = 0

    def show(was_unknown: bool, count: Count, failed: int) -> None:
        nonlocal seen, seen_photos
        if was_unknown:
            # The photos in a tar are known once it is read; the others are taken to have as many.
            seen, seen_photos = seen + 1, seen_photos + count.photos
            bar.total = known + seen_photos + (unknown - seen) * seen_photos // seen
        bar.set_postfix(failed=failed, refresh=False)
        bar.update(count.photos)

    try:
        yield show
    finally:
        bar.close()


def _summary(total: Count, done: Count, seconds: float, options: argparse.Namespace) -> str:
    """What has its row: by this command, and by those before it."""
    text = f"{total.photos - total.failed} of {total.photos} photos named"
    if options.shard:
        text += f", share {options.shard[0]} of {options.shard[1]}"
    if done.photos:
        text += f", {done.photos} of them now, {done.photos / max(seconds, 1e-6):.1f}/s"
    if total.failed:
        whose = "its row says" if total.failed == 1 else "their rows say"
        text += f"; {total.failed} could not be read; {whose} why"
    return text


def _advice(folder: Path, is_complete: bool) -> str:
    if is_complete:
        return f"all parts are there; one table: keras-flowers merge {printable(folder)}"
    return "parts are missing; the other shares, or the same command, do what is left"


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; expected I/N, such as 1/4 to 4/4")
    return int(match[1]), int(match[2])


def is_folder(output: str) -> bool:
    """Whether --output names a folder: it is one, or its name ends with a slash.

    >>> is_folder("rows.csv"), is_folder("rows/")
    (False, True)
    """
    return output.endswith(("/", os.sep)) or os.path.isdir(output)
