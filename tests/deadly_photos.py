"""Photos that kill or hang whatever reads them, which no real file is known to do for long.

A folder with `sitecustomize.py` at the front of PYTHONPATH makes every Python that is started obey
them; the code of the package stays as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

KILLS = b"this photo kills its reader"
HANGS = b"this photo hangs its reader"

_SITE = f"""
import importlib.abc, importlib.machinery, os, signal, sys, time

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "keras_flowers.inference.bulk":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            read = module.read_pixels

            def read_pixels(photo, size):
                data = photo if isinstance(photo, bytes) else open(photo, "rb").read()
                if data == {KILLS!r}:
                    os.kill(os.getpid(), signal.SIGSEGV)
                if data == {HANGS!r}:
                    time.sleep(600)
                time.sleep(float(os.environ.get("SECONDS_OF_A_PHOTO", "0")))
                return read(photo, size)

            module.read_pixels = read_pixels

        spec.loader.exec_module = execute_and_change
        return spec

sys.meta_path.insert(0, Finder())
"""


def python_path(folder: Path) -> str:
    """Writes `sitecustomize.py` into `folder`; gives the PYTHONPATH with which it is obeyed."""
    (folder / "sitecustomize.py").write_text(_SITE)
    root = Path(__file__).parents[1]
    return os.pathsep.join([str(folder), str(root), os.environ.get("PYTHONPATH", "")])
