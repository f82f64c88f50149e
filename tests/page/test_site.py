"""The page as a static site, and the command that serves or writes it: no browser is needed."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from keras_flowers.commands import page
from keras_flowers.errors import UserError
from keras_flowers.export import site
from keras_flowers.export.site_server import serving
from keras_flowers.inference.classifier import default_model

ROOT = Path(__file__).parents[2]

BUILT = {
    "index.html": b"<!doctype html>",
    "sw.js": b"self.addEventListener('install', () => SITE);",
    "assets/index-1.js": b"export {};",
    "engine-1/engine.wasm": b"\0asm",
}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that was built, as far as Python knows."""
    folder = tmp_path / "built"
    for name, content in BUILT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    monkeypatch.setattr(site, "_BUILT", folder)
    return folder


def listed(service_worker: bytes) -> dict[str, str]:
    first, _, rest = service_worker.partition(b"\n")
    assert rest == BUILT["sw.js"]
    found = re.fullmatch(rb"const SITE = (\{.*\});", first)
    assert found
    files: dict[str, str] = json.loads(found[1])
    return files


@pytest.mark.usefixtures("built")
def test_service_worker_lists_every_other_file_by_its_content() -> None:
    loaded = site.load_site()
    files = listed(loaded.service_worker)
    assert files.keys() == {*BUILT, "model.tflite"} - {"sw.js"}
    assert set(loaded) == {*BUILT, "model.tflite"}
    assert loaded.read("model.tflite") == default_model().read_bytes()

    other = site.load_site(default_model().with_name("flowers102_int8.tflite"))
    changed = {name for name, hash in listed(other.service_worker).items() if files[name] != hash}
    assert changed == {"model.tflite"}


def test_page_that_was_not_built_is_refused_with_the_line_that_builds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "_BUILT", tmp_path / "nothing")
    with pytest.raises(UserError, match=r"npm --prefix page ci && npm --prefix page run build$"):
        site.load_site()
    monkeypatch.setattr(site, "_PACKAGE", tmp_path / "lib" / "keras_flowers")
    with pytest.raises(UserError, match="this installation has no page.* install .* again"):
        site.load_site()


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.keras", b"", "is no .tflite file"),
        ("gone.tflite", None, "does not exist"),
        ("bare.tflite", b"\x1c\0\0\0TFL3", "holds no class names"),
        (".", None, "is no .tflite file"),
    ],
)
def test_model_that_the_page_cannot_use_is_refused(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=reason):
        site.load_site(tmp_path / name)


@pytest.mark.usefixtures("built")
def test_folder_is_written_replaced_and_never_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "site"
    assert page.main(["--build", str(folder)]) == 0
    assert f"the page is in {folder}" in capsys.readouterr().out
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {*BUILT, "model.tflite"}
    assert listed((folder / "sw.js").read_bytes())
    # What an earlier version of the page left is gone.
    (folder / "assets" / "index-0.js").write_bytes(b"old")
    assert page.main(["--build", str(folder)]) == 0
    assert not (folder / "assets" / "index-0.js").exists()

    other = tmp_path / "documents"
    other.mkdir()
    (other / "index.html").write_bytes(b"mine")
    with pytest.raises(UserError, match="is not empty; expected a new folder"):
        page.main(["--build", str(other)])
    assert [path.name for path in other.iterdir()] == ["index.html"]


@pytest.mark.usefixtures("built")
def test_server_gives_what_is_listed_and_nothing_else() -> None:
    with serving(site.load_site()) as address:
        for path, name, kind in (
            ("", "index.html", "text/html; charset=utf-8"),
            ("sw.js?1", None, "text/javascript; charset=utf-8"),
            ("engine-1/engine.wasm", "engine-1/engine.wasm", "application/wasm"),
        ):
            with urllib.request.urlopen(address + path) as response:
                assert response.headers["Content-Type"] == kind
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert name is None or response.read() == BUILT[name]
        request = urllib.request.Request(address)
        with urllib.request.urlopen(request) as response:
            request.add_header("If-None-Match", response.headers["ETag"])
        with pytest.raises(urllib.error.HTTPError, match="304"):
            urllib.request.urlopen(request)
        host = address.removeprefix("http://").rstrip("/")
        # What the browser knows already is not sent again, nor said to have a length.
        connection = http.client.HTTPConnection(host)
        connection.request("GET", "/", headers={"If-None-Match": response.headers["ETag"]})
        known = connection.getresponse()
        assert (known.status, known.headers["Content-Length"]) == (304, None)
        assert known.fp is None or known.read() == b""
        said = {name: response.headers[name] for name in ("Cache-Control", "Referrer-Policy")}
        assert said == {"Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
        assert response.headers["Content-Length"] == str(len(BUILT["index.html"]))
        assert response.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        with socket.create_connection(host.split(":")) as line:
            etag = response.headers["ETag"]
            line.sendall(f"GET / HTTP/1.0\r\nIf-None-Match: {etag}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: line.recv(65536), b""))
        assert answer.endswith(b"\r\n\r\n") and b"304" in answer.splitlines()[0]
        for path in ("/../setup.cfg", "/%2e%2e/setup.cfg", "/assets", "/assets/", "//etc/passwd"):
            connection = http.client.HTTPConnection(host)
            connection.request("GET", path)  # urllib would tidy it up first
            assert connection.getresponse().status == 404, path
        assert urllib.request.urlopen(urllib.request.Request(address, method="HEAD")).read() == b""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("LICENSES.txt", "text/plain; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.webmanifest", "application/manifest+json"),
        ("model.tflite", "application/octet-stream"),
    ],
)
def test_each_kind_of_file_has_its_type(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"content")
    one = site.Site({name: tmp_path / name}, b"", {name: "hash"})
    with serving(one) as address, urllib.request.urlopen(address + name) as response:
        assert response.headers["Content-Type"] == kind
        assert response.read() == b"content"


@pytest.mark.usefixtures("built")
def test_port_that_is_taken_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used .* --port"):
            page.main(["--port", str(port)])


def test_command_needs_no_tensorflow_and_no_playwright() -> None:
    code = (
        "import sys, keras_flowers.commands.page, keras_flowers.export.site_server;"
        "print(sorted({'tensorflow', 'keras', 'playwright', 'matplotlib'} & sys.modules.keys()))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert process.stdout == "[]\n"


def test_lock_file_holds_no_download_address() -> None:
    lock = json.loads((ROOT / "page" / "package-lock.json").read_text(encoding="utf-8"))
    packages = [one for path, one in lock["packages"].items() if path]
    assert all({"version", "integrity"} <= one.keys() for one in packages)
    assert [one for one in packages if "resolved" in one] == []
