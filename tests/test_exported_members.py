"""The public API: these names, documented, and nothing imported before it is used."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_flowers

PUBLIC = [
    "Classifier",
    "Prediction",
    "TrainConfig",
    "UserError",
    "evaluate_model",
    "export_model",
    "load_classifier",
    "report_run",
    "train_model",
    "verify_model",
]


def test_public_names_are_these() -> None:
    assert keras_flowers.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(keras_flowers))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there_and_documented(name: str) -> None:
    member = getattr(keras_flowers, name)
    assert member.__name__ == name
    text = inspect.getdoc(member)
    assert text is not None and len(text.splitlines()[0]) > 20
    if inspect.isfunction(member):
        signature = inspect.signature(member)
        assert signature.return_annotation is not inspect.Signature.empty
        assert "Raises:" in text
        for parameter in signature.parameters:
            assert re.search(rf"^ +{parameter}:|`{parameter}`", text, re.MULTILINE), parameter


def test_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'grow'"):
        keras_flowers.grow  # noqa: B018


def test_type_checkers_see_every_name() -> None:
    source = inspect.getsource(keras_flowers)
    for name in PUBLIC:
        assert re.search(rf"import {name} as {name}\b", source), name


def test_naming_what_is_public_loads_no_tensorflow() -> None:
    names = ", ".join(PUBLIC)
    code = f"import sys; from keras_flowers import {names}; assert 'tensorflow' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(keras_flowers.__file__).parents[1])},
    )
