"""The engine `ray`: the same findings, and a node that is lost takes nothing with it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

import attnaudit
from attnaudit.errors import SettingsError
from attnaudit.findings.settings import Settings
from attnaudit.runs.cell import Cell, Outcome, Place
from attnaudit.runs.engines import engine_of
from attnaudit.runs.execute import run_cells
from attnaudit.runs.store import Store
from tests.small_models import saved_model

ray = pytest.importorskip("ray", reason="the package ray is not installed")
from ray.cluster_utils import Cluster  # noqa: E402

SMALL = Settings(permutations=10, resamples=100, costly_limit=10, chunk=10, search_steps=5)


def two_nodes():
    """A cluster of two nodes on this machine, and the second of them."""
    try:
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        return found, found.add_node(num_cpus=1)
    # a machine without shared memory, or one too busy for Ray's own timeouts
    except Exception as error:
        pytest.skip(f"Ray can start no cluster here: {error}")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on this machine."""
    found, _ = two_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


class Slow:
    """A cell that notes where it ran, and takes a while."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        for step in range(4):
            place.progress("waiting", step, 4)
            time.sleep(self.seconds / 4)
        (place.folder / "pid").write_text(str(os.getpid()))
        return Outcome(facts={"name": cell.name})


class Fails:
    """A cell that fails in words."""

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        raise SettingsError("this cell was made to fail")


class Dies:
    """A cell whose worker is killed the first time, wherever it runs."""

    def __call__(self, cell: Cell, place: Place) -> Outcome:
        mark = place.folder.parent / f"{cell.name}-was-here"
        if not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(facts={"again": True})


def test_unknown_engines_are_refused():
    with pytest.raises(SettingsError, match="inline, processes, ray"):
        engine_of(1, "rey")


def test_three_engines_find_the_same(cluster, tmp_path):
    model, data = saved_model(tmp_path)
    found = {
        name: attnaudit.audit(
            model,
            data,
            settings=SMALL,
            out=tmp_path / name.partition(":")[0],
            engine=name,
            workers=2,
            progress=False,
        )
        for name in ("inline", "processes", f"ray:{cluster.address}")
    }
    ray.shutdown()
    first, *others = found.values()
    for other in others:
        for one, two in zip(first.findings, other.findings, strict=True):
            assert (one.check, one.verdict) == (two.check, two.verdict)
            for mine, theirs in zip(one.estimates, two.estimates, strict=True):
                assert mine.value == pytest.approx(theirs.value, abs=1e-6, nan_ok=True)


def test_a_cell_that_fails_and_a_worker_that_dies(cluster, tmp_path):
    cells = [
        Cell("good", Slow(0.1), {"which": "good"}),
        Cell("bad", Fails(), {"which": "bad"}),
        Cell("killed", Dies(), {"which": "killed"}),
    ]
    engine = engine_of(2, f"ray:{cluster.address}")
    done = run_cells(cells, Store(tmp_path / "run", "audit"), engine=engine)
    ray.shutdown()
    assert set(done.records) == {"good", "killed"}
    assert "made to fail" in done.failed["bad"]


def test_a_node_that_is_removed_takes_nothing_with_it(tmp_path):
    found, second = two_nodes()
    cells = [Cell(f"cell {k}", Slow(1.5), {"k": k}) for k in range(6)]
    store = Store(tmp_path / "run", "audit")
    engine = engine_of(2, f"ray:{found.address}")
    timer = threading.Timer(2.0, found.remove_node, (second,), {"allow_graceful": False})
    timer.start()
    try:
        done = run_cells(cells, store, engine=engine)
    finally:
        timer.join()
        ray.shutdown()
        found.shutdown()
    assert set(done.records) == {cell.name for cell in cells}
    assert done.failed == {}
    again = run_cells(cells, Store(tmp_path / "run", "audit"))
    assert again.fresh == frozenset()


def test_progress_reaches_the_watcher(cluster, tmp_path):
    heard: list[str] = []
    engine = engine_of(1, f"ray:{cluster.address}")
    run_cells(
        [Cell("slow", Slow(3.0), {})],
        Store(tmp_path / "run", "audit"),
        engine=engine,
        watch=lambda event: heard.append(event.stage or event.kind),
    )
    ray.shutdown()
    assert {"start", "waiting", "end"} <= set(heard)
