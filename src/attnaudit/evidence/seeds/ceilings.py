"""What can be reached at best on generated bags, by Bayes' rule."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from attnaudit.data.bags.ceiling import bayes_bag_scores, bayes_ceiling
from attnaudit.data.bags.loading import GENERATED
from attnaudit.data.bags.modalities import Modality
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.rules import Rule
from attnaudit.errors import NotApplicable
from attnaudit.measures.detection import roc_auc

Share = Annotated[float, Field(ge=0, le=1)]


class Ceilings(BaseModel):
    """What can be reached at best, where it is known.

    Attributes:
        instance: AUROC of the best score of single instances, or None.
        bag: AUC of the best bag scores on the test bags, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance: Share | None = None
    bag: Share | None = None


def ceilings_of(name: object, test: BagDataset) -> Ceilings:
    """The ceilings of generated data, by its name; none of other data."""
    if not isinstance(name, str) or name not in GENERATED:
        return Ceilings()
    rule, modality = name.rsplit("-", 1)
    return known_ceilings(rule, modality, test)


def known_ceilings(
    rule: str | Rule, modality: str | Modality, test: BagDataset, **options: Any
) -> Ceilings:
    """The ceilings of instance scores and of bag scores, where they are known.

    Args:
        rule: With which the bags were generated.
        modality: With which they were generated.
        test: The test bags, as they were generated (not scaled).
        **options: Of the modality.

    Example:
        >>> from attnaudit.data.bags.generated import generate_bags
        >>> test = generate_bags("presence", "gaussian", 400, delta=2.0)
        >>> found = known_ceilings("presence", "gaussian", test, delta=2.0)
        >>> round(found.instance, 3), 0.7 < found.bag < 0.9
        (0.921, True)
    """
    try:
        scores = bayes_bag_scores(test, rule, modality, **options)
        bag: float | None = roc_auc([int(bag.label or 0) for bag in test], scores)
    except NotApplicable:
        bag = None
    return Ceilings(instance=bayes_ceiling(rule, modality, **options), bag=bag)
