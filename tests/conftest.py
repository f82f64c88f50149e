"""What several test files need: a model that is small, real and known."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
from PIL import Image

from keras_flowers.inference import metadata

if TYPE_CHECKING:
    from export_fixtures import Exported
    from playwright.sync_api import Browser, Page

    from keras_flowers.export.site import Site

# Hypothesis fails an example that takes 200 ms, which on a busy machine any may.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

COLOURS = {"cyan": (0, 255, 255), "magenta": (255, 0, 255), "yellow": (255, 255, 0)}

COLOUR_IMAGE_SIZE = (32, 24)
"""Height and width of the colour model's input: not square, so that swapping them shows."""


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.tflite` file, with labels, that names a picture's colour: cyan, magenta or yellow."""
    keras = pytest.importorskip("keras", reason="making the test model needs TensorFlow")
    import tensorflow as tf

    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential(
        [
            keras.Input((*COLOUR_IMAGE_SIZE, 3), name="pixels"),
            keras.layers.GlobalAveragePooling2D(),
            head,
        ]
    )
    # Each of the three colours lacks one of red, green and blue: the less of it, the likelier.
    head.set_weights([-0.02 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    path = tmp_path_factory.mktemp("model") / "colours.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    metadata.add_to_archive(path, metadata.Metadata(tuple(COLOURS), COLOUR_IMAGE_SIZE))
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; that takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, left: int) -> None:
    """Leaves `left` bytes of the disk."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    ballast.write_bytes(bytes(max(shutil.disk_usage(disk).free - left, 0)))


@pytest.fixture
def colour_photos(tmp_path: Path) -> Path:
    """A folder with `cyan.png`, `magenta.png` and `yellow.png`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (60, 40), colour).save(folder / f"{name}.png")
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With KERAS_FLOWERS_NO_SKIPS=1, a test that was skipped for want of a variable fails the run.

    Where the real photographs are at hand, as in CI, none of the tests that need them may go
    missing without a word.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("KERAS_FLOWERS_NO_SKIPS") != "1" or reporter is None:
        return
    # The reason of a skip stands at the end of (file, line, reason).
    reasons = {str(report.longrepr[-1]) for report in reporter.stats.get("skipped", ())}
    if unwanted := sorted(one for one in reasons if re.search(r"\bset [A-Z_]{4,}", one)):
        reporter.write_line("\nskipped, and KERAS_FLOWERS_NO_SKIPS=1:", red=True)
        for reason in unwanted:
            reporter.write_line(f"  {reason}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A run that is small, real, trained and exported in all formats; made once a process."""
    pytest.importorskip("tensorflow_datasets", reason="exporting needs the extra [train]")
    from export_fixtures import export_all

    return export_all(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def site() -> Site:
    """The page for browsers with a model, where it was built."""
    from page_fixtures import site_or_skip

    return site_or_skip()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium, where it is installed; started once a process."""
    from page_fixtures import browser_or_skip

    with browser_or_skip(tmp_path_factory.mktemp("camera")) as browser:
        yield browser


@pytest.fixture(scope="session", autouse=True)
def no_browser_in_verify() -> Iterator[None]:
    """Leaves the browser out of `verify`, where each start takes seconds; a test brings it back."""
    from keras_flowers.export import artifacts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "has_browser", lambda: False)
        yield


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page, opened for the first time, its model loaded; nothing may leave its origin."""
    from page_fixtures import opened_anew

    with opened_anew(browser, site) as page:
        yield page
