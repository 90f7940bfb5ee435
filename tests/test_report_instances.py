"""Which texts are shown, and the heat maps of them."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.report.heat import CONTEXT, floor_of, heat_row, windows_of
from attnaudit.report.instances import shown_instances
from tests.report_fixture import LONG, bare, hostile_result

SCORES = st.lists(st.floats(-1, 1, allow_nan=False), min_size=1, max_size=300)


@settings(deadline=None)
@given(st.lists(SCORES, min_size=1, max_size=3), st.integers(2 * CONTEXT + 1, 60))
def test_windows_are_apart_in_order_and_hold_the_highest(
    rows: list[list[float]], most: int
) -> None:
    length = min(len(row) for row in rows)
    rows = [row[:length] for row in rows]
    windows = windows_of(rows, length, most)
    flat = [end for window in windows for end in window]
    assert flat == sorted(flat)
    assert len(set(flat)) == len(flat)
    assert flat[0] >= 0
    assert flat[-1] <= length
    shown = sum(end - start for start, end in windows)
    if length <= most:
        assert shown == length
    else:
        best = max(range(length), key=lambda i: (abs(rows[0][i]), -i))
        assert any(start <= best < end for start, end in windows)
        # gaps too small to be worth their mark are shown, no more than 2 a window
        assert shown <= most + 2 * most


@settings(deadline=None)
@given(SCORES)
def test_shades_are_relative_to_the_largest_and_ranks_are_complete(scores: list[float]) -> None:
    units = [f"w{i}" for i in range(len(scores))]
    row = heat_row("x", units, scores)
    assert [u.text for u in row.units] == units
    assert sorted(u.rank for u in row.units) == list(range(1, len(scores) + 1))
    assert all(-1 <= u.shade <= 1 for u in row.units)
    if any(scores):
        first = next(u for u in row.units if u.rank == 1)
        assert abs(first.shade) == 1
    assert all(u.shade * s >= 0 for u, s in zip(row.units, scores, strict=True))


@settings(deadline=None)
@given(SCORES, st.floats(0.001, 2))
def test_the_floor_keeps_small_scores_pale_and_changes_no_number(
    scores: list[float], floor: float
) -> None:
    units = [f"w{i}" for i in range(len(scores))]
    loud, pale = heat_row("x", units, scores), heat_row("x", units, scores, floor=floor)
    largest = max(abs(score) for score in scores)
    for before, after, score in zip(loud.units, pale.units, scores, strict=True):
        assert abs(after.shade) <= abs(before.shade)
        assert abs(after.shade - score / max(largest, floor)) <= 0.00051
        assert (after.score, after.rank) == (before.score, before.rank)


def test_equal_weights_are_pale_and_concentrated_ones_are_not() -> None:
    units = list("abcdefgh")
    even = heat_row("x", units, [1 / 8] * 8, floor=floor_of("weights", 8))
    assert {u.shade for u in even.units} == {0.333}
    peaked = heat_row("x", units, [0.9, *[0.1 / 7] * 7], floor=floor_of("weights", 8))
    assert peaked.units[0].shade == 1
    assert floor_of("weights", 1) == floor_of("permutation", 2) == 1
    assert floor_of("integrated_gradients", 8) == 0.05
    assert floor_of("gradient", 8) == floor_of("somebody's", 8) == 0


def test_gaps_say_how_much_is_left_out() -> None:
    units = [f"w{i}" for i in range(100)]
    scores = [0.0] * 100
    scores[50] = 1.0
    windows = windows_of([scores], 100, 11)
    row = heat_row("x", units, scores, windows=windows, truth=[i == 50 for i in range(100)])
    assert [u.text for u in row.units if u.gap] == ["… 45 units …", "… 44 units …"]
    assert [u.text for u in row.units if u.evidence] == ["w50"]
    assert row.top == (("w50", "1.000"),)


def test_undefined_scores_are_dashes() -> None:
    row = heat_row("x", ["a", "b"], [float("nan"), None])
    assert [u.score for u in row.units] == ["–", "–"]
    assert [u.shade for u in row.units] == [0, 0]
    assert row.top == ()


def test_each_reason_picks_what_it_says() -> None:
    result = hostile_result()
    frame = result.instances
    shown = shown_instances(result.report, frame)
    assert 8 <= len(shown) <= 12
    assert len({i.id for i in shown}) == len(shown)
    by_why: dict[str, list[str]] = {}
    for instance in shown:
        by_why.setdefault(instance.why, []).append(instance.id)
    readable = frame.filter(pl.col("length") >= 8).sort(
        "adversary/permutation_jsd", "index", descending=[True, False]
    )
    contested = next(ids for why, ids in by_why.items() if why.startswith("other weights"))
    assert contested == readable["id"].head(2).to_list()
    assert by_why["the longest"] == ["long"]
    wrong = [i for i in shown if i.why.startswith("predicted wrongly")]
    assert len(wrong) == 2
    assert all(i.right is False and i.label != i.predicted[0] for i in wrong)


def test_the_order_of_the_table_changes_nothing() -> None:
    result = hostile_result()
    shuffled = result.instances.sample(fraction=1.0, shuffle=True, seed=4)
    assert shown_instances(result.report, shuffled) == shown_instances(
        result.report, result.instances
    )


def test_a_long_text_is_clipped_alike_in_every_row() -> None:
    result = hostile_result()
    long = next(i for i in shown_instances(result.report, result.instances) if i.id == "long")
    assert long.length == LONG
    assert long.clipped is not None
    assert long.clipped <= 120
    texts = [[u.text for u in row.units] for row in long.rows]
    assert len(texts) == 3
    assert texts[0] == texts[1] == texts[2]
    gaps = [int(u.text.split()[1]) for u in long.rows[0].units if u.gap]
    assert sum(gaps) + long.clipped == LONG


def test_rows_are_the_scores_of_the_table() -> None:
    result = hostile_result()
    report = result.report
    better = report.judgement.recommended or "leave_one_out"
    for instance in shown_instances(report, result.instances):
        row = result.instances.row(by_predicate=pl.col("id") == instance.id, named=True)
        if instance.clipped is not None:
            continue
        for heat, name in zip(instance.rows, ("weights", better), strict=False):
            least = min(1.0, 3 / instance.length) if name == "weights" else 0.05
            full = max(least, *(abs(s) for s in row[f"scores.{name}"]))
            expected = [round(s / full, 3) for s in row[f"scores.{name}"]]
            assert [u.shade for u in heat.units] == expected
        assert [u.evidence for u in instance.rows[0].units] == row["truth"]


def test_no_instances_no_texts() -> None:
    assert shown_instances(hostile_result().report, bare(hostile_result()).instances) == ()


def test_without_labels_nothing_is_called_wrong() -> None:
    result = hostile_result()
    frame = result.instances.with_columns(pl.lit(None, dtype=pl.Int64).alias("label"))
    shown = shown_instances(replace(result, instances=frame).report, frame)
    assert all(i.right is None and i.label is None for i in shown)


def test_texts_without_the_other_attribution_are_not_chosen() -> None:
    result = hostile_result()
    better = result.report.judgement.recommended or "leave_one_out"
    column = pl.col(f"scores.{better}")
    known = result.instances["id"].head(20).to_list()
    frame = result.instances.with_columns(pl.when(pl.col("id").is_in(known)).then(column))
    shown = shown_instances(result.report, frame)
    assert shown
    assert {i.id for i in shown} <= set(known)
    assert all(len(i.rows) >= 2 for i in shown)
    none = result.instances.with_columns(pl.when(pl.lit(False)).then(column))
    assert all(i.rows[0].title == "attention weights" for i in shown_instances(result.report, none))
