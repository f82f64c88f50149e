"""What an exported file says about itself: its variant, and the model's origin in sentences."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_flowers.inference.metadata import Metadata


def with_variant(metadata: Metadata, variant: str, facts: dict[str, Any] | None = None) -> Metadata:
    """The metadata of the Keras model as an exported file carries it.

    Args:
        metadata: Of the Keras model.
        variant: What the file is, such as `TFLite int8`.
        facts: What else its provenance says, JSON-ready.
    """
    provenance = {**metadata.provenance, "variant": variant, **(facts or {})}
    return dataclasses.replace(metadata, provenance=provenance)


def describe(metadata: Metadata) -> str:
    """What the model does, was trained on, and how well it does, in a few sentences."""
    facts = metadata.provenance
    trained = facts.get("trained_on", {})
    height, width = metadata.image_size or ("?", "?")
    sentences = [
        f"Names {len(metadata.labels)} kinds of flowers in a photo",
        " ".join(
            (
                f"{facts.get('base', 'A network')}",
                f"trained on {trained.get('photos', '?')} photos",
                f"of {facts.get('dataset', 'a data set')}, split {trained.get('split', '?')}",
            )
        ),
        *(
            f"Right for {scores['top1']['value']:.1%} of {scores['photos']} photos of the split "
            f"{split}, as a Keras model"
            for split, scores in facts.get("scores", {}).items()
        ),
        f"Takes the whole photo squashed to {width} x {height} pixels, RGB 0..255",
        f"This file: {facts.get('variant', 'Keras')}",
    ]
    return ". ".join(sentences) + "."
