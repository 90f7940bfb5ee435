"""All checks of pair explanations."""

from __future__ import annotations

from attnaudit.checks.completeness import COMPLETENESS
from attnaudit.checks.deletion import DELETION, INSERTION
from attnaudit.checks.pair_deletion import PAIR_DELETION, PAIR_INSERTION
from attnaudit.checks.randomised_weights import RANDOMISED_WEIGHTS
from attnaudit.checks.stability import STABILITY
from attnaudit.pair_checks.declaration import PairCheck

PAIR_CHECKS: dict[str, PairCheck] = {
    check.name: check
    for check in (
        COMPLETENESS,
        DELETION,
        PAIR_DELETION,
        RANDOMISED_WEIGHTS,
        INSERTION,
        PAIR_INSERTION,
        STABILITY,
    )
}
