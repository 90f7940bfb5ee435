"""Do the weights leak the label? Probes of the weights against what any weights show.

Bai et al. 2021 put meaningless default tokens into every text; weight on those that depends on the
label can be nothing but a leak, so they are probed for themselves where they are named.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError
from attnaudit.evidence.judges.probe import Probed, features, folds_of, probe
from attnaudit.evidence.judges.reading import Reading, Row
from attnaudit.findings.balanced import balanced_mean, too_rare
from attnaudit.findings.estimates import average, spoken
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.shortcuts.settings import ShortcutSettings, below

NAME = "leak"
SIGNIFICANT = 0.05


def default_rows(reading: Reading, default_units: Sequence[str]) -> list[Row]:
    """The weights on default tokens, in their order, one row an instance.

    Raises:
        DataError: One of them is in no record.
    """
    check_defaults(reading.data, default_units)
    names = {unit.lower() for unit in default_units}
    rows = []
    for record, row in zip(reading.data, reading.weights, strict=True):
        units = record.units[: len(row)]
        rows.append(row[[i for i, unit in enumerate(units) if unit.lower() in names]])
    return rows


def check_defaults(data: AnyDataset, default_units: Sequence[str]) -> None:
    """Refuse default tokens that are in no record.

    Raises:
        DataError: One is.
    """
    found = {unit.lower() for record in data for unit in record.units} if default_units else set()
    missing = [unit for unit in default_units if unit.lower() not in found]
    if missing:
        raise DataError(
            f"{data.name}: no record has one of the default tokens {', '.join(missing)}; name "
            "units as they stand in the data"
        )


def default_mass(
    reading: Reading, default_units: Sequence[str], settings: ShortcutSettings
) -> list[Estimate]:
    """Mean weight on default tokens: of all instances, and of each labelled class."""
    mass = np.array([row.sum() for row in default_rows(reading, default_units)])
    labels = reading.labels
    groups = [("all", np.ones(len(mass), dtype=bool))]
    groups += [(f"label={name}", labels == i) for i, name in enumerate(reading.data.classes)]
    share = np.mean(
        [
            sum(u.lower() in {d.lower() for d in default_units} for u in r.units)
            / max(1, len(r.units))
            for r in reading.data
        ]
    )
    return [
        average(
            mass[some],
            settings.audit(),
            statistic="default_mass",
            subject="default tokens",
            group=group,
            null=float(share),
        )
        for group, some in groups
        if some.any()
    ]


def conclude_leak(
    reading: Reading, settings: ShortcutSettings, default_units: Sequence[str] = ()
) -> Finding:
    """Whether the weights alone tell the label.

    The headline is the balanced accuracy of the better of two probes, above the better of two
    references: chance, and a probe of the number of units, which any weights show. It is paired by
    instance, and its confidence is raised for the choice between the probes (Bonferroni).

    Args:
        reading: Weights on labelled records.
        settings: Folds, permutations, bars.
        default_units: Tokens that stand in every record and mean nothing.

    Returns:
        `fail` where the weights leak the label, `pass` where a leak above the bar is ruled out,
        `inconclusive` where a class has too few instances for the folds of a probe.
    """
    labels = reading.labels
    try:
        folds_of(labels, settings)
    except DataError as error:
        return Finding(
            check=NAME,
            subject="weights",
            verdict=Verdict.INCONCLUSIVE,
            sentence=f"Whether the weights tell the label was not probed: {error}.",
            estimates=tuple(
                default_mass(reading, default_units, settings) if default_units else ()
            ),
        )
    found = [
        probe("weights", features(reading.weights, settings.positions), labels, settings),
        probe("length", _length_features(reading.lengths), labels, settings),
    ]
    notes, extra = [], []
    if default_units:
        rows = default_rows(reading, default_units)
        found.insert(
            1, probe("default tokens", features(rows, settings.positions), labels, settings)
        )
        extra = default_mass(reading, default_units, settings)
    by_name = {p.name: p for p in found}
    length = by_name["length"].right[by_name["length"].best]
    chance = 1 / len(np.unique(labels))
    longer = by_name["length"].balanced[by_name["length"].best]
    reference, level = (length, longer) if longer > chance else (chance, chance)
    # every estimator and every view of the weights is a try, and the best one is taken
    tries = sum(len(p.right) for p in found if p.name != "length")
    leaks = [_leak(p, labels, reference, tries, settings) for p in found if p.name != "length"]
    headline = max(leaks, key=lambda e: e.value or 0.0)
    verdict = below(headline, settings.bars.leak, settings.audit().thresholds.least_instances)
    if (rare := too_rare(labels)) is not None and verdict is Verdict.FAIL:
        verdict = Verdict.INCONCLUSIVE
        notes.append(rare)
    source = by_name[headline.subject]
    if verdict is Verdict.FAIL and source.p_value > SIGNIFICANT:
        notes.append(
            "the linear probe does no better than with shuffled labels "
            f"(p = {source.p_value:.2f}): the leak is not linear in the weights"
        )
    if level > chance + settings.bars.leak:
        notes.append(
            f"the number of units alone tells the label with a balanced accuracy of {level:.2f}; "
            "the probe is compared with that"
        )
    figures = (
        f"the best probe of {'the weights' if source.name == 'weights' else 'the default tokens'} "
        f"has a cross-fitted balanced accuracy of {source.balanced[source.best]:.3f}, the "
        f"reference {level:.3f}; difference {spoken(headline, 3)}"
    )
    sentence = {
        Verdict.FAIL: f"The weights alone tell the label: they leak ({figures}).",
        Verdict.PASS: f"The form of the weights tells little or nothing of the label ({figures}).",
    }.get(verdict, f"Whether the form of the weights tells the label is not certain ({figures}).")
    return Finding(
        check=NAME,
        subject="weights",
        verdict=verdict,
        sentence=sentence,
        headline=headline,
        estimates=(*leaks, *extra, *(e for p in found for e in p.estimates)),
        thresholds={
            "leak": settings.bars.leak,
            "least_instances": float(settings.audit().thresholds.least_instances),
        },
        notes=tuple(notes),
    )


def _leak(
    probed: Probed,
    labels: np.ndarray,
    reference: np.ndarray | float,
    tries: int,
    settings: ShortcutSettings,
) -> Estimate:
    confidence = 1 - (1 - settings.confidence) / tries
    strict = settings.audit().model_copy(update={"confidence": confidence})
    return balanced_mean(
        probed.right[probed.best] - reference, labels, strict, statistic="leak", subject=probed.name
    )


def _length_features(lengths: np.ndarray) -> np.ndarray:
    some = lengths.astype(np.float64)
    return np.stack([some, np.log1p(some)], axis=1)
