"""The photos that the rows read: as files in a folder, or decoded and left at that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_flowers.system import available_cores
from tools.benchmark.measure import in_new_process
from tools.benchmark.task import DATASET, TRAIN_PHOTOS, Task

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_flowers.training.data import LabelledPhotos


def write_photos(task: Task, folder: str, count: int) -> list[str]:
    """Writes the first training photos as files, again and again until there are `count`."""
    from keras_flowers.system import import_tensorflow

    import_tensorflow()
    from keras_flowers.training import data

    photos = data.load_photos(DATASET, f"train[:{min(count, TRAIN_PHOTOS)}]", task.data_dir)
    contents = [content for _, content, _ in photos.records.as_numpy_iterator()]
    paths = [str(Path(folder, f"{number:05}.jpg")) for number in range(count)]
    for number, path in enumerate(paths):
        Path(path).write_bytes(contents[number % len(contents)])
    return paths


def write_folders(task: Task, folder: str, counts: Sequence[int]) -> list[Path]:
    """Folders in `folder`, each with so many photos as `write_photos` writes them."""
    places = [Path(folder, str(count)) for count in counts]
    for place, count in zip(places, counts, strict=True):
        place.mkdir()
        in_new_process(write_photos, task, str(place), count)
    return places


def decoding_alone(photos: LabelledPhotos, size: tuple[int, int] | None) -> Callable[[], None]:
    """A function that decodes all photos on all cores and leaves it at that.

    Args:
        photos: The photos.
        size: None to decode whole, as `tf.io.decode_jpeg` does by itself; or the height and width
            that shall be covered, for decoding as the package does.
    """
    import tensorflow as tf

    from keras_flowers.training import tf_image

    def decode(_: tf.Tensor, content: tf.Tensor, __: tf.Tensor) -> tf.Tensor:
        if size is None:
            return tf.size(tf.io.decode_jpeg(content, channels=3))
        return tf.size(tf_image.decode_jpeg(content, size))

    batches = photos.records.map(decode, num_parallel_calls=available_cores()).batch(64)

    def run() -> None:
        for _ in batches:
            pass

    return run
