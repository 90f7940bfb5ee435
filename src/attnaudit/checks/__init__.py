"""Checks: one question from one paper, one file each."""

from __future__ import annotations

from attnaudit.checks.adversary import ADVERSARY
from attnaudit.checks.agreement import AGREEMENT
from attnaudit.checks.declaration import Check, Facts
from attnaudit.checks.erasure import ERASURE
from attnaudit.checks.findings import Estimate, Finding, Verdict
from attnaudit.checks.ground_truth import GROUND_TRUTH
from attnaudit.checks.permutation import PERMUTATION
from attnaudit.checks.settings import Settings, Thresholds

CHECKS: dict[str, Check] = {
    check.name: check for check in (AGREEMENT, PERMUTATION, ADVERSARY, ERASURE, GROUND_TRUTH)
}

__all__ = ["CHECKS", "Check", "Estimate", "Facts", "Finding", "Settings", "Thresholds", "Verdict"]
