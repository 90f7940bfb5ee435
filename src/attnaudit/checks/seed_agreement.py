"""Agreement of seeds: which instances matter to each; it needs no labels of instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.checks.declaration import MANY_SEEDS, Check
from attnaudit.data.kinds import BAGS
from attnaudit.evidence.seeds.evidence import SeedEvidence, Seeds
from attnaudit.evidence.seeds.layout import Layout
from attnaudit.findings.estimates import above, average, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import Block, estimates_table
from attnaudit.findings.settings import LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import Statistic
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.rank import kendall_tau, spearman
from attnaudit.measures.ties import settled
from attnaudit.measures.top_k import top_shares

SAME_TOP = Bar(
    "seed_agreement",
    0.50,
    "Share of bags in which two seeds give the same instance the largest weight, from which they "
    "tell one story. Ours.",
)
LEAST_SEEDS = Bar(
    "agreeing_seeds",
    3,
    "Fewer accurate seeds are one pair at most, which says nothing of the others. Ours.",
    least=1,
    most=math.inf,
    whole=True,
)
MOST_PAIRS = 60
"""Pairs of seeds compared, at most; drawn by the seed of the settings."""
KENDALL_CELLS = 2e8
"""Beyond so many pairs of instances Kendall's tau is left out, for its time."""
NOTES = (
    "Seeds can agree and be wrong together: what all of them pass over cannot be seen this way.",
    "The order of instances that say nothing is chance in a good network too, so that Spearman can "
    "be low where all seeds find the keys; the verdict rests on the top instance.",
)


def conclude(evidence: SeedEvidence) -> list[Finding]:
    """Whether accurate seeds tell one story."""
    return [
        agreement_finding(
            evidence.members.weights,
            evidence.layout,
            evidence.accurate,
            evidence.settings,
            evidence.good,
        )
    ]


def pair_agreement(
    weights: Float[Tensor, "S T"], layout: Layout, seed: int = 0
) -> dict[str, Float[Tensor, " n"]]:
    """Mean agreement of pairs of seeds in each bag.

    Args:
        weights: One row a seed.
        layout: The bags.
        seed: Of the draw of pairs, where there are more than `MOST_PAIRS`.

    Returns:
        `spearman` and `kendall_tau` (−1 to 1), `same_top` (0 to 1), `jsd` (0 to ln 2), `(n,)`
        each, NaN in bags where no pair has a value; none with one seed.
    """
    pairs = _pairs(len(weights), seed)
    if not pairs:
        return {}
    found = {"spearman": [], "same_top": [], "jsd": []}  # type: dict[str, list[Tensor]]
    cells = float((layout.sizes.double() ** 2).sum()) * len(pairs)
    if cells <= KENDALL_CELLS:
        found["kendall_tau"] = []
    for a, b in pairs:
        rows = {name: torch.full((len(layout),), math.nan, dtype=torch.float64) for name in found}
        for bags, index, mask in layout.groups(2):
            x, y = (w[index].double().masked_fill(~mask, 0.0) for w in (weights[a], weights[b]))
            rows["jsd"][bags] = jensen_shannon(x, y)
            x, y = (settled(values, mask, "own") for values in (x, y))
            rows["spearman"][bags] = spearman(x, y, mask)
            one = torch.ones(len(bags), dtype=torch.int64)
            tops = top_shares(x, mask, one), top_shares(y, mask, one)
            rows["same_top"][bags] = (tops[0] * tops[1]).sum(-1)
            if "kendall_tau" in found:
                rows["kendall_tau"][bags] = kendall_tau(x, y, mask).value
        for name, values in rows.items():
            found[name].append(values)
    return {name: torch.stack(values).nanmean(0) for name, values in found.items()}


def chance_divergence(weights: Float[Tensor, "S T"], layout: Layout, seed: int = 0) -> float | None:
    """Mean divergence of pairs of seeds when the weights of one stand in random order in the bag.

    What `jsd` would be of seeds whose weights are as peaked and do not agree.

    Args:
        weights: As in `pair_agreement`.
        layout: The bags.
        seed: Of the pairs and the order.

    Returns:
        From 0 to ln 2; None with one seed.
    """
    drawn = torch.Generator().manual_seed(seed)
    found = []
    for a, b in _pairs(len(weights), seed):
        for _, index, mask in layout.groups(2):
            x, y = (w[index].double().masked_fill(~mask, 0.0) for w in (weights[a], weights[b]))
            # padding sorts last, so that it stays where it is
            keys = torch.rand(mask.shape, generator=drawn, dtype=torch.float64)
            found.append(jensen_shannon(x, y.gather(-1, keys.masked_fill(~mask, 2.0).argsort(-1))))
    return float(torch.cat(found).nanmean()) if found else None


def agreement_nulls(
    weights: Float[Tensor, "S T"], layout: Layout, seed: int = 0
) -> dict[str, float | None]:
    """What each number of `pair_agreement` is between seeds that do not agree."""
    return {
        "spearman": 0.0,
        "kendall_tau": 0.0,
        "same_top": float((1 / layout.sizes.double()).mean()),
        "jsd": chance_divergence(weights, layout, seed),
    }


def agreement_finding(
    weights: Float[Tensor, "S T"],
    layout: Layout,
    accurate: Sequence[int],
    settings: Settings,
    good: bool = True,
) -> Finding:
    """Whether two training runs of the same network tell one story; needs no instance labels.

    Args:
        weights: One row a seed.
        layout: The bags.
        accurate: Places of the accurate seeds, on which the verdict rests; inconclusive with fewer
            than `agreeing_seeds`.
        settings: Settings and bars.
        good: Whether enough seeds do their task.
    """
    estimates = []
    for group, places in (("accurate", list(accurate)), ("all", list(range(len(weights))))):
        found = pair_agreement(weights[places], layout, settings.seed)
        nulls = agreement_nulls(weights[places], layout, settings.seed)
        estimates += [
            average(
                values.numpy(),
                settings,
                statistic=name,
                subject="seed~seed",
                group=group,
                null=nulls.get(name),
            )
            for name, values in found.items()
        ]
    headline = next((e for e in estimates if e.statistic == "same_top"), None)
    verdict = Verdict.NOT_APPLICABLE
    if not good or headline is None or headline.group != "accurate":
        sentence = "Too few accurate seeds to compare their weights."
        headline = None
    else:
        verdict = above(headline, settings.bar(SAME_TOP), settings.least)
        if len(accurate) < settings.bar(LEAST_SEEDS):
            verdict = Verdict.INCONCLUSIVE
        sentence = _sentence(verdict, estimates, headline)
    return Finding(
        check="seed_agreement",
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=tuple(estimates),
        thresholds=settings.used(SAME_TOP, LEAST_SEEDS, LEAST_INSTANCES),
        notes=NOTES if headline is not None else (),
    )


def _sentence(verdict: Verdict, estimates: Sequence[Estimate], headline: Estimate) -> str:
    said = {
        Verdict.PASS: "Accurate seeds tell one story",
        Verdict.FAIL: "Accurate seeds tell different stories",
        Verdict.INCONCLUSIVE: "Whether accurate seeds tell one story cannot be decided",
    }.get(verdict, "The weights of seeds cannot be compared")
    rank = next(e for e in estimates if e.statistic == "spearman" and e.group == "accurate")
    return (
        f"{said}: two seeds have the same top instance in an average share of {spoken(headline)} "
        f"of the bags, {headline.null or 0.0:.2f} by chance; mean Spearman between their weights "
        f"is {spoken(rank)}. Both are means over bags and pairs of seeds."
        + (" Do not show the weights of a single training run." if verdict is Verdict.FAIL else "")
    )


def _pairs(seeds: int, seed: int) -> list[tuple[int, int]]:
    pairs = list(combinations(range(seeds), 2))
    if len(pairs) <= MOST_PAIRS:
        return pairs
    drawn = np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False)
    return [pairs[i] for i in sorted(drawn.tolist())]


def picture(evidence: SeedEvidence, findings: Sequence[Finding]) -> list[Block]:
    """Every number of the agreement of seeds."""
    return [estimates_table("Agreement of pairs of seeds", findings[0].estimates)]


SEED_AGREEMENT = Check(
    name="seed_agreement",
    title="Agreement of seeds",
    paper="ours, after Haab et al. 2022",
    question="Do seeds agree on which instances matter?",
    statistic="mean over bags of the share of pairs of seeds with the same top instance",
    null="one over the number of instances, mean over bags",
    higher_is_better=True,
    group=MANY_SEEDS,
    kinds=(BAGS,),
    asks=Seeds(),
    conclude=conclude,
    decisive=False,
    caveat="Seeds can agree and be wrong together.",
    bars=(SAME_TOP, LEAST_SEEDS, LEAST_INSTANCES),
    bar=SAME_TOP,
    picture=picture,
    words={
        "same_top": Statistic(
            "share with the same top", "bags in which two seeds weigh one instance most", True
        )
    },
    cost="trains the network once per seed, side by side",
)
