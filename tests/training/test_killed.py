"""Killed at any moment, a training goes on with the same command and ends with the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="training needs the extra [train]")

KILLS = int(os.environ.get("KERAS_FLOWERS_KILLS", "2"))
"""A few, since each takes seconds; CI asks for 20."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_training_ends_with_the_same_weights_and_leaves_nothing_else(tmp_path: Path) -> None:
    killed = Path(__file__).parents[1] / "killed.py"
    process = subprocess.run(
        [sys.executable, str(killed), str(tmp_path), str(KILLS), "0"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(process.stdout)
    assert found["killed"] == KILLS
    assert found["stopped"] >= 1
    assert found["ended"] >= 1
    assert found["weights"] == found["files"] == found["ended"]
