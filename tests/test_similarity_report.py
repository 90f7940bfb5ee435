"""The page and the terminal's view of pairs: complete, escaped, within width, and adding up."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from rich.cells import cell_len
from rich.console import Console

from attnaudit.api.similarity import Similarity
from attnaudit.console import visible
from attnaudit.errors import DataError, RunError
from attnaudit.models.siamese.reading import one_sided, top_pairs
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.models.siamese.words import by_words
from attnaudit.report.similarity import render_similarity
from attnaudit.report.similarity_terminal import show_pair
from attnaudit.report.similarity_views import MOST_ROWS, in_words, scale_of, view_of
from tests.pair_tables import HOSTILE_A, HOSTILE_B, A, B, pieces_of, table_of, tables
from tests.test_report_html import FOREIGN, Page

LONG = " ".join(f"word{i}" for i in range(60))
EMPTY = Tokens("", (), (), (), ())


def read(number: str) -> float:
    return float(number.replace("−", "-"))


def printed(table: PairTable, width: int = 80, *, colour: bool = False, **options: object) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    )
    show_pair(console, table, **options)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_page_says_score_sum_and_residual_and_what_it_is_not() -> None:
    table = table_of()
    text = re.sub(r"\s+", " ", Page(render_similarity([table], [("Model", "m")])).text)
    assert f"Similarity {table.score:.3f}" in text
    assert f"the parts sum to {table.total:.3f}" in text
    assert "0.00001 adds up" in text
    assert "explains what the model computes, not whether the texts truly match" in text
    assert "Keep in mind" not in text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (table_of(residual=0.02), "misses the score by 0.02, more than the 0.001"),
        (table_of(reference=1.1, seed=3), "Without the references the pairs sum to 0.194, while"),
        (table_of(reference=1.1, seed=3), "0.91 times as large as the text's own"),
        (table_of(reference=1.1, seed=3), "The score is next to nothing"),
        (table_of(pieces_of(A, cut=" unread tail")), "12 characters from “unread tail”"),
    ],
)
def test_the_page_and_the_terminal_say_when_not_to_trust_them(table: PairTable, said: str) -> None:
    assert said in re.sub(r"\s+", " ", Page(render_similarity([table])).text)
    assert said in re.sub(r"\s+", " ", printed(table, 200))


def test_hostile_texts_stay_texts_and_the_page_asks_for_nothing() -> None:
    names = [("Model </script>", "<b>m</b>")]
    source = render_similarity([table_of(HOSTILE_A, HOSTILE_B), table_of()], names)
    page = Page(source)
    assert page.open == []
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 3  # ours, and the values of two pairs
    assert "img" not in tags
    assert "b" not in tags
    for tag, attributes in page.tags:
        assert not {"onerror", "onload", "src", "srcdoc"} & set(attributes), tag
        for name, value in attributes.items():
            if name in ("href", "action", "poster", "style"):
                assert not any(place in (value or "").lower() for place in FOREIGN)
    assert "\u202e" not in source
    assert "alert" in page.text
    assert "שלום" in page.text
    assert "👨\u200d👩\u200d👧" in page.text
    assert "{{7*7}}" in re.sub(r"\s+", "", page.text)


def test_both_texts_are_there_whole_with_every_word_once() -> None:
    text_a = "First line,\n\n  second (line)!"
    page = Page(render_similarity([table_of(pieces_of(text_a, cut=" unread"), B)]))
    squeezed = re.sub(r"\s+", "", page.text)
    assert "[CLS]Firstline,secondline" not in squeezed
    assert "[CLS]Firstline,second(line)![SEP]unreadreference" in squeezed
    marks = [a for _, a in page.tags if "title" in a and a.get("role") == "img"]
    words = by_words(table_of(pieces_of(text_a, cut=" unread"), B))
    assert len(marks) == len(words.a) + len(words.b) + 2


@settings(deadline=None, max_examples=25)
@given(tables())
def test_the_view_shows_the_numbers_of_the_table(table: PairTable) -> None:
    words = in_words(table)
    view = view_of(words)
    assert torch.tensor(view.values).shape == words.values.shape
    torch.testing.assert_close(
        torch.tensor(view.values, dtype=torch.float64), words.values, rtol=1e-3, atol=1e-12
    )
    for text, side in zip(view.texts, ("a", "b"), strict=True):
        scores = one_sided(words, side)["score"].to_list()  # type: ignore[arg-type]
        assert [read(unit.score) for unit in text.units] == pytest.approx(scores, abs=0.06)
        assert all(-1 <= unit.shade <= 1 for unit in text.units)
        tokens = words.a if side == "a" else words.b
        assert [unit.text for unit in text.units[:-1]] == [visible(word) for word in tokens.shown]
    rows = view.matrix.rows
    assert len(rows) <= MOST_ROWS + 2
    assert all(len(row.cells) == len(view.matrix.columns) for row in rows)
    half = 0.5 * 10.0**-view.scale.digits
    shown = sum(read(cell.text) for row in rows for cell in row.cells)
    entries = len(rows) * len(view.matrix.columns)
    assert shown == pytest.approx(table.total, abs=half * entries + 1e-9)
    assert read(view.matrix.total) == pytest.approx(table.total, abs=half + 1e-9)


def test_shades_are_values_over_a_scale_that_is_written_down() -> None:
    table = by_words(table_of())
    view, scale = view_of(table), scale_of(table)
    assert scale.pair == pytest.approx(float(table.pairs.abs().max()))
    assert scale.word == pytest.approx(
        max(float(table.values[:-1].sum(1).abs().max()), float(table.values[:, :-1].sum(0).max()))
    )
    cell = view.matrix.rows[2].cells[3]
    assert cell.shade == pytest.approx(float(table.values[2, 3]) / scale.pair, abs=1e-3)
    assert (cell.i, cell.j) == (2, 3)
    assert f"±{view.full_pair} for a pair" in Page(render_similarity([table])).text


def test_small_values_stay_pale_and_long_texts_do_not_vanish() -> None:
    faint = by_words(replace(table_of(), values=table_of().values * 1e-3))
    assert scale_of(faint).word == 0.05
    assert scale_of(faint).pair == 0.02
    assert max(abs(u.shade) for u in view_of(faint).texts[0].units) < 0.01
    long = by_words(table_of(LONG, LONG))
    assert scale_of(long).pair < 0.02
    assert max(abs(c.shade) for row in view_of(long).matrix.rows for c in row.cells) == 1
    dot = by_words(table_of(kind="dot", scale=80.0))
    assert scale_of(dot).unit == abs(dot.score) > 20


def test_a_long_table_is_shortened_and_says_so() -> None:
    view = view_of(by_words(table_of(LONG, B)))
    assert view.matrix.shortened
    assert len(view.matrix.rows) == MOST_ROWS + 2
    assert view.matrix.rows[-2].heading.name == f"[{62 - MOST_ROWS} others]"
    assert {cell.i for cell in view.matrix.rows[-2].cells} == {-1}
    for row in view.matrix.rows[:-2]:
        assert view.texts[0].units[row.cells[0].i].text == row.heading.name
    assert not view_of(by_words(table_of("one two", B))).matrix.shortened


def test_top_pairs_are_those_of_the_table() -> None:
    table = by_words(table_of())
    top = top_pairs(table).to_dicts()
    view = view_of(table)
    assert [t.a for t in view.top] == [line["a"] for line in top]
    assert read(view.top[0].value) == pytest.approx(top[0]["value"], abs=1e-3)
    assert view.shares
    assert view.top[0].of_score == f"{100 * top[0]['share_of_score']:.1f}%"


def test_shares_that_would_mislead_are_left_out() -> None:
    for table in (table_of(reference=1.1, seed=3), replace(table_of(), score=0.01)):
        assert not view_of(by_words(table)).shares
        for text in (printed(table), Page(render_similarity([table])).text):
            assert "Of the score" not in text
    assert "Of the score" in printed(table_of())
    assert "Of the score" in Page(render_similarity([table_of()])).text


def test_the_linked_values_are_data_and_not_code() -> None:
    page = Page(render_similarity([table_of(HOSTILE_A, HOSTILE_B)]))
    attributes, content = next(s for s in page.scripts if s[0].get("class") == "values")
    assert attributes["type"] == "application/json"
    data = json.loads(content)
    assert data["full"] > 0
    assert len(data["values"][0]) == len(by_words(table_of(HOSTILE_A, HOSTILE_B)).b) + 1


def test_texts_without_words_are_shown_all_the_same() -> None:
    bare = PairTable(EMPTY, EMPTY, torch.tensor([[0.5]]).double(), 0.5, "cosine", 1e-3, 1.0, 1.0)
    assert "Similarity 0.500" in Page(render_similarity([bare])).text
    assert "score 0.500" in printed(bare)
    nothing = replace(table_of("", ""), score=0.0, values=table_of("", "").values * 0, kind="dot")
    assert "Similarity 0.000" in Page(render_similarity([nothing])).text
    with pytest.raises(DataError, match="no pair of texts"):
        render_similarity([])


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    found = Similarity(table_of())
    path = found.to_html(tmp_path / "new" / "pair.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(RunError, match="cannot write"):
        found.to_html(tmp_path)


@pytest.mark.parametrize("width", [40, 60, 80, 132])
@pytest.mark.parametrize(
    "table", [table_of(), table_of(HOSTILE_A, HOSTILE_B), table_of(LONG, LONG, scale=90.0)]
)
def test_nothing_is_wider_than_the_terminal_and_no_column_is_lost(
    table: PairTable, width: int
) -> None:
    text = printed(table, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    assert "\u202e" not in text
    view = view_of(in_words(table), 10)
    flat = re.sub(r"\s+", " ", text)
    for row in view.matrix.rows[-1:]:
        assert row.sum in flat
    lines = [line for line in text.splitlines() if re.match(r"reference +[−0-9]", line)]
    numbers = [n for line in lines for n in line.split()[1:]]
    assert numbers == [*(c.text for c in view.matrix.rows[-1].cells), view.matrix.rows[-1].sum]


def test_the_terminal_shows_sums_shades_and_can_leave_the_matrix_out() -> None:
    table = table_of()
    text = printed(table)
    assert f"score {table.score:.3f}   sum of the table {table.total:.3f}" in text
    assert "✓ adds up" in text
    assert "✕ does not add up" in printed(replace(table, score=0.9))
    assert text.splitlines().count("First text") == 1
    assert "sum" not in printed(table, matrix=False).split("Strongest")[0].split("First text")[1]
    assert "\x1b[" in printed(table, colour=True)
    assert "[3 others]" in printed(table, most_rows=6)
