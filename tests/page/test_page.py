"""The page as a person uses it, in headless Chromium."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from keras_flowers.export.site_server import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from keras_flowers.export.site import Site

ROOT = Path(__file__).parents[2]
SUNFLOWER = ROOT / "docs" / "sunflower.jpg"


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Drops files onto the page."""
    content = [(name, base64.b64encode(data).decode()) for name, data in files]
    transfer = page.evaluate_handle(
        """(files) => {
          const transfer = new DataTransfer();
          for (const [name, content] of files) {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
          }
          return transfer;
        }""",
        content,
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def expect_sunflower(page: Page) -> None:
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#name") == "sunflower"
    assert page.inner_text("#scientific-name") == "Helianthus annuus"
    rows = page.locator("#bars li")
    assert rows.count() == 5
    assert rows.first.locator(".name").inner_text() == "sunflower"
    share = float(rows.first.locator(".percent").inner_text().removesuffix("%"))
    assert share > 95
    bar, track = (rows.first.locator(one).bounding_box() for one in (".bar", ".track"))
    assert bar
    assert track
    assert bar["width"] / track["width"] == pytest.approx(share / 100, abs=0.01)
    # The photo itself, whole and upright, with its name for those who do not see it.
    width = (
        "async () => { const {photo} = window; await photo.decode(); return photo.naturalWidth }"
    )
    assert page.evaluate(width) == Image.open(SUNFLOWER).width
    assert page.get_attribute("#photo", "alt") == "The photo sunflower.jpg"


def test_dropped_photo_is_named(page: Page) -> None:
    assert page.inner_text("#status") == "Ready: 102 kinds of flowers can be named."
    drop(page, ("sunflower.jpg", SUNFLOWER.read_bytes()))
    expect_sunflower(page)
    assert page.inner_text("#status") == "sunflower.jpg: sunflower"
    assert page.locator("#list").is_hidden()


def test_chosen_photo_is_named(page: Page) -> None:
    page.set_input_files("#files", SUNFLOWER)
    expect_sunflower(page)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "notes.txt",
            b"Water the roses.\n",
            "notes.txt is not a photo that can be read: choose a JPEG, PNG, WebP, GIF or AVIF.",
        ),
        (
            "half.jpg",
            SUNFLOWER.read_bytes()[:20_000],
            "half.jpg is damaged or incomplete: copy or download it again.",
        ),
        ("empty.jpg", b"", "empty.jpg is empty: choose a photo."),
    ],
)
def test_what_is_no_photo_gets_one_sentence(
    page: Page, name: str, content: bytes, sentence: str
) -> None:
    drop(page, (name, content))
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == sentence
    assert page.locator("#answer").is_hidden()
    # And the next photo is named as if nothing had been.
    drop(page, ("sunflower.jpg", SUNFLOWER.read_bytes()))
    expect_sunflower(page)
    assert page.locator("#problem").is_hidden()


@contextmanager
def other_server() -> Iterator[tuple[str, list[str]]]:
    """A server of another origin, that any page may ask, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


SEND = """
async (address) => {
  const refused = await fetch(address + 'page', {method: 'POST', body: 'photo'}).then(
    () => 'sent', () => 'refused');
  const image = new Image();
  const shown = new Promise((resolve) => {
    image.onload = () => resolve('sent');
    image.onerror = () => resolve('refused');
  });
  image.src = address + 'image';
  const code = `fetch('${address}worker', {method: 'POST', body: 'photo'}).then(
    () => postMessage('sent'), () => postMessage('refused'))`;
  const worker = new Worker(URL.createObjectURL(new Blob([code])));
  const fromWorker = new Promise((resolve) => { worker.onmessage = ({data}) => resolve(data); });
  return [refused, await shown, await fromWorker];
}
"""


def test_photo_cannot_leave_even_if_the_page_wanted_it(browser: Browser, site: Site) -> None:
    with serving(site) as address, other_server() as (other, asked):
        page = browser.new_page()
        page.goto(address)
        assert page.evaluate(SEND, other) == ["refused", "refused", "refused"]
        assert asked == []
        # And the test would see it: without the policy all three arrive.
        page.close()
        free = browser.new_context(bypass_csp=True)
        page = free.new_page()
        page.goto(address)
        page.evaluate(SEND, other)
        assert len(asked) >= 2
        free.close()
