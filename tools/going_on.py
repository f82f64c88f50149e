"""Measures what going on from the model that ships costs old flowers, and what new ones gain.

The new flowers are pairs of "other flowers" of what tools/fetch_field.py makes: 15 photos of each
are learned from, drawn from train.csv, and all of them that are of other sources are tested on. The
old flowers are judged by the photos of validation.csv that show them; these say, too, how readily
the new ones may be named. Of each photo the whole view counts, and the features are whitened as the
old photos ask for.

The settings were chosen on the first pairs; the others confirm them. The figures go into
docs/going_on.json; `python tools/results.py --render` puts them into the page.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.files import write_json
from keras_flowers.system import import_tensorflow
from keras_flowers.training.config import cache_folder
from keras_flowers.training.run_directory import Run, finished_run
from keras_flowers.training.sources import open_photos
from keras_flowers.training.sources.source import ALL
from keras_flowers.training.views import View
from tools.new_flowers import LEARNED, TEST, parser_of_measure, read_rows

if TYPE_CHECKING:
    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.data import LabelledPhotos
    from keras_flowers.training.whitening import Array, Whitening

RESULTS = Path(__file__).parents[1] / "docs" / "going_on.json"

PHOTOS = 15
"""Of each new flower, to learn from."""

PAIRS = {
    "chosen on": [
        ("tulip", "hydrangea"),
        ("begonia", "tulip"),
        ("hydrangea", "lavender"),
        ("tulip", "peony"),
        ("peony", "jasmine"),
    ],
    "others": [
        ("tulip", "jasmine"),
        ("hydrangea", "peony"),
        ("zinnia", "lavender"),
        ("begonia", "jasmine"),
        ("zinnia", "tulip"),
    ],
}

EXAMPLES = """example:
      python -m tools.going_on --run RUN --field FOLDER && python tools/results.py --render
"""


class Features(NamedTuple):
    """What the network gave for photos.

    Attributes:
        train: Of its classes, those that it has learned from.
        validation: Of its classes, others.
        new: Of other flowers.
        species: Of each of `new`.
        sources: Of each of `new`, who took it or where it was found.
        learnable: bool, which of `new` may be learned from.
    """

    train: CachedFeatures
    validation: CachedFeatures
    new: CachedFeatures
    species: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    learnable: npt.NDArray[np.bool_]


class Head(NamedTuple):
    """The head of a finished model.

    Attributes:
        kernel: float32 [D, K].
        bias: float32 [K].
        temperature: By which its logits are divided afterwards.
        means: float32 [K, D], the mean features of its classes.
        whitening: Of the features of its photos.
    """

    kernel: Array
    bias: Array
    temperature: float
    means: Array
    whitening: Whitening


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    import_tensorflow()
    run = finished_run(options.run, "--run")
    head, features = head_and_features(run, options.field, cache_folder(options.cache_dir))
    pairs = {
        group: [
            {"pair": pair, "seed": seed, **measure(head, features, pair, seed)}
            for pair in several
            for seed in options.seeds
        ]
        for group, several in PAIRS.items()
    }
    old = len(features.validation.labels)
    write_json(options.results, {"photos": PHOTOS, "old_photos": old, "pairs": pairs})
    print(f"written to {options.results}; python tools/results.py --render puts it into the page")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = parser_of_measure(__doc__, EXAMPLES, RESULTS)
    options.add_argument(
        "--run",
        required=True,
        metavar="FOLDER",
        help="of the training of the model that ships, with its photos where they were",
    )
    return options


def head_and_features(run: Run, field: Path, cache: Path) -> tuple[Head, Features]:
    """The head of a finished model, and what its network gives for all photos."""
    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.features import FeatureExtractor, stored_order
    from keras_flowers.training.known import without_known
    from keras_flowers.training.model import FEATURES, OUTPUT, split_at
    from keras_flowers.training.whitening import fit_whitening, measure_moments

    model = without_known(run.load_model())
    temperature = float(run.metrics["temperature"])
    kernel, bias = (weights * temperature for weights in model.get_layer(OUTPUT).get_weights())
    extractor = FeatureExtractor(
        split_at(model, FEATURES)[0], seed=0, folder=cache / "features", run="going_on"
    )

    def seen(photos: LabelledPhotos) -> CachedFeatures:
        features = extractor.features(photos, [View.FULL])
        views = [np.asarray(view[:], np.float16) for view in features.views]
        return CachedFeatures(views, features.labels)

    labels = run.metadata.labels
    known = open_photos([str(field / TEST)], cache_dir=cache, labels=labels, divide=False)
    wanted = {species for several in PAIRS.values() for pair in several for species in pair}
    rows = [row for row in read_rows(field) if row["species"] in wanted]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "new.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label", "source"))
            # The origin of a photo is then its table and its source.
            writer.writerows(
                (row["path"], row["species"], f"{row['file']}:{row['source']}") for row in rows
            )
        species = tuple(sorted(wanted))
        others = open_photos([str(table)], cache_dir=cache, labels=species, divide=False)
        photos = others.photos(ALL)
        new = seen(photos)
    sources = np.array([photos.origins[number] for number in stored_order(photos).tolist()])
    train = seen(run.photos(str(run.settings["train_split"])))
    moments = measure_moments(train, len(labels))
    whitening = fit_whitening(moments, float(run.settings["shrinkage"]))
    return Head(kernel, bias, temperature, moments.means, whitening), Features(
        train,
        seen(known.photos(ALL)),
        new,
        np.array(species)[new.labels],
        sources,
        np.char.startswith(sources, LEARNED),
    )


def measure(head: Head, features: Features, pair: Sequence[str], seed: int) -> dict[str, Any]:
    """Goes on with photos of two new flowers.

    Args:
        head: Of the model.
        features: Of all photos.
        pair: The new flowers.
        seed: Of the photos that are drawn.

    Returns:
        `tested`: the photos of new flowers that are. `old`: the change of the accuracy on
        photos of old flowers. `new`: the share of `tested` that is named right. Both are a share
        for each of how the biases of new classes are: `fitted` by the photos learned from, and
        `balanced`, as it is built.
    """
    from keras_flowers.training.batches import CachedFeatures
    from keras_flowers.training.metrics import top_k_correct
    from keras_flowers.training.new_classes import grow_head
    from keras_flowers.training.start_from import balance_new

    known = len(head.bias)
    random = np.random.default_rng(seed)
    drawn = [
        random.permutation(np.flatnonzero((features.species == one) & features.learnable))[:PHOTOS]
        for one in pair
    ]
    learned = np.concatenate(drawn)
    labels = known + np.repeat(np.arange(len(pair)), [len(one) for one in drawn])
    train = CachedFeatures(
        [np.vstack([features.train.views[0][:], features.new.views[0][learned]])],
        np.append(features.train.labels, labels),
    )
    start = head.kernel, head.bias
    new_means = [features.new.views[0][one].astype(np.float32).mean(axis=0) for one in drawn]
    means = np.vstack([head.means, *new_means])
    grown = grow_head(start, head.temperature, train, means, head.whitening)
    balanced = balance_new(grown.kernel, grown.bias, start, features.validation, grown.apart)
    is_other = ~np.isin(features.sources, features.sources[learned])
    tested = np.flatnonzero(np.isin(features.species, pair) & is_other)
    answers = known + np.array([list(pair).index(one) for one in features.species[tested]])

    def right(of: CachedFeatures, kernel: Array, bias: Array) -> float:
        rows = np.asarray(of.views[0][:], np.float32)
        return float(top_k_correct(rows @ kernel + bias, of.labels, 1).mean())

    new = CachedFeatures([features.new.views[0][tested]], answers)
    before = right(features.validation, *start)
    found: dict[str, Any] = {"tested": len(tested)}
    for name, biases in (("fitted", grown.bias), ("balanced", balanced)):
        found[name] = {
            "old": right(features.validation, grown.kernel, biases) - before,
            "new": right(new, grown.kernel, biases),
        }
    print(f"{' and '.join(pair)}, seed {seed}: {found}", flush=True)
    return found


if __name__ == "__main__":
    exit_with(main)
