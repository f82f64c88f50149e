"""Writes a report of a run: how good it is, where it goes wrong and why, and how to repeat it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keras_flowers.errors import UserError
from keras_flowers.files import write_text
from keras_flowers.system import import_tensorflow

if TYPE_CHECKING:
    from keras_flowers.training.report.findings import Findings

PAGE: Final = "report.html"
"""What the report of a run is called in its folder."""

_NOTEBOOK_HEIGHT = 720  # pixels; the report scrolls inside of it


@dataclass(frozen=True, repr=False, eq=False)
class RunReport:
    """A report; a notebook shows it, and `save` writes it.

    Attributes:
        findings: What it tells, as objects.
        html: The page, which needs nothing but itself.
    """

    findings: Findings
    html: str = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Writes the page, whole or not at all.

        Args:
            path: Where it goes; a name that ends in `.html`.

        Returns:
            The path.

        Raises:
            UserError: The name does not end so, or `path` is a folder.
        """
        path = Path(path)
        check_page_path(path)
        write_text(path, self.html)
        return path

    def __repr__(self) -> str:
        scores = self.findings.evaluation.scores
        return f"<RunReport of {self.findings.model}: {scores.top1.value:.1%} of {scores.photos}>"

    def _repr_html_(self) -> str:
        # In a frame: its style must not change the notebook's, nor its scripts run there.
        page = html.escape(self.html, quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="width: 100%; border: 0" '
            f'height="{_NOTEBOOK_HEIGHT}"></iframe>'
        )


def check_page_path(path: Path) -> None:
    """Refuses what a page cannot be called.

    Raises:
        UserError: The name does not end in `.html`, or `path` is a folder.
    """
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise UserError(f"a report cannot be written to {path}; expected a file name like {PAGE}")


def report_run(
    model: str | Path,
    *,
    sources: Sequence[str] = (),
    label_map: Sequence[str] = (),
    split: str | None = None,
    data_dir: str | None = None,
    with_photos: bool = True,
    quick: bool = False,
) -> RunReport:
    """Reports on a finished run, or on how its model does on other photos.

    The model is scored, its files are timed, its most confident mistakes are explained, and the
    photos are looked at as `keras-flowers data` does.

    Args:
        model: The folder of a run, or a file of its model.
        sources: Photos to score it on in place of the run's own: folders, tables or data sets.
        label_map: Files that say which of the model's classes their labels are.
        split: Split expression; None: test, or all photos of `sources` without splits.
        data_dir: Where TFDS keeps data sets; None: where training had them.
        with_photos: Whether small copies of photos stand in it. Most data sets' photos may be
            looked at, not handed on.
        quick: Whether labels are left unjudged, which would run the base over all photos.

    Raises:
        UserError: The model cannot be loaded, the photos cannot be had, or their classes differ.
    """
    import_tensorflow()
    from keras_flowers.training.report.findings import gather
    from keras_flowers.training.report.page import as_html

    findings = gather(
        model,
        sources=sources,
        label_map=label_map,
        split=split,
        data_dir=data_dir,
        with_photos=with_photos,
        quick=quick,
    )
    return RunReport(findings, as_html(findings))
