"""Row 9 of the benchmark: the page in a browser, its first answer and those after it."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.errors import UserError
from keras_flowers.export.browser import BrowserClassifier, find_browser, started_browser
from keras_flowers.export.site import BUILD_COMMAND, is_built, load_site
from keras_flowers.export.site_server import serving
from tools.benchmark.measure import divide, in_new_process, in_turn, milliseconds
from tools.benchmark.photos import write_photos
from tools.benchmark.table import Bound, Figure
from tools.benchmark.task import Task

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST_SECONDS = 3.0
"""How long a first visit may take until its first answer stands there."""

PHOTOS = 20

DROP = """
async (photos) => {
  const status = document.getElementById('status');
  const started = performance.now();
  for (const photo of photos) {
    document.getElementById('clear').click();
    const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], 'photo.jpg'));
    const isNamed = new Promise((resolve) => {
      const observer = new MutationObserver(() => {
        if (!status.textContent.startsWith('photo.jpg')) return;
        observer.disconnect();
        resolve();
      });
      observer.observe(status, {childList: true});
    });
    document.body.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true}));
    await isNamed;
  }
  return (performance.now() - started) / 1000;
}
"""
"""Drops photos one after the other, each when the name of the last stands there; the seconds."""

ENGINE = """
async (count) => {
  const classifier = kerasFlowers.classifier();
  const [height, width] = classifier.facts.size;
  const pixels = Uint8Array.from({length: height * width * 3}, (_, at) => at % 256);
  let total = 0;
  for (let number = 0; number < count; number++) {
    total += (await classifier.classify(pixels)).milliseconds.run;
  }
  return total / 1000;
}
"""
"""Runs the engine on ready pixels; the seconds, without what goes to and fro between threads."""


def missing() -> str | None:
    """What would have to be there for row 9, and how to get it; None if nothing is missing."""
    if find_browser() is None:
        return "there is no browser; pip install playwright, and apt-get install chromium"
    return None if is_built() else f"the page is not built; build it: {BUILD_COMMAND}"


def measure(task: Task) -> list[Figure]:
    """Row 9: the page in a browser, from a photo to its name.

    Raises:
        UserError: There is no browser, or the page was not built.
    """
    if reason := missing():
        raise UserError(f"row 9 cannot be measured: {reason}")
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        paths = in_new_process(write_photos, task, folder, PHOTOS)
        photos = [base64.b64encode(Path(path).read_bytes()).decode() for path in paths]
        with started_browser() as browser:
            for variant in ("float16", "int8"):
                figures += _measure_model(task, browser, variant, photos)
    return figures


def _measure_model(task: Task, browser: Browser, variant: str, photos: list[str]) -> list[Figure]:
    with serving(load_site(task.tflite(variant))) as address:

        def first_answer() -> float:
            started = time.perf_counter()
            page = _open(browser, address)
            page.evaluate(DROP, photos[:1])
            seconds = time.perf_counter() - started
            page.context.close()
            return seconds

        first_answer()  # warms up the disk's cache, and the browser itself
        (first,) = in_turn(task.effort.rounds, first_answer)
        page = _open(browser, address)
        measures: list[Callable[[], float]] = [
            lambda: float(page.evaluate(DROP, photos)),
            lambda: float(page.evaluate(ENGINE, len(photos))),
        ]
        in_turn(1, *measures)
        ours, engine = in_turn(task.effort.rounds, *measures)
        page.context.close()
    count = len(photos)
    return [
        Figure(
            9,
            f"page, {variant}, first visit: seconds until the first answer",
            first,
            Bound("at most", FIRST_SECONDS),
        ),
        Figure(
            9,
            f"page, {variant}, later answers: time / the engine alone",
            divide(ours, engine),
            Bound("at most", 2.5),
            f"{milliseconds(ours, count)} : {milliseconds(engine, count)}",
        ),
    ]


def _open(browser: Browser, address: str) -> Page:
    """The page in a browser that has kept nothing of it, its model loaded."""
    page = browser.new_context().new_page()
    page.goto(address)
    BrowserClassifier(page)  # waits until it is ready
    return page
