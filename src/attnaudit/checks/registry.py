"""All checks by name."""

from __future__ import annotations

from attnaudit.checks.adversary import ADVERSARY
from attnaudit.checks.agreement import AGREEMENT
from attnaudit.checks.declaration import Check
from attnaudit.checks.erasure import ERASURE
from attnaudit.checks.ground_truth import GROUND_TRUTH
from attnaudit.checks.permutation import PERMUTATION

CHECKS: dict[str, Check] = {
    check.name: check for check in (AGREEMENT, PERMUTATION, ADVERSARY, ERASURE, GROUND_TRUTH)
}
