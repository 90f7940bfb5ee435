"""How stable are the weights? The same model, trained again from other seeds.

Wiegreffe & Pinter 2019, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch

from attnaudit.controls.declaration import Control
from attnaudit.data.records import Dataset
from attnaudit.evidence.trainings.calibration import Calibration
from attnaudit.evidence.trainings.design import Design, Training
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
from attnaudit.findings.settings import Settings
from attnaudit.measures.divergence import jensen_shannon
from attnaudit.measures.seeded import permuted

NAME = "seeds"
ORDERS = 4
"""Random orders of the weights an instance, for the null."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def others(design: Design) -> tuple[Training, ...]:
    """The further seeds."""
    return tuple(design.learned(k) for k in range(1, design.seeds + 1))


def trainings(design: Design) -> tuple[Training, ...]:
    """The model in question and its further seeds."""
    return (design.base, *others(design))


def finished(results: Results) -> list[Training]:
    """The further seeds that have been trained."""
    return [t for t in others(results.design) if results.has(t)]


def calibration(results: Results) -> Calibration | None:
    """The divergences of the finished seeds; None without any."""
    some = finished(results)
    if not some:
        return None
    return Calibration(np.stack([results.column(t, "jsd") for t in some], axis=1))


def conclude(results: Results) -> list[Finding]:
    """Median divergence over seeds of each instance, by largest weight and by predicted class."""
    seeds, settings = finished(results), results.settings
    found = calibration(results)
    notes = results.missing(others(results.design))
    thresholds = {
        "seed_jsd": results.bars.seed_jsd,
        "seed_share": results.bars.seed_share,
        "adversary_jsd": results.thresholds.adversary_jsd,
        "least_instances": float(results.thresholds.least_instances),
    }
    if found is None:
        return [
            Finding(
                check=NAME,
                subject="weights",
                verdict=Verdict.NOT_APPLICABLE,
                thresholds=thresholds,
                sentence="No further seed could be trained.",
                notes=notes,
            )
        ]
    frame = per_instance(results)
    null = chance(results.base, results.data, settings)
    headline = average(
        values_of(frame, "median_jsd"),
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
            (values_of(frame, "median_jsd") >= results.thresholds.adversary_jsd).astype(float),
            settings,
            statistic="different_share",
            subject="weights",
        ),
        *_predictions(results, frame, seeds),
    ]
    verdict = results.gated(_verdict(headline, results))
    return [
        Finding(
            check=NAME,
            subject="weights",
            verdict=verdict,
            headline=headline,
            estimates=tuple(estimates),
            sentence=_sentence(results, verdict, headline, len(seeds)),
            thresholds=thresholds,
            notes=notes,
        )
    ]


def per_instance(results: Results) -> pl.DataFrame:
    """One row an instance: its median divergence over seeds and its mean output change."""
    some = finished(results)
    jsd, tvd = (np.stack([results.column(t, what) for t in some]) for what in ("jsd", "tvd"))
    return results.instances.select("id", "label", "predicted", "max_weight").with_columns(
        pl.Series("median_jsd", np.median(jsd, axis=0)), pl.Series("mean_tvd", tvd.mean(0))
    )


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
            values_of(part, "median_jsd"),
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
    yield average(values_of(frame, "mean_tvd"), settings, statistic="mean_tvd", subject="output")
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
    bar = results.bars.seed_jsd
    if headline.n < results.thresholds.least_instances:
        return Verdict.INCONCLUSIVE
    if headline.low is None or headline.high is None:
        return Verdict.INCONCLUSIVE
    if headline.high <= bar:
        return Verdict.INCONCLUSIVE if _too_flat(headline, results) else Verdict.PASS
    return Verdict.FAIL if headline.low > bar else Verdict.INCONCLUSIVE


def _too_flat(headline: Estimate, results: Results) -> bool:
    """Whether weights in random order would differ hardly more than those of another seed."""
    return (headline.high or 0.0) > results.bars.seed_share * (headline.null or 0.0)


def _sentence(results: Results, verdict: Verdict, headline: Estimate, seeds: int) -> str:
    figures = (
        f"median over {seeds} seed{'s' if seeds > 1 else ''} of the divergence, mean over texts "
        f"{spoken(headline)}; weights in random order would give {headline.null:.2f}"
    )
    if results.near_chance:
        return f"The model itself is near chance, so nothing can be said ({figures})."
    if verdict is Verdict.INCONCLUSIVE and (headline.high or 1.0) <= results.bars.seed_jsd:
        return (
            "Weights differ little between seeds, but they are so flat that random orders of them "
            f"would differ hardly more ({figures})."
        )
    return {
        Verdict.PASS: f"Another seed gives much the same weights ({figures}).",
        Verdict.FAIL: "Another seed gives other weights: what they show depends on chance in "
        f"training ({figures}).",
    }.get(verdict, f"Weights differ somewhat between seeds ({figures}).")


SEEDS = Control(
    name=NAME,
    title="Seeds",
    paper="Wiegreffe & Pinter 2019, section 3.2",
    question="How far do the weights differ between two trainings of the same model? A divergence "
    "shown elsewhere means something only beside this one.",
    statistic="mean over instances of the median over seeds of the Jensen-Shannon divergence to "
    "the base model's weights",
    null="the divergence to the same weights in random order",
    higher_is_better=False,
    needs=frozenset({"retraining"}),
    cost="1 for each further seed, and the model itself",
    caveat="Flat weights over a long text differ little whatever they are: read the divergence "
    "beside its null, and by the size of the largest weight.",
    says={
        Verdict.PASS: "another seed gives much the same weights",
        Verdict.FAIL: "another seed gives other weights",
        Verdict.INCONCLUSIVE: "weights differ somewhat between seeds",
        Verdict.NOT_APPLICABLE: "other seeds could not be tried",
    },
    trainings=trainings,
    conclude=conclude,
)
