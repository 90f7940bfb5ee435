"""What can be known at best about generated bags, by Bayes' rule from how they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from scipy.stats import binom

from attnaudit.data.bags.modalities import Modality, find_modality
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.rules import Rule, find_rule
from attnaudit.errors import NotApplicable

Values = npt.NDArray[np.float64]


def bayes_ceiling(rule: str | Rule, modality: str | Modality, **options: Any) -> float | None:
    """The best AUROC that scores of single instances can have as a detector of keys.

    For Gaussian instances of one key type that is Φ(Δ/√2), by the likelihood ratio. With several
    key types the best order of instances depends on the rest of the bag, and with digits on how
    they are written: then it is not known.

    Args:
        rule: As in `generate_bags`.
        modality: As in `generate_bags`.
        **options: Of the modality.

    Returns:
        From 0.5 to 1, or None where it is not known.

    Example:
        >>> round(bayes_ceiling("presence", "gaussian", delta=3.0), 3)
        0.983
        >>> bayes_ceiling("conjunction", "gaussian") is None, bayes_ceiling("T3", "motifs")
        (True, 1.0)
    """
    known, made = find_rule(rule), find_modality(modality, **options)
    return made.ceiling if known.types == 1 or made.ceiling == 1 else None


def bayes_bag_scores(
    data: BagDataset,
    rule: str | Rule,
    modality: str | Modality = "gaussian",
    key_rate: float | None = None,
    **options: Any,
) -> Values:
    """The probability that each bag is positive, for one who knows how bags are generated.

    No model can expect a larger bag AUC than these probabilities have. Each instance is a key with
    a probability that follows from its likelihood ratio; the number of keys then has a
    Poisson-binomial distribution, and the rule says which numbers are positive.

    Args:
        data: Bags of `generate_bags`.
        rule: The rule of one key type and two classes with which they were generated.
        modality: The modality with which they were generated: Gaussian instances.
        key_rate: As it was then.
        **options: Of the modality, as they were then.

    Returns:
        `(bags,)` in [0, 1], in the order of the bags.

    Raises:
        NotApplicable: Several key types, more classes, or another modality.

    Example:
        >>> from attnaudit.data.bags.generated import generate_bags
        >>> data = generate_bags("presence", "gaussian", 4, delta=6.0)
        >>> bayes_bag_scores(data, "presence", delta=6.0).round().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    rule, modality = find_rule(rule), find_modality(modality, **options)
    if modality.shift is None or rule.types != 1 or len(rule.classes) != 2:
        raise NotApplicable(
            f"the best bag scores are known for Gaussian instances and rules of one key type and "
            f"two classes, not for {rule.name} and {modality.name}"
        )
    rate = rule.key_rate if key_rate is None else key_rate
    prior = np.log(rate / (1 - rate))
    scores = []
    for bag in data:
        first = bag.instances[:, 0].double().numpy()
        is_key = expit(prior + modality.shift * first - modality.shift**2 / 2)
        numbers = np.arange(len(bag) + 1)
        positive = rule.labels(numbers[:, None], len(bag)) == 1
        # Bags are balanced by label, so that the chance of a label among all bags counts out.
        before = binom.pmf(numbers, len(bag), rate)
        now = _number_of_keys(is_key)
        odds = [now[part].sum() / before[part].sum() for part in (positive, ~positive)]
        scores.append(odds[0] / (odds[0] + odds[1]))
    return np.array(scores)


def _number_of_keys(chances: Values) -> Values:
    """How probable each number of successes is, `(n + 1,)`, by adding one trial at a time."""
    found = np.zeros(len(chances) + 1)
    found[0] = 1.0
    for chance in chances:
        found[1:] = found[1:] * (1 - chance) + found[:-1] * chance
        found[0] *= 1 - chance
    return found
