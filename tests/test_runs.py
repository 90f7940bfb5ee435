"""Plans of cells: in which order they run, and which cannot be run and are refused at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attnaudit.errors import RunError
from attnaudit.runs.cell import Cell, Outcome, Place, with_needs
from attnaudit.runs.engine import Engine
from attnaudit.runs.engines import engine_of
from attnaudit.runs.execute import Done, _Run, run_cells, waiting_of
from attnaudit.runs.store import Store


def work(cell: Cell, place: Place) -> Outcome:
    """What a cell reads of those that it needs."""
    if cell.spec.get("fails"):
        raise RunError("it fails")
    return Outcome(facts={"needs": sorted(place.needs)})


def cell(name: str, *needs: Cell, **spec: object) -> Cell:
    return Cell(name, work, {"name": name, **spec}, needs)


def ran(folder: Path, *cells: Cell, engine: Engine | None = None) -> Done:
    return run_cells(cells, Store(folder, "audit"), engine=engine)


def in_a_circle() -> tuple[Cell, Cell]:
    """Two cells that need each other, as no constructor can make them."""
    first = cell("first")
    second = cell("second", cell("between", first))
    object.__setattr__(first, "needs", (second,))
    return first, second


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_needed_runs_first_and_once(tmp_path: Path, workers: int) -> None:
    base = cell("base")
    last = cell("last", cell("left", base), cell("right", base))
    done = ran(tmp_path, last, base, last, engine=engine_of(workers))
    assert list(done.records) in (
        ["base", "left", "right", "last"],
        ["base", "right", "left", "last"],
    )
    assert done.records["last"].facts == {"needs": ["left", "right"]}
    assert done.fresh == set(done.records)
    assert not ran(tmp_path, last).fresh


def test_equal_cells_with_one_name_are_one(tmp_path: Path) -> None:
    done = ran(tmp_path, cell("left", cell("base")), cell("right", cell("base")))
    assert sorted(done.records) == ["base", "left", "right"]


def test_a_cell_that_fails_takes_down_what_needs_it(tmp_path: Path) -> None:
    lost = cell("lost", fails=True)
    done = ran(tmp_path, cell("after", cell("next", lost)), cell("other"))
    assert sorted(done.records) == ["other"]
    assert done.failed == {
        "lost": "it fails",
        "next": "it needs 'lost', which failed",
        "after": "it needs 'next', which failed",
    }


@pytest.mark.parametrize("needed", [False, True])
def test_one_work_under_two_names_is_refused(tmp_path: Path, needed: bool) -> None:
    one = cell("one")
    two = replace(one, name="two")
    assert one.key == two.key
    plan = (cell("a", one), cell("b", two)) if needed else (one, two)
    with pytest.raises(RunError, match="'one' and 'two' are the same work; give them one name"):
        ran(tmp_path, *plan)
    assert not list(tmp_path.glob("cells/*"))
    with pytest.raises(RunError, match="the same work"):
        waiting_of(plan, Store(tmp_path, "audit"))


def test_two_works_under_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="two cells with different work are called 'one'"):
        ran(tmp_path, cell("a", cell("one", seed=1)), cell("one", seed=2))
    assert not list(tmp_path.glob("cells/*"))


def test_a_circle_is_refused(tmp_path: Path) -> None:
    first, second = in_a_circle()
    for plan in ((first,), (second,), (cell("outside", second), first)):
        with pytest.raises(RunError, match=r"cannot be run: '\w+' needs '\w+' needs '\w+' needs"):
            ran(tmp_path, *plan)
    assert not list(tmp_path.glob("cells/*"))
    # the same name further down would wait for itself, too
    with pytest.raises(RunError, match="'one' needs 'two' needs 'one'"):
        with_needs([cell("one", cell("two", cell("one", seed=1)), seed=2)])


def test_a_plan_that_lacks_what_is_needed_ends(tmp_path: Path) -> None:
    last = cell("last", cell("absent"))
    run = _Run(Store(tmp_path, "audit"), "cpu", lambda event: None)
    with pytest.raises(RunError, match="'last' needs 'absent', which nothing in it gives"):
        run.go([cell("other"), last], engine_of(1))
    assert list(run.records) == ["other"]


def test_a_plan_whose_needs_share_theirs_is_ordered_quickly() -> None:
    row = [cell("0 left"), cell("0 right")]
    for depth in range(1, 60):
        row = [cell(f"{depth} {side}", *row) for side in ("left", "right")]
    assert len(with_needs(row)) == 120
