"""Compares finished runs on the same photos: scores, and whether their difference is chance."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.system import import_tensorflow
from keras_flowers.training import metrics
from keras_flowers.training.config import TrainConfig, cache_folder
from keras_flowers.training.evaluate import count_learned
from keras_flowers.training.run_directory import Run, finished_run

if TYPE_CHECKING:
    from keras_flowers.training.sources.labelled import LabelledPhotos

_logger = logging.getLogger(__name__)

CHANCE = 0.05
"""A difference that is likelier than this between equally good models is taken for chance."""

_PLACES = ("output", "overwrite", "cache_dir", "data_dir", "export")  # change nothing in a model


class Pair(NamedTuple):
    """Two models on the same photos, as McNemar's test sees them.

    Attributes:
        first: The name of the first.
        second: The name of the second.
        photos: How many photos there are.
        only_first: How many the first alone names right.
        only_second: How many the second alone names right.
        p: How likely two equally good models would differ by as much or more, from the exact
            binomial distribution, two-sided (McNemar 1947); with several pairs corrected for their
            number (Holm 1979).
    """

    first: str
    second: str
    photos: int
    only_first: int
    only_second: int
    p: float

    @property
    def points(self) -> float:
        """By how many points of 100 the second is more accurate."""
        return 100 * (self.only_second - self.only_first) / self.photos

    @property
    def is_more_than_chance(self) -> bool:
        """Whether the two differ by more than chance explains."""
        return self.p < CHANCE

    @property
    def photos_to_tell(self) -> int | None:
        """About how many photos would tell, if the difference is as it seems; None: it is none.

        The difference is then two of its standard errors.
        """
        if self.only_first == self.only_second:
            return None
        differ = (self.only_first + self.only_second) / self.photos
        return round(4 * differ / (self.points / 100) ** 2)


@dataclass(frozen=True)
class Compared:
    """A run on the photos of a comparison.

    Attributes:
        run: The run.
        name: What tells it from the others.
        scores: How good it is.
        correct: bool [photos], whether it names each right.
    """

    run: Run
    name: str
    scores: metrics.Scores
    correct: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Runs on the same photos.

    Attributes:
        runs: The runs, the first of which the others are compared with.
        split: What the photos are called.
        photos: How many photos all of them have there.
        left_out: How many photos there only some of the runs have, or call otherwise.
        learned: By name of a run, how many of the photos it was trained on; those with none are
            not in it.
        sources: How many sources the photos are of.
        settings: The settings that differ: name and value in each run.
        pairs: The first run with each of the others.
    """

    runs: tuple[Compared, ...]
    split: str
    photos: int
    left_out: int
    learned: dict[str, int]
    sources: int
    settings: tuple[tuple[str, tuple[Any, ...]], ...]
    pairs: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "split": self.split,
            "photos": self.photos,
            "left_out": self.left_out,
            "learned": self.learned,
            "settings": {name: list(values) for name, values in self.settings},
            "runs": [{"run": str(one.run.folder), **one.scores.as_dict()} for one in self.runs],
            "pairs": [pair._asdict() for pair in self.pairs],
        }


def compare_runs(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    data_dir: str | None = None,
    sources: Sequence[str | Path] = (),
    label_map: Sequence[str] = (),
) -> Comparison:
    """Scores runs on the photos that all of them have in a split, or on others.

    Cached features are used; what is missing is computed once and cached.

    Args:
        paths: The folders of two or more finished runs, or `flowers102`: the model that ships.
        split: A split of each; None: validation, where none of them has learned from it, else test.
        data_dir: Where TFDS keeps data sets; None: where training had them from.
        sources: Photos to use in the place of a split, as --data takes them.
        label_map: Files that say which of the models' classes their labels are.

    Raises:
        UserError: There are fewer than two, one is no finished run, or they have no photos in
            common.
    """
    if len({Path(path).resolve() for path in paths}) < max(len(paths), 2):
        raise UserError("expected two or more different runs: keras-flowers compare RUN RUN")
    runs = [
        dataclasses.replace(
            finished_run(str(path), "the run"),
            sources=tuple(map(str, sources)),
            label_map=tuple(label_map),
        )
        for path in paths
    ]
    import_tensorflow()
    photos, split = _open(runs, split, data_dir)
    chosen, left_out = _in_common(photos)
    names = _names(runs)
    if not chosen:
        raise UserError(
            f"{names[0]} and the others have no photo of {split} in common, so nothing compares "
            "them; name labelled photos that none has learned from: --data SOURCE"
        )
    origins = dict(zip(photos[0].digests.tolist(), photos[0].origins, strict=True))
    compared = tuple(
        _score(run, name, one, chosen, [origins[digest] for digest in chosen])
        for run, name, one in zip(runs, names, photos, strict=True)
    )
    learned = {
        name: count
        for run, name, one in zip(runs, names, photos, strict=True)
        if (count := count_learned(one, run.metadata.provenance, run))
    }
    return Comparison(
        runs=compared,
        split=split,
        photos=len(chosen),
        left_out=left_out,
        learned=learned,
        sources=len(set(origins.values())),
        settings=_different_settings(runs),
        pairs=_pairs(compared),
    )


def _open(
    runs: Sequence[Run], split: str | None, data_dir: str | None
) -> tuple[list[LabelledPhotos], str]:
    """The photos of each run in the split asked for, or in that which suits all."""
    if runs[0].sources:
        return [run.photos("", data_dir) for run in runs], " + ".join(runs[0].sources)
    if split is not None:
        return [run.photos(split, data_dir) for run in runs], split
    photos = [run.photos("validation", data_dir) for run in runs]
    for run, one in zip(runs, photos, strict=True):
        if count_learned(one, run.metadata.provenance, run):
            _logger.info(f"{run.folder} has learned from validation: test is taken")
            return [run.photos("test", data_dir) for run in runs], "test"
    return photos, "validation"


def _in_common(photos: Sequence[LabelledPhotos]) -> tuple[list[bytes], int]:
    """The digests of the photos that all have under the same name, and how many others there are.

    >>> from types import SimpleNamespace as Photos
    >>> one = Photos(digests=np.array([b"a", b"b", b"c"]), label_numbers=[0, 1, 1], labels="xy")
    >>> two = Photos(digests=np.array([b"c", b"b"]), label_numbers=[0, 0], labels="yx")
    >>> _in_common([one, two])
    ([b'b', b'c'], 1)
    """
    named = [
        {
            digest: one.labels[label]
            for digest, label in zip(one.digests.tolist(), one.label_numbers, strict=True)
            if label >= 0
        }
        for one in photos
    ]
    common = set.intersection(*(set(one.items()) for one in named))
    every = {digest for one in named for digest in one}
    return sorted(digest for digest, _ in common), len(every) - len(common)


def _score(
    run: Run,
    name: str,
    photos: LabelledPhotos,
    chosen: Sequence[bytes],
    origins: Sequence[str],
) -> Compared:
    """Scores a run on some of the photos of a split, through cached features."""
    from keras_flowers.training import fit
    from keras_flowers.training.features import FeatureExtractor, stored_order
    from keras_flowers.training.known import without_known
    from keras_flowers.training.model import FEATURES, split_at
    from keras_flowers.training.views import View

    trunk, tail = split_at(without_known(run.load_model()), FEATURES)
    extractor = FeatureExtractor(
        trunk,
        seed=int(run.settings.get("seed", 0)),
        folder=cache_folder(run.settings.get("cache_dir")) / "features",
        run=run.name,
    )
    cached = extractor.features(photos, [View.FULL])
    probabilities, classes = fit.predict_all(tail, cached)
    digests = photos.digests[stored_order(photos)].tolist()
    place = {digest: number for number, digest in enumerate(digests)}
    rows = [place[digest] for digest in chosen]
    probabilities, classes = probabilities[rows], classes[rows]
    return Compared(
        run,
        name,
        metrics.score(probabilities, classes, origins),
        metrics.top_k_correct(probabilities, classes, 1),
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the folders; their whole paths where two have the same name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _different_settings(runs: Sequence[Run]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Name and value in each run of the settings that are not the same in all."""
    defaults = dataclasses.asdict(TrainConfig())
    made = [{**defaults, **run.settings} for run in runs]
    found = []
    for name in made[0]:
        values = tuple(one.get(name) for one in made)
        if name not in _PLACES and any(value != values[0] for value in values):
            found.append((name, values))
    return tuple(found)


def _pairs(compared: Sequence[Compared]) -> tuple[Pair, ...]:
    first, *others = compared
    counts = [
        (
            int((first.correct & ~one.correct).sum()),
            int((one.correct & ~first.correct).sum()),
        )
        for one in others
    ]
    chances = holm([mcnemar(*count) for count in counts])
    return tuple(
        Pair(first.name, one.name, len(first.correct), *count, p)
        for one, count, p in zip(others, counts, chances, strict=True)
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """How likely equally good models would differ as much or more: exact, two-sided.

    Args:
        only_first: How many photos the first model alone names right.
        only_second: How many the second alone names right.

    >>> mcnemar(0, 0), round(mcnemar(5, 15), 4), round(mcnemar(15, 5), 4)
    (1.0, 0.0414, 0.0414)
    """
    from scipy.stats import binomtest

    differ = only_first + only_second
    return float(binomtest(only_first, differ, 0.5).pvalue) if differ else 1.0


def holm(chances: Sequence[float]) -> list[float]:
    """Probabilities of several tests, corrected for their number (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(chances), 0.0
    for rank, number in enumerate(np.argsort(chances, kind="stable").tolist()):
        highest = max(highest, min((len(chances) - rank) * chances[number], 1.0))
        corrected[number] = highest
    return corrected
