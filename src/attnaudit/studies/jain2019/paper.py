"""The paper's own numbers: a few that everybody cites, the rest from a file where one is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnaudit.studies.jain2019.settings import SETTINGS

PAIRS = {
    "weights~gradient": "tau_attention_gradient",
    "weights~leave_one_out": "tau_attention_leave_one_out",
    "gradient~leave_one_out": "tau_gradient_leave_one_out",
}
CITED: dict[tuple[str, str], dict[str, float]] = {
    ("sst", "bilstm"): {
        "accuracy": 0.81,
        "weights~gradient": 0.35,
        "weights~leave_one_out": 0.29,
        "gradient~leave_one_out": 0.66,
    },
    ("sst", "average"): {"weights~gradient": 0.61},
    ("imdb", "bilstm"): {"accuracy": 0.90, "weights~gradient": 0.44},
    ("imdb", "average"): {"weights~gradient": 0.67},
    ("newsgroups_sports", "bilstm"): {"accuracy": 0.92, "weights~gradient": 0.13},
    ("newsgroups_sports", "average"): {"weights~gradient": 0.77},
    ("ag_news", "bilstm"): {"accuracy": 0.96, "weights~gradient": 0.39},
    ("ag_news", "average"): {"weights~gradient": 0.77},
    ("babi_1", "bilstm"): {"accuracy": 1.0, "weights~gradient": 0.25},
    ("babi_1", "average"): {"weights~gradient": 0.72},
    ("snli", "bilstm"): {"accuracy": 0.78},
}
"""Additive attention; tau over all test instances."""
SOURCE = "table 2 and the authors' released result files"


class Paper:
    """What the paper reports of a data set, an encoder and an attention; None where it does not."""

    def __init__(self, reference: Mapping[str, Any]) -> None:
        found = reference.get("results", {})
        self.results: Mapping[str, Any] = found if isinstance(found, Mapping) else {}

    def performance(
        self, data: str, encoder: str, attention: str, name: str = "accuracy"
    ) -> float | None:
        """`accuracy`, `roc_auc`, `f1` or `f1_macro` on the test split."""
        name = {"f1": "f1_positive"}.get(name, name)
        return self._number(data, encoder, attention, name, "performance", name)

    def tau(
        self,
        data: str,
        encoder: str,
        attention: str,
        pair: str,
        group: str = "overall",
        what: str = "mean",
    ) -> float | None:
        """Kendall's tau of a pair: its `mean`, its `std`, or the `sig`nificant share.

        `group` is `overall`, or a class as a digit.
        """
        cited = pair if (group, what) == ("overall", "mean") else ""
        path = (
            (PAIRS[pair], what) if pair == "gradient~leave_one_out" else (PAIRS[pair], group, what)
        )
        if pair == "gradient~leave_one_out" and group != "overall":
            return None
        return self._number(data, encoder, attention, cited, *path)

    def adversary(self, data: str, encoder: str, attention: str, what: str) -> float | None:
        """The largest divergence found by search: `mean`, `q25`, `median`, `q75`, over classes."""
        parts = self.adversary_by_class(data, encoder, attention)
        known = [v for v in (_float(part.get(what)) for part in parts) if v is not None]
        return sum(known) / len(known) if known else None

    def adversary_by_class(
        self, data: str, encoder: str, attention: str
    ) -> Sequence[Mapping[str, float]]:
        """Mean and quartiles of the largest divergence, class by class."""
        found = self._at(data, encoder, attention, "adversary_max_jsd")
        return [found[k] for k in sorted(found) if _mapping(found[k])] if _mapping(found) else []

    def peaked(self, data: str, encoder: str, attention: str) -> float | None:
        """Median output change where the largest weight is .5 or more: mean over bins and classes.

        Read off figures without the sizes of the bins, so it is rough.
        """
        parts = [
            part
            for bin_ in ("[0.50,0.75)", "[0.75,1.00)")
            for part in self.permutation(data, encoder, attention, bin_)
        ]
        known = [v for v in (_float(part.get("median")) for part in parts) if v is not None]
        return sum(known) / len(known) if known else None

    def permutation(
        self, data: str, encoder: str, attention: str, bin_: str
    ) -> Sequence[Mapping[str, float]]:
        """Quartiles of the median output change in a bin of the largest weight, class by class."""
        found = self._at(data, encoder, attention, "permutation_median")
        inside = found.get(bin_, []) if _mapping(found) else []
        return inside if isinstance(inside, list) else []

    def _number(
        self, data: str, encoder: str, attention: str, cited: str, *path: str
    ) -> float | None:
        found = _float(self._at(data, encoder, attention, *path))
        if found is not None or attention != "additive":
            return found
        return CITED.get((SETTINGS[data].reference, encoder), {}).get(cited)

    def _at(self, data: str, encoder: str, attention: str, *path: str) -> Any:
        at: Any = self.results.get(SETTINGS[data].reference, {})
        for step in (f"{encoder}+{attention}", *path):
            at = at.get(step, {}) if _mapping(at) else {}
        return at


def _mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
