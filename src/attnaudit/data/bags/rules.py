"""Rules: how the label of a generated bag follows from how often each key type occurs in it.

Presence, threshold and count are the families of Foulds & Frank (2010); the others are simple
extensions. Haab et al. (2022) speak of "classical multiple-instance-learning problems and simple
extensions" without a list, so the list is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attnaudit.errors import SettingsError

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NO_LABEL = -1
"""What a rule says of counts to which it gives no label; such bags are not generated."""
KEY_RATE = 0.1
"""How probable each key type is at an instance, as for one digit of ten."""


@dataclass(frozen=True)
class Rule:
    """How labels follow from key instances.

    Key instances are those of a key type of the rule, in bags of every label: for each of them
    there are bags in which an ordinary instance in its place would change the label.

    Attributes:
        name: What `generate_bags` takes.
        code: Its short name, T1 to T8.
        title: The rule in words.
        types: How many key types it knows.
        classes: The names of the labels, in index order.
        labels: From counts `(M, types)` and the bag's size to labels `(M,)`, or `NO_LABEL`.
        key_rate: How probable each key type is at an instance, before bags are chosen by label.
    """

    name: str
    code: str
    title: str
    types: int
    classes: tuple[str, ...]
    labels: Callable[[Counts, int], Counts]
    key_rate: float = KEY_RATE


def _rule(code: str, name: str, title: str, types: int, holds: Callable[[Counts], Flags]) -> Rule:
    """A rule of two classes that looks at counts `(M, types)` alone."""

    def labels(counts: Counts, size: int) -> Counts:
        return holds(counts).astype(np.int64)

    return Rule(name, code, title, types, ("negative", "positive"), labels)


def threshold(least: int = 2) -> Rule:
    """T2: positive iff the key type occurs at least so often.

    Raises:
        SettingsError: `least` is below 1.

    Example:
        >>> threshold(3).labels(np.array([[2], [3]]), 10).tolist()
        [0, 1]
    """
    if least < 1:
        raise SettingsError(f"the threshold is 1 or more, got {least}")
    title = f"positive iff {least} or more instances are of the key type"
    return _rule("T2", "threshold", title, 1, lambda counts: counts[:, 0] >= least)


def proportion(share: float = 0.5) -> Rule:
    """T7: positive iff more than this share of the instances is of the key type.

    Instances are of the key type with this probability, so that most bags are close to the share.

    Raises:
        SettingsError: `share` is not between 0 and 1.

    Example:
        >>> proportion(0.5).labels(np.array([[5], [6]]), 10).tolist()
        [0, 1]
    """
    if not 0 < share < 1:
        raise SettingsError(f"the share is above 0 and below 1, got {share}")

    def labels(counts: Counts, size: int) -> Counts:
        # A margin for shares that are no binary fractions: 3 of 10 are not more than 0.3.
        return (counts[:, 0] > share * size + 1e-9).astype(np.int64)

    title = f"positive iff more than {share:.0%} of the instances are of the key type"
    return Rule("proportion", "T7", title, 1, ("negative", "positive"), labels, share)


def multi_class(types: int = 3) -> Rule:
    """T8: the label is the one key type that occurs, or none.

    Raises:
        SettingsError: Fewer than two types.

    Example:
        >>> multi_class(2).labels(np.array([[0, 0], [0, 4], [1, 1]]), 10).tolist()
        [0, 2, -1]
    """
    if types < 2:
        raise SettingsError(f"several classes need 2 or more key types, got {types}")

    def labels(counts: Counts, size: int) -> Counts:
        present = counts > 0
        only = np.where(present.any(1), present.argmax(1) + 1, 0)
        return np.where(present.sum(1) > 1, NO_LABEL, only).astype(np.int64)

    classes = ("none", *(f"type {number}" for number in range(1, types + 1)))
    title = f"the label is which one of {types} key types occurs, or none"
    return Rule("multi_class", "T8", title, types, classes, labels)


_RULES = (
    _rule(
        "T1",
        "presence",
        "positive iff an instance is of the key type",
        1,
        lambda counts: counts[:, 0] > 0,
    ),
    threshold(),
    _rule(
        "T3",
        "conjunction",
        "positive iff both key types occur",
        2,
        lambda counts: (counts > 0).sum(1) == 2,
    ),
    _rule(
        "T4",
        "disjunction",
        "positive iff one of two key types occurs, or both",
        2,
        lambda counts: (counts > 0).sum(1) > 0,
    ),
    _rule(
        "T5",
        "exclusive_or",
        "positive iff exactly one of two key types occurs",
        2,
        lambda counts: (counts > 0).sum(1) == 1,
    ),
    _rule(
        "T6",
        "absence",
        "positive iff no instance is of the key type",
        1,
        lambda counts: counts[:, 0] == 0,
    ),
    proportion(),
    multi_class(),
)
RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}


def find_rule(rule: str | Rule) -> Rule:
    """The rule of that name or short name; a `Rule` is what it is.

    Raises:
        SettingsError: There is none.

    Example:
        >>> find_rule("T3").name
        'conjunction'
    """
    if isinstance(rule, Rule):
        return rule
    by_code = {known.code: known for known in _RULES}
    if rule not in RULES and rule.upper() not in by_code:
        known = ", ".join(f"{entry.name} ({entry.code})" for entry in _RULES)
        raise SettingsError(f"unknown rule {rule!r}: choose one of {known}")
    return RULES.get(rule) or by_code[rule.upper()]
