"""Another attribution is recommended only for a lead that is certain and that the report shows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from attnaudit.audits.judgement import judge
from attnaudit.checks.effect import conclude as effect
from attnaudit.checks.ground_truth import conclude as ground_truth
from attnaudit.evidence.batch.chunks import Instances
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings

N = 60
GATE = Finding(check="performance", subject="model", verdict=Verdict.PASS, sentence="Good.")


def seen(frame: pl.DataFrame, **bars: float) -> Instances:
    return Instances(frame, ("a", "b"), Settings(resamples=200, operators=("delete",), bars=bars))


def attained(share: float, noise: float, n: int = N) -> pl.DataFrame:
    """A table of effects in which the weights attain some share on average."""
    own = share + np.linspace(-noise, noise, n)
    columns = {"attained.weights": own, "attained.random": own * 0, "either_way": own}
    columns |= {
        "against": own * 0,
        "left_out": own * 0,
        "idle_peaks": own * 0,
        "length": np.arange(n),
    }
    columns |= {"predicted": np.zeros(n), "probability.0": np.full(n, 0.9)}
    columns["probability.1"] = 1 - columns["probability.0"]
    return pl.DataFrame({**columns, "drawn": np.ones(n, dtype=bool)})


@pytest.mark.parametrize(
    ("share", "noise", "n", "recommended"),
    [
        (0.3, 0.01, N, "shapley"),
        (0.9, 0.01, N, None),  # nothing to better
        (0.6, 1.0, N, None),  # not certain
        (0.3, 0.01, 20, None),  # on too few instances
    ],
)
def test_effects_recommend_where_weights_miss_them(
    share: float, noise: float, n: int, recommended: str | None
) -> None:
    found = effect(seen(attained(share, noise, n)))[0]
    assert found.recommended == recommended
    result = judge(GATE, [found])
    assert result.recommended == recommended
    if recommended:
        assert "Shapley values instead: the weights miss 0.70 (0.70 to 0.70" in result.advice


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
    columns["attained_truth.weights"] = np.full(N, 0.1)
    columns["predicted"] = np.zeros(N)
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
