"""Makes one set of photos of several sources: maps labels, looks into photos, divides them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_flowers.errors import UserError
from keras_flowers.training.sources import splits as splitting
from keras_flowers.training.sources.duplicates import group_duplicates
from keras_flowers.training.sources.inspection import Inspection, inspect_split, joined
from keras_flowers.training.sources.label_map import LEAVE_OUT, map_labels
from keras_flowers.training.sources.left_out import LeftOut, check_unreadable
from keras_flowers.training.sources.photo_set import PhotoSet, Piece
from keras_flowers.training.sources.source import SPLITS, UNKNOWN, Source

_logger = logging.getLogger(__name__)


@dataclass
class _Rows:
    """All photos while they are being divided, one row each; see `PhotoSet`.

    Attributes:
        names: What each is called here: a class, `unknown` or `-`.
        groups: What belongs together; None where no source says.
        reasons: Why rows are left out.
    """

    sources: Sequence[Source]
    pieces: Sequence[Piece]
    piece_of: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.intp]
    found: Inspection
    names: npt.NDArray[np.str_]
    groups: Sequence[str] | None
    sides: npt.NDArray[np.str_]
    reasons: dict[int, str]

    @property
    def source_of(self) -> npt.NDArray[np.intp]:
        """int [N], the source of each."""
        return np.array([piece.source for piece in self.pieces], np.intp)[self.piece_of]

    def left_out(self) -> list[LeftOut]:
        """What is left out, in the order of the sources."""
        places = [piece.photos.places for piece in self.pieces]
        return [
            LeftOut(
                self.sources[self.pieces[self.piece_of[row]].source].name,
                str(self.names[row]),
                places[self.piece_of[row]][self.numbers[row]],
                self.reasons[row],
            )
            for row in sorted(self.reasons)
        ]

    def leave_out(self, reasons: Mapping[int, str]) -> None:
        """Takes photos out of their split."""
        self.reasons.update(reasons)
        self.sides[list(reasons)] = ""


def join_sources(
    sources: Sequence[Source],
    label_maps: Sequence[Mapping[str, str]],
    *,
    cache_dir: Path | None = None,
    strict: bool = False,
    earlier: Mapping[bytes, str] | None = None,
    labels: tuple[str, ...] | None = None,
    new_labels: bool = False,
    divide: bool = True,
) -> PhotoSet:
    """Looks into all photos of some sources, and divides those that come without splits.

    Args:
        sources: The first decides which classes there are, and in which order.
        label_maps: For each source, as `label_map.read_label_map` returns it.
        cache_dir: Where what is found in photos is kept; None: nowhere.
        strict: Whether one unreadable photo is too many.
        earlier: The side of photos that were divided before, as `read_division` returns it.
        labels: The classes of a model that is there already; None: those of the sources.
        new_labels: Whether the sources may add to `labels`; there are photos to learn each of all
            classes from then.
        divide: Whether sources without splits are divided; else all is in the split `photos`.

    Raises:
        UserError: Labels do not fit, too many photos cannot be read, or too few are left.
    """
    ours, maps = _map_all(sources, label_maps, labels, new_labels)
    brought = [set(source.counts) & set(SPLITS) for source in sources]
    to_divide = [divide and splits != set(SPLITS) for splits in brought]
    # Near duplicates of photos that stay where they are need not be known.
    rows = _look(sources, maps, cache_dir, with_looks=any(to_divide))
    _leave_out_unreadable(rows, strict)
    rows.sides[rows.names == LEAVE_OUT] = ""
    rows.sides[(rows.names == UNKNOWN) & (rows.sides != "")] = UNKNOWN
    rows.leave_out(_unknown_no_more(rows))
    for number, source in enumerate(sources):
        if not to_divide[number]:
            continue
        own = (rows.source_of == number) & ~np.isin(rows.sides, ("", UNKNOWN))
        if number and not brought[number] and brought[0] == set(SPLITS):
            # The first source's validation and test photos are what results are compared on; of a
            # class that is not among them, nobody would know how well it is named.
            scored = np.unique(rows.names[np.isin(rows.sides, ("validation", "test"))])
            new = own & ~np.isin(rows.names, scored)
            if new.any():
                _divide(rows, new, set(), source.name, earlier)
            _only_learn_from(rows, own & (~new | (rows.sides == "train")), source.name)
        else:
            _divide(rows, own, brought[number], source.name, earlier)
    place_of = {name: number for number, name in enumerate(ours)}
    made = PhotoSet(
        name=" + ".join(source.name for source in sources),
        labels=ours,
        pieces=rows.pieces,
        source_names=[source.name for source in sources],
        piece_of=rows.piece_of,
        numbers=rows.numbers,
        found=rows.found,
        label_numbers=np.array([place_of.get(name, -1) for name in rows.names.tolist()], np.int64),
        sides=rows.sides,
        left_out=tuple(rows.left_out()),
    )
    if labels is None or new_labels:
        _refuse_too_few(made, labels or ())
    return made


def _map_all(
    sources: Sequence[Source],
    label_maps: Sequence[Mapping[str, str]],
    labels: tuple[str, ...] | None,
    new_labels: bool,
) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Our classes, and for each source what its labels are here."""
    ours = list(labels or ())
    maps = []
    for number, (source, label_map) in enumerate(zip(sources, label_maps, strict=True)):
        known = ours
        if number == 0 and labels is None:
            # The first source's own names are ours, where the map says nothing else.
            known = [label_map.get(name, name) for name in source.labels]
        elif new_labels:
            # A name that differs from one of ours in capitals alone is ours; any other is new.
            known = [*source.labels, *ours]
        mapped = map_labels(source.labels, known, label_map, source.name)
        maps.append(mapped)
        new = [name for name in mapped.values() if name not in (LEAVE_OUT, UNKNOWN, *ours)]
        if new and labels is not None and not new_labels:
            raise UserError(
                f"{source.name} has the class {new[0]!r}, which the model does not know; leave it "
                f'out with a line "{new[0]},-" in a file for --label_map'
            )
        ours += dict.fromkeys(new)
    return tuple(ours), maps


def _look(
    sources: Sequence[Source],
    maps: Sequence[Mapping[str, str]],
    cache_dir: Path | None,
    with_looks: bool,
) -> _Rows:
    """All photos of all sources, each looked into, in the splits that the sources bring."""
    pieces, found_in = [], []
    for number, source in enumerate(sources):
        for split in [split for split, count in source.counts.items() if count]:
            photos, found = inspect_split(source, split, cache_dir, with_looks=with_looks)
            pieces.append(Piece(number, split, photos))
            found_in.append(found)
    counts = [len(found.digests) for found in found_in]
    names = [
        maps[piece.source].get(label, label)
        for piece, found in zip(pieces, found_in, strict=True)
        for label in found.labels.tolist()
    ]
    # The same word in two sources means two plants.
    groups = [
        f"{piece.source} {group}" if group else ""
        for piece, count in zip(pieces, counts, strict=True)
        for group in piece.photos.groups or [""] * count
    ]
    return _Rows(
        sources=sources,
        pieces=pieces,
        piece_of=np.repeat(np.arange(len(pieces)), counts),
        numbers=np.concatenate([np.arange(count) for count in counts]),
        found=joined(found_in),
        names=np.array(names),
        groups=groups if any(groups) else None,
        sides=np.repeat(np.array([piece.split for piece in pieces], "U32"), counts),
        reasons={},
    )


def _leave_out_unreadable(rows: _Rows, strict: bool) -> None:
    unreadable = np.flatnonzero((rows.found.reasons != "") & (rows.names != LEAVE_OUT))
    rows.leave_out({int(row): str(rows.found.reasons[row]) for row in unreadable})
    left_out = rows.left_out()
    for number, source in enumerate(rows.sources):
        own = [
            one
            for row, one in zip(unreadable, left_out, strict=True)
            if rows.source_of[row] == number
        ]
        check_unreadable(own, int((rows.source_of == number).sum()), source.name, strict=strict)


def _only_learn_from(rows: _Rows, own: npt.NDArray[np.bool_], name: str) -> None:
    """Adds photos to train, but for near duplicates of validation and test photos."""
    rows.sides[own] = "train"
    placed = np.flatnonzero(np.isin(rows.sides, SPLITS))
    some = rows.found.rows(placed)
    first = group_duplicates(some.digests, some.looks, some.has_look)
    held = {
        int(group): str(side)
        for group, side in zip(first, rows.sides[placed], strict=True)
        if side != "train"
    }
    twins = {
        int(row): f"near duplicate of a photo in {held[int(group)]}"
        for row, group in zip(placed, first, strict=True)
        if own[row] and int(group) in held
    }
    rows.leave_out(twins)
    _logger.info(
        f"{name}: {int(own.sum()) - len(twins)} photos are learned from; {len(twins)} near "
        "duplicates of validation and test photos are left out"
    )


def _divide(
    rows: _Rows,
    own: npt.NDArray[np.bool_],
    brought: set[str],
    name: str,
    earlier: Mapping[bytes, str] | None,
) -> None:
    """Takes the splits that a source does not bring from its other photos."""
    double = _in_two_classes(rows, np.flatnonzero(own))
    rows.leave_out(double)
    # Of a source with train and test, only validation is taken, and only from train.
    chosen = np.flatnonzero(own & ~np.isin(rows.sides, ("", "validation", "test")))
    shares = {
        split: splitting.SHARES[split]
        for split in SPLITS
        if split not in brought and split != "train"
    }
    shares["train"] = 1 - sum(shares.values())
    some = rows.found.rows(chosen)
    division = splitting.divide(
        some.digests,
        rows.names[chosen].tolist(),
        group_duplicates(some.digests, some.looks, some.has_look),
        None if rows.groups is None else [rows.groups[row] for row in chosen.tolist()],
        shares=shares,
        earlier=earlier,
    )
    rows.sides[chosen] = division.sides
    places = [piece.photos.places for piece in rows.pieces]
    twins = {}
    for row, twin in division.twins.items():
        other = chosen[twin]
        place = places[rows.piece_of[other]][rows.numbers[other]]
        twins[int(chosen[row])] = f"near duplicate of {place}, which is in {division.sides[twin]}"
    rows.leave_out(twins)
    if earlier is None or not set(some.digests.tolist()) <= earlier.keys():  # or it was said then
        _say(name, division, len(set(rows.names[chosen].tolist())), len(double))


def _in_two_classes(rows: _Rows, numbers: npt.NDArray[np.intp]) -> dict[int, str]:
    """{row: reason} of files that lie in two classes: nobody knows which is right."""
    classes: dict[bytes, set[str]] = {}
    digests, names = rows.found.digests[numbers].tolist(), rows.names[numbers].tolist()
    for digest, label in zip(digests, names, strict=True):
        classes.setdefault(digest, set()).add(label)
    return {
        int(row): f"the same file is in several classes: {', '.join(sorted(classes[digest]))}"
        for row, digest in zip(numbers, digests, strict=True)
        if len(classes[digest]) > 1
    }


def _unknown_no_more(rows: _Rows) -> dict[int, str]:
    """{row: reason} of photos labelled unknown that another source says the class of.

    Where a model learns a new flower, its photos may have been among those that it was not.
    """
    digests, names = rows.found.digests.tolist(), rows.names.tolist()
    class_of = {
        digest: name
        for digest, name, side in zip(digests, names, rows.sides.tolist(), strict=True)
        if side not in ("", UNKNOWN)
    }
    return {
        int(row): f"labelled unknown here, and {class_of[digests[row]]} elsewhere"
        for row in np.flatnonzero(rows.sides == UNKNOWN)
        if digests[row] in class_of
    }


def _say(name: str, division: splitting.Division, classes: int, double: int) -> None:
    counts = {split: int((division.sides == split).sum()) for split in SPLITS}
    divided = ", ".join(f"{count} {split}" for split, count in counts.items() if count)
    _logger.info(
        f"{name}: {sum(counts.values())} photos of {classes} classes, divided by their content: "
        f"{divided}; photos that are added later move none of them, but where a class has so few "
        "that a side would be empty"
    )
    _logger.info(
        f"left out: {len(division.twins)} near duplicates of a photo on another side, {double} "
        "files that lie in several classes"
    )
    only = ", ".join(division.only_learned[:3])
    more = f" and {len(division.only_learned) - 3} more" if len(division.only_learned) > 3 else ""
    _logger.info(
        f"{division.moved} photos moved so that classes of three or more have some on each side"
        + (f"; only learned from, with fewer: {only}{more}" if only else "")
    )


def _refuse_too_few(photos: PhotoSet, kept: Sequence[str]) -> None:
    """Refuses sets that nothing can be learned from.

    Args:
        photos: The set.
        kept: The classes that a model knows already.

    Raises:
        UserError: Fewer than two classes, no photos to learn a class from, or none to choose on.
    """
    learned = set(photos.label_numbers[photos.sides == "train"].tolist())
    if len(photos.labels) < 2:
        raise UserError(
            f"{photos.name} has {len(photos.labels) or 'no'} class with photos; expected at least "
            "two, a folder of photos for each"
        )
    empty = [name for number, name in enumerate(photos.labels) if number not in learned]
    if empty and empty[0] in kept:
        raise UserError(
            f"{photos.name} has no photos of {empty[0]!r}"
            + (f" and {len(empty) - 1} more classes" if len(empty) > 1 else "")
            + " that the model knows; a head forgets what it is not shown: give the photos that "
            "the model was trained on with --data, too"
        )
    if empty:
        raise UserError(
            f"{photos.name} has no photos to learn {empty[0]!r} from; add some (three or more of "
            "each class), or leave the class out"
        )
    for split in ("validation", "test"):
        if split not in photos.counts:
            raise UserError(
                f"{photos.name} leaves no photos for {split}; expected at least one class with "
                "three photos"
            )
