"""What a Keras classifier has computed on the way from a photo to its logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_flowers.inference.insides import Insides, Padding, Parts

POOLED, FEATURES, OUTPUT = "pooled", "features", "probabilities"
"""The layers of our models, by name: `training.model` builds them."""


def insides_of_keras(model: Any) -> Insides | None:
    """What a Keras model computes; None for one that is built in another way.

    Args:
        model: pixels [N, H, W, 3] -> probabilities; a functional model of Keras.
    """
    maps = _weighted_maps(model)
    if maps is None:
        return None
    import keras

    paddings = [_padding(one) for one in maps]
    below = keras.Model(model.inputs[0], [*maps, model.get_layer(FEATURES).output])
    head = model.get_layer(OUTPUT)

    trunk = keras.Model(model.inputs[0], model.get_layer(FEATURES).output)

    def features(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(trunk.predict_on_batch(pixels.astype(np.float32)))

    def parts(pixels: npt.NDArray[Any]) -> Parts:
        *weighted, seen = below.predict_on_batch(pixels.astype(np.float32))
        kernel, bias = head.get_weights()
        at_rest = np.zeros(len(kernel), np.float32)  # the square root begins at 0
        places = [
            padding.cut_off(np.asarray(one)[0])
            for padding, one in zip(paddings, weighted, strict=True)
        ]
        return Parts(places, np.asarray(seen)[0], at_rest, kernel, bias)

    return Insides(parts, features)


def pooled_maps(model: Any) -> list[Any] | None:
    """The feature maps that a Keras model pools, as tensors of its graph, the deepest first.

    Returns:
        Maps [N, h, w, channels], padding included; None for a model that is built in another way.
    """
    weighted = _weighted_maps(model)
    return None if weighted is None else [_unweighted(one) for one in weighted]


def _weighted_maps(model: Any) -> list[Any] | None:
    """The maps as they are averaged: multiplied by the weights of their places."""
    names = {layer.name for layer in getattr(model, "layers", ())}
    if not {POOLED, FEATURES, OUTPUT} <= names:
        return None
    import keras

    pooled = model.get_layer(POOLED).input
    poolings = [_made_by(one) for one in (pooled if isinstance(pooled, list) else [pooled])]
    if not all(isinstance(one, keras.layers.GlobalAveragePooling2D) for one in poolings):
        return None
    return [one.input for one in poolings]


def _unweighted(weighted: Any) -> Any:
    """Maps before they were multiplied by the weights of their places."""
    import keras

    multiplied = _made_by(weighted)
    tensors = multiplied.input if not isinstance(multiplied, keras.layers.InputLayer) else weighted
    return tensors[0] if isinstance(tensors, list) else tensors


def _padding(weighted: Any) -> Padding:
    """What was put around maps before they were multiplied by the weights of their places."""
    import keras

    layer = _made_by(_unweighted(weighted))
    if not isinstance(layer, keras.layers.ZeroPadding2D):
        return Padding()
    (top, bottom), (left, right) = layer.padding
    return Padding(top, bottom, left, right)


def _made_by(tensor: Any) -> Any:
    operation, *_ = tensor._keras_history
    return operation
