"""What `compare` says of runs, in words and in a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.commands import compare as command
from keras_flowers.commands.compare import as_lines, in_words
from keras_flowers.errors import UserError
from keras_flowers.training import metrics
from keras_flowers.training.compare import Compared, Comparison, Pair, compare_runs


@pytest.mark.parametrize(
    ("counts", "p", "said"),
    [
        ((5, 25), 0.0003, "second names 25 of 1,000 photos right that first gets wrong, and 5 "),
        ((5, 25), 0.0003, ": 2.0 points. Were they equally good, less than 1 of 1,000 such "),
        ((25, 5), 0.03, "30 of 1,000 such comparisons would show as large a difference: it is mo"),
        ((25, 5), 0.03, "more than chance (p = 0.03). Take first."),
        ((12, 18), 0.36, "36 of 100 such comparisons would show as large a difference: it may be"),
        # 30 of 1,000 differ, by 0.6 points: 4 * 0.03 / 0.006 ** 2.
        ((12, 18), 0.36, "if the difference is as it seems, it takes about 3,333 to tell."),
        ((20, 21), 1.0, "(p = 1). Take the smaller or faster one, or the one that knows more flow"),
        ((7, 7), 1.0, "it may be chance (p = 1). Take the smaller or faster one, or the one"),
        ((0, 0), 1.0, "first and second are right about the same of 1,000 photos: take the small"),
    ],
)
def test_words_say_what_to_do(counts: tuple[int, int], p: float, said: str) -> None:
    assert said in in_words(Pair("first", "second", 1000, *counts, p))


def test_table_has_what_differs_and_what_was_left_out() -> None:
    probabilities = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]

    def compared(name: str, labels: list[int]) -> Compared:
        run: Any = SimpleNamespace(
            metadata=SimpleNamespace(
                labels=("rose", "daisy"), provenance={"trained_on": {"photos": 12}}
            )
        )
        correct = metrics.top_k_correct(probabilities, np.array(labels), 1)
        return Compared(run, name, metrics.score(probabilities, np.array(labels)), correct)

    comparison = Comparison(
        runs=(compared("a", [0, 1, 1, 0]), compared("b", [0, 1, 0, 0])),
        split="validation",
        photos=4,
        left_out=3,
        learned={"b": 2},
        sources=1,
        settings=(("data", (("/home/me/old",), ("/home/me/old", "new"))), ("epochs", (None, 7))),
        pairs=(Pair("a", "b", 4, 1, 0, 1.0),),
    )
    text = "\n".join(as_lines(comparison))
    assert text.startswith("settings that differ  a ")
    assert [line.split() for line in text.splitlines()[1:3]] == [
        ["data", "old", "old", "new"],
        ["epochs", "-", "7"],
    ]
    assert "validation: 4 photos" in text
    assert "100.0% (51.0 to 100.0)" in text
    assert "3 other photos are not in all of the runs" in text
    assert "b was trained on 2 of its photos: for it this is no test" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.00099, "less than 1 of 1,000"),
        (0.001, "1 of 1,000"),
        (0.0014, "1 of 1,000"),
        (0.0499, "50 of 1,000"),
        (0.05, "5 of 100"),
        (1.0, "100 of 100"),
    ],
)
def test_chance_is_told_in_whole_numbers(p: float, said: str) -> None:
    assert command._in_hundred(p) == said


def test_photos_that_nobody_has_are_not_asked_for() -> None:
    # 40 of 100 differ by 4 points: 4 * 0.4 / 0.04 ** 2 = 1,000 photos, ten times as many.
    assert in_words(Pair("a", "b", 100, 18, 22, 0.6)).endswith("it takes about 1,000 to tell.")
    assert in_words(Pair("a", "b", 100, 19, 23, 0.6)).endswith("that knows more flowers.")


def test_several_pairs_and_sources_are_noted() -> None:
    def compared(name: str) -> Any:
        probabilities = np.eye(2, dtype=np.float32)
        scores = dataclasses.replace(metrics.score(probabilities, np.arange(2)), sources=11)
        run = SimpleNamespace(metadata=SimpleNamespace(labels="ab", provenance={}))
        return Compared(run, name, scores, np.ones(2, np.bool_))  # type: ignore[arg-type]

    pair = Pair("a", "b", 2, 0, 0, 1.0)
    made = Comparison(
        tuple(map(compared, "abc")), "x", 2, 0, {}, 12, (), (pair, pair._replace(second="c"))
    )
    lines = as_lines(made)
    assert lines[:2] == [f"{'settings that differ':<22}{'a':<3}{'b':<3}c", "  none"]
    text = " ".join(lines)
    assert "photos learned from ?" in " ".join(text.split())
    assert text.endswith(
        "Of 2 comparisons one would rather look like more than chance: the figures allow for that. "
        "The photos are of 12 sources, and photos of one are alike: chance explains more than it "
        "says here."
    )
    alone = " ".join(as_lines(dataclasses.replace(made, pairs=(pair,))))
    assert "comparisons one would" not in alone
    assert "are not in all of the runs" not in alone


def test_values_of_settings_are_short() -> None:
    values = [None, (), ["a/b", "c"], "x/y", 7, 0.5, False]
    assert [command._shown(one) for one in values] == ["-", "-", "b c", "y", "7", "0.5", "False"]


def test_cells_are_cut_where_a_line_would_be_too_long() -> None:
    names, long = ["n" * 22, "m"], "v" * 60
    lines = command._table("title", names, [("row", [long, "w"])])
    # 100 less 9 for the head, in two: 45 a column, of which three are dots and two are free.
    assert lines[0] == f"title  {'n' * 22:<46}m"
    assert lines[1] == f"  row  {'v' * 41}...  w"
    many = command._table("title", list("abcdefgh"), [("row", [long] * 8)])
    assert many[1].split()[1:] == ["v" * 17 + "..."] * 8


def test_one_run_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected two or more different runs: keras-flowers comp"):
        compare_runs([tmp_path, tmp_path])
    with pytest.raises(UserError, match="the run nowhere does not exist; expected the folder of a"):
        compare_runs([tmp_path / "nowhere", "nowhere"][::-1])
