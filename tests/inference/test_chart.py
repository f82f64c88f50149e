"""The pictures show what they are given, whole and readable."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from keras_flowers.errors import UserError
from keras_flowers.inference import chart
from keras_flowers.inference.doubt import Answer
from keras_flowers.inference.flowers import FLOWER_NAMES
from keras_flowers.inference.formats import is_chart

SUNFLOWER = [("sunflower", 0.9), ("gazania", 0.08), ("marigold", 0.02)]
LONG = [
    ("prince of wales feathers", 0.5),
    ("hard-leaved pocket orchid", 0.2),
    ("pink-yellow dahlia?", 0.1),
    ("giant white arum lily", 0.08),
    ("bishop of llandaff", 0.05),
    ("love in the mist", 0.03),
    ("ruby-lipped cattleya", 0.02),
    ("black-eyed susan", 0.01),
    ("californian poppy", 0.009),
    ("common dandelion", 0.0001),
]
SHAPES = {
    "landscape": (640, 480),
    "portrait": (300, 400),
    "panorama": (2000, 300),
    "tower": (200, 1500),
    "tiny": (3, 2),
    "pixel": (1, 1),
    "thread": (1, 20_000),
    "ribbon": (20_000, 1),
}


def photo(width: int = 64, height: int = 48) -> Image.Image:
    return Image.new("RGB", (width, height), (0, 200, 100))


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def written(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in texts(figure)]


def pixels(figure: Figure) -> np.ndarray:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=50)
    return np.asarray(Image.open(file).convert("RGB"))


# A prediction.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "top",
    [
        pytest.param(SUNFLOWER[:1], id="1 bar"),
        pytest.param(LONG, id="10 bars"),
        pytest.param(
            [
                ("a name of one's own class that goes on and on " * 3, 0.6),
                ("Donaudampfschifffahrtsgesellschaftskapitänsblume" * 2, 0.4),
            ],
            id="long names",
        ),
    ],
)
def test_no_text_is_cut_or_covered(shape: str, top: list[tuple[str, float]]) -> None:
    figure = chart.draw_prediction(photo(*SHAPES[shape]), top)
    picture, bars = (axes.get_window_extent() for axes in figure.axes)
    boxes = [text.get_window_extent() for text in texts(figure)]
    whole = figure.bbox
    for box in (*boxes, picture, bars):
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1
    for box in boxes:
        assert not box.overlaps(picture)
        assert not box.overlaps(bars)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_title_of_a_narrow_photo_is_not_covered_by_many_bars() -> None:
    figure = chart.draw_prediction(photo(*SHAPES["tower"]), [*LONG, *LONG])
    title = figure.texts[0].get_window_extent()
    assert not any(title.overlaps(text.get_window_extent()) for text in figure.axes[1].texts)


def test_photo_is_titled_with_name_and_scientific_name() -> None:
    figure = chart.draw_prediction(photo(), SUNFLOWER)
    title, scientific_name = figure.texts
    assert title.get_text() == "sunflower"
    assert scientific_name.get_text() == "Helianthus annuus"
    assert scientific_name.get_style() == "italic"
    picture = figure.axes[0].get_window_extent()
    assert title.get_window_extent().y0 > scientific_name.get_window_extent().y1 > picture.y1


def test_unknown_flower_has_no_scientific_name() -> None:
    figure = chart.draw_prediction(photo(), [("my rose", 1.0)])
    assert [text.get_text() for text in figure.texts] == ["my rose"]


def test_bars_are_as_long_as_the_probabilities() -> None:
    figure = chart.draw_prediction(photo(), SUNFLOWER)
    _, bars = figure.axes
    tracks, filled = bars.containers
    assert [bar.get_width() for bar in tracks] == [1, 1, 1]
    assert [bar.get_width() for bar in filled] == [0.9, 0.08, 0.02]
    tops = [bar.get_window_extent().y1 for bar in filled]
    assert tops == sorted(tops, reverse=True)
    assert [text.get_text() for text in bars.texts] == [
        "sunflower", "90.0%", "gazania", "8.0%", "marigold", "2.0%",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("probability", "text"),
    [(1.0, "100.0%"), (0.99951, ">99.9%"), (0.9994, "99.9%"), (0.0004, "<0.1%"), (0.0, "0.0%")],
)
def test_percentage_says_neither_certain_nor_never_of_what_is_not(
    probability: float, text: str
) -> None:
    assert text in written(chart.draw_prediction(photo(), [("rose", probability)]))


@pytest.mark.parametrize("shape", ["landscape", "portrait", "panorama", "tower", "tiny", "pixel"])
def test_photo_is_not_distorted(shape: str) -> None:
    width, height = SHAPES[shape]
    box = chart.draw_prediction(photo(width, height), SUNFLOWER).axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx(width / height, rel=0.01)


def test_photo_is_drawn_upright_and_in_its_colours() -> None:
    two = photo()
    two.paste((255, 0, 255), (0, 0, 64, 24))
    figure = chart.draw_prediction(two, SUNFLOWER)
    box = figure.axes[0].get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    shown = pixels(figure)
    column = round((box.x0 + box.x1) / 2 * 50)
    top, bottom = len(shown) - round(box.y1 * 50), len(shown) - round(box.y0 * 50)
    assert tuple(shown[top + 5, column]) == (255, 0, 255)
    assert tuple(shown[bottom - 5, column]) == (0, 200, 100)


def test_photo_needs_no_more_pixels_than_promised() -> None:
    for width, height in SHAPES.values():
        box = chart.draw_prediction(photo(width, height), LONG).axes[0].get_window_extent()
        assert box.height <= chart.PHOTO_SIZE[0] + 1
        assert box.width <= chart.PHOTO_SIZE[1] + 1


def test_dollars_in_a_name_are_dollars() -> None:
    figure = chart.draw_prediction(photo(), [("a $5$ rose and $\\frac$", 0.5), ("$x_1$", 0.5)])
    assert "$x_1$" in written(figure)
    pixels(figure)  # Matplotlib would raise on the broken formula


def test_same_input_gives_the_same_file_whatever_the_users_style(tmp_path: Path) -> None:
    plain, styled = tmp_path / "plain.png", tmp_path / "styled.png"
    chart.save(chart.draw_prediction(photo(), SUNFLOWER), plain)
    style = {"axes.facecolor": "black", "font.size": 30, "savefig.bbox": "tight", "figure.dpi": 20}
    with matplotlib.rc_context(style):
        chart.save(chart.draw_prediction(photo(), SUNFLOWER), styled)
        assert matplotlib.rcParams["font.size"] == 30
    assert plain.read_bytes() == styled.read_bytes()


# Files.


@pytest.fixture
def small_figure() -> Figure:
    return chart.draw_learning_curves([{"epoch": 1, "loss": 2.0, "accuracy": 0.3}])


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "tif", "tiff", "gif", "PNG"])
def test_format_is_chosen_by_the_ending(tmp_path: Path, small_figure: Figure, ending: str) -> None:
    path = tmp_path / f"chart.{ending}"
    chart.save(small_figure, path)
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper())
    with Image.open(path) as picture:
        assert picture.format == kind
    assert is_chart(path)  # so that a folder of photos is named without it


@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_vector_formats_are_written(
    tmp_path: Path, small_figure: Figure, ending: str, start: bytes
) -> None:
    path = tmp_path / f"chart.{ending}"
    chart.save(small_figure, path)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["chart", "chart.doc", "chart.", ".png"])
def test_unknown_format_is_refused_and_nothing_is_written(
    tmp_path: Path, small_figure: Figure, name: str
) -> None:
    with pytest.raises(UserError, match=r"\.png, \.jpg"):
        chart.save(small_figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_folder_is_not_replaced_by_a_chart(tmp_path: Path, small_figure: Figure) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        chart.save(small_figure, tmp_path / "folder.png")


def test_charts_are_told_from_the_users_pictures(tmp_path: Path) -> None:
    chart.save(chart.draw_prediction(photo(), SUNFLOWER), tmp_path / "chart.png")
    photo().save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("text")
    assert is_chart(tmp_path / "chart.png")
    assert not is_chart(tmp_path / "photo.png")
    assert not is_chart(tmp_path / "text.png")
    assert not is_chart(tmp_path / "none.png")


def test_row_is_as_high_as_the_highest_name_beside_it() -> None:
    names = ["a name of its own " * 6, "rose", "lotus", "aster", "iris", "moss"]
    figure = chart.draw_prediction(photo(), [(name, 1 / 6) for name in names])
    _, bars = figure.axes
    height = bars.get_position().height * figure.get_size_inches()[1] / len(names)
    highest = chart._size(figure, chart._wrapped(names[0], 28), size=13, weight="bold")[1]
    assert height == pytest.approx(highest + chart._LINE_GAP, rel=0.01)


# Learning curves.


def test_learning_curves_show_both_sets_over_the_epochs() -> None:
    history = [
        {"epoch": 1, "loss": 2.0, "accuracy": 0.3, "val_loss": 2.2, "val_accuracy": 0.2},
        {"epoch": 2, "loss": 1.0, "accuracy": 0.6, "val_loss": 1.5, "val_accuracy": 0.5},
    ]
    loss, accuracy = chart.draw_learning_curves(history).axes
    curves = {line.get_label(): line.get_xydata().tolist() for line in loss.get_lines()}
    assert curves == {"training": [[1, 2.0], [2, 1.0]], "validation": [[1, 2.2], [2, 1.5]]}
    curves = {line.get_label(): line.get_xydata().tolist() for line in accuracy.get_lines()}
    assert curves == {"training": [[1, 0.3], [2, 0.6]], "validation": [[1, 0.2], [2, 0.5]]}
    # What is beside the matter is small and faint: the numbers at the axes, which have no ticks.
    for label in (*loss.get_xticklabels(), *accuracy.get_yticklabels()):
        assert (label.get_fontsize(), label.get_color()) == (9, chart._FAINT_INK)
    assert loss.xaxis.get_tick_params()["length"] == 0


def test_learning_curves_do_without_validation() -> None:
    figure = chart.draw_learning_curves([{"epoch": 1, "loss": 2.0, "accuracy": 0.3}])
    assert [len(axes.get_lines()) for axes in figure.axes] == [1, 1]
    assert figure.axes[0].get_lines()[0].get_marker() == "o"  # a line of one point is invisible
    pixels(figure)


def test_accuracy_is_drawn_between_none_and_all() -> None:
    rows = [{"epoch": epoch, "loss": 1.0, "accuracy": share} for epoch, share in ((1, 0), (2, 1))]
    accuracy = chart.draw_learning_curves(rows).axes[1]
    assert accuracy.get_ylim() == (0, 1)
    assert not accuracy.get_lines()[0].get_clip_on()
    rows[0]["accuracy"] = 0.9
    lowest, highest = chart.draw_learning_curves(rows).axes[1].get_ylim()
    assert 0.85 < lowest < 0.9 and highest == 1


def test_learning_curves_of_a_loss_that_is_no_number_are_drawn() -> None:
    rows = [{"epoch": epoch, "loss": float("nan"), "accuracy": 0.1} for epoch in (1, 2, 3)]
    pixels(chart.draw_learning_curves(rows))


# Confusion matrix.


def test_reliability_diagrams_stand_side_by_side_with_a_point_for_each_range() -> None:
    before = [(0.25, 0.5, 10), (0.75, 0.9, 90)]
    figure = chart.draw_reliability([("Before", before), ("After", [(0.5, 0.5, 100)])])
    left, right = figure.axes
    np.testing.assert_allclose(left.collections[0].get_offsets(), [(0.25, 0.5), (0.75, 0.9)])
    small, large = left.collections[0].get_sizes()
    assert large > 4 * small
    assert len(right.collections[0].get_offsets()) == 1
    assert left.get_position().x1 < right.get_position().x0
    svg = chart.svg_of(figure)
    assert svg == chart.svg_of(figure)
    assert "<svg" in svg


def test_accuracy_is_drawn_against_coverage_with_a_line_for_each_kind_of_other_photos() -> None:
    points = [(1.0, 0.8, {"other $ flower": 0.9}), (0.5, 1.0, {"other $ flower": 0.1})]
    (axes,) = chart.draw_coverage(points).axes
    right, named = axes.get_lines()
    np.testing.assert_array_equal(right.get_xydata(), [(1.0, 0.8), (0.5, 1.0)])
    np.testing.assert_array_equal(named.get_xydata(), [(1.0, 0.9), (0.5, 0.1)])
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["right", "named: other $ flower"]


def test_similar_photos_stand_in_rows_with_what_is_said_of_them() -> None:
    photo = Image.new("RGB", (60, 40), "red")
    captions = [f"0.{number}  rose $" for number in range(9, 4, -1)]
    figure = chart.draw_similar(photo, [photo] * 4 + [None], captions)
    assert len(figure.axes) == 6
    assert [text.get_text() for text in figure.texts] == ["the photo", *captions]
    with pytest.raises(ValueError, match="is longer than argument 1"):
        chart.draw_similar(photo, [photo] * 4, captions)
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 2


def test_confusion_matrix_shows_counts_and_the_share_of_the_row() -> None:
    matrix = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 0]])
    figure = chart.draw_confusion_matrix(matrix, ["rose", "tulip", "never shown"])
    axes = figure.axes[0]
    (image,) = axes.images
    np.testing.assert_allclose(image.get_array(), [[0.8, 0.2, 0], [0, 0.5, 0.5], [0, 0, 0]])
    assert [text.get_text() for text in axes.texts] == ["8", "2", "5", "5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "rose",
        "tulip",
        "never shown",
    ]
    assert axes.get_ylabel() == "true"
    assert axes.get_xlabel() == "predicted"


def test_confusion_matrix_is_dark_where_many_photos_are() -> None:
    matrix = np.array([[100, 0, 0], [1, 99, 0], [25, 25, 50]])
    figure = chart.draw_confusion_matrix(matrix, ["rose", "tulip", "aster"])
    (image,) = figure.axes[0].images
    colours = image.cmap(image.norm(matrix / 100))[..., :3]
    light = colours.mean(axis=-1)
    # No photo is nearly white, all are a dark red; a single one of a hundred is seen.
    assert light[0, 1] > 0.95
    assert light[0, 0] < 0.35
    assert light[0, 1] - light[1, 0] > 0.03
    assert light[1, 0] > light[2, 0] > light[2, 2] > light[1, 1]
    assert (colours[0, 0, 0] > colours[0, 0, 1]) and (colours[2, 2, 0] > colours[2, 2, 1])
    # Counts stay readable: white on dark, ink on light.
    inks = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert (inks["100"], inks["50"], inks["25"], inks["1"]) == (
        "white",
        "white",
        "#22272e",
        "#22272e",
    )


def test_counts_are_white_above_a_quarter_of_the_row() -> None:
    figure = chart.draw_confusion_matrix(np.array([[26, 74], [25, 75]]), ["rose", "tulip"])
    inks = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert (inks["26"], inks["25"]) == ("white", "#22272e")


def test_counts_are_written_for_up_to_twenty_classes() -> None:
    for classes, written_ones in ((20, 20), (21, 0)):
        figure = chart.draw_confusion_matrix(np.eye(classes, dtype=int), FLOWER_NAMES[:classes])
        assert len(figure.axes[0].texts) == written_ones


def test_evidence_leaves_the_prediction_above_where_it_was() -> None:
    def from_top(figure: Figure, count: int) -> np.ndarray:
        """The edges of the first axes and texts, in inches from the left and from the top."""
        width, height = figure.get_size_inches()
        boxes = [one.get_position(original=True) for one in figure.axes[:count]]
        places = [(x, y) for box in boxes for x, y in box.get_points()]
        places += [text.get_position() for text in figure.texts[:count]]
        return np.array([(x * width, (1 - y) * height) for x, y in places])

    alone = chart.draw_prediction(photo(), SUNFLOWER)
    places = {name: np.eye(3) for name, _ in SUNFLOWER[:2]}
    figure = chart.draw_evidence(photo(), SUNFLOWER, places, exact=True)
    count = min(len(alone.axes), len(alone.texts))
    assert count >= 1
    np.testing.assert_allclose(from_top(figure, count), from_top(alone, count), atol=1e-6)
    lower = [one.get_position(original=True) for one in figure.axes[len(alone.axes) :]]
    assert len(lower) >= 2
    assert max(box.y1 for box in lower) < min(
        one.get_position(original=True).y0 for one in figure.axes[: len(alone.axes)]
    )
    assert min(box.y0 for box in lower) > 0


@pytest.mark.parametrize(
    ("shape", "exact"), [("portrait", True), ("landscape", False), ("thread", False)]
)
def test_no_text_of_an_explanation_is_cut_or_covered(shape: str, exact: bool) -> None:
    places = {name: 2000 * np.eye(3) for name in ("sunflower", "gazania")}
    figure = chart.draw_evidence(photo(*SHAPES[shape]), SUNFLOWER, places, exact=exact)
    boxes = [text.get_window_extent() for text in texts(figure)]
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    for axes in figure.axes:
        assert not any(box.overlaps(axes.get_window_extent()) for box in boxes)
    unit = "to the logit" if exact else "(found by graying out)"
    assert written(figure)[-1].startswith("a place adds -2000.00 (blue) to 2000.00 (red) or more")
    assert written(figure)[-1].endswith(unit)


# Sizes and places in inches, from the lower left corner: whoever changes one changes the design.


def layout(figure: Figure) -> list[str]:
    """The size of a figure and the boxes of its axes, each left, bottom, width, height."""
    size = figure.get_size_inches()
    boxes = [axes.get_position(original=True).bounds for axes in figure.axes]
    in_inches = [size, *((np.array(box).reshape(2, 2) * size).ravel() for box in boxes)]
    return [" ".join(f"{one:.2f}" for one in box) for box in in_inches]


def styles(figure: Figure) -> list[str]:
    """Place and style of each text beside the axes, in inches."""
    found = []
    for text in figure.texts:
        x, y = np.array(text.get_position()) * figure.get_size_inches()
        style = (text.get_weight(), text.get_color(), text.get_ha(), text.get_va())
        found.append(f"{x:.2f} {y:.2f} {text.get_size():g} {' '.join(style)}")
    return found


INK, FAINT = "#22272e", "#6b7480"


def test_prediction_has_its_layout() -> None:
    figure = chart.draw_prediction(photo(), SUNFLOWER)
    assert layout(figure) == ["10.36 4.69", "0.40 0.40 4.16 3.12", "6.21 1.00 2.90 1.92"]
    assert styles(figure) == [
        f"0.40 4.29 20 bold {INK} left top",
        f"0.40 3.86 13 normal {FAINT} left top",
    ]
    bars = figure.axes[1]
    assert (bars.get_xlim(), bars.get_ylim()) == ((0, 1), (2.5, -0.5))
    assert {bar.get_height() for bar in bars.patches} == {0.52}
    places = [text.get_position() for text in bars.texts]
    np.testing.assert_allclose(places[::2], [(-0.15 / 2.9, row) for row in range(3)])
    np.testing.assert_allclose(places[1::2], [(1 + 0.85 / 2.9, row) for row in range(3)])
    assert {text.get_size() for text in bars.texts} == {13}


def test_many_bars_reach_up_beside_the_title() -> None:
    figure = chart.draw_prediction(photo(300, 900), SUNFLOWER * 5)
    assert layout(figure)[1:] == ["0.40 1.34 1.53 4.60", "3.74 0.40 2.90 6.30"]
    # Three rows of a panorama are as high as their names take; those of a tower no higher.
    few, high = (chart.draw_prediction(photo(*size), SUNFLOWER) for size in ((2000, 300), (9, 20)))
    assert layout(few)[2].endswith(" 1.26")
    assert layout(high)[2].endswith(" 1.92")


def test_warning_stands_between_name_and_photo() -> None:
    answer = Answer("name", "sunflower", "has deadly relatives, " * 4)
    figure = chart.draw_prediction(photo(), SUNFLOWER, answer)
    assert written(figure)[-1].startswith("has deadly relatives, has deadly")
    assert "\n" in figure.texts[2].get_text()
    tops = [text.get_window_extent().y1 for text in figure.texts]
    assert tops == sorted(tops, reverse=True)
    assert figure.texts[2].get_window_extent().y0 > figure.axes[0].get_window_extent().y1
    asked = chart.draw_prediction(photo(), SUNFLOWER, Answer("perhaps", "perhaps a rose"))
    assert [text.get_text() for text in asked.texts] == ["perhaps a rose"]


def test_explanation_has_its_layout() -> None:
    places = {name: 2 * np.eye(3) for name in ("sunflower", "gazania")}
    figure = chart.draw_evidence(photo(), SUNFLOWER, places, exact=True)
    assert layout(figure) == [
        "10.36 9.57",
        "0.40 5.28 4.16 3.12",
        "6.21 5.88 2.90 1.92",
        "0.40 1.15 4.53 3.40",
        "5.43 1.15 4.53 3.40",
        "0.40 0.62 1.60 0.16",
    ]
    assert styles(figure)[2:] == [
        f"0.40 4.70 13 bold {INK} left bottom",
        f"5.43 4.70 13 bold {INK} left bottom",
        f"2.15 0.70 11 normal {FAINT} left center",
    ]
    assert written(figure)[-3:] == [
        "for and against sunflower",
        "for and against gazania",
        "a place adds -2.00 (blue) to 2.00 (red) or more to the logit",
    ]
    # A high photo is no higher below than above.
    assert layout(chart.draw_evidence(photo(30, 90), SUNFLOWER, places, exact=True))[3:5] == [
        "0.40 1.15 1.53 4.60",
        "4.19 1.15 1.53 4.60",
    ]


def test_places_are_red_for_a_name_and_blue_against_it() -> None:
    black = Image.new("RGB", (40, 20))
    drawn = np.asarray(chart.draw_places(black, np.array([[1.0, -1.0, 0.0, 0.5]]), 1.0, 80), float)
    assert drawn.shape == (40, 80, 3)
    for_it, against, nothing, half = drawn[10, [10, 30, 50, 70]]
    assert nothing.tolist() == [51, 51, 51]  # black, a fifth paler
    assert for_it[0] > 2 * for_it[2] and against[2] > 2 * against[0]
    # 0.7 of the colour at most: 0.7 * colour + 0.3 * 51.
    colour = np.array(matplotlib.colormaps["RdBu_r"](0.88)[:3]) * 255
    np.testing.assert_allclose(for_it, 0.7 * colour + 0.3 * 51, atol=1.5)
    np.testing.assert_allclose(half, 0.35 * colour + 0.65 * 51, atol=1.5)
    # What is beyond the limit is as the limit; it is the 99th percentile where none is given.
    np.testing.assert_array_equal(
        np.asarray(chart.draw_places(black, np.full((1, 1), 5.0), 1.0)),
        np.asarray(chart.draw_places(black, np.full((1, 1), 1.0))),
    )
    assert chart.draw_places(black, np.ones((1, 1))).size == (640, 320)
    assert chart.fullest(np.arange(-100.0, 1)) == 99
    assert chart.fullest(np.zeros(3)) == 1e-9
    assert chart.draw_places(Image.new("RGB", (1, 5000)), np.ones((1, 1)), 1.0, 100).size == (
        1,
        100,
    )


def test_similar_photos_have_their_layout() -> None:
    figure = chart.draw_similar(photo(), [photo()] * 4 + [None], list("abcde"))
    assert layout(figure) == [
        "9.70 6.04",
        *(f"{left} 3.64 2.00 2.00" for left in ("0.40", "2.70", "5.00", "7.30")),
        *(f"{left} 1.02 2.00 2.00" for left in ("0.40", "2.70")),
    ]
    assert styles(figure)[0] == f"0.40 3.58 10 bold {INK} left top"
    assert styles(figure)[5] == f"2.70 0.96 10 normal {INK} left top"
    (gone,) = figure.axes[5].texts
    assert (gone.get_text(), gone.get_position()) == ("not at hand", (0.5, 0.5))
    # Two photos side by side, each no larger than its place; a wrapped caption.
    pair = chart.draw_similar(photo(2000, 1000), [photo()], ["a name that is too long for a line"])
    assert layout(pair)[0] == "5.10 3.42"
    assert pair.axes[0].images[0].get_array().shape == (150, 300, 3)
    assert pair.axes[1].images[0].get_array().shape == (48, 64, 3)
    assert pair.texts[1].get_text() == "a name that is too long\nfor a line"


def test_other_charts_have_their_layouts() -> None:
    curves = chart.draw_learning_curves(
        [{"epoch": 3, "loss": 2.0, "accuracy": 0.3, "val_loss": 1.0, "val_accuracy": 0.4}]
    )
    assert layout(curves) == ["10.00 4.00", "0.70 0.60 4.05 2.80", "5.70 0.60 4.05 2.80"]
    loss, accuracy = curves.axes
    assert loss.get_xlim() == accuracy.get_xlim() == (2, 4)
    assert [axes.get_title(loc="left") for axes in curves.axes] == ["Loss", "Accuracy"]
    assert [line.get_color() for line in loss.get_lines()] == ["#a9b4c2", "#c2255c"]
    assert accuracy.yaxis.get_major_formatter()(0.5) == "50%"
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert loss.get_xlabel() == "epoch"
    reliability = chart.draw_reliability([("a", [(0.2, 0.3, 10), (0.8, 0.9, 30)]), ("b", [])])
    assert layout(reliability) == ["9.30 5.05", "0.75 0.75 3.60 3.60", "5.40 0.75 3.60 3.60"]
    left, right = reliability.axes
    np.testing.assert_allclose(left.collections[0].get_sizes(), [12 + 400 / 3, 412])
    best = matplotlib.colors.to_rgb("#c2255c")
    np.testing.assert_allclose(left.collections[0].get_facecolor(), [(*best, 0.75)], atol=1e-6)
    assert left.get_lines()[1].get_color() == "#c2255c"
    assert left.get_xlim() == left.get_ylim() == (-0.02, 1.02)
    assert left.get_lines()[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    assert left.get_ylabel() == "how often it is right" and right.get_ylabel() == ""
    assert left.get_xlabel() == right.get_xlabel() == "how sure it says it is"
    assert left.xaxis.get_major_formatter()(0.25) == "25%"
    assert not left.collections[0].get_clip_on()
    coverage = chart.draw_coverage(
        [(1.0, 0.8, {"k": 0.9, "l": 0.5}), (0.5, 1.0, {"k": 0.1, "l": 0})]
    )
    assert layout(coverage) == ["7.60 3.90", "0.76 0.66 4.26 2.81"]
    assert [line.get_linestyle() for line in coverage.axes[0].get_lines()] == ["-", "-", "--"]
    assert coverage.axes[0].get_xlabel() == "photos of its flowers that get an answer"
    assert chart.draw_coverage([]).axes[0].get_lines()[0].get_xydata().tolist() == []
    matrix = chart.draw_confusion_matrix(np.array([[3, 1], [0, 2]]), ["rose", "tulip"])
    assert layout(matrix) == ["5.64 5.74", "1.24 1.24 3.20 3.20", "4.69 1.24 0.15 3.20"]
    assert styles(matrix) == [
        f"0.40 5.34 20 bold {INK} left top",
        f"0.40 4.92 11 normal {FAINT} left top",
    ]
    assert matrix.axes[0].texts[0].get_position() == (0, 0)
    assert matrix.axes[0].texts[1].get_position() == (1, 0)
    large = chart.draw_confusion_matrix(np.eye(40, dtype=int), [f"c{n}" for n in range(40)])
    assert layout(large)[1].endswith(" 14.40 14.40")
    assert large.axes[0].get_xticklabels()[0].get_size() == 11
    widest = chart.draw_confusion_matrix(np.eye(102, dtype=int), [f"c{n}" for n in range(102)])
    assert layout(widest)[1].endswith(" 17.00 17.00")
    assert widest.axes[0].get_xticklabels()[0].get_size() == pytest.approx(0.62 * 17 * 72 / 102)


def test_picture_for_a_notebook_is_none_where_the_photo_is_gone(tmp_path: Path) -> None:
    assert chart.png_of(None, lambda shown: Figure()) is None
    assert chart.png_of(tmp_path / "gone.jpg", lambda shown: Figure()) is None
    photo().save(tmp_path / "a.png")
    sizes: list[tuple[int, int]] = []

    def draw(shown: Image.Image) -> Figure:
        sizes.append(shown.size)
        return chart.draw_learning_curves([{"epoch": 1, "loss": 2.0, "accuracy": 0.3}])

    made = chart.png_of(tmp_path / "a.png", draw)
    assert made is not None and made.startswith(b"\x89PNG")
    assert sizes == [(64, 48)]
    assert Image.open(BytesIO(made)).size == (1500, 600)  # 150 dots an inch


def test_first_bar_stands_out() -> None:
    figure = chart.draw_prediction(photo(), SUNFLOWER)
    bars = figure.axes[1].patches[len(SUNFLOWER) :]
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in bars]
    assert colours == ["#c2255c", "#a9b4c2", "#a9b4c2"]
    tracks = {matplotlib.colors.to_hex(bar.get_facecolor()) for bar in figure.axes[1].patches[:3]}
    assert tracks == {"#f1f3f5"}
    weights = {text.get_text(): text.get_weight() for text in texts(figure)}
    assert (weights["gazania"], weights["8.0%"]) == ("normal", "normal")
    assert weights["90.0%"] == "bold"


@pytest.mark.parametrize("classes", [1, 3, 20, 102])
def test_confusion_matrix_cuts_no_name(classes: int) -> None:
    figure = chart.draw_confusion_matrix(np.eye(classes, dtype=int), FLOWER_NAMES[:classes])
    figure.draw_without_rendering()
    names = [*figure.axes[0].get_xticklabels(), *figure.axes[0].get_yticklabels()]
    assert len(names) == 2 * classes
    for name in (*names, figure.axes[0].xaxis.label, figure.axes[0].yaxis.label):
        box = name.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
    for labels in (names[:classes], names[classes:]):
        for one, other in zip(labels, labels[1:], strict=False):
            assert not one.get_window_extent().overlaps(other.get_window_extent())


def marks(figure: Figure) -> list[list[str]]:
    """Of each axes its lines: colour, width, style, marker; then title and labels with sizes."""
    found = []
    for axes in figure.axes:
        lines = [
            f"{line.get_color()} {line.get_linewidth():g} {line.get_linestyle()} "
            f"{line.get_marker()} {line.get_label()}"
            for line in axes.get_lines()
        ]
        said = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        legend = axes.get_legend()
        said += [] if legend is None else legend.get_texts()
        found.append(
            lines
            + [
                f"{text.get_text()}: {text.get_size():g} {text.get_weight()} "
                f"{matplotlib.colors.to_hex(text.get_color())}"
                for text in said
                if text.get_text()
            ]
        )
    return found


def test_lines_and_words_of_diagrams_have_their_style() -> None:
    row = {"epoch": 1, "loss": 2.0, "accuracy": 0.3, "val_loss": 1.0, "val_accuracy": 0.4}
    curves = chart.draw_learning_curves([row, {**row, "epoch": 2}])
    lines = ["#a9b4c2 2 - None training", "#c2255c 2 - None validation"]
    small = f"10 normal {FAINT}"
    legend = [f"{name}: 10 normal {INK}" for name in ("training", "validation")]
    assert marks(curves) == [
        [*lines, f"{title}: 13 bold {INK}", f"epoch: {small}", *legend]
        for title in ("Loss", "Accuracy")
    ]
    assert not curves.axes[0].get_legend().get_frame_on()
    reliability = chart.draw_reliability([("a", [(0.2, 0.3, 10)]), ("b", [(0.2, 0.3, 10)])])
    across, up = f"how sure it says it is: {small}", f"how often it is right: {small}"
    assert [[one for one in said if "_child" not in one] for said in marks(reliability)] == [
        [f"a: 13 bold {INK}", across, up],
        [f"b: 13 bold {INK}", across],
    ]
    diagonal, line = reliability.axes[0].get_lines()
    assert (diagonal.get_color(), diagonal.get_linewidth()) == ("#a9b4c2", 1.5)
    assert diagonal.is_dashed()
    assert (line.get_linewidth(), line.is_dashed()) == (1.5, False)
    # The points lie above the lines, and these above the grid.
    (points,) = reliability.axes[0].collections
    assert points.get_zorder() > line.get_zorder()
    assert reliability.axes[0].get_axisbelow()
    assert points.get_linewidth() == [0]
    coverage = chart.draw_coverage([(1.0, 0.8, dict.fromkeys("abcd", 0.5))])
    (said,) = marks(coverage)
    assert said == [
        "#c2255c 2 - None right",
        *(
            f"{FAINT} 1.5 {style} None named: {kind}"
            for kind, style in zip("abcd", ("-", "--", ":", "-."), strict=True)
        ),
        f"photos of its flowers that get an answer: {small}",
        *(f"{one}: 10 normal {INK}" for one in ("right", *(f"named: {kind}" for kind in "abcd"))),
    ]
    assert not coverage.axes[0].get_legend().get_frame_on()
    for figure in (reliability, coverage):
        grid = figure.axes[0].xaxis.get_gridlines() + figure.axes[0].yaxis.get_gridlines()
        assert {line.get_color() for line in grid} == {"#e3e7ec"}
        assert all(line.get_visible() for line in grid)
    assert {line.get_color() for line in curves.axes[0].yaxis.get_gridlines()} == {"#e3e7ec"}
    assert not any(line.get_visible() for line in curves.axes[0].xaxis.get_gridlines())


def test_matrix_is_drawn_in_squares_with_small_names_beside_it() -> None:
    matrix = chart.draw_confusion_matrix(np.array([[3, 1], [0, 2]]), ["rose", "tulip"])
    axes, scale = matrix.axes
    (image,) = axes.images
    assert (image.get_cmap().name, image.get_interpolation()) == ("RdPu", "none")
    norm = image.norm
    assert (norm.gamma, norm.vmin, norm.vmax) == (0.5, 0, 1)
    assert [one.get_linewidth() for one in axes.collections] == [[0.6], [0.6]]
    assert [one.get_color().tolist() for one in axes.collections] == [[[1, 1, 1, 1]]] * 2
    assert [text.get_rotation() for text in axes.get_xticklabels()] == [90, 90]
    assert [text.get_rotation() for text in axes.get_yticklabels()] == [0, 0]
    for label, said in ((axes.xaxis.label, "predicted"), (axes.yaxis.label, "true")):
        assert (label.get_text(), label.get_size(), label.get_color()) == (said, 11, FAINT)
    assert scale.yaxis.get_major_formatter()(0.5) == "50%"


def test_pictures_stand_alone_on_white_and_are_not_smoothed() -> None:
    places = {name: np.eye(3) for name in ("sunflower", "gazania")}
    figures = [
        chart.draw_prediction(photo(), SUNFLOWER),
        chart.draw_evidence(photo(), SUNFLOWER, places, exact=True),
        chart.draw_similar(photo(), [photo(), None], ["a", "b"]),
    ]
    for figure in figures:
        assert figure.get_facecolor() == (1, 1, 1, 1)
        assert not any(axes.axison for axes in figure.axes)
        images = [image for axes in figure.axes for image in axes.images]
        assert {image.get_interpolation() for image in images} == {"none"}
    # Squares are as wide as their place; similar photos keep their shape, and stand on the caption.
    for figure in figures[:2]:
        assert {axes.get_aspect() for axes in figure.axes if axes.images} == {"auto"}
    assert [axes.get_anchor() for axes in figures[2].axes] == ["SW", "SW", "C"]
    assert figures[1].axes[-1].images[0].get_array().shape == (1, 41, 4)
    bars = figures[0].axes[1]
    aligned = {(text.get_ha(), text.get_va(), text.get_color()) for text in bars.texts}
    assert aligned == {("right", "center", INK)}
    assert [text.get_weight() for text in bars.texts] == ["bold"] * 2 + ["normal"] * 4


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_same_chart_is_the_same_file_of_ours_without_a_date(
    tmp_path: Path, small_figure: Figure, ending: str
) -> None:
    paths = [tmp_path / f"{number}.{ending}" for number in range(2)]
    for path in paths:
        with matplotlib.rc_context({"svg.hashsalt": "x"}):
            chart.save(small_figure, path)
    content = paths[0].read_bytes()
    assert b"keras_flowers" in content
    assert not any(word in content for word in (b"CreationDate", b"<dc:date>", b"Producer"))
