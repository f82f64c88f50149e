"""A classifier of 102 flowers: train, evaluate, export and predict.

Reading order, from a photo to its name:

    labels.py      the names of the flowers
    image.py       photo file -> pixels
    exif.py        when and where a photo was taken
    metadata.py    the labels and the provenance inside every model file
    litert.py      runs a TFLite file on all cores
    classifier.py  pixels -> probabilities and names, from any model file
    chart.py       the picture of a prediction; learning curves; confusion matrix
    camera.py      photos from a Raspberry Pi camera or a webcam
    predict.py     python -m keras_flowers.predict       (no TensorFlow up to here)

    errors.py      what is wrong with the input, in one line for people
    cli.py         how every command ends: its exit codes, its last line
    files.py       writes a file whole or not at all
    backend.py     imports TensorFlow silently

    config.py      every training option, its default and its reason
    presets.py     the recipes behind the README's table
    bases.py       the pretrained networks, with their native image size and scaling
    tf_image.py    the rule of image.py as TensorFlow operations
    data.py        TFDS records -> tf.data of pixels and labels
    model.py       scaling -> base -> pooled maps -> softmax head
    demo.py        a small drawn data set, for where nothing can be downloaded
    features.py    runs the frozen part once a photo and view, keeps what it gives
    whitening.py   coordinates in which a head learns from few photos
    fit.py         trains what stands on kept features
    fine_tune.py   trains the base, too: on labels, or as a teacher answers
    metrics.py     accuracies with their intervals, calibration, confusions
    train.py       python -m keras_flowers.train
    evaluate.py    python -m keras_flowers.evaluate
    tflite.py      Keras model -> the bytes of a TFLite file
    quantise.py    Keras model -> TFLite of 8 bits
    tflite_metadata.py  what MediaPipe and other clients read in a TFLite file
    export.py      Keras model -> SavedModel, TFLite files
    verify.py      the same photos through every version: do they agree?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["load_classifier"]

if TYPE_CHECKING:
    from keras_flowers.inference.classifier import load_classifier


def __getattr__(name: str) -> Any:
    # Imported on first use (PEP 562): `import keras_flowers` stays instant.
    if name == "load_classifier":
        from keras_flowers.inference.classifier import load_classifier

        return load_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
