"""Reading a table: sums, top pairs, shares, contrast, highlights, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from attnaudit.errors import DataError, SettingsError
from attnaudit.models.siamese.contrast import contrast, highlights
from attnaudit.models.siamese.reading import REFERENCE, cumulative_shares, one_sided, top_pairs
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.models.siamese.words import by_words, words_of
from tests.pair_tables import A, B, pieces_of, table_of, tables

QUICK = settings(deadline=None, max_examples=30)
EMPTY = Tokens("", (), (), (), ())


@QUICK
@given(tables(), st.sampled_from(["a", "b"]))
def test_one_sided_scores_and_the_reference_sum_to_the_table(table: PairTable, side: str) -> None:
    frame = one_sided(table, side)  # type: ignore[arg-type]
    assert float(frame["score"].sum()) == pytest.approx(table.total, abs=1e-12)
    assert (frame["pairs"] + frame["reference"] - frame["score"]).abs().max() < 1e-12
    rows = table.values if side == "a" else table.values.T
    for i, line in enumerate(frame.iter_rows(named=True)):
        assert line["score"] == pytest.approx(sum(rows[i].tolist()), abs=1e-12)
        assert line["reference"] == float(rows[i, -1])
    last = frame.row(-1, named=True)
    assert (last["position"], last["text"]) == (None, REFERENCE)
    other = table.row if side == "a" else table.column
    assert last["pairs"] == pytest.approx(float(other.sum()))
    assert last["reference"] == table.corner


def test_spans_lead_back_to_the_text() -> None:
    table = by_words(table_of())
    for line in one_sided(table, "b").iter_rows(named=True):
        if line["start"] is not None:
            assert B[line["start"] : line["end"]] == line["text"]
    assert one_sided(table)["start"].null_count() == 3  # two special tokens and the reference
    with pytest.raises(SettingsError, match="choose 'a' or 'b'"):
        one_sided(table, "c")  # type: ignore[arg-type]


@QUICK
@given(tables(), st.sampled_from(["magnitude", "value"]), st.booleans())
def test_top_pairs_are_those_of_a_plain_sort(
    table: PairTable, order: str, references: bool
) -> None:
    values = table.values if references else table.pairs
    loop = [
        (float(values[i, j]), i, j) for i in range(values.shape[0]) for j in range(values.shape[1])
    ]
    loop.sort(key=lambda x: -abs(x[0]) if order == "magnitude" else -x[0])
    frame = top_pairs(table, 5, order=order, references=references)  # type: ignore[arg-type]
    assert frame["value"].to_list() == [value for value, _, _ in loop[:5]]
    size = sum(abs(value) for value, _, _ in loop)
    for line, (value, i, j) in zip(frame.iter_rows(named=True), loop, strict=False):
        assert line["i"] == (i if i < len(table.a) else None)
        assert line["b"] == (table.b.shown[j] if j < len(table.b) else REFERENCE)
        assert line["share_of_score"] == pytest.approx(value / table.score)
        assert line["share_of_magnitude"] == pytest.approx(abs(value) / size)
    assert frame["rank"].to_list() == list(range(1, len(frame) + 1))


@QUICK
@given(tables(), st.sampled_from(["magnitude", "value"]), st.booleans())
def test_the_cumulative_curve_agrees_with_the_top_pairs(
    table: PairTable, order: str, references: bool
) -> None:
    curve = cumulative_shares(table, order=order, references=references)  # type: ignore[arg-type]
    pairs = top_pairs(table, 10**6, order=order, references=references)  # type: ignore[arg-type]
    assert curve["pairs"].to_list() == list(range(len(pairs) + 1))
    assert curve["value"].to_list() == pytest.approx([0, *pairs["value"].cum_sum()])
    assert curve["of_magnitude"].to_list() == pytest.approx(
        [0, *pairs["share_of_magnitude"].cum_sum()]
    )
    assert curve["of_magnitude"][-1] == pytest.approx(1)
    assert curve["of_score"].to_list() == pytest.approx([v / table.score for v in curve["value"]])
    if references:
        assert curve["of_score"][-1] == pytest.approx(table.total / table.score)
    if order == "magnitude":
        steps = pl.Series(curve["of_magnitude"]).diff().drop_nulls()
        assert (steps.diff().drop_nulls() <= 1e-12).all(), "the strongest pair comes first"


def test_a_score_of_nothing_has_no_shares() -> None:
    table = replace(table_of(), score=1e-4)
    assert top_pairs(table)["share_of_score"].null_count() == 10
    assert top_pairs(table)["share_of_magnitude"].null_count() == 0
    assert cumulative_shares(table)["of_score"].null_count() == table.pairs.numel() + 1


def test_a_table_without_tokens_is_read_all_the_same() -> None:
    table = PairTable(EMPTY, EMPTY, torch.tensor([[0.5]]).double(), 0.5, "cosine", 1e-3, 1.0, 1.0)
    assert one_sided(table)["score"].to_list() == [0.5]
    assert len(top_pairs(table)) == 0
    assert top_pairs(table, references=True)["share_of_score"].to_list() == [1.0]
    assert cumulative_shares(table)["of_magnitude"].to_list() == [0.0]
    assert highlights(table) == ()
    words = by_words(table)
    assert words.total == 0.5


@pytest.mark.usefixtures("unchecked")
def test_bad_options_are_refused() -> None:
    with pytest.raises(SettingsError, match="choose 'magnitude' or 'value'"):
        top_pairs(table_of(), order="size")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="number of pairs"):
        top_pairs(table_of(), -1)
    for options in ({"most": -1}, {"least": 1.5}):
        with pytest.raises(SettingsError, match="number of stretches"):
            highlights(table_of(), **options)  # type: ignore[arg-type]


def test_why_one_document_and_not_the_other_adds_up() -> None:
    one = table_of(A, B, seed=1)
    other = table_of(A, "Cooking rice takes patience.", seed=2, residual=-4e-4)
    for left, right in ((one, other), (by_words(one), by_words(other))):
        found = contrast(left, right)
        assert found.score_difference == one.score - other.score
        assert found.residual == pytest.approx(1e-5 + 4e-4, abs=1e-9)
        assert found.query["difference"].sum() + found.residual == pytest.approx(
            found.score_difference
        )
        parts = found.query["pairs"] + found.query["reference"]
        assert parts.to_list() == pytest.approx(found.query["difference"].to_list())
        line = found.query.row(3, named=True)
        assert line["for_a"] == pytest.approx(float(left.values[3].sum()))
        assert line["for_c"] == pytest.approx(float(right.values[3].sum()))
        assert found.a.equals(one_sided(left, "b"))
        assert found.c["score"].sum() == pytest.approx(right.total)


def test_contrast_needs_one_query_in_the_same_pieces_and_one_kind_of_score() -> None:
    one, other = table_of(A, B), table_of(A, "Rice.")
    with pytest.raises(DataError, match="same first text"):
        contrast(by_words(one), other)
    with pytest.raises(DataError, match="same first text"):
        contrast(one, table_of("Another query", B))
    with pytest.raises(DataError, match="cosine and the other a dot"):
        contrast(one, replace(other, kind="dot"))


def test_highlights_are_the_strongest_words_in_the_order_of_the_text() -> None:
    table = by_words(table_of())
    every = highlights(table)
    assert [h.text for h in every] == list(words_of(pieces_of(B)).shown[1:-1])
    assert all(B[h.start : h.end] == h.text for h in every)
    sums = table.values.sum(0)[1:-2].tolist()
    assert [h.score for h in every] == pytest.approx(sums)
    assert max(abs(h.shade) for h in every) == 1
    assert all(h.shade * h.score >= 0 for h in every)
    ranks = rankdata([-abs(s) for s in sums])
    few = highlights(table, most=3)
    assert [h.text for h in few] == [h.text for h, r in zip(every, ranks, strict=True) if r <= 3]
    assert highlights(table, most=0) == ()
    assert all(abs(h.shade) >= 0.5 for h in highlights(table, "a", least=0.5))
