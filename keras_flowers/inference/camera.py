"""Pictures from a camera as they come: picamera2 on a Raspberry Pi, OpenCV elsewhere."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from PIL import Image

from keras_flowers.errors import UserError


def frames() -> Iterator[Image.Image]:
    """Yields pictures in mode "RGB" until the caller stops; the camera is then released.

    Raises:
        UserError: There is neither picamera2 nor OpenCV, or they find no camera.
    """
    if picamera2 := _installed("picamera2"):
        return _from_picamera2(picamera2)
    # OpenCV reports every device that it tries and does not find, in several lines.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    if cv2 := _installed("cv2"):
        return _from_opencv(cv2)
    raise UserError(
        "reading from a camera needs picamera2 (Raspberry Pi: sudo apt install python3-picamera2, "
        "in a virtual environment made with --system-site-packages) or OpenCV "
        "(pip install opencv-python-headless)"
    )


def _installed(module: str) -> Any:
    with suppress(ImportError):
        return importlib.import_module(module)
    return None


def _from_picamera2(picamera2: Any) -> Iterator[Image.Image]:
    try:
        camera = picamera2.Picamera2()
    except (IndexError, RuntimeError) as error:  # IndexError: the list of cameras is empty
        raise _no_camera(error) from None
    try:
        # Its format names are those of the words in memory: "BGR888" gives arrays in RGB.
        camera.configure(
            camera.create_preview_configuration(main={"format": "BGR888", "size": (1280, 960)})
        )
        camera.start()
        while True:
            yield Image.fromarray(camera.capture_array("main"))
    finally:
        camera.close()


def _from_opencv(cv2: Any) -> Iterator[Image.Image]:
    capture = cv2.VideoCapture(0)
    try:
        while True:
            there, bgr = capture.read() if capture.isOpened() else (False, None)
            if not there:
                raise _no_camera("OpenCV's camera 0 gives no picture")
            yield Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def _no_camera(reason: object) -> UserError:
    return UserError(f"no camera was found ({reason}); connect one and check that it is enabled")
