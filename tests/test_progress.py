"""Progress: often on a terminal, seldom in a file, never where there is no standard error."""

from __future__ import annotations

import io
import sys

import pytest

from keras_flowers.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "seconds"), [(Terminal(), 0.1), (io.StringIO(), 10)])
def test_bar_is_drawn_as_often_as_the_stream_bears(
    stream: io.StringIO, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(total=3, unit="photo", description="reading", initial=1) as bar:
        assert bar.mininterval == seconds
        bar.update()
    written = stream.getvalue()
    assert "reading: " in written
    assert "2/3 [" in written
    assert "photo/s]" in written


def test_bar_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(total=3, unit="photo", description="reading", disable=True) as bar:
        bar.update()
    assert stream.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    for disable in (True, False):
        with progress_bar(total=3, unit="photo", description="r", disable=disable) as bar:
            assert bar.disable
