"""Runs the page in a real browser, headless: what it answers is what a person sees."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.export.site import load_site
from keras_flowers.export.site_server import serving
from keras_flowers.inference.doubt import NONE
from keras_flowers.inference.prediction import Probabilities

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = (
    # Without a screen, a graphics card and a network; nothing is asked of its makers.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""How the browser is started."""

_SECONDS = 60
"""How long a model may take to load: on a machine that has other work, a start takes a while."""

_PHOTOS_AT_A_TIME = 16

_CLASSIFY = """
async ([photos, isPixels, outputs]) => {
  const { classifier } = kerasFlowers;
  const rows = [];
  for (const photo of photos) {
    const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
    const given = isPixels ? bytes : new Blob([bytes]);
    // What is refused gets nothing, which is NaN in Python.
    const answered = await classifier().classify(given).catch(() => undefined);
    rows.push(answered ? [...answered.outputs] : Array(outputs).fill(null));
  }
  return rows;
}
"""

_READ = """
async (photo) => {
  const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
  const pixels = await kerasFlowers.classifier().read(new Blob([bytes]));
  let text = '';
  for (let at = 0; at < pixels.length; at += 8192) {
    text += String.fromCharCode(...pixels.subarray(at, at + 8192));
  }
  return btoa(text);
}
"""


def find_browser() -> str | None:
    """The path of a Chromium, or None; also where Playwright, which drives it, is not installed."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextlib.contextmanager
def started_browser(*flags: str) -> Iterator[Browser]:
    """A headless Chromium.

    Args:
        flags: More options for it, besides `FLAGS`.

    Raises:
        UserError: It is not installed, or does not start.
    """
    from playwright.sync_api import Error, sync_playwright

    path = find_browser()
    if path is None:
        raise UserError("no Chromium is installed; on Debian and Ubuntu: apt-get install chromium")
    # The sandbox of Chromium does not start for root, as in containers.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = [*FLAGS, *flags, *(("--no-sandbox",) if is_root else ())]
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=arguments)
        except Error as error:
            raise UserError(f"{path} does not start ({reason_of(error)})") from None
        with contextlib.closing(browser):
            yield browser


class BrowserClassifier:
    """The page with one model, as functions for many photos.

    Args:
        page: The page, opened in a browser.

    Raises:
        UserError: The page cannot use its model.
    """

    def __init__(self, page: Page) -> None:
        from playwright.sync_api import Error

        self.page = page
        page.set_default_timeout(1000 * _SECONDS)
        try:
            self.labels: list[str] = page.evaluate(
                "kerasFlowers.ready.then(({ facts }) => [...facts.labels, "
                f"...(facts.doubt ? [{json.dumps(NONE)}] : [])])"
            )
        except Error as error:
            raise UserError(f"the page cannot use the model ({reason_of(error)})") from None

    def classify_files(self, files: Sequence[bytes]) -> Probabilities:
        """Names what is in photos that the browser decodes.

        Args:
            files: Their contents.

        Returns:
            float32 [N, classes], in the order of `labels`; NaN for a photo that the page refuses.
        """
        return self._classify(files, is_pixels=False)

    def classify_pixels(self, pixels: npt.NDArray[np.uint8]) -> Probabilities:
        """Names what is in pixels of the model's size.

        Args:
            pixels: uint8 [N, height, width, 3], 0..255, RGB.

        Returns:
            float32 [N, classes], in the order of `labels`.
        """
        return self._classify([one.tobytes() for one in pixels], is_pixels=True)

    def read(self, file: bytes) -> npt.NDArray[np.uint8]:
        """A photo as the page shows it to its model: uint8 [height * width * 3], 0..255, RGB."""
        return np.frombuffer(base64.b64decode(self._ask(_READ, _as_text(file))), np.uint8)

    def _classify(self, contents: Sequence[bytes], *, is_pixels: bool) -> Probabilities:
        rows: list[list[float | None]] = []
        for start in range(0, len(contents), _PHOTOS_AT_A_TIME):
            some = contents[start : start + _PHOTOS_AT_A_TIME]
            rows += self._ask(
                _CLASSIFY, [[_as_text(one) for one in some], is_pixels, len(self.labels)]
            )
        return np.array(rows, np.float32).reshape(len(contents), len(self.labels))

    def _ask(self, script: str, argument: Any) -> Any:
        from playwright.sync_api import Error

        try:
            return self.page.evaluate(script, argument)
        except Error as error:
            raise UserError(f"the page gives no answer ({reason_of(error)})") from None


@contextlib.contextmanager
def classifier_in(browser: Browser, model: Path) -> Iterator[BrowserClassifier]:
    """The page with a model, served on loopback and opened in a browser.

    Args:
        browser: The browser.
        model: A `.tflite` file.

    Raises:
        UserError: The page was not built, or cannot use the model.
    """
    with serving(load_site(model)) as address, contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(address)
        yield BrowserClassifier(page)


class InBrowser(NamedTuple):
    """The page with one model, in a browser that is driven by another thread.

    Attributes:
        labels: The names of the classes.
        classify_files: As that of `BrowserClassifier`.
        classify_pixels: As that of `BrowserClassifier`.
    """

    labels: list[str]
    classify_files: Callable[[Sequence[bytes]], Probabilities]
    classify_pixels: Callable[[npt.NDArray[np.uint8]], Probabilities]


@contextlib.contextmanager
def models_in_browser(models: Sequence[Path]) -> Iterator[list[InBrowser]]:
    """The page with each of some models, for a caller of any kind.

    A thread of its own drives the browser, since Playwright refuses one in which an event loop
    runs, such as a notebook's, or in which it runs already.

    Args:
        models: `.tflite` files.

    Raises:
        UserError: No browser starts, or the page cannot use a model.
    """
    with ThreadPoolExecutor(1) as thread, contextlib.ExitStack() as stack:

        def open_all() -> list[BrowserClassifier]:
            browser = stack.enter_context(started_browser())
            return [stack.enter_context(classifier_in(browser, model)) for model in models]

        def through_thread(function: Callable[[Any], Probabilities]) -> Callable[[Any], Any]:
            return lambda photos: thread.submit(function, photos).result()

        try:
            yield [
                InBrowser(
                    one.labels,
                    through_thread(one.classify_files),
                    through_thread(one.classify_pixels),
                )
                for one in thread.submit(open_all).result()
            ]
        finally:
            thread.submit(stack.close).result()


def _as_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
