"""All checks by name: the one place that lists them."""

from __future__ import annotations

from collections.abc import Sequence

from attnaudit.checks.adversary import ADVERSARY
from attnaudit.checks.agreement import AGREEMENT
from attnaudit.checks.completeness import COMPLETENESS
from attnaudit.checks.declaration import Check
from attnaudit.checks.deletion import DELETION
from attnaudit.checks.effect import EFFECT
from attnaudit.checks.ensembles import ENSEMBLES
from attnaudit.checks.entropy import ENTROPY
from attnaudit.checks.erasure import ERASURE
from attnaudit.checks.gap import RELIANCE
from attnaudit.checks.ground_truth import GROUND_TRUTH
from attnaudit.checks.guide import GUIDE
from attnaudit.checks.insertion import INSERTION
from attnaudit.checks.leak import LEAKED
from attnaudit.checks.pair_deletion import PAIR_DELETION
from attnaudit.checks.pair_insertion import PAIR_INSERTION
from attnaudit.checks.performance import PERFORMANCE
from attnaudit.checks.permutation import PERMUTATION
from attnaudit.checks.randomised_weights import RANDOMISED_WEIGHTS
from attnaudit.checks.ranking import RANKING
from attnaudit.checks.reach import REACH
from attnaudit.checks.seed_agreement import SEED_AGREEMENT
from attnaudit.checks.seeds import SEEDS
from attnaudit.checks.silent_failures import SILENT_FAILURES
from attnaudit.checks.sites import SITES
from attnaudit.checks.stability import STABILITY
from attnaudit.checks.swaps import SWAPS
from attnaudit.checks.trained_adversary import TRAINED_ADVERSARY
from attnaudit.checks.uniform import UNIFORM
from attnaudit.checks.weights_only import WEIGHTS_ONLY
from attnaudit.data.kinds import Kind
from attnaudit.errors import SettingsError
from attnaudit.findings.wording import declare

GATES: dict[str, Check] = {check.name: check for check in (PERFORMANCE,)}
"""What is asked before all else: nothing is judged where it fails."""
CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        REACH,
        *(EFFECT, AGREEMENT, PERMUTATION, ADVERSARY, ERASURE, GROUND_TRUTH, ENTROPY),
        RANKING,
        SITES,
        *(UNIFORM, SEEDS, GUIDE, TRAINED_ADVERSARY),
        *(SILENT_FAILURES, SEED_AGREEMENT, ENSEMBLES),
        *(COMPLETENESS, DELETION, PAIR_DELETION, RANDOMISED_WEIGHTS),
        *(INSERTION, PAIR_INSERTION, STABILITY),
        *(LEAKED, WEIGHTS_ONLY, SWAPS, RELIANCE),
    )
}
for _check in (*GATES.values(), *CHECKS.values()):
    declare(_check.words)


def groups() -> dict[str, list[str]]:
    """The names of the checks of each group."""
    found: dict[str, list[str]] = {}
    for check in CHECKS.values():
        found.setdefault(check.group, []).append(check.name)
    return found


def chosen_checks(names: Sequence[str], kind: Kind | None = None) -> list[Check]:
    """Checks by their names or those of their groups, each once, in the order of the registry.

    Args:
        names: `seeds` is a check of texts and a group of checks of bags.
        kind: What the model reads; only checks that can be put to it are chosen. None for any.

    Raises:
        SettingsError: No check or group has such a name, none was named, or one cannot be put to
            this kind of model.
    """
    known = groups()
    every = f"there are: {', '.join(CHECKS)}; and groups of them: {', '.join(known)}"
    if not names:
        raise SettingsError(f"no check was named; {every}.")
    wanted: set[str] = set()
    for name in names:
        some = {*([name] if name in CHECKS else []), *known.get(name, [])}
        if not some:
            raise SettingsError(f"no check is called {name!r}; {every}.")
        fit = {one for one in some if kind is None or kind in CHECKS[one].kinds}
        if kind is not None and not fit:
            others = dict.fromkeys(k.instances for one in some for k in CHECKS[one].kinds)
            raise SettingsError(
                f"{name!r} is put to models that read {' or '.join(others)}, and this one reads "
                f"{kind.instances}."
            )
        wanted |= fit
    return [check for name, check in CHECKS.items() if name in wanted]
