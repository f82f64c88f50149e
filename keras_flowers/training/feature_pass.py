"""A pass of a frozen network over views of photos, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training import data
from keras_flowers.training.batches import PredictFn
from keras_flowers.training.data import LabelledPhotos
from keras_flowers.training.devices import gpus


def run_views(
    photos: LabelledPhotos,
    views: Sequence[int],
    size: tuple[int, int],
    engine: Callable[[], PredictFn],
    *,
    seed: int,
    mixup: bool = False,
    threads: int | None = None,
) -> Iterator[tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]]:
    """Features float16 [B, V, ...] and labels int64 [B] of V views, in stored order.

    Args:
        photos: As `data.pixels_of_views` takes them, and the other settings too.
        views: Which views.
        size: Height and width of the network's input.
        engine: Gives what makes pixels uint8 [N, H, W, 3] to features [N, ...].
        seed: Of the random views.
        mixup: Whether other photos are laid over them.
        threads: How many decode; None: one for each core.

    Raises:
        UserError: A feature is not a finite number.
    """
    batches = data.pixels_of_views(
        photos,
        size,
        views,
        seed=seed,
        batch_size=photos_at_a_time(size, len(views)),
        mixup=mixup,
        threads=threads,
    ).as_numpy_iterator()  # decodes while the engine is being made
    run = engine()
    for batch, labels in batches:
        pictures = batch.reshape(-1, *batch.shape[2:])
        features = np.asarray(run(pictures)).astype(np.float16)
        if not np.isfinite(features).all():
            raise UserError(
                "the base gives features that are not finite numbers; expected moderate values "
                "for pixels 0..255: check --base"
            )
        yield features.reshape(*batch.shape[:2], *features.shape[1:]), labels


def photos_at_a_time(size: tuple[int, int], views: int) -> int:
    """How many photos are run together, each in some views: 20 MiB of pixels, for each GPU.

    With fewer the cores wait for each other more often; more would not be faster.

    >>> photos_at_a_time((224, 224), 4)
    34
    """
    height, width = size
    return max((20 << 20) * max(len(gpus()), 1) // (height * width * 3 * views), 1)
