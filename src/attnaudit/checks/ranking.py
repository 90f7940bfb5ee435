"""Ranking: which of all explanations finds what the prediction rests on?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attnaudit.attribution import EVERY
from attnaudit.checks.declaration import RANKING as GROUP
from attnaudit.checks.declaration import Check
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.erasing import run_erased
from attnaudit.evidence.batch.view import Columns, View, as_ranked, column
from attnaudit.findings.estimates import average, spoken, values_of
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.pictures import (
    Block,
    Guide,
    IntervalRow,
    Row,
    Table,
    Value,
    interval_figure,
)
from attnaudit.findings.settings import LEAST_INSTANCES, Bar
from attnaudit.findings.wording import Statistic, interval_of, value_of
from attnaudit.findings.wording import subject as called
from attnaudit.measures.curves import area_over_fractions, removal_order, selected
from attnaudit.measures.detection import auroc, average_precision, token_f1

NAME = "ranking"
MARGIN = Bar(
    "ranking_margin",
    0.05,
    "How much more of the probability the best explanation must account for, mean over instances, "
    "before the weights count as behind it. As the erasure margin. Ours.",
)
ERASED = ("comprehensiveness", "sufficiency")
TRUTH = {"auroc": auroc, "average_precision": average_precision, "token_f1": token_f1}
EXPLAINED = "explained"


def measure(view: View) -> Columns:
    """Comprehensiveness and sufficiency by deletion of every method, and detection of evidence."""
    rows = view.rows
    if not len(rows):
        return {}
    some, size = view.sample, len(view.encoded)
    names = [name for name in view.applicable(EVERY) if name in EVERY]
    scores = {name: view.scores(name)[rows] for name in names}
    fractions = view.settings.fractions
    erase = []
    for name, values in scores.items():
        order = removal_order(as_ranked(name, values.nan_to_num(), some.units), some.units)
        parts = [selected(order, fraction, some.units) for fraction in fractions]
        erase += [*parts, *(some.units & ~part for part in parts)]
    index = torch.arange(len(some), device=some.units.device).repeat(len(erase))
    budget = view.settings.token_budget
    erased = run_erased(some, index, torch.cat(erase), "delete", budget)
    fall = some.of_target(some.outputs) - erased.probability.view(
        len(scores), 2, len(fractions), len(some)
    )
    found: dict[str, Tensor] = {}
    for place, (name, values) in enumerate(scores.items()):
        undefined = values.isnan().any(1) | view.single[rows]
        both = [area_over_fractions(curve.T, fractions) for curve in fall[place]]
        for kind, area in zip(ERASED, both, strict=True):
            found[f"{kind}.{name}"] = area.double().masked_fill(undefined, torch.nan)
        gap = (both[0] - both[1]).double()
        found[f"{EXPLAINED}.{name}"] = gap.masked_fill(undefined, torch.nan)
        found |= _detected(view, name, values, undefined)
    full = {}
    for name, values in found.items():
        whole = torch.full((size,), torch.nan, dtype=torch.float64)
        whole[rows.cpu()] = values.double().cpu()
        full[name] = column(whole)
    return full


def _detected(view: View, name: str, values: Tensor, undefined: Tensor) -> dict[str, Tensor]:
    if all(record.truth is None for record in view.records):
        return {}
    truth = view.truth[view.rows]
    unknown = truth.isnan().any(1) | undefined
    units = view.sample.units
    ranked = as_ranked(name, values.nan_to_num(), units)
    return {
        f"{kind}.{name}": function(ranked, truth.nan_to_num() > 0, units)
        .double()
        .masked_fill(unknown, torch.nan)
        for kind, function in TRUTH.items()
    }


def conclude(evidence: Instances) -> list[Finding]:
    """Every method, best first, with paired differences from the best one."""
    frame, settings = evidence.frame, evidence.settings
    methods = [m for m in EVERY if f"{EXPLAINED}.{m}" in frame.columns]
    if not methods:
        return []
    values = {m: values_of(frame, f"{EXPLAINED}.{m}") for m in methods}

    def mean(kind: str, method: str, null: float | None) -> Estimate:
        column = values_of(frame, f"{kind}.{method}")
        return average(column, settings, statistic=kind, subject=method, null=null)

    chance = mean(EXPLAINED, "random", None)
    found = {m: mean(EXPLAINED, m, chance.value) for m in methods}
    known = [m for m in methods if found[m].value is not None and m != "random"]
    if not known:
        return []
    order = sorted(known, key=lambda m: -(found[m].value or 0.0))
    best = order[0]
    behind = [
        average(
            values[best] - values[m],
            settings,
            statistic="behind",
            subject=m,
            null=0.0,
        )
        for m in (*order[1:], "random")
    ]
    kinds = [k for k in (*ERASED, *TRUTH) if f"{k}.weights" in frame.columns]
    others = [mean(kind, m, mean(kind, "random", None).value) for kind in kinds for m in methods]
    own = next((e for e in behind if e.subject == "weights"), None)
    margin = settings.bar(MARGIN)
    verdict = Verdict.INCONCLUSIVE
    if own is None or (own.high is not None and own.high < margin):
        verdict = Verdict.PASS
    elif own.low is not None and own.low >= margin:
        verdict = Verdict.FAIL
    headline = found["weights"] if "weights" in found else found[best]
    if headline.n < settings.least:
        verdict = Verdict.INCONCLUSIVE
    said = f"the best one, {called(best)}, accounts for {spoken(found[best])} of the probability"
    behind_by = "" if own is None else f"; the weights account for {spoken(own)} less"
    return [
        Finding(
            check=NAME,
            subject="weights",
            verdict=verdict,
            sentence=f"Of {len(known)} explanations, {said} (comprehensiveness less sufficiency, "
            f"mean over instances){behind_by}, random scores for {spoken(chance)} in all.",
            headline=headline,
            estimates=(*(found[m] for m in order), chance, *behind, *others),
            thresholds=settings.used(MARGIN, LEAST_INSTANCES),
            recommended=best if verdict is Verdict.FAIL else None,
        )
    ]


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Block]:
    """All explanations, best first."""
    estimates = findings[0].estimates
    rows = [e for e in estimates if e.statistic == EXPLAINED and e.low is not None]
    chance = next((e.value for e in rows if e.subject == "random"), 0.0) or 0.0
    figure = interval_figure(
        NAME,
        f"What each explanation accounts for: most of all {called(rows[0].subject)}",
        [IntervalRow(called(e.subject), (e,)) for e in rows],
        "comprehensiveness less sufficiency",
        "How much of the predicted probability the highest units account for: what is lost without "
        "them, less what is lost with them alone. Words are deleted. Further right is better.",
        (Guide(chance, "random scores"),),
    )
    kinds = [k for k in (*ERASED, *TRUTH) if any(e.statistic == k for e in estimates)]
    titles = [*(WORDS[kind].title for kind in (EXPLAINED, *kinds)), "behind the best"]
    lines = []
    for row in rows:
        cells = [Value(f"{value_of(row)} {interval_of(row)}")]
        for kind in (*kinds, "behind"):
            one = next(
                (e for e in estimates if (e.statistic, e.subject) == (kind, row.subject)), None
            )
            cells.append(Value("–" if one is None else f"{value_of(one)} {interval_of(one)}"))
        lines.append(Row(called(row.subject), tuple(cells)))
    caption = "Means over instances with intervals; differences are paired by instance."
    table = Table("All explanations", caption, "explanation", tuple(titles), tuple(lines))
    return [figure, table]


WORDS = {
    EXPLAINED: Statistic("accounted for", "comprehensiveness less sufficiency"),
    "behind": Statistic("behind the best", "paired difference from the best explanation"),
    "comprehensiveness": Statistic("comprehensiveness", "fall without the highest units"),
    "sufficiency": Statistic("sufficiency", "fall with the highest units alone"),
    "auroc": Statistic("AUROC", "of the evidence"),
    "average_precision": Statistic("average precision", "of the evidence"),
    "token_f1": Statistic("token F1", "of as many units as there is evidence"),
}

RANKING = Check(
    name=NAME,
    title="Ranking of explanations",
    paper="DeYoung et al. 2020 (comprehensiveness, sufficiency)",
    question="Which of all explanations finds what the prediction rests on?",
    statistic="comprehensiveness less sufficiency of the weights, over fractions and instances",
    null="the same of random scores",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=GROUP,
    kinds=(TEXTS, BAGS),
    asks=Batch(measure, None),
    conclude=conclude,
    decisive=False,
    caveat="Leave-one-out plays at home: it is what deletion measures, one word at a time.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=lambda finding: "less than the margin behind the best",
    recommends=1,
    lead="it accounts for {lead} more of the probability",
    picture=picture,
    words={EXPLAINED: WORDS[EXPLAINED], "behind": WORDS["behind"]},
    cost="every attribution, and their erasures",
)
