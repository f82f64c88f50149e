"""The functional model: pixels 0..255 -> scaling -> pretrained base -> pooled maps -> softmax.

What is called features here are square roots of averages of feature maps; see `signed_sqrt`.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError, reason_of
from keras_flowers.inference import keras_insides
from keras_flowers.system import load_keras
from keras_flowers.training import efficientnet_lite
from keras_flowers.training.bases import BASES, LITE, file_of_base

INPUT = "pixels"
# By these names explanations find them.
POOLED, FEATURES, OUTPUT = keras_insides.POOLED, keras_insides.FEATURES, keras_insides.OUTPUT

LEAST_SIZE = 32
"""Height and width in pixels of the smallest photos that the bases of Keras take."""

DEPTHWISE_INPUTS = 5
"""How many feature maps are pooled for the head; chosen on validation."""

_SMALLEST = 1e-4  # of what `signed_sqrt` tells from 0; maps have values around 1

POOLING_WIDTH = 0.35
"""Standard deviation of the pooling weights, as a share of the map's side; chosen on validation."""


def build_model(
    base: str,
    image_size: int,
    classes: int,
    *,
    random_weights_for: npt.NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds the classifier; every layer of the base is frozen, batch norm in inference mode.

    All layers lie flat in one functional graph, so that it can be cut at any layer's output:
    see `split_at`.

    Args:
        base: A name in `bases.BASES`, or what `bases.file_of_base` finds a `.keras` file for: a
            classifier of ours, whose head is left out, or a feature extractor that takes pixels
            0..255 and gives feature maps.
        image_size: Height and width of the input in pixels.
        classes: How many labels there are.
        random_weights_for: None for the ImageNet weights (or a saved model's own); photos
            [N, image_size, image_size, 3] for random weights whose batch norms fit those photos.
        seed: Of random weights.

    Sets the global seeds of Python, NumPy and Keras, from which the first weights are drawn.

    Returns:
        A model float32 [N, image_size, image_size, 3] (named "pixels", RGB 0..255) ->
        float32 [N, classes] (named "probabilities").

    Raises:
        UserError: The base cannot take `image_size`, or its weights cannot be had or do not fit.
    """
    keras.utils.set_random_seed(seed)
    images = keras.Input((image_size, image_size, 3), name=INPUT)
    weights = "imagenet" if random_weights_for is None else None
    maps = _base_maps(base, images, weights)
    pooled = keras.layers.Concatenate(name=POOLED)([_pool(one) for one in maps])
    x = keras.layers.Identity(name=FEATURES)(signed_sqrt(pooled))
    x = keras.layers.Dense(classes, activation="softmax", name=OUTPUT)(x)
    try:
        model = keras.Model(images, x, name="flowers")
    except ValueError as error:  # two layers of one name, of which one comes with the base
        raise UserError(f"--base {base} cannot be built upon ({error})") from None
    _number_layers_from_zero(model)
    if random_weights_for is not None:
        recompute_batch_norm_statistics(model, random_weights_for)
    for layer in model.layers:
        layer.trainable = layer.name == OUTPUT
    return model


def _number_layers_from_zero(model: keras.Model) -> None:
    """Gives the layers without a name of their own those that they have in a fresh process.

    Keras numbers them through the process. The cache's key, a checkpoint's and the file of the
    model would otherwise depend on what was built before.
    """
    numbered: dict[str, list[tuple[int, Any]]] = {}
    for layer in model.operations:
        # As Keras makes a name of a class: `GlobalAveragePooling2D`, `global_average_pooling2d`.
        kind = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", kind).lower()
        match = re.fullmatch(rf"{kind}(?:_([0-9]+))?", layer.name)
        if match:
            numbered.setdefault(kind, []).append((int(match[1] or 0), layer))
    for kind, group in numbered.items():
        for number, (_, layer) in enumerate(sorted(group, key=lambda one: one[0])):
            layer.name = f"{kind}_{number}" if number else kind


def _pool(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Averages feature maps [N, h, w, channels] over their places, the middle counting more.

    Photographers put the flower there. The weights are a Gaussian of both coordinates.
    """
    height, width = maps.shape[1:3]
    rows, columns = (
        np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (POOLING_WIDTH * side)) ** 2)
        for side in (height, width)
    )
    weights = np.outer(rows, columns)[None, :, :, None]
    weights = (weights / weights.mean()).astype(np.float32)
    return keras.layers.GlobalAveragePooling2D()(keras.ops.multiply(maps, weights))


def signed_sqrt(pooled: keras.KerasTensor, *, signed: bool = True) -> keras.KerasTensor:
    """The signed square root: a feature that is four times as strong counts twice as much.

    Some maps answer strongly to some photos; without it they outvote all others. From Perronnin et
    al. 2010, "Improving the Fisher Kernel for Large-Scale Image Classification".

    Args:
        pooled: Averages of feature maps.
        signed: False where none is negative, as behind ReLU: the sign has no 8-bit kernel.
    """
    # The slope at 0 must be finite for the layers below to be trained.
    root = keras.ops.sqrt(keras.ops.abs(pooled) + _SMALLEST)
    # Without a jump at 0, on whose sides two engines may come to lie.
    return keras.ops.sign(pooled) * (root - _SMALLEST**0.5) if signed else root


def recompute_batch_norm_statistics(model: keras.Model, pixels: npt.NDArray[np.uint8]) -> None:
    """Takes the statistics of every batch norm from `pixels`.

    A deep network with random weights and the usual first statistics (mean 0, variance 1) lets
    signals fade to nothing; with fitting ones its features tell pictures apart.
    """
    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    momenta = [one.momentum for one in norms]
    for one in norms:
        one.momentum = 0.0  # the new statistics alone
    model(pixels.astype(np.float32), training=True)
    for one, momentum in zip(norms, momenta, strict=True):
        one.momentum = momentum


def split_at(model: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    """Cuts the model behind `layer` into the trunk below and the tail above.

    Both share their variables with `model`: when the tail has been trained on the trunk's output,
    the whole model is right without a copy of weights.

    Returns:
        trunk: pixels -> output of `layer`; tail: output of `layer` -> probabilities.

    Raises:
        UserError: There is no such layer, or others lead around it.
    """
    if layer not in [one.name for one in model.layers]:
        raise UserError(
            f"the model has no layer {layer!r}; among those it has are "
            + ", ".join(one.name for one in model.layers if isinstance(one, keras.layers.Add))
        )
    tensor = model.get_layer(layer).output
    try:
        return (
            keras.Model(model.inputs[0], tensor, name="trunk"),
            keras.Model(tensor, model.outputs[0], name="tail"),
        )
    except ValueError:
        raise UserError(
            f"the model cannot be cut behind {layer!r}, since other layers lead around it to the "
            "head; choose one nearer to the input, at the end of a block"
        ) from None


def build_head(tail: keras.Model, dropout: float, seed: int) -> keras.Model:
    """A head like that of `tail`, features [N, D] -> probabilities [N, C], that begins at zero.

    All classes are equally likely at first, so the first weights need no luck.
    """
    features = keras.Input(tail.input_shape[1:])
    x = keras.layers.Dropout(dropout, seed=seed)(features)
    dense = keras.layers.Dense(
        tail.output_shape[-1], "softmax", kernel_initializer="zeros", name=OUTPUT
    )
    return keras.Model(features, dense(x))


def logits_of(model: keras.Model) -> keras.Model:
    """The model without its softmax: pixels -> logits [N, classes]."""
    layer = model.get_layer(OUTPUT)
    logits = keras.layers.Dense(layer.units, name="logits")
    features = model.get_layer(FEATURES).output
    logits_model = keras.Model(model.inputs[0], logits(features), name="logits_model")
    logits.set_weights(layer.get_weights())
    return logits_model


def freeze_weights(model: keras.Model) -> Callable[[Any], Any]:
    """`model` as a function whose graph holds the weights as they are now, as constants.

    Args:
        model: pixels [N, H, W, 3] 0..255 -> anything.
    """
    weights = [
        [np.asarray(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    def run(pixels: Any) -> Any:
        outputs, _ = model.stateless_call(*weights, pixels, training=False)
        return outputs

    return run


def unfreeze_base(model: keras.Model) -> None:
    """Lets everything below the head be trained, and nothing else.

    The head stays as it was trained: the base comes to meet it. Batch norms stay in inference mode,
    since a few photos a class would spoil their statistics (keras#20285: they must not be
    trainable, `training=False` is not enough).
    """
    for layer in model.layers:
        fixed = isinstance(layer, keras.layers.BatchNormalization) or layer.name == OUTPUT
        layer.trainable = not fixed


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Folds temperature scaling into the last layer: softmax((x W + b) / temperature).

    One number, fitted on validation photos, calibrates the probabilities without changing which
    class is likeliest (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    """
    layer = model.get_layer(OUTPUT)
    layer.set_weights([weight / temperature for weight in layer.get_weights()])


def image_size_of(base: str) -> int:
    """The height and width in pixels that `base` was made for.

    Raises:
        UserError: `base` is a saved model that has no fixed square size.
    """
    if base in BASES:
        return BASES[base].image_size
    shape = _load_saved(base).input_shape
    if shape[1] is None or shape[1] != shape[2]:
        raise UserError(f"{base} takes photos of the shape {shape}; say --image_size")
    return int(shape[1])


def _base_maps(
    base: str, images: keras.KerasTensor, weights: str | None
) -> list[keras.KerasTensor]:
    """The feature maps of the base that the head sees, the deepest first.

    These are the expanded maps of the last inverted residual blocks, that is the inputs of the last
    depthwise convolutions. Pooled together they name flowers far better than the last map alone,
    which ImageNet's own classes have shaped (docs/recipe.md has the figures). A base without
    depthwise convolutions gives its last map. Of a classifier of ours they are those that it pools.
    """
    if base in BASES:
        network = _application(base, images, weights)
    else:
        saved = _load_saved(base)
        pooled = keras_insides.pooled_maps(saved)
        if pooled is not None:
            return list(_flat(base, keras.Model(saved.inputs[0], pooled), images).outputs)
        network = _flat(base, saved, images)
    if len(network.outputs) != 1 or len(network.outputs[0].shape) != 4:
        shapes = [tuple(output.shape) for output in network.outputs]
        raise UserError(f"--base {base} gives {shapes}; expected feature maps [N, h, w, channels]")
    depthwise = [one for one in network.layers if isinstance(one, keras.layers.DepthwiseConv2D)]
    return [one.input for one in reversed(depthwise[-DEPTHWISE_INPUTS:])] or network.outputs


def _application(base: str, images: keras.KerasTensor, weights: str | None) -> keras.Model:
    settings = BASES[base]
    x = images
    if not settings.scaled_inside:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scaling")(x)
    size = images.shape[1]
    # Keras says so in the documentation of each, and builds smaller ones without a word.
    if size < LEAST_SIZE:
        raise UserError(
            f"--base {base} cannot be built for {size} pixels; expected at least {LEAST_SIZE}"
        )
    if settings.function == LITE:
        return efficientnet_lite.build(
            pixels=x, pretrained=weights is not None, **settings.arguments
        )
    try:
        with warnings.catch_warnings():
            # MobileNet warns that it loads its 224-pixel weights at other sizes: that is meant.
            warnings.simplefilter("ignore", UserWarning)
            network: keras.Model = getattr(keras.applications, settings.function)(
                include_top=False, input_tensor=x, weights=weights, **settings.arguments
            )
    except Exception as error:
        reason = reason_of(error)
        if "URL fetch failure" in reason:
            raise UserError(
                f"the ImageNet weights of {base} are not in $KERAS_HOME/models or ~/.keras/models "
                "and cannot be downloaded; connect once, or see --demo, which needs none"
            ) from None
        raise UserError(f"--base {base} cannot be built for {size} pixels ({reason})") from None
    return network


def _flat(base: str, saved: keras.Model, images: keras.KerasTensor) -> keras.Model:
    """A clone on our own input: the layers come to lie flat in our graph, at any image size."""
    try:
        tensors = [images] if isinstance(saved.input, list) else images
        flat = keras.models.clone_model(saved, input_tensors=tensors)
        flat.set_weights(saved.get_weights())
    except Exception as error:
        reason = reason_of(error)
        raise UserError(
            f"--base {base} cannot take photos of {images.shape[1]} pixels, it was made for "
            f"{saved.input_shape[1]} ({reason})"
        ) from None
    return flat


def _load_saved(base: str) -> keras.Model:
    path = file_of_base(base)
    if not zipfile.is_zipfile(path):
        raise UserError(f"--base {base} is damaged or no .keras file; copy or save it again")
    model = load_keras(path)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise UserError(f"--base {base} takes {shape}; expected photos [N, height, width, 3]")
    return model
