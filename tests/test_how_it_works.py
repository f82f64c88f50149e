"""`docs/how_it_works.md` says what `tools/draw_how_it_works.py` prints, and no other number."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keras_flowers.errors import UserError
from tools.quotes import Quote, Said, as_json, from_json

PAGE = Path(__file__).parents[1] / "docs" / "how_it_works.md"
COMMAND = "run: python -m tools.draw_how_it_works with --page, as the page's beginning says"

CONSTANTS = (
    # The input and how it is scaled, and what a formula says in words.
    *("nothing below 0, nothing above 6", "probabilities add up to 1"),
    *("from 0 to 255", "to -1..1", "squashed to 224 x 224", "all inputs are 0"),
    *("probability of the right flower", "which is 1 for the right flower and 0 for the others"),
    *("a logit larger by 1 gives a probability 2.718 times", "begins with all weights 0"),
    *("falls to 0 along a cosine", "a little towards 0", "Then the square root"),
    # What the page's pictures show, and what is chosen in the tool.
    *(
        "are 16 of the pixels",
        "4 x 4 of its pixels",
        "27 inputs, 27 weights",
        "white box marks the 27",
    ),
    # What was tried while the recipe was made.
    "among 0.3, 1, 2 and 4",
    # An example.
    "of the answers given with 60 %, about 60 % should be right",
    # What a cosine is, and a table that is near it.
    *("1 for the same photo, near 0 for", "the first two of the table", "coordinates of section 9"),
    *("as in section 1:", "from section 7 on"),
    # Names.
    *("et al. 2016", "as in section 7", "bias of section 5", "CC BY 2.0"),
    *("## 5. The head: 102 perceptrons", "(9448615838)", "answers are 0"),
)
"""Phrases with numbers that no photo and no training changes."""


def quotes() -> list[Quote]:
    return from_json(json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8")))


def loose_numbers(text: str, known: list[Quote]) -> list[str]:
    """The numbers of a page that belong to no quote, each with what stands around it."""
    covered = [span for quote in known for span in quote.spans(text)]
    for phrase in CONSTANTS:
        pattern = r"\s+".join(map(re.escape, phrase.split()))
        covered += [found.span() for found in re.finditer(pattern, text)]
    # Code, formulas, the numbers of sections, where links lead.
    for pattern in (
        r"(?ms)^```(?:math|sh).*?^```",
        r"\$[^$]+\$",
        r"`[^`\n]+`",
        r"(?m)^## \d+\.",
        r"\]\([^)]*\)",
    ):
        covered += [found.span() for found in re.finditer(pattern, text)]
    return [
        text[max(found.start() - 30, 0) : found.end() + 30]
        for found in re.finditer(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)", text)
        if not any(start <= found.start() and found.end() <= end for start, end in covered)
    ]


def test_page_says_what_the_tool_printed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    known = quotes()
    assert len(known) >= 30
    assert not [quote.text for quote in known if len(quote.spans(text)) != 1], COMMAND
    assert not loose_numbers(text, known), "say it in the tool, or name it in CONSTANTS"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("is 0.873, the", "is 0.874, the"), ("| 0.5422 |", "| 0.5423 |"), ("94.2 % of", "95.2 % of")],
)
def test_number_changed_by_hand_is_noticed(right: str, wrong: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    changed = text.replace(right, wrong)
    known = quotes()
    (missing,) = [quote for quote in known if not quote.spans(changed)]
    assert right.split()[-2].strip("|,") in missing.text
    assert loose_numbers(changed, known)
    assert missing.put_into(changed) == text


def test_number_that_the_tool_does_not_print_is_noticed() -> None:
    text = PAGE.read_text(encoding="utf-8") + "\nThe flower has 1,234.5 petals.\n"
    (loose,) = loose_numbers(text, quotes())
    assert "has 1,234.5 petals" in loose


def test_values_go_where_the_page_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    says = Said()
    says("| {} | {:.1%} |\n| {} | {:.1%} |", "black-eyed susan", 0.5, "rose", 0.25)
    says("In all {:,} photos.", 12345)
    assert capsys.readouterr().out == (
        "| black-eyed susan | 50.0% |\n| rose | 25.0% |\nIn all 12,345 photos.\n"
    )
    head = "# Page\n\n| a | b |\n| --- | --- |\n"
    page = head + "| daisy | 1.0% |\n| wild rose | 2.0% |\n\nIn all 7\nphotos. 7 more.\n"
    expected = (
        head + "| black-eyed susan | 50.0% |\n| rose | 25.0% |\n\nIn all 12,345\nphotos. 7 more.\n"
    )
    assert says.put_into(page) == expected
    assert says.put_into(expected) == expected
    assert from_json(as_json(says)) == says


@pytest.mark.parametrize("page", ["nothing of the kind", "In all 1 photos. In all 2 photos."])
def test_page_must_hold_a_sentence_once(page: str) -> None:
    quote = Quote.of("In all {} photos.", 3)
    with pytest.raises(UserError, match=r"the page holds 'In all 3 photos\.', .* expected it once"):
        quote.put_into(page)


@pytest.mark.parametrize(
    ("template", "reason"),
    [("It is {} of {}.", "1 values for the 2 fields"), ("It is {}", "where its last value ends")],
)
def test_template_that_cannot_be_found_again_is_refused(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Quote.of(template, 1)
