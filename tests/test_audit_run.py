"""The audit on a model that is not ours: independence, resuming, bad folders."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from attnaudit.attribution import METHODS
from attnaudit.audits.frame import tidy
from attnaudit.audits.result import AuditResult, open_audit
from attnaudit.audits.run import run_audit
from attnaudit.data.records import Dataset
from attnaudit.errors import DamagedWarning, DataError, ModelError, RunError, SettingsError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Batch
from attnaudit.report.page import render_html
from attnaudit.runs import cell as cell_module
from attnaudit.runs import code as code_module
from attnaudit.runs import store as store_module
from attnaudit.runs.code import code_fingerprint
from attnaudit.runs.execute import watched
from attnaudit.runs.store import Store
from attnaudit.training.options import TrainOptions
from attnaudit.training.train import train
from tests.toys import dataset, labelled, reader, sentences

FAST = Settings(chunk=32, resamples=200, permutations=20, costly_limit=40)


def toy_data(count: int = 90) -> Dataset:
    return Dataset("toy", tuple(labelled(reader(), sentences(count, shortest=2))), ("neg", "pos"))


@pytest.fixture(scope="module")
def whole() -> AuditResult:
    return run_audit(reader(), toy_data(), FAST)


def findings(result: AuditResult) -> str:
    return "\n".join(f.model_dump_json() for f in result.report.findings)


def test_every_check_reports_with_size_interval_and_null(whole: AuditResult) -> None:
    found = {(f.check, f.subject): f for f in whole.report.findings}
    for check in ("agreement", "permutation", "adversary", "erasure"):
        finding = found[check, "weights"]
        assert finding.headline is not None
        assert finding.headline.n > 0
        assert finding.headline.low is not None
        assert finding.headline.null is not None
        assert finding.thresholds
    assert found["ground_truth", "weights"].verdict is Verdict.NOT_APPLICABLE
    assert found["agreement", "random"].verdict is not Verdict.PASS
    assert found["erasure", "random"].verdict is not Verdict.PASS


def test_results_do_not_depend_on_batch_size_or_order(whole: AuditResult) -> None:
    data = toy_data()
    backwards = data.select(data.records[::-1])
    other = run_audit(
        reader(), backwards, FAST.model_copy(update={"token_budget": 70, "chunk": 17})
    )
    mine, theirs = (r.instances.drop("index").sort("id") for r in (whole, other))
    assert_frame_equal(mine, theirs.select(mine.columns), abs_tol=2e-5)
    values = [
        tidy(r.report).sort("check", "judged", "statistic", "method", "group")
        for r in (whole, other)
    ]
    assert_frame_equal(*values, abs_tol=2e-4)


def test_same_seed_same_numbers_other_seed_others(whole: AuditResult) -> None:
    again = run_audit(reader(), toy_data(), FAST)
    assert findings(again) == findings(whole)
    other = run_audit(reader(), toy_data(), FAST.model_copy(update={"seed": 1}))
    assert findings(other) != findings(whole)


def test_a_run_folder_holds_what_memory_holds(whole: AuditResult, tmp_path: Path) -> None:
    result = run_audit(reader(), toy_data(), FAST, out=tmp_path / "run")
    assert findings(result) == findings(whole)
    opened = open_audit(tmp_path / "run")
    assert opened.report == result.report
    assert opened.pictures == result.pictures
    assert_frame_equal(opened.instances, result.instances)


def test_finished_chunks_are_not_computed_again(whole: AuditResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(), FAST, out=folder)
    chunks = sorted((folder / "instances").glob("chunk*/instances.parquet"))
    shutil.rmtree(chunks[1].parent)
    chunks[2].write_bytes(b"half a file")
    before = {path: path.stat().st_mtime_ns for path in chunks if path.exists()}
    with pytest.warns(DamagedWarning, match=r"not what was written: made again"):
        resumed = run_audit(reader(), toy_data(), FAST, out=folder)
    assert findings(resumed) == findings(whole)
    assert [p for p, t in before.items() if p.stat().st_mtime_ns != t] == [chunks[2]]


KILLED = """
import sys, time
from pathlib import Path
from attnaudit.audits.run import run_audit
from tests.test_audit_run import FAST, toy_data
from tests.toys import reader
def slow(event):
    if event.kind == "end":
        print(event.cell.name, flush=True)
        time.sleep(1.0)
run_audit(reader(), toy_data(), FAST, out=Path(sys.argv[1]), watch=slow)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_audit_goes_on_with_the_same_numbers(whole: AuditResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("drift")
    assert process.stdout.readline().startswith("chunk 0")
    process.kill()
    process.wait()
    done = sorted((folder / "instances").glob("*/cell.json"))
    assert 2 <= len(done) < 4
    assert not (folder / "findings.json").exists()
    before = {path: path.stat().st_mtime_ns for path in done}
    resumed = run_audit(reader(), toy_data(), FAST, out=folder)
    assert all(path.stat().st_mtime_ns == t for path, t in before.items())
    assert findings(resumed) == findings(whole)


def test_a_repeated_audit_keeps_its_time_and_a_resumed_one_adds_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = run_audit(reader(), toy_data(), FAST, out=folder).report
    again = run_audit(reader(), toy_data(), FAST, out=folder).report
    assert (again.seconds, again.created) == (first.seconds, first.created)
    lost = first.cells[1]
    shutil.rmtree(folder / lost.place)
    resumed = run_audit(reader(), toy_data(), FAST, out=folder).report
    assert resumed.created > first.created
    kept = {c.name: c.seconds for c in resumed.cells if c.name != lost.name}
    assert kept == {c.name: c.seconds for c in first.cells if c.name != lost.name}


@pytest.mark.parametrize("name", ["run [2]", "run *", "run ?", "run {a,b}"])
def test_the_name_of_a_folder_is_no_pattern(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    first = run_audit(reader(), toy_data(40), FAST, out=folder)
    (folder / "findings.json").unlink()
    again = run_audit(reader(), toy_data(40), FAST, out=folder)
    assert findings(again) == findings(first)
    assert_frame_equal(open_audit(folder).instances, first.instances)


def test_progress_moves_inside_a_chunk() -> None:
    told: list[tuple[str, int, int]] = []
    settings = FAST.model_copy(update={"chunk": 90, "token_budget": 60, "checks": ("permutation",)})
    run_audit(reader(), toy_data(), settings, watch=watched(lambda *what: told.append(what)))
    done = [now for stage, now, _ in told if stage == "auditing"]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 90)
    assert len(set(done)) > 8


def test_only_attributions_that_somebody_looks_at_are_computed() -> None:
    for checks, expected in (
        (("entropy",), {"weights", "leave_one_out"}),
        (("permutation",), {"weights", "leave_one_out", "shapley"}),
        (("agreement", "adversary"), {"weights", "leave_one_out", "gradient", "random"}),
        (("erasure",), set(METHODS)),
    ):
        result = run_audit(reader(), toy_data(40), FAST.model_copy(update={"checks": checks}))
        found = {c.removeprefix("scores.") for c in result.instances.columns if "scores." in c}
        assert found == expected
        assert render_html(result).count("<h5>") >= 6


def test_other_code_of_the_same_version_measures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    first = run_audit(reader(), toy_data(40), FAST, out=folder).report
    monkeypatch.setattr(cell_module, "CELL_SCHEMA", 99)  # as an edit of the sources would
    again = run_audit(reader(), toy_data(40), FAST, out=folder).report
    assert not {c.place for c in first.cells} & {c.place for c in again.cells}
    # what the other code has left is gone
    assert len(list((folder / "instances").iterdir())) == len(again.cells)


def test_the_fingerprint_of_the_code_is_of_what_is_imported(tmp_path: Path) -> None:
    def fingerprint() -> str:
        code_module._imported.cache_clear()
        return code_fingerprint.__wrapped__("attnaudit.checks.a", root=tmp_path)

    for room in ("checks", "measures", "report"):
        (tmp_path / room).mkdir()
    (tmp_path / "checks" / "a.py").write_bytes(
        b"from attnaudit.measures import (\n    b,\n)\n"
        b"if TYPE_CHECKING:\n    from attnaudit.report import c\n"
    )
    measured, shown = tmp_path / "measures" / "b.py", tmp_path / "report" / "c.py"
    measured.write_bytes(b"def f():\n    import attnaudit.checks.a\n")
    shown.write_bytes(b"y = 1\n")
    before = fingerprint()
    shown.write_bytes(b"y = 2\n")
    measured.write_bytes(b"def f():\r\n    import attnaudit.checks.a\r\n")
    assert fingerprint() == before
    measured.write_bytes(b"x = 2\n")
    assert fingerprint() != before


def test_another_audit_in_the_folder_is_refused_and_can_be_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(), toy_data(40), FAST, out=folder)
    for model, data, settings, what in (
        (reader(seed=5), toy_data(40), FAST, "of the model"),
        (reader(), toy_data(41), FAST, "of the data"),
        (reader(), toy_data(40), FAST.model_copy(update={"seed": 3}), "seed was 0"),
    ):
        with pytest.raises(RunError, match=what):
            run_audit(model, data, settings, out=folder)
    result = run_audit(reader(seed=5), toy_data(40), FAST, out=folder, overwrite=True)
    assert open_audit(folder).report == result.report


def test_a_folder_that_is_being_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.1)
    with Store(tmp_path / "run", "audit").held(), pytest.raises(RunError, match="right now"):
        run_audit(reader(), toy_data(40), FAST, out=tmp_path / "run")


def test_two_processes_with_one_plan_share_the_work(whole: AuditResult, tmp_path: Path) -> None:
    folder, root = tmp_path / "run", Path(__file__).parents[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        )
        for _ in range(2)
    ]
    ran = [name for process in started for name in process.communicate()[0].split("\n") if name]
    assert sorted(ran) == ["chunk 00000", "chunk 00001", "chunk 00002", "drift"]
    assert findings(open_audit(folder)) == findings(whole)


def test_more_checks_may_be_asked_of_a_finished_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    few = FAST.model_copy(update={"checks": ("permutation",)})
    run_audit(reader(), toy_data(40), few, out=folder)
    more = run_audit(reader(), toy_data(40), FAST, out=folder)
    assert {f.check for f in more.report.findings} > {"permutation", "erasure"}
    with pytest.raises(RunError, match="not asked for now"):
        run_audit(reader(), toy_data(40), few, out=folder)


def test_several_workers_give_the_same_numbers(whole: AuditResult, tmp_path: Path) -> None:
    net = train(
        "reviews",
        encoder="average",
        embedding_dim=8,
        hidden=8,
        limit=80,
        options=TrainOptions(epochs=1),
        progress=False,
    )
    one, two = (
        run_audit(net.model, net.splits["test"], FAST, out=tmp_path / str(n), workers=n)
        for n in (1, 2)
    )
    values = [
        tidy(r.report).sort("check", "judged", "statistic", "method", "group") for r in (one, two)
    ]
    assert_frame_equal(*values, abs_tol=2e-4)


def test_a_model_that_cannot_be_sent_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave workers at 1"):
        run_audit(reader(), toy_data(), FAST, out=tmp_path / "run", workers=2)


@pytest.mark.parametrize("name", ["plan.json", "instances.parquet", "manifest.json"])
def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = os.replace

    def full(source: str, target: Path) -> None:
        if target.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="disk is full"):
        run_audit(reader(), toy_data(40), FAST, out=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_file_in_place_of_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match=r"it is a file|part of its path"):
        run_audit(reader(), toy_data(40), FAST, out=tmp_path / "run")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a read-only file system")
def test_a_read_only_folder_says_so() -> None:
    with pytest.raises(RunError, match="cannot write"):
        run_audit(reader(), toy_data(40), FAST, out=Path("/proc/attnaudit-run"))


DAMAGED = (
    "",
    "[]",
    "{",
    "\x00\x01",
    '{"schema_version": 99}',
    '{"schema_version": 1}',
    '{"plan": {"schema_version": 2}}',
)


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_findings_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "findings.json").write_text(content)
    with pytest.raises(RunError):
        open_audit(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not hold a finished run"):
        open_audit(tmp_path)


def test_unusable_requests() -> None:
    with pytest.raises(DataError, match="no records"):
        run_audit(reader(), dataset(0), FAST)
    with pytest.raises(SettingsError, match="no check is called 'nope'"):
        run_audit(reader(), toy_data(40), FAST.model_copy(update={"checks": ("nope",)}))
    with pytest.raises(DataError, match="none of the model's classes"):
        run_audit(reader(3), toy_data(40), FAST)


def test_equal_ids_are_refused() -> None:
    data = toy_data(40)
    twice = data.select((*data.records, data.records[3]))
    with pytest.raises(DataError, match="records 4 and 41 have the same id"):
        run_audit(reader(), twice, FAST)


def test_another_way_to_attend_is_another_model(tmp_path: Path) -> None:
    run_audit(reader(), toy_data(40), FAST, out=tmp_path / "run")
    other = reader()
    other.attend = lambda s: s.units / s.units.sum(1, keepdim=True)  # type: ignore[method-assign]
    with pytest.raises(RunError, match="of the model"):
        run_audit(other, toy_data(40), FAST, out=tmp_path / "run")


def test_cells_of_another_model_are_not_used(whole: AuditResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_audit(reader(seed=5), toy_data(), FAST, out=folder)
    (folder / "plan.json").unlink()
    with pytest.raises(RunError, match="whose they are is not known"):
        run_audit(reader(), toy_data(), FAST, out=folder)
    again = run_audit(reader(), toy_data(), FAST, out=folder, overwrite=True)
    assert findings(again) == findings(whole)


def test_units_must_fit_the_text() -> None:
    model = reader()
    collate = model.collate

    def short(records):
        batch = collate(records)
        units = batch.units.clone()
        units[:, -1] = False
        return Batch(batch.ids, batch.inputs, batch.present, units)

    model.collate = short  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="one to one"):
        run_audit(model, toy_data(40), FAST)


def test_a_head_that_is_not_the_decoder_is_refused() -> None:
    model = reader()
    model._decode = lambda pooled: model._head(torch.relu(pooled))
    with pytest.raises(ModelError, match="linear form"):
        run_audit(model, toy_data(40), FAST)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fractions": ()},
        {"fractions": (0.0,)},
        {"operators": ("blur",)},
        {"operators": ()},
        {"top_k": 0.0},
        {"ig_max_nodes": 4},
    ],
)
def test_settings_out_of_range_are_refused_before_any_work(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_an_audit_leaves_no_gradient_in_the_model() -> None:
    model = reader(deep=True)
    run_audit(model, toy_data(40), FAST.model_copy(update={"search_steps": 5}))
    assert all(p.grad is None for p in model.module.parameters())


def test_weights_that_are_no_distribution_are_refused() -> None:
    model = reader()
    attend = model.attend
    for spoil, what in (
        (lambda w: w * float("nan"), "not finite"),
        (lambda w: w * 2, "does not sum to 1"),
        (lambda w: w - 0.5, "is negative"),
        (lambda w: w + 0.01, "no unit"),
    ):
        model.attend = lambda states, spoil=spoil: spoil(attend(states))  # type: ignore[method-assign]
        with pytest.raises(ModelError, match=what):
            run_audit(model, toy_data(40), FAST)


def test_constant_weights_have_nothing_to_show() -> None:
    model = reader()
    model.attend = lambda s: s.units / s.units.sum(1, keepdim=True)  # type: ignore[method-assign]
    data = Dataset("toy", tuple(labelled(model, sentences(80, shortest=3))), ("neg", "pos"))
    result = run_audit(model, data, FAST)
    verdicts = {f.check: f.verdict for f in result.report.findings if f.subject == "weights"}
    assert verdicts["permutation"] is Verdict.NOT_APPLICABLE
    assert verdicts["agreement"] is Verdict.NOT_APPLICABLE
    assert verdicts["erasure"] is Verdict.NOT_APPLICABLE
    assert result.report.judgement.verdict is Verdict.NOT_APPLICABLE


def test_one_word_texts_only_are_not_applicable() -> None:
    data = Dataset("toy", tuple(labelled(reader(), sentences(50, longest=1))), ("neg", "pos"))
    result = run_audit(reader(), data, FAST)
    for finding in result.report.findings:
        if finding.subject == "weights":
            assert finding.verdict is Verdict.NOT_APPLICABLE, finding.sentence


def test_few_instances_are_inconclusive() -> None:
    result = run_audit(reader(), toy_data(12), FAST)
    decided = {f.verdict for f in result.report.findings}
    assert Verdict.PASS not in decided
    assert Verdict.FAIL not in decided


@pytest.mark.parametrize(
    "model",
    [reader(3), reader(deep=True), reader(embedded=False), reader(one_logit=True)],
    ids=["three classes", "tanh head", "no gradients", "one logit"],
)
def test_every_kind_of_decoder_is_audited(model) -> None:
    names = model.classes
    data = Dataset("toy", tuple(labelled(model, sentences(40, shortest=3))), names)
    settings = FAST.model_copy(update={"search_steps": 30})
    result = run_audit(model, data, settings)
    columns = result.instances.columns
    assert ("adversary/exact_jsd" in columns) == (len(names) == 2 and model._head is not None)
    assert ("adversary/search_jsd" in columns) == (model._head is None)
    lower = [c for c in columns if c in ("adversary/bounded_jsd",)]
    for column in lower:
        gap = result.instances["adversary/bounded_upper"] - result.instances[column]
        assert gap.min() >= -1e-9
    assert isinstance(tidy(result.report), pl.DataFrame)
