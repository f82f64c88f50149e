"""How long work tells how far it is: one kind of progress bar for terminals, notebooks and logs."""

from __future__ import annotations

import sys
from typing import Any


def progress_bar(*, total: int | None, unit: str, description: str, **options: Any) -> Any:
    """A tqdm bar on standard error; in a Jupyter notebook, a notebook's bar.

    Written to a file (no terminal), it is a line every ten seconds in place of ten a second.

    Args:
        total: How many units there are; None where nobody knows.
        unit: What is counted, in the singular.
        description: What is being done.
        **options: As `tqdm` takes them.
    """
    # Imported here, since naming a single photo needs no bar.
    from tqdm.auto import tqdm

    # Without standard streams, as under pythonw, tqdm would fail at its first line.
    disable = options.pop("disable", False) or sys.stderr is None
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        total=total,
        unit=unit,
        desc=description,
        mininterval=0.1 if terminal else 10,
        disable=disable,
        **options,
    )
