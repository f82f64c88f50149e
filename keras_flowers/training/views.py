"""How a photo is shown to the network, by number, and what makes each random view its own."""

from __future__ import annotations

from typing import Final


class View:
    """A way to show a photo to the network; its number is part of the cache's key."""

    FULL: Final = 0
    """What prediction sees: all of the photo, squashed, nothing changed."""

    FLIPPED: Final = 1
    """The full view with left and right exchanged."""

    COUNT: Final = 1000
    """How many views a seed has: with more, its last would be the first of the next seed."""

    RANDOM_COUNT: Final = COUNT // 2
    """How many of them are random crops."""

    FIELD_COUNT: Final = COUNT // 2 - 2
    """How many of them are as in the field."""

    @staticmethod
    def random(index: int) -> int:
        """The random crop `index`, 0 to `RANDOM_COUNT` - 1."""
        return 2 + index

    @staticmethod
    def field(index: int) -> int:
        """The view as in the field `index`, 0 to `FIELD_COUNT` - 1; see `field_views.py`."""
        return 2 + View.RANDOM_COUNT + index

    @staticmethod
    def field_index(view: int) -> int | None:
        """Which view as in the field `view` is; None: another kind of view."""
        return view - View.field(0) if view >= View.field(0) else None

    @staticmethod
    def is_random(view: int) -> bool:
        """Whether `view` is none of the two that show the photo as it is: it has a seed."""
        return view >= View.random(0)


LARGEST_SEED: Final = 2**20 - 1
"""Of a run: `seed_of` any view of it is an int32, as TensorFlow's stateless functions take it."""


def seed_of(seed: int, view: int) -> int:
    """A number that no other view of no other seed has.

    >>> seed_of(1, View.FULL), seed_of(1, View.random(0))
    (1000, 1002)
    >>> seed_of(LARGEST_SEED, View.COUNT - 1) < 2**31
    True
    """
    return seed * View.COUNT + view
