"""What batches cost, said before, and how many instances fit into a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from attnaudit.cli.app import app
from attnaudit.cli.audit import seconds_of
from attnaudit.errors import SettingsError
from attnaudit.evidence.batch.timing import Rate, forecast_of_batches
from tests.small_models import saved_model

SECONDS = st.floats(0.001, 10)


@given(SECONDS, SECONDS, st.integers(0, 500), st.integers(1, 10**6), st.floats(0.1, 10**5))
def test_what_fits_fits_and_one_more_does_not(each, costly, limit, instances, seconds):
    rate = Rate(each, costly, limit, instances, 2)
    found = rate.fitting(seconds)
    assert 1 <= found <= instances
    if found > 1:
        assert rate.seconds(found) <= seconds * (1 + 1e-6)
    if found < instances:
        assert rate.seconds(found + 1) > seconds * (1 - 1e-6)


def test_little_is_not_announced():
    assert forecast_of_batches(None, "texts") is None
    assert forecast_of_batches(Rate(0.01, 0.0, 0, 100, 1), "texts") is None
    said = forecast_of_batches(Rate(1.0, 2.0, 50, 1000, 1), "texts")
    assert said is not None
    assert said.startswith("1,000 texts will be measured: about 18 minutes")


@pytest.mark.parametrize("budget", ["", "x", "0m", "-3", "5d"])
def test_a_time_that_cannot_be_read_is_refused(budget):
    with pytest.raises(SettingsError, match="30m, 2h or 90s"):
        seconds_of(budget)


def test_a_budget_draws_as_many_texts_as_fit(tmp_path):
    saved_model(tmp_path)
    args = ["audit", str(tmp_path / "model"), "reviews", "--check", "effect"]
    data = tmp_path / "data.csv"
    rows = [f"this film was good number {k},{k % 2}" for k in range(3000)]
    data.write_text("text,label\n" + "\n".join(rows))
    args = ["audit", str(tmp_path / "model"), str(data), "--check", "effect"]
    args += ["--column", "label=none", "--set", "costly_limit=5"]
    done = CliRunner().invoke(
        app, [*args, "--budget", "0.2s", "--dry-run", "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    assert "of 3,000 texts fit into the time" in done.output
