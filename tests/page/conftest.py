"""The page in a real browser, where there is one: headless Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from keras_flowers.errors import UserError
from keras_flowers.export import browser as browsers
from keras_flowers.export.site import Site, load_site
from keras_flowers.export.site_server import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SUNFLOWER = ROOT / "docs" / "sunflower.jpg"
INT8 = ROOT / "saved_models" / "flowers102" / "flowers102_int8.tflite"


@pytest.fixture(scope="session")
def site() -> Site:
    """The page as it was built, with the smaller of the models that ship."""
    try:
        return load_site(INT8)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def browser(site: Site) -> Iterator[Browser]:
    """A browser for the tests of a file."""
    if browsers.find_browser() is None:
        pytest.skip("Chromium or the extra [page-test], which drives it, is not installed")
    with browsers.started_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page, opened for the first time, its model loaded; nothing may leave its origin."""
    with serving(site) as address:
        context = browser.new_context()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if is_bad(message) else None)
        page.goto(address)
        page.evaluate("kerasFlowers.ready.then(() => true)")
        yield page
        context.close()
        assert errors == []
        assert asked
        assert [url for url in asked if not url.startswith((address, f"blob:{address}"))] == []


def is_bad(message: Any) -> bool:
    """Whether what stands in the browser's console is a fault of the page."""
    return message.type in ("error", "warning")
