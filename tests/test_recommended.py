"""Another attribution is recommended only for a lead that is certain and that the report shows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from attnaudit.audits.judgement import judge
from attnaudit.checks.erasure import conclude as erasure
from attnaudit.checks.ground_truth import conclude as ground_truth
from attnaudit.evidence.batch.chunks import Instances
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings

N = 60
GATE = Finding(check="performance", subject="model", verdict=Verdict.PASS, sentence="Good.")


def seen(frame: pl.DataFrame, **bars: float) -> Instances:
    return Instances(frame, ("a", "b"), Settings(resamples=200, operators=("delete",), bars=bars))


def erased(lead: float, noise: float, n: int = N) -> pl.DataFrame:
    """An erasure table in which leave-one-out is ahead of the weights by `lead` on average."""
    swing = np.linspace(-noise, noise, n)
    own = np.full(n, 0.2)
    ahead = own + lead + swing
    falls = {"weights": own, "random": own * 0, "null": own * 0}
    falls |= {"leave_one_out": ahead, "|leave_one_out|": ahead}
    columns: dict[str, np.ndarray] = {}
    for name, values in falls.items():
        columns[f"comprehensiveness.delete.{name}"] = values
        columns[f"sufficiency.delete.{name}"] = values
        for flip in ("flip_fraction", "flip_mass", "never_flipped"):
            columns[f"{flip}.{name}"] = np.full(n, 0.5)
    for name in ("delta_js", "flip_top", "flip_other"):
        columns[name] = np.zeros(n)
    return pl.DataFrame({**columns, "drawn": np.ones(n, dtype=bool)})


@pytest.mark.parametrize(
    ("lead", "noise", "n", "recommended"),
    [
        (0.08, 0.01, N, "leave_one_out"),
        (0.0004, 0.0, N, None),  # certain, and 0.00 in the report
        (0.03, 0.001, N, None),  # certain, and below the margin
        (0.06, 1.0, N, None),  # beyond the margin, and not certain
        (0.08, 0.01, 20, None),  # on too few instances
        (0.06, 0.41, N, None),  # certain, but for the digits that the report shows
    ],
)
def test_erasure_recommends_by_the_margin(
    lead: float, noise: float, n: int, recommended: str | None
) -> None:
    found = erasure(seen(erased(lead, noise, n)))[0]
    assert found.recommended == recommended
    result = judge(GATE, [found])
    assert result.recommended == recommended
    if recommended:
        assert "leave-one-out instead: erasing by it lowers" in result.advice
        assert "0.08 (0.08 to 0.08, n = 60) more" in result.advice
    else:
        assert "leave-one-out" not in result.advice
        assert "further" not in " ".join(found.notes)


def test_a_margin_of_nothing_recommends_nothing_that_is_shown_as_nothing() -> None:
    assert erasure(seen(erased(0.004, 0.0), erasure_margin=0.0))[0].recommended is None
    assert erasure(seen(erased(0.006, 0.0), erasure_margin=0.0))[0].recommended is not None


def known(lead: float) -> pl.DataFrame:
    """A table of known evidence in which the gradient is ahead of the weights by `lead`."""
    values = {"weights": 0.6, "random": 0.5, "gradient": 0.6 + lead, "oracle": 1.0}
    columns: dict[str, object] = {
        f"{statistic}.{name}": np.full(N, value)
        for name, value in values.items()
        for statistic in ("auroc", "average_precision", "token_f1")
    }
    for name in ("mass_on_evidence", "top_one", "lift", "coverage"):
        columns[f"{name}.weights"] = np.full(N, 0.5)
    columns["evidence_share"] = np.full(N, 0.5)
    columns["truth"] = [[1, 0]] * N
    columns["scores.weights"] = [[0.5, 0.5]] * N
    return pl.DataFrame({**columns, "drawn": np.ones(N, dtype=bool)})


@pytest.mark.parametrize(("lead", "recommended"), [(0.04, None), (0.07, "gradient")])
def test_known_evidence_recommends_by_the_margin(lead: float, recommended: str | None) -> None:
    found = ground_truth(seen(known(lead)))[0]
    assert found.recommended == recommended
    result = judge(GATE, [found])
    assert result.recommended == recommended
    assert ("0.07 (0.07 to 0.07, n = 60) above" in result.advice) == (recommended is not None)


def test_pairs_have_the_same_rule() -> None:
    from attnaudit.evidence.pairs.rivals import _recommends
    from attnaudit.findings.findings import Estimate

    def lead(value: float, low: float, n: int = 40) -> Estimate:
        return Estimate(
            statistic="deletion_lead",
            subject="alignment-table",
            value=value,
            low=low,
            high=value,
            n=n,
        )

    settings = Settings()
    assert _recommends(lead(0.06, 0.01), settings)
    for refused in (lead(0.04, 0.03), lead(0.06, -0.01), lead(0.06, 0.01, n=10)):
        assert not _recommends(refused, settings)
