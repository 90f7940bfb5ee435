"""Checks of pair explanations: may these token pairs be shown as the reason for a similarity?"""

from __future__ import annotations

from attnaudit.pair_checks.audit import PairAudit, PairSizes, audit_pairs
from attnaudit.pair_checks.declaration import PairCheck
from attnaudit.pair_checks.pair_methods import PAIR_METHODS, PairMethod, PairScores
from attnaudit.pair_checks.registry import PAIR_CHECKS
from attnaudit.pair_checks.settings import PairSettings, PairThresholds

__all__ = [
    "PAIR_CHECKS",
    "PAIR_METHODS",
    "PairAudit",
    "PairCheck",
    "PairMethod",
    "PairScores",
    "PairSettings",
    "PairSizes",
    "PairThresholds",
    "audit_pairs",
]
