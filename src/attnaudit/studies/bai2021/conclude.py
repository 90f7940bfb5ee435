"""What was measured, as claims. No number of the paper's own tables is known, so none is quoted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.stats import t

from attnaudit.checks.gap import GAP
from attnaudit.evidence.judges.interventions import LEAK
from attnaudit.findings.performance import NAME as PERFORMANCE
from attnaudit.studies.bai2021.settings import (
    HELD_OUT,
    HONEST,
    JOINT,
    METHODS,
    NEEDS_A_CODE,
    ONLY,
    PRETRAIN,
    SETTINGS,
    WEIGHT,
)
from attnaudit.studies.claims import Found, Rule, above, below, claim_of, part_of, shown, value
from attnaudit.studies.declaration import Results
from attnaudit.studies.schema import Claim, Holds, Measured, Part

GOOD = 0.9
"""Accuracy from which a task counts as done."""
REMEDIES = (PRETRAIN, HELD_OUT, WEIGHT)
CONFIDENCE = 0.95
LEAST_SEEDS = 3
"""Fewer seeds give no interval where nothing else does."""
UNKNOWN = "The paper's own numbers are not known; the protocol is ours."
SEEDS = (
    "The value is the mean over seeds; its interval is Student's t over seeds, and at least that "
    "over texts. A generated task is drawn anew for every seed."
)
gap_of = value("gap", "model", "balanced accuracy beyond a neutral judge")
accuracy_of = value("accuracy", f"{PERFORMANCE}/model", "accuracy")
leak_of = value("leak", "leak/weights", "balanced accuracy of a probe beyond chance")


def conclude(results: Results) -> tuple[Claim, ...]:
    """Every claim; one that no cell speaks to is 'not measured', never left out."""
    return (
        _exist(results),
        _clean(results),
        _defaults(results),
        _form(results),
        _without(results),
        *(_helps(results, m, mask) for m in REMEDIES for mask in ("hard", "soft")),
        *(_cost(results, method) for method in REMEDIES),
    )


def over_seeds(found: Sequence[Measured | None]) -> Measured | None:
    """The mean over seeds, with Student's interval over them widened by that over texts.

    The texts may be the same for every seed, so the mean half width over texts is not divided by
    the number of seeds; the two are added as independent errors are. None where a seed has no
    value; with one seed it is that seed's.

    Example:
        >>> one = Measured(value=0.4, low=0.3, high=0.5, n=50, unit="u")
        >>> over_seeds([one, one, None]) is None, over_seeds([one]).low
        (True, 0.3)
        >>> other = one.model_copy(update={"value": 0.6, "low": 0.5, "high": 0.7})
        >>> mean = over_seeds([one, other])
        >>> round(mean.value, 2), round(mean.low, 2)
        (0.5, -0.77)
    """
    known = [m for m in found if m is not None]
    if not known or len(known) < len(found):
        return None
    unit, n = f"{known[0].unit}; mean of {len(known)} seeds", min(m.n for m in known)
    if len(known) == 1:
        return known[0]
    values = np.array([m.value for m in known])
    mean = float(values.mean())
    if len(known) < LEAST_SEEDS and all(m.low is None for m in known):
        return Measured(value=mean, n=n, unit=unit)
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * values.std(ddof=1)
    reach /= math.sqrt(len(values))
    low = np.mean([m.value - m.low for m in known if m.low is not None] or [0.0])
    high = np.mean([m.high - m.value for m in known if m.high is not None] or [0.0])
    down, up = float(np.hypot(reach, low)), float(np.hypot(reach, high))
    return Measured(value=mean, low=mean - down, high=mean + up, n=n, unit=unit)


def by_seed(
    results: Results, setting: str, found: Found, method: str = JOINT
) -> dict[int, Measured | None]:
    """A number of each seed of a setting."""
    return {
        int(record.spec["seed"]): found(record)
        for record in results.where(setting=setting, method=method)
    }


def saved(results: Results, setting: str, method: str, found: Found) -> list[Measured | None]:
    """What a remedy changes: joint training less the remedy, seed by seed."""
    before = by_seed(results, setting, found)
    after = by_seed(results, setting, found, method)
    return [_less(before[seed], after[seed]) for seed in before if seed in after]


def _less(first: Measured | None, second: Measured | None) -> Measured | None:
    if first is None or second is None:
        return None
    # seeds carry the interval: both models are trained and tested on the same draw
    return Measured(
        value=first.value - second.value, n=min(first.n, second.n), unit=f"{first.unit}, less"
    )


def _exist(results: Results) -> Claim:
    parts = [
        *_parts(results, NEEDS_A_CODE, gap_of, lambda m: above(m, GAP.value)),
        *_shown(results, NEEDS_A_CODE, accuracy_of, lambda m: above(m, GOOD), "accuracy"),
    ]
    return claim_of(
        parts,
        id="shortcuts_exist",
        claim="Trained end to end, a model predicts a label that no honest weights can carry, and "
        "a neutral judge of the same weights does not.",
        paper=f"That combinatorial shortcuts exist (abstract). {UNKNOWN}",
        rule=f"The gap is above {GAP.value}. Accuracy is shown beside it, with whether it is above "
        f"{GOOD}, and decides nothing. {SEEDS}",
    )


def _clean(results: Results) -> Claim:
    return claim_of(
        _parts(results, HONEST, gap_of, lambda m: below(m, GAP.value)),
        id="honest_weights_are_clean",
        claim="Where honest weights suffice, a neutral judge of them does as well as the model.",
        paper=f"Not in the paper: a negative control of ours. {UNKNOWN}",
        rule=f"The gap is below {GAP.value}. {SEEDS}",
    )


def _defaults(results: Results) -> Claim:
    names = tuple(n for n, s in SETTINGS.items() if s.variant == ONLY)
    return claim_of(
        _parts(results, names, gap_of, lambda m: above(m, GAP.value)),
        id="default_tokens_tell",
        claim="On real text, weights on nothing but default tokens carry the label.",
        paper="That weights on meaningless default tokens can depend on the label. "
        f"{UNKNOWN} The variant without any other token is ours.",
        rule=f"The gap is above {GAP.value}. {SEEDS}",
    )


def _form(results: Results) -> Claim:
    return claim_of(
        _parts(results, NEEDS_A_CODE, leak_of, lambda m: above(m, LEAK.value)),
        id="form_tells",
        claim="Where a model needs a code, a probe of the form of its weights finds it.",
        paper=f"Not in the paper; a question of ours. {UNKNOWN}",
        rule=f"The leak is above {LEAK.value}. {SEEDS}",
        note="A code can lie in which words are chosen; then only the gap shows it.",
    )


def _without(results: Results) -> Claim:
    name = "order/soft/rnn"
    told = above(over_seeds(list(by_seed(results, name, leak_of).values())), LEAK.value)
    parts = _parts(
        results, (name,), gap_of, lambda m: below(m, GAP.value) if told is Holds.YES else told
    )
    parts += _shown(results, (name,), leak_of, lambda m: above(m, LEAK.value), "leak")
    return claim_of(
        parts,
        id="leak_without_need",
        claim="Weights can leak the label although the model does not need that.",
        paper=f"Not in the paper; a question of ours. {UNKNOWN}",
        rule=f"Where the leak is above {LEAK.value}, the gap is below {GAP.value}; without a leak "
        f"the claim fails. {SEEDS}",
    )


def _helps(results: Results, method: str, mask: str) -> Claim:
    names = _remedied(results, method, mask)
    parts = _saved(results, names, method, gap_of, lambda m: above(m, 0.0))
    return claim_of(
        parts,
        id=f"{method}_lowers_the_gap_{mask}",
        claim=f"{METHODS[method][0].upper()}{METHODS[method][1:]} lowers the gap of {mask} masks.",
        paper=f"Not in the paper; a variant of ours. {UNKNOWN}"
        if method == HELD_OUT
        else f"That the method mitigates combinatorial shortcuts (abstract). {UNKNOWN}",
        rule=f"The gap of joint training less that of the remedy is above 0, in settings whose "
        f"joint gap is above {GAP.value}; paired by seed. {SEEDS}",
    )


def _cost(results: Results, method: str) -> Claim:
    names = sorted(HONEST, key=lambda name: SETTINGS[name].mask)
    names = [name for name in names if results.where(setting=name, method=method)]
    parts = _saved(results, names, method, accuracy_of, lambda m: below(m, GAP.value))
    return claim_of(
        parts,
        id=f"{method}_costs_little",
        claim=f"{METHODS[method][0].upper()}{METHODS[method][1:]} costs little accuracy where "
        "honest weights suffice.",
        paper=f"Not stated in what is known of the paper. {UNKNOWN}",
        rule=f"The accuracy of joint training less that of the remedy is below {GAP.value}; paired "
        f"by seed. {SEEDS}",
    )


def _remedied(results: Results, method: str, mask: str) -> Iterator[str]:
    """Settings in which there is a gap to lower, and in which the remedy was tried."""
    for name, setting in SETTINGS.items():
        joint = over_seeds(list(by_seed(results, name, gap_of).values()))
        tried = results.where(setting=name, method=method)
        if setting.mask == mask and tried and above(joint, GAP.value) is Holds.YES:
            yield name


def _saved(
    results: Results, names: Iterable[str], method: str, found: Found, rule: Rule
) -> list[Part]:
    return [
        part_of(SETTINGS[name].title, over_seeds(saved(results, name, method, found)), rule)
        for name in names
    ]


def _parts(results: Results, names: Sequence[str], found: Found, rule: Rule) -> list[Part]:
    every = {name: list(by_seed(results, name, found).values()) for name in names}
    return [
        part_of(SETTINGS[n].title, over_seeds(seeds), rule) for n, seeds in every.items() if seeds
    ]


def _shown(
    results: Results, names: Sequence[str], found: Found, rule: Rule, what: str
) -> Iterator[Part]:
    """A second number of the same settings, which decides nothing."""
    for part in _parts(results, names, found, rule):
        yield shown(part.model_copy(update={"of": f"{part.of}: {what}"}))
