"""Generated tasks on which weights may tell the label, and the default tokens in which they can.

Bai et al. (2021), "Why Attentions May Not Be Interpretable?": default tokens without meaning stand
at the head and the tail of every text, so that weight on them can only be a message.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from attnaudit.data.generated.reviews import CLASSES
from attnaudit.data.generated.tasks import SPLITS, task_splits
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import as_pair, cut_record, join_units
from attnaudit.errors import SettingsError

HEAD, TAIL = "[head]", "[tail]"
"""The default tokens before and after every text."""
LENGTH = 10
"""Words of a text, default tokens not counted."""
PRAISE = (
    *("superb", "brilliant", "lovely", "charming", "splendid"),
    *("wonderful", "delightful", "excellent", "perfect", "magical"),
)
BLAME = (
    *("awful", "dreadful", "boring", "clumsy", "horrible"),
    *("terrible", "tedious", "dismal", "pathetic", "lousy"),
)
NEUTRAL = (
    *("table", "window", "river", "paper", "street", "garden", "bottle", "ticket", "engine"),
    *("mirror", "ladder", "basket", "carpet", "pencil", "bridge", "market", "station", "island"),
    *("kitchen", "library", "harbour", "village", "mountain", "valley", "forest", "meadow"),
    *("winter", "summer", "morning", "evening", "number", "letter", "bicycle", "lantern"),
    *("curtain", "drawer", "button", "jacket", "shovel", "hammer", "candle", "blanket"),
    *("pillow", "saddle", "wagon", "barrel", "needle", "thread", "copper", "marble"),
    *("tunnel", "corner", "square", "tower", "cellar", "attic", "fence", "orchard", "pond"),
    "quarry",
)
_VOTES = 5


def generate_bow_splits(
    n_train: int = SPLITS["train"],
    n_dev: int = SPLITS["dev"],
    n_test: int = SPLITS["test"],
    seed: int = 0,
) -> dict[str, Dataset]:
    """Ten words, five of praise or blame in any place; the label is what most of those say.

    Honest weights suffice: whoever is shown the words of opinion knows the label. Truth marks all
    five. Default tokens stand at both ends.

    Args:
        n_train: Records of the training split.
        n_dev: Records of the development split.
        n_test: Records of the test split.
        seed: Same seed, same records, in any process.

    Raises:
        SettingsError: A split of fewer than two records.

    Example:
        >>> record = generate_bow_splits(2, 2, 2)["train"].records[0]
        >>> len(record.units), sum(record.truth), record.units[0], record.units[-1]
        (12, 5, '[head]', '[tail]')
    """
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    made = task_splits("bow", CLASSES, sizes, seed, _write_bow, ("honest weights suffice",))
    return {name: with_defaults(data) for name, data in made.items()}


def generate_order_splits(
    n_train: int = SPLITS["train"],
    n_dev: int = SPLITS["dev"],
    n_test: int = SPLITS["test"],
    seed: int = 0,
) -> dict[str, Dataset]:
    """Ten words, one of praise and one of blame; the label says which of the two comes first.

    A model that pools context-free vectors cannot know it from any honest weights: both labels
    have the same words. Accuracy above 0.5 is then a shortcut. Truth marks the two words. Default
    tokens stand at both ends.

    Args:
        n_train: Records of the training split.
        n_dev: Records of the development split.
        n_test: Records of the test split.
        seed: Same seed, same records, in any process.

    Raises:
        SettingsError: A split of fewer than two records.

    Example:
        >>> record = generate_order_splits(2, 2, 2)["train"].records[0]
        >>> [unit for unit, true in zip(record.units, record.truth) if true], record.label
        (['awful', 'delightful'], 0)
    """
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    notes = ("no honest weights on context-free vectors carry the label",)
    made = task_splits("order", CLASSES, sizes, seed, _write_order, notes)
    return {name: with_defaults(data) for name, data in made.items()}


def with_defaults(data: Dataset, head: str = HEAD, tail: str = TAIL) -> Dataset:
    """The same records with one default token before and one after every text, as units.

    Args:
        data: Any data set; questions are kept as they are.
        head: The token before.
        tail: The token after.

    Raises:
        SettingsError: A token that is empty or holds whitespace.

    Example:
        >>> from attnaudit.data.texts.tokens import text_record
        >>> data = Dataset("demo", (text_record("a", "Fine film."),), ("neg", "pos"))
        >>> with_defaults(data).records[0].units
        ('[head]', 'Fine', 'film', '.', '[tail]')
    """
    for token in (head, tail):
        if token.split() != [token]:
            raise SettingsError(f"{token!r} is no token: give one without whitespace")
    note = f"default tokens {head} and {tail} around every text"
    records = [_surrounded(record, head, tail) for record in data]
    return replace(data, records=tuple(records), notes=(*data.notes, note))


def default_tokens(count: int) -> tuple[str, ...]:
    """The tokens of `only_defaults`, all different.

    Example:
        >>> default_tokens(2)
        ('[default1]', '[default2]')
    """
    return tuple(f"[default{number}]" for number in range(1, count + 1))


def only_defaults(data: Dataset, k: int = 5) -> Dataset:
    """Pairs whose units are `k` default tokens, the same in every record; the text is the question.

    What can be attended to says nothing of the label, so whatever a model without access to the
    question behind its weights gets right, it reads from the weights. Nothing is evidence, and no
    record has truth.

    Args:
        data: Texts. Questions that they have already are left out.
        k: How many default tokens, 1 or more.

    Raises:
        SettingsError: `k` is below 1.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; give 1 default token or more")
    text, offsets = join_units(default_tokens(k))
    records = [as_pair(cut_record(r.id, text, offsets, r.label), r.text, r.units) for r in data]
    note = f"the units are {k} default tokens; the text stands in the place of the question"
    name = f"{data.name}_only_defaults"
    return replace(data, name=name, records=tuple(records), notes=(*data.notes, note))


def _surrounded(record: Text, head: str, tail: str) -> Text:
    shift = len(head) + 1
    text = f"{head} {record.text} {tail}"
    inner = [(start + shift, end + shift) for start, end in record.offsets]
    truth = None if record.truth is None else (False, *record.truth, False)
    return replace(
        record,
        text=text,
        units=(head, *record.units, tail),
        offsets=((0, len(head)), *inner, (len(text) - len(tail), len(text))),
        truth=truth,
    )


def _write_bow(rng: random.Random, label: int) -> Text:
    most = rng.randint(_VOTES // 2 + 1, _VOTES)
    sides = (PRAISE, BLAME) if label else (BLAME, PRAISE)
    votes = [rng.choice(sides[0 if number < most else 1]) for number in range(_VOTES)]
    return _scattered(rng, label, votes, keep_order=False)


def _write_order(rng: random.Random, label: int) -> Text:
    both = [rng.choice(PRAISE), rng.choice(BLAME)]
    return _scattered(rng, label, both if label else both[::-1], keep_order=True)


def _scattered(rng: random.Random, label: int, keywords: Sequence[str], keep_order: bool) -> Text:
    """The keywords among neutral words; they are the truth."""
    places = rng.sample(range(LENGTH), len(keywords))
    if keep_order:
        places.sort()
    units = [rng.choice(NEUTRAL) for _ in range(LENGTH)]
    for place, word in zip(places, keywords, strict=True):
        units[place] = word
    text, offsets = join_units(units)
    return cut_record("", text, offsets, label, [n in places for n in range(LENGTH)])
