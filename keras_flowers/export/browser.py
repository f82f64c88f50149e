"""Runs the page in a real browser, headless: what it answers is what a person sees."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.export.site import load_site
from keras_flowers.export.site_server import serving
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
async ([photos, isPixels]) => {
  const { classifier } = kerasFlowers;
  const rows = [];
  for (const photo of photos) {
    const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
    const given = isPixels ? bytes : new Blob([bytes]);
    const { probabilities } = await classifier().classify(given);
    rows.push([...probabilities]);
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
                "kerasFlowers.ready.then(({ facts }) => facts.labels)"
            )
        except Error as error:
            raise UserError(f"the page cannot use the model ({reason_of(error)})") from None

    def classify_files(self, files: Sequence[bytes]) -> Probabilities:
        """Names what is in photos that the browser decodes.

        Args:
            files: Their contents.

        Returns:
            float32 [N, classes], in the order of `labels`.
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
        rows: list[list[float]] = []
        for start in range(0, len(contents), _PHOTOS_AT_A_TIME):
            some = contents[start : start + _PHOTOS_AT_A_TIME]
            rows += self._ask(_CLASSIFY, [[_as_text(one) for one in some], is_pixels])
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


def _as_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
