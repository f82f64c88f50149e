"""Data sets that TFDS would download: out of reach, broken off, and what is shown meanwhile."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from keras_flowers.commands import train
from keras_flowers.commands.messages import show_messages
from keras_flowers.errors import UserError

pytest.importorskip("tensorflow_datasets", reason="training needs TensorFlow Datasets")

import tensorflow_datasets as tfds

from keras_flowers.training import data
from keras_flowers.training.sources import check_available, download
from tests.test_imports import run_code

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
COUNT = 30


class ServedFlowers(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Photos in an archive on a server of this machine."""

    VERSION = tfds.core.Version("1.0.0")
    url = ""
    breaks_off = False

    def _info(self) -> Any:
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
        label = tfds.features.ClassLabel(names=["rose", "aster"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> Any:
        folder = Path(dl_manager.download_and_extract(self.url))
        if self.breaks_off:
            raise OSError("connection lost")
        return {"train": self._generate_examples(folder)}

    def _generate_examples(self, folder: Path) -> Any:
        for number, path in enumerate(sorted(folder.glob("*.jpg"))):
            yield number, {"image": path, "label": number % 2}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serves the archive; the folder that TFDS is to keep data sets in."""
    folder = tmp_path / "server"
    folder.mkdir()
    with zipfile.ZipFile(folder / "flowers.zip", "w") as archive:
        for number in range(COUNT):
            file = io.BytesIO()
            Image.new("RGB", (40, 40), (number, 90, 20)).save(file, "JPEG")
            archive.writestr(f"{number}.jpg", file.getvalue())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    monkeypatch.setattr(ServedFlowers, "url", f"http://127.0.0.1:{server.server_port}/flowers.zip")
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "tfds"
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every connection is refused; where it would have led."""
    places: list[tuple[str, int]] = []

    def refuse(place: tuple[str, int], *_: Any) -> None:
        places.append(place)
        raise OSError(101, "Network is unreachable")

    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return places


@pytest.mark.usefixtures("no_network")
def test_without_network_the_refusal_says_what_to_do_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    (tmp_path / "rose").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "rose" / "a.jpg")
    with pytest.raises(UserError) as refused:
        data.load_photos("oxford_flowers102", "train", str(tmp_path))
    message = str(refused.value)
    assert "www.robots.ox.ac.uk cannot be reached: Network is unreachable" in message
    assert f"--data {tmp_path}" in message
    assert "keras-flowers train --demo" in message
    assert "345 MB from www.robots.ox.ac.uk" in capsys.readouterr().out
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["rose", "rose/a.jpg"]


def test_training_is_refused_before_tensorflow_is_imported(tmp_path: Path) -> None:
    # That alone takes six seconds of a core, so half a minute on a busy machine.
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise OSError(101, 'Network is unreachable')\n"
        "socket.create_connection = refuse\n"
        "from keras_flowers.commands import exit, train\n"
        "try: exit.exit_with(lambda: train.main({}))\n"
        "finally: print('TENSORFLOW', 'tensorflow.python' in sys.modules)"
    )
    for source in (["--dataset", "oxford_flowers102"], ["--data", "tfds:cifar10"]):
        arguments = [*source, "--data_dir", "tfds", "--output", "run"]
        process = run_code(code.format(arguments), cwd=tmp_path)
        assert process.returncode == 2, process.stderr
        assert process.stdout == "TENSORFLOW False\n"
        assert "cannot be reached: Network is unreachable); name the folder" in process.stderr
        assert len(process.stderr.splitlines()) == 1
        assert list(tmp_path.iterdir()) == []


def test_only_data_sets_that_are_not_there_are_looked_for(
    tmp_path: Path, no_network: list[tuple[str, int]]
) -> None:
    (tmp_path / "oxford").mkdir()
    check_available([str(tmp_path / "oxford"), "labels.csv", "no such/../name"], str(tmp_path))
    assert no_network == []
    with pytest.raises(UserError, match=r"cifar10 is not at .*\(www.cs.toronto.edu cannot be"):
        check_available([str(tmp_path), "cifar10"], str(tmp_path))
    assert no_network == [("www.cs.toronto.edu", 443), ("www.cs.toronto.edu", 80)]
    with pytest.raises(UserError, match="TensorFlow Datasets has no data set 'no_such_flowers'"):
        check_available(["tfds:no_such_flowers"], str(tmp_path))


@pytest.mark.usefixtures("no_network")
def test_server_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: Any) -> None:
        ended.wait(60)
        raise OSError(110, "Connection timed out")

    ended = threading.Event()
    assert 4 <= download._SECONDS <= 6  # of ten that the refusal may take
    monkeypatch.setattr(socket, "create_connection", wait)
    monkeypatch.setattr(download, "_SECONDS", 0.2)
    with pytest.raises(UserError, match="www.robots.ox.ac.uk cannot be reached: no answer in 0 s"):
        check_available(["oxford_flowers102"], str(tmp_path))
    ended.set()
    for thread in threading.enumerate():
        if thread.name.endswith("(connect)"):
            thread.join(10)  # or it would try the next port in another test


def test_behind_a_proxy_the_proxy_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[tuple[str, int]]
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.garden:3128")
    with pytest.raises(UserError, match="www.robots.ox.ac.uk cannot be reached"):
        check_available(["oxford_flowers102"], str(tmp_path))
    assert no_network == [("proxy.garden", 3128)]
    no_network.clear()
    monkeypatch.setenv("https_proxy", "http://proxy.garden")
    with pytest.raises(UserError, match="www.robots.ox.ac.uk cannot be reached"):
        check_available(["oxford_flowers102"], str(tmp_path))
    assert no_network == [("proxy.garden", 80)]
    monkeypatch.setenv("no_proxy", "ox.ac.uk")
    with pytest.raises(UserError, match="www.robots.ox.ac.uk cannot be reached"):
        check_available(["oxford_flowers102"], str(tmp_path))
    assert no_network[1:] == [("www.robots.ox.ac.uk", 443), ("www.robots.ox.ac.uk", 80)]


def test_second_port_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[tuple[str, int]]
) -> None:
    def http_only(place: tuple[str, int], seconds: float) -> Any:
        no_network.append(place)
        assert 1 <= seconds <= 4
        if place[1] == 443:
            raise OSError(111, "Connection refused")
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(socket, "create_connection", http_only)
    check_available(["oxford_flowers102"], str(tmp_path))
    assert [port for _, port in no_network] == [443, 80]


def test_data_set_that_cannot_say_what_it_downloads_is_of_unknown_size() -> None:
    class Builder:
        @property
        def url_infos(self) -> dict[str, Any]:
            raise RuntimeError("of the user's own")

    assert download._size(Builder()) == download._size(SimpleNamespace(url_infos=None)) == 0
    known = SimpleNamespace(url_infos={"a": SimpleNamespace(size=7), "b": SimpleNamespace(size=4)})
    assert download._size(known) == 11


def test_download_shows_one_bar_of_its_own(
    served: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    show_messages()
    photos = data.load_photos("served_flowers", "train", str(served))
    assert photos.count == COUNT
    written = capfd.readouterr()
    told = f"served_flowers/1.0.0 is not in {served} yet: downloading it (size unknown)"
    assert written.out.splitlines()[0] == told
    assert "Downloading and preparing" not in written.out + written.err
    assert "served_flowers: downloading" in written.err
    others = ("Dl Completed", "Extraction", "Generating", "Shuffling")
    assert not [one for one in others if one in written.err]


def test_download_tells_everything_with_verbose(
    served: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    data.load_photos("served_flowers", "train", str(served))
    written = capfd.readouterr()
    assert "Downloading and preparing" in written.out
    assert "Dl Completed" in written.err
    assert "served_flowers: downloading" not in written.err


class Bar:
    """Remembers what it was told."""

    def __init__(self, **options: Any) -> None:
        self.options, self.n, self.description = options, 0, options["description"]

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.n += count

    def set_description(self, description: str, refresh: bool) -> None:
        self.description = description

    def comes_to(self, count: int) -> bool:
        """Waits, since another thread counts."""
        until = time.monotonic() + 60
        while self.n != count and time.monotonic() < until:
            time.sleep(0.05)
        return self.n == count


@pytest.mark.parametrize("size", [2_000, 0])
def test_bar_follows_what_arrives(
    size: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[Bar] = []

    def make(**options: Any) -> Bar:
        bars.append(Bar(**options))
        return bars[-1]

    monkeypatch.setattr(download, "progress_bar", make)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    (tmp_path / "extracted" / "flowers").mkdir(parents=True)
    (tmp_path / "extracted" / "flowers" / "unpacked").write_bytes(bytes(9_000))
    (tmp_path / "earlier").write_bytes(bytes(500))
    with download._own_bar(tmp_path, size, "flowers"):
        (bar,) = bars
        print("TFDS says something")
        os.write(2, b"TensorFlow says something\n")
        (tmp_path / "arriving").write_bytes(bytes(1_500))
        assert bar.comes_to(1_500)
        assert bar.description == "flowers: downloading"
        (tmp_path / "arriving").write_bytes(bytes(2_100))
        # A bar of a known size ends there, whatever else is written.
        assert bar.comes_to(size or 2_100)
        until = time.monotonic() + 60
        while size and bar.description != "flowers: preparing" and time.monotonic() < until:
            time.sleep(0.05)
        assert bar.description == ("flowers: preparing" if size else "flowers: downloading")
    assert bar.options["total"] == (size or None)
    assert (bar.options["unit"], bar.options["unit_scale"]) == ("B", True)
    written = capfd.readouterr()
    assert "says something" not in written.out + written.err


def test_nothing_is_counted_any_more_when_the_bar_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, goes_on = threading.Event(), threading.Event()
    counts = iter([0])

    def slow(downloads: Path) -> int:
        for first in counts:
            return first
        counting.set()
        time.sleep(0.3)  # a folder of many files
        goes_on.set()
        return 5

    monkeypatch.setattr(download, "progress_bar", lambda **options: Bar(**options))
    monkeypatch.setattr(download, "_bytes_in", slow)
    with download._own_bar(tmp_path, 10, "flowers"):
        assert counting.wait(60)
    assert goes_on.is_set()


def test_failed_download_is_removed(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServedFlowers, "breaks_off", True)
    with pytest.raises(UserError, match=r"cannot be downloaded \(connection lost\)"):
        data.load_photos("served_flowers", "train", str(served))
    assert not served.exists()
    # What was there before stays, the downloads of other data sets too.
    (served / "downloads").mkdir(parents=True)
    (served / "downloads" / "other.tgz").write_bytes(b"other")
    with pytest.raises(UserError, match="connection lost"):
        data.load_photos("served_flowers", "train", str(served))
    found = sorted(str(path.relative_to(served)) for path in served.rglob("*"))
    assert found == ["downloads", "downloads/other.tgz"]


def test_interrupted_download_is_removed(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(builder: Any) -> None:
        Path(f"{builder.data_dir}.incomplete").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.load_photos("served_flowers", "train", str(served))
    assert not served.exists()


def test_folders_of_photos_are_told_from_what_else_lies_there(tmp_path: Path) -> None:
    assert download._own_photos(tmp_path / "none") is None
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "empty").mkdir()
    assert download._own_photos(tmp_path) is None
    (tmp_path / "rose").mkdir()
    (tmp_path / "rose" / "A.JPG").touch()
    assert download._own_photos(tmp_path) == tmp_path


def test_demo_looks_for_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: list[tuple[str, int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    config, extras = train.parse_arguments(["--demo", "--cache_dir", "cache"])
    assert extras.demo
    from keras_flowers.training.synthetic import demo_config

    drawn = demo_config(config)
    check_available([f"tfds:{drawn.dataset}"], drawn.data_dir)
    assert no_network == []
