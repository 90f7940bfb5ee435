"""What the terminal shows: everything, within its width, with or without colour."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from attnaudit.audits.explain import Explanation
from attnaudit.audits.judgement import decides
from attnaudit.findings.findings import Verdict
from attnaudit.findings.wording import NOTHING, SIGNS
from attnaudit.report.evidence import evidence_rows
from attnaudit.report.terminal import render_explanation, render_scores, render_terminal
from tests.report_fixture import CLASSES, hostile_result, with_verdict


def printed(content: RenderableType, width: int = 100, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    )
    console.print(content)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_stands_first_with_its_sign_and_word(verdict: Verdict) -> None:
    text = printed(render_terminal(with_verdict(hostile_result(), verdict).report))
    assert f"{SIGNS[verdict]} {verdict.value}" in "\n".join(text.splitlines()[:4])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    text = printed(render_terminal(hostile_result().report), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width


def test_every_row_of_evidence_is_there_with_its_numbers() -> None:
    report = hostile_result().report
    text = re.sub(r"\s+", " ", printed(render_terminal(report), 160))
    for row in evidence_rows(report):
        assert f"{row.value} {row.n} {row.null}" in text
        assert f"({row.interval})" in text or row.interval == NOTHING
        assert f"needs {row.needs}" in text or not row.needs
    for part in (report.judgement.headline, report.judgement.advice):
        assert part.split(".")[0][:60] in re.sub(r"[│ ]+", " ", text)


@pytest.mark.parametrize("width", [60, 80])
def test_no_column_is_lost_on_a_narrow_terminal(width: int) -> None:
    report = hostile_result().report
    lines = printed(render_terminal(report), width).splitlines()
    assert max(len(line) for line in lines) <= width
    table = [line for line in lines if "pass" in line or "fail" in line]
    for row in evidence_rows(report):
        assert any(row.n in line and line.rstrip().endswith(row.null) for line in table)


def test_markup_and_control_characters_of_data_are_shown_not_obeyed() -> None:
    text = printed(render_terminal(hostile_result().report), 200)
    assert '<script>alert("data")</script> | *set*' in text
    units = ("[bold", "red]x[/]", "\x1b[31mred", "\u202eback", "[/nonsense]")
    shown = printed(render_scores(units, {"weights": [0.1, 0.2, 0.3, 0.3, 0.1]}))
    assert "[bold red]x[/]" in shown
    assert "�[31mred �back [/nonsense]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def explanation(left_out: dict[str, str]) -> Explanation:
    return Explanation(
        text="not a good film",
        units=("not", "a", "good", "film"),
        predicted=CLASSES[0],
        probabilities={CLASSES[0]: 0.8, CLASSES[1]: 0.2},
        scores={"weights": [0.1, 0.1, 0.7, 0.1], "leave_one_out": [0.6, 0.0, -0.3, 0.01]},
        completeness_error=0.0004,
        left_out=left_out,
    )


def test_an_explanation_reads_without_colour() -> None:
    text = printed(render_explanation(explanation({"gradient": "no [b]embeddings[/b]"})))
    assert f"predicted {CLASSES[0]}" in text
    assert f"{CLASSES[0]} 0.800 · {CLASSES[1]} 0.200" in text
    assert "largest “good” 0.700  “not” 0.100" in text
    assert "largest “not” 0.600  “good” −0.300  “film” 0.010" in text
    assert "not a good film" in text
    assert "gradient: left out, no [b]embeddings[/b]" in text
    assert "4.0e-04" in text


def test_the_stronger_the_score_the_stronger_the_colour() -> None:
    text = printed(render_scores(["a", "b", "c"], {"leave_one_out": [1.0, 0.3, -1.0]}), colour=True)
    grounds = re.findall(r"48;2;(\d+);(\d+);(\d+)m([abc])\x1b", text)
    shade = {word: sum(map(int, rgb)) for *rgb, word in grounds}
    assert shade["a"] < shade["b"]
    blue = {word: int(rgb[2]) - int(rgb[0]) for *rgb, word in grounds}
    assert blue["a"] > 0 > blue["c"]


def test_small_effects_have_no_colour() -> None:
    text = printed(render_scores(["a", "b"], {"leave_one_out": [0.0004, -0.0002]}), colour=True)
    assert not re.findall(r"48;2;\d+;\d+;\d+m[ab]\x1b", text)
    assert "0.000400" in text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_failed_check_says_why(verdict: Verdict) -> None:
    report = with_verdict(hostile_result(), verdict).report
    reasons = tuple(
        r.model_copy(update={"verdict": Verdict.FAIL, "sentence": f"{r.check} is the reason."})
        for r in report.judgement.reasons
    )
    judgement = report.judgement.model_copy(update={"reasons": reasons, "cautions": ()})
    text = printed(render_terminal(report.model_copy(update={"judgement": judgement})))
    for reason in reasons:
        # those that only caution are not why
        why = verdict is Verdict.FAIL and decides(reason.check, reasons)
        assert (f"{reason.check} is the reason." in text) == why


def test_long_texts_are_clipped() -> None:
    units = [f"w{i}" for i in range(400)]
    scores = [0.0] * 400
    scores[200] = 1.0
    text = printed(render_scores(units, {"weights": scores}))
    assert "w200" in text
    assert re.search(r"… \d+ units …", text)
    assert "w350" not in text
