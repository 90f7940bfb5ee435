"""All checks of pair explanations."""

from __future__ import annotations

from attnaudit.pair_checks.completeness import COMPLETENESS
from attnaudit.pair_checks.declaration import PairCheck
from attnaudit.pair_checks.deletion import DELETION, INSERTION
from attnaudit.pair_checks.pair_deletion import PAIR_DELETION, PAIR_INSERTION
from attnaudit.pair_checks.randomised_weights import RANDOMISED_WEIGHTS
from attnaudit.pair_checks.stability import STABILITY

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
