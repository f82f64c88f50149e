"""Pictures to look at: a prediction, the learning curves of a run, a confusion matrix.

Matplotlib's objects are used without `pyplot`: nothing is shown, no state is shared, and the same
input gives the same file.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import ExifTags, Image

from keras_flowers import files
from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import Answer
from keras_flowers.inference.flowers import flower_named
from keras_flowers.inference.fonts import FONT, drawable
from keras_flowers.inference.formats import CHART_SOFTWARE
from keras_flowers.inference.image import Photo, read_photo
from keras_flowers.inference.text import percent

_DPI = 150
_INK = "#22272e"
_FAINT_INK = "#6b7480"
_RULE = "#e3e7ec"
_BEST = "#c2255c"
_OTHER = "#a9b4c2"
_TRACK = "#f1f3f5"
_BOLD = {"weight": "bold"}
_FAINT_ITALIC = {"style": "italic", "color": _FAINT_INK}

# Points.
_TITLE_SIZE = 20
_TEXT_SIZE = 13

# Inches.
_MARGIN = 0.4
_COLUMN_GAP = 0.5
_LINE_GAP = 0.15
_BARS_WIDTH = 2.9
_PERCENT_WIDTH = 0.85
_PHOTO_AREA = 13.0
_PHOTO_MAX_WIDTH = 6.0
_PHOTO_MAX_HEIGHT = 4.6
_PHOTO_MIN_SIDE = 0.08
_ROW_MAX_HEIGHT = 0.64
_ROW_MIN_HEIGHT = 0.42
_FOR_AND_AGAINST = 0.38  # how far from the middle of Matplotlib's colours; their ends are dark
_SCALE_HEIGHT = 0.75  # of the colours' scale below the places of an explanation

# Without versions and dates: the same chart is the same file.
_FACTS: dict[str, dict[str, str | None]] = {
    "png": {"Software": CHART_SOFTWARE},
    "pdf": {"Creator": CHART_SOFTWARE, "Producer": None, "CreationDate": None},
    "svg": {"Creator": CHART_SOFTWARE, "Date": None},
}

_EXIF = Image.Exif()
_EXIF[ExifTags.Base.Software] = CHART_SOFTWARE

# The other formats are written by Pillow, which takes the same fact in another way.
_PILLOW_FACTS: dict[str, dict[str, Any]] = {
    "gif": {"comment": CHART_SOFTWARE},
    **dict.fromkeys(("jpg", "jpeg", "webp", "tif", "tiff", "avif"), {"exif": _EXIF}),
}

PHOTO_SIZE = (round(_PHOTO_MAX_HEIGHT * _DPI), round(_PHOTO_MAX_WIDTH * _DPI))
"""Height and width in pixels that a photo fills at most: read it no larger."""


@contextmanager
def _default_style() -> Iterator[None]:
    # A matplotlibrc (Matplotlib reads one from the current folder) changes colours and fonts, or
    # calls LaTeX.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@_default_style()
def draw_prediction(
    photo: Image.Image, top: Sequence[tuple[str, float]], answer: Answer | None = None
) -> Figure:
    """Draws a photo, titled with the answer, beside a bar for each name in `top`.

    The figure grows with the photo's shape and with the names; nothing is cut.

    Args:
        photo: In mode "RGB".
        top: Names with their probabilities 0..1, the likeliest first, at least one
            (`Prediction.top`). More than about ten are hard to read.
        answer: What is said of it (`Prediction.answer`); None: the likeliest name.
    """
    photo_width, photo_height = _photo_size(photo)
    figure = _new_figure(1, 1)
    # Left: name, scientific name, photo.
    title = top[0][0] if answer is None else answer.text
    flower = flower_named(title)  # what is in doubt is not called by one
    characters = max(18, int(photo_width * 6.5))
    lines = [(_wrapped(title, characters), {"size": _TITLE_SIZE, **_BOLD})]
    if flower:
        lines.append((flower.scientific_name, {"size": _TEXT_SIZE, **_FAINT_ITALIC}))
    if answer is not None and answer.warning:
        lines.append((_wrapped(answer.warning, round(1.6 * characters)), {"size": _TEXT_SIZE}))
    sizes = [_size(figure, text, **style) for text, style in lines]
    left_width = max(photo_width, *(width for width, _ in sizes))
    head_height = sum(height + _LINE_GAP for _, height in sizes)
    # Right: a row for each name, beside the photo; many or high rows reach up beside its title.
    names = [_wrapped(name, 28) for name, _ in top]
    name_sizes = [_size(figure, name, size=_TEXT_SIZE, **_BOLD) for name in names]
    row_height = min(_ROW_MAX_HEIGHT, max(_ROW_MIN_HEIGHT, photo_height / len(top)))
    row_height = max(row_height, *(height + _LINE_GAP for _, height in name_sizes))
    bars_height = row_height * len(top)
    bars_left = _MARGIN + left_width + _COLUMN_GAP + max(width for width, _ in name_sizes) + 0.15

    width = bars_left + _BARS_WIDTH + _PERCENT_WIDTH + _MARGIN
    height = max(head_height + photo_height, bars_height) + 2 * _MARGIN
    photo_top = _MARGIN + head_height
    bars_top = photo_top + (photo_height - bars_height) / 2
    if bars_height > photo_height:
        bars_top = max(_MARGIN, photo_top + photo_height - bars_height)
    figure.set_size_inches(width, height)

    def box(left: float, from_top: float, box_width: float, box_height: float) -> Axes:
        """Axes with their upper left corner at a place in inches."""
        bottom = height - from_top - box_height
        return figure.add_axes(
            (left / width, bottom / height, box_width / width, box_height / height)
        )

    from_top = _MARGIN
    for (text, style), (_, line_height) in zip(lines, sizes, strict=True):
        _write(figure, _MARGIN / width, 1 - from_top / height, text, va="top", **style)
        from_top += line_height + _LINE_GAP
    picture = box(_MARGIN, photo_top, photo_width, photo_height)
    picture.axis("off")
    # Pillow resizes a phone's photo faster, and in less memory, than Matplotlib.
    pixels = (max(1, round(photo_width * _DPI)), max(1, round(photo_height * _DPI)))
    picture.imshow(
        np.asarray(photo.resize(pixels, Image.Resampling.LANCZOS, reducing_gap=3.0)),
        aspect="auto",
        interpolation="none",
    )
    bars = box(bars_left, bars_top, _BARS_WIDTH, bars_height)
    _draw_bars(bars, names, [probability for _, probability in top])
    return figure


@_default_style()
def draw_evidence(
    photo: Image.Image,
    top: Sequence[tuple[str, float]],
    evidence: Mapping[str, npt.NDArray[np.float64]],
    answer: Answer | None = None,
    *,
    exact: bool,
) -> Figure:
    """Draws a prediction, and below it where in the photo some names come from.

    Args:
        photo: In mode "RGB".
        top: Names and probabilities 0..1, the likeliest first.
        evidence: float [rows, columns] of some of the names: `Evidence.of`.
        answer: As for `draw_prediction`.
        exact: Whether it adds up to the logits; else it says what hiding a place changes.
    """
    figure = draw_prediction(photo, top, answer)
    width, _ = figure.get_size_inches()
    names, said = list(evidence), list(evidence.values())
    panel_width = (width - 2 * _MARGIN - _COLUMN_GAP) / 2
    panel_height = panel_width * photo.height / photo.width
    if panel_height > _PHOTO_MAX_HEIGHT:
        panel_height = _PHOTO_MAX_HEIGHT
        panel_width = max(panel_height * photo.width / photo.height, _PHOTO_MIN_SIDE)
    lines = [_wrapped(f"for and against {name}", 42) for name in names]
    head = max(_size(figure, one, size=_TEXT_SIZE, **_BOLD)[1] for one in lines) + _LINE_GAP
    height = _add_below(figure, head + panel_height + _SCALE_HEIGHT + _MARGIN)
    limit = fullest(said)
    for number, (line, places) in enumerate(zip(lines, said, strict=True)):
        left = _MARGIN + number * ((width - 2 * _MARGIN + _COLUMN_GAP) / 2)
        from_bottom = _MARGIN + _SCALE_HEIGHT
        _write(
            figure,
            left / width,
            (from_bottom + panel_height + _LINE_GAP) / height,
            line,
            va="bottom",
            size=_TEXT_SIZE,
            **_BOLD,
        )
        box = (
            left / width,
            from_bottom / height,
            panel_width / width,
            panel_height / height,
        )
        axes = figure.add_axes(box)
        axes.axis("off")
        axes.imshow(draw_places(photo, places, limit), aspect="auto", interpolation="none")
    _draw_scale(figure, width, height, limit, exact=exact)
    return figure


@_default_style()
def draw_similar(
    photo: Image.Image, others: Sequence[Image.Image | None], captions: Sequence[str]
) -> Figure:
    """Draws a photo and, in rows beside it, those that it resembles.

    Args:
        photo: In mode "RGB".
        others: In mode "RGB", the most similar first; None for one that is not at hand.
        captions: What is written below each.
    """
    side, line = 2.0, 0.62
    columns = min(len(others) + 1, 4)
    rows = -(-(len(others) + 1) // columns)
    width = 2 * _MARGIN + columns * (side + 0.3) - 0.3
    height = 2 * _MARGIN + rows * (side + line)
    figure = _new_figure(width, height)
    shown = zip((photo, *others), ("the photo", *captions), strict=True)
    for number, (picture, caption) in enumerate(shown):
        row, column = divmod(number, columns)
        left = _MARGIN + column * (side + 0.3)
        bottom = height - _MARGIN - row * (side + line) - side
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        axes.axis("off")
        if picture is None:
            axes.text(0.5, 0.5, "not at hand", ha="center", color=_FAINT_INK, family=FONT)
        else:
            small = picture.copy()
            small.thumbnail((round(side * _DPI), round(side * _DPI)), Image.Resampling.LANCZOS)
            axes.imshow(np.asarray(small), interpolation="none")
            axes.set_anchor("SW")
        text = _wrapped(caption, 24)
        style = {"size": 10, **(_BOLD if number == 0 else {})}
        _write(figure, left / width, (bottom - 0.06) / height, text, va="top", **style)
    return figure


def draw_places(
    photo: Image.Image,
    places: npt.NDArray[np.float64],
    limit: float | None = None,
    side_px: int = 640,
) -> Image.Image:
    """A photo in grey, its places coloured: red what speaks for a name, blue what against it.

    Args:
        photo: In mode "RGB".
        places: float [rows, columns], which divide the photo evenly: `Evidence.of`.
        limit: What has the fullest colour; None: the 99th percentile.
        side_px: The longer side of the picture.
    """
    if limit is None:
        limit = fullest(places)
    share = side_px / max(photo.size)
    size = (max(1, round(photo.width * share)), max(1, round(photo.height * share)))
    grey = photo.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0).convert("L")
    # A little paler, so that the colours stand out in dark photos, too.
    grounds = 255 - 0.8 * (255 - np.asarray(grey, np.float64))[..., None]
    layers = 255 * _colours_of(np.clip(places / limit, -1, 1))
    # Squares, as the network sees them: a smooth picture would promise more than there is.
    squares = Image.fromarray(layers.round().astype(np.uint8), "RGBA")
    over = np.asarray(squares.resize(size, Image.Resampling.NEAREST), np.float64)
    alpha = over[..., 3:] / 255
    mixed = grounds * (1 - alpha) + over[..., :3] * alpha
    return Image.fromarray(mixed.round().astype(np.uint8))


def fullest(places: Any) -> float:
    """What has the fullest colour: the strongest few must not make all others look empty."""
    return max(float(np.quantile(np.abs(places), 0.99)), 1e-9)


def _colours_of(strength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Red for what speaks for a name, blue for against: -1..1 [...] -> RGBA 0..1 [..., 4]."""
    colours = matplotlib.colormaps["RdBu_r"](_FOR_AND_AGAINST * np.sign(strength) + 0.5)
    colours[..., 3] = 0.7 * np.abs(strength)
    return np.asarray(colours)


@_default_style()
def draw_learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draws loss and accuracy against the epoch, for training and validation.

    Args:
        history: One row an epoch with the keys epoch, loss, accuracy and, where there was a
            validation set, val_loss and val_accuracy; accuracies 0..1.
    """
    figure = _new_figure(10, 4)
    for place, (key, title) in enumerate((("loss", "Loss"), ("accuracy", "Accuracy"))):
        axes = figure.add_axes((0.07 + 0.5 * place, 0.15, 0.405, 0.70))
        _quiet_axes(axes)
        axes.set_title(title, loc="left", color=_INK, size=13, weight="bold", family=FONT, pad=12)
        for column, colour, label in (
            (key, _OTHER, "training"),
            (f"val_{key}", _BEST, "validation"),
        ):
            points = [(row["epoch"], row[column]) for row in history if column in row]
            if not points:
                continue
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) == 1 else None
            axes.plot(
                epochs,
                values,
                color=colour,
                linewidth=2,
                marker=marker,
                label=label,
                clip_on=False,  # at 0 and 100 % half of its width would be cut
            )
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            lowest, highest = axes.get_ylim()
            axes.set_ylim(max(lowest, 0.0), min(highest, 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(history) == 1:
            axes.set_xlim(history[0]["epoch"] - 1, history[0]["epoch"] + 1)
        axes.set_xlabel("epoch", color=_FAINT_INK, size=10, family=FONT)
        axes.grid(axis="y", color=_RULE)
        if axes.get_lines():
            axes.legend(frameon=False, labelcolor=_INK, prop={"family": FONT, "size": 10})
    return figure


@_default_style()
def draw_reliability(diagrams: Sequence[tuple[str, Sequence[tuple[float, float, int]]]]) -> Figure:
    """Draws how often answers are right against how sure they are said to be, side by side.

    Args:
        diagrams: The title of each, and for each range of probabilities the mean probability, the
            share of right answers, both 0..1, and the number of answers.
    """
    side, left, bottom = 3.6, 0.75, 0.75
    width, height = len(diagrams) * (side + left + 0.3), side + bottom + 0.7
    figure = _new_figure(width, height)
    most = max((count for _, bins in diagrams for *_, count in bins), default=1)
    for place, (title, bins) in enumerate(diagrams):
        from_left = left + place * (side + left + 0.3)
        box = (from_left / width, bottom / height, side / width, side / height)
        axes = figure.add_axes(box)
        _quiet_axes(axes)
        axes.set_title(title, loc="left", color=_INK, size=13, weight="bold", family=FONT, pad=12)
        axes.plot((0, 1), (0, 1), color=_OTHER, linewidth=1.5, linestyle=(0, (4, 3)))
        said, right, counts = zip(*bins, strict=True) if bins else ((), (), ())
        # The area says how many answers there are: a point of three may lie anywhere.
        sizes = [12 + 400 * count / most for count in counts]
        axes.plot(said, right, color=_BEST, linewidth=1.5)
        marks = axes.scatter(said, right, s=sizes, color=_BEST, alpha=0.75, linewidths=0, zorder=3)
        marks.set_clip_on(False)  # many answers may be given with 100 %
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(color=_RULE)
        axes.set_axisbelow(True)
        axes.set_xlabel("how sure it says it is", color=_FAINT_INK, size=10, family=FONT)
        if place == 0:
            axes.set_ylabel("how often it is right", color=_FAINT_INK, size=10, family=FONT)
    return figure


@_default_style()
def draw_coverage(points: Sequence[tuple[float, float, Mapping[str, float]]]) -> Figure:
    """Draws accuracy against coverage: what is won by not answering what it is least sure of.

    Args:
        points: For each threshold the share of photos of the classes that get an answer, the share
            of right ones among these, and for each kind of other photos the share that is named,
            all 0..1.
    """
    figure = _new_figure(7.6, 3.9)
    axes = figure.add_axes((0.1, 0.17, 0.56, 0.72))
    _quiet_axes(axes)
    answered = [coverage for coverage, *_ in points]
    axes.plot(answered, [right for _, right, _ in points], color=_BEST, linewidth=2, label="right")
    kinds = list(points[0][2]) if points else []
    for kind, style in zip(kinds, ("-", "--", ":", "-.") * len(kinds), strict=False):
        named = [others[kind] for *_, others in points]
        label = drawable(f"named: {kind}").text
        axes.plot(answered, named, color=_FAINT_INK, linewidth=1.5, linestyle=style, label=label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(color=_RULE)
    axes.set_xlabel("photos of its flowers that get an answer", color=_FAINT_INK, size=10)
    legend = axes.legend(
        frameon=False,
        labelcolor=_INK,
        prop={"family": FONT, "size": 10},
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


@_default_style()
def draw_confusion_matrix(matrix: npt.NDArray[np.integer[Any]], labels: Sequence[str]) -> Figure:
    """Draws how often each flower (row) was given each name (column), as a share of its row.

    Args:
        matrix: int [classes, classes]: how many photos of class `row` were named `column`.
        labels: The name of each class.
    """
    classes = len(labels)
    side = min(max(0.36 * classes, 3.2), 17.0)
    size = min(11.0, 0.62 * side * 72 / classes)
    names = [_wrapped(name, 40) for name in labels]
    figure = _new_figure(1, 1)
    names_width = max(_size(figure, name, size=size)[0] for name in names) + 0.1
    left, top = _MARGIN + 0.4 + names_width, 1.3
    width, height = left + side + 1.2, top + side + names_width + 0.4 + _MARGIN
    figure.set_size_inches(width, height)

    def box(from_left: float, box_width: float) -> Axes:
        """Axes as high as the matrix, at a place in inches."""
        bottom = height - top - side
        return figure.add_axes(
            (from_left / width, bottom / height, box_width / width, side / height)
        )

    for from_top, text, heading in (
        (_MARGIN, "Confusion matrix", {"size": _TITLE_SIZE, **_BOLD}),
        (_MARGIN + 0.42, "colour: share of the row", {"size": 11, "color": _FAINT_INK}),
    ):
        _write(figure, _MARGIN / width, 1 - from_top / height, text, va="top", **heading)
    axes = box(left, side)
    _quiet_axes(axes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # The root makes a single mistake among many photos visible.
    image = axes.imshow(
        shares, cmap="RdPu", norm=PowerNorm(0.5, 0, 1), aspect="auto", interpolation="none"
    )
    shown = [drawable(name) for name in names]
    families = list(dict.fromkeys(family for one in shown for family in one.families))
    style: dict[str, Any] = {"size": size, "color": _INK, "family": families}
    axes.set_xticks(range(classes), [one.text for one in shown], rotation=90, **style)
    axes.set_yticks(range(classes), [one.text for one in shown], **style)
    for tick_label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick_label.set_parse_math(False)
    edges = np.arange(classes + 1) - 0.5
    for draw_lines in (axes.hlines, axes.vlines):
        draw_lines(edges, edges[0], edges[-1], color="white", linewidth=0.6)
    axes.set_xlabel("predicted", size=11, color=_FAINT_INK, family=FONT)
    axes.set_ylabel("true", size=11, color=_FAINT_INK, family=FONT)
    if classes <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.25 else _INK
                _write_at(axes, column, row, str(count), ha="center", size=size, color=colour)
    scale = box(left + side + 0.25, 0.15)
    figure.colorbar(image, cax=scale, format=PercentFormatter(1.0))
    _quiet_axes(scale)
    return figure


@_default_style()
def save(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all, in the format that the ending of `path` names.

    Raises:
        UserError: There is no such format, or `path` is a folder.
    """
    formats = figure.canvas.get_supported_filetypes()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in formats:
        raise UserError(
            f"a chart cannot be written as {path.name}; expected a name that ends in .png, "
            ".jpg, .webp, .pdf or .svg"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a file name for the chart")
    with files.atomic_replace(path) as temporary:
        options: dict[str, Any] = {}
        if kind in _PILLOW_FACTS:
            options["pil_kwargs"] = dict(_PILLOW_FACTS[kind])  # Matplotlib adds to it
        figure.savefig(temporary, dpi=_DPI, format=kind, metadata=_FACTS.get(kind), **options)


@_default_style()
def write_png(figure: Figure, file: BinaryIO) -> None:
    """Writes a figure as a PNG to an open file."""
    figure.savefig(file, dpi=_DPI, format="png", metadata=_FACTS["png"])


@_default_style()
def svg_of(figure: Figure) -> str:
    """A figure as SVG, for a page: sharp at any size."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": CHART_SOFTWARE}):  # the same figure, the same text
        figure.savefig(file, format="svg", metadata=_FACTS["svg"])
    return file.getvalue()


def png_of(photo: Photo | None, draw: Callable[[Image.Image], Figure]) -> bytes | None:
    """What a notebook shows of a photo; None where that is not at hand, or deleted meanwhile."""
    if photo is None:
        return None
    try:
        picture = read_photo(photo, PHOTO_SIZE)
    except UserError:
        return None
    file = io.BytesIO()
    write_png(draw(picture), file)
    return file.getvalue()


def _draw_bars(axes: Axes, names: Sequence[str], probabilities: Sequence[float]) -> None:
    """A bar for each name, the first on top, on a track that stands for 100 %."""
    rows = range(len(names))
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.barh(rows, 1.0, height=0.52, color=_TRACK)
    axes.barh(rows, probabilities, height=0.52, color=[_BEST] + [_OTHER] * (len(names) - 1))
    for row, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
        style = {"size": _TEXT_SIZE, **(_BOLD if row == 0 else {})}
        _write_at(axes, -0.15 / _BARS_WIDTH, row, name, **style)
        _write_at(axes, 1 + _PERCENT_WIDTH / _BARS_WIDTH, row, percent(probability), **style)


def _add_below(figure: Figure, inches: float) -> float:
    """Makes a figure higher, all that is in it staying where it is; returns the new height."""
    width, old = figure.get_size_inches()
    new = float(old + inches)
    places = [axes.get_position(original=True).bounds for axes in figure.axes]
    figure.set_size_inches(width, new)
    for axes, (left, bottom, wide, high) in zip(figure.axes, places, strict=True):
        axes.set_position((left, (bottom * old + inches) / new, wide, high * old / new))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, (y * old + inches) / new))
    return new


def _draw_scale(figure: Figure, width: float, height: float, limit: float, *, exact: bool) -> None:
    """Says what the colours of the places mean, at the bottom of the figure."""
    unit = "to the logit" if exact else "to the log of the probability (found by graying out)"
    colours = _colours_of(np.linspace(-1, 1, 41))
    box = (_MARGIN / width, (_MARGIN + 0.22) / height, 1.6 / width, 0.16 / height)
    axes = figure.add_axes(box)
    axes.imshow(colours[None], aspect="auto", interpolation="none")
    axes.axis("off")
    text = f"a place adds {-limit:.2f} (blue) to {limit:.2f} (red) or more {unit}"
    left = _MARGIN + 1.75
    # Below a narrow photo there is room for half of it; an inch holds some twelve letters.
    text = _wrapped(text, max(18, int(11.5 * (width - left - _MARGIN))))
    style = {"va": "center", "size": 11, "color": _FAINT_INK}
    _write(figure, left / width, (_MARGIN + 0.3) / height, text, **style)


def _new_figure(width: float, height: float) -> Figure:
    figure = Figure((width, height), dpi=_DPI, facecolor="white", edgecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> Text:
    text, families = drawable(text)
    written = figure.text(x, y, text, **{"color": _INK, "family": families, "ha": "left", **style})
    # A dollar in a name is a dollar, not a formula.
    written.set_parse_math(False)
    return written


def _write_at(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Writes a text that ends at a place in the axes' data, inside them or not."""
    text, families = drawable(text)
    written = axes.text(
        x, y, text, **{"color": _INK, "family": families, "ha": "right", "va": "center", **style}
    )
    written.set_parse_math(False)


def _size(figure: Figure, text: str, **style: Any) -> tuple[float, float]:
    """Width and height of a text in inches."""
    probe = _write(figure, 0, 0, text, **style)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width / figure.dpi, extent.height / figure.dpi


def _wrapped(name: str, characters: int) -> str:
    return "\n".join(textwrap.wrap(name, characters)) or "(no name)"


def _photo_size(photo: Image.Image) -> tuple[float, float]:
    """Width and height in inches: every shape gets about the same area, within bounds."""
    aspect = photo.width / photo.height
    width = min((_PHOTO_AREA * aspect) ** 0.5, _PHOTO_MAX_WIDTH, _PHOTO_MAX_HEIGHT * aspect)
    height = width / aspect
    # A photo one pixel wide is stretched to a visible line.
    return max(width, _PHOTO_MIN_SIDE), max(height, _PHOTO_MIN_SIDE)


def _quiet_axes(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=_FAINT_INK, labelsize=9, labelfontfamily=FONT)
