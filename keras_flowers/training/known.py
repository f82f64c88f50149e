"""The part of the graph that says how likely a photo shows one of the model's classes at all.

It is a last class, "none of these", whose probability is 1 - known; those of the others are
multiplied by known, so that all add up to 1. Whoever reads the file, with whatever code, gets it
without knowing of it. docs/doubt.md says how the score was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.training.model import FEATURES, OUTPUT

Array: TypeAlias = npt.NDArray[np.float32]

TOP = 5
"""How many of the largest logits the score sees."""

DISTANCE = -2
"""The place of the distance in the evidence."""

KNOWN = "known"
STRANGERS = "strangers"
STANDARDISED = "standardised"

_ANSWERS = "answers"
_FAR = 1e4  # deviations


@dataclass(frozen=True)
class KnownScore:
    """What `known` is computed from, besides the logits of the model.

    known = sigmoid(weights . evidence + bias), where the evidence is: the largest logits in their
    order (`TOP` of them, fewer where there are fewer classes), the mean of all logits, their
    standard deviation, the mean of |x - mean| / deviation over the features x, and the largest of
    x . kernel + offset.

    Attributes:
        mean: float32 [D], of the features of the training photos.
        deviation: float32 [D], theirs, above 0.
        kernel: float32 [D, K]: columns that answer to photos of none of the classes.
        offset: float32 [K].
        weights: float32 [evidence].
        bias: Of the score.
    """

    mean: Array
    deviation: Array
    kernel: Array
    offset: Array
    weights: Array
    bias: float

    @property
    def levelled_columns(self) -> tuple[Array, Array]:
        """`kernel` and `offset` as they are for features with mean 0 and deviation 1."""
        return self.kernel * self.deviation[:, None], self.offset + self.mean @ self.kernel

    def evidence(self, logits: Array, features: Array) -> Array:
        """What the score weighs, as the graph computes it, in NumPy.

        Args:
            logits: float32 [N, C].
            features: float32 [N, D].

        Returns:
            float32 [N, evidence].
        """
        top = -np.sort(-logits, axis=1)[:, :TOP]
        distance = np.abs((features - self.mean) / self.deviation).mean(axis=1)
        strange = (features @ self.kernel + self.offset).max(axis=1)
        return np.column_stack([top, logits.mean(axis=1), logits.std(axis=1), distance, strange])


def with_known(model: keras.Model, score: KnownScore) -> keras.Model:
    """`model` with a last class for photos of none of the classes.

    Args:
        model: pixels -> probabilities [N, C], as `model.build_model` makes it, or with such a class
            already, which is replaced.
        score: The score.

    Returns:
        pixels -> probabilities [N, C + 1]; it shares the variables below the head with `model`.
    """
    features = model.get_layer(FEATURES).output
    weights = model.get_layer(OUTPUT).get_weights()
    # No softmax in it: the score needs the logits.
    dense = keras.layers.Dense(weights[0].shape[1], name=OUTPUT)
    logits = dense(features)
    norm = keras.layers.BatchNormalization(
        scale=False, center=False, epsilon=0.0, trainable=False, name=STANDARDISED
    )
    strangers = keras.layers.Dense(score.kernel.shape[1], name=STRANGERS)
    standardised = norm(features)
    # Of features as they are, offsets would be so large that 16 bits cannot hold them; without an
    # operation between, which changes nothing, the converter would make such of them again.
    near = keras.ops.maximum(standardised, -_FAR)
    near._keras_history.operation.name = "known_near"
    answers, known = answer_layers(logits, standardised, strangers(near), score)
    result = keras.Model(model.inputs[0], answers, name="flowers")
    dense.set_weights(weights)
    norm.set_weights([score.mean, score.deviation**2])
    strangers.set_weights(score.levelled_columns)
    known.set_weights([score.weights[:, None], np.array([score.bias], np.float32)])
    return result


def without_known(model: keras.Model) -> keras.Model:
    """The model as it was before `with_known`: pixels -> probabilities [N, C]."""
    if not has_known(model):
        return model
    layer = model.get_layer(OUTPUT)
    head = keras.layers.Dense(layer.units, activation="softmax", name=OUTPUT)
    plain = keras.Model(model.inputs[0], head(model.get_layer(FEATURES).output), name="flowers")
    head.set_weights(layer.get_weights())
    return plain


def has_known(model: keras.Model) -> bool:
    """Whether the last class of `model` is "none of these"."""
    return any(layer.name == KNOWN for layer in model.layers)


def score_in(model: keras.Model) -> KnownScore:
    """The score that `with_known` put into a model."""
    mean, variance = model.get_layer(STANDARDISED).get_weights()
    deviation = np.sqrt(variance)
    strangers = model.get_layer(STRANGERS)
    kernel, offset = strangers.get_weights()
    if strangers.input is not model.get_layer(FEATURES).output:  # as it is in the first models
        kernel = kernel / deviation[:, None]
        offset = offset - mean @ kernel
    weights, (bias,) = model.get_layer(KNOWN).get_weights()
    return KnownScore(mean, deviation, kernel, offset, weights[:, 0], float(bias))


def answer_layers(
    logits: keras.KerasTensor,
    standardised: keras.KerasTensor,
    strangers: keras.KerasTensor,
    score: KnownScore,
    *,
    louder: float | None = None,
) -> tuple[keras.KerasTensor, keras.layers.Layer]:
    """The end of the graph.

    Args:
        logits: [N, C].
        standardised: [N, D], the features with mean 0 and deviation 1.
        strangers: [N, K].
        score: Its number of weights; the weights themselves are set afterwards.
        louder: By which the distance in the evidence is multiplied; None: not at all.

    Returns:
        The probabilities [N, C + 1], and the layer that takes the weights and the bias.
    """
    ops = keras.ops
    classes = logits.shape[-1]
    top = ops.top_k(logits, min(TOP, classes))[0]
    mean = ops.mean(logits, axis=-1, keepdims=True)
    rest = ops.subtract(logits, mean)
    squares = ops.square(rest)
    variance = ops.mean(squares, axis=-1, keepdims=True)
    deviation = ops.sqrt(variance)
    sizes = ops.abs(standardised)
    distance = ops.mean(sizes, axis=-1, keepdims=True)
    weighed = distance if louder is None else ops.multiply(distance, louder)
    strange = ops.max(strangers, axis=-1, keepdims=True)
    evidence = keras.layers.Concatenate(name="evidence")([top, mean, deviation, weighed, strange])
    known = keras.layers.Dense(1, activation="sigmoid", name=KNOWN)
    share = known(evidence)
    assert evidence.shape[-1] == len(score.weights)
    named = ops.multiply(keras.layers.Softmax(name="classes")(logits), share)
    none = ops.subtract(1.0, share)
    made = (top, mean, rest, squares, variance, deviation, sizes, distance, strange, named, none)
    for number, tensor in enumerate(made):
        # Keras would name them as those of a model that was loaded are named already.
        tensor._keras_history.operation.name = f"known_{number}"
    return keras.layers.Concatenate(name=_ANSWERS)([named, none]), known
