"""Measures bases on flowers that are none of the 102: own photos, 5, 10 and 20 of each flower.

The flowers are those "other flowers" of what tools/fetch_field.py makes that have 20 photos in
train.csv. The photos to learn from are drawn from there; the test are all photos of these flowers
in validation.csv, which are of other sources. The network that ships has learned nothing from the
latter; the former it has seen without their names. Only the head is trained, as `keras-flowers
train` does it.

The figures go into docs/new_flowers.json; `python tools/results.py --render` puts them into the
pages.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.files import write_json
from keras_flowers.system import import_tensorflow
from keras_flowers.training.config import TrainConfig, cache_folder
from keras_flowers.training.recipes import FIELD_VARIABLE
from keras_flowers.training.sources import open_photos
from keras_flowers.training.sources.source import ALL

if TYPE_CHECKING:
    from keras_flowers.training.batches import CachedFeatures

RESULTS = Path(__file__).parents[1] / "docs" / "new_flowers.json"

LEARNED, TEST = "train.csv", "validation.csv"
SHOTS = (5, 10, 20)

EXAMPLES = """example:
      python tools/new_flowers.py --field FOLDER && python tools/results.py --render
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    import_tensorflow()
    rows = with_enough(read_rows(options.field), max(SHOTS))
    tested = Counter(row["species"] for row in rows if row["file"] == TEST)
    found: dict[str, Any] = {
        "flowers": dict(tested.most_common()),
        "photos": tested.total(),
        "image_size": options.image_size,
        "seeds": options.seeds,
        "bases": {},
    }
    for base in options.bases:
        photos = features_of(rows, base, options.image_size, options.cache_dir)
        found["bases"][Path(base).name] = measured = measure(*photos, options.seeds)
        for shots in SHOTS:
            print(f"{base}, {shots} photos a flower: {in_per_cent(measured[str(shots)])}")
    write_json(options.results, found)
    print(f"written to {options.results}; python tools/results.py --render puts it into the pages")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = parser_of_measure(__doc__, EXAMPLES, RESULTS)
    options.add_argument(
        "--bases",
        nargs="+",
        default=["MobileNetV2", "flowers102"],
        metavar="BASE",
        help="as --base of keras-flowers train takes them (default: %(default)s)",
    )
    options.add_argument("--image_size", type=int, default=320, metavar="PIXELS")
    return options


def parser_of_measure(
    description: str | None, examples: str, results: Path
) -> argparse.ArgumentParser:
    """The options of whatever is measured on draws of other flowers: photos, draws, places.

    Args:
        description: What is measured.
        examples: For the end of the help.
        results: The file that is written where none is said.
    """
    options = argparse.ArgumentParser(
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    field = os.environ.get(FIELD_VARIABLE)
    options.add_argument(
        "--field",
        type=Path,
        default=field and Path(field),
        required=field is None,
        metavar="FOLDER",
        help="what tools/fetch_field.py makes (default: $KERAS_FLOWERS_FIELD)",
    )
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    options.add_argument("--cache_dir", metavar="FOLDER", help="as in keras-flowers train")
    options.add_argument("--results", type=Path, default=results, metavar="FILE")
    return options


def read_rows(field: Path) -> list[dict[str, str]]:
    """The rows of both tables that show other flowers, with absolute paths and their table."""
    rows = []
    for name in (LEARNED, TEST):
        with (field / name).open(encoding="utf-8", newline="") as file:
            rows += [
                {**row, "path": str((field / row["path"]).resolve()), "file": name}
                for row in csv.DictReader(file)
                if row["kind"] == "other flower"
            ]
    return rows


def with_enough(rows: Sequence[dict[str, str]], count: int) -> list[dict[str, str]]:
    """The rows of the species that have so many photos to learn from, and some to test on."""
    counts = Counter((row["species"], row["file"]) for row in rows)
    return [
        row
        for row in rows
        if counts[row["species"], LEARNED] >= count and counts[row["species"], TEST]
    ]


def features_of(
    rows: Sequence[dict[str, str]], base: str, image_size: int, cache_dir: str | None
) -> tuple[CachedFeatures, list[str]]:
    """Features of all views of the photos that can be read, and the table that each stands in."""
    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.features import FeatureExtractor, stored_order
    from keras_flowers.training.model import FEATURES, build_model, split_at

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "new_flowers.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "source"))
            # The origin of a photo is then the table that it stands in.
            writer.writerows((row["path"], row["species"], row["file"]) for row in rows)
        cache = cache_folder(cache_dir)
        species = tuple(sorted({row["species"] for row in rows}))
        photos = open_photos([str(table)], cache_dir=cache, labels=species, divide=False).photos(
            ALL
        )
        trunk = split_at(build_model(base, image_size, 2), FEATURES)[0]
        extractor = FeatureExtractor(trunk, seed=0, folder=cache / "features", run="new_flowers")
        features = extractor.features(photos, range(TrainConfig.views))
        # Read before the table is gone.
        views = [np.asarray(view[:], np.float16) for view in features.views]
    tables = [photos.origins[number] for number in stored_order(photos).tolist()]
    return CachedFeatures(views, features.labels), tables


def measure(
    features: CachedFeatures, tables: Sequence[str], seeds: Sequence[int]
) -> dict[str, list[float]]:
    """For each number of photos a flower the share of test photos named right, by seed."""
    found: dict[str, list[float]] = {str(shots): [] for shots in SHOTS}
    for seed in seeds:
        drawn = draw(features.labels, np.array(tables) == LEARNED, max(SHOTS), seed)
        test = np.flatnonzero(np.array(tables) == TEST)
        for shots in SHOTS:
            learned = np.concatenate([numbers[:shots] for numbers in drawn])
            found[str(shots)].append(score(features, learned, test, seed))
    return found


def draw(
    labels: npt.NDArray[np.int64], allowed: npt.NDArray[np.bool_], count: int, seed: int
) -> list[npt.NDArray[np.intp]]:
    """For each class the numbers of photos to learn from, in a random order.

    Args:
        labels: int [N], the class of each photo.
        allowed: bool [N], which of them may be drawn.
        count: How many are drawn of each class.
        seed: Of the draw.

    Raises:
        UserError: A class has too few.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(np.flatnonzero(allowed))
    drawn = [shuffled[labels[shuffled] == one][:count] for one in range(labels.max() + 1)]
    if min(map(len, drawn)) < count:
        raise UserError(
            f"a flower has less than {count} photos that can be read; expected the whole of what "
            "tools/fetch_field.py makes"
        )
    return drawn


def score(
    features: CachedFeatures,
    learned: npt.NDArray[np.intp],
    test: npt.NDArray[np.intp],
    seed: int,
) -> float:
    """Trains a head on some photos, and gives the share of others that it names right."""
    import keras

    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.head import fit_head
    from keras_flowers.training.metrics import top_k_correct
    from keras_flowers.training.train import epochs_for

    config = dataclasses.replace(TrainConfig(), seed=seed)
    train = CachedFeatures([view[learned] for view in features.views], features.labels[learned])
    inputs = keras.Input(features.views[0].shape[1:])
    classes = int(features.labels.max()) + 1
    tail = keras.Model(inputs, keras.layers.Dense(classes, "softmax", name="probabilities")(inputs))
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_head(
            tail,
            train,
            None,
            config,
            epochs_for(len(train.views) * len(learned), config.batch_size),
            checkpoint=Path(folder) / "head.npz",
            title=f"{len(learned)} photos",
        )
    rows = np.asarray(features.views[0][test], np.float32)
    labels = features.labels[test]
    correct = top_k_correct(rows @ fitted.kernel + fitted.bias, labels, 1)
    return float(correct.mean())


def in_per_cent(shares: Sequence[float]) -> str:
    """Mean and standard deviation, as in `83.1 ± 1.2`."""
    spread = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.mean(shares):.1f}{spread}"


if __name__ == "__main__":
    exit_with(main)
