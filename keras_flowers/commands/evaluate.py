"""Scores any model file on labelled photos."""

from __future__ import annotations

import argparse
import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_flowers.commands.messages import add_verbose, show_messages
from keras_flowers.commands.sources import add_sources
from keras_flowers.files import write_json, write_text
from keras_flowers.inference.text import printable
from keras_flowers.training import metrics
from keras_flowers.training.answers import KEPT, SHARES
from keras_flowers.training.evaluate import Evaluation, evaluate_model

_LONGEST = 10  # rows of a list in the terminal; --json and --report have all

_COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)  # rows of the curve in the terminal

EXAMPLES = """examples:
  on your own photos, a folder for each class
      keras-flowers evaluate saved_models/MobileNetV2 --data holiday
  how good the trained model is on photos that it has never seen
      keras-flowers evaluate saved_models/MobileNetV2
  on a table of photos (path, label, source): by source, too
      keras-flowers evaluate saved_models/MobileNetV2 --data field.csv --json scores.json
  a TFLite file on the second half of the validation photos, with pictures and tables
      keras-flowers evaluate flowers.tflite --split "validation[50%:]" --report report
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    show_messages()
    options = parser().parse_args(argv)
    evaluation = evaluate_model(
        options.model,
        split=options.split,
        dataset=options.dataset,
        data_dir=options.data_dir,
        sources=options.data,
        label_map=options.label_map,
        taxonomy=options.taxonomy,
    )
    _print_scores(evaluation)
    if options.json:
        write_json(Path(options.json), evaluation.as_dict())
    if options.report:
        _write_report(Path(options.report), evaluation)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="keras-flowers evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    options.add_argument(
        "model", metavar="MODEL", help="a run folder, a .keras, a .tflite or a SavedModel folder"
    )
    photos = options.add_argument_group("data")
    photos.add_argument(
        "--split",
        metavar="SPLIT",
        help="split expression, such as validation[:50%%] (default: test; all of --data that has "
        "no splits)",
    )
    add_sources(photos)
    photos.add_argument(
        "--dataset", metavar="NAME", help="TFDS data set (default: the one it was trained on)"
    )
    photos.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="where TFDS keeps data sets (default: as in training, or TFDS's own)",
    )
    photos.add_argument(
        "--taxonomy",
        metavar="FILE",
        help="CSV with the columns label, genus and family, for what the column species of --data "
        "calls photos labelled unknown: a genus or family that is said of these is right or wrong "
        "by it",
    )
    places = options.add_argument_group("where things go")
    places.add_argument("--json", metavar="FILE", help="also write the scores as JSON")
    places.add_argument(
        "--report",
        metavar="FOLDER",
        help="also write the confusion matrix and tables of the classes, of the sources and of "
        "how often it is right where it says how sure it is",
    )
    add_verbose(options)
    return options


def _print_scores(evaluation: Evaluation) -> None:
    learned = evaluation.provenance.get("trained_on", {})
    scores, sources = evaluation.scores, evaluation.by_source
    height, width = evaluation.image_size
    print(
        f"{evaluation.model}, trained on {learned.get('photos', '?')} photos "
        f"({learned.get('split', '?')})\n\n"
        f"{evaluation.split} of {evaluation.dataset}: {scores.photos} photos of {scores.classes} "
        f"classes\neach one whole, squashed to {height} x {width} pixels"
    )
    if evaluation.unknown_count:
        counted = "not scored" if evaluation.others is None else "counted by what is said of them"
        print(f"{evaluation.unknown_count} other photos show none of the classes: {counted}")
    if evaluation.learned_count:
        print(f"the model was trained on {evaluation.learned_count} of them: this is no test")
    print(scores)
    print(f"  wrong with more than {metrics.SURE:.0%} counts as sure and wrong;")
    print(
        f"  intervals: of {scores.sources} sources drawn anew, since photos of one are alike"
        if scores.sources
        else "  intervals: of photos that have nothing to do with each other"
    )
    print("\nhow sure it says it is, and how often it is right")
    print("  says             photos    on average   right")
    for one in evaluation.reliability:
        if one.photos:
            span = f"{one.low:6.1%} to {one.high:6.1%}"
            print(f"  {span}  {one.photos:5d}  {one.confidence:10.1%}  {one.accuracy:7.1%}")
    if evaluation.doubt is not None or evaluation.others is not None:
        _print_answers(evaluation)
    if len(sources) > 1:
        print(f"\nsources with the most photos, of {len(sources)}")
        print("  photos    right  on average says  sure and wrong  source")
        for part in sources[:_LONGEST]:
            name = textwrap.shorten(printable(part.name), 29, placeholder="...")
            print(
                f"  {part.photos:6d}  {part.accuracy:7.1%}  {part.confidence:15.1%}  "
                f"{part.sure_and_wrong:14d}  {name}"
            )
    print("\nclasses with the lowest accuracy")
    for part in sorted(evaluation.by_class, key=lambda one: one.accuracy)[:_LONGEST]:
        print(f"  {part.accuracy:6.1%}  {part.correct} of {part.photos}  {part.name}")
    print("\nmost confused")
    labels = evaluation.labels
    for row, column, count in metrics.most_confused(evaluation.confusion_matrix, _LONGEST):
        print(f"  {count:3d}  true {labels[row]}, predicted {labels[column]}")


def _print_answers(evaluation: Evaluation) -> None:
    """What is said of each kind of photo, and accuracy against coverage."""
    rows = evaluation.answers
    print("\nwhat it says, in per cent of the photos of a kind")
    print("  photos   right name  wrong name  perhaps  group  none of them")
    for row in rows:
        counts = (row.right_name, row.wrong_name, row.perhaps, row.groups, row.refused)
        shares = [100 * count / row.photos for count in counts]
        right, wrong, perhaps, group, refused = (f"{share:.1f}" for share in shares)
        print(
            f"  {row.photos:6d}  {right:>11}  {wrong:>10}  {perhaps:>7}  {group:>5}  {refused:>12}"
            f"  {textwrap.shorten(printable(row.kind), 18, placeholder='...')}"
        )
    for row in rows:
        if judged := row.right_group + row.wrong_group:
            unclear = f"; of {row.unclear_group} nobody says" if row.unclear_group else ""
            print(f"  groups, {row.kind}: {row.right_group} of {judged} right{unclear}")
    for one in evaluation.separations:
        print(
            f"  right names against {one.kind[:16]}: AUROC {one.auroc:.3f}, "
            f"{one.named:.1%} named at {KEPT:.0%} kept"
        )
    kinds = list(evaluation.coverage[0].others)
    print("\nwhere only the surest answers are taken")
    print("  share taken  named right" + "".join(f"  {kind[:16]}, too" for kind in kinds))
    for share, point in zip(SHARES, evaluation.coverage, strict=True):
        if share in _COVERAGES:
            others = "".join(f"  {point.others[k]:{len(k[:16]) + 5}.1%}" for k in kinds)
            print(f"  {point.coverage:11.1%}  {point.accuracy:11.1%}{others}")


def _write_report(folder: Path, evaluation: Evaluation) -> None:
    from keras_flowers.inference import chart

    matrix, labels = evaluation.confusion_matrix, evaluation.labels
    rows = []
    for i, name in enumerate(labels):
        photos, correct, predicted = matrix[i].sum(), matrix[i, i], matrix[:, i].sum()
        accuracy = f"{correct / photos:.4f}" if photos else ""
        precision = f"{correct / predicted:.4f}" if predicted else ""
        rows.append([name, photos, correct, accuracy, predicted, precision])
    header = ["class", "photos", "correct", "accuracy", "predicted", "precision"]
    _write_csv(folder / "classes.csv", header, rows)
    _write_csv(
        folder / "confusion_matrix.csv",
        ["true \\ predicted", *labels],
        ([name, *row] for name, row in zip(labels, matrix.tolist(), strict=True)),
    )
    _write_csv(
        folder / "sources.csv",
        ["source", "photos", "correct", "mean_probability", "sure_and_wrong"],
        evaluation.by_source,
    )
    _write_csv(
        folder / "reliability.csv",
        ["probability_from", "to", "photos", "mean_probability", "accuracy"],
        evaluation.reliability,
    )
    chart.save(chart.draw_confusion_matrix(matrix, labels), folder / "confusion_matrix.png")
    print(
        f"\nwritten to {folder}/: classes.csv, confusion_matrix.csv, confusion_matrix.png, "
        "reliability.csv, sources.csv"
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
