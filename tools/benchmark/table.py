"""What is measured as a Markdown table: medians, ranges, bounds, and on which machine."""

from __future__ import annotations

import dataclasses
import platform
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata as packages
from pathlib import Path
from typing import Any, NamedTuple

import keras_flowers
from keras_flowers.system import available_cores


class Bound(NamedTuple):
    """What a ratio must be: `kind` is "at least" or "at most"."""

    kind: str
    value: float

    def holds(self, ratio: float) -> bool:
        """Whether `ratio` keeps it; NaN does not."""
        return ratio >= self.value if self.kind == "at least" else ratio <= self.value


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        row: Its number in the list of what is measured, 1 to 11.
        what: What was divided by what.
        ratios: One a round.
        bound: What their median must be; None: it is told, not judged.
        detail: What the ratio was made of, with units.
    """

    row: int
    what: str
    ratios: list[float]
    bound: Bound | None = None
    detail: str = ""

    @property
    def median(self) -> float:
        """The middle one of the ratios."""
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool | None:
        """Whether the median keeps the bound; None where there is none."""
        return None if self.bound is None else self.bound.holds(self.median)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **dataclasses.asdict(self),
            "bound": None if self.bound is None else self.bound._asdict(),
            "median": self.median,
            "holds": self.holds,
        }


def format_table(figures: Sequence[Figure]) -> str:
    """A Markdown table: a line for each figure, its median and range, and what is asked of it."""
    lines = [
        "| row | ratio | median | range | bound | holds | from |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = {True: "yes", False: "**no**", None: ""}
    for one in figures:
        bound = f"{one.bound.kind} {one.bound.value:g}" if one.bound else ""
        spread = f"{min(one.ratios):.3g} to {max(one.ratios):.3g}" if len(one.ratios) > 1 else ""
        cells = (one.row, one.what, f"{one.median:.3g}", spread, bound, words[one.holds])
        lines.append(f"| {' | '.join(map(str, cells))} | {one.detail} |")
    return "\n".join(lines)


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    names = []
    with suppress(OSError):  # where there is no /proc, the platform has to say it
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                names.append(line.split(":", 1)[1].strip())
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """What the figures were measured with."""
    names = ("tensorflow", "keras", "tensorflow-datasets", "ai-edge-litert", "numpy", "pillow")
    return {
        "keras_flowers": keras_flowers.__version__,
        "python": platform.python_version(),
        **{name: packages.version(name) for name in names},
    }
