"""What `compare` says of runs, in words and in a table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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


def test_one_run_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected two or more different runs: keras-flowers comp"):
        compare_runs([tmp_path, tmp_path])
    with pytest.raises(UserError, match="the run nowhere does not exist; expected the folder of a"):
        compare_runs([tmp_path / "nowhere", "nowhere"][::-1])
