"""An audit of pair explanations: may these token pairs be shown as the reason for a similarity?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from attnaudit.audit.schema import Judgement
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.pairs.view import Explainer, PairView, Remake, Shared
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.models.siamese.explainer import checked_pairs
from attnaudit.models.siamese.own_score import Pair
from attnaudit.pair_checks.registry import PAIR_CHECKS
from attnaudit.pair_checks.settings import PairSettings
from attnaudit.pair_checks.verdict import judge_pairs
from attnaudit.progress import Report


@dataclass(frozen=True)
class PairSizes:
    """How many pairs there were, and of what kind.

    Attributes:
        given: Pairs that were given.
        audited: Different ones among them; each counts once.
        short: Audited pairs with a text of fewer than two tokens: nothing can be ranked, so they
            take part in completeness alone.
        identical: Audited pairs of twice the same text.
    """

    given: int
    audited: int
    short: int
    identical: int


@dataclass(frozen=True)
class PairAudit:
    """What an audit of pair explanations found.

    Attributes:
        findings: What each check found, calibration rows included.
        judgement: The answer.
        frame: One line a pair: its texts, score, kind, and the columns of all checks, null where a
            pair has no value. `deletion.delete.integrated` is the area of a curve, with `@0.1` at
            its end a point of it.
        settings: Of the audit.
        sizes: Of the data.
    """

    findings: tuple[Finding, ...]
    judgement: Judgement
    frame: pl.DataFrame
    settings: PairSettings
    sizes: PairSizes

    @property
    def verdict(self) -> Verdict:
        """The answer in one word."""
        return self.judgement.verdict

    def finding(self, check: str) -> Finding:
        """What one check found about the explanation.

        Raises:
            SettingsError: The check was not run.
        """
        for found in self.findings:
            if found.check == check and found.subject != "random":
                return found
        ran = ", ".join(dict.fromkeys(found.check for found in self.findings))
        raise SettingsError(f"the check {check!r} was not run; those that were: {ran}")


def audit_pairs(
    explainer: Explainer,
    pairs: Sequence[Pair],
    *,
    checks: Sequence[str] = tuple(PAIR_CHECKS),
    settings: PairSettings | None = None,
    remake: Remake | None = None,
    progress: Report | None = None,
) -> PairAudit:
    """Put the checks of `PAIR_CHECKS` to the explanations of these pairs.

    Args:
        explainer: A `PairExplainer`, or anything with its `encoder` and `tables`.
        pairs: Of texts.
        checks: Names of `PAIR_CHECKS`. Without every decisive one the answer stays open.
        settings: What an audit can be told.
        remake: The same explainer for another encoder; known of a `PairExplainer`.
        progress: Told the pairs done.

    Raises:
        DataError: No pairs, one that is none, or a text that is empty; named by its number.
        SettingsError: A check that does not exist.
    """
    chosen = _checks(checks)
    distinct = _distinct(pairs)
    options = settings or PairSettings()
    shared = Shared(explainer, options, remake)
    frames = []
    for first in range(0, len(distinct), options.chunk):
        view = PairView(shared, distinct[first : first + options.chunk])
        columns: dict[str, np.ndarray] = {}
        for name in chosen:
            columns |= PAIR_CHECKS[name].measure(view)
        frames.append(_facts(view, first).hstack(pl.DataFrame(columns).fill_nan(None)))
        if progress is not None:
            progress("pairs", first + len(view), len(distinct))
    frame = pl.concat(frames, how="diagonal")
    findings = tuple(
        finding for name in chosen for finding in PAIR_CHECKS[name].conclude(frame, options)
    )
    sizes = PairSizes(
        len(pairs), len(distinct), int(frame["short"].sum()), int(frame["identical"].sum())
    )
    return PairAudit(findings, judge_pairs(findings, PAIR_CHECKS), frame, options, sizes)


def _facts(view: PairView, first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pair": range(first, first + len(view)),
            "a": [a for a, _ in view.pairs],
            "b": [b for _, b in view.pairs],
            "score": view.scores,
            "units_a": [len(a) for a, _ in view.units],
            "units_b": [len(b) for _, b in view.units],
            "short": ~view.rankable,
            "identical": [a == b for a, b in view.pairs],
        }
    )


def _checks(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in PAIR_CHECKS]
    if unknown or not names:
        raise SettingsError(
            f"{unknown[0]!r} is no check of pairs; choose from {', '.join(PAIR_CHECKS)}"
            if unknown
            else f"no check was named; choose from {', '.join(PAIR_CHECKS)}"
        )
    return [name for name in PAIR_CHECKS if name in names]


def _distinct(pairs: Sequence[Pair]) -> list[Pair]:
    """Every pair once, in order: a pair that is repeated is no further evidence."""
    if not len(pairs):
        raise DataError("there are no pairs to audit; give pairs of texts, 30 or more to decide")
    return list(dict.fromkeys(checked_pairs(pairs)))
