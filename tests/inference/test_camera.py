"""The camera's pictures come in RGB, and a machine without one gets one clear line."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_flowers.errors import UserError
from keras_flowers.inference import camera

ORANGE = (255, 128, 0)


class FakePicamera2:
    """Answers as picamera2 does: "BGR888" gives arrays in RGB."""

    opened: list[FakePicamera2] = []

    def __init__(self) -> None:
        self.state = "open"
        self.opened.append(self)

    def create_preview_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return main

    def configure(self, configuration: dict[str, Any]) -> None:
        self.format = configuration["format"]

    def start(self) -> None:
        self.state = "running"

    def capture_array(self, stream: str) -> np.ndarray:
        assert (self.state, stream) == ("running", "main")
        colour = ORANGE if self.format == "BGR888" else ORANGE[::-1]
        return np.full((4, 6, 3), colour, np.uint8)

    def close(self) -> None:
        self.state = "closed"


class FakeCapture:
    """Answers as OpenCV's VideoCapture does: in BGR."""

    pictures = 2
    released = False

    def __init__(self, index: int) -> None:
        assert index == 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.pictures > 0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.pictures -= 1
        if self.pictures < 0:
            return False, None
        return True, np.full((4, 6, 3), ORANGE[::-1], np.uint8)

    def release(self) -> None:
        type(self).released = True


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets which of the two modules are there."""

    def install(**modules: Any) -> None:
        for name in ("picamera2", "cv2"):
            monkeypatch.setitem(sys.modules, name, modules.get(name))  # None: not installed

    monkeypatch.setattr(FakeCapture, "pictures", 2)
    monkeypatch.setattr(FakeCapture, "released", False)
    return install


def fake_cv2() -> ModuleType:
    cv2 = ModuleType("cv2")
    cv2.VideoCapture = FakeCapture  # type: ignore[attr-defined]
    cv2.COLOR_BGR2RGB = 4  # type: ignore[attr-defined]
    cv2.cvtColor = lambda array, code: array[..., ::-1].copy()  # type: ignore[attr-defined]
    return cv2


def test_picamera2_gives_rgb_and_is_released(installed: Any) -> None:
    installed(picamera2=SimpleNamespace(Picamera2=FakePicamera2))
    frames = camera.frames()
    picture = next(frames)
    assert picture.mode == "RGB"
    assert picture.size == (6, 4)
    assert picture.getpixel((0, 0)) == ORANGE
    frames.close()  # type: ignore[attr-defined]
    assert FakePicamera2.opened[-1].state == "closed"


def test_opencv_gives_rgb_and_is_released(installed: Any) -> None:
    installed(cv2=fake_cv2())
    frames = camera.frames()
    assert next(frames).getpixel((0, 0)) == ORANGE
    assert next(frames).size == (6, 4)
    with pytest.raises(UserError, match="no camera was found"):  # unplugged
        next(frames)
    assert FakeCapture.released


def test_picamera2_is_preferred(installed: Any) -> None:
    installed(picamera2=SimpleNamespace(Picamera2=FakePicamera2), cv2=fake_cv2())
    count = len(FakePicamera2.opened)
    next(camera.frames())
    assert len(FakePicamera2.opened) == count + 1


@pytest.mark.parametrize("error", [IndexError("list index out of range"), RuntimeError("busy")])
def test_pi_without_a_camera_is_one_line(installed: Any, error: Exception) -> None:
    def fail() -> None:
        raise error

    installed(picamera2=SimpleNamespace(Picamera2=fail))
    with pytest.raises(UserError, match="no camera was found"):
        next(camera.frames())


def test_opencv_without_a_camera_is_one_line(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(cv2=fake_cv2())
    monkeypatch.setattr(FakeCapture, "pictures", 0)
    with pytest.raises(UserError, match="no camera was found"):
        next(camera.frames())


def test_machine_without_either_library_is_told_what_to_install(installed: Any) -> None:
    installed()
    with pytest.raises(UserError, match="picamera2 .* or OpenCV"):
        camera.frames()
