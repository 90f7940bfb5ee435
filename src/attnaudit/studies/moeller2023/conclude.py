"""The papers' claims, each from the cells that can speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from attnaudit.findings.settings import Settings
from attnaudit.studies.claims import (
    LEAST,
    Found,
    Rule,
    above,
    below,
    claim_of,
    difference,
    part_of,
    shown,
    value,
)
from attnaudit.studies.declaration import Results
from attnaudit.studies.moeller2023.cells import (
    AGREEMENT,
    STEPS,
    TABLES,
    setting_of,
    title_of_data,
    title_of_model,
)
from attnaudit.studies.moeller2023.paper import (
    CONVERGED,
    NEGATIVE_SHARE,
    OTHER_MODEL,
    TOP_SHARE,
    UNVERIFIED,
)
from attnaudit.studies.moeller2023.shares import FULL, PLAIN, paired_gap
from attnaudit.studies.moeller2023.steps import OURS, PAPERS
from attnaudit.studies.schema import CellRecord, Claim, Holds, Measured, Part
from attnaudit.studies.sources import GENERATED

MISSES = 0.1
"""A plain matrix that misses the score by more does not add up. In units of the cosine; ours."""
MUCH = 0.5
"""The share of a sum that counts as most of it. Ours."""
PAR = 0.03
"""How much lower a rank correlation with people's scores is still on par. Ours."""
COSINE = "mean |score − sum|, in units of the cosine"


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    return (
        _full(results),
        _exact(results),
        _plain(results),
        _few(results),
        _kinds(results),
        _negation(results),
        _deeper(results),
        _steps(results),
        _par(results),
    )


def _full(results: Results) -> Claim:
    return claim_of(
        _parts(results, _within(FULL), _all),
        id="full_table_adds_up",
        claim="The table with the reference row, column and corner adds up to the model's own "
        "score on every pair.",
        paper="The papers sum to the score for their exact models alone, at a number of steps: off "
        f"by {CONVERGED}. The table with the references is ours.",
        rule="Holds where no pair misses the score by more than the tolerance, fails where one "
        "does.",
        note=_note(results),
    )


def _exact(results: Results) -> Claim:
    return claim_of(
        _parts(results, _within(PLAIN), _all, _exactly),
        id="exact_model_adds_up",
        claim="For a model whose reference has no embedding the plain matrix adds up to the score.",
        paper='"Converges to the actual prediction" (abstract, 2023; verified in the authors\' '
        "code).",
        rule="Holds where no pair misses the score by more than the tolerance, fails where one "
        "does.",
        note=_note(results, exact=True),
    )


def _plain(results: Results) -> Claim:
    found = value("absolute_error", PLAIN, COSINE)
    return claim_of(
        _parts(results, found, lambda m: above(m, MISSES), lambda r: not _exactly(r)),
        id="plain_does_not_add_up",
        claim="For an off-the-shelf model the plain matrix does not add up to the score.",
        paper='The approximation "loses theoretical guarantees" (README of the authors\' code, '
        "verified); its size is not stated there.",
        rule=f"The interval of the mean error lies above {MISSES}.",
        note=_note(results),
    )


def _few(results: Results) -> Claim:
    """The papers' sums are scores; those of other models are shown and do not count."""
    found = value("top_share", "of the plain sum", "median share of the plain matrix's sum")
    parts = _parts(results, found, lambda m: above(m, MUCH), counts=_exactly)
    return claim_of(
        parts,
        id="few_pairs_explain_most",
        claim="Few pairs of tokens explain most of the score (exact models).",
        paper="Few token pairs explain large fractions (abstract, 2023; verified). The first 5 % "
        f"of the pairs about {TOP_SHARE:.0%}, and about {NEGATIVE_SHARE:.0%} of the pairs are "
        f"negative ({UNVERIFIED}).",
        rule=f"The interval of the median share that the first 5 % of the token pairs have of the "
        f"plain sum lies above {MUCH}. Off-the-shelf models, whose plain sum is not the score, are "
        "shown and do not count.",
        note=_note(results, exact=True),
    )


def _kinds(results: Results) -> Claim:
    found = value("kind_preference", "nouns and verbs", "mean difference of shares (−1 to 1)")
    parts = _parts(results, found, lambda m: above(m, 0.0))
    return claim_of(
        [part for part in parts if part.measured is not None],
        id="nouns_and_verbs",
        claim="The strongest pairs are more often pairs of nouns and verbs than other pairs are.",
        paper="Mostly nouns and verbs (abstract, 2023; verified).",
        rule="The interval of the difference, paired by text, lies above 0: the share of pairs of "
        "nouns and verbs among the first 5 % of the pairs of words, less that among all. It needs "
        "a tagger (tags=spacy:en_core_web_sm); the built-in lists cannot tell nouns.",
        note=_note(results),
    )


def _negation(results: Results) -> Claim:
    found = value(
        "negation", "relative", "mean ratio of its size to that of an average word of its text"
    )
    return claim_of(
        _parts(results, found, lambda m: below(m, 1.0)),
        id="negation_ignored",
        claim="A word of denial in one of two texts adds or takes less than an average word does.",
        paper="The models mostly ignore negation (abstract, 2024; verified), without a number "
        "there.",
        rule="The interval of the mean ratio lies below 1: size of the row of the word of denial "
        "over the mean size of the other words' rows of the same text, in the full table.",
        note=_note(results),
    )


def _deeper(results: Results) -> Claim:
    unit = "the mean rank correlation of word pairs (−1 to 1)"
    found = value("rank_agreement", "approximate and exact", unit)
    return claim_of(
        list(_by_depth(results, AGREEMENT, found, unit, deep=True)),
        id="deeper_layers_agree",
        claim="The approximation agrees better with an exact model from deeper layers.",
        paper='Approximate attributions "often agree with exact ones for deeper intermediate '
        "representations\" (README of the authors' code, verified); no number there.",
        rule="The interval of the difference between the deepest and the first layer measured lies "
        "above 0. What the plain matrix misses is the same from every layer, as it depends on the "
        "embeddings of texts and references alone.",
        note=_note(results, exact=True),
    )


def _steps(results: Results) -> Claim:
    parts: list[Part] = []
    nodes = next((_largest_group(r) for r in results.where(part=STEPS)), "")
    if nodes:
        unit = f"the mean log10 of the relative completeness error at {nodes}"
        found = value("log_completeness_error", PAPERS, unit, nodes)
        parts += _by_depth(results, STEPS, found, unit)
        needed = "mean number of nodes that our rule needs"
        for part in _by_depth(results, STEPS, value("nodes_needed", OURS, needed), needed):
            parts.append(shown(part.model_copy(update={"of": f"{part.of}, {needed}"})))
    return claim_of(
        parts,
        id="shallow_layers_need_steps",
        claim="From shallower layers the integral needs more steps.",
        paper="Shallower layers need more steps (demonstration of the authors' code and section "
        "3.2, 2023; the demonstration verified).",
        rule="The interval of the difference between the first layer measured and the deepest, in "
        "the log10 of the error of the papers' rule at the same number of steps, lies above 0. "
        "What our rule needs is shown beside.",
        note=_note(results),
    )


def _par(results: Results) -> Claim:
    # scores do not depend on the layer
    exact: dict[tuple[str, str], CellRecord] = {}
    for record in results.where(part=TABLES):
        if _exactly(record) and record.spec["data"] != GENERATED:
            exact.setdefault((record.spec["data"], record.spec["model"]), record)
    parts = []
    for (data, model), record in exact.items():
        same = {k: record.spec[k] for k in ("data", "layer", "reference", "pairs")}
        name = f"{title_of_data(data)}, {title_of_model(model)} less"
        parts += [
            part_of(
                f"{name} {title_of_model(other.spec['model'])}",
                _gap(record, other),
                lambda m: above(m, -PAR),
            )
            for other in results.where(part=TABLES, **same)
            if not _exactly(other)
        ]
    return claim_of(
        parts,
        id="exact_model_on_par",
        claim="An exact model agrees with people about as well as the model it was made from.",
        paper='"On par with standard models" (README of the authors\' code, verified; its numbers '
        "are not).",
        rule=f"The interval of the difference, paired by pair of texts, lies above −{PAR}.",
        note=_note(results, exact=True),
    )


def _gap(exact: CellRecord, other: CellRecord) -> Measured | None:
    drawn = exact.facts["scatter"]
    first, second, labels = (
        np.array(v) for v in (drawn["score"], other.facts["scatter"]["score"], drawn["label"])
    )
    gap, low, high = paired_gap(first, second, labels, Settings())
    if not np.isfinite([gap, low, high]).all():
        return None
    unit = "difference of Spearman's ρ with people's scores"
    return Measured(value=gap, low=low, high=high, n=len(labels), unit=unit)


def _within(subject: str) -> Found:
    return value("within_tolerance", subject, "share of pairs within the tolerance (0 to 1)")


def _all(found: Measured | None) -> Holds:
    """Whether every pair has it, not whether most have."""
    if found is None:
        return Holds.NOT_MEASURED
    if found.value < 1:
        return Holds.NO
    return Holds.YES if found.n >= LEAST else Holds.UNDECIDED


def _exactly(record: CellRecord) -> bool:
    return bool(record.facts.get("exact"))


def _parts(
    results: Results,
    found: Found,
    rule: Rule,
    keep: Callable[[CellRecord], bool] = lambda record: True,
    counts: Callable[[CellRecord], bool] = lambda record: True,
) -> list[Part]:
    """One part a cell of tables; generated pairs count only where no real ones were measured."""
    records = [r for r in results.where(part=TABLES) if keep(r)]
    return [
        part_of(setting_of(r.spec), found(r), rule, _counts(r, records) and counts(r))
        for r in records
    ]


def _counts(record: CellRecord, others: Sequence[CellRecord]) -> bool:
    """Other references, and generated pairs, count only where the papers' were not measured."""
    known = {str(r.spec["reference"]) for r in others}
    real = any(r.spec["data"] != GENERATED for r in others)
    return ("padding" not in known or record.spec["reference"] == "padding") and (
        not real or record.spec["data"] != GENERATED
    )


def _by_depth(
    results: Results, part: str, found: Found, unit: str, deep: bool = False
) -> Iterator[Part]:
    """The first layer less the deepest, or the other way round if `deep`, setting by setting."""
    groups: dict[tuple[str, ...], list[CellRecord]] = {}
    records = results.where(part=part)
    for record in records:
        key = tuple(str(record.spec.get(k, "")) for k in ("data", "model", "exact", "reference"))
        groups.setdefault(key, []).append(record)
    for (data, model, *_, reference), same in groups.items():
        ordered = sorted(same, key=lambda r: r.spec["layer"])
        low, high = ordered[0], ordered[-1]
        if low is high:
            continue
        first, second = (found(end) for end in ((high, low) if deep else (low, high)))
        layers = f"layers {low.spec['layer']} and {high.spec['layer']}"
        name = f"{title_of_data(data)}, {title_of_model(model)}, {layers}, reference {reference}"
        gap = difference(first, second, f"difference of {unit}")
        yield part_of(name, gap, lambda m: above(m, 0.0), _counts(low, records))


def _largest_group(record: CellRecord) -> str:
    """The largest number of nodes at which completeness was measured, as its group is called."""
    groups = {e.group for e in record.rows if e.statistic == "log_completeness_error"}
    return max(groups, key=lambda group: int(group.split()[0]), default="")


def _note(results: Results, *, exact: bool = False) -> str:
    """How data and models here differ from the papers'."""
    if not results.records:
        return "Nothing could be measured."
    names = dict.fromkeys(title_of_model(str(r.spec["model"])) for r in results.records)
    texts = [
        OTHER_MODEL.format(models=" and ".join(names) + (" is" if len(names) == 1 else " are"))
    ]
    data = {str(r.spec["data"]) for r in results.records}
    if data == {GENERATED}:
        texts.append("Generated pairs stand in for STS-B, which was not given.")
    else:
        texts.append(
            f"At most {max(r.spec['pairs'] for r in results.records):,} pairs of the test split."
        )
    if exact and not any(r.facts.get("exact") for r in results.records):
        texts.insert(
            0,
            "No exact model was given; make one with `attnaudit train stsb --kind siamese "
            "--out exact` and name it with --set exact=exact.",
        )
    return " ".join(texts)
