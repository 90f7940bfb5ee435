"""Names of the user's on the pages of studies."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import RenderableType

from attnaudit.cli import study
from attnaudit.cli.app import main
from attnaudit.console import Plain
from attnaudit.findings.findings import Estimate, Finding, Verdict
from attnaudit.report import page as html
from attnaudit.studies.declaration import Results
from attnaudit.studies.page import render_study, render_study_markdown
from attnaudit.studies.run import Finished
from attnaudit.studies.schema import CellLine, Claim, Holds, Missing, Part, StudyReport
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
    return Finished(report, Results(FAKE, FakeOptions(), folder, (), (), missing, {}))


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


def test_a_study_in_the_terminal(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    study._show(finished)
    shown = capsys.readouterr().out
    assert HEBREW in shown
    assert not STEERS & set(shown)


def test_markdown_holds_names_as_text(finished: Finished) -> None:
    text = render_study_markdown(finished)
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
