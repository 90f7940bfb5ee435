"""The Markdown card, read by a Markdown parser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from attnaudit.console import visible
from attnaudit.errors import RunError
from attnaudit.report.evidence import evidence_rows
from attnaudit.report.files import write_text
from attnaudit.report.markdown import escape, model_index, render_card, to_yaml
from tests.report_fixture import DATA_NAME, MODEL_NAME, hostile_result

READER = MarkdownIt("commonmark").enable("table")


def plain(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
@example("1. one")
@example("- [x](javascript:alert(1)) <b>**b**</b>")
@example("a|b|c")
@example("https://example.org www.example.org")
@example("```\n# x")
def test_escaped_text_is_read_as_itself(text: str) -> None:
    shown = READER.render("x " + escape(text))
    assert re.findall(r"<[^>]*>", shown) == ["<p>", "</p>"]
    assert plain(shown).split() == ("x " + visible(text)).split()


@settings(deadline=None)
@given(st.text(alphabet="ab|`*_[]()<>#-+!\\ 1.", max_size=20))
def test_escaped_text_stays_in_its_cell(text: str) -> None:
    cell = escape(text)
    shown = READER.render(f"| a | b |\n|---|---|\n| {cell} | end |")
    cells = re.findall(r"<td>(.*?)</td>", shown, flags=re.DOTALL)
    assert len(cells) == 2
    assert plain(cells[0]).split() == visible(text).split()
    assert cells[1] == "end"


def test_the_card_has_the_verdict_the_evidence_and_the_origin() -> None:
    result = hostile_result()
    shown = READER.render(render_card(result))
    text = re.sub(r"\s+", " ", plain(shown))
    judgement = result.report.judgement
    assert f"{judgement.verdict}." in text
    assert judgement.headline in text
    assert judgement.advice in text
    for name in (DATA_NAME, MODEL_NAME):
        assert re.sub(r"\s+", " ", name) in text
    assert "<script" not in shown
    assert "<img" not in shown
    rows = re.findall(r"<tr>(.*?)</tr>", shown, flags=re.DOTALL)[1:]
    expected = evidence_rows(result.report)
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        cells = [plain(c) for c in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)]
        assert cells[3:] == [wanted.needs, wanted.value, wanted.interval, wanted.n, wanted.null]
        assert str(wanted.verdict) in cells[1]


def test_the_metadata_block_is_the_model_index() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    result = hostile_result()
    block = re.search(r"```yaml\n(.*?)\n```\n", render_card(result), flags=re.DOTALL)
    assert block is not None
    index = model_index(result)
    assert yaml.safe_load(block[1]) == index
    (entry,) = index["model-index"]
    assert entry["name"] == MODEL_NAME
    metrics = entry["results"][0]["metrics"]
    headlines = [
        f.headline
        for f in (result.report.performance, *result.report.findings)
        if f.subject in ("weights", "model") and f.headline
    ]
    assert [m["value"] for m in metrics] == [round(h.value or 0, 4) for h in headlines]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1, max_size=3))
def test_yaml_is_read_back_as_it_was(value: object) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert yaml.safe_load(to_yaml(value)) == value


def test_the_card_is_written_or_the_reason_is_given(tmp_path: Path) -> None:
    card = render_card(hostile_result())
    path = write_text(tmp_path / "a" / "card.md", card)
    assert path.read_text(encoding="utf-8") == card
    with pytest.raises(RunError, match="it is a folder"):
        write_text(tmp_path / "a", card)
