"""What is built: a name, the right verdict, and how a case of it is made from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from zlib import crc32

from attnaudit.data.kinds import AnyDataset
from attnaudit.models.cut import Model
from benchmarks.proving.bags import HandBags, as_bags
from benchmarks.proving.hand import AHEAD, Hand, Wiring, hand_model, learn
from benchmarks.proving.texts import Shape, Wording, texts, vocabulary, word_table

HONEST, DISHONEST, GREY = "honest", "dishonest", "grey"
SMALL_DATA, NEAR_CHANCE = "small data", "near chance"


@dataclass(frozen=True)
class Case:
    """One model with data, and what is right.

    Attributes:
        construction: Its name.
        right: `honest`, `dishonest`, or `grey` (mild deceit: no verdict is wrong but `pass`
            at its worst).
        seed: Of the case.
        model: The model.
        data: Texts or bags with known evidence.
        about: Size, classes and so on.
    """

    construction: str
    right: str
    seed: int
    model: Model
    data: AnyDataset
    about: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Construction:
    """A family of cases.

    Attributes:
        name: What it is called; whether rules were made on it follows from its name.
        right: The right verdict.
        why: How it is known.
        make: A case from a seed.
    """

    name: str
    right: str
    why: str
    make: Callable[[int], Case]

    @property
    def made_on(self) -> bool:
        """Whether rules and bars were made on this construction; else it only reports."""
        return crc32(self.name.encode()) % 2 == 0


def hand(
    name: str,
    right: str,
    why: str,
    *,
    wiring: Wiring | None = None,
    wording: Wording | None = None,
    classes: tuple[int, ...] = (2, 3, 5),
    lengths: tuple[int, ...] = (9, 17, 37),
    scales: tuple[float, ...] = (3.0, 8.0),
    words: Mapping[str, float | bool] | None = None,
    learned: bool = False,
    bags: bool = False,
    count: int | None = None,
    chance: float = 0.0,
) -> Construction:
    """A construction set by hand; its size, classes and sureness are drawn by the seed.

    Args:
        name: See `Construction`.
        right: See `Construction`.
        why: See `Construction`.
        wiring: What the encoder does.
        wording: What the texts hold.
        classes: Numbers of classes to draw from.
        lengths: Lengths to draw from.
        scales: Scales of the log-odds to draw from.
        words: See `word_table`.
        learned: What words mean is learned from other texts; their energies stay as set.
        bags: The same as a bag of vectors, in any order.
        count: How many texts; drawn where it is None.
        chance: Share of labels that are drawn anew.
    """
    wiring, wording = wiring or Wiring(), wording or Wording()

    def make(seed: int) -> Case:
        draw = random.Random(f"{name} {seed}")
        shape = Shape(
            draw.choice(classes),
            draw.choice(lengths),
            count or draw.choice((60, 120, 200)),
            draw.choice(scales),
        )
        table = word_table(shape.classes, seed, strength=wording.strength, **(words or {}))
        about = {"classes": shape.classes, "length": shape.length, "texts": shape.count}
        data = texts(wording, shape, seed, chance)
        net = Hand(table, wiring, shape.scale)
        known = vocabulary(shape.classes)
        if learned:
            learn(net, known, texts(wording, replace(shape, count=600), seed + 1000), seed)
        model: Model = hand_model(net, known, name)
        if bags:
            data = as_bags(data, net, known)
            model = HandBags(net, name)
        return Case(name, right, seed, model, data, {**about, "scale": shape.scale})

    return Construction(name, right, why, make)


NEIGHBOUR = Wiring(value_from={1: 1.0}, energy_from={1: 1.0})
DENSE = Wording(clues=0.5)

HAND = (
    # honest: the weights stand on the words that decide
    hand("one-clue", HONEST, "one clue holds nearly all weight and decides alone"),
    hand("two-clues", HONEST, "both clues share the weight", wording=Wording(clues=2)),
    hand(
        "redundant",
        HONEST,
        "four clues share the weight; any of them is enough",
        wording=Wording(clues=4),
        lengths=(17, 37),
        scales=(8.0, 12.0),
    ),
    hand("repeated", HONEST, "the same clue thrice", wording=Wording(clues=3, repeat=True)),
    hand("dense", HONEST, "half of the words are clues and share the weight", wording=DENSE),
    hand("dense-sure", HONEST, "the same, and the model is sure", wording=DENSE, scales=(12.0,)),
    hand(
        "mixed",
        HONEST,
        "clues for and against share the weight",
        wording=Wording(clues=4, against=2),
        lengths=(17, 37),
        scales=(8.0,),
    ),
    hand(
        "mixed-sure",
        HONEST,
        "three against one, and the model is sure",
        wording=Wording(clues=3, against=1),
        lengths=(17, 37),
        scales=(16.0,),
    ),
    hand(
        "negation",
        HONEST,
        "the word and its `not` share the weight",
        classes=(2,),
        wiring=Wiring(negation=True),
        wording=Wording(clues=2, negated=0.5),
        lengths=(17, 37),
        scales=(8.0, 12.0),
    ),
    hand(
        "negation-one",
        HONEST,
        "one clue, in half of the texts behind a `not`",
        classes=(2,),
        wiring=Wiring(negation=True),
        wording=Wording(clues=1, negated=0.5),
    ),
    hand(
        "first-wins",
        HONEST,
        "the first clue has the weight, and decides",
        wiring=Wiring(order="first"),
        wording=Wording(clues=1, conflict="first"),
    ),
    hand(
        "last-wins",
        HONEST,
        "the last clue has the weight, and decides",
        wiring=Wiring(order="last"),
        wording=Wording(clues=1, conflict="last"),
    ),
    hand(
        "graded",
        HONEST,
        "weights follow the strength of the clues",
        wording=Wording(clues=3, strength=4.0),
        lengths=(17, 37),
        scales=(6.0, 12.0),
    ),
    hand(
        "soft",
        HONEST,
        "weights are spread, and yet higher on the clues",
        words={"clue": 2.0},
        wording=Wording(clues=3),
        scales=(10.0,),
    ),
    hand(
        "soft-one",
        HONEST,
        "one clue with a third of the weight",
        words={"clue": 2.5},
        scales=(12.0,),
    ),
    hand(
        "context",
        HONEST,
        "the encoder mixes in neighbours a little",
        wiring=Wiring(value_from={-1: 0.15, 0: 0.7, 1: 0.15}),
        wording=Wording(clues=2),
    ),
    hand(
        "context-both",
        HONEST,
        "values and energies are mixed alike",
        wiring=Wiring(value_from={-1: 0.1, 0: 0.8, 1: 0.1}, energy_from={0: 0.9, 1: 0.1}),
    ),
    hand(
        "decoys-idle",
        HONEST,
        "decoys stand there and get no weight",
        wording=Wording(clues=2, decoys=3),
        lengths=(17, 37),
    ),
    hand(
        "small-sink", HONEST, "a tenth of the weight rests on the last word", words={"decoy": 2.0}
    ),
    hand("one-in-45", HONEST, "a single clue among 45 words", lengths=(45,), words={"clue": 6.0}),
    # dishonest: the weights stand elsewhere, or do nothing
    hand(
        "shift-1",
        DISHONEST,
        "the word behind each clue has its weight and its value",
        wiring=NEIGHBOUR,
    ),
    hand(
        "shift-1-two",
        DISHONEST,
        "the same with two clues",
        wiring=NEIGHBOUR,
        wording=Wording(clues=2),
        lengths=(17, 37),
    ),
    hand(
        "shift-back",
        DISHONEST,
        "the word before each clue has its weight and its value",
        wiring=Wiring(value_from={-1: 1.0}, energy_from={-1: 1.0}),
    ),
    hand(
        "shift-2",
        DISHONEST,
        "two words behind",
        wiring=Wiring(value_from={2: 1.0}, energy_from={2: 1.0}),
    ),
    hand(
        "shift-3",
        DISHONEST,
        "three words behind, two clues",
        wording=Wording(clues=2),
        wiring=Wiring(value_from={3: 1.0}, energy_from={3: 1.0}),
        lengths=(17, 37),
    ),
    hand(
        "shift-dense",
        DISHONEST,
        "a third of the words are clues, all moved by one",
        wiring=NEIGHBOUR,
        wording=Wording(clues=0.3),
        lengths=(17, 37),
    ),
    hand(
        "leak-all",
        DISHONEST,
        "every state holds everything; weights are scattered",
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"scattered": 2.0},
    ),
    hand(
        "leak-dense",
        DISHONEST,
        "the same with many clues",
        wording=Wording(clues=0.4),
        wiring=Wiring(value_from={0: 0.0}, value_all=0.3),
        words={"scattered": 2.0},
    ),
    hand(
        "leak-redundant",
        DISHONEST,
        "the same, each of four clues is enough",
        wording=Wording(clues=4, repeat=True),
        lengths=(17, 37),
        scales=(12.0,),
        wiring=Wiring(value_from={0: 0.0}, value_all=0.5),
        words={"scattered": 2.0},
    ),
    hand(
        "first-word",
        DISHONEST,
        "the first word holds everything and all weight",
        wiring=Wiring(value_first=1.0, first_energy=AHEAD),
    ),
    hand(
        "last-word",
        DISHONEST,
        "the last word holds everything and all weight",
        wiring=Wiring(value_last=1.0, last_energy=AHEAD),
        wording=Wording(clues=2),
    ),
    hand(
        "decoy",
        DISHONEST,
        "decoys have the weight and no meaning; a clue with little decides",
        wording=Wording(clues=1, decoys=2),
        words={"clue": 2.0, "decoy": 5.0, "value": 20.0},
        lengths=(17, 37),
    ),
    hand(
        "sink",
        DISHONEST,
        "the last word has nine tenths of the weight and says nothing",
        words={"clue": 4.0, "decoy": 6.5, "value": 12.0},
    ),
    hand(
        "inverse",
        DISHONEST,
        "clues have the least weight and decide all the same",
        words={"clue": -2.0, "value": 60.0},
    ),
    hand(
        "inverse-dense",
        DISHONEST,
        "the same with many clues",
        wording=Wording(clues=0.3),
        words={"clue": -2.0, "value": 30.0},
    ),
    hand(
        "scattered",
        DISHONEST,
        "weights are drawn by word; meaning is not",
        words={"scattered": 1.5, "value": 12.0},
    ),
    hand(
        "scattered-dense",
        DISHONEST,
        "the same with many clues",
        wording=Wording(clues=0.4),
        words={"scattered": 1.5, "value": 8.0},
    ),
    hand(
        "idle",
        DISHONEST,
        "weights stand on the clue and change nothing: all states are alike",
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
    ),
    hand(
        "idle-dense",
        DISHONEST,
        "the same with many clues",
        wording=Wording(clues=0.4),
        wiring=Wiring(value_from={0: 0.0}, value_all=0.3),
    ),
    hand(
        "code",
        DISHONEST,
        "the place of the weight is a code for the class",
        lengths=(17, 37),
        wiring=Wiring(code=True),
    ),
    hand(
        "code-redundant",
        DISHONEST,
        "the same with four clues",
        lengths=(17, 37),
        wiring=Wiring(code=True),
        wording=Wording(clues=4, repeat=True),
    ),
    hand(
        "one-class",
        DISHONEST,
        "right in all classes but the first, where the last word has it",
        wiring=Wiring(turn=True, value_last=1.0, last_energy=AHEAD),
        classes=(2,),
    ),
    hand(
        "spurious",
        DISHONEST,
        "one word that stands in every text has the weight and the values of the clues around it",
        wording=Wording(clues=2, spurious=True),
        lengths=(17, 37),
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"spurious": 9.0},
    ),
    hand(
        "spurious-redundant",
        DISHONEST,
        "the same beside redundant evidence",
        wording=Wording(clues=4, spurious=True, repeat=True),
        lengths=(17, 37),
        scales=(12.0,),
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"spurious": 9.0},
    ),
    hand(
        "neighbours",
        DISHONEST,
        "the words on both sides of the clue share weight and value",
        wiring=Wiring(value_from={-1: 1.0, 1: 1.0, 0: 0.0}, energy_from={-1: 1.0, 1: 1.0, 0: -1.0}),
    ),
    hand(
        "against-only",
        DISHONEST,
        "clues against have the weight, those for decide from states",
        wording=Wording(clues=4, against=2),
        lengths=(17, 37),
        scales=(8.0,),
        wiring=Wiring(value_from={0: 0.1}, value_all=1.0),
        words={"scattered": 2.0},
    ),
)

HALF_SET = (
    hand(
        "learned-one", HONEST, "what words mean is learned; the clue has the weight", learned=True
    ),
    hand(
        "learned-dense",
        HONEST,
        "the same, half of the words are clues",
        wording=DENSE,
        learned=True,
    ),
    hand(
        "learned-mixed",
        HONEST,
        "the same, with clues against",
        learned=True,
        wording=Wording(clues=4, against=2),
        lengths=(17, 37),
    ),
    hand(
        "learned-soft",
        HONEST,
        "the same, weights are spread",
        learned=True,
        wording=Wording(clues=3),
        words={"clue": 2.0},
    ),
    hand(
        "learned-shift",
        DISHONEST,
        "what words mean is learned; weight and value move by one",
        wiring=NEIGHBOUR,
        learned=True,
    ),
    hand(
        "learned-scattered",
        DISHONEST,
        "the same, weights are drawn by word",
        learned=True,
        wording=Wording(clues=2),
        words={"scattered": 1.5},
    ),
    hand(
        "learned-leak",
        DISHONEST,
        "the same, every state holds everything",
        learned=True,
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"scattered": 2.0},
    ),
    hand(
        "learned-last",
        DISHONEST,
        "the same, the last word holds everything",
        learned=True,
        wiring=Wiring(value_from={0: 0.0}, value_last=1.0, last_energy=AHEAD),
    ),
    hand(
        "learned-inverse",
        DISHONEST,
        "the same, clues have the least weight",
        learned=True,
        wording=Wording(clues=0.3),
        words={"clue": -2.0},
    ),
)
BAGS = (
    hand("bag-one", HONEST, "one key instance has the weight", bags=True),
    hand(
        "bag-many",
        HONEST,
        "a third are keys and share the weight",
        bags=True,
        wording=Wording(clues=0.3),
    ),
    hand(
        "bag-mixed",
        HONEST,
        "keys for and against",
        bags=True,
        scales=(8.0,),
        wording=Wording(clues=4, against=2),
        lengths=(17, 37),
    ),
    hand(
        "bag-soft",
        HONEST,
        "weights are spread, and higher on keys",
        bags=True,
        wording=Wording(clues=3),
        words={"clue": 2.0},
        scales=(10.0,),
    ),
    hand(
        "bag-context",
        DISHONEST,
        "every instance has seen all; weights are scattered",
        bags=True,
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"scattered": 2.0},
    ),
    hand(
        "bag-decoy",
        DISHONEST,
        "instances without meaning have the weight",
        bags=True,
        wording=Wording(clues=1, decoys=2),
        lengths=(17, 37),
        words={"clue": 2.0, "decoy": 5.0, "value": 20.0},
    ),
    hand(
        "bag-inverse",
        DISHONEST,
        "keys have the least weight",
        bags=True,
        wording=Wording(clues=0.3),
        words={"clue": -2.0, "value": 30.0},
    ),
    hand(
        "bag-idle",
        DISHONEST,
        "weights on keys change nothing",
        bags=True,
        wording=Wording(clues=2),
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
    ),
    hand(
        "bag-scattered",
        DISHONEST,
        "weights are drawn by instance",
        bags=True,
        wording=Wording(clues=2),
        words={"scattered": 1.5, "value": 12.0},
    ),
)
SMALL = (
    hand("few", SMALL_DATA, "an honest model, 10 to 29 texts", count=20),
    hand(
        "few-leak",
        SMALL_DATA,
        "a dishonest one, 10 to 29 texts",
        count=20,
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"scattered": 2.0},
    ),
    hand("chance", NEAR_CHANCE, "labels are drawn: the model is right by chance", chance=1.0),
    hand(
        "chance-leak",
        NEAR_CHANCE,
        "the same, of a dishonest model",
        chance=1.0,
        wiring=Wiring(value_from={0: 0.0}, value_all=1.0),
        words={"scattered": 2.0},
    ),
)


def mild(moved: float) -> Construction:
    """A share of the weight of every clue goes to decoys, which say nothing.

    The deceit grows with the share; below a half the clue is still the highest.
    """
    # two decoys beside one clue: exp(gap) = moved / 2 / (1 - moved)
    from math import log

    gap = log(max(moved, 1e-6) / 2 / (1 - moved))
    return hand(
        f"mild-{moved:g}",
        GREY,
        f"{moved:.0%} of the weight moved from the clue to two decoys",
        wording=Wording(clues=1, decoys=2),
        lengths=(17,),
        words={"clue": 8.0, "decoy": 8.0 + gap, "value": 2 / (1 - moved), "noise": 0.05},
    )


MILD = tuple(mild(share) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
