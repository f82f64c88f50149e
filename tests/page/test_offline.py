"""What the page keeps in the browser: it opens without a server, and takes new versions."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from page_fixtures import SUNFLOWER, opened

from keras_flowers.export.site import load_site, write_site
from keras_flowers.export.site_server import SiteServer, serving
from keras_flowers.inference.classifier import default_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from keras_flowers.export.site import Site


def name_sunflower(page: Page) -> None:
    page.set_input_files("#files", SUNFLOWER)
    page.wait_for_selector("#name:text-is('sunflower')")


def wait_until_kept(page: Page) -> None:
    page.wait_for_selector("#offline:not([hidden])")


def test_page_works_after_the_server_has_gone(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    with serving(site) as address, opened(context, address) as page:
        wait_until_kept(page)
        kept = page.evaluate("caches.open('keras-flowers').then((cache) => cache.keys())")
        # The page, the model and one of the two engines.
        assert len(kept) == len(site.files) - 2
    # The server is gone; a page that was open, one opened anew and one loaded again all work.
    name_sunflower(page)
    with opened(context, address) as new:
        name_sunflower(new)
        new.reload()
        name_sunflower(new)
    context.close()


@contextmanager
def web_space(folder: Path) -> Iterator[str]:
    """A folder as a plain server gives it, under a path, as GitHub Pages does."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/flowers/"
        server.shutdown()


def test_static_site_works_on_any_web_space(browser: Browser, site: Site, tmp_path: Path) -> None:
    write_site(site, tmp_path / "flowers")
    context = browser.new_context()
    with web_space(tmp_path) as address, opened(context, address) as page:
        name_sunflower(page)
        wait_until_kept(page)
        manifest = page.evaluate(
            "fetch(document.querySelector('[rel=manifest]').href).then((one) => one.json())"
        )
        assert manifest["start_url"] == "./"
        assert {"192x192", "512x512"} <= {one["sizes"] for one in manifest["icons"]}
        for icon in manifest["icons"]:
            assert (tmp_path / "flowers" / icon["src"]).is_file()
    with opened(context, address) as page:
        name_sunflower(page)
    context.close()


def test_static_site_has_at_most_8_megabytes(site: Site, tmp_path: Path) -> None:
    write_site(site, tmp_path / "flowers")
    packed = Path(shutil.make_archive(str(tmp_path / "site"), "zip", tmp_path / "flowers"))
    assert packed.stat().st_size < 8_000_000


def test_another_model_at_the_same_address_is_taken_at_once(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    with serving(site) as address, opened(context, address) as page:
        wait_until_kept(page)
        assert page.inner_text("#model").startswith("Model: flowers102 int8")
        page.close()
    port = int(address.rstrip("/").rpartition(":")[2])
    other = load_site(default_model())
    with SiteServer(other, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        page = context.new_page()
        page.goto(address)
        # The page that was kept looks whether there is a new one, and makes way for it.
        page.wait_for_selector("#model:text('flowers102 float16')")
        name_sunflower(page)
        # What the old one kept is gone; where photos are shown, nothing is reloaded unasked.
        kept = page.evaluate("caches.open('keras-flowers').then((cache) => cache.keys())")
        assert len(kept) == len(other.files) - 2
        server.site = site
        page.evaluate("navigator.serviceWorker.getRegistration().then((one) => one.update())")
        page.wait_for_selector("#update:not([hidden])")
        assert page.inner_text("#name") == "sunflower"
        page.click("#update button")
        page.wait_for_selector("#model:text('flowers102 int8')")
        server.shutdown()
    context.close()


def test_model_that_cannot_be_fetched_gets_one_sentence(browser: Browser, site: Site) -> None:
    without = dataclasses.replace(
        site, hashes={name: one for name, one in site.hashes.items() if name != "model.tflite"}
    )
    with serving(without) as address:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#problem:not([hidden])")
        assert page.inner_text("#problem") == (
            "model.tflite is not there: check the connection and load the page again."
        )
        page.close()
