"""The browser is driven by one thread, whoever asks; where nothing can drive it there is none."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.errors import UserError
from keras_flowers.export import browser


@pytest.mark.parametrize(
    ("driver", "programs", "found"),
    [
        (True, {"google-chrome": "/opt/chrome"}, "/opt/chrome"),
        (True, {"chromium": "/bin/chromium", "google-chrome": "/opt/chrome"}, "/bin/chromium"),
        (True, {"chromium-browser": "/snap/chromium"}, "/snap/chromium"),
        (True, {"google-chrome-stable": "/opt/stable"}, "/opt/stable"),
        (True, {}, None),
        (False, {"chromium": "/bin/chromium"}, None),
    ],
)
def test_browser_is_there_where_chromium_and_its_driver_are(
    monkeypatch: pytest.MonkeyPatch, driver: bool, programs: dict[str, str], found: str | None
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if driver else None)
    monkeypatch.setattr(shutil, "which", programs.get)
    assert browser.find_browser() == found


class StandIn:
    """In place of the page with a model: notes which thread asks it."""

    def __init__(self, model: Path, threads: set[int]) -> None:
        self.labels = [model.name]
        self.threads = threads

    def classify_files(self, files: list[bytes]) -> np.ndarray:
        self.threads.add(threading.get_ident())
        time.sleep(0.01)  # so that several would be asked at once, if they could be
        return np.array([[float(file)] for file in files], np.float32)

    def classify_pixels(self, pixels: np.ndarray) -> np.ndarray:
        self.threads.add(threading.get_ident())
        return pixels.reshape(len(pixels), -1).mean(1, keepdims=True)


def test_one_thread_drives_the_browser_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    ended: list[str] = []

    @contextlib.contextmanager
    def started() -> Iterator[str]:
        threads.add(threading.get_ident())
        yield "browser"
        threads.add(threading.get_ident())
        ended.append("browser")

    @contextlib.contextmanager
    def opened(one: Any, model: Path) -> Iterator[StandIn]:
        assert one == "browser"
        yield StandIn(model, threads)
        ended.append(model.name)

    monkeypatch.setattr(browser, "started_browser", started)
    monkeypatch.setattr(browser, "classifier_in", opened)
    models = [Path("a.tflite"), Path("b.tflite")]
    with browser.models_in_browser(models) as pages, ThreadPoolExecutor(4) as callers:
        assert [page.labels for page in pages] == [["a.tflite"], ["b.tflite"]]
        answers = list(callers.map(lambda n: pages[n % 2].classify_files([b"%d" % n]), range(8)))
        assert np.ravel(answers).tolist() == list(range(8))
        assert pages[1].classify_pixels(np.full((2, 4, 4, 3), 7)).tolist() == [[7], [7]]
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert ended == ["b.tflite", "a.tflite", "browser"]


QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Needs no graphics card, and asks its makers nothing."""


class DriverError(Exception):
    pass


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In place of Playwright: how the browser was to be started; it does not start."""
    asked: list[Any] = []

    def launch(**options: Any) -> None:
        asked.append(options)
        raise DriverError("Failed to launch\nmore of it")

    @contextlib.contextmanager
    def sync_playwright() -> Iterator[Any]:
        yield SimpleNamespace(chromium=SimpleNamespace(launch=launch))

    module: Any = ModuleType("playwright.sync_api")
    module.Error = DriverError
    module.sync_playwright = sync_playwright
    monkeypatch.setitem(sys.modules, "playwright", ModuleType("playwright"))
    monkeypatch.setitem(sys.modules, "playwright.sync_api", module)
    return asked


def test_browser_that_is_not_there_or_does_not_start_is_one_line(
    driver: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "find_browser", lambda: None)
    refused = pytest.raises(UserError, match="no Chromium is installed; on Debian and Ubuntu: apt")
    with refused, browser.started_browser():
        pass
    assert driver == []
    monkeypatch.setattr(browser, "find_browser", lambda: "/opt/chrome")
    for user, sandbox in ((0, ["--no-sandbox"]), (1000, [])):
        monkeypatch.setattr(browser.os, "geteuid", lambda user=user: user, raising=False)
        refused = pytest.raises(
            UserError, match=r"^/opt/chrome does not start \(Failed to launch\)$"
        )
        with refused, browser.started_browser("--mine"):
            pass
        arguments = [*QUIET, "--mine", *sandbox]
        assert driver.pop() == {"executable_path": "/opt/chrome", "args": arguments}


def test_page_that_cannot_use_its_model_is_one_line(driver: list[Any]) -> None:
    class Page:
        def set_default_timeout(self, milliseconds: float) -> None:
            assert milliseconds == 60_000

        def evaluate(self, script: str) -> None:
            assert "none of these" in script
            raise DriverError("TypeError: no model")

    page: Any = Page()
    with pytest.raises(UserError, match=r"^the page cannot use the model \(TypeError: no model\)$"):
        browser.BrowserClassifier(page)
