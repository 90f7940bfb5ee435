"""Two audits side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

import attnaudit
from attnaudit import Settings
from attnaudit.cli.app import app
from attnaudit.errors import SettingsError
from attnaudit.report.comparison import compared, comparison_page
from tests.small_models import saved_model

SMALL = Settings(permutations=10, resamples=100, costly_limit=10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("two")
    model, data = saved_model(place)
    for name, checks in (("before", ("effect", "permutation")), ("after", ("effect", "entropy"))):
        attnaudit.audit(
            model, data, checks=checks, settings=SMALL, out=place / name, progress=False
        )
    return place


def test_both_are_shown_and_what_was_not_asked_is_said(runs):
    results = [attnaudit.open_run(runs / name) for name in ("before", "after")]
    found = compared(results, ("before", "after"))
    rows = {row.title: row for row in found.rows}
    assert rows["Performance"].apart is False
    assert rows["Weight where the effect is"].said == "overlap"
    assert rows["Permuted weights"].sides[1].verdict is None
    assert rows["Equal weights"].sides[0].verdict is None
    assert "The model is the same in both." in found.notes


def test_intervals_that_do_not_overlap_differ(runs):
    first, second = (attnaudit.open_run(runs / "before") for _ in range(2))
    moved = tuple(
        f.model_copy(
            update={"headline": f.headline.model_copy(update={"value": 9.0, "low": 8.0, "high": 9})}
        )
        if f.headline is not None and f.subject == "weights"
        else f
        for f in second.report.findings
    )
    other = replace(second, report=second.report.model_copy(update={"findings": moved}))
    rows = {row.title: row for row in compared([first, other], ("a", "b")).rows}
    assert rows["Permuted weights"].said == "differ"


def test_a_page_and_a_table_from_the_command_line(runs, tmp_path):
    out = tmp_path / "both.html"
    args = ["report", str(runs / "before"), str(runs / "after"), "--out", str(out)]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert "overlap" in " ".join(done.output.split())
    html = out.read_text()
    assert "Two audits side by side" in html
    assert "http" not in html.replace("http-equiv", "")


def test_names_of_the_users_are_escaped(runs):
    result = attnaudit.open_run(runs / "before")
    page = comparison_page(compared([result, result], ("<script>x</script>", "b")), "0")
    assert "<script>x" not in page


def test_what_is_of_different_kinds_is_not_compared(runs):
    result = attnaudit.open_run(runs / "before")
    data = result.report.plan.data.model_copy(update={"reads": "bags"})
    plan = result.report.plan.model_copy(update={"data": data})
    other = replace(result, report=result.report.model_copy(update={"plan": plan}))
    with pytest.raises(SettingsError, match="of the same kind"):
        compared([result, other], ("a", "b"))
