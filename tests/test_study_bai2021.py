"""The study bai2021: cells, claims and page, on sizes that take seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.studies import STUDIES
from attnaudit.studies.bai2021 import BAI2021
from attnaudit.studies.bai2021.cells import BaiOptions, plan
from attnaudit.studies.bai2021.conclude import conclude, over_seeds, saved
from attnaudit.studies.bai2021.measure import data_of
from attnaudit.studies.bai2021.settings import HELD_OUT, JOINT, PRETRAIN, SETTINGS
from attnaudit.studies.declaration import Place, Results, find
from attnaudit.studies.page import render_study
from attnaudit.studies.run import Finished, options_of, prepare, run_study
from attnaudit.studies.schema import CellRecord, ClaimList, Holds, Measured
from tests.shared import shared_dir
from tests.terminal import run as cli

SIZES = {
    "train_limit": 80,
    "test_limit": 40,
    "epochs": 1,
    "hidden": 4,
    "embedding_dim": 4,
    "judges": 1,
    "judge_epochs": 1,
    "settings": ("order/hard/pool",),
    "seeds": (0,),
    "data": ("order",),
}
FLAGS = (
    "--data",
    "order",
    "--limit",
    "80",
    "--test-limit",
    "40",
    "--workers",
    "1",
    *(
        w
        for n in ("epochs", "hidden", "embedding_dim", "judges", "judge_epochs")
        for w in ("--set", f"{n}={SIZES[n]}")
    ),
    "--set",
    "settings=order/hard/pool",
    "--set",
    "seeds=0",
)
CLAIMS = [
    "shortcuts_exist",
    "honest_weights_are_clean",
    "default_tokens_tell",
    "form_tells",
    "leak_without_need",
    "pretrain_lowers_the_gap_hard",
    "pretrain_lowers_the_gap_soft",
    "held_out_lowers_the_gap_hard",
    "held_out_lowers_the_gap_soft",
    "weight_lowers_the_gap_hard",
    "weight_lowers_the_gap_soft",
    "pretrain_costs_little",
    "held_out_costs_little",
    "weight_costs_little",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    cli("study", "bai2021", "--quick", "--out", str(folder), *FLAGS)
    return folder


@pytest.fixture(scope="module")
def finished(place: Path) -> Finished:
    prepared = prepare(BAI2021, options_of(BAI2021, SIZES, quick=True), place, quick=True)
    assert prepared.waiting == ()
    return run_study(prepared)


def test_a_run_without_data_stores_every_claim(place: Path) -> None:
    stored = ClaimList.model_validate_json((place / "claims.json").read_text())
    assert [claim.id for claim in stored.claims] == CLAIMS
    for claim in stored.claims:
        assert claim.claim.endswith(".")
        assert "not known" in claim.paper
    assert (place / "report.html").exists()


def test_a_cell_holds_what_the_table_shows(finished: Finished) -> None:
    records = finished.results.records
    assert {r.spec["method"] for r in records} == {"joint", "pretrain", "held_out", "weight"}
    for record in records:
        accuracy = find(record.rows, "accuracy", "performance/model")
        judge = find(record.rows, "accuracy", "gap/judge")
        gap = find(record.rows, "judge_gap", "gap/model - judge")
        assert accuracy is not None
        assert judge is not None
        assert gap is not None
        assert accuracy.n == 40
        assert gap.value == pytest.approx((accuracy.value or 0) - (judge.value or 0))
        assert find(record.rows, "mass_on_evidence", "weights") is not None
        assert record.facts["verdict"] in set(Verdict)


def test_the_page_has_every_section_and_loads_nothing(finished: Finished) -> None:
    page = render_study(finished)
    for title in ("All settings", "Forward passes without training", "Verdict of each seed"):
        assert title in page
    assert 'src="http' not in page


def record(name: str, method: str, seed: int, **values: float) -> CellRecord:
    """A finished cell with some numbers, each with an interval of ± .01."""
    rows = [
        Estimate(
            statistic=s,
            subject=subject,
            value=values[key],
            low=values[key] - 0.01,
            high=values[key] + 0.01,
            n=1000,
        )
        for key, s, subject in (
            ("accuracy", "accuracy", "performance/model"),
            ("gap", "gap", "model"),
            ("leak", "leak", "leak/weights"),
        )
        if key in values
    ]
    spec: Mapping[str, Any] = {"setting": name, "method": method, "seed": seed}
    return CellRecord(
        name=f"{name} {method} {seed}",
        key="",
        spec=dict(spec),
        status="done",
        cost=1,
        seconds=1,
        attnaudit_version="",
        code="",
        created=datetime.now(UTC),
        rows=rows,
    )


def results(*records: CellRecord) -> Results:
    return Results(BAI2021, BaiOptions(), Path(), tuple(records))


def answers(*records: CellRecord) -> dict[str, Holds]:
    return {claim.id: claim.holds for claim in conclude(results(*records))}


def test_claims_follow_the_numbers() -> None:
    hard, soft, bow = "order/hard/pool", "order/soft/pool", "bow/hard/pool"
    found = answers(
        *(
            record(n, JOINT, s, accuracy=0.95 + s / 200, gap=0.45 + s / 100, leak=0.3)
            for n in (hard, soft)
            for s in range(3)
        ),
        *(record(hard, PRETRAIN, s, gap=0.1 + s / 100) for s in range(3)),
        *(record(soft, PRETRAIN, s, gap=0.5 + s / 100) for s in range(3)),
        *(record(soft, HELD_OUT, s, gap=0.01 - s / 100) for s in range(3)),
        *(record(bow, HELD_OUT, s, accuracy=0.93, gap=0.0) for s in range(3)),
        *(record(bow, JOINT, s, accuracy=0.93, gap=0.002) for s in range(3)),
        *(record(bow, PRETRAIN, s, accuracy=0.7 + s / 100, gap=0.0) for s in range(3)),
        *(record("sst/only/soft", JOINT, s, gap=0.2) for s in range(3)),
    )
    assert found == {
        "shortcuts_exist": Holds.YES,
        "honest_weights_are_clean": Holds.YES,
        "default_tokens_tell": Holds.YES,
        "form_tells": Holds.YES,
        "leak_without_need": Holds.NOT_MEASURED,
        "pretrain_lowers_the_gap_hard": Holds.YES,
        "pretrain_lowers_the_gap_soft": Holds.NO,
        "held_out_lowers_the_gap_hard": Holds.NOT_MEASURED,
        "held_out_lowers_the_gap_soft": Holds.YES,
        "held_out_costs_little": Holds.YES,
        "weight_lowers_the_gap_hard": Holds.NOT_MEASURED,
        "weight_lowers_the_gap_soft": Holds.NOT_MEASURED,
        "pretrain_costs_little": Holds.NO,
        "weight_costs_little": Holds.NOT_MEASURED,
    }


def test_a_leak_without_need_has_a_leak_and_no_gap() -> None:
    name = "order/soft/rnn"
    for leak, gap, holds in ((0.2, 0.0, Holds.YES), (0.2, 0.3, Holds.NO), (0.0, 0.0, Holds.NO)):
        found = answers(
            *(record(name, JOINT, s, leak=leak + s / 999, gap=gap + s / 999) for s in range(3))
        )
        assert found["leak_without_need"] is holds


def test_the_interval_over_seeds_is_students() -> None:
    values = [0.3, 0.42, 0.38, 0.36, 0.4]
    found = over_seeds([Measured(value=v, n=100, unit="u") for v in values])
    assert found is not None
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx(
        (np.mean(values), interval.low, interval.high)
    )
    wide = over_seeds([Measured(value=v, low=v - 0.3, high=v + 0.4, n=9, unit="u") for v in values])
    assert wide is not None
    assert wide.low == pytest.approx(found.value - np.hypot(found.value - interval.low, 0.3))
    assert wide.high == pytest.approx(found.value + np.hypot(interval.high - found.value, 0.4))
    two = over_seeds([Measured(value=v, n=100, unit="u") for v in values[:2]])
    assert two is not None
    assert two.low is None


def test_a_remedy_is_compared_seed_by_seed() -> None:
    name = "order/hard/pool"
    some = results(
        *(record(name, JOINT, s, gap=0.4 + s / 10) for s in range(3)),
        *(record(name, PRETRAIN, s, gap=0.1 + s / 10) for s in (0, 2)),
    )
    from attnaudit.studies.bai2021.conclude import gap_of

    found = saved(some, name, PRETRAIN, gap_of)
    assert [m.value for m in found if m is not None] == pytest.approx([0.3, 0.3])


def test_cells_are_settings_methods_and_seeds() -> None:
    cells = plan(BaiOptions(data=("order", "bow"), seeds=(0, 1)), None).cells
    generated = [n for n, s in SETTINGS.items() if s.generated]
    assert len(cells) == len(generated) * 4 * 2
    assert len({cell.name for cell in cells}) == len(cells)
    with pytest.raises(SettingsError, match="is no setting"):
        plan(BaiOptions(settings=("order/hard",)), None)
    with pytest.raises(SettingsError, match="is no method"):
        plan(BaiOptions(methods=("magic",)), None)
    with pytest.raises(SettingsError, match="no setting is about"):
        plan(BaiOptions(data=("polarity",)), None)
    missing = plan(BaiOptions(data=("sst",)), Path("/nowhere")).missing
    assert [m.what for m in missing] == ["sst"]
    assert STUDIES["bai2021"] is BAI2021


def test_real_texts_get_default_tokens(tmp_path: Path) -> None:
    shared = shared_dir("data/sst")
    place = Place(tmp_path, shared.parent, "cpu", lambda *_: None)
    spec = {"data": "sst", "variant": "only", "train_limit": 40, "test_limit": 30, "seed": 0}
    only = data_of(spec, place)["train"]
    assert {len(record.units) for record in only} == {5}
    around = data_of({**spec, "variant": "head and tail"}, place)["test"]
    assert all(r.units[0] == "[head]" and r.units[-1] == "[tail]" for r in around)
