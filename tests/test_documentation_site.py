"""The documentation site: built without a network, its links hold, and it fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import keras_flowers
from keras_flowers.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]


class _Page(HTMLParser):
    """What a page links to, what it loads by itself, and the places in it that have a name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.names |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script", "source", "iframe") and "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and "href" in found:
            self.loads.append(found["href"])


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site: what KERAS_FLOWERS_SITE names, or else built here, its notebook not run."""
    if built := os.environ.get("KERAS_FLOWERS_SITE"):
        return Path(built)
    pytest.importorskip("mkdocs", reason="the site needs the extra [docs]")
    folder = tmp_path_factory.mktemp("documentation")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_FLOWERS_TOUR": ""},
    )
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def pages(documentation: Path) -> dict[Path, _Page]:
    """Every page of the site but the one for wrong addresses, whose links are absolute."""
    return {
        path.resolve(): _Page(path.read_text(encoding="utf-8"))
        for path in documentation.rglob("*.html")
        if path.name != "404.html"
    }


def _problems(pages: dict[Path, _Page]) -> Iterator[str]:
    for path, page in pages.items():
        for target in (*page.links, *page.loads):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads:
                    yield f"{path}: loads {target}"
                continue
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            aim = aim / "index.html" if aim.is_dir() else aim
            place = unquote(parts.fragment)
            if not aim.is_file() or (place and place not in pages[aim].names | {"__top"}):
                yield f"{path}: {target}"


def test_links_hold_and_nothing_is_loaded_from_elsewhere(pages: dict[Path, _Page]) -> None:
    assert len(pages) > 20
    assert sum(len(page.links) for page in pages.values()) > 500
    assert list(_problems(pages)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<a href="nowhere/">', "nowhere/"),
        ('<a href="#nowhere">', "#nowhere"),
        ('<a href="other.html#there">', "other.html#there"),
        ('<script src="https://example.org/x.js">', "loads https://example.org/x.js"),
        ('<link href="//example.org/x.css">', "loads //example.org/x.css"),
        ('<img src="missing.png">', "missing.png"),
    ],
)
def test_broken_link_is_found(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "other.html").write_text('<p id="here"><a href="https://example.org">')
    (tmp_path / "page.html").write_text(f'<a href="other.html#here">{text}')
    found = {path.resolve(): _Page(path.read_text()) for path in tmp_path.glob("*.html")}
    (one,) = _problems(found)
    assert one.endswith(f": {problem}")


def test_everything_public_and_every_command_is_described(documentation: Path) -> None:
    reference = (documentation / "reference" / "index.html").read_text(encoding="utf-8")
    for name in keras_flowers.__all__:
        assert f'id="keras_flowers.{name}"' in reference, name
    assert "&gt;&gt;&gt;" in reference  # the examples, as code
    assert "<blockquote>" not in reference
    commands = (documentation / "commands" / "index.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"usage: keras-flowers {name} " in commands, name


def test_formulas_are_drawn_and_code_is_linked(documentation: Path) -> None:
    text = (documentation / "how_it_works" / "index.html").read_text(encoding="utf-8")
    assert text.count("<math ") >= 40
    assert "arithmatex" not in text and "\\frac" not in text
    assert 'href="../source/keras_flowers/training/model.py/#build_model"' in text


def test_tour_shows_what_was_answered(documentation: Path) -> None:
    text = (documentation / "tour" / "index.html").read_text(encoding="utf-8")
    if not os.environ.get("KERAS_FLOWERS_SITE"):
        pytest.skip("the notebook was not run; .ci/run does")
    pictures = re.findall(r'src="(\.\./tour_\w+\.png)"', text)
    assert len(pictures) >= 4
    assert "sunflower" in re.sub(r"<[^>]+>", "", text).split("prediction.top(3)")[1][:400]
    assert "top-1" in text and "photos get the same name" in text
    assert "photo/s" not in text and "cuda" not in text.lower()


def test_pages_are_read_without_errors_and_without_the_network(
    request: pytest.FixtureRequest, documentation: Path
) -> None:
    browser = request.getfixturevalue("browser")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(documentation)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    amiss: list[str] = []
    page.on("request", lambda one: one.url.startswith(address) or amiss.append(one.url))
    page.on("pageerror", lambda error: amiss.append(str(error)))
    page.on("console", lambda one: one.type in ("error", "warning") and amiss.append(one.text))
    try:
        for name in ("", "how_it_works/", "reference/", "deploy/"):
            page.goto(address + name)
            assert page.locator("h1").is_visible()
            # Nothing is wider than a phone.
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        assert amiss == []
    finally:
        context.close()
        server.shutdown()
