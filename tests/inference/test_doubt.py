"""What is said of a photo: thresholds, words, groups, plants that nobody should eat."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from keras_flowers.commands.rows import Rows
from keras_flowers.errors import UserError
from keras_flowers.inference import doubt, metadata
from keras_flowers.inference.bulk import Answer as Row
from keras_flowers.inference.bulk import PhotoInput
from keras_flowers.inference.classifier import Classifier
from keras_flowers.inference.doubt import NONE, Doubt, Thresholds, groups_of, is_deadly
from keras_flowers.inference.flowers import DEADLY_GENERA, FAMILY_NAMES, FLOWER_NAMES, FLOWERS
from keras_flowers.inference.prediction import Prediction

THRESHOLDS = Thresholds(known=0.4, sure=0.7, group=0.9)
DOUBT = Doubt(THRESHOLDS, tuple(groups_of(FLOWER_NAMES)))


def said(known: float | None, **shares: float) -> Prediction:
    """A prediction about all 102 flowers; what is left goes to all of them alike."""
    row = np.full(len(FLOWER_NAMES), (1 - sum(shares.values())) / len(FLOWER_NAMES), np.float32)
    for name, share in shares.items():
        row[FLOWER_NAMES.index(name.replace("_", " "))] += share
    return Prediction(FLOWER_NAMES, row, known=known, doubt=None if known is None else DOUBT)


@pytest.mark.parametrize(
    ("prediction", "kind", "text"),
    [
        (said(0.9, rose=0.8), "name", "rose"),
        (said(0.9, rose=0.5, camellia=0.3), "perhaps", "perhaps a rose (50.2%) or a camellia"),
        (said(0.9, azalea=0.6), "perhaps", "perhaps an azalea (60.4%)"),
        (said(0.9, yellow_iris=0.5, bearded_iris=0.45), "group", "some Iris, 95."),
        (
            said(0.9, sunflower=0.5, gazania=0.45),
            "group",
            "a plant of the daisy family (Asteraceae), 95.",
        ),
        # One name is no group, however sure.
        (said(0.9, sunflower=0.66, gazania=0.01), "perhaps", "perhaps a sunflower (66."),
        (said(0.3, rose=0.99), "none", "none of the 102 flowers this model knows; most like: rose"),
    ],
)
def test_answer_says_no_more_than_is_known(prediction: Prediction, kind: str, text: str) -> None:
    assert prediction.answer.kind == kind
    assert prediction.answer.text.startswith(text)
    assert prediction.answer.warning == ""  # none of these is of a deadly genus


@pytest.mark.parametrize(
    ("probabilities", "known", "kind"),
    [
        ((0.75, 0.25, 0.0), 0.5, "name"),  # as sure and as known as is asked for
        ((0.75, 0.25, 0.0), 0.4999, "none"),
        ((0.7499, 0.2501, 0.0), 1.0, "group"),
        ((0.6875, 0.0625, 0.25), 1.0, "group"),  # 0.75 together, 0.0625 more than the name
        ((0.6875, 0.0620, 0.2505), 1.0, "perhaps"),  # less than a group must have
        ((0.71, 0.045, 0.245), 1.0, "perhaps"),  # enough, but hardly more than the name
        ((0.4, 0.1, 0.5), 1.0, "perhaps"),
    ],
)
def test_thresholds_are_included(probabilities: tuple[float, ...], known: float, kind: str) -> None:
    names = ("sweet william", "carnation", "rose")
    limits = Doubt(Thresholds(known=0.5, sure=0.75, group=0.75), tuple(groups_of(names)))
    row = np.array(probabilities, np.float32)
    said = Prediction(names, row, known=known, doubt=limits).answer
    assert said.kind == kind
    if kind == "group":
        assert said.names == ("sweet william", "carnation") and said.taxon == "Dianthus"


def test_second_name_is_said_from_a_tenth_on_and_three_of_what_is_none() -> None:
    names = ("rose", "lotus", "azalea", "gaura")
    limits = Doubt(Thresholds(known=0.5, sure=0.9, group=0.9))

    def said(*row: float, known: float = 1.0) -> str:
        shares = np.array(row, np.float64)
        return Prediction(names, shares, known=known, doubt=limits).answer.text  # type: ignore[arg-type]

    assert said(0.5, 0.1, 0.2, 0.2).startswith("perhaps a rose (50.0%) or an azalea (20.0%)")
    assert said(0.82, 0.1, 0.04, 0.04) == "perhaps a rose (82.0%) or a lotus (10.0%)"
    assert said(0.82, 0.09, 0.05, 0.04) == "perhaps a rose (82.0%)"
    assert said(0.09, 0.08, 0.07, 0.06) == "perhaps a rose (9.0%)"
    assert said(0.4, 0.3, 0.2, 0.1, known=0.1) == (
        "none of the 4 flowers this model knows; most like: rose, lotus, azalea"
    )


def test_every_flower_is_said_with_its_article() -> None:
    said_of = {name: doubt.with_article(name) for name in FLOWER_NAMES}
    assert {name for name, text in said_of.items() if text == name} == {
        "canterbury bells",
        "prince of wales feathers",
    }
    assert {name for name, text in said_of.items() if text.startswith("an ")} == {
        "alpine sea holly",
        "anthurium",
        "artichoke",
        "azalea",
        "english marigold",
        "orange dahlia",
        "osteospermum",
        "oxeye daisy",
    }
    own = {"Iris": "an Iris", "narcissus": "a narcissus", "cosmos": "a cosmos", "roses": "roses"}
    assert {name: doubt.with_article(name) for name in own} == own
    assert {text for name, text in said_of.items() if not text.endswith(name)} == set()


def test_model_without_doubt_names_the_likeliest_as_ever() -> None:
    prediction = said(None, rose=0.05)
    assert (prediction.answer.kind, prediction.answer.text) == ("name", "rose")
    assert str(prediction).startswith("rose ")


@pytest.mark.parametrize("known", [0.9, 0.1, None])
def test_deadly_plant_is_never_named_without_the_line(known: float | None) -> None:
    prediction = said(known, monkshood=0.9)
    assert "monkshood" in prediction.answer.text
    assert "no guide to what may be eaten" in prediction.answer.warning
    assert "no guide to what may be eaten" in str(prediction)
    assert "no guide" in (prediction._repr_html_() or "")
    for format in ("text", "csv", "json", "jsonl"):
        file = io.StringIO()
        with Rows(file, format, 5) as rows:
            rows.write(Row(PhotoInput("a.jpg", b""), prediction))
        assert "no guide to what may be eaten" in file.getvalue(), format


def test_deadly_genera_are_those_of_some_of_our_flowers_and_of_others() -> None:
    deadly = {name for name in FLOWER_NAMES if is_deadly(name)}
    assert {"monkshood", "foxglove", "thorn apple", "fire lily"} <= deadly
    assert {"sunflower", "rose", "lotus"}.isdisjoint(deadly)
    assert "Nerium" in DEADLY_GENERA  # of no class, but perhaps of one's own


def test_page_has_the_same_deadly_genera() -> None:
    text = (Path(__file__).parents[2] / "page" / "src" / "deadly.ts").read_text()
    listed = text.split("new Set([")[1].split("]")[0]
    assert set(re.findall(r"'(\w+)'", listed)) == DEADLY_GENERA


def test_page_says_things_from_the_same_shares_on() -> None:
    text = (Path(__file__).parents[2] / "page" / "src" / "doubt.ts").read_text()
    found = {
        name: float(value) for name, value in re.findall(r"^const (\w+) = ([\d.]+);", text, re.M)
    }
    assert found == {"SECOND": doubt._SECOND, "GAIN": doubt.GAIN, "ALIKE": doubt._ALIKE}


def test_deadly_class_of_ones_own_is_said_to_be_so() -> None:
    doubt = Doubt(THRESHOLDS, deadly=(1,))
    row = np.array([0.1, 0.9], np.float32)
    answer = Prediction(("tulip", "oleander"), row, known=0.9, doubt=doubt).answer
    assert answer.warning.startswith("oleander: has deadly relatives")


def test_groups_are_genera_then_families_with_two_classes_at_least() -> None:
    names = [one.name for one in DOUBT.groups]
    assert names.index("some Iris") < names.index("a plant of the iris family (Iridaceae)")
    assert all(len(one.classes) > 1 for one in DOUBT.groups)
    daisies = next(one for one in DOUBT.groups if "(Asteraceae)" in one.name)
    assert {FLOWERS[number].family for number in daisies.classes} == {"Asteraceae"}
    assert {flower.family for flower in FLOWERS} == set(FAMILY_NAMES)


def test_classes_of_ones_own_form_groups_where_a_taxonomy_is_given() -> None:
    taxonomy = {"a": ("Tulipa", "Liliaceae"), "b": ("Tulipa", "Liliaceae"), "c": ("", "Novaceae")}
    assert [one.name for one in groups_of(["a", "b", "c"], taxonomy)] == [
        "some Tulipa",
        "a plant of the lily family (Liliaceae)",
    ]
    assert groups_of(["a", "b"]) == []


def test_rows_carry_how_likely_it_is_one_of_them_and_what_is_said() -> None:
    file = io.StringIO()
    with Rows(file, "jsonl", 1) as rows:
        rows.write(Row(PhotoInput("a.jpg", b""), said(0.25, rose=0.9)))
        rows.write(Row(PhotoInput("b.jpg", b""), error="broken"))
    first, second = map(json.loads, file.getvalue().splitlines())
    assert (first["known"], first["answer"]["kind"], first["name"]) == (0.25, "none", "rose")
    assert (second["known"], second["answer"]) == (None, None)


def classifier(*outputs: float) -> Classifier:
    labels = ("rose", "camellia")
    made = metadata.Metadata(labels, (1, 1), {}, Doubt(THRESHOLDS))
    return Classifier(made, (1, 1), lambda pixels: np.array([outputs], np.float32))


def test_last_output_is_divided_off() -> None:
    (prediction,) = classifier(0.6, 0.2, 0.2).predict_pixels(np.zeros((1, 1, 1, 3), np.uint8))
    np.testing.assert_allclose(prediction.probabilities, [0.75, 0.25])
    assert prediction.known == pytest.approx(0.8)
    # 8 bits may be as sure as that.
    (nothing,) = classifier(0, 0, 1).predict_pixels(np.zeros((1, 1, 1, 3), np.uint8))
    np.testing.assert_allclose(nothing.probabilities, [0.5, 0.5])
    assert nothing.answer.kind == "none"


def test_thresholds_can_be_changed() -> None:
    pixels = np.zeros((1, 1, 1, 3), np.uint8)
    some = classifier(0.3, 0.0, 0.7)
    assert some.predict_pixels(pixels)[0].answer.kind == "none"
    assert some.with_thresholds({"known": 0.2}).predict_pixels(pixels)[0].answer.text == "rose"
    for wrong in ({"knwon": 0.2}, {"known": 1.2}):
        with pytest.raises(UserError, match="expected known, sure or group, each 0 to 1"):
            some.with_thresholds(wrong)


def test_doubt_travels_in_the_file_and_old_code_finds_a_name_for_each_output(
    tmp_path: Path,
) -> None:
    doubt = Doubt(THRESHOLDS, tuple(groups_of(FLOWER_NAMES)), (8,), {"kept": 0.9})
    path = tmp_path / "x.tflite"
    metadata.add_to_archive(path, metadata.Metadata(FLOWER_NAMES, (32, 32), {"seed": 1}, doubt))
    read = metadata.read_metadata(path)
    assert (read.labels, read.doubt, read.provenance) == (FLOWER_NAMES, doubt, {"seed": 1})
    assert metadata._read_archive(path)["labels.txt"].decode().splitlines()[-1] == NONE


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("rose",), "a group has classes that are not there"),
        (("rose", "camellia"), f"the last class is 'camellia', not '{NONE}'"),
    ],
)
def test_damaged_doubt_is_one_line(tmp_path: Path, labels: tuple[str, ...], reason: str) -> None:
    path = tmp_path / "x.tflite"
    groups = tuple(groups_of(["sweet william", "carnation"]))
    made = metadata.Metadata(labels, (32, 32), {}, Doubt(THRESHOLDS, groups))
    members = made.members()
    if len(labels) == 2:
        members["labels.txt"] = "rose\ncamellia\n"  # no name for the last output
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(UserError, match=rf"is damaged \({reason}\); export the model again"):
        metadata.read_metadata(path)
