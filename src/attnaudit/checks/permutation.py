"""Permutation: does the output change when the same weights stand elsewhere?"""

from __future__ import annotations

import polars as pl
import torch

from attnaudit.checks.declaration import Check, Columns, Facts
from attnaudit.evidence.batch.view import View, column
from attnaudit.findings.estimates import (
    above,
    average,
    by_max_weight,
    by_predicted,
    share,
    spoken,
    values_of,
)
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.measures.divergence import total_variation


def measure(view: View) -> Columns:
    """The median, and the largest, output change over permutations of the weights."""
    encoded = view.encoded
    _, outputs = view.permutations
    change = total_variation(outputs, encoded.probabilities.unsqueeze(1))
    flips = (outputs.argmax(-1) != encoded.predicted.unsqueeze(1)).double().mean(1)
    # permuting equal weights changes nothing by construction: no value rather than a 0
    constant = view.constant
    median = change.double().quantile(0.5, dim=1)
    return {
        "median_tvd": column(median.masked_fill(constant, torch.nan)),
        "largest_tvd": column(change.double().amax(1).masked_fill(constant, torch.nan)),
        "flip_share": column(flips.masked_fill(constant, torch.nan)),
    }


def conclude(frame: pl.DataFrame, facts: Facts) -> list[Finding]:
    """The mean of the medians against the bar; bins of the largest weight beside it."""
    settings, bars = facts.settings, facts.settings.thresholds
    estimates = []
    for group, part in by_predicted(frame, facts.classes):
        median = values_of(part, "median_tvd")
        about = {"subject": "weights", "group": group}
        estimates += [
            average(median, settings, statistic="median_tvd", null=0.0, **about),
            average(
                values_of(part, "flip_share"), settings, statistic="flip_share", null=0.0, **about
            ),
        ]
        for bin_name, inside in by_max_weight(part):
            label = bin_name if group == "all" else f"{group}, {bin_name}"
            if len(inside):
                estimates.append(
                    average(
                        values_of(inside, "median_tvd"),
                        settings,
                        statistic="median_tvd",
                        subject="weights",
                        group=label,
                        null=0.0,
                    )
                )
    headline = estimates[0]
    small = values_of(frame, "median_tvd")
    flags = (small <= bars.epsilon).astype(float)
    flags[small != small] = float("nan")
    same = share(flags, settings, statistic="same_prediction_share", subject="weights")
    verdict = above(headline, bars.permutation_tvd, bars.least_instances)
    sentence = {
        Verdict.PASS: "Giving the same weights to other units changes the prediction: the "
        f"median change over permutations is {spoken(headline)}, mean over instances.",
        Verdict.FAIL: "Giving the same weights to other units hardly changes the prediction: the "
        f"median change over permutations is {spoken(headline)}, mean over instances.",
        Verdict.INCONCLUSIVE: "Whether the prediction depends on where the weights stand cannot "
        f"be decided: the median change over permutations is {spoken(headline)}, mean over "
        "instances.",
        Verdict.NOT_APPLICABLE: "The weights of every instance are all equal, so permuting them "
        "changes nothing.",
    }[verdict]
    notes: tuple[str, ...] = ()
    if headline.undefined:
        notes = (f"{headline.undefined} instances have equal weights and are counted apart.",)
    return [
        Finding(
            check="permutation",
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(*estimates, same),
            thresholds={
                "permutation_tvd": bars.permutation_tvd,
                "epsilon": bars.epsilon,
                "least_instances": float(bars.least_instances),
            },
            notes=notes,
        )
    ]


PERMUTATION = Check(
    name="permutation",
    title="Permuted weights",
    paper="Jain & Wallace 2019, section 4.2.1",
    question="Does the prediction change when the same weights are given to other units?",
    statistic="mean over instances of the median total variation distance over permutations",
    null="0: the prediction does not depend on which unit has which weight",
    higher_is_better=True,
    range=(0.0, 1.0),
    needs=frozenset(),
    decisive=True,
    caveat="Near-uniform weights change little when permuted, whatever they mean: read the bins. "
    "A model that can decide from any unit also changes little.",
    measure=measure,
    conclude=conclude,
    attributions=(),
)
