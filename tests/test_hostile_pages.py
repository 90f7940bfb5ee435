"""Names of the user's on the pages of audits and studies."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import RenderableType

from attnaudit.audits.judgement import judge
from attnaudit.audits.result import AuditResult
from attnaudit.audits.schema import CellLine as LostLine
from attnaudit.checks.registry import CHECKS
from attnaudit.cli.app import main
from attnaudit.cli.output import show_claims
from attnaudit.console import Plain
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.report import page as html
from attnaudit.report.markdown import render_card
from attnaudit.report.page import render_html
from attnaudit.report.terminal import render_terminal
from attnaudit.runs.cell import CellRecord
from attnaudit.studies.declaration import Results
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished
from attnaudit.studies.schema import CellLine, Claim, Holds, Missing, Part, StudyReport
from tests.report_fixture import bare, hostile_result
from tests.study_fake import FAKE, FakeOptions
from tests.test_console import STEERS

HEBREW = "שלום"
NAME = f"<img src=x>|[red]x[/red] \x1b[31m\x9b2J\u202e\u2066 {HEBREW}\n# forged"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def finding(check: str, subject: str = "weights") -> Finding:
    estimate = Estimate(statistic=NAME, subject=NAME, group=NAME, value=0.5, low=0.4, high=0.6, n=9)
    return Finding(
        check=check,
        subject=subject,
        verdict=Verdict.FAIL,
        sentence=f"Of {NAME}: 0.5.",
        headline=estimate,
        estimates=(estimate,),
        notes=(f"It is {NAME}, 3 of 4.",),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    claim = Claim(
        id="size",
        claim=f"Of {NAME}.",
        paper=NAME,
        rule=NAME,
        note=NAME,
        holds=Holds.NO,
        parts=(Part(of=NAME, measured=None, holds=Holds.NO),),
        measured=None,
    )
    missing = (Missing(what=NAME, reason=NAME),)
    report = StudyReport(
        study="fake",
        title=NAME,
        paper=NAME,
        attnaudit_version="1",
        created=NOW,
        quick=False,
        options={NAME: NAME},
        missing=missing,
        claims=(claim,),
        cells=(CellLine(name=NAME, folder="f", status="failed", reason=NAME, seconds=1.0),),
    )
    folder = tmp_path_factory.mktemp("study")
    lost = CellRecord(
        name=NAME,
        key="k",
        spec={},
        status="failed",
        reason=NAME,
        cost=0.0,
        seconds=1.0,
        code="",
        created=NOW,
    )
    return Finished(
        report, Results(FAKE, FakeOptions(), folder, (), failed=(lost,), missing=missing)
    )


def check_page(page: str) -> None:
    assert not (STEERS - {"\x7f"}) & set(page)
    assert "<img src=x" not in page
    assert f"<bdi>{HEBREW}</bdi>" in page


def printed(shown: RenderableType) -> str:
    console = Plain()
    console.file, console.width = io.StringIO(), 200
    console.print(shown)
    return console.file.getvalue()


def test_pages_hold_names_as_text(finished: Finished) -> None:
    check_page(render_study(finished))


@pytest.fixture(scope="module")
def audited() -> AuditResult:
    """An audit of every check there is, each with the name in all that it says."""
    result = bare(hostile_result())
    found = tuple(finding(check) for check in CHECKS)
    lines = (LostLine(name=NAME, place="cells/a", status="failed", reason=NAME),)
    plan = result.report.plan
    named = plan.model_copy(
        update={
            "checks": tuple(CHECKS),
            "model": plan.model.model_copy(update={"name": NAME, "classes": (NAME, "b")}),
            "data": plan.data.model_copy(update={"name": NAME, "notes": (NAME,)}),
            "about": {NAME: NAME},
        }
    )
    update = {
        "plan": named,
        "findings": found,
        "judgement": judge(result.report.performance, found, (NAME,)),
        "cells": lines,
    }
    return replace(result, report=result.report.model_copy(update=update))


def test_the_page_of_an_audit_holds_names_as_text(audited: AuditResult) -> None:
    check_page(render_html(audited))


def test_an_audit_in_the_terminal_holds_names_as_text(audited: AuditResult) -> None:
    shown = printed(render_terminal(audited.report))
    assert not STEERS & set(shown), repr(shown)
    assert "[red]x[/red]" in shown
    # a line feed in a name is a blank, so that it makes no line of its own
    assert not any(line.lstrip("│ ").startswith("# forged") for line in shown.splitlines())


def test_a_study_in_the_terminal(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    show_claims(finished)
    shown = capsys.readouterr().out
    assert HEBREW in shown
    assert not STEERS & set(shown)


def test_markdown_holds_names_as_text(finished: Finished, audited: AuditResult) -> None:
    card, _, index = render_card(audited).partition("```yaml")
    assert not STEERS & set(index)
    for text in (render_study_markdown(finished), card):
        assert not STEERS & set(text)
        assert "<img" not in text
        assert "&lt;img src=x" in text
        assert not any(line.startswith("# forged") for line in text.splitlines())
        assert not any(line.startswith("|") and "x>|" in line for line in text.splitlines())


def test_right_to_left_words_are_set_apart() -> None:
    assert html.said("class אב: 3 < 4") == "class <bdi>אב</bdi>: 3 &lt; 4"
    assert html.said("אב גד 12") == "<bdi>אב גד</bdi> 12"
    assert html.said("é <b>") == "é &lt;b&gt;"


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["attnaudit", "report", "no\nattnaudit: all is well"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("attnaudit: ")
