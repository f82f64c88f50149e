"""Trains and scores the recipes, keeps every figure in one file, and renders the tables from it.

The recipes are those of keras_flowers/training/recipes.py, the file is docs/results.json, and the
tables are those of README.md and of the card of the model that ships. Where a page says in words
how good that model is, the sentence is rendered, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_flowers.commands.exit import exit_with
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError
from keras_flowers.files import write_json, write_text
from keras_flowers.training.answers import KEPT, AnswerCounts, Separation, answers_as_dict
from keras_flowers.training.evaluate import Evaluation, evaluate_model
from keras_flowers.training.model import build_model, image_size_of
from keras_flowers.training.recipes import FIELD_VARIABLE, RECIPES
from keras_flowers.training.run_directory import Run
from keras_flowers.training.train import train_model

ROOT = Path(__file__).parents[1]
SPECIES = Path(__file__).with_name("field_species.csv")
RESULTS = ROOT / "docs" / "results.json"
README = ROOT / "README.md"
SHIPPED = ROOT / "saved_models" / "flowers102"
CARD = SHIPPED / "README.md"
START = ROOT / "docs" / "index.md"
OWN_FLOWERS = ROOT / "docs" / "own_flowers.md"
NEW_FLOWERS = ROOT / "docs" / "new_flowers.json"
GOING_ON = ROOT / "docs" / "going_on.json"
DOUBT = ROOT / "docs" / "doubt.md"
QUESTIONS = ROOT / "docs" / "faq.md"
MANY_PHOTOS = ROOT / "docs" / "scale.md"
SCALE = MANY_PHOTOS.with_suffix(".json")

SHIPPED_RECIPE, SHIPPED_SEED = "flowers102", 0
FLOWERS = 102

TEN_MILLION = 10_000_000
CORE_HOUR_DOLLARS = 0.04  # a usual price for a rented one

EXAMPLES = """examples:
  everything, with three seeds (hours; what is finished is not trained again)
      python tools/results.py --field FOLDER
  two of them, once; the others' figures stay as they are
      python tools/results.py --recipes frozen frozen_2040 --seeds 0
  the model that ships as it lies there, without training it again
      python tools/results.py --recipes flowers102 --seeds 0 --shipped
  the tables and sentences alone, after a merge
      python tools/results.py --render

FOLDER is what tools/fetch_field.py makes: its validation.csv lists photos as people take them, on
which settings may be chosen. Without it the field's columns keep what was measured before.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    show_messages()
    results = read_results(options.results)
    if not options.render:
        for seed in options.seeds:
            for name in options.recipes:
                shipped = options.shipped and (name, seed) == (SHIPPED_RECIPE, SHIPPED_SEED)
                add_run(results, name, measure(name, seed, options.runs, options.field, shipped))
                # After each, since each may take an hour.
                write_json(options.results, results)
    if options.results == RESULTS:
        for page, name, what in RENDERED:
            render(page, name, what(results))
    print(recipe_table(results))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--recipes",
        nargs="+",
        choices=RECIPES,
        default=list(RECIPES),
        metavar="RECIPE",
        help=f"some of {', '.join(RECIPES)} (default: all)",
    )
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    options.add_argument(
        "--runs",
        type=Path,
        default=Path("saved_models/results"),
        metavar="FOLDER",
        help="each run goes into FOLDER/seed_SEED/RECIPE (default: %(default)s)",
    )
    field = os.environ.get(FIELD_VARIABLE)
    options.add_argument(
        "--field",
        type=Path,
        default=field and Path(field),
        metavar="FOLDER",
        help="also score on FOLDER/validation.csv (default: $KERAS_FLOWERS_FIELD)",
    )
    options.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help="where the figures are kept; with another file, no table is rendered (default: "
        "docs/results.json)",
    )
    options.add_argument(
        "--shipped",
        action="store_true",
        help=f"score saved_models/{SHIPPED_RECIPE} in the place of seed {SHIPPED_SEED} of its "
        "recipe",
    )
    options.add_argument(
        "--render",
        action="store_true",
        help="measure nothing, only write the tables and sentences again",
    )
    return options


def measure(
    name: str, seed: int, runs: Path, field: Path | None, shipped: bool = False
) -> dict[str, Any]:
    """Trains a recipe where that is not done yet, and scores it.

    Args:
        name: Of the recipe.
        seed: Of all that is random in it.
        runs: The folder of the runs of all seeds.
        field: The folder with the field's photos; None: they are not at hand.
        shipped: Whether the model that ships is scored instead of a training's.

    Returns:
        JSON-ready: what `docs/results.json` holds of one run.
    """
    if shipped:
        run = Run.at(SHIPPED)
        file = run.tflite_path("float16")
        test = _with_answers(evaluate_model(file, split="test"))
    else:
        config = RECIPES[name](runs / f"seed_{seed}", seed)
        run = Run.at(config.run_dir)
        if not run.is_finished:
            train_model(config)
        file = run.model_path
        test = run.metrics["scores"]["test"]
    settings = run.settings
    base = str(settings["base"])
    size = settings.get("image_size") or image_size_of(base)
    found = {
        "seed": seed,
        "file": file.name,
        "base": base,
        "image_size": size,
        "parameters": build_model(base, size, FLOWERS).count_params(),
        "trained_on": run.metrics["trained_on"],
        "test": test,
        "seconds": run.metrics["seconds"],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {one: version(one) for one in ("keras_flowers", "tensorflow", "keras")},
        "commit": _commit(),
    }
    if field is not None:
        table = str(field / "validation.csv")
        evaluation = evaluate_model(file, sources=[table], taxonomy=SPECIES)
        found["field"] = {
            "sources": len(evaluation.by_source),
            "left_out_unknown": evaluation.unknown_count,
            **(_with_answers(evaluation) if shipped else evaluation.scores.as_dict()),
        }
    return found


def _with_answers(evaluation: Evaluation) -> dict[str, Any]:
    """The scores, and what is said by kind of photo; a point of the curve for each 10 %."""
    points = [point._asdict() for point in evaluation.coverage[::10]]
    answers = answers_as_dict(evaluation.answers, evaluation.doubt)
    separations = [one._asdict() for one in evaluation.separations]
    said = {"answers": answers, "coverage": points, "separations": separations}
    return {**evaluation.scores.as_dict(), **said}


def add_run(results: dict[str, list[dict[str, Any]]], name: str, found: dict[str, Any]) -> None:
    """Puts a run in the place of an earlier one of its recipe and seed."""
    earlier = [one for one in results.get(name, []) if one["seed"] == found["seed"]]
    if earlier and "field" in earlier[0]:
        found.setdefault("field", earlier[0]["field"])
    others = [one for one in results.get(name, []) if one["seed"] != found["seed"]]
    results[name] = sorted([*others, found], key=lambda one: int(one["seed"]))


def read_results(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The runs of each recipe; empty where nothing was measured yet."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {str(name): list(runs) for name, runs in content.items()}


def _table_head(titles: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]


def recipe_table(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """A Markdown table: a row for each recipe, in the order of `RECIPES`."""
    titles = (
        "recipe",
        "base",
        "pixels",
        "parameters",
        "trained on",
        "`test`: mean per class",
        "`test`: calibration error",
        "`field`: mean per class",
        "`field`: top-1",
        "`field`: calibration error",
        "`field`: sure and wrong",
        "seeds",
    )
    lines = _table_head(titles)
    for name in RECIPES:
        if not (runs := results.get(name)):
            lines.append(f"| `{name}` |{' |' * (len(titles) - 2)} not measured |")
            continue
        last = runs[-1]
        cells = (
            f"`{name}`",
            last["base"],
            str(last["image_size"]),
            f"{last['parameters'] / 1e6:.1f} million",
            f"{last['trained_on']['photos']:,}",
            _mean_and_spread(runs, "test", _share("mean_per_class")),
            _mean_and_spread(runs, "test", _error),
            _mean_and_spread(runs, "field", _share("mean_per_class")),
            _mean_and_spread(runs, "field", _share("top1")),
            _mean_and_spread(runs, "field", _error),
            _mean_and_spread(runs, "field", _share("sure_and_wrong")),
            ", ".join(str(run["seed"]) for run in runs),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def field_table(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The scores in the field of the model that ships, with their intervals, for its card."""
    field = _shipped(results)["field"]
    return _score_table(
        field,
        f"{field['photos']} photos of {field['classes']} classes from {field['sources']} sources",
    )


def test_table(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The same on Oxford's test photos."""
    test = _shipped(results)["test"]
    return _score_table(test, f"{test['photos']:,} photos of {test['classes']} classes")


def _score_table(scores: dict[str, Any], photos: str) -> str:
    lines = _table_head([photos, "per cent (95 % interval)"])
    for title, key in (
        ("mean per class", "mean_per_class"),
        ("top-1", "top1"),
        ("top-5", "top5"),
        ("wrong with more than 90 %", "sure_and_wrong"),
    ):
        share, (low, high) = scores[key]["value"], scores[key]["interval95"]
        lines.append(f"| {title} | {100 * share:.1f} ({100 * low:.1f} to {100 * high:.1f}) |")
    lines.append(f"| expected calibration error, 15 bins | {100 * _error(scores):.1f} |")
    return "\n".join(lines)


def field_sentence(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """What to expect of the model that ships on one's own photos, for who reads no table."""
    found = _shipped(results)
    field, tidy = found["field"], found["test"]
    low, high = field["top1"]["interval95"]
    words = (
        f"**What to expect of your photos:** of {field['photos']} photos as people take them, from "
        f"{field['sources']} sources outside of the data set, the model names "
        f"{100 * field['top1']['value']:.0f} % correctly (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f}), and has the right name among its five likeliest for "
        f"{100 * field['top5']['value']:.0f} %. To {100 * field['sure_and_wrong']['value']:.0f} % "
        "it gives a wrong name with more than 90 %. Of the data set's own tidy test photos it "
        f"names {100 * tidy['top1']['value']:.0f} % correctly."
    )
    return textwrap.fill(words, 100, break_on_hyphens=False)


def new_flowers_table(_: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """How good bases are on flowers that are none of the 102, as tools/new_flowers.py measured."""
    found = json.loads(NEW_FLOWERS.read_text(encoding="utf-8"))
    bases: dict[str, dict[str, list[float]]] = found["bases"]
    shots = list(next(iter(bases.values())))
    lines = _table_head(["base", *(f"{one} photos a flower" for one in shots)])
    for base, measured in bases.items():
        cells = [_in_per_cent(measured[one]) for one in shots]
        lines.append(f"| `{base}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def going_on_table(_: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """What new flowers cost the old ones of the model that ships, as tools/going_on.py measured."""
    found = json.loads(GOING_ON.read_text(encoding="utf-8"))
    lines = _table_head(
        [
            "pairs of new flowers",
            "draws",
            "new ones right, as fitted",
            "old ones, points",
            "new ones right, as balanced",
            "old ones, points",
        ]
    )
    for group, draws in found["pairs"].items():
        cells = [group, str(len(draws))]
        for biases in ("fitted", "balanced"):
            new, old = ([draw[biases][which] for draw in draws] for which in ("new", "old"))
            cells += [_in_per_cent(new), f"{100 * statistics.mean(old):+.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def training_table(_: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Training on many photos, alone and with Ray's workers, as tools/scale.py measured it."""
    trained = _trainings()
    lines = _table_head(
        [
            "photos",
            "engine",
            "seconds by the clock",
            "core seconds",
            "of these for a view, ms",
            "memory of the command, MB",
            "of its largest worker, MB, in each quarter of the features",
        ]
    )
    for one in trained:
        for engine, name in (("alone", ""), ("ray", "`--engine ray`")):
            ran = one[engine]
            quarters = ", ".join(f"{each / 1e6:.0f}" for each in ran["worker_memory_by_quarter"])
            cells = (
                f"{one['photos']:,}",
                name,
                f"{ran['seconds']:.0f}",
                f"{ran['core_seconds']:.0f}",
                f"{1e3 * ran['feature_core_seconds'] / ran['feature_views']:.1f}",
                f"{ran['memory'] / 1e6:.0f}",
                quarters if engine == "ray" else "",
            )
            lines.append(f"| {' | '.join(cells)} |")
    last = trained[-1]
    words = (
        f"Both gave the same {last['equal_pieces']} pieces of features of {last['photos']:,} "
        f"photos and the same weights, byte for byte. {last['image_size']} pixels, views: "
        f"{last['views']}, epochs: {last['epochs']}; photos of {last['photo_bytes'] / 1e3:.0f} kB"
    )
    return "\n".join([*lines, "", _circumstances(last, words)])


def costs_table(_: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """What ten million photos cost, by arithmetic from the fewest and the most trained on."""
    trained = _trainings()
    fewest, most = trained[0], trained[-1]
    more, views = most["photos"] - fewest["photos"], 2
    learned_views = (most["learned"] - fewest["learned"]) * most["views"]

    def more_seconds(key: str) -> float:
        return float(most["alone"][key] - fewest["alone"][key])

    looked = more_seconds("until_features_core_seconds") / more
    feature = most["alone"]["feature_core_seconds"] / most["alone"]["feature_views"]
    head = more_seconds("head_core_seconds") / learned_views
    hours = {
        "looked": looked * TEN_MILLION / 3600,
        "features": feature * TEN_MILLION * views / 3600,
        "head": head * TEN_MILLION * views / 3600,
    }
    lines = _table_head(["", "each", f"ten million, `--views {views}`"])
    lines += [
        f"| look into a photo: can it be read, its digest | {1e3 * looked:.1f} ms of a core | "
        f"{hours['looked']:.0f} core hours, on one machine |",
        f"| features of a view | {1e3 * feature:.1f} ms of a core | {hours['features']:.0f} core "
        "hours, on all machines |",
        f"| the head on a view, {most['epochs']} epochs | {1e3 * head:.1f} ms of a core | "
        f"{hours['head']:.0f} core hours, on one machine |",
        f"| features on the disk | {most['feature_bytes'] / 1e3:.1f} kB a view | "
        f"{most['feature_bytes'] * TEN_MILLION * views / 1e9:.0f} GB |",
        f"| photos on the disk, as these are | {most['photo_bytes'] / 1e3:.0f} kB | "
        f"{most['photo_bytes'] * TEN_MILLION / 1e9:.0f} GB |",
    ]
    cores = 64
    words = (
        f"With {cores} cores the features take {hours['features'] / cores:.1f} hours. At "
        f"{CORE_HOUR_DOLLARS} dollars for a core and hour, a usual price, they cost "
        f"{hours['features'] * CORE_HOUR_DOLLARS:.2f} dollars, and all of the above "
        f"{sum(hours.values()) * CORE_HOUR_DOLLARS:.2f}. From {fewest['photos']:,} and "
        f"{most['photos']:,} photos at {most['image_size']} pixels"
    )
    return "\n".join([*lines, "", _circumstances(most, words)])


def _trainings() -> list[dict[str, Any]]:
    return list(json.loads(SCALE.read_text(encoding="utf-8")))


def _circumstances(found: Mapping[str, Any], words: str) -> str:
    """Behind `words`, on what it was measured."""
    hardware = found["hardware"]
    words += (
        f"; measured on {hardware['cores']} cores ({hardware['processor']}) whose load before was "
        f"{found['load']:g}."
    )
    return textwrap.fill(words, 100, break_on_hyphens=False)


def answers_table(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """What the model that ships says of photos, in per cent of those of a kind."""
    titles = (
        "photos",
        "right name",
        "wrong name",
        '"perhaps", right',
        '"perhaps", wrong',
        "a group",
        "none of them",
    )
    lines = _table_head(titles)
    rows = _answer_rows(results)
    for where, row in rows:
        counts = (
            row.right_name,
            row.wrong_name,
            row.right_perhaps,
            row.wrong_perhaps,
            row.groups,
            row.refused,
        )
        shares = " | ".join(f"{100 * count / row.photos:.1f}" for count in counts)
        lines.append(f"| {row.photos:,} {where} | {shares} |")
    said = [
        f"{row.right_group} of {row.right_group + row.wrong_group} of the {where}"
        for where, row in rows
        if row.right_group + row.wrong_group
    ]
    words = f"Groups that are right: {'; '.join(said) or 'none is given'}."
    for row in _shipped(results)["field"]["separations"]:
        one = Separation(**row)
        words += (
            f" `known` of rightly named photos against {one.kind}: AUROC {one.auroc:.3f}; where "
            f"{KEPT:.0%} of the right names are kept, {100 * one.named:.0f} % of these get an "
            "answer."
        )
    return "\n".join([*lines, "", textwrap.fill(words, 100, break_on_hyphens=False)])


def coverage_table(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """The same model's accuracy against its coverage in the field."""
    points = _shipped(results)["field"]["coverage"]
    kinds = list(points[0]["others"])
    titles = ["surest answers taken", "named right", *(f"{kind}: named, too" for kind in kinds)]
    lines = _table_head(titles)
    for point in points:
        shares = (point["coverage"], point["accuracy"], *(point["others"][one] for one in kinds))
        lines.append(f"| {' | '.join(f'{100 * share:.1f}' for share in shares)} |")
    return "\n".join(lines)


def doubt_sentence(results: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """How often the model that ships says that it does not know, for who reads no table."""
    refused = {
        where: f"{100 * row.refused / row.photos:.0f} %" for where, row in _answer_rows(results)
    }
    test, field, flowers, others = refused.values()
    words = (
        f"To {flowers} of photos of other flowers and {others} of photos without flowers it says "
        f"'none of the flowers this model knows'; so it does, wrongly, to {field} of photos of its "
        f"own flowers as people take them, and to {test} of the tidy ones: [doubt](docs/doubt.md)."
    )
    return textwrap.fill(words, 100, break_on_hyphens=False, break_long_words=False)


def _answer_rows(
    results: Mapping[str, Sequence[dict[str, Any]]],
) -> list[tuple[str, AnswerCounts]]:
    """Which photos, and what is said of them."""
    found = _shipped(results)
    of_test, of_field = (
        [AnswerCounts(**row) for row in found[where]["answers"]["by_kind"]]
        for where in ("test", "field")
    )
    known, *others = of_field
    return [
        ("`test` photos of the data set", of_test[0]),
        ("photos of its flowers in the field", known),
        *((f"photos in the field: {row.kind}", row) for row in others),
    ]


def _shipped(results: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """The figures of the model that ships."""
    runs = [one for one in results.get(SHIPPED_RECIPE, []) if one["seed"] == SHIPPED_SEED]
    if not runs or "answers" not in runs[0].get("field", {}):
        raise UserError(
            "the model that ships was not measured in the field; expected it in docs/results.json: "
            f"python tools/results.py --recipes {SHIPPED_RECIPE} --seeds {SHIPPED_SEED} --shipped "
            "--field FOLDER"
        )
    return runs[0]


RENDERED: tuple[tuple[Path, str, Callable[[Mapping[str, Sequence[dict[str, Any]]]], str]], ...] = (
    (README, "recipes", recipe_table),
    (README, "field_sentence", field_sentence),
    (START, "field_sentence", field_sentence),
    (QUESTIONS, "field_sentence", field_sentence),
    (README, "new_flowers", new_flowers_table),
    (OWN_FLOWERS, "new_flowers", new_flowers_table),
    (OWN_FLOWERS, "going_on", going_on_table),
    (CARD, "test", test_table),
    (README, "doubt_sentence", doubt_sentence),
    (CARD, "field", field_table),
    (CARD, "answers", answers_table),
    (DOUBT, "answers", answers_table),
    (DOUBT, "coverage", coverage_table),
    (MANY_PHOTOS, "training", training_table),
    (MANY_PHOTOS, "costs", costs_table),
)
"""The page, the name of its two comments, and what makes the text between them."""


def render(page: Path, name: str, table: str) -> None:
    """Puts a text between the two comments of its name in a page."""
    write_text(page, rendered(page.read_text(encoding="utf-8"), name, table))


def rendered(text: str, name: str, table: str) -> str:
    """`text` with `table` between `<!-- NAME: ... -->` and `<!-- end of NAME -->`.

    Raises:
        UserError: The comments are not there.
    """
    start, end = text.find(f"<!-- {name}:"), text.find(f"<!-- end of {name} -->")
    if not 0 <= start < end:
        raise UserError(f"the page lacks the comments <!-- {name}: ... --> and <!-- end of {name}")
    first_line = text[start : text.index("-->", start) + 3]
    return f"{text[:start]}{first_line}\n\n{table}\n\n{text[end:]}"


def _share(key: str) -> Callable[[dict[str, Any]], float]:
    return lambda scores: float(scores[key]["value"])


def _error(scores: dict[str, Any]) -> float:
    return float(scores["expected_calibration_error"])


def _mean_and_spread(
    runs: Sequence[dict[str, Any]], where: str, of: Callable[[dict[str, Any]], float]
) -> str:
    """In per cent, with the standard deviation over the seeds where there are several."""
    # An older run may lack a score.
    shares = [of(run[where]) for run in runs if where in run]
    return _in_per_cent(shares) if shares else ""


def _in_per_cent(shares: Sequence[float]) -> str:
    """Their mean, with the standard deviation where there are several."""
    text = f"{100 * statistics.mean(shares):.1f}"
    return f"{text} ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else text


def _commit() -> str:
    """What was checked out, with a + behind it where files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    exit_with(main)
