"""A generated task for one text, where attention is useless: many weak cues, all alike.

A third of all units are words of praise or blame, and each agrees with the label with the same
probability. The best that can be done is to count them, which an average does.
"""

from __future__ import annotations

import functools
import math
import random
from statistics import fmean

from attnaudit.data.generated.opinions import ADJECTIVES, NEGATIVE, POSITIVE
from attnaudit.data.generated.reviews import CLASSES
from attnaudit.data.generated.tasks import SPLITS, task_splits
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import SettingsError

SIDES = (
    *("soup", "bread", "kitchen", "garden", "room", "music", "cellar", "coffee", "menu", "terrace"),
    *("wine", "bar", "hall", "fish", "cake", "window", "lamp", "table", "view", "lift"),
    *("bed", "pool", "shop", "path", "door", "carpet", "salad", "tea", "service", "lobby"),
)


def polarity_ceiling(cues: tuple[int, ...], agreement: float) -> float:
    """The best accuracy that any model can have on the task: that of a majority vote.

    Args:
        cues: Odd numbers of cues that a text may have, each as often as the others.
        agreement: How probable it is that a cue agrees with the label.

    Example:
        >>> round(polarity_ceiling((1,), 0.7), 3), round(polarity_ceiling((3,), 0.7), 3)
        (0.7, 0.784)
    """
    return fmean(
        sum(
            math.comb(n, k) * agreement**k * (1 - agreement) ** (n - k)
            for k in range(n // 2 + 1, n + 1)
        )
        for n in cues
    )


def generate_polarity_splits(
    n_train: int = SPLITS["train"],
    n_dev: int = SPLITS["dev"],
    n_test: int = SPLITS["test"],
    seed: int = 0,
    cues: tuple[int, ...] = (15, 17, 19, 21, 23, 25),
    agreement: float = 0.65,
) -> dict[str, Dataset]:
    """Texts of many impressions, each with one word of praise or blame.

    Truth marks the cues that agree with the label.

    Args:
        n_train: Records of the training split.
        n_dev: Records of the development split.
        n_test: Records of the test split.
        seed: Same seed, same records, in any process.
        cues: How many impressions a text may have; odd numbers, so that no vote is a tie.
        agreement: How probable it is that a cue agrees with the label, above 0.5 and below 1.

    Raises:
        SettingsError: An option out of range.
    """
    if not cues or any(n % 2 == 0 or n < 1 for n in cues):
        raise SettingsError(f"cues must be odd numbers from 1 up, got {cues}")
    if not 0.5 < agreement < 1:
        raise SettingsError(f"agreement must be above 0.5 and below 1, got {agreement}")
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    notes = (f"no model can expect more than accuracy {polarity_ceiling(cues, agreement):.3f}",)
    write = functools.partial(_write, cues=cues, agreement=agreement)
    return task_splits("polarity", CLASSES, sizes, seed, write, notes)


def _write(rng: random.Random, label: int, cues: tuple[int, ...], agreement: float) -> Text:
    polarity = POSITIVE if label else NEGATIVE
    agrees = [rng.random() < agreement for _ in range(rng.choice(cues))]
    words = [rng.choice(ADJECTIVES.common(polarity if same else -polarity)) for same in agrees]
    text = ", ".join(f"{word} {rng.choice(SIDES)}" for word in words) + "."
    truth = [flag for same in agrees for flag in (same, False, False)]
    return text_record("", text[0].upper() + text[1:], label, truth)
