"""The findings of the abstract, and what else is expected, each from the cells that can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attnaudit.checks.ensembles import LEAST_SHARE
from attnaudit.evidence.seeds.grades import SILENT_KINDS, EnsembleRow
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.studies.claims import (
    above,
    below,
    claim_of,
    measured,
    opposite,
    over,
    part_of,
    shown,
    value,
)
from attnaudit.studies.declaration import Results, find
from attnaudit.studies.haab2022.cells import CLASSIC, GRID, MANY, SIGNAL, setting_of
from attnaudit.studies.haab2022.graded import draw_of, file_of, gain_of, good, graded
from attnaudit.studies.haab2022.measure import EVERY
from attnaudit.studies.haab2022.paper import ENSEMBLES, OURS, PUBLISHED, RANGE, REFLECTIVE, SILENT
from attnaudit.studies.schema import CellRecord, Claim, Holds, Measured, Part

FOUND, PRESENCE = 0.8, 0.95
"""Mean instance AUROC from which weights find the keys, and that of presence on digits. Ours."""
ONE_TYPE = 0.1
"""Share of the key mass of the type with less, below which weights stand on one type. Ours."""
CHANGE = 0.02
"""A smaller change of the AUROC, or of a share of failures, is none. Ours."""
HALF = 0.5
PLAIN_POOLS = ("gated", "additive")
SIZES = (6, 12, 20)
"""Sizes of ensembles that are asked for."""
SIMPLE = ("presence", "disjunction", "absence")
SUBSETS_NOTE = (
    "Mean of weights, over 100 drawn subsets that share seeds. Averaging can only add what some "
    "seed has: where all seeds stand on the same type of keys, so do ensembles."
)
AUROC = "mean instance AUROC of accurate seeds (0 to 1)"


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    return (
        _reflective(results),
        _presence(results),
        _silent(results),
        _one_type(results),
        _worst(results),
        _rarer(results),
        _no_harm(results),
        _ceiling(results),
        _exclusive(results),
        _accuracies(results),
        _stories(results),
    )


def _reflective(results: Results) -> Claim:
    records = results.where(part=GRID)
    able = [record for record in records if good(record)]
    found = value("bag_auroc", "weights", AUROC, "accurate")
    parts = [
        shown(part_of(setting_of(record.spec), found(record), lambda m: above(m, FOUND)))
        for record in able
    ]
    flags = [part.measured.value >= FOUND for part in parts if part.measured]
    ends = wilson_interval(sum(flags), len(flags))
    whole = Measured(
        value=ends.value or 0.0,
        low=ends.low,
        high=ends.high,
        n=len(flags),
        unit=f"share of settings with a {AUROC} of {FOUND:g} or more",
    )
    holds = _beyond(ends.low, ends.high, HALF)
    one = Part(of="all settings that do their task", measured=whole, holds=holds)
    return claim_of(
        [one, *parts] if flags else [],
        id="often_reflective",
        claim="Where a network does its task, its weights often find the key instances.",
        paper=REFLECTIVE,
        rule=f"In most settings the mean instance AUROC is {FOUND:g} or more: the interval of the "
        "share of settings lies above one half. Settings are what this study has chosen, and no "
        "sample of anything; networks that do not do their task are left out.",
        note=f"{len(records) - len(able)} of {len(records)} settings are not audited: fewer than "
        "five of their seeds do the task.",
    )


def _presence(results: Results) -> Claim:
    records = results.where(part=GRID, data="presence", modality="digits")
    halves = {
        "instances": value("bag_auroc", "weights", "mean instance AUROC (0 to 1)"),
        "bags": value("roc_auc", "seeds", "bag AUC, mean over seeds (0 to 1)"),
    }
    parts = [
        part_of(
            f"{setting_of(record.spec)}: {half}",
            found(record),
            lambda m: _at_least(m, PRESENCE),
            half=half,
        )
        for record in records
        if record.spec["pool"] in PLAIN_POOLS
        for half, found in halves.items()
    ]
    claim = claim_of(
        parts,
        id="presence_is_found",
        claim="With the rule of presence on digits, additive and gated attention do the task and "
        "find the keys.",
        paper=OURS,
        rule=f"Bag AUC and mean instance AUROC are {PRESENCE:g} or more on average over all seeds.",
        note=_sizes(records),
        halves=tuple(halves),
    )
    # a mean of AUCs of instances and of bags would be no number of anything
    of_instances = [part.measured for part in parts if part.half == "instances"]
    return claim.model_copy(update={"measured": over(of_instances)})


def _silent(results: Results) -> Claim:
    unit = "share of accurate seeds (0 to 1)"
    parts = [
        _failing(f"{draw_of(record)}, {bags}", file.findings[1], unit, bags == EVERY)
        for record, file, bags in graded(results.where(part=MANY))
    ]
    return claim_of(
        parts,
        id="silent_failures",
        claim="Silent failures happen: seeds that do their task and whose weights do not find the "
        "keys.",
        paper=SILENT,
        rule="At least one accurate seed is a silent failure: bag AUC .90 or more and mean "
        "instance AUROC below .80 (thresholds ours). No where 20 or more accurate seeds have none.",
        note="Conjunction of digits, self-attention and additive pooling: the setting where they "
        "were expected. In the grid: " + _in_grid(results),
    )


def _one_type(results: Results) -> Claim:
    unit = "mean smallest share of key mass of a type (0 to 0.5)"
    parts = [
        part_of(
            f"{draw_of(record)}, {group} seeds",
            value("bag_least_type", "weights", unit, group)(record),
            lambda m: below(m, ONE_TYPE),
            group == "silent",
        )
        for record, _, bags in graded(results.where(part=MANY))
        if bags == EVERY
        for group in ("silent", "accurate")
    ]
    return claim_of(
        parts,
        id="one_type_of_key",
        claim="Silent failures look at one of the two types of keys: in bags with both, almost "
        "all of the key mass is on one type.",
        paper="The figure of a bad attention shows weight on few of the keys (seen by others in a "
        "post of the first author); types of keys are not mentioned.",
        rule=f"The interval over bags of the smallest share lies below {ONE_TYPE:g}. Equal weights "
        "have about .4.",
    )


def _worst(results: Results) -> Claim:
    unit = "gain of the worst mean instance AUROC of ensembles"
    parts = [
        part_of(name, Measured(value=gain, n=row.subsets, unit=unit), _gains)
        for name, gain, _, row in _ensembles(results)
    ]
    return claim_of(
        parts,
        id="ensembles_raise_the_worst_case",
        claim="Ensembles of six seeds or more raise the worst case.",
        paper=ENSEMBLES,
        rule=f"The worst ensemble of {', '.join(map(str, SIZES))} seeds has an instance AUROC more "
        f"than {CHANGE:g} above that of the worst seed; no where it is as much below. Both ways of "
        "grading count.",
        note=SUBSETS_NOTE,
    )


def _rarer(results: Results) -> Claim:
    unit = "change of the share of silent failures among the accurate"
    found = [
        (name, None if rate is None else Measured(value=rate, n=row.subsets, unit=unit))
        for name, _, rate, row in _ensembles(results)
    ]
    parts = [part_of(name, rate, lambda m: opposite(_gains(m))) for name, rate in found]
    return claim_of(
        parts,
        id="ensembles_fail_less_often",
        claim="Silent failures are rarer among ensembles of six seeds or more than among seeds.",
        paper=ENSEMBLES,
        rule="The share of silent failures among accurate ensembles of "
        f"{', '.join(map(str, SIZES))} seeds is more than {CHANGE:g} below that among accurate "
        "seeds; no where it is as much above. Both ways of grading count. Not measured where fewer "
        f"than {LEAST_SHARE.value:.0%} of the ensembles are accurate.",
        note=SUBSETS_NOTE,
    )


def _ensembles(results: Results) -> Iterator[tuple[str, float, float | None, EnsembleRow]]:
    for record, file, bags in graded(results.where(part=MANY)):
        for members in SIZES:
            found = gain_of(file.ensembles, members)
            if found is not None:
                yield f"{draw_of(record)}, {bags}, {members} seeds", *found


def _no_harm(results: Results) -> Claim:
    parts = []
    for record in results.where(part=GRID):
        file = file_of(record)
        if file is None or record.spec["data"] not in SIMPLE or not good(record):
            continue
        weights = {row.members: row for row in file.ensembles if row.average == "weights"}
        single, whole = weights[1].mean, weights[max(weights)].mean
        if single is None or whole is None:
            continue
        unit, bags = "change of the mean instance AUROC", file.seeds[0].bags
        change = Measured(value=whole - single, n=bags, unit=unit)
        parts.append(part_of(setting_of(record.spec), change, lambda m: _at_least(m, -CHANGE)))
    return claim_of(
        parts,
        id="ensembles_do_no_harm",
        claim="Where single seeds find the keys, an ensemble of all seeds finds them as well.",
        paper=OURS,
        rule=f"The mean instance AUROC falls by no more than {CHANGE:g}. Rules of presence, "
        "disjunction and absence, networks that do their task.",
    )


def _ceiling(results: Results) -> Claim:
    parts, gaps = [], []
    for record in sorted(results.where(part=SIGNAL), key=lambda r: float(r.spec["delta"])):
        file = file_of(record)
        found = find(record.rows, "bag_auroc", "weights", "all")
        if file is None or found is None or found.value is None:
            continue
        ceiling = 1.0 if file.ceilings.instance is None else file.ceilings.instance
        gap = Measured(
            value=ceiling - found.value,
            n=found.n,
            unit="ceiling less mean instance AUROC",
            low=None if found.high is None else ceiling - found.high,
            high=None if found.low is None else ceiling - found.low,
        )
        gaps.append((float(record.spec["delta"]), gap))
        # a sample of bags can lie above the expectation
        holds = Holds.YES if (gap.value if gap.high is None else gap.high) >= 0 else Holds.NO
        name = f"Δ = {record.spec['delta']:g}"
        parts.append(Part(of=name, measured=gap, holds=holds, half="below"))
    if len(gaps) > 1:
        (smallest, first), (largest, last) = gaps[0], gaps[-1]
        closer = last.value < first.value and last.value <= 2 * CHANGE
        holds = Holds.YES if closer else Holds.NO
        name = f"Δ = {largest:g} against {smallest:g}"
        parts.append(Part(of=name, measured=last, holds=holds, half="near"))
    return claim_of(
        parts,
        id="below_the_ceiling",
        claim="On Gaussian bags the instance AUROC stays below its ceiling Φ(Δ/√2), and comes near "
        "it as Δ grows.",
        paper=OURS,
        rule="The interval of the gap reaches 0 or above at every Δ; at the largest Δ the gap is "
        f"smaller than at the smallest, and at most {2 * CHANGE:g}.",
        note="Presence, first pool; all seeds, whether accurate or not.",
        halves=("below", "near"),
    )


def _exclusive(results: Results) -> Claim:
    records = results.where(part=GRID, data="exclusive_or", modality="digits")
    unit = "share of seeds that do their task (0 to 1)"
    gates = [(record, file.findings[0]) for record in records if (file := file_of(record))]
    parts = [
        _failing(setting_of(record.spec), gate, unit, record.spec["pool"] in PLAIN_POOLS)
        for record, gate in gates
    ]
    return claim_of(
        parts,
        id="exclusive_or_is_not_audited",
        claim="Exclusive or on digits comes out as not good enough to audit.",
        paper=OURS,
        rule="Fewer than 5 seeds, of 5 or more, reach the bag AUC of the gate. Self-attention, "
        "which could learn it from more bags, is shown.",
        note=_sizes(records),
    )


def _accuracies(results: Results) -> Claim:
    found = value("accuracy", "seeds", "mean accuracy over seeds (0 to 1)")
    parts = []
    for record in results.where(part=CLASSIC):
        name, here = str(record.spec["data"]), found(record)
        inside = here is not None and abs(here.value - PUBLISHED[name]) <= RANGE
        holds = Holds.YES if inside else Holds.NO
        parts.append(Part(of=name, measured=here, paper=PUBLISHED[name], holds=holds))
    return claim_of(
        parts,
        id="classic_accuracies",
        claim="On the classic sets attention pooling is as accurate as published.",
        paper="Not this paper's: Ilse et al. 2018, 10-fold cross-validation repeated five times; "
        "recalled, not checked.",
        rule=f"The mean accuracy over seeds and repetitions lies within {RANGE:g} of it.",
        note=_folds(results),
    )


def _stories(results: Results) -> Claim:
    unit = "mean share of bags with the same top instance (0 to 1)"
    found = value("same_top", "seed~seed", unit)
    parts = [
        part_of(str(record.spec["data"]), found(record), lambda m: above(m, HALF))
        for record in results.where(part=CLASSIC)
    ]
    return claim_of(
        parts,
        id="seeds_agree_on_classic_sets",
        claim="On the classic sets, where instances have no labels, two seeds of a network point "
        "at the same instance in most bags.",
        paper=OURS,
        rule=f"The interval over bags of that share lies above {HALF:g}.",
        note="It says nothing on whether they are right. " + _folds(results),
    )


def _in_grid(results: Results) -> str:
    found, seeds = [], 0
    for record in results.where(part=GRID):
        file = file_of(record)
        if file is None or not good(record):
            continue
        count = sum(row.kind in SILENT_KINDS for row in file.seeds)
        seeds += sum(row.kind not in (None, "inaccurate") for row in file.seeds)
        if count:
            found.append(f"{setting_of(record.spec)} ({count} of {len(file.seeds)} seeds)")
    return f"{seeds} accurate seeds; silent failures in " + ("; ".join(found) or "none") + "."


def _sizes(records: Sequence[CellRecord]) -> str:
    if not records:
        return "Nothing could be measured."
    spec = records[0].spec
    return f"{spec['bags']} training bags, {spec['members']} seeds, {spec['test_bags']} test bags."


def _folds(results: Results) -> str:
    records = results.where(part=CLASSIC)
    if not records:
        return "No classic set was given."
    spec = records[0].spec
    return (
        f"{spec['repeats']} x 10 folds, {spec['members']} seeds a fold, {spec['epochs']} epochs; "
        "features standardised by the training bags; no bag was set aside for choosing an epoch."
    )


def _failing(of: str, finding: Finding, unit: str, counts: bool) -> Part:
    """A part of a claim that seeds fail, by the verdict on them."""
    holds = {Verdict.FAIL: Holds.YES, Verdict.PASS: Holds.NO}.get(finding.verdict, Holds.UNDECIDED)
    return Part(of=of, measured=measured(finding.headline, unit), holds=holds, counts=counts)


def _at_least(found: Measured | None, bar: float) -> Holds:
    if found is None:
        return Holds.NOT_MEASURED
    return Holds.YES if found.value >= bar else Holds.NO


def _gains(found: Measured | None) -> Holds:
    """Yes where a change is above `CHANGE`, no where it is as much below 0."""
    if found is None:
        return Holds.NOT_MEASURED
    if found.value > CHANGE:
        return Holds.YES
    return Holds.NO if found.value < -CHANGE else Holds.UNDECIDED


def _beyond(low: float | None, high: float | None, bar: float) -> Holds:
    if low is not None and low > bar:
        return Holds.YES
    return Holds.NO if high is not None and high < bar else Holds.UNDECIDED
