"""Gives the files of a site to the browsers of this machine."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from keras_flowers.errors import UserError
from keras_flowers.export.site import INDEX, Site

LOOPBACK = "127.0.0.1"
"""No other machine can connect."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
"""Not from the `mimetypes` of the machine: a browser compiles WebAssembly of this type only."""


class SiteServer(ThreadingHTTPServer):
    """A server of one site, on loopback.

    Args:
        site: What it gives.
        port: The port; 0 takes a free one.

    Raises:
        UserError: The port is taken, or not allowed.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise UserError(
                f"port {port} cannot be used ({error.strerror}); name another one with --port, "
                "or 0 for a free one"
            ) from None

    @property
    def address(self) -> str:
        """Where browsers find the site."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: browsers leave in the middle of an answer all the time."""


@contextmanager
def serving(site: Site, port: int = 0) -> Iterator[str]:
    """Serves a site in a thread as long as the context lasts, and gives its address."""
    with SiteServer(site, port) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    # A connection for each file, as http.server does it by itself: one that stayed open would go on
    # giving files after the server was closed.
    server: SiteServer
    # A client that says nothing must not hold its thread.
    timeout = 60

    def do_GET(self) -> None:  # noqa: N802  # the name is http.server's
        self._give(with_body=True)

    def do_HEAD(self) -> None:  # noqa: N802
        self._give(with_body=False)

    def _give(self, *, with_body: bool) -> None:
        # Only what is listed is given, whatever the path says.
        path = unquote(urlsplit(self.path).path).removeprefix("/") or INDEX
        site = self.server.site
        if path not in site:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        tag = f'"{site.hashes[path]}"'
        is_known = self.headers.get("If-None-Match") == tag
        body = b"" if is_known else site.read(path)
        self.send_response(HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK)
        kind = _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
        self.send_header("Content-Type", kind)
        if not is_known:
            self.send_header("Content-Length", str(len(body)))
        # Kept, but asked for each time: with another --model the same address is another site.
        self.send_header("Cache-Control", "no-cache")
        self.send_header("ETag", tag)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        # The rest of the policy stands in the page, so that it holds on any web space.
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the command's output is its address."""
