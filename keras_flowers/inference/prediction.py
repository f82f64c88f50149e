"""The answer for one photo: names and probabilities, as a table, a line or a picture."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.inference.doubt import Answer, Doubt, answer
from keras_flowers.inference.image import Photo
from keras_flowers.inference.text import percent

if TYPE_CHECKING:
    from keras_flowers.inference.evidence import Evidence
    from keras_flowers.inference.similar import SimilarPhotos

Probabilities: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, repr=False, eq=False)
class Prediction:
    """The answer for one photo.

    `print` shows it as a table of the five likeliest names, a Jupyter notebook as the photo beside
    bars.

    Attributes:
        labels: The name of each class.
        probabilities: float32 [classes], sums to 1, in the order of `labels`: which it is, if it
            is one of them.
        photo: What was named, where it is at hand.
        explainer: Gives the evidence of a photo, where a classifier named it.
        comparer: Gives the training photos that it resembles most, and as many as are asked for.
        known: How likely the photo shows one of the classes at all, 0..1; None where the model
            does not say.
        doubt: Thresholds and groups of the model, where it has them.

    >>> import numpy as np
    >>> prediction = Prediction(("daisy", "rose"), np.array([0.2, 0.8], np.float32))
    >>> prediction
    <Prediction: rose 80.0%, daisy 20.0%>
    >>> print(prediction)
    rose    80.0%
    daisy   20.0%
    """

    labels: tuple[str, ...]
    probabilities: Probabilities
    photo: Photo | None = field(default=None)
    explainer: Callable[[Photo], Evidence] | None = field(default=None)
    comparer: Callable[[Photo, int], SimilarPhotos] | None = field(default=None)
    known: float | None = None
    doubt: Doubt | None = None

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What each place of the photo adds to each name; see `Classifier.explain`.

        Raises:
            UserError: The photo is not at hand: it was given as one of many arrays, or as pixels.

        >>> from keras_flowers import load_classifier
        >>> prediction = load_classifier().predict("docs/sunflower.jpg")
        >>> prediction.evidence.of(prediction.name).shape  # rows and columns of places
        (20, 20)
        """
        if self.photo is None or self.explainer is None:
            raise UserError(
                "the photo is not at hand any more; give it to the classifier's explain(), or "
                "predict() it by itself"
            )
        return self.explainer(self.photo)

    def similar(self, count: int = 5) -> SimilarPhotos:
        """The training photos that the photo resembles most; see `Classifier.similar`.

        Raises:
            UserError: The photo is not at hand any more, or the model has no index of its photos.
        """
        if self.photo is None or self.comparer is None:
            raise UserError(
                "the photo is not at hand any more; give it to the classifier's similar(), or "
                "predict() it by itself"
            )
        return self.comparer(self.photo, count)

    def explain(self) -> Evidence:
        """The same; a notebook shows it as a picture."""
        return self.evidence

    @property
    def name(self) -> str:
        """The likeliest flower's name."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """The likeliest flower's probability, 0..1."""
        return self.top(1)[0][1]

    @property
    def answer(self) -> Answer:
        """What is to be said: a name, two, a group of plants, or that it is none of these.

        >>> import numpy as np
        >>> from keras_flowers.inference.doubt import Doubt, Thresholds
        >>> doubt = Doubt(Thresholds(known=0.4, sure=0.7, group=0.9))
        >>> row = np.array([0.3, 0.6, 0.1], np.float32)
        >>> for known in (0.9, 0.1):
        ...     prediction = Prediction(("rose", "azalea", "lotus"), row, known=known, doubt=doubt)
        ...     print(prediction.answer)
        perhaps an azalea (60.0%) or a rose (30.0%)
        none of the 3 flowers this model knows; most like: azalea, rose, lotus
        """
        return answer(self.top(), self.known, self.doubt, self.labels, self.probabilities.tolist())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` likeliest names with their probabilities, the likeliest first."""
        # Stable: of two equal probabilities the class with the lower index comes first.
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def __str__(self) -> str:
        top, said = self.top(), self.answer
        width = max(len(name) for name, _ in top)
        head = [] if said.is_plain else [str(said)]
        return "\n".join([*head, *(f"{name:<{width}}  {percent(each):>6}" for name, each in top)])

    def __repr__(self) -> str:
        names = [f"{name} {percent(each)}" for name, each in self.top(3)]
        rest = f", ... of {len(self.labels)}" if len(self.labels) > len(names) else ""
        return f"<Prediction: {', '.join(names)}{rest}>"

    def _repr_png_(self) -> bytes | None:
        # Imported here: Matplotlib takes half a second to load.
        from keras_flowers.inference import chart

        return chart.png_of(
            self.photo, lambda photo: chart.draw_prediction(photo, self.top(), self.answer)
        )

    def _repr_html_(self) -> str | None:
        import html

        if self.photo is not None:
            return None  # notebooks would show it in place of the picture
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{percent(each)}</td></tr>"
            for name, each in self.top()
        )
        said = self.answer
        head = "" if said.is_plain else f"<p>{html.escape(str(said))}</p>"
        return f"{head}<table>{rows}</table>"
