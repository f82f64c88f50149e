"""The page in a real browser, where there is one: headless Chromium, driven by Playwright."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.export import browser as browsers
from keras_flowers.export.site import Site, load_site
from keras_flowers.export.site_server import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parents[1]
SUNFLOWER = ROOT / "docs" / "sunflower.jpg"
INT8 = ROOT / "saved_models" / "flowers102" / "flowers102_int8.tflite"


def site_or_skip() -> Site:
    """The page as it was built, with the smaller of the models that ship."""
    try:
        return load_site(INT8)
    except UserError as error:
        pytest.skip(str(error))


@contextmanager
def browser_or_skip(folder: Path) -> Iterator[Browser]:
    """A browser whose camera sees the sunflower.

    Args:
        folder: For the film.
    """
    site_or_skip()
    if browsers.find_browser() is None:
        pytest.skip("Chromium or the extra [page-test], which drives it, is not installed")
    # A second of it: Chromium shows it again and again.
    film = folder / "film.mjpeg"
    film.write_bytes(SUNFLOWER.read_bytes() * 20)
    flags = (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
        "--js-flags=--expose-gc",
    )
    with browsers.started_browser(*flags) as browser:
        yield browser


@contextmanager
def opened(context: BrowserContext, address: str) -> Iterator[Page]:
    """The page, its model loaded; that no request leaves its origin is checked at the end."""
    asked: list[str] = []
    errors: list[str] = []

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", note)
    page.goto(address)
    page.evaluate("kerasFlowers.ready.then(() => true)")
    yield page
    assert errors == []
    assert asked
    origin = re.match(r"https?://[^/]+/", address)
    assert origin
    allowed = (address, f"blob:{origin[0]}")
    assert [url for url in asked if not url.startswith(allowed)] == []


@contextmanager
def opened_anew(browser: Browser, site: Site) -> Iterator[Page]:
    """The page in a browser that has never seen it."""
    with serving(site) as address:
        context = browser.new_context()
        with opened(context, address) as page:
            yield page
        context.close()
