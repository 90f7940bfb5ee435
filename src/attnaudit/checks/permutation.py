"""Permutation: does the output change when the same weights stand elsewhere?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import torch
from torch import Tensor

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import (
    BINS,
    above,
    average,
    by_max_weight,
    by_predicted,
    share,
    spoken,
    values_of,
)
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    PALETTE,
    Distribution,
    Distributions,
    Figure,
    Guide,
    histogram,
    told,
)
from attnaudit.findings.settings import EPSILON, LEAST_INSTANCES, Bar
from attnaudit.findings.wording import Statistic, shortened, threshold, value_of
from attnaudit.measures.divergence import total_variation
from attnaudit.measures.odds import log_odds

MOVED = Bar(
    "permutation_moved",
    0.1,
    "Mean over instances of the median change in log-odds under permuted weights, over the largest "
    "effect of a unit. A tenth of what a unit does is next to nothing. Ours.",
)
MOST = 10.0
"""Log-odds that move by more than this many times the largest effect have moved, and no more."""
BINS_DRAWN = 40
MOST_CLASSES_DRAWN = 3
"""With more, four bins for each class are rows enough to lose sight, of few instances each."""


def measure(view: View) -> Columns:
    """The median, and the largest, output change over permutations of the weights."""
    encoded = view.encoded
    _, said = view.permutations
    outputs = said.exp()
    change = total_variation(outputs, encoded.probabilities.unsqueeze(1))
    flips = (outputs.argmax(-1) != encoded.predicted.unsqueeze(1)).double().mean(1)
    # permuting equal weights changes nothing by construction: no value rather than a 0
    constant = view.constant
    median = change.double().quantile(0.5, dim=1)
    return {
        "median_tvd": column(median.masked_fill(constant, torch.nan)),
        "largest_tvd": column(change.double().amax(1).masked_fill(constant, torch.nan)),
        "flip_share": column(flips.masked_fill(constant, torch.nan)),
        "moved": column(_moved(view, said).masked_fill(constant, torch.nan)),
        "partial": np.full(len(constant), view.encoded.model.partial),
    }


def _moved(view: View, said: Tensor) -> Tensor:
    """The median change in log-odds over the largest effect of a unit.

    Of a site in a transformer: over the most that any weights there can do. A probability near 1
    hardly moves whatever the weights do; its log-odds do.
    """
    encoded = view.encoded
    own = log_odds(encoded.outputs.double(), encoded.targets)
    change = (log_odds(said.double(), encoded.targets) - own.unsqueeze(1)).abs()
    if encoded.model.partial:
        # a unit acts through the whole model, of which the weights are a part
        largest = view.reach.odds
    else:
        effects = view.attribution("shapley").scores.double().abs()
        largest = effects.masked_fill(~view.units, 0.0).amax(1)
    share = change.nan_to_num(posinf=0.0).quantile(0.5, dim=1) / largest
    return share.clamp(max=MOST).masked_fill(~(largest > 0), torch.nan)


def conclude(evidence: Instances) -> list[Finding]:
    """The mean of the medians against the bar; bins of the largest weight beside it."""
    frame, settings = evidence.frame, evidence.settings
    estimates = []
    for group, part in by_predicted(frame, evidence.classes):
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
    drawn = frame.filter(pl.col("drawn"))
    headline = average(
        values_of(drawn, "moved"), settings, statistic="moved", subject="weights", null=0.0
    )
    small = values_of(frame, "median_tvd")
    flags = (small <= settings.bar(EPSILON)).astype(float)
    flags[small != small] = float("nan")
    same = share(flags, settings, statistic="same_prediction_share", subject="weights")
    verdict = above(headline, settings.bar(MOVED), settings.least)
    change = spoken(estimates[0])
    partial = "partial" in frame.columns and bool(frame["partial"].any())
    unit = (
        "the most that weights at this site can do" if partial else "the largest effect of a unit"
    )
    moved = (
        f"its log-odds move by {spoken(headline)} times {unit}, and the "
        f"probabilities by {change} (medians over permutations, means over instances)"
    )
    sentence = {
        Verdict.PASS: f"Giving the same weights to other units changes the prediction: {moved}.",
        Verdict.FAIL: "Giving the same weights to other units hardly changes the prediction: "
        f"{moved}.",
        Verdict.INCONCLUSIVE: "Whether the prediction depends on where the weights stand cannot "
        f"be decided: {moved}.",
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
            estimates=(headline, *estimates, same),
            thresholds=settings.used(MOVED, EPSILON, LEAST_INSTANCES),
            notes=notes,
        )
    ]


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How far the output moves under permuted weights, by the largest weight and the class."""
    frame, classes, finding = evidence.frame, evidence.classes, findings[0]
    if finding.headline is None or "median_tvd" not in frame.columns:
        return []

    def row(label: str, group: str, inside: pl.Expr, colour: str, short: str = "") -> Distribution:
        counts = histogram(values_of(frame.filter(inside), "median_tvd"), (0, 1), BINS_DRAWN)
        mean = estimate_of(finding, "median_tvd", "weights", group)
        return Distribution(label, counts, mean, colour, short)

    rows = [row("all instances", "all", pl.lit(True), MUTED)]
    split = len(classes) <= MOST_CLASSES_DRAWN
    for low, high in pairwise(BINS):
        inside = (pl.col("max_weight") >= low) & (pl.col("max_weight") < high)
        weight = f"max weight [{low:.2f}, {min(high, 1.0):.2f})"
        size = f"{low:.2f}–{min(high, 1.0):.2f}"
        label = f"largest weight {size}"
        if not split:
            rows.append(row(label, weight, inside, ACCENT, size))
        for index, name in enumerate(classes if split else ()):
            of_class, short = inside & (pl.col("predicted") == index), shortened(name, 12)
            group, colour = f"predicted={name}, {weight}", PALETTE[index % 4]
            rows.append(row(f"{label}, {short}", group, of_class, colour, f"{size}, {short}"))
    rows = [row for row in rows if sum(row.counts)]
    mean = estimate_of(finding, "median_tvd", "weights")
    same = finding.thresholds[EPSILON.name]
    return [
        Figure(
            "permutation",
            "How far the prediction moves when the same weights stand elsewhere: "
            f"{'nothing to see' if mean is None else value_of(mean)} on average",
            "Instances by their median output change over permutations, for each size of the "
            "largest weight"
            + (" and each predicted class" if split else "")
            + ". Near-uniform weights change little whatever they mean: read the lower rows. "
            "Heights are scaled within each row.",
            Distributions(
                rows=tuple(rows),
                domain=(0, 1),
                bins=BINS_DRAWN,
                axis="median output change (total variation, 0 to 1)",
                guides=(Guide(same, f"no change {threshold(same)}"),),
            ),
            told(rows),
        )
    ]


PERMUTATION = Check(
    name="permutation",
    title="Permuted weights",
    paper="Jain & Wallace 2019, section 4.2.1",
    question="Does the prediction change when the same weights are given to other units?",
    statistic="mean over instances of the median change in log-odds over permutations, in units of "
    "the largest effect (Shapley value) of a unit; at a site of a transformer, of the most that "
    "any weights there can do",
    null="0: the prediction does not depend on which unit has which weight",
    higher_is_better=True,
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure, ("shapley",)),
    conclude=conclude,
    decisive=True,
    caveat="Near-uniform weights change little when permuted, whatever they mean: read the bins. "
    "A model that can decide from any unit also changes little.",
    bars=(MOVED, EPSILON, LEAST_INSTANCES),
    bar=MOVED,
    picture=picture,
    words={
        "moved": Statistic(
            "mean move of the log-odds",
            "median over permutations, in units of the largest effect of a unit, at most 10",
        ),
        "median_tvd": Statistic(
            "mean of median output changes",
            "mean over instances of the median total variation over permutations, 0 to 1",
        ),
        "flip_share": Statistic("share of flips", "other weights that change the decision", True),
        "same_prediction_share": Statistic(
            "share unmoved", "instances whose median change is within epsilon", percent=True
        ),
    },
)
