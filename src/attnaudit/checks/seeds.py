"""How stable are the weights? The same model, trained again from other seeds.

Wiegreffe & Pinter 2019, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch

from attnaudit.checks.declaration import RETRAINING, Check
from attnaudit.data.kinds import TEXTS
from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.asked import Trainings
from attnaudit.evidence.trainings.design import Training, Variants
from attnaudit.evidence.trainings.outputs import AT_ONCE, Outputs, padded
from attnaudit.evidence.trainings.results import Results
from attnaudit.findings.estimates import (
    average,
    by_max_weight,
    by_predicted,
    share,
    spoken,
    values_of,
)
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.findings.metrics import performance
from attnaudit.findings.pictures import (
    ACCENT,
    SECOND,
    Block,
    Figure,
    Guide,
    Series,
    Violin,
    Violins,
    estimates_table,
    half,
)
from attnaudit.findings.settings import ADVERSARY_JSD, LEAST_INSTANCES, Bar, Settings
from attnaudit.findings.wording import typeset
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.seeded import permuted

JSD = Bar(
    "seed_jsd",
    0.2,
    "Mean divergence of the weights between seeds up to which they count as stable: half of the .4 "
    "that counts as a different explanation. Ours.",
)
SHARE = Bar(
    "seed_share",
    0.5,
    "The same, as a share of the mean divergence of the weights in random order: flat weights "
    "differ little whatever they are. Ours.",
)
ORDERS = 4
"""Random orders of the weights per instance, for the null."""
DOMAIN = (0.0, math.log(2))
"""Lowest and highest divergence."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def trainings(variants: Variants) -> tuple[Training, ...]:
    """The model in question and its further seeds."""
    return (variants.base, *variants.seeds)


def conclude(results: Results) -> list[Finding]:
    """Median divergence over seeds of each instance, by largest weight and by predicted class."""
    seeds, settings = results.seeds, results.settings
    found = results.calibration
    notes = results.missing(results.variants.seeds)
    thresholds = settings.used(JSD, SHARE, ADVERSARY_JSD, LEAST_INSTANCES)
    if found is None:
        return [
            Finding(
                check="seeds",
                subject="weights",
                verdict=Verdict.NOT_APPLICABLE,
                thresholds=thresholds,
                sentence="No further seed could be trained.",
                notes=notes,
            )
        ]
    frame = results.frame
    null = chance(results.base, results.data, settings)
    headline = average(
        values_of(frame, "seeds/median_jsd"),
        settings,
        statistic="median_jsd",
        subject="weights",
        null=null,
    )
    estimates = [
        headline,
        *list(_groups(frame, results))[1:],
        *(
            Estimate(
                statistic=f"seed_jsd_q{100 * q:02.0f}",
                subject="weights",
                value=float(np.quantile(found.jsd, q)),
                n=found.jsd.size,
            )
            for q in QUANTILES
        ),
        share(
            (values_of(frame, "seeds/median_jsd") >= results.settings.bar(ADVERSARY_JSD)).astype(
                float
            ),
            settings,
            statistic="different_share",
            subject="weights",
        ),
        *_predictions(results, frame, seeds),
    ]
    verdict = results.gated(_verdict(headline, results))
    return [
        Finding(
            check="seeds",
            subject="weights",
            verdict=verdict,
            headline=headline,
            estimates=tuple(estimates),
            sentence=_sentence(results, verdict, headline, len(seeds)),
            thresholds=thresholds,
            notes=notes,
        )
    ]


def chance(base: Outputs, data: Dataset, settings: Settings) -> float:
    """The mean divergence between the weights and the same weights in random order."""
    total = 0.0
    for start in range(0, len(data), AT_ONCE):
        some = base.weights[start : start + AT_ONCE]
        weights = padded(some)
        units = torch.arange(weights.shape[1]) < torch.tensor([len(w) for w in some])[:, None]
        ids = [record.id for record in data.records[start : start + AT_ONCE]]
        mixed = permuted(weights, ids, units, ORDERS, settings.seed, "control seeds")
        total += float(jensen_shannon(mixed, weights.unsqueeze(1)).mean(1).sum())
    return total / len(data)


def _groups(frame: pl.DataFrame, results: Results) -> Iterator[Estimate]:
    """Means of all instances, of each predicted class, and of each bin of the largest weight."""
    for group, part in (*by_predicted(frame, results.data.classes), *by_max_weight(frame)):
        yield average(
            values_of(part, "seeds/median_jsd"),
            results.settings,
            statistic="median_jsd",
            subject="weights",
            group=group,
        )


def _predictions(
    results: Results, frame: pl.DataFrame, seeds: list[Training]
) -> Iterator[Estimate]:
    """What the seeds predict: performance, and how far from the base."""
    settings = results.settings
    yield average(
        values_of(frame, "seeds/mean_tvd"), settings, statistic="mean_tvd", subject="output"
    )
    yield from performance(results.labels, [results.base.probabilities], settings, "base")
    for training in seeds:
        for what in ("jsd", "tvd"):
            yield average(
                results.column(training, what),
                settings,
                statistic=f"mean_{what}",
                subject=training.name,
            )
        yield from performance(
            results.labels, [results.outputs[training.name].probabilities], settings, training.name
        )[:1]


def _verdict(headline: Estimate, results: Results) -> Verdict:
    bar = results.settings.bar(JSD)
    if headline.n < results.settings.least:
        return Verdict.INCONCLUSIVE
    if headline.low is None or headline.high is None:
        return Verdict.INCONCLUSIVE
    if headline.high <= bar:
        return Verdict.INCONCLUSIVE if _too_flat(headline, results) else Verdict.PASS
    return Verdict.FAIL if headline.low > bar else Verdict.INCONCLUSIVE


def _too_flat(headline: Estimate, results: Results) -> bool:
    """Whether weights in random order would differ hardly more than those of another seed."""
    return (headline.high or 0.0) > results.settings.bar(SHARE) * (headline.null or 0.0)


def _sentence(results: Results, verdict: Verdict, headline: Estimate, seeds: int) -> str:
    figures = (
        f"median over {seeds} seed{'s' if seeds > 1 else ''} of the divergence, mean over texts "
        f"{spoken(headline)}; weights in random order would give {headline.null:.2f}"
    )
    if results.near_chance:
        return f"The model itself is near chance, so nothing can be said ({figures})."
    if verdict is Verdict.INCONCLUSIVE and (headline.high or 1.0) <= results.settings.bar(JSD):
        return (
            "Weights differ little between seeds, but they are so flat that random orders of them "
            f"would differ hardly more ({figures})."
        )
    return {
        Verdict.PASS: f"Another seed gives much the same weights ({figures}).",
        Verdict.FAIL: "Another seed gives other weights: what they show depends on chance in "
        f"training ({figures}).",
    }.get(verdict, f"Weights differ somewhat between seeds ({figures}).")


def picture(results: Results, findings: Sequence[Finding]) -> list[Block]:
    """How far weights are from those of another seed, by the largest weight and the prediction."""
    finding, classes = findings[0], results.data.classes
    table = estimates_table("All numbers", finding.estimates)
    if finding.headline is None:
        return [table]
    split = len(classes) == 2
    colours = zip(classes, (ACCENT, SECOND), strict=True) if split else ()
    legend = tuple(Series(f"predicted {name}", colour) for name, colour in colours)
    rows = []
    for group, part in by_max_weight(results.frame):
        values, predicted = values_of(part, "seeds/median_jsd"), part["predicted"].to_numpy()
        halves = [
            half(one.name, values[predicted == i], one.colour, DOMAIN)
            for i, one in enumerate(legend)
        ]
        if part.height:
            rows.append(Violin(group, tuple(halves or [half("all", values, ACCENT, DOMAIN)])))
    guides = [Guide(finding.thresholds[JSD.name], "stable below")]
    if finding.headline.null is not None:
        guides.append(Guide(finding.headline.null, "random order"))
    figure = Figure(
        "seeds",
        "How far the weights are from those of another seed",
        "One value per text: the median over seeds of the Jensen–Shannon divergence to the base "
        "model's weights, by the largest weight of the base model.",
        Violins(
            rows=tuple(rows),
            domain=DOMAIN,
            axis="median divergence over seeds",
            guides=tuple(guides),
        ),
        typeset(finding.sentence),
        legend,
    )
    return [figure, table]


SEEDS = Check(
    name="seeds",
    title="Seeds",
    paper="Wiegreffe & Pinter 2019, section 3.2",
    question="How far do the weights differ between two trainings of the same model? A divergence "
    "shown elsewhere means something only beside this one.",
    statistic="mean over instances of the median over seeds of the Jensen-Shannon divergence to "
    "the base model's weights",
    null="the divergence to the same weights in random order",
    higher_is_better=False,
    group=RETRAINING,
    kinds=(TEXTS,),
    cost="1 for each further seed, and the model itself",
    caveat="Flat weights over a long text differ little whatever they are: read the divergence "
    "beside its null, and by the size of the largest weight.",
    asks=Trainings(trainings),
    conclude=conclude,
    decisive=False,
    range=DOMAIN,
    bars=(JSD, SHARE, ADVERSARY_JSD, LEAST_INSTANCES),
    bar=JSD,
    picture=picture,
)
