"""The flower names are TFDS's, the botany is well formed, and no label file is misread silently."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_flowers.errors import UserError
from keras_flowers.inference.flowers import (
    DEADLY_GENERA,
    FAMILY_NAMES,
    FLOWER_NAMES,
    FLOWERS,
    flower_named,
)
from keras_flowers.inference.labels import (
    format_labels,
    parse_labels,
    read_category_names,
    read_labels,
)


def oxford_numbering() -> dict[str, str]:
    """The names as Udacity's cat_to_name.json has them: counted from 1, in no order."""
    pairs = [(str(number), name) for number, name in enumerate(FLOWER_NAMES, start=1)]
    random.Random(0).shuffle(pairs)
    return dict(pairs)


def write(path: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode())
    return path


# The table


def test_there_are_102_different_names() -> None:
    assert len(FLOWERS) == len(FLOWER_NAMES) == len(set(FLOWER_NAMES)) == 102


def test_tables_are_those_that_were_looked_through() -> None:
    # A slip of a finger among 350 names is seen by nobody. Who changes one on purpose writes the
    # new digest here.
    lines = ["; ".join(one) for one in FLOWERS]
    lines += [f"{family}: {name}" for family, name in FAMILY_NAMES.items()]
    digest = hashlib.sha256("\n".join([*lines, *sorted(DEADLY_GENERA)]).encode()).hexdigest()
    assert digest == "45359416d3ef2f721a6145d7e003125159e7064f83d2d29652f0b43b8d70afc6"


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "pink primrose"),
        (11, "colt's foot"),
        (26, "prince of wales feathers"),
        (44, "bolero deep blue"),
        (53, "sunflower"),
        (55, "bishop of llandaff"),
        (59, "pink-yellow dahlia?"),
        (63, "silverbush"),
        (84, "desert-rose"),
        (101, "blackberry lily"),
    ],
)
def test_names_are_at_tfds_indices(index: int, name: str) -> None:
    assert FLOWER_NAMES[index] == name


def test_names_are_those_of_the_installed_tfds() -> None:
    package = importlib.util.find_spec("tensorflow_datasets")
    if package is None or package.origin is None:
        pytest.skip("tensorflow_datasets is not installed")
    # Read, not imported: importing TFDS takes seconds, and its builder imports TensorFlow.
    folder = Path(package.origin).parent / "datasets" / "oxford_flowers102"
    builder = ast.parse((folder / "oxford_flowers102_dataset_builder.py").read_text())
    (names,) = (
        ast.literal_eval(statement.value)
        for statement in builder.body
        if isinstance(statement, ast.Assign)
        and [ast.unparse(target) for target in statement.targets] == ["_NAMES"]
    )
    assert FLOWER_NAMES == tuple(names)


def test_names_are_those_of_the_prepared_data_set() -> None:
    data_dir = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    found = sorted(Path(data_dir).expanduser().glob("oxford_flowers102/*/label.labels.txt"))
    if not found:
        pytest.skip("oxford_flowers102 is not prepared; set TFDS_DATA_DIR")
    assert read_labels(found[-1]) == FLOWER_NAMES


def test_scientific_names_are_well_formed() -> None:
    patterns = {
        "species": r"[A-Z][a-z]+ [a-z]+",
        "hybrid": r"[A-Z][a-z]+ × [a-z]+",
        "cultivar group": r"[A-Z][a-z]+( [a-z]+)?",
        "genus": r"[A-Z][a-z]+",
        "family": r"[A-Z][a-z]+aceae",
    }
    for flower in FLOWERS:
        assert re.fullmatch(patterns[flower.rank], flower.scientific_name), flower
        assert re.fullmatch(r"[A-Z][a-z]+aceae", flower.family), flower
        assert flower.rank == "family" or not flower.scientific_name.endswith("aceae"), flower
        assert flower.rank != "family" or flower.scientific_name == flower.family, flower


def test_a_genus_is_in_one_family() -> None:
    families: dict[str, set[str]] = {}
    for flower in FLOWERS:
        families.setdefault(flower.scientific_name.split()[0], set()).add(flower.family)
    assert {genus for genus, of_genus in families.items() if len(of_genus) > 1} == set()


@pytest.mark.parametrize(
    ("name", "scientific_name", "family"),
    [
        ("giant white arum lily", "Zantedeschia aethiopica", "Araceae"),
        ("silverbush", "Convolvulus cneorum", "Convolvulaceae"),
        ("mexican aster", "Cosmos bipinnatus", "Asteraceae"),
        ("bearded iris", "Iris × germanica", "Iridaceae"),
        # The photographs under this name are of garden nasturtiums.
        ("watercress", "Tropaeolum majus", "Tropaeolaceae"),
    ],
)
def test_a_flower_is_found_by_name(name: str, scientific_name: str, family: str) -> None:
    flower = flower_named(name)
    assert flower is not None
    assert (flower.scientific_name, flower.family) == (scientific_name, family)


def test_another_name_has_no_flower() -> None:
    assert flower_named("Sunflower") is None


# Label files


def test_label_text_survives_a_round_trip() -> None:
    text = format_labels(FLOWER_NAMES)
    assert text.startswith("pink primrose\nhard-leaved pocket orchid\n")
    assert text.endswith("\nblackberry lily\n")
    assert parse_labels(text) == FLOWER_NAMES


@pytest.mark.parametrize(
    "data",
    [
        b"daisy\nrose\xc3\xa9",
        b"daisy\nrose\xc3\xa9\n",
        b"daisy\nrose\xc3\xa9\n\n \n",
        b"daisy\r\nrose\xc3\xa9\r\n",
        b"daisy\rrose\xc3\xa9\r",
        b"\xef\xbb\xbfdaisy\nrose\xc3\xa9\n",
        b" daisy\t\nrose\xc3\xa9  \n",
    ],
    ids=["bare", "line feed", "empty end", "Windows", "old Mac", "byte order mark", "spaces"],
)
def test_what_editors_add_to_a_label_file_is_ignored(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(data)
    assert read_labels(path) == read_labels(str(path)) == ("daisy", "roseé")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "^X is empty; expected a name for every class: write"),
        ("\n \n\t\n", "^X is empty; expected a name for every class: write"),
        ("\nrose\n", "^X: line 1 is empty; expected a name for every class: fill it in"),
        ("daisy\n\nrose\n", "^X: line 2 is empty"),
        ("daisy\nrose\ndaisy\n", "^X: line 3 repeats 'daisy' of line 1; .*: rename or remove one$"),
        ("daisy\nrose\nrose \n", "^X: line 3 repeats 'rose' of line 2"),
        ("0\tdaisy\n", r"^X: line 1 is '0\\tdaisy', with a control character"),
        ("daisy\n\x1b[2Jrose\n", r"^X: line 2 is '\\x1b\[2Jrose', with a control character"),
        # str.splitlines would make two names of each of these.
        ("daisy\x0crose\n", r"^X: line 1 is 'daisy\\x0crose', with a control character"),
        ("daisy\u2028rose\n", r"^X: line 1 is 'daisy\\u2028rose', with a control character"),
    ],
)
def test_an_ambiguous_label_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_labels(text, source="X")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "^the list of names is empty"),
        (["daisy", ""], "item 2 is empty"),
        (["daisy", "daisy"], "item 2 repeats 'daisy' of item 1"),
        (["dai\nsy"], r"item 1 is 'dai\\nsy', with a control character"),
        (["\ud800"], "item 1 is .* with a control character"),
        (["daisy", "rose "], "has spaces or a byte order mark around 'rose '"),
        (["\ufeffdaisy"], r"has spaces or a byte order mark around '\\ufeffdaisy'"),
    ],
)
def test_names_that_would_be_read_back_otherwise_are_not_written(
    names: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        format_labels(names)


Reader: TypeAlias = Callable[[str | Path], tuple[str, ...]]


@pytest.mark.parametrize("read", [read_labels, read_category_names])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, read: Reader) -> None:
    with pytest.raises(UserError, match=r"none\.txt does not exist; expected the path of a label"):
        read(tmp_path / "none.txt")
    with pytest.raises(UserError, match="is a folder; expected the path of a label file$"):
        read(tmp_path)
    with pytest.raises(UserError, match=r"cannot be read \(embedded null byte\)"):
        read("labels\0.txt")
    with pytest.raises(UserError, match=r"cannot be read \(Not a directory\)"):
        read(write(tmp_path / "file", "daisy") / "labels.txt")
    (tmp_path / "utf16.txt").write_bytes("daisy\nrosé\n".encode("utf-16"))
    with pytest.raises(UserError, match="is not text in UTF-8, as a label file must be; save it"):
        read(tmp_path / "utf16.txt")
    (tmp_path / "twice.txt").write_bytes(b'{"1": "daisy", "1": "rose"}\n\ndaisy\n')
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path / 'twice.txt'))}"):
        read(tmp_path / "twice.txt")
    with pytest.raises(UserError, match="empty|not usable JSON"):
        read(write(tmp_path / "empty.txt", ""))


@settings(max_examples=200)
@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_names_are_read_back_as_written_or_not_written(names: list[str]) -> None:
    try:
        text = format_labels(names)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert parse_labels(text) == tuple(names)


@settings(max_examples=200)
@given(st.text(st.sampled_from("ab \t\n\r\x00\x85\u2028\ufeffé"), max_size=30))
def test_any_text_is_names_that_can_be_written_or_a_user_error(text: str) -> None:
    try:
        names = parse_labels(text)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(names) == len(set(names)) == len(format_labels(names).splitlines())


# Udacity's cat_to_name.json


def test_category_names_come_in_tfds_order(tmp_path: Path) -> None:
    path = write(tmp_path / "cat_to_name.json", oxford_numbering())
    names = read_category_names(path)
    assert names == FLOWER_NAMES
    assert names[20] == oxford_numbering()["21"] == "fire lily"


def test_category_names_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = write(tmp_path / "names.json", '\ufeff{"2": " rosé", "1": "daisy"}\r\n')
    assert read_category_names(path) == ("daisy", "rosé")


def test_sorting_the_numbers_as_text_puts_11_of_102_right() -> None:
    numbering = oxford_numbering()
    in_text_order = [numbering[key] for key in sorted(numbering)]
    right = [i for i in range(102) if in_text_order[i] == FLOWER_NAMES[i]]
    # "1" comes first either way; 59 keys ("1", "10", "100", ..., "6") come before "60".
    assert right == [0, *range(59, 69)]
    assert in_text_order[1] == "globe thistle"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("daisy\nrose\n", r"^\S+ is not usable JSON \(.*\); expected \{.*: correct it$"),
        ("[" * 100_000, "is not usable JSON"),
        ('{"1": "daisy", "1": "rose"}', "is not usable JSON .the key '1' occurs more than once"),
        (["daisy", "rose"], "holds a JSON list, not an object; .* use a text file"),
        ({}, "is empty; expected a name for every class"),
        (
            {"1": "daisy", "3": "rose"},
            "has no name for 2; expected a name for each of 1 to 2, received '3': correct the",
        ),
        ({"0": "daisy", "2": "rose"}, "has no name for 1; .* each of 0 to 1, received '2'"),
        ({"01": "daisy", "2": "rose"}, "has no name for 1; .* received '01'"),
        ({"daisy": "1", "rose": "2"}, "has no name for 1; .* received 'daisy'"),
        ({"1": "daisy", "2": 7}, "number 2 has a JSON int for a name; expected a text"),
        ({"1": "daisy", "2": None}, "number 2 has a JSON NoneType for a name"),
        ({"2": "", "1": "daisy"}, "number 2 is empty; expected a name for every class"),
        ({"2": " ", "1": "daisy"}, "number 2 is empty; expected a name for every class"),
        ({"2": "daisy", "1": "daisy"}, "number 2 repeats 'daisy' of number 1"),
        ({"1": "dai\nsy"}, "number 1 is .* with a control character"),
    ],
)
def test_other_numberings_are_refused(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "names.json", content)
    with pytest.raises(UserError, match=message) as raised:
        read_category_names(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@settings(max_examples=50)
@given(st.permutations(range(1, len(FLOWER_NAMES) + 1)))
def test_category_names_come_in_tfds_order_however_they_are_written(order: list[int]) -> None:
    content = json.dumps({str(number): FLOWER_NAMES[number - 1] for number in order})
    with tempfile.TemporaryDirectory() as folder:
        assert read_category_names(write(Path(folder) / "names.json", content)) == FLOWER_NAMES


def test_category_names_may_count_from_0_as_the_tensorflow_course_does(tmp_path: Path) -> None:
    numbered = [(str(i), name) for i, name in enumerate(FLOWER_NAMES)]
    random.Random(0).shuffle(numbered)
    assert read_category_names(write(tmp_path / "label_map.json", dict(numbered))) == FLOWER_NAMES
    assert read_category_names(write(tmp_path / "one.json", {"0": "daisy"})) == ("daisy",)
