"""The framework of studies: cells that resume, fail alone, and do not depend on processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnaudit.errors import DataError, RunError, SettingsError
from attnaudit.runs import store as store_module
from attnaudit.runs.cell import CellRecord
from attnaudit.runs.disk import write_noted
from attnaudit.runs.engine import Event
from attnaudit.studies.claims import above, below, decide, difference, over
from attnaudit.studies.declaration import run_cell
from attnaudit.studies.run import (
    Finished,
    open_study,
    options_of,
    prepare,
    read_reference,
    run_study,
)
from attnaudit.studies.schema import (
    Claim,
    ClaimList,
    Holds,
    Measured,
    Part,
    StudyReport,
)
from tests.study_fake import FAKE

ROOT = Path(__file__).parents[1]


def run(
    out: Path, workers: int = 1, study=FAKE, quick: bool = False, **options: object
) -> Finished:
    chosen = options_of(study, options, quick=quick)
    return run_study(prepare(study, chosen, out, workers=workers, quick=quick))


def tries(out: Path) -> dict[str, int]:
    """How often each cell was begun, by its folder's slug."""
    return {
        path.parent.name.rpartition("-")[0]: len(path.read_text())
        for path in sorted((out / "cells").glob("*/tries.txt"))
    }


def numbers(finished: Finished) -> list[object]:
    return [(r.name, r.rows, r.facts, r.notes) for r in finished.results.records]


def test_a_study_is_stored_whole(tmp_path: Path) -> None:
    finished = run(tmp_path, seeds=(0, 1))
    report = StudyReport.model_validate_json((tmp_path / "findings.json").read_text())
    claims = ClaimList.model_validate_json((tmp_path / "claims.json").read_text())
    assert report == finished.report
    opened = open_study(tmp_path, {"fake": FAKE})
    assert opened.report == report
    assert opened.results.records == finished.results.records
    assert claims.claims == report.claims
    assert [c.status for c in report.cells] == ["done"] * 4
    assert all((tmp_path / c.folder / "cell.json").is_file() for c in report.cells)
    assert claims.claims[0].holds is Holds.YES
    assert claims.claims[0].measured is not None
    assert claims.claims[0].measured.value == pytest.approx(2.5)  # of 1, 4, 1, 4
    table = pl.read_parquet(tmp_path / "results.parquet")
    assert table["value"].to_list() == [1.0, 4.0, 1.0, 4.0]
    assert table["data"].to_list() == ["a", "a", "b", "b"]
    assert finished.complete


def test_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path, seeds=(0, 1))
    assert tries(tmp_path) == {"a-seed-0": 1, "a-seed-1": 1, "b-seed-0": 1, "b-seed-1": 1}
    assert second.results.where(seed=0) == list(first.results.records)


def test_another_specification_is_another_cell(tmp_path: Path) -> None:
    run(tmp_path, data=("a",))
    other = replace(FAKE, version=2)
    run(tmp_path, study=other, data=("a",))
    assert len(list((tmp_path / "cells").iterdir())) == 2
    run(tmp_path, data=("a",))
    assert sorted(len(p.read_text()) for p in tmp_path.glob("cells/*/tries.txt")) == [1, 1]


def test_a_study_with_other_options_has_another_folder(tmp_path: Path) -> None:
    run(tmp_path, data=("a",))
    for options, what in (({"power": 3}, "power was 2"), ({"data": ("b",)}, "data was")):
        with pytest.raises(RunError, match=what):
            run(tmp_path, **{"data": ("a",), **options})
    with pytest.raises(RunError, match="holds another study: the study fake"):
        run(tmp_path, study=replace(FAKE, name="other"), data=("a",))
    assert len(run(tmp_path, data=("a", "b")).results.records) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', b"\xff\xfe"])
def test_a_damaged_cell_is_run_again(tmp_path: Path, content: str | bytes) -> None:
    before = run(tmp_path, data=("a",))
    path = next(tmp_path.glob("cells/*/cell.json"))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    after = run(tmp_path, data=("a",))
    assert tries(tmp_path) == {"a-seed-0": 2}
    assert numbers(after) == numbers(before)


def test_a_cell_of_another_key_is_run_again(tmp_path: Path) -> None:
    run(tmp_path, data=("a",))
    path = next(tmp_path.glob("cells/*/cell.json"))
    record = CellRecord.model_validate_json(path.read_text())
    path.write_text(record.model_copy(update={"key": "0" * 64}).model_dump_json())
    run(tmp_path, data=("a",))
    assert tries(tmp_path) == {"a-seed-0": 2}


def test_a_cell_that_fails_stops_no_other(tmp_path: Path) -> None:
    finished = run(tmp_path, data=("a", "b", "cc"), breaks=("b",))
    assert [r.name for r in finished.results.records] == ["a, seed 0", "cc, seed 0"]
    assert not finished.complete
    (gone,) = finished.report.missing
    assert (gone.what, gone.reason) == ("b, seed 0", "the data is broken: mend it")
    failed = [c for c in finished.report.cells if c.status == "failed"]
    assert [c.reason for c in failed] == ["the data is broken: mend it"]
    # a failed cell is tried again, the others are not
    run(tmp_path, data=("a", "b", "cc"), breaks=("b",))
    assert tries(tmp_path) == {"a-seed-0": 1, "b-seed-0": 2, "cc-seed-0": 1}


def test_an_unforeseen_error_says_where(tmp_path: Path) -> None:
    finished = run(tmp_path, data=("a",), power=2, pause=-1.0)
    assert "ValueError" in finished.report.missing[0].reason
    assert "study_fake.py, line" in finished.report.missing[0].reason


def test_processes_give_the_same_and_die_alone(tmp_path: Path) -> None:
    """Two workers against none, with a cell that fails and one whose process is killed."""
    heard: dict[str, list[str]] = {}

    def hear(event: Event) -> None:
        heard.setdefault(event.cell.name, []).append(event.kind)

    chosen = options_of(FAKE, {"data": ("a", "b", "cc", "dd"), "breaks": ("b",), "dies": ("a",)})
    together = run_study(prepare(FAKE, chosen, tmp_path / "two", workers=2), watch=hear)
    reasons = {m.what: m.reason for m in together.report.missing}
    assert set(reasons) == {"a, seed 0", "b, seed 0"}
    assert "killed by signal 9" in reasons["a, seed 0"]
    assert "memory" in reasons["a, seed 0"]
    assert reasons["b, seed 0"] == "the data is broken: mend it"
    assert {kinds[0] for kinds in heard.values()} == {"start"}
    assert heard["cc, seed 0"] == heard["dd, seed 0"] == ["start", "progress", "end"]

    alone = run(tmp_path / "one", data=("b", "cc", "dd"), breaks=("b",))
    assert numbers(alone) == numbers(together)
    assert alone.report.claims == together.report.claims
    assert {r.facts["threads"] for r in (*alone.results.records, *together.results.records)} == {1}


def test_what_is_heard(tmp_path: Path) -> None:
    heard: list[str] = []
    run_study(prepare(FAKE, options_of(FAKE, {}), tmp_path), watch=lambda e: heard.append(e.kind))
    assert heard == ["start", "progress", "end"] * 2


def test_finished_cells_are_run_again_when_asked(tmp_path: Path) -> None:
    run(tmp_path)
    options = options_of(FAKE, {})
    assert prepare(FAKE, options, tmp_path).waiting == ()
    run_study(prepare(FAKE, options, tmp_path, again=True))
    assert tries(tmp_path) == {"a-seed-0": 2, "b-seed-0": 2}


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    finished = run(tmp_path, data=("a", "nowhere"))
    assert [m.what for m in finished.report.missing] == ["nowhere"]
    assert finished.complete


def test_the_estimate_learns_from_finished_cells(tmp_path: Path) -> None:
    prepared = prepare(FAKE, options_of(FAKE, {"seeds": (0, 1)}), tmp_path, workers=2)
    assert (prepared.seconds, prepared.measured, len(prepared.waiting)) == (2.0, False, 4)
    run(tmp_path)
    path = sorted(tmp_path.glob("cells/*/cell.json"))
    for one in path:
        record = CellRecord.model_validate_json(one.read_text())
        changed = record.model_copy(update={"seconds": 10.0})
        write_noted(one, changed.model_dump_json().encode(), one.parent)
    prepared = prepare(FAKE, options_of(FAKE, {"seeds": (0, 1)}), tmp_path)
    assert (prepared.seconds, prepared.measured, len(prepared.waiting)) == (20.0, True, 2)


def test_quick_sets_what_is_not_given() -> None:
    assert options_of(FAKE, {}, quick=True).data == ("a",)
    assert options_of(FAKE, {"data": ["b"]}, quick=True).data == ("b",)
    assert options_of(FAKE, {}).data == ("a", "b")


@pytest.mark.parametrize(
    "given",
    [{"colour": "red"}, {"power": "many"}, {"seeds": ["x"]}, {"data": []}, {"train_limit": 0}],
)
def test_bad_options_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"the study fake: .*Its options are: data, encoders"):
        options_of(FAKE, given)


def test_bad_places_are_refused(tmp_path: Path) -> None:
    options = options_of(FAKE, {})
    with pytest.raises(SettingsError, match="workers is 0"):
        prepare(FAKE, options, tmp_path, workers=0)
    with pytest.raises(DataError, match="is not a folder: --data-dir"):
        prepare(FAKE, options, tmp_path, data_dir=tmp_path / "gone")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Choose another folder"):
        run(tmp_path / "file" / "run")


def test_a_reference_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    with pytest.raises(DataError, match="cannot be read"):
        read_reference(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="not a JSON object"):
        read_reference(path)
    path.write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        read_reference(path)
    path.write_text('{"a": 1}')
    assert read_reference(path) == {"a": 1}


def test_ctrl_c_loses_no_finished_cell(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.kind == "start" and event.cell.name == "b, seed 0":
            raise KeyboardInterrupt

    prepared = prepare(FAKE, options_of(FAKE, {}), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_study(prepared, watch=stop)
    assert prepare(FAKE, prepared.options, tmp_path).waiting == ("b, seed 0",)
    run(tmp_path)
    assert tries(tmp_path) == {"a-seed-0": 1, "b-seed-0": 1}


def test_ctrl_c_on_workers_ends_them_and_loses_no_finished_cell(tmp_path: Path) -> None:
    """A run that is interrupted keeps what is finished; the next run does the rest alone."""
    code = (
        "import sys; from pathlib import Path; from tests.study_fake import FAKE\n"
        "from attnaudit.studies.run import options_of, prepare, run_study\n"
        "if __name__ == '__main__':\n"
        "    options = options_of(FAKE, {'data': tuple('abcdefghij'), 'pause': 0.7})\n"
        "    out = Path(sys.argv[1])\n"
        "    run_study(prepare(FAKE, options, out, workers=2))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, str(script), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 600
    while not list(out.glob("cells/*/cell.json")) and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=600)[1].decode()
    assert process.returncode not in (0, None)
    assert said.count("Traceback") == 1  # the parent's own: workers end without a word
    finished = {p.parent.name for p in out.glob("cells/*/cell.json")}
    assert 1 <= len(finished) < 10
    before = tries(out)
    run(out, data=tuple("abcdefghij"), pause=0.7)
    for folder in finished:
        slug = folder.rpartition("-")[0]
        assert tries(out)[slug] == before[slug]
    assert len(list(out.glob("cells/*/cell.json"))) == 10


def test_a_folder_that_is_being_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    monkeypatch.setattr(store_module, "PATIENCE", 0.1)
    prepared = prepare(FAKE, options_of(FAKE, {}), tmp_path)
    with prepared.store.held(), pytest.raises(RunError, match="another run is writing"):
        run_study(prepared)


def test_cells_have_folders_of_their_own() -> None:
    cells = FAKE.plan(options_of(FAKE, {"seeds": (0, 1), "power": 3}), None).cells
    cells += FAKE.plan(options_of(FAKE, {"seeds": (0, 1)}), None).cells
    assert len({run_cell(FAKE, cell, None).place for cell in cells}) == 8
    assert json.loads(json.dumps(dict(cells[0].spec))) == dict(cells[0].spec)


# --- claims


def number(
    value: float, low: float | None = None, high: float | None = None, n: int = 100
) -> Measured:
    return Measured(value=value, low=low, high=high, n=n, unit="tau")


def test_bars() -> None:
    assert above(number(0.5, 0.4, 0.6), 0.3) is Holds.YES
    assert above(number(0.5, 0.4, 0.6), 0.7) is Holds.NO
    assert above(number(0.5, 0.4, 0.6), 0.5) is Holds.UNDECIDED
    assert above(number(0.5), 0.3) is Holds.UNDECIDED
    assert above(None, 0.3) is Holds.NOT_MEASURED
    # two instances have an interval, but it says nothing
    assert above(number(0.5, 0.4, 0.6, n=2), 0.3) is Holds.UNDECIDED
    assert below(number(0.01, 0.01, 0.02, n=29), 0.3) is Holds.UNDECIDED
    assert below(number(0.5, 0.4, 0.6), 0.7) is Holds.YES
    assert below(number(0.5, 0.4, 0.6), 0.3) is Holds.NO


def part(holds: Holds, counts: bool = True) -> Part:
    return Part(of="x", measured=None, holds=holds, counts=counts)


def test_parts_decide() -> None:
    yes, no, unsure, nothing = Holds.YES, Holds.NO, Holds.UNDECIDED, Holds.NOT_MEASURED
    cases: list[tuple[list[Holds], Holds]] = [
        ([], nothing),
        ([nothing], nothing),
        ([yes, nothing], yes),
        ([yes, yes], yes),
        ([yes, no], unsure),
        ([yes, no, no], no),
        ([no], no),
        ([yes, unsure], unsure),
    ]
    for answers, expected in cases:
        assert decide([part(a) for a in answers]) is expected
    assert decide([part(yes), part(no, counts=False)]) is yes


def test_a_claim_of_two_halves_falls_with_one() -> None:
    yes, no, unsure = Holds.YES, Holds.NO, Holds.UNDECIDED

    def halves(first: list[Holds], second: list[Holds]) -> Holds:
        parts = [part(a).model_copy(update={"half": "a"}) for a in first]
        parts += [part(a).model_copy(update={"half": "b"}) for a in second]
        return decide(parts, ("a", "b"))

    assert halves([yes], [yes]) is yes
    assert halves([no], [yes]) is no
    assert halves([yes, yes, yes], [no, no]) is no
    assert halves([yes], [no, yes]) is unsure
    assert halves([yes], []) is unsure
    assert halves([no], []) is no
    assert halves([], []) is Holds.NOT_MEASURED


def test_the_interval_of_a_difference_is_the_normal_one_where_both_are_normal() -> None:
    from scipy.stats import norm

    z = norm.ppf(0.975)
    a, b = (0.7, 0.05), (0.4, 0.12)
    first, second = (number(m, m - z * s, m + z * s) for m, s in (a, b))
    found = difference(first, second, "tau")
    assert found is not None
    half = z * (a[1] ** 2 + b[1] ** 2) ** 0.5
    assert found.low == pytest.approx(0.3 - half)
    assert found.high == pytest.approx(0.3 + half)
    assert difference(None, second, "tau") is None


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_one_number_over_several_covers_them(found: list[tuple[float, float, float]]) -> None:
    several = [number(v, v - a, v + b) for v, a, b in found]
    one = over([None, *several])
    assert one is not None
    assert one.low is not None
    assert one.high is not None
    assert all(one.low <= m.low and m.high <= one.high for m in several)  # type: ignore[operator]
    assert min(m.value for m in several) - 1e-9 <= one.value
    assert one.value <= max(m.value for m in several) + 1e-9


def test_claims_read_back() -> None:
    claim = Claim(id="a", claim="b", paper="c", measured=number(1.0), rule="r", holds=Holds.NO)
    assert Claim.model_validate_json(claim.model_dump_json()) == claim
    assert json.loads(claim.model_dump_json())["holds"] == "no"
