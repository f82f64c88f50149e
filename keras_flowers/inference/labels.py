"""The 102 flowers in TFDS's order with their botanical names; reading and writing label files.

The common names are TFDS's, spelled as it spells them; a name's place is the model's class index.
They come with the photographs: Nilsback and Zisserman, "Automated flower classification over a
large number of classes" (2008), labelled them with common names only.

Scientific names and families are this package's addition, from general botanical reference, meant
to be the names that Plants of the World Online accepts (so gaura is an Oenothera and the garden
osteospermum a Dimorphotheca); they were not looked up there one by one. A common name that covers
several species has only its genus or family here, as `Flower.rank` says:

>>> [flower.name for flower in FLOWERS if flower.rank == "cultivar group"]
['prince of wales feathers', 'artichoke', 'bolero deep blue', 'bishop of llandaff',
 'pink-yellow dahlia?']
>>> [flower.name for flower in FLOWERS if flower.rank == "family"]
['bromelia']
>>> sum(flower.rank == "genus" for flower in FLOWERS)
45

A species is what the common name stands for; garden hybrids are photographed under many of them
(cattleya, Lenten rose, Barbeton daisy). Where a class shows another plant than it is called after,
the plant shown is given, as far as one can tell by eye from the photographs:

>>> for name in ("watercress", "ball moss", "mallow", "geranium", "pelargonium", "orange dahlia"):
...     print(name, "->", FLOWERS[FLOWER_NAMES.index(name)].scientific_name)
watercress -> Tropaeolum majus
ball moss -> Wallisia
mallow -> Callianthe
geranium -> Pelargonium
pelargonium -> Alyogyne
orange dahlia -> Tithonia

That is: garden nasturtiums, pink quills, flowering maples (sold as Abutilon), the florist's
geranium, the lilac hibiscus and the Mexican sunflower.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from keras_flowers.errors import UserError

Rank: TypeAlias = Literal["species", "hybrid", "cultivar group", "genus", "family"]


@dataclass(frozen=True)
class Flower:
    """One class of the data set.

    Attributes:
        name: Common name, as TFDS spells it.
        scientific_name: Name of what `rank` says; of a cultivar group, the species or genus that
            it was bred from. A hybrid has a multiplication sign: "Iris × germanica".
        rank: How closely the class is named.
        family: Botanical family.
    """

    name: str
    scientific_name: str
    rank: Rank
    family: str


FLOWERS: tuple[Flower, ...] = (
    # 0
    Flower("pink primrose", "Oenothera speciosa", "species", "Onagraceae"),
    Flower("hard-leaved pocket orchid", "Paphiopedilum micranthum", "species", "Orchidaceae"),
    Flower("canterbury bells", "Campanula medium", "species", "Campanulaceae"),
    Flower("sweet pea", "Lathyrus odoratus", "species", "Fabaceae"),
    Flower("english marigold", "Calendula officinalis", "species", "Asteraceae"),
    Flower("tiger lily", "Lilium lancifolium", "species", "Liliaceae"),
    Flower("moon orchid", "Phalaenopsis amabilis", "species", "Orchidaceae"),
    Flower("bird of paradise", "Strelitzia reginae", "species", "Strelitziaceae"),
    Flower("monkshood", "Aconitum", "genus", "Ranunculaceae"),
    Flower("globe thistle", "Echinops", "genus", "Asteraceae"),
    # 10
    Flower("snapdragon", "Antirrhinum majus", "species", "Plantaginaceae"),
    Flower("colt's foot", "Tussilago farfara", "species", "Asteraceae"),
    Flower("king protea", "Protea cynaroides", "species", "Proteaceae"),
    Flower("spear thistle", "Cirsium vulgare", "species", "Asteraceae"),
    Flower("yellow iris", "Iris pseudacorus", "species", "Iridaceae"),
    Flower("globe-flower", "Trollius", "genus", "Ranunculaceae"),
    Flower("purple coneflower", "Echinacea purpurea", "species", "Asteraceae"),
    Flower("peruvian lily", "Alstroemeria", "genus", "Alstroemeriaceae"),
    Flower("balloon flower", "Platycodon grandiflorus", "species", "Campanulaceae"),
    Flower("giant white arum lily", "Zantedeschia aethiopica", "species", "Araceae"),
    # 20
    Flower("fire lily", "Gloriosa superba", "species", "Colchicaceae"),
    Flower("pincushion flower", "Scabiosa", "genus", "Caprifoliaceae"),
    Flower("fritillary", "Fritillaria meleagris", "species", "Liliaceae"),
    Flower("red ginger", "Alpinia purpurata", "species", "Zingiberaceae"),
    Flower("grape hyacinth", "Muscari", "genus", "Asparagaceae"),
    Flower("corn poppy", "Papaver rhoeas", "species", "Papaveraceae"),
    Flower("prince of wales feathers", "Celosia argentea", "cultivar group", "Amaranthaceae"),
    Flower("stemless gentian", "Gentiana acaulis", "species", "Gentianaceae"),
    Flower("artichoke", "Cynara cardunculus", "cultivar group", "Asteraceae"),
    Flower("sweet william", "Dianthus barbatus", "species", "Caryophyllaceae"),
    # 30
    Flower("carnation", "Dianthus caryophyllus", "species", "Caryophyllaceae"),
    Flower("garden phlox", "Phlox paniculata", "species", "Polemoniaceae"),
    Flower("love in the mist", "Nigella damascena", "species", "Ranunculaceae"),
    Flower("mexican aster", "Cosmos bipinnatus", "species", "Asteraceae"),
    Flower("alpine sea holly", "Eryngium alpinum", "species", "Apiaceae"),
    Flower("ruby-lipped cattleya", "Cattleya labiata", "species", "Orchidaceae"),
    Flower("cape flower", "Nerine bowdenii", "species", "Amaryllidaceae"),
    Flower("great masterwort", "Astrantia major", "species", "Apiaceae"),
    Flower("siam tulip", "Curcuma alismatifolia", "species", "Zingiberaceae"),
    Flower("lenten rose", "Helleborus orientalis", "species", "Ranunculaceae"),
    # 40
    Flower("barbeton daisy", "Gerbera jamesonii", "species", "Asteraceae"),
    Flower("daffodil", "Narcissus", "genus", "Amaryllidaceae"),
    Flower("sword lily", "Gladiolus", "genus", "Iridaceae"),
    Flower("poinsettia", "Euphorbia pulcherrima", "species", "Euphorbiaceae"),
    Flower("bolero deep blue", "Eustoma russellianum", "cultivar group", "Gentianaceae"),
    Flower("wallflower", "Erysimum", "genus", "Brassicaceae"),
    Flower("marigold", "Tagetes", "genus", "Asteraceae"),
    Flower("buttercup", "Ranunculus", "genus", "Ranunculaceae"),
    Flower("oxeye daisy", "Leucanthemum vulgare", "species", "Asteraceae"),
    Flower("common dandelion", "Taraxacum officinale", "species", "Asteraceae"),
    # 50
    Flower("petunia", "Petunia", "genus", "Solanaceae"),
    Flower("wild pansy", "Viola tricolor", "species", "Violaceae"),
    Flower("primula", "Primula", "genus", "Primulaceae"),
    Flower("sunflower", "Helianthus annuus", "species", "Asteraceae"),
    Flower("pelargonium", "Alyogyne", "genus", "Malvaceae"),
    Flower("bishop of llandaff", "Dahlia", "cultivar group", "Asteraceae"),
    Flower("gaura", "Oenothera lindheimeri", "species", "Onagraceae"),
    Flower("geranium", "Pelargonium", "genus", "Geraniaceae"),
    Flower("orange dahlia", "Tithonia", "genus", "Asteraceae"),
    Flower("pink-yellow dahlia?", "Dahlia", "cultivar group", "Asteraceae"),
    # 60
    Flower("cautleya spicata", "Cautleya spicata", "species", "Zingiberaceae"),
    Flower("japanese anemone", "Eriocapitella", "genus", "Ranunculaceae"),
    Flower("black-eyed susan", "Rudbeckia", "genus", "Asteraceae"),
    Flower("silverbush", "Convolvulus cneorum", "species", "Convolvulaceae"),
    Flower("californian poppy", "Eschscholzia californica", "species", "Papaveraceae"),
    Flower("osteospermum", "Dimorphotheca", "genus", "Asteraceae"),
    Flower("spring crocus", "Crocus vernus", "species", "Iridaceae"),
    Flower("bearded iris", "Iris × germanica", "hybrid", "Iridaceae"),
    Flower("windflower", "Anemonoides nemorosa", "species", "Ranunculaceae"),
    Flower("tree poppy", "Romneya", "genus", "Papaveraceae"),
    # 70
    Flower("gazania", "Gazania", "genus", "Asteraceae"),
    Flower("azalea", "Rhododendron", "genus", "Ericaceae"),
    Flower("water lily", "Nymphaea", "genus", "Nymphaeaceae"),
    Flower("rose", "Rosa", "genus", "Rosaceae"),
    Flower("thorn apple", "Datura", "genus", "Solanaceae"),
    Flower("morning glory", "Ipomoea", "genus", "Convolvulaceae"),
    Flower("passion flower", "Passiflora", "genus", "Passifloraceae"),
    Flower("lotus", "Nelumbo nucifera", "species", "Nelumbonaceae"),
    Flower("toad lily", "Tricyrtis", "genus", "Liliaceae"),
    Flower("anthurium", "Anthurium", "genus", "Araceae"),
    # 80
    Flower("frangipani", "Plumeria", "genus", "Apocynaceae"),
    Flower("clematis", "Clematis", "genus", "Ranunculaceae"),
    Flower("hibiscus", "Hibiscus", "genus", "Malvaceae"),
    Flower("columbine", "Aquilegia", "genus", "Ranunculaceae"),
    Flower("desert-rose", "Adenium obesum", "species", "Apocynaceae"),
    Flower("tree mallow", "Malva", "genus", "Malvaceae"),
    Flower("magnolia", "Magnolia", "genus", "Magnoliaceae"),
    Flower("cyclamen", "Cyclamen", "genus", "Primulaceae"),
    Flower("watercress", "Tropaeolum majus", "species", "Tropaeolaceae"),
    Flower("canna lily", "Canna", "genus", "Cannaceae"),
    # 90
    Flower("hippeastrum", "Hippeastrum", "genus", "Amaryllidaceae"),
    Flower("bee balm", "Monarda", "genus", "Lamiaceae"),
    Flower("ball moss", "Wallisia", "genus", "Bromeliaceae"),
    Flower("foxglove", "Digitalis", "genus", "Plantaginaceae"),
    Flower("bougainvillea", "Bougainvillea", "genus", "Nyctaginaceae"),
    Flower("camellia", "Camellia", "genus", "Theaceae"),
    Flower("mallow", "Callianthe", "genus", "Malvaceae"),
    Flower("mexican petunia", "Ruellia simplex", "species", "Acanthaceae"),
    Flower("bromelia", "Bromeliaceae", "family", "Bromeliaceae"),
    Flower("blanket flower", "Gaillardia", "genus", "Asteraceae"),
    # 100
    Flower("trumpet creeper", "Campsis radicans", "species", "Bignoniaceae"),
    Flower("blackberry lily", "Iris domestica", "species", "Iridaceae"),
)
"""The classes in TFDS's order: `FLOWERS[i]` is class `i`, counted from 0."""

FLOWER_NAMES: tuple[str, ...] = tuple(flower.name for flower in FLOWERS)
"""The common names in TFDS's order."""

_BY_NAME = {flower.name: flower for flower in FLOWERS}

_BLANK = " \t\ufeff"
"""What editors leave around a name; the last is the byte order mark, also between joined files."""

_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories that no name may contain: control characters, which could also steer the
terminal a name is printed to, halves of surrogate pairs, which UTF-8 cannot hold, line ends."""


def flower_named(name: str) -> Flower | None:
    """Finds what is known about a class by its common name.

    Args:
        name: Common name, spelled as in `FLOWER_NAMES`.

    Returns:
        The flower; None for any other name, such as a class of the user's own data set.

    >>> flower_named("sunflower").scientific_name
    'Helianthus annuus'
    >>> flower_named("daisy") is None
    True
    """
    return _BY_NAME.get(name)


def parse_labels(text: str, *, source: str = "the label file") -> tuple[str, ...]:
    r"""Takes the names from the text of a label file, one a line in index order.

    A byte order mark, Windows line ends, spaces around a name and empty lines at the end are
    accepted: editors add them.

    Args:
        text: The whole text.
        source: What to call the text in an error.

    Returns:
        The names; the one on line `i` (from 1) is that of class `i - 1`.

    Raises:
        UserError: There is no name, a line before the last name is empty, a name occurs twice or
            contains a control character.

    >>> parse_labels("daisy\r\nrose\r\n")
    ('daisy', 'rose')
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    names = [line.strip(_BLANK) for line in lines]
    while names and not names[-1]:
        names.pop()
    _check_names(names, source=source, place="line")
    return tuple(names)


def format_labels(names: Sequence[str]) -> str:
    r"""Writes names as the text of a label file, which `parse_labels` reads back unchanged.

    Args:
        names: One a class, in index order.

    Returns:
        One name a line, each line ended by a line feed.

    Raises:
        UserError: A label file cannot hold these names: there are none, one is empty, occurs twice,
            has spaces around it or contains a line break or another control character.

    >>> format_labels(["daisy", "rose"])
    'daisy\nrose\n'
    """
    _check_names(names, source="the list of names", place="item")
    text = "".join(f"{name}\n" for name in names)
    if parse_labels(text) != tuple(names):
        spaced = next(name for name in names if name != name.strip(_BLANK))
        raise UserError(
            f"the list of names has spaces or a byte order mark around {spaced!r}; "
            "expected the bare name: remove them"
        )
    return text


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads a label file: UTF-8 text, one name a line in index order.

    Args:
        path: The file, such as the `label.labels.txt` that TFDS keeps beside its records.

    Returns:
        The names, as `parse_labels` takes them from the text.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or is refused by `parse_labels`.
    """
    return parse_labels(_read_text(path), source=os.fspath(path))


def read_category_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Reads names from a JSON file keyed by class number, as Udacity's `cat_to_name.json`.

    Its numbers are Oxford's, counted from 1 and written as text, in no order: {"21": "fire lily",
    "3": "canterbury bells", ...}. TFDS's class index is that number minus 1. Sorting the keys as
    text ("1", "10", "100", ...) instead gives 91 of the 102 flowers another one's name.

    Args:
        path: The file: one object with the keys "1" to "N" and a name for each.

    Returns:
        The N names in TFDS's order: key "k" is at index `k - 1`.

    Raises:
        UserError: The file cannot be read or is not JSON in UTF-8, its keys are not exactly "1" to
            "N" (a file counted from 0 is refused, not shifted), or a name is not a text, is empty,
            occurs twice or contains a control character.
    """
    source = os.fspath(path)
    expected = 'expected {"1": "a name", "2": "a name", ...} with every number from 1 on'
    try:
        named = json.loads(_read_text(path), object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is not usable JSON ({error}); {expected}: correct it") from None
    if not isinstance(named, dict):
        raise UserError(
            f"{source} holds a JSON {type(named).__name__}, not an object; {expected}. "
            "For a plain list of names use a text file, one name a line"
        )
    numbers = [str(number) for number in range(1, len(named) + 1)]
    if named and named.keys() == {str(number) for number in range(len(named))}:
        raise UserError(
            f"{source} counts from 0; {expected}, received 0 to {len(named) - 1}: add 1 to "
            "every number, or write the names in order to a text file, one name a line"
        )
    if named.keys() != set(numbers):
        missing = next(number for number in numbers if number not in named)
        surplus = min(named.keys() - set(numbers))
        raise UserError(
            f"{source} has {len(named)} entries and among them {surplus!r} but no {missing!r}; "
            f"{expected}, here 1 to {len(named)}: correct the numbers"
        )
    names = [named[number] for number in numbers]
    for number, name in zip(numbers, names, strict=True):
        if not isinstance(name, str):
            raise UserError(
                f"{source}: number {number} has a JSON {type(name).__name__} for a name; "
                "expected a text: correct it"
            )
    names = [name.strip(_BLANK) for name in names]
    _check_names(names, source=source, place="number")
    return tuple(names)


def _check_names(names: Iterable[str], *, source: str, place: str) -> None:
    """Refuses what would make a name ambiguous or break a line; `place` is what `names` counts."""
    first_place: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name.strip(_BLANK):
            raise UserError(
                f"{source}: {place} {number} is empty; expected a name for every class: "
                "fill it in or remove it"
            )
        if any(unicodedata.category(character) in _UNWRITABLE for character in name):
            raise UserError(
                f"{source}: {place} {number} is {name[:40]!r}, with a control character; "
                "expected a name in plain text: remove the character"
            )
        if name in first_place:
            raise UserError(
                f"{source}: {place} {number} repeats {name!r} of {place} {first_place[name]}; "
                "expected a different name for every class: rename or remove one"
            )
        first_place[name] = number
    if not first_place:
        raise UserError(f"{source} is empty; expected a name for every class: write them into it")


def _read_text(path: str | os.PathLike[str]) -> str:
    source = os.fspath(path)
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{source} does not exist; expected the path of a label file") from None
    except IsADirectoryError:
        raise UserError(f"{source} is a folder; expected the path of a label file") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{source} is not text in UTF-8, as a label file must be; save it as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{source} cannot be read ({reason}); choose another label file") from None


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Python's own reading keeps the last of them and would silently lose a name.
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {repeated!r} occurs more than once")
    return members
