"""A classifier of 102 flowers: train, evaluate, export and predict.

Reading order, from a photo to its name; arrows of import run down only:

    labels.py      the names of the flowers
    image.py       photo file -> pixels
    metadata.py    the labels and the provenance inside every model file
    classifier.py  pixels -> probabilities and names, from any model file
    chart.py       the picture of a prediction; learning curves; confusion matrix
    predict.py     python -m keras_flowers.predict       (no TensorFlow up to here)

    config.py      every training option, its default and its reason
    data.py        TFDS records -> tf.data of pixels and labels
    demo.py        a small drawn data set, for where nothing can be downloaded
    bases.py       the pretrained networks, with their native image size and scaling
    model.py       scaling -> base -> pooled features -> softmax head
    features.py    runs the frozen part once a photo and view, keeps what it gives
    train.py       python -m keras_flowers.train
    metrics.py     accuracies with their intervals, calibration, confusions
    evaluate.py    python -m keras_flowers.evaluate
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load_classifier"]

if TYPE_CHECKING:
    from keras_flowers.classifier import load_classifier


def __getattr__(name: str) -> Any:
    # Imported on first use (PEP 562): `import keras_flowers` stays instant.
    if name == "load_classifier":
        from keras_flowers.classifier import load_classifier

        return load_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
