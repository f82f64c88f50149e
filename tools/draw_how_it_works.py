"""Makes the numbers and pictures of docs/how_it_works.md from one photo and one trained run."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
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
from keras_flowers.inference import evidence, image
from keras_flowers.inference.image import Pixels
from keras_flowers.inference.keras_insides import insides_of_keras
from keras_flowers.system import import_tensorflow
from keras_flowers.training import metrics
from keras_flowers.training.run_directory import Run

EXAMPLES = """examples:
  the pictures of the page, and the numbers on standard output
      python tools/draw_how_it_works.py docs/sunflower.jpg saved_models/MobileNetV2 --output docs
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    explain(options.photo, options.run, options.label, options.output)
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
    return options


def explain(photo: Path, folder: Path, label: str, output: Path) -> None:
    """Prints every number of the page and writes its pictures into `output`.

    Raises:
        UserError: `folder` is not a finished run of a MobileNetV2, or has no such label.
    """
    run = Run.open(folder)
    if not run.is_finished:
        raise UserError(f"{folder} is not finished; expected the folder of a finished run")
    import_tensorflow()

    from keras_flowers.training.model import FEATURES, OUTPUT, POOLED, split_at

    model = run.load_model()
    labels = run.metadata.labels
    if label not in labels:
        raise UserError(f"{label} is not a label of {folder}")
    if not {*MAPS, LAST_MAPS} <= {layer.name for layer in model.layers}:
        raise UserError(f"{folder} is not a MobileNetV2; the page explains its layers by name")
    right = labels.index(label)
    output.mkdir(parents=True, exist_ok=True)

    print("== a photo is an array")
    upright = image.read_photo(photo)
    size = (model.input_shape[1], model.input_shape[2])
    pixels = image.read_pixels(photo, size)
    patch = pixels[ROW : ROW + 4, COLUMN : COLUMN + 4]
    print(f"{upright.width} x {upright.height} -> {pixels.shape}: {pixels.size} numbers")
    print(patch.tolist())
    _save(_draw_pixels(upright, pixels, patch), output / "pixels.png")
    print(f"scaled: {pixels[ROW, COLUMN]} -> {(pixels[ROW, COLUMN] / 127.5 - 1).round(3)}")

    print("== one perceptron of the first layer")
    batch = pixels[None].astype(np.float32)
    _explain_perceptron(model, batch)
    first_map = _outputs(model, MAPS[0], batch)[..., FILTER]
    kernel = model.get_layer("Conv1").get_weights()[0][..., FILTER]
    _save(_draw_perceptron(batch[0] / 127.5 - 1, kernel, first_map), output / "perceptron.png")

    print("== feed-forward")
    maps = [_outputs(model, name, batch) for name in (*MAPS, LAST_MAPS)]
    for name, one in zip((*MAPS, LAST_MAPS), maps, strict=True):
        print(f"{name:24} {one.shape}  {(one == 0).mean():.0%} zeros")
    _save(_draw_maps(maps), output / "feature_maps.png")

    print("== pooling")
    insides = insides_of_keras(model)
    assert insides is not None  # it has the layers of a MobileNetV2 of ours
    parts = insides.parts(batch)
    pooled = _outputs(model, POOLED, batch)
    _, tail = split_at(model, FEATURES)
    features = parts.features[None]
    _explain_pooling(_outputs(model, LAST_MAPS, batch), parts.maps, pooled, features[0])

    print("== the head")
    kernel, bias = tail.get_layer(OUTPUT).get_weights()
    logits = features @ kernel + bias
    probabilities = metrics.softmax(logits)
    answer = np.asarray(model(batch))
    print(f"features {features.shape}, W {kernel.shape}, b {bias.shape}")
    print(f"largest difference from the whole model {np.abs(probabilities - answer).max():.1e}")
    head = kernel.size + bias.size
    print(f"weights: head {head}, base {model.count_params() - head}")
    print(f"convolutions: {sum('Conv2D' in type(one).__name__ for one in model.layers)}")
    places, constant = evidence.split_logits(parts)
    split = evidence.Evidence(labels, answer[0], places, constant)
    above = float(logits[0, right] - logits.mean())
    print(f"logit of {label} above the mean {above:.3f}")
    by_place = places[right] - places.mean(axis=0)
    added = float(constant[right] - constant.mean())
    print(f"  = places {by_place.sum():.3f} + bias {added:.3f}")
    shown = split.of(label)
    on_flower = shown[FLOWER]
    print(f"with the bias spread evenly: {shown.min():.3f} to {shown.max():.3f} a place")
    print(f"  {on_flower.size} places of the flower {on_flower.sum():.3f}, ", end="")
    print(f"{shown.size - on_flower.size} others {shown.sum() - on_flower.sum():.3f}")
    _save(_draw_evidence(pixels, shown, label), output / "evidence.png")

    print("== softmax")
    top = np.argsort(-logits[0])[:5]
    powers = np.exp(logits[0] - logits.max())
    print(f"mean of all logits {logits.mean():.3f}; sum of exp(z - max z) {powers.sum():.4f}")
    for k in top:
        print(f"{labels[k]:20} z {logits[0, k]:7.3f}  exp {powers[k]:.4f}  {answer[0, k]:.2%}")
    _save(
        _draw_softmax([labels[k] for k in top], logits[0, top], answer[0, top]),
        output / "softmax.png",
    )
    temperature = run.metrics["temperature"]
    before = metrics.softmax(logits * temperature)
    print(f"temperature {temperature:.4f}; {label} before it {before[0, right]:.2%}")

    print("== cross-entropy")
    classes = len(labels)
    print(f"knowing nothing {np.log(classes):.3f}; now {-np.log(answer[0, right]):.3f}")

    smoothing = run.settings["label_smoothing"]
    targets = np.full(classes, smoothing / classes)
    targets[right] += 1 - smoothing
    least = -(targets[targets > 0] * np.log(targets[targets > 0])).sum()
    print(f"smoothed target {targets[right]:.4f} and {targets.min():.5f}; least loss {least:.3f}")

    print("== backpropagation")
    _explain_backpropagation(tail, features, right)

    print("== training")
    with run.history_path.open(encoding="utf-8") as lines:
        history = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(lines)]
    for row in (history[0], history[1], history[-1]):
        print(f"epoch {row['epoch']:.0f}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.2%}")
    _save_small(run.curves_path, output / "learning_curves.png")
    for split, scores in run.metrics["scores"].items():
        print(f"{split}: top-1 {scores['top1']['value']:.1%} of {scores['photos']}")


def _outputs(model: Any, layer: str, batch: Array) -> Array:
    import keras

    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    maps: Array = np.asarray(part(batch, training=False))[0]
    return maps


def _explain_perceptron(model: Any, batch: Array) -> None:
    weights = model.get_layer("Conv1").get_weights()[0][..., FILTER]
    for channel, name in enumerate(("red", "green", "blue")):
        print(f"weights on {name}: {_rounded(weights[..., channel])}")
    gamma, beta, mean, variance = (w[FILTER] for w in model.get_layer("bn_Conv1").get_weights())
    epsilon = model.get_layer("bn_Conv1").epsilon
    print(f"inputs: {weights.size}")
    for row, column in ((ROW, COLUMN), (FLAT_ROW, FLAT_COLUMN)):
        inputs = batch[0, row : row + 3, column : column + 3] / 127.5 - 1
        weighted_sum = float((weights * inputs).sum())
        normed = gamma * (weighted_sum - mean) / np.sqrt(variance + epsilon) + beta
        by_hand = [weighted_sum, normed, np.clip(normed, 0, 6)]
        # Stride 2, padded below and on the right only: output (i, j) begins at input (2i, 2j).
        place = (row // 2, column // 2, FILTER)
        found = [_outputs(model, name, batch)[place] for name in ("Conv1", "bn_Conv1", MAPS[0])]
        print(f"at row {row}, column {column}, pixel {batch[0, row, column]}")
        print(f"  sum, normalised, ReLU6: by hand {_rounded(by_hand, 3)}")
        print(f"                  the model's own {_rounded(found, 3)}")


def _explain_pooling(
    maps: Array, weighted: Sequence[Array], pooled: Array, features: Array
) -> None:
    means = np.concatenate([one.mean(axis=(0, 1)) for one in weighted])
    print(f"pooled {[one.shape for one in weighted]} -> {pooled.shape}")
    print(f"largest difference from the means by hand {np.abs(means - pooled).max():.1e}")
    weights = weighted[0].sum(axis=-1) / maps.sum(axis=-1)
    middle = len(weights) // 2
    print(f"weights of the places: middle {weights[middle, middle]:.2f}, ", end="")
    print(f"middle of a side {weights[0, middle]:.2f}, corner {weights[0, 0]:.2f}")
    order = np.argsort(pooled)
    for name, one in (("strongest", order[-1]), ("middle", order[len(order) // 2])):
        print(f"{name} map: mean {pooled[one]:.4f}, its root {features[one]:.4f}")
    tenth = order[-len(order) // 10 :]
    print(f"zeros {(pooled == 0).mean():.1%}; the strongest tenth has ", end="")
    print(f"{pooled[tenth].sum() / pooled.sum():.0%} of the sum, ", end="")
    print(f"of the roots' {features[tenth].sum() / features.sum():.0%}")


def _rounded(values: npt.ArrayLike, digits: int = 2) -> str:
    return str(np.asarray(values, np.float64).round(digits).tolist())


def _explain_backpropagation(tail: Any, features: Array, right: int) -> None:
    import tensorflow as tf

    from keras_flowers.training.model import OUTPUT, build_head

    head = build_head(tail, dropout=0.0, seed=0)
    layer = head.get_layer(OUTPUT)
    target = np.eye(tail.output_shape[-1], dtype=np.float32)[[right]]
    print(f"one photo, steps of {STEP_SIZE}; |x|^2 = {(features**2).sum():.1f}")
    for step in range(GRADIENT_STEPS + 1):
        with tf.GradientTape() as tape:
            probabilities = head(features)
            loss = -tf.math.log(probabilities[0, right])
        gradients = tape.gradient(loss, [layer.kernel, layer.bias])
        error = np.asarray(probabilities) - target
        by_hand = features.T @ error
        if step == 0:
            print(f"p - y: {error[0, right]:.4f} for the right class, {error.max():.4f} for others")
            print(f"gradient {by_hand.shape}: largest difference from the formula ", end="")
            print(f"{np.abs(by_hand - np.asarray(gradients[0])).max():.1e}")
        chosen = float(probabilities[0, right])
        print(f"step {step:2}: probability {chosen:.2%}, loss {float(loss):.3f}")
        layer.kernel.assign_sub(STEP_SIZE * gradients[0])
        layer.bias.assign_sub(STEP_SIZE * gradients[1])


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
