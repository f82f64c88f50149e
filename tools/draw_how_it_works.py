"""Makes the numbers and pictures of docs/how_it_works.md from one photo and one trained run.

The numbers are printed in the page's own sentences. With --page they are put into the page, and
kept beside it in a JSON file, with which a test compares the page.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from keras_flowers.commands.exit import exit_with
from keras_flowers.errors import UserError
from keras_flowers.files import write_json, write_text
from keras_flowers.inference import evidence, image
from keras_flowers.inference.image import Pixels
from keras_flowers.inference.keras_insides import POOLED, insides_of_keras
from keras_flowers.system import import_tensorflow
from keras_flowers.training import metrics
from keras_flowers.training.run_directory import Run
from tools.quotes import Said, as_json

EXAMPLES = """examples:
  the pictures of the page, and the numbers on standard output
      python -m tools.draw_how_it_works docs/sunflower.jpg saved_models/MobileNetV2 --output docs
  the same, and the numbers into the page
      python -m tools.draw_how_it_works docs/sunflower.jpg saved_models/MobileNetV2 --output docs \
          --page docs/how_it_works.md
"""

ROW, COLUMN = 114, 96
"""Upper left corner, in the squashed sunflower, of the 4 x 4 pixels that are shown as numbers."""

FLAT_ROW, FLAT_COLUMN = 20, 110
"""A place in the blue sky, where all pixels are alike."""

FILTER = 27
"""The perceptron of the first layer that is worked out by hand."""

FLOWER = (slice(3, 13), slice(6, 14))
"""Rows and columns of the 14 x 14 places where the sunflower is."""

MAPS = ("Conv1_relu", "block_2_expand_relu", "block_5_expand_relu", "block_12_expand_relu")
LAST_MAPS = "block_16_expand_relu"

GRADIENT_STEPS = 10
STEP_SIZE = 0.0005

INK, FAINT, BEST, OTHER = "#22272e", "#6b7480", "#c2255c", "#a9b4c2"

Array = npt.NDArray[np.floating[Any]]

Project = Callable[[npt.NDArray[Any]], Array]
"""Photos or their features [N, ...] -> rows [N, R] of length 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    said = explain(options.photo, options.run, options.label, options.output)
    if options.page is not None:
        write_text(options.page, said.put_into(options.page.read_text(encoding="utf-8")))
        write_json(options.page.with_suffix(".json"), as_json(said))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("photo", metavar="PHOTO", type=Path)
    options.add_argument("run", metavar="RUN", type=Path, help="the run folder of a MobileNetV2")
    options.add_argument("--label", default="sunflower", help="what PHOTO shows (%(default)s)")
    options.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("."), help="where the pictures go"
    )
    options.add_argument(
        "--page",
        metavar="FILE",
        type=Path,
        help="put the numbers into FILE, which has these sentences, and into a JSON file beside it",
    )
    return options


def explain(photo: Path, folder: Path, label: str, output: Path) -> Said:
    """Prints every number of the page in its sentence, and writes the pictures into `output`.

    Returns:
        What was printed.

    Raises:
        UserError: `folder` is not a finished run of a MobileNetV2, or has no such label.
    """
    run = Run.open(folder)
    if not run.is_finished:
        raise UserError(f"{folder} is not finished; expected the folder of a finished run")
    import_tensorflow()

    from keras_flowers.training.known import without_known
    from keras_flowers.training.model import FEATURES, OUTPUT, split_at

    model = without_known(run.load_model())
    labels = run.metadata.labels
    if label not in labels:
        raise UserError(f"{label} is not a label of {folder}")
    if not {*MAPS, LAST_MAPS} <= {layer.name for layer in model.layers}:
        raise UserError(f"{folder} is not a MobileNetV2; the page explains its layers by name")
    right = labels.index(label)
    output.mkdir(parents=True, exist_ok=True)

    upright = image.read_photo(photo)
    size = (model.input_shape[1], model.input_shape[2])
    pixels = image.read_pixels(photo, size)
    batch = pixels[None].astype(np.float32)
    answer = np.asarray(model(batch))[0]
    classes = len(labels)
    convolutions = sum("Conv2D" in type(one).__name__ for one in model.layers)
    _, tail = split_at(model, FEATURES)
    kernel, bias = tail.get_layer(OUTPUT).get_weights()

    says = Said()
    says(
        "photo -> {} x {} x 3 numbers -> {} convolutions (frozen) -> {:,} features\n"
        '-> {} logits -> softmax -> {} probabilities -> "{}", {:.2f} %',
        *size,
        convolutions,
        len(kernel),
        classes,
        classes,
        label,
        100 * answer[right],
    )

    says("{} x {} pixels become {} x {} x 3 = {:,} numbers.", *upright.size, *size, pixels.size)
    patch = pixels[ROW : ROW + 4, COLUMN : COLUMN + 4]
    first = pixels[ROW, COLUMN]
    says(
        "The first, ({}, {}, {}), is scaled to ({:.3f}, {:.3f}, {:.3f}).",
        *first,
        *(first / 127.5 - 1),
    )
    _save(_draw_pixels(upright, pixels, patch), output / "pixels.png")

    _explain_perceptron(says, model, batch)
    first_map = _outputs(model, MAPS[0], batch)[..., FILTER]
    first_kernel = model.get_layer("Conv1").get_weights()[0][..., FILTER]
    _save(
        _draw_perceptron(batch[0] / 127.5 - 1, first_kernel, first_map), output / "perceptron.png"
    )

    says("there are {} convolutions.", convolutions)
    maps = [_outputs(model, name, batch) for name in (*MAPS, LAST_MAPS)]
    says(
        "\n".join(
            f"| `{name}` | {{}} of {{}} x {{}} | {{:.0f}} % |" for name in (*MAPS, LAST_MAPS)
        ),
        *(
            one
            for map_ in maps
            for one in (map_.shape[2], *map_.shape[:2], 100 * (map_ == 0).mean())
        ),
    )
    _save(_draw_maps(maps), output / "feature_maps.png")

    head = kernel.size + bias.size
    says(
        "{:,} numbers of the base stay as they are; {:,} of the head are learned.",
        model.count_params() - head,
        head,
    )
    insides = insides_of_keras(model)
    assert insides is not None  # it has the layers of a MobileNetV2 of ours
    parts = insides.parts(batch)
    features = parts.features[None]
    _explain_pooling(says, model, batch, features[0])

    says(
        "one layer of {} perceptrons, one for each flower. Each weighs all {:,} features.",
        classes,
        len(kernel),
    )
    logits = (features @ kernel + bias)[0]
    np.testing.assert_allclose(metrics.softmax(logits[None])[0], answer, atol=1e-5)
    places, constant = evidence.split_logits(parts)
    split = evidence.Evidence(labels, answer, places, constant)
    above = float(logits[right] - logits.mean())
    by_place = float((places[right] - places.mean(axis=0)).sum())
    added = float(constant[right] - constant.mean())
    says("its logit is {:.3f} above the mean of all {} logits.", above, classes)
    says("{:.3f} = {:.3f} (places) + {:.3f} (bias).", above, by_place, added)
    shown = split.of(label)
    on_flower = shown[FLOWER]
    says("A place adds between {:.3f} and {:.3f}.", shown.min(), shown.max())
    says(
        "The {} places around the flower add {:.3f} together, the {} others {:.3f}.",
        on_flower.size,
        on_flower.sum(),
        shown.size - on_flower.size,
        shown.sum() - on_flower.sum(),
    )
    _save(_draw_evidence(pixels, shown, label), output / "evidence.png")

    top = np.argsort(-logits)[:5]
    powers = np.exp(logits - logits.max())
    says(
        "the exponentials of $z$ minus the largest $z$ add up to {:.4f}, and "
        "1 / {:.4f} = {:.2f} %.",
        powers.sum(),
        powers.sum(),
        100 / powers.sum(),
    )
    says(
        "\n".join(["| {} | {:.3f} | {:.4f} | {:.2f} % |"] * len(top)),
        *(one for k in top for one in (labels[k], logits[k], powers[k], 100 * answer[k])),
    )
    _save(_draw_softmax([labels[k] for k in top], logits[top], answer[top]), output / "softmax.png")

    _explain_sigmoid(says, logits[top[0]], logits[top[1]], answer[top[0]], answer[top[1]])
    _explain_similarity(says, run, model, pixels)

    says(
        "gives each flower 1/{}, which costs $\\ln {} = {:.3f}$.", classes, classes, np.log(classes)
    )
    says("With {:.2f} % the cost is {:.3f}.", 100 * answer[right], -np.log(answer[right]))
    smoothing = run.settings["label_smoothing"]
    targets = np.full(classes, smoothing / classes)
    targets[right] += 1 - smoothing
    least = -(targets[targets > 0] * np.log(targets[targets > 0])).sum()
    says("With *label smoothing* of {}, a tenth of the target", smoothing)
    says("{:.4f} for the right flower, {:.5f} for each other.", targets[right], targets.min())
    says("the loss cannot fall below {:.3f}.", least)

    _explain_backpropagation(says, tail, features, right)
    _explain_training(says, run, least)
    _save_small(run.curves_path, output / "learning_curves.png")

    temperature = run.metrics["temperature"]
    before = metrics.softmax(logits[None] * temperature)[0]
    says(
        "the temperature found is {:.4f}. Without it, the answer would also be {}, but with "
        "{:.2f} %; with it, {:.2f} %.",
        temperature,
        labels[before.argmax()],
        100 * before[right],
        100 * answer[right],
    )
    return says


def _outputs(model: Any, layer: str, batch: Array) -> Array:
    import keras

    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    maps: Array = np.asarray(part(batch, training=False))[0]
    return maps


def _explain_perceptron(says: Said, model: Any, batch: Array) -> None:
    weights = model.get_layer("Conv1").get_weights()[0][..., FILTER]
    gamma, beta, mean, variance = (w[FILTER] for w in model.get_layer("bn_Conv1").get_weights())
    epsilon = model.get_layer("bn_Conv1").epsilon
    perceptrons = model.get_layer("Conv1").filters
    says(
        "the first layer has {} perceptrons with 3 x 3 x 3 = {} inputs each.",
        perceptrons,
        weights.size,
    )
    answers = []
    for row, column in ((ROW, COLUMN), (FLAT_ROW, FLAT_COLUMN)):
        inputs = batch[0, row : row + 3, column : column + 3] / 127.5 - 1
        weighted_sum = float((weights * inputs).sum())
        normed = gamma * (weighted_sum - mean) / np.sqrt(variance + epsilon) + beta
        by_hand = [weighted_sum, float(normed), float(np.clip(normed, 0, 6))]
        # Stride 2, padded below and on the right only: output (i, j) begins at input (2i, 2j).
        place = (row // 2, column // 2, FILTER)
        found = [_outputs(model, name, batch)[place] for name in ("Conv1", "bn_Conv1", MAPS[0])]
        np.testing.assert_allclose(by_hand, found, atol=1e-3)  # as the page says
        answers.append(by_hand)
    (total, normed, cut), (flat_total, _, flat_cut) = answers
    says(
        "The weighted sum is {:.3f}, the normalised sum {:.3f}, and ReLU6 cuts it to {:.1f}, the "
        "strongest possible answer. In the even blue sky the sum is {:.3f} and the answer {:.3f}.",
        *(total, normed, cut, flat_total, flat_cut),
    )


def _explain_pooling(says: Said, model: Any, batch: Array, features: Array) -> None:
    import keras

    # What is averaged is each map times the weights of its places.
    averaged = [one._keras_history.operation.input for one in model.get_layer(POOLED).input]
    weighted = [
        np.asarray(one)[0] for one in keras.Model(model.inputs[0], averaged)(batch, training=False)
    ]
    pooled = _outputs(model, POOLED, batch)
    means = np.concatenate([one.mean(axis=(0, 1)) for one in weighted])
    np.testing.assert_allclose(means, pooled, atol=1e-5)
    maps = _outputs(model, LAST_MAPS, batch)
    weights = weighted[0].sum(axis=-1) / maps.sum(axis=-1)
    middle = len(weights) // 2
    says(
        "in a map of {} x {}, the place in the middle has weight {:.2f}, the middle of a side "
        "{:.2f}, a corner {:.2f}.",
        *weights.shape,
        weights[middle, middle],
        weights[0, middle],
        weights[0, 0],
    )
    channels = Counter(one.shape[-1] for one in weighted)
    (late, early) = channels.most_common()
    says("{} x {} + {} x {} maps give {:,} features.", *late[::-1], *early[::-1], len(features))
    order = np.argsort(pooled)
    most, median = order[-1], order[len(order) // 2]
    says(
        "The strongest map has the average {:.4f}, the median map {:.4f}. Their roots are {:.4f} "
        "and {:.4f}: they differ by a factor of {:.0f} instead of {:.0f}.",
        pooled[most],
        pooled[median],
        features[most],
        features[median],
        features[most] / features[median],
        pooled[most] / pooled[median],
    )
    tenth = order[-len(order) // 10 :]
    says(
        "The strongest tenth of the maps holds {:.0f} % of the sum of all averages, but {:.0f} % "
        "of the sum of all roots.",
        100 * pooled[tenth].sum() / pooled.sum(),
        100 * features[tenth].sum() / features.sum(),
    )


def _explain_sigmoid(
    says: Said, logit: float, other: float, probability: float, probability_of_other: float
) -> None:
    sigmoid = 1 / (1 + np.exp(other - logit))
    share = probability / (probability + probability_of_other)
    np.testing.assert_allclose(sigmoid, share, atol=1e-5)  # as the page says
    says(
        "the difference of their logits is {:.3f} - {:.3f} = {:.3f}, and its sigmoid {:.2f} %.",
        *(logit, other, logit - other, 100 * sigmoid),
    )
    says(
        "{:.2f} / ({:.2f} + {:.2f}) = {:.2f} %.",
        *(100 * one for one in (probability, probability, probability_of_other, share)),
    )


def _explain_similarity(says: Said, run: Run, model: Any, pixels: Pixels) -> None:
    """Cosines of pixels, of features and of whitened features: what each of them finds alike."""
    import keras

    from keras_flowers.training import data
    from keras_flowers.training.config import cache_folder
    from keras_flowers.training.features import FeatureExtractor
    from keras_flowers.training.model import FEATURES, OUTPUT, split_at
    from keras_flowers.training.similarity import build_index
    from keras_flowers.training.views import View

    settings = run.settings
    trunk, tail = split_at(model, FEATURES)
    folder = cache_folder(settings["cache_dir"]) / "features"
    extractor = FeatureExtractor(trunk, seed=settings["seed"], folder=folder, run=run.name)

    def seen(photos: data.LabelledPhotos) -> tuple[Pixels, Array]:
        """Pixels and features of all photos, in their order; training has kept the features."""
        numbered = dataclasses.replace(photos, label_numbers=np.arange(photos.count))
        found = extractor.features(numbered, [View.FULL])
        batches = [batch for batch, _ in data.pixels(photos, pixels.shape[:2]).as_numpy_iterator()]
        return np.concatenate(batches), np.asarray(found.views[0][:])[np.argsort(found.labels)]

    train, test = (run.photos(settings[f"{split}_split"]) for split in ("train", "test"))
    train_pixels, train_features = seen(train)
    test_pixels, test_features = seen(test)
    kernel, _ = tail.get_layer(OUTPUT).get_weights()
    index = build_index(train, train_features, np.arange(train.count), kernel)
    shown = np.stack([pixels, pixels[:, ::-1], np.roll(pixels, pixels.shape[1] // 4, axis=1)])
    features = keras.Model(model.inputs[0], model.get_layer(FEATURES).output)(
        shown.astype(np.float32), training=False
    )
    cosines, names, right = [], [], []
    for project, of_shown, of_train, of_test in (
        (_unit_pixels, shown, train_pixels, test_pixels),
        (_unit, np.asarray(features), train_features, test_features),
        (index.project, np.asarray(features), train_features, test_features),
    ):
        rows = project(of_shown)
        asked = np.concatenate([of_shown[:1], of_test])
        nearest, similarities = _nearest(project, asked, of_train)
        found = train.label_numbers[nearest]
        names.append(train.labels[found[0]])
        cosines.append([*(rows @ rows[0]), similarities[0]])
        right.append(100 * (found[1:] == test.label_numbers).mean())
    lines = (
        "itself",
        "its mirror image",
        "the photo moved by a quarter of its width",
        "the training photo most like it",
    )
    says(
        "\n".join(f"| {line} | {{:.3f}} | {{:.3f}} | {{:.3f}} |" for line in lines),
        *np.transpose(cosines).ravel(),
    )
    says("| ... which shows | {} | {} | {} |", *names)
    says(
        "Of the {:,} test photos, the most similar of the {:,} training photos has the right name "
        "for {:.1f} % by pixels, for {:.1f} % by features and for {:.1f} % by whitened features.",
        *(test.count, train.count, *right),
    )


def _nearest(
    project: Project, photos: npt.NDArray[Any], training: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.intp], Array]:
    """For each photo the most similar training photo, and its cosine."""
    nearest, similarities = np.zeros(len(photos), np.intp), np.full(len(photos), -2, np.float32)
    # In pieces that fit into memory: of pixels, the large ones take 0.3 GB.
    for start in range(0, len(training), 512):
        rows = project(training[start : start + 512])
        for first in range(0, len(photos), 64):
            some = slice(first, first + 64)
            cosines = project(photos[some]) @ rows.T
            is_nearer = cosines.max(axis=1) > similarities[some]
            nearest[some][is_nearer] = start + cosines.argmax(axis=1)[is_nearer]
            similarities[some] = np.maximum(similarities[some], cosines.max(axis=1))
    return nearest, similarities


def _unit_pixels(photos: npt.NDArray[Any]) -> Array:
    return _unit(photos.reshape(len(photos), -1) / np.float32(127.5) - 1)


def _unit(rows: npt.NDArray[Any]) -> Array:
    rows = rows.astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _explain_backpropagation(says: Said, tail: Any, features: Array, right: int) -> None:
    import tensorflow as tf

    from keras_flowers.training.model import OUTPUT, build_head

    head = build_head(tail, dropout=0.0, seed=0)
    layer = head.get_layer(OUTPUT)
    target = np.eye(tail.output_shape[-1], dtype=np.float32)[[right]]
    steps = []
    for step in range(GRADIENT_STEPS + 1):
        with tf.GradientTape() as tape:
            probabilities = head(features)
            loss = -tf.math.log(probabilities[0, right])
        gradients = tape.gradient(loss, [layer.kernel, layer.bias])
        error = np.asarray(probabilities) - target
        if step == 0:
            says(
                "$p - y$ is {:.4f} for sunflower and {:.4f} for each other flower.",
                error[0, right],
                error.max(),
            )
            by_hand = features.T @ error
            # As the page says: by less than a millionth.
            np.testing.assert_allclose(by_hand, np.asarray(gradients[0]), rtol=0, atol=1e-6)
        steps.append((step, 100 * float(probabilities[0, right]), float(loss)))
        layer.kernel.assign_sub(STEP_SIZE * gradients[0])
        layer.bias.assign_sub(STEP_SIZE * gradients[1])
    says("steps on this photo alone, with $\\eta = {}$:", STEP_SIZE)
    for title, form, values in zip(
        ("step", "probability, %", "loss"),
        ("{}", "{:.2f}", "{:.3f}"),
        zip(*steps, strict=True),
        strict=True,
    ):
        says(f"| {title} |{f' {form} |' * len(values)}", *values)


def _explain_training(says: Said, run: Run, least_loss: float) -> None:
    settings = run.settings
    says("It is {:g}, which gave the lowest validation loss", settings["shrinkage"])
    says(
        "In every step {} views are averaged; $\\eta$ begins at {} and falls to 0",
        settings["batch_size"],
        settings["learning_rate"],
    )
    says("The decay is $\\lambda$ = {},", settings["weight_decay"])
    with run.history_path.open(encoding="utf-8") as lines:
        history = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]
    says(
        "the loss is {:.3f} in the first of {} passes, {:.3f} in the second and {:.3f} in the "
        "last, where {:.3f} is the least possible.",
        history[0]["loss"],
        len(history),
        history[1]["loss"],
        history[-1]["loss"],
        least_loss,
    )
    says(
        "Of the training photos, {:.2f} % are named correctly during the first pass, {:.2f} % "
        "during the second.",
        100 * history[0]["accuracy"],
        100 * history[1]["accuracy"],
    )
    validation, test = (
        run.metrics["scores"][settings[f"{name}_split"]] for name in ("validation", "test")
    )
    says(
        "{:.1f} % of the {:,} validation photos and {:.1f} % of the {:,} test photos are named "
        "correctly.",
        100 * validation["top1"]["value"],
        validation["photos"],
        100 * test["top1"]["value"],
        test["photos"],
    )


def _figure(width: float, height: float) -> Figure:
    figure = Figure((width, height), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _panel(figure: Figure, left: float, bottom: float, side: float, title: str) -> Axes:
    """Axes at a place in inches, with a title above, without ticks."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    axes.set_title(title, color=INK, size=10, loc="left")
    axes.axis("off")
    return axes


def _draw_pixels(photo: Image.Image, pixels: Pixels, patch: Pixels) -> Figure:
    figure = _figure(8.9, 3.1)
    axes = _panel(figure, 0.1, 0.1, 2.6, f"{photo.width} x {photo.height} pixels")
    axes.imshow(np.asarray(photo))
    axes.set_anchor("SW")
    axes = _panel(figure, 2.95, 0.1, 2.6, f"squashed to {pixels.shape[1]} x {pixels.shape[0]}")
    axes.imshow(pixels, interpolation="nearest")
    frame = Rectangle((COLUMN - 3.5, ROW - 3.5), 10, 10, fill=False, color="white", linewidth=2)
    axes.add_patch(frame)
    axes = _panel(figure, 5.95, 0.1, 2.6, "4 x 4 of them: red, green, blue")
    axes.imshow(patch, interpolation="nearest")
    _write_numbers(axes, patch, patch.mean(axis=2) < 128, "{}")
    return figure


def _draw_perceptron(scaled: Array, kernel: Array, answers: Array) -> Figure:
    """The inputs of one perceptron, its weights and its answers at all places.

    Args:
        scaled: The photo [height, width, 3], -1..1.
        kernel: [3, 3, 3]: row, column, colour.
        answers: [height / 2, width / 2].
    """
    figure = _figure(8.9, 3.1)
    inputs = scaled[ROW : ROW + 3, COLUMN : COLUMN + 3]
    axes = _panel(figure, 0.1, 0.1, 2.6, "27 inputs x: red, green, blue")
    axes.imshow((inputs + 1) / 2, interpolation="nearest")
    _write_numbers(axes, inputs, inputs.mean(axis=2) < 0, "{:.2f}")
    axes = _panel(figure, 2.95, 0.1, 2.6, "27 weights w")
    total = kernel.sum(axis=2)
    limit = np.abs(total).max()
    axes.imshow(total, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    _write_numbers(axes, kernel, np.abs(total) > 0.6 * limit, "{:.2f}")
    axes = _panel(figure, 5.95, 0.1, 2.6, f"its answers: {answers.shape[0]} x {answers.shape[1]}")
    axes.imshow(answers, cmap="magma", interpolation="nearest")
    place = (COLUMN / 2 - 2.5, ROW / 2 - 2.5)
    axes.add_patch(Rectangle(place, 5, 5, fill=False, color="white", linewidth=2))
    return figure


def _write_numbers(
    axes: Axes, values: npt.NDArray[Any], dark: npt.NDArray[np.bool_], form: str
) -> None:
    """Writes the three values [rows, columns, 3] of each place below one another."""
    for row, column in np.ndindex(dark.shape):
        axes.text(
            column,
            row,
            "\n".join(form.format(value) for value in values[row, column]),
            ha="center",
            va="center",
            size=9,
            color="white" if dark[row, column] else INK,
        )


def _draw_maps(maps: Sequence[Array]) -> Figure:
    figure = _figure(9.2, 3.9)
    for column, one in enumerate(maps):
        height, width, channels = one.shape
        # Those that vary most from place to place.
        chosen = np.argsort(-one.std(axis=(0, 1)))[:2]
        for row, channel in enumerate(chosen):
            title = f"{height} x {width}, {channels} maps" if row == 0 else ""
            axes = _panel(figure, 0.1 + 1.82 * column, 1.88 - 1.8 * row, 1.7, title)
            axes.imshow(one[..., channel], cmap="magma", interpolation="nearest")
    return figure


def _draw_evidence(pixels: npt.NDArray[np.uint8], places: Array, label: str) -> Figure:
    figure = _figure(3.6, 3.3)
    axes = _panel(figure, 0.1, 0.1, 2.8, f"red: speaks for {label}")
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    extent = (0, pixels.shape[1], pixels.shape[0], 0)
    limit = float(np.abs(places).max())
    axes.imshow(grey, cmap="gray", extent=extent)
    shown = axes.imshow(
        places,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        alpha=0.6,
        extent=extent,
        interpolation="nearest",
    )
    scale = figure.add_axes((3.0 / 3.6, 0.1 / 3.3, 0.1 / 3.6, 2.8 / 3.3))
    figure.colorbar(shown, cax=scale).outline.set_visible(False)
    scale.tick_params(labelsize=7, labelcolor=FAINT, length=0)
    return figure


def _draw_softmax(names: Sequence[str], logits: Array, probabilities: Array) -> Figure:
    figure = _figure(9.2, 2.5)
    rows = range(len(names))
    colours = [BEST] + [OTHER] * (len(names) - 1)
    for left, title, values, form in (
        (0.17, "logits z", logits, "{:.2f}"),
        (0.63, "softmax(z)", probabilities, "{:.1%}"),
    ):
        axes = figure.add_axes((left, 0.06, 0.28, 0.78))
        axes.set_title(title, color=INK, size=10, loc="left")
        axes.barh(rows, values, color=colours, height=0.6)
        axes.set_xlim(min(0, values.min()), values.max() * 1.05)
        axes.invert_yaxis()
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        axes.spines["left"].set_color(OTHER)
        axes.set_xticks([])
        axes.set_yticks(rows, names if left < 0.5 else [""] * len(names), color=INK)
        axes.tick_params(length=0)
        for row, value in enumerate(values):
            axes.text(max(value, 0), row, " " + form.format(value), va="center", color=INK, size=9)
    return figure


def _save(figure: Figure, path: Path) -> None:
    """Writes a small PNG."""
    figure.savefig(path, dpi=120)
    _save_small(path, path)


def _save_small(picture: Path, path: Path) -> None:
    """Writes a picture as a PNG of 256 colours."""
    with Image.open(picture) as opened:
        flat = opened.convert("RGB").quantize(256)
    flat.save(path, optimize=True)
    print(f"  {path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    exit_with(main)
