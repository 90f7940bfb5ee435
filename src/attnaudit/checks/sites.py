"""Sites: of all heads of all layers, which can move the output, and which stand on its reasons?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attnaudit.checks.declaration import SITES as GROUP
from attnaudit.checks.declaration import Check, estimate_of
from attnaudit.checks.reach import FLOOR
from attnaudit.data.kinds import TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.evidence.batch.view import Columns, View, as_ranked, column
from attnaudit.findings.estimates import above, average, spoken, values_of
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import (
    Block,
    IntervalRow,
    Row,
    Table,
    Value,
    interval_figure,
)
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic, number
from attnaudit.measures.attained import attained_share
from attnaudit.measures.detection import auroc
from attnaudit.measures.divergence import total_variation
from attnaudit.measures.seeded import permuted
from attnaudit.models.encoded import Encoded

NAME = "sites"
ORDERS = 4
"""Random orders of the weights that are decoded at each site."""
ALONE = 4
"""Units that are given all of the weight: those with the largest effect."""
STATISTICS = ("attained", "auroc", "change", "order", "sinks")
DRAWN = 15


def measure(view: View) -> Columns:
    """Attained share, detection of evidence, reach and sink mass of every head."""
    models = view.encoded.model.every_site()
    if not models or not len(view.rows):
        return {}
    rows, sample, size = view.rows, view.sample, len(view.encoded)
    units, batch = sample.units, sample.batch
    # what a word does to the output has nothing to do with the site that is looked at
    effects = view.attribution("shapley").scores[rows].double()
    helpful = effects.clamp(min=0)
    undefined = view.single[rows] | effects.isnan().any(1)
    truth = view.truth[rows]
    unknown = truth.isnan().any(1)
    order = effects.abs().masked_fill(~units, -1.0).argsort(1, descending=True)[:, :ALONE]
    place = torch.arange(units.shape[1], device=units.device)
    alone = (place == order.unsqueeze(-1)) & units.unsqueeze(1)
    found: dict[str, Tensor] = {}
    for name, model in models.items():
        one = Encoded(model, batch)
        weights = one.weights
        orders = permuted(weights, batch.ids, units, ORDERS, view.settings.seed, "sites")
        with torch.no_grad():
            said = one.decode(torch.cat([alone.to(weights), orders.to(weights)], 1)).exp()
        moved = total_variation(said, one.probabilities.unsqueeze(1)).double()
        real = alone.any(-1)
        values = {
            "attained": attained_share(weights, helpful.nan_to_num(), units).double(),
            "change": moved[:, : alone.shape[1]].masked_fill(~real, 0.0).amax(1),
            "order": moved[:, alone.shape[1] :].median(1).values,
            "sinks": one.sink_mass.double(),
        }
        ranked = as_ranked("weights", weights, units)
        area = auroc(ranked, truth.nan_to_num() > 0, units).double()
        values["auroc"] = area.masked_fill(unknown, torch.nan)
        for kind, value in values.items():
            missing = undefined if kind == "attained" else view.single[rows]
            found[f"{kind}.{name}"] = value.masked_fill(missing, torch.nan)
    full = {}
    for key, some in found.items():
        whole = torch.full((size,), torch.nan, dtype=torch.float64)
        whole[rows.cpu()] = some.cpu()
        full[key] = column(whole)
    return full


def conclude(evidence: Instances) -> list[Finding]:
    """Every head, best first: by known evidence, or by the effect that its weights mark."""
    frame, settings = evidence.frame, evidence.settings
    sites = [c.removeprefix("change.") for c in frame.columns if c.startswith("change.")]
    if not sites:
        return []
    estimates = {
        kind: {
            s: average(
                values_of(frame, f"{kind}.{s}"),
                settings,
                statistic=f"site_{kind}",
                subject=s,
                null=0.5 if kind == "auroc" else 0.0,
            )
            for s in sites
        }
        for kind in STATISTICS
    }
    known = any(e.value is not None for e in estimates["auroc"].values())
    by = "auroc" if known else "attained"
    order = sorted(sites, key=lambda s: -_or(estimates[by][s].value))
    best = estimates[by][order[0]]
    widest = max(sites, key=lambda s: _or(estimates["change"][s].value))
    floor = settings.bar(FLOOR)
    found = [above(e, floor, settings.least) for e in estimates["change"].values()]
    able = found.count(Verdict.PASS)
    verdict = Verdict.PASS if able else Verdict.INCONCLUSIVE
    if all(one is Verdict.FAIL for one in found):
        verdict = Verdict.FAIL
    what = "finds the known evidence best" if known else "marks most of the effect"
    return [
        Finding(
            check=NAME,
            subject="weights",
            verdict=verdict,
            sentence=f"Of {len(sites)} heads, {able} can move the output by {floor:g} or more "
            f"for certain; {_called(order[0])} {what} ({spoken(best)}); {_called(widest)} moves "
            f"the output most ({spoken(estimates['change'][widest])}).",
            headline=best,
            estimates=tuple(estimates[kind][s] for kind in (by, *STATISTICS) for s in order),
            thresholds=settings.used(FLOOR, LEAST_INSTANCES),
        )
    ]


def _or(value: float | None) -> float:
    return -np.inf if value is None else value


def _called(site: str) -> str:
    layer, _, head = site.partition(".")
    return f"layer {layer}, head {head}"


def picture(evidence: Instances, findings: Sequence[Finding]) -> list[Block]:
    """The best heads, and every head of every layer."""
    finding = findings[0]
    assert finding.headline is not None
    by = finding.headline.statistic
    ranked = list({e.subject: e for e in finding.estimates if e.statistic == by}.values())
    figure = interval_figure(
        NAME,
        f"The best of {len(ranked)} heads: {_called(ranked[0].subject)}",
        [IntervalRow(_called(e.subject), (e,)) for e in ranked[:DRAWN] if e.low is not None],
        WORDS[by].title,
        "Means over instances with intervals; the best of many is a little better by chance.",
    )
    blocks: list[Block] = [figure]
    for kind in STATISTICS:
        title = WORDS[f"site_{kind}"]
        cells = {s.subject: estimate_of(finding, f"site_{kind}", s.subject) for s in ranked}
        if all(e is None or e.value is None for e in cells.values()):
            continue
        places = sorted((int(s.split(".")[0]), int(s.split(".")[1])) for s in cells)
        heads = sorted({head for _, head in places})
        rows = [
            Row(
                f"layer {layer}",
                tuple(
                    Value("–" if e is None else number(e.value))
                    for e in (cells.get(f"{layer}.{head}") for head in heads)
                ),
            )
            for layer in sorted({layer for layer, _ in places})
        ]
        head = tuple(f"head {h}" for h in heads)
        blocks.append(Table(f"{title.title}, by head", title.meaning, "", head, tuple(rows)))
    return blocks


WORDS = {
    "site_attained": Statistic("attained share", "of the effect that weights could mark, marked"),
    "site_auroc": Statistic("AUROC", "of the known evidence"),
    "site_change": Statistic("reach", "largest output change, all weight on one of four words"),
    "site_order": Statistic("move by order", "median output change, weights in random order"),
    "site_sinks": Statistic("sink mass", "share of the weight on markers", percent=True),
}

SITES = Check(
    name=NAME,
    title="All sites",
    paper="Michel et al. 2019 (single heads); Serrano & Smith 2019",
    question="Of all heads of all layers, which can move the output, and which stand on its "
    "reasons?",
    statistic="AUROC of the best head for known evidence, else its attained share, mean over "
    "instances",
    null="0.5 (AUROC) or 0 (attained share)",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=GROUP,
    kinds=(TEXTS,),
    asks=Batch(measure, ("shapley",)),
    conclude=conclude,
    decisive=False,
    caveat="The best of many heads is better than it will be on other texts. A head that stands on "
    "the right words need not be why the model decides: look at its reach.",
    bars=(FLOOR, LEAST_INSTANCES),
    requires=lambda finding: "a head that can move the output",
    picture=picture,
    words=WORDS,
    cost="one pass for each head, and eight decodes",
)
