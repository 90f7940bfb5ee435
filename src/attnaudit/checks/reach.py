"""Reach: can the weights at this site move the output at all?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attnaudit.checks.declaration import ATTENTION, Check, estimate_of
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, column
from attnaudit.findings.estimates import above, average, spoken, values_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import (
    ACCENT,
    MUTED,
    Distribution,
    Distributions,
    Figure,
    Guide,
    histogram,
    told,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar
from attnaudit.findings.wording import Statistic, threshold, value_of

NAME = "reach"
FLOOR = Bar(
    "reach_floor",
    0.05,
    "Largest change of the output (total variation) that weights at the site can bring about, mean "
    "over instances. Weights that can do less explain nothing, whatever they are. Ours.",
)
BINS_DRAWN = 40


def measure(view: View) -> Columns:
    """What the weights of a site can do; nothing of models whose output they alone decide."""
    if not view.encoded.model.partial:
        return {}
    reach, single = view.reach, view.single
    return {
        "change": column(reach.change.masked_fill(single, torch.nan)),
        "silenced": column(reach.silenced),
        "sink_mass": column(view.encoded.sink_mass.double()),
    }


def conclude(evidence: Instances) -> list[Finding]:
    """The mean over instances against the floor."""
    frame, settings = evidence.frame, evidence.settings
    if "change" not in frame.columns:
        return []
    headline, silenced, sinks = (
        average(values_of(frame, name), settings, statistic=name, subject="weights", null=0.0)
        for name in ("change", "silenced", "sink_mass")
    )
    verdict = above(headline, settings.bar(FLOOR), settings.least)
    said = (
        f"with all weight on one unit the output moves by at most {spoken(headline)}, with none on "
        f"any by {spoken(silenced)} (total variation, means over instances); "
        f"{spoken(sinks)} of the weight rests on markers"
    )
    sentence = {
        Verdict.PASS: f"Weights at this site can move the output: {said}.",
        Verdict.FAIL: f"This site cannot move the output: {said}.",
        Verdict.INCONCLUSIVE: "Whether weights at this site can move the output cannot be "
        f"decided: {said}.",
        Verdict.NOT_APPLICABLE: "No instance has two units, so there is nothing to move.",
    }[verdict]
    return [
        Finding(
            check=NAME,
            subject="weights",
            verdict=verdict,
            sentence=sentence,
            headline=headline,
            estimates=(headline, silenced, sinks),
            thresholds=settings.used(FLOOR, LEAST_INSTANCES),
        )
    ]


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Figure]:
    """How far the output can be moved from this site, instance by instance."""
    frame, finding = evidence.frame, findings[0]
    if finding.headline is None or "change" not in frame.columns:
        return []
    rows = []
    for name, label, colour in (
        ("change", "all weight on one unit", ACCENT),
        ("silenced", "no weight on any unit", MUTED),
    ):
        counts = histogram(np.clip(values_of(frame, name), 0, 1), (0, 1), BINS_DRAWN)
        rows.append(Distribution(label, counts, estimate_of(finding, name, "weights"), colour))
    floor = finding.thresholds[FLOOR.name]
    return [
        Figure(
            NAME,
            f"What this site can do to the output: {value_of(finding.headline)} on average",
            "Instances by the largest change of the output that weights at the site bring about. "
            "Heights are scaled within each row.",
            Distributions(
                rows=tuple(rows),
                domain=(0, 1),
                bins=BINS_DRAWN,
                axis="output change (total variation, 0 to 1)",
                guides=(Guide(floor, f"floor {threshold(floor)}"),),
            ),
            told(rows),
        )
    ]


REACH = Check(
    name=NAME,
    title="Reach",
    paper="Serrano & Smith 2019 (weights to zero); one-hot rows: ours",
    question="Can the weights at this site move the output at all?",
    statistic="largest total variation with all of the words' weight on one unit, mean over "
    "instances",
    null="0: the output does not depend on the weights",
    higher_is_better=True,
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure),
    conclude=conclude,
    decisive=False,
    caveat="Of texts with more than 24 words, 24 drawn at random are tried. Markers keep their "
    "weight.",
    bars=(FLOOR, LEAST_INSTANCES),
    bar=FLOOR,
    gate=True,
    shut=(
        "These weights explain nothing: their site cannot move the output.",
        "Choose a site with more reach, or show an attribution of the whole model.",
    ),
    picture=picture,
    words={
        "change": Statistic("reach", "largest total variation with all weight on one unit"),
        "silenced": Statistic("silenced", "total variation with no weight on any unit"),
        "sink_mass": Statistic("sink mass", "share of the weight on markers", percent=True),
    },
)
