"""The 102 flowers in TFDS's order with their botanical names.

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

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Rank: TypeAlias = Literal["species", "hybrid", "cultivar group", "genus", "family"]


class Flower(NamedTuple):
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

    @property
    def genus(self) -> str:
        """Its genus; "" where only the family is known.

        >>> FLOWERS[67].genus, FLOWERS[98].genus
        ('Iris', '')
        """
        return "" if self.rank == "family" else self.scientific_name.split()[0]


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

FAMILY_NAMES: Mapping[str, str] = {
    "Acanthaceae": "acanthus",
    "Alstroemeriaceae": "Peruvian lily",
    "Amaranthaceae": "amaranth",
    "Amaryllidaceae": "amaryllis",
    "Apiaceae": "carrot",
    "Apocynaceae": "dogbane",
    "Araceae": "arum",
    "Asparagaceae": "asparagus",
    "Asteraceae": "daisy",
    "Bignoniaceae": "trumpet creeper",
    "Brassicaceae": "cabbage",
    "Bromeliaceae": "pineapple",
    "Campanulaceae": "bellflower",
    "Cannaceae": "canna",
    "Caprifoliaceae": "honeysuckle",
    "Caryophyllaceae": "pink",
    "Colchicaceae": "autumn crocus",
    "Convolvulaceae": "bindweed",
    "Ericaceae": "heath",
    "Euphorbiaceae": "spurge",
    "Fabaceae": "pea",
    "Gentianaceae": "gentian",
    "Geraniaceae": "cranesbill",
    "Iridaceae": "iris",
    "Lamiaceae": "mint",
    "Liliaceae": "lily",
    "Magnoliaceae": "magnolia",
    "Malvaceae": "mallow",
    "Nelumbonaceae": "lotus",
    "Nyctaginaceae": "four o'clock",
    "Nymphaeaceae": "water lily",
    "Onagraceae": "evening primrose",
    "Orchidaceae": "orchid",
    "Papaveraceae": "poppy",
    "Passifloraceae": "passion flower",
    "Plantaginaceae": "plantain",
    "Polemoniaceae": "phlox",
    "Primulaceae": "primrose",
    "Proteaceae": "protea",
    "Ranunculaceae": "buttercup",
    "Rosaceae": "rose",
    "Solanaceae": "nightshade",
    "Strelitziaceae": "bird of paradise",
    "Theaceae": "tea",
    "Tropaeolaceae": "nasturtium",
    "Violaceae": "violet",
    "Zingiberaceae": "ginger",
}
"""What the families are called in English: `Asteraceae` is the `daisy` family."""

DEADLY_GENERA: frozenset[str] = frozenset(
    {
        "Abrus",
        "Aconitum",
        "Actaea",
        "Adenium",
        "Atropa",
        "Brugmansia",
        "Cerbera",
        "Cicuta",
        "Colchicum",
        "Conium",
        "Convallaria",
        "Daphne",
        "Datura",
        "Delphinium",
        "Digitalis",
        "Gloriosa",
        "Helleborus",
        "Hyoscyamus",
        "Laburnum",
        "Nerium",
        "Oenanthe",
        "Ricinus",
        "Taxus",
        "Thevetia",
        "Veratrum",
    }
)
"""Genera with species of which people have died: not those of our classes alone, so that classes of
one's own are covered, too. page/src/deadly.ts has the same.

Where to look them up: Nelson, Shih and Balick, "Handbook of Poisonous and Injurious Plants" (2nd
ed., 2007); Filmer, "Safe and Poisonous Garden Plants" (University of California, Davis, 2012),
whose toxic plants are listed by scientific name; Alsop and Karlik, "Poisonous Plants" (University
of California, publication 8560, 2016), the plants that poisoned people according to the California
Poison Control System; the Royal Horticultural Society's "Potentially harmful garden plants"
(www.rhs.org.uk/advice/profile?pid=524). The table is from general reference. For it, only
openings of these pages, of Wikipedia's "List of poisonous plants" and of gardeners' advice were
read, which name Abrus, Aconitum, Actaea, Adenium, Brugmansia, Cicuta, Conium, Convallaria, Datura,
Digitalis, Helleborus, Laburnum, Nerium, Ricinus, Taxus and Thevetia; the others were not looked up
one by one. A genus that is missing here is not said to be harmless."""

FLOWER_NAMES: tuple[str, ...] = tuple(flower.name for flower in FLOWERS)
"""The common names in TFDS's order."""

_BY_NAME = {flower.name: flower for flower in FLOWERS}


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
