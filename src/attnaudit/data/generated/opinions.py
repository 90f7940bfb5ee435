"""The words of opinion that generated reviews are made of, with their polarity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

POSITIVE, NEGATIVE = 1, -1


@dataclass(frozen=True)
class Words:
    """Words of one kind, by polarity; the rare ones come up more in difficult sets."""

    good: tuple[str, ...]
    bad: tuple[str, ...]
    rare_good: tuple[str, ...] = ()
    rare_bad: tuple[str, ...] = ()

    def common(self, polarity: int) -> tuple[str, ...]:
        """The usual words of a polarity."""
        return self.good if polarity == POSITIVE else self.bad

    def rare(self, polarity: int) -> tuple[str, ...]:
        """The rare words of a polarity."""
        return self.rare_good if polarity == POSITIVE else self.rare_bad

    def polarities(self) -> Iterator[tuple[str, int]]:
        """Every word with its polarity."""
        for polarity in (POSITIVE, NEGATIVE):
            for word in self.common(polarity) + self.rare(polarity):
                yield word, polarity


def words_of(good: str, bad: str, rare_good: str = "", rare_bad: str = "") -> Words:
    """`Words` from strings with spaces between the words."""
    return Words(*(tuple(text.split()) for text in (good, bad, rare_good, rare_bad)))


# Fit for anything: a plot, a soup, a screen.
ADJECTIVES = words_of(
    """good great excellent wonderful superb fantastic terrific impressive brilliant outstanding
    splendid lovely amazing delightful marvellous remarkable first-rate exceptional enjoyable
    perfect magnificent fabulous charming satisfying admirable pleasing""",
    """bad terrible awful poor dreadful disappointing horrible mediocre lousy weak shoddy dismal
    unpleasant appalling third-rate pathetic atrocious underwhelming irritating annoying abysmal
    ghastly unsatisfying ridiculous hopeless forgettable""",
    """sublime exquisite peerless stellar consummate laudable sterling beguiling transcendent
    top-notch glorious unrivalled""",
    """execrable deplorable woeful wretched insipid shambolic risible abject egregious lacklustre
    lamentable second-rate""",
)
NOUNS = words_of(
    "gem delight joy treat success marvel treasure pleasure triumph revelation",
    "disaster mess failure letdown disappointment flop nightmare embarrassment fiasco bore",
    "jewel wonder",
    "debacle travesty",
)
# The past tense here; `PRESENT` has the form after "did not".
VERBS = words_of(
    "loved enjoyed liked admired adored appreciated",
    "hated disliked loathed detested despised",
    "cherished relished",
    "abhorred resented",
)
FEELINGS = words_of(
    "delighted impressed charmed thrilled captivated enchanted",
    "bored annoyed disappointed frustrated irritated unimpressed",
    "enthralled dazzled",
    "exasperated underwhelmed",
)
ADVERBS = words_of(
    "well beautifully superbly brilliantly wonderfully splendidly perfectly admirably",
    "badly poorly terribly horribly miserably clumsily carelessly dreadfully",
    "exquisitely flawlessly",
    "abysmally ineptly",
)
PRESENT: dict[str, str] = {
    "loved": "love",
    "enjoyed": "enjoy",
    "liked": "like",
    "admired": "admire",
    "adored": "adore",
    "appreciated": "appreciate",
    "hated": "hate",
    "disliked": "dislike",
    "loathed": "loathe",
    "detested": "detest",
    "despised": "despise",
    "cherished": "cherish",
    "relished": "relish",
    "abhorred": "abhor",
    "resented": "resent",
}
MISSPELLINGS: dict[str, tuple[str, ...]] = {
    "excellent": ("excelent", "exellent"),
    "wonderful": ("wonderfull", "wonderfu"),
    "terrible": ("terible", "terrable"),
    "awful": ("awfull", "aweful"),
    "brilliant": ("briliant", "brillant"),
    "disappointing": ("dissapointing", "disapointing"),
    "delicious": ("delicous", "delicius"),
    "boring": ("borring", "boreing"),
    "fantastic": ("fantastik", "fantasic"),
    "amazing": ("amazeing", "amzing"),
    "mediocre": ("medicore", "mediocer"),
    "impressive": ("impresive", "imppressive"),
    "horrible": ("horible", "horrable"),
    "lovely": ("lovley", "luvly"),
    "dreadful": ("dredful", "dreadfull"),
    "enjoyable": ("enjoyible", "enjoiable"),
    "outstanding": ("oustanding", "outstandin"),
    "magnificent": ("magnificant", "magnifisent"),
    "friendly": ("freindly", "frendly"),
    "tedious": ("tedius", "teedious"),
    "predictable": ("predictible", "predicable"),
    "superb": ("suberb", "superbe"),
    "ridiculous": ("rediculous", "ridiculus"),
    "pathetic": ("pathethic", "patetic"),
    "great": ("graet", "gr8"),
    "good": ("goood", "gud"),
    "bad": ("baad", "badd"),
    "annoying": ("anoying", "annoyin"),
    "unpleasant": ("unpleasent", "unplesant"),
    "exceptional": ("exeptional", "exceptionnal"),
    "loved": ("lovd", "luved"),
    "hated": ("hatted", "hayted"),
    "disaster": ("disastor", "dissaster"),
    "disappointed": ("dissapointed", "disapointed"),
    "delighted": ("delihgted", "delited"),
    "beautifully": ("beautifuly", "beutifully"),
}

# What turns the next word of opinion round. A negator of several words counts once.
NEGATORS: tuple[str, ...] = (
    "not",
    "never",
    "hardly",
    "far from",
    "anything but",
    "by no means",
    "in no way",
    "no",
    "nothing",
    "nobody",
    "isn't",
    "aren't",
    "wasn't",
    "weren't",
    "didn't",
    "wouldn't",
)


def with_misspellings(polarities: dict[str, int]) -> dict[str, int]:
    """The same words and their misspellings, which keep the polarity."""
    wrong = {
        wrong: polarities[right]
        for right, variants in MISSPELLINGS.items()
        if right in polarities
        for wrong in variants
    }
    return polarities | wrong


def general_opinions() -> dict[str, int]:
    """Every word of opinion that belongs to no single topic, with its polarity."""
    found: dict[str, int] = {}
    for kind in (ADJECTIVES, NOUNS, VERBS, FEELINGS, ADVERBS):
        found.update(kind.polarities())
    found.update({base: found[past] for past, base in PRESENT.items()})
    return found
