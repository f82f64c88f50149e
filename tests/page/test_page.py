"""The page as a person uses it, in headless Chromium."""

from __future__ import annotations

import base64
import csv
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_fixtures import SUNFLOWER
from PIL import Image

from keras_flowers.commands.predict import main as predict
from keras_flowers.export.site_server import serving
from keras_flowers.inference.classifier import default_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from keras_flowers.export.site import Site

ROOT = Path(__file__).parents[2]
AXE = ROOT / "page" / "node_modules" / "axe-core" / "axe.min.js"


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


def photo(number: int) -> bytes:
    """A part of the sunflower's photo, another one for each number, with a date and a place."""
    exif = Image.Exif()
    exif[0x0132] = f"2026:06:{1 + number % 28:02} 09:30:00"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, number / 10), 3: "W", 4: (13.0, 0.0, 0.0)}
    file = io.BytesIO()
    image = Image.open(SUNFLOWER).convert("RGB")
    image.crop((number % 100, 0, image.width, image.height)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def wait_until_named(page: Page, photos: int, *, unreadable: int = 0) -> None:
    """Waits until no photo of the list waits any more."""
    said = f"{photos - unreadable} of {photos} photos named"
    if unreadable:
        said += f"; {unreadable} could not be read"
    page.wait_for_selector(f"#status:text-is('{said}')")


def test_several_photos_are_a_list(page: Page) -> None:
    page.set_input_files("#files", SUNFLOWER)
    expect_sunflower(page)
    drop(page, ("other.jpg", photo(9)), ("notes.txt", b"Water the roses."))
    wait_until_named(page, 3, unreadable=1)
    assert page.locator("#rows .file").all_inner_texts() == [
        "sunflower.jpg",
        "other.jpg",
        "notes.txt",
    ]
    assert page.locator("#rows .result .name").all_inner_texts() == ["sunflower", "sunflower"]
    assert page.inner_text("#rows .result.problem").startswith("is not a photo that can be read")
    # The new one is shown, and any other with the keyboard.
    assert page.get_attribute("#photo", "alt") == "The photo other.jpg"
    page.locator("#rows button").first.focus()
    page.keyboard.press("Enter")
    expect_sunflower(page)
    assert (
        page.locator("#rows button[aria-current]").all_inner_texts()[0].startswith("sunflower.jpg")
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.inner_text("#problem").startswith("notes.txt is not a photo")

    page.click("#clear")
    assert page.locator("#answer").is_hidden()
    assert page.locator("#list").is_hidden()
    assert page.locator("#problem").is_hidden()
    assert page.inner_text("#status") == "Ready: 102 kinds of flowers can be named."


def test_photo_that_is_removed_while_it_waits_is_not_heard_of_again(page: Page) -> None:
    some = [{"name": f"{n}.jpg", "mimeType": "", "buffer": photo(n)} for n in range(4)]
    page.set_input_files("#files", some)
    page.evaluate("document.getElementById('clear').click()")
    page.evaluate(
        """async () => {
          const { classifier } = kerasFlowers;
          const [height, width] = classifier().facts.size;
          // Its turn comes after those that were on their way.
          await classifier().classify(new Uint8Array(height * width * 3));
        }"""
    )
    assert page.inner_text("#status") == "Ready: 102 kinds of flowers can be named."
    assert page.locator("#answer").is_hidden()
    assert page.locator("#rows li").count() == 0


def memory_of(page: Page) -> float:
    """Mebibytes that the page's process holds, its worker and the engine with it."""
    page.evaluate("gc()")
    browser = page.context.browser
    assert browser
    listed = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    pages = [one["id"] for one in listed["processInfo"] if one["type"] == "renderer"]
    held = [Path(f"/proc/{one}/statm").read_text(encoding="ascii").split()[1] for one in pages]
    return max(map(int, held)) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
def test_memory_stays_flat_over_200_photos(page: Page) -> None:
    def name_photos(first: int, last: int) -> None:
        for number in range(first, last, 20):
            page.set_input_files("#files", [SUNFLOWER] * 20)
            wait_until_named(page, number + 20)

    name_photos(0, 20)
    before = memory_of(page)
    name_photos(20, 220)
    # A decoded photo has 1.3 mebibytes; what stays is a small picture for the list, 0.2 with all
    # that belongs to it.
    assert memory_of(page) - before < 200 * 0.6
    # And what is kept would be seen.
    page.evaluate("void (window.kept = new Uint8Array(200 << 20).fill(1))")
    assert memory_of(page) - before > 200 * 0.6


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def test_table_is_that_of_the_command(page: Page, site: Site, tmp_path: Path) -> None:
    names = ["a.jpg", 'with "quotes", and comma.jpg', "b.png", "half.jpg"]
    plain = io.BytesIO()
    Image.open(SUNFLOWER).save(plain, "PNG")
    contents = [photo(3), photo(4), plain.getvalue(), photo(5)[:5_000]]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    drop(page, *zip(names, contents, strict=True))
    wait_until_named(page, len(names), unreadable=1)
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "flowers.csv"
    ours = rows_of(Path(download.value.path()))

    table = tmp_path / "command.csv"
    photos = [str(tmp_path / name) for name in names]
    assert (
        predict([*photos, "--model", str(site.files["model.tflite"]), "--output", str(table)]) == 1
    )
    command = rows_of(table)
    assert [list(row) for row in ours] == [list(row) for row in command]
    for one, other in zip(ours, command, strict=True):
        assert one.pop("photo") == Path(other.pop("photo")).name
        assert bool(one.pop("error")) is bool(other.pop("error"))
        # int8: equal to the last digit, which each language writes in its own way.
        assert {key: as_number(cell) for key, cell in one.items()} == {
            key: as_number(cell) for key, cell in other.items()
        }
    assert ours[0]["date"] == "2026-06-04T09:30:00"
    assert (ours[0]["latitude"], ours[0]["longitude"]) == ("52.51675", "-13")
    assert ours[3]["name"] == ""


def test_photo_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        # There and back, so that the browser gives choosers to the test before the key arrives.
        page.evaluate("0")
        page.keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files(SUNFLOWER)
    expect_sunflower(page)


def test_pasted_photo_is_named(page: Page) -> None:
    content = base64.b64encode(SUNFLOWER.read_bytes()).decode()
    page.evaluate(
        """(content) => {
          const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], 'sunflower.jpg'));
          document.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}));
        }""",
        content,
    )
    expect_sunflower(page)


def test_another_model_names_the_photos_that_are_there_again(
    page: Page, colour_model: Path, colour_photos: Path
) -> None:
    page.set_input_files("#files", sorted(colour_photos.iterdir()))
    wait_until_named(page, 3)
    before = page.locator("#rows .result .name").all_inner_texts()
    drop(page, (colour_model.name, colour_model.read_bytes()))
    page.wait_for_selector("#model:text-is('Model: colours.tflite, 3 flowers')")
    page.wait_for_selector("#rows li:nth-child(3) .name:text-is('yellow')")
    names = page.locator("#rows .result .name").all_inner_texts()
    assert names == ["cyan", "magenta", "yellow"] != before
    assert page.locator("#bars li").count() == 3
    assert page.inner_text("#scientific-name") == ""

    # What is none changes nothing.
    drop(page, ("flowers.tflite", b"\x1c\0\0\0TFL3" + bytes(100)))
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == (
        "flowers.tflite is not a TFLite model, or it is damaged: export or download it again."
    )
    bare = default_model().read_bytes()
    bare = bare[: bare.rindex(b"PK\x03\x04")]
    drop(page, ("bare.tflite", bare))
    page.wait_for_selector("#problem:text('bare.tflite holds no names of flowers')")
    assert page.inner_text("#model") == "Model: colours.tflite, 3 flowers"


AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def serious_findings(page: Page) -> list[str]:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("(values) => axe.run({runOnly: {type: 'tag', values}})", AXE_RULES)
    assert len(result["passes"]) > 10  # it did look
    return [
        f"{one['id']}: {node['html']}"
        for one in result["violations"]
        for node in one["nodes"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.skipif(not AXE.is_file(), reason="axe is not installed: npm --prefix page ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_axe_finds_nothing_serious(page: Page, scheme: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert serious_findings(page) == []
    drop(page, ("sunflower.jpg", SUNFLOWER.read_bytes()), ("notes.txt", b"Water the roses."))
    wait_until_named(page, 2, unreadable=1)
    assert serious_findings(page) == []
    page.locator("#rows button").last.click()
    page.wait_for_selector("#problem:not([hidden])")
    page.evaluate("document.getElementById('camera').hidden = false")
    assert serious_findings(page) == []
    # Nothing is cut off or needs to be pushed aside, however narrow the window.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # And it would be found.
    page.evaluate("document.getElementById('choose').textContent = ''")
    assert any(one.startswith("button-name") for one in serious_findings(page))


def test_camera_is_named_live_and_photographed(page: Page) -> None:
    page.context.grant_permissions(["camera"])
    page.click("#camera-open")
    page.wait_for_selector("#live-name:text-is('sunflower')")
    assert page.locator("#live-bars li").count() == 5
    page.click("#live")
    assert page.inner_text("#live-name") == ""
    page.click("#shutter")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#name") == "sunflower"
    assert page.get_attribute("#photo", "alt").startswith("The photo camera ")
    page.click("#camera-close")
    assert page.locator("#camera").is_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            "NotAllowedError",
            "The camera may not be used: allow it in the browser’s settings of this page.",
        ),
        ("NotFoundError", "No camera was found on this device."),
        ("NotReadableError", "The camera cannot be used; perhaps another program has it."),
    ],
)
def test_camera_that_cannot_be_used_gets_one_sentence(
    page: Page, error: str, sentence: str
) -> None:
    page.evaluate(
        """(name) => {
          navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name));
        }""",
        error,
    )
    page.click("#camera-open")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem") == sentence
    assert page.locator("#camera").is_hidden()


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
