"""Writes a Keras model into less than two thirds of its bytes; Keras loads it as any other.

Of the 23 bits behind the point of each weight, the file keeps 14; what becomes zero takes no room
when the file's own compression (HDF5's shuffle and gzip) has passed over it. Weights of 16 bits
keep 10: the file would be a seventh smaller still, but probabilities move by up to 0.007 then.
Vectors (biases, the statistics of batch norms) stay as they are: they are small.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from keras_flowers.commands.exit import exit_with
from keras_flowers.errors import UserError
from keras_flowers.files import atomic_replace
from keras_flowers.system import load_keras
from keras_flowers.training.data import some_pixels
from keras_flowers.training.drawings import draw_pictures
from keras_flowers.training.run_directory import Run

WEIGHTS = "model.weights.h5"
KEPT_BITS = 14
"""Of the mantissa of each weight."""

MOST = 1e-3
"""How far a probability may move."""

EXAMPLES = """example:
  the Keras model of what ships, from the run that trained it
      python tools/shrink_keras.py runs/flowers102 saved_models/flowers102/model.keras
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = parser().parse_args(argv)
    run = Run.open(options.run)
    with atomic_replace(options.output) as temporary:
        # Under a name that Keras takes for a model.
        file = temporary.with_name(f"{temporary.name}.keras")
        file.write_bytes(shrunken(run.model_path.read_bytes()))
        difference, pictures = compare(run, file)
        if difference > MOST:
            file.unlink()
            raise UserError(
                f"a probability moves by {difference:.2g}, expected at most {MOST}: ship the model "
                "as it is"
            )
        file.replace(temporary)
    sizes = [path.stat().st_size / 1e6 for path in (run.model_path, options.output)]
    print(
        f"{options.output}: {sizes[1]:.1f} MB instead of {sizes[0]:.1f}; no probability of "
        f"{pictures} pictures moves by more than {difference:.2g}"
    )
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("run", metavar="RUN", type=Path, help="a finished run or a .keras file")
    options.add_argument("output", metavar="FILE", type=Path, help="the .keras file to write")
    return options


def shrunken(content: bytes) -> bytes:
    """The bytes of a `.keras` file with rounded matrices and kernels, from those of another."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for member in old.infolist():
            part = old.read(member)
            if member.filename == WEIGHTS:
                part = _shrunken_weights(part)
            # The time stamp of the old: the same model gives the same file, byte for byte.
            new.writestr(member, part, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _shrunken_weights(content: bytes) -> bytes:
    made = io.BytesIO()
    with h5py.File(io.BytesIO(content), "r") as old, h5py.File(made, "w") as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                if getattr(values, "ndim", 0) >= 2 and values.dtype == np.float32:
                    target = new.create_dataset(
                        name,
                        data=rounded(values),
                        shuffle=True,
                        compression="gzip",
                        compression_opts=9,
                    )
                else:
                    target = new.create_dataset(name, data=values)
            else:
                target = new.require_group(name)
            for key, value in item.attrs.items():
                target.attrs[key] = value

        old.visititems(copy)
        for key, value in old.attrs.items():
            new.attrs[key] = value
    return made.getvalue()


def rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest numbers whose last bits are zero.

    >>> rounded(np.float32([1 + 2**-14, 1 + 2**-15, 1 + 2**-16])) - 1
    array([6.1035156e-05, 6.1035156e-05, 0.0000000e+00], dtype=float32)
    """
    dropped = 23 - KEPT_BITS
    bits = np.ascontiguousarray(values).view(np.uint32)
    # Half of the last place that is kept; carrying over into the exponent is right, too.
    return ((bits + (1 << (dropped - 1))) >> dropped << dropped).view(np.float32)


def compare(run: Run, file: Path) -> tuple[float, int]:
    """By how much a probability of `file` differs at most from that of `run`, on how many pictures.

    They are drawings, and photos of the run's test split where these are at hand.
    """
    models = [load_keras(path) for path in (run.model_path, file)]
    size = (models[0].input_shape[1], models[0].input_shape[2])
    pictures = draw_pictures(size)[:32]
    try:
        photos = some_pixels(run.photos("test"), size[0], 96)
    except UserError as error:
        print(f"on drawings alone: {error}")
    else:
        pictures = np.concatenate([pictures, photos])
    answers = [
        model.predict(pictures.astype(np.float32), batch_size=32, verbose=0) for model in models
    ]
    return float(np.abs(answers[0] - answers[1]).max()), len(pictures)


if __name__ == "__main__":
    exit_with(main)
