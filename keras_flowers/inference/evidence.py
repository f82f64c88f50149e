"""Why a photo got its name: what each of its places adds to the logit of each class.

The features of the network are averages of maps, and a logit is a weighted sum of features. So a
logit can be split exactly into what the places of the photo add: class activation maps, after Zhou
et al. 2016, "Learning Deep Features for Discriminative Localization". Of a network that is built in
another way, the places are grayed out one after the other instead: Zeiler and Fergus 2014,
"Visualizing and Understanding Convolutional Networks".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import Answer
from keras_flowers.inference.image import Photo
from keras_flowers.inference.insides import Parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

PredictFn: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]

EXACT: Final = "exact"
OCCLUSION: Final = "occlusion"

_OCCLUDED_SIDE = 10
"""Rows and columns of places that are grayed out one after the other: a hundred answers, two
seconds with the model that ships."""

_MOST_PLACES = 64  # on a side; of larger maps several places are shown as one


@dataclass(frozen=True, repr=False, eq=False)
class Evidence:
    """What each place of a photo adds to the logit of each class.

    A notebook shows it as the photo, the bars, and the places that speak for and against the two
    likeliest names.

    Attributes:
        labels: The name of each class.
        probabilities: float32 [classes].
        places: float64 [classes, rows, columns], what each place of the photo adds. Rows and
            columns divide the whole photo evenly.
        constant: float64 [classes], what every photo gets: the bias.
        method: `exact`: the places and the constant add up to the logit. `occlusion`: what the
            logarithm of the probability loses when the place is grayed out, which adds up to
            nothing in particular.
        photo: What is explained, where it is at hand.

    >>> import numpy as np
    >>> evidence = Evidence(
    ...     labels=("daisy", "rose"),
    ...     probabilities=np.float32([0.1, 0.9]),
    ...     places=np.array([[[0.5, 0.0]], [[2.0, 1.0]]]),
    ...     constant=np.array([0.3, -0.1]),
    ... )
    >>> evidence
    <Evidence for rose of 1 x 2 places, exact>
    >>> evidence.logits
    array([0.8, 2.9])
    >>> evidence.of("rose")  # above the mean of both, the constant spread over both places
    array([[0.65, 0.4 ]])
    """

    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    places: npt.NDArray[np.float64]
    constant: npt.NDArray[np.float64]
    method: str = EXACT
    photo: Photo | None = field(default=None)

    @property
    def is_exact(self) -> bool:
        """Whether it adds up to the logits; otherwise places were grayed out."""
        return self.method == EXACT

    @property
    def logits(self) -> npt.NDArray[np.float64]:
        """What the places and the constant add up to: float64 [classes]."""
        return np.asarray(self.places.sum(axis=(1, 2)) + self.constant)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` likeliest names with their probabilities, the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def of(self, name: str) -> npt.NDArray[np.float64]:
        """What each place says for a name, and not for flowers as a whole: [rows, columns].

        Softmax sees only by how much a logit is above the others. So this is the evidence above
        the mean of all classes. The constant, which offsets what the places of an average photo
        add wherever in it they lie, is spread evenly over the places.

        Raises:
            UserError: The model has no such name.
        """
        if name not in self.labels:
            raise UserError(f"{name!r} is not a name of this model; expected one of its labels")
        number = self.labels.index(name)
        above = self.places[number] - self.places.mean(axis=0)
        constant = self.constant[number] - self.constant.mean()
        return np.asarray(above + constant / above.size)

    def draw(self, photo: Image.Image, bars: int = 5, answer: Answer | None = None) -> Figure:
        """Draws the photo and its names, and below where the first two of them come from.

        Args:
            photo: The same, in mode "RGB", at any size.
            bars: How many names get a bar.
            answer: What is said of it (`Prediction.answer`); None: the likeliest name.
        """
        from keras_flowers.inference import chart  # which loads Matplotlib

        places = {name: self.of(name) for name, _ in self.top(2)}
        return chart.draw_evidence(photo, self.top(bars), places, answer, exact=self.is_exact)

    def __repr__(self) -> str:
        rows, columns = self.places.shape[1:]
        return f"<Evidence for {self.top(1)[0][0]} of {rows} x {columns} places, {self.method}>"

    def _repr_png_(self) -> bytes | None:
        # Imported here: Matplotlib takes half a second to load.
        from keras_flowers.inference import chart

        return chart.png_of(self.photo, self.draw)


def split_logits(parts: Parts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Splits the logits of a photo exactly into what its places add, and a constant.

    Each feature is divided among the places as its map is: a place that has a tenth of the sum of a
    map adds a tenth of what the feature adds.

    Returns:
        float64 [C, rows, columns] and [C]: the places of the finest maps, and the constant.
    """
    kernel = np.asarray(parts.kernel, np.float64)
    raised = np.asarray(parts.features, np.float64) - parts.at_rest
    constant = np.asarray(parts.at_rest @ kernel + parts.bias, np.float64)
    maps = [np.asarray(one, np.float64) for one in parts.maps]
    rows = min(max(len(one) for one in maps), _MOST_PLACES)
    columns = min(max(one.shape[1] for one in maps), _MOST_PLACES)
    places = np.zeros((len(constant), rows, columns))
    start = 0
    for one in maps:
        height, width, channels = one.shape
        those = slice(start, start + channels)
        sums = one.sum(axis=(0, 1))
        # Of a map that is 0 everywhere the feature is at rest, too, but for what 8 bits round.
        empty = sums == 0
        constant += raised[those][empty] @ kernel[those][empty]
        slopes = np.divide(raised[those], sums, out=np.zeros_like(sums), where=~empty)
        added = np.tensordot(one, kernel[those] * slopes[:, None], axes=1)
        down, across = _shares(rows, height), _shares(columns, width)
        places += np.einsum("rh,hwc,kw->crk", down, added, across, optimize=True)
        start += channels
    return places, constant


def _shares(target: int, source: int) -> npt.NDArray[np.float64]:
    """How much of each of `source` equal pieces of a line lies in each of `target` ones.

    >>> _shares(4, 2)
    array([[0.5, 0. ],
           [0.5, 0. ],
           [0. , 0.5],
           [0. , 0.5]])
    """
    edges = np.arange(target + 1) * (source / target)
    starts = np.arange(source)
    low, high = np.maximum(edges[:-1, None], starts), np.minimum(edges[1:, None], starts + 1)
    return np.asarray(np.maximum(high - low, 0.0))


def gray_out(pixels: npt.NDArray[np.uint8], places: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """A photo with some of its places in the photo's own mean colour.

    Args:
        pixels: uint8 [H, W, 3].
        places: bool [rows, columns], which divide the photo evenly; True where it is grayed out.
    """
    height, width, _ = pixels.shape
    rows = np.arange(height) * places.shape[0] // height
    columns = np.arange(width) * places.shape[1] // width
    covered = places[rows][:, columns]
    grayed = pixels.copy()
    grayed[covered] = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    return grayed


def occlude(
    probabilities: PredictFn, pixels: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What the logarithm of each probability loses when a place is grayed out.

    It needs nothing of a model but its answers, and a hundred of them.

    Args:
        probabilities: pixels [N, H, W, 3] -> float32 [N, classes].
        pixels: uint8 [H, W, 3].

    Returns:
        float64 [classes, 10, 10], and [classes]: the logarithms of the probabilities less the sum.
    """
    side = _OCCLUDED_SIDE
    losses = []
    (whole,) = _logarithms(probabilities(pixels[None]))
    for row in range(side):
        covered = np.zeros((side, side, side), np.bool_)
        covered[np.arange(side), row, np.arange(side)] = True
        grayed = np.stack([gray_out(pixels, one) for one in covered])
        losses.append(whole - _logarithms(probabilities(grayed)))
    places = np.moveaxis(np.stack(losses), -1, 0)
    return places, whole - places.sum(axis=(1, 2))


def _logarithms(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    # A quantised model rounds small ones to 0; half of its smallest step.
    return np.asarray(np.log(np.maximum(probabilities.astype(np.float64), 1 / 512)))
