"""How often verdicts were right, on models whose right verdict is known: counts of `make prove`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from attnaudit.audits.schema import Judgement, Plan
from attnaudit.checks.declaration import ATTENTION
from attnaudit.checks.registry import CHECKS
from attnaudit.data.kinds import KINDS
from attnaudit.findings.findings import Verdict
from attnaudit.findings.wording import count
from attnaudit.measures.bootstrap import wilson_interval

FILE = "record.json"
Counts = Mapping[str, Mapping[str, int]]
"""Audits by what was right (`honest`, `dishonest`), and by verdict."""


@cache
def record() -> Mapping[str, Mapping[str, Counts]]:
    """The counts, by what models read (`texts`, `bags`) and by `known` or `unknown` evidence.

    They are of the constructions on which no rule was made.
    """
    found: Mapping[str, Mapping[str, Counts]] = json.loads(
        files("attnaudit.audits").joinpath(FILE).read_text(encoding="utf-8")
    )
    return found


def how_sure(judgement: Judgement, plan: Plan) -> str:
    """How often such a verdict was right, in words; empty where nothing is known of such audits.

    Other bars, or fewer checks, make another audit than the one that was put to the proof.
    """
    counts = (
        record().get(plan.data.reads, {}).get("known" if plan.data.has_truth else "unknown", {})
    )
    usual = {
        c.name
        for c in CHECKS.values()
        if c.group == ATTENTION and KINDS[plan.data.reads] in c.kinds
    }
    judged = judgement.verdict in (Verdict.PASS, Verdict.FAIL)
    if plan.model.partial and judged:
        return (
            "Not known: how often this audit is right was measured on networks that pool by "
            "attention, and on no transformer."
        )
    if not counts or not judged or plan.settings.bars or not usual <= set(plan.checks):
        return ""
    called = "fit to be shown" if judgement.verdict is Verdict.PASS else "unfit"
    word = judgement.verdict.value
    honest, dishonest = (_share(counts.get(right, {}), word) for right in ("honest", "dishonest"))
    evidence = "known" if plan.data.has_truth else "unknown"
    return (
        f"Put to models of {plan.data.reads} that were built to be honest or not, with {evidence} "
        f"evidence, this audit called {honest} of the honest ones {called}, and {dishonest} of the "
        "others."
    )


def _share(counts: Mapping[str, int], word: str) -> str:
    n, hits = sum(counts.values()), counts.get(word, 0)
    interval = wilson_interval(hits, n, 0.95)
    if interval.low is None or interval.high is None:
        return f"{hits} of {n}"
    return f"{count(hits)} of {count(n)} ({interval.low:.0%} to {interval.high:.0%})"
