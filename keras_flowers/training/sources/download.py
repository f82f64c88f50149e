"""Downloads of TFDS: whether servers answer, how far it is, nothing left behind if it fails."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference.formats import PHOTO_SUFFIXES
from keras_flowers.progress import progress_bar
from keras_flowers.system import import_tensorflow, is_verbose, standard_error_held_back

_logger = logging.getLogger(__name__)

_SECONDS = 5.0
"""After which a server that does not answer counts as out of reach."""


def check_reachable(builder: Any, dataset: str) -> None:
    """Finds out whether a data set can be downloaded, sooner than TFDS, which tries for minutes.

    Args:
        builder: TFDS's builder, of a data set that is not on disk.
        dataset: What the user calls it.

    Raises:
        UserError: Its servers do not answer.
    """
    try:
        _reach(_servers(builder))
    except OSError as error:
        raise _refusal(builder, dataset, error) from None


def download(builder: Any, dataset: str) -> None:
    """Downloads and prepares a data set, or leaves everything as it was.

    Args:
        builder: As for `check_reachable`.
        dataset: As for `check_reachable`.

    Raises:
        UserError: It cannot be downloaded.
    """
    data_dir, servers, size = _root(builder), _servers(builder), _size(builder)
    said = f"{size / 1e6:,.0f} MB from {', '.join(servers)}" if servers else "size unknown"
    _logger.info(f"{builder.info.full_name} is not in {data_dir} yet: downloading it ({said})")
    there_before = {path for path in (data_dir, *_children(data_dir)) if path.exists()}
    of_name, downloads = data_dir / builder.info.name, data_dir / "downloads"
    there_before |= set(_children(of_name)) | set(_children(downloads))
    import_tensorflow()
    try:
        _reach(servers)
        if is_verbose():
            builder.download_and_prepare()
        else:
            with _own_bar(downloads, size, builder.info.name):
                builder.download_and_prepare()
    except BaseException as error:
        _remove_new(data_dir, of_name, there_before)
        if not isinstance(error, Exception):
            raise
        raise _refusal(builder, dataset, error) from None


def _refusal(builder: Any, dataset: str, error: Exception) -> UserError:
    return UserError(
        f"{dataset} is not at {builder.data_path} and cannot be downloaded "
        f"({reason_of(error)}); name the folder that holds it with --data_dir, learn from "
        f"your own photos with --data {_own_photos(_root(builder)) or 'FOLDER'}, or try everything "
        "without a download: keras-flowers train --demo"
    )


def _root(builder: Any) -> Path:
    """Where TFDS keeps data sets."""
    return Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]


def _servers(builder: Any) -> list[str]:
    """The servers that TFDS takes a data set from."""
    names = dict.fromkeys(urlsplit(url).hostname or "" for url in _urls(builder))
    return [name for name in names if name]


def _size(builder: Any) -> int:
    """How many bytes TFDS will download; 0 where that is not known."""
    return sum(info.size for info in _urls(builder).values())


def _urls(builder: Any) -> dict[str, Any]:
    try:
        return dict(builder.url_infos or {})
    except Exception:  # a data set of the user's own may have none, or fail to say
        return {}


def _reach(servers: list[str]) -> None:
    """Connects to each of the servers, or to the proxy before it.

    Raises:
        OSError: One does not answer.
    """
    proxy = urlsplit(getproxies().get("https") or getproxies().get("http") or "")
    results: dict[str, OSError | None] = {}

    def connect(server: str) -> None:
        places = [(server, 443), (server, 80)]
        if proxy.hostname and not proxy_bypass(server):
            places = [(proxy.hostname, proxy.port or 80)]
        failure = None
        for place in places:
            try:
                socket.create_connection(place, _SECONDS / 2).close()
            except OSError as error:
                failure = failure or error
            else:
                results[server] = None
                return
        results[server] = failure

    # In threads, since looking up a name cannot be given a time limit.
    threads = [threading.Thread(target=connect, args=(one,), daemon=True) for one in servers]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _SECONDS
    for server, thread in zip(servers, threads, strict=True):
        thread.join(max(until - time.monotonic(), 0))
        failure = results.get(server, OSError(f"no answer in {_SECONDS:.0f} s"))
        if failure is not None:
            raise OSError(f"{server} cannot be reached: {reason_of(failure)}")


@contextlib.contextmanager
def _own_bar(downloads: Path, size: int, name: str) -> Iterator[None]:
    """Shows how much has arrived in a folder, in place of all that TFDS and TensorFlow report.

    TFDS shows three bars at once, and paths of 150 columns.

    Args:
        downloads: The folder.
        size: How many bytes are to come; 0: nobody knows.
        name: Of the data set.
    """
    before = _bytes_in(downloads)
    ended = threading.Event()

    def watch(bar: Any) -> None:
        while not ended.wait(0.5):
            arrived = _bytes_in(downloads) - before
            bar.update(max(min(arrived, size or arrived) - bar.n, 0))
            if size and arrived >= size:
                bar.set_description(f"{name}: preparing", refresh=False)

    # Standard error itself is held back meanwhile.
    terminal = None if sys.stderr is None else os.fdopen(os.dup(2), "w")
    options: dict[str, Any] = {"unit": "B", "description": f"{name}: downloading"}
    with (
        terminal or contextlib.nullcontext(),
        progress_bar(total=size or None, unit_scale=True, file=terminal, **options) as bar,
        # Both: what is written in Python, in a notebook too, and what C++ writes.
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        standard_error_held_back(),
    ):
        watching = threading.Thread(target=watch, args=(bar,), daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()


def _bytes_in(downloads: Path) -> int:
    """The size of what has been downloaded, packed as it comes."""
    total = 0
    for folder, folders, names in os.walk(downloads):
        if "extracted" in folders:
            folders.remove("extracted")
        for name in names:
            with contextlib.suppress(OSError):  # TFDS has just moved it
                total += os.path.getsize(os.path.join(folder, name))
    return total


def _remove_new(data_dir: Path, of_name: Path, there_before: set[Path]) -> None:
    """Removes what a failed download made; what was there stays."""
    for parent in (of_name, data_dir / "downloads"):
        for path in _children(parent):
            if path not in there_before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for made in (of_name, data_dir / "downloads", data_dir):
        if made not in there_before and made.is_dir() and not _children(made):
            made.rmdir()


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _own_photos(folder: Path) -> Path | None:
    """`folder`, where it holds folders of photos: somebody meant --data."""
    for one in _children(folder):
        if one.is_dir() and any(p.suffix.lower() in PHOTO_SUFFIXES for p in _children(one)):
            return folder
    return None
