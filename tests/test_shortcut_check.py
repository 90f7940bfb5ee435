"""The shortcut check: models that must be caught, one that must not, and what it leaves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch.nn.modules.module import register_module_forward_pre_hook

from attnaudit.checks.gap import conclude_gap
from attnaudit.data.bags.generated import generate_bag_splits
from attnaudit.data.generated.shortcut_tasks import (
    HEAD,
    TAIL,
    default_tokens,
    generate_bow_splits,
    generate_order_splits,
    only_defaults,
)
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, NotApplicable, RunError, SettingsError
from attnaudit.evidence.judges.judge import Judged, law_of
from attnaudit.evidence.judges.judge_masks import half_masks
from attnaudit.evidence.judges.reading import Reading, read
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.mask_laws import MaskLaw, draw_masks
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.report.shortcuts import render_shortcuts
from attnaudit.shortcuts.check import audit_shortcuts, verdict_of
from attnaudit.shortcuts.schema import ShortcutReport, ShortcutVerdict, read_shortcuts
from attnaudit.shortcuts.settings import ShortcutBars, ShortcutSettings
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import options_for
from tests.terminal import run
from tests.toys import dataset, reader

SMALL = ShortcutSettings(
    permutations=100, trees=10, resamples=200, judges=2, judge_epochs=8, judge_draws=2
)
THOROUGH = SMALL.model_copy(update={"judge_epochs": 15, "judge_draws": 4})
SIZES = {"n_train": 1200, "n_dev": 300, "n_test": 1000}
Splits = Mapping[str, Dataset]


def trained(splits: Splits, epochs: int, **config: object) -> Model:
    """A selective model, trained jointly."""
    options = SelectiveConfig(splits["train"].classes, hidden=16, embedding_dim=16, **config)  # type: ignore[arg-type]
    model = new_selective(options, selective_vocabulary(splits["train"].records), 0)
    fit = options_for("selector", epochs=epochs, batch_size=32, learning_rate=5e-3, patience=None)
    return fit_jointly(model, splits["train"], splits["dev"], fit).model


@pytest.fixture(scope="module")
def order() -> tuple[Model, Splits]:
    splits = generate_order_splits(**SIZES)
    return trained(splits, 5), splits


@pytest.fixture(scope="module")
def relies(order: tuple[Model, Splits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a check of weights that carry the order of two words."""
    folder = tmp_path_factory.mktemp("relies")
    audit_shortcuts(*order, THOROUGH, default_units=(HEAD, TAIL), out=folder)
    return folder


def value(report: ShortcutReport, check: str, statistic: str, subject: str) -> float:
    found = [
        e.value
        for e in report.finding(check).estimates
        if (e.statistic, e.subject, e.group) == (statistic, subject, "all")
    ]
    assert found, (statistic, subject)
    assert found[0] is not None
    return found[0]


def test_order_before_a_sum_relies_on_the_leak(relies: Path) -> None:
    report = read_shortcuts(relies / "findings.json")
    assert report.verdict is ShortcutVerdict.RELIES
    assert value(report, "gap", "accuracy", "model") >= 0.9
    assert abs(value(report, "gap", "accuracy", "judge, random masks") - 0.5) < 0.06
    assert abs(value(report, "gap", "accuracy", "judge, truth") - 0.5) < 0.06
    assert value(report, "gap", "accuracy", "informed decoder") >= 0.9
    assert report.finding("gap").verdict is Verdict.FAIL
    assert any("no weights that are independent" in note for note in report.finding("gap").notes)


def test_the_gap_is_accuracy_less_that_of_the_judges(
    relies: Path, order: tuple[Model, Splits]
) -> None:
    report = read_shortcuts(relies / "findings.json")
    frame = pl.read_parquet(relies / "instances.parquet")
    judges = [c for c in frame.columns if c.startswith("judge/")]
    assert len(judges) == 2
    label = frame["label"].to_numpy()
    right = balanced_accuracy_score(label, frame["predicted"].to_numpy())
    read_by = np.mean([balanced_accuracy_score(label, frame[c].to_numpy()) for c in judges])
    assert value(report, "gap", "judge_gap", "model - judge") == pytest.approx(right - read_by)
    headline = report.finding("gap").headline
    assert headline is not None
    # these judges are blind: they read nothing from any weights
    assert headline.subject == "model - larger class"
    assert headline.value == pytest.approx(right - 0.5)
    assert read(order[0], order[1]["test"]).predicted.tolist() == frame["predicted"].to_list()
    assert pl.read_parquet(relies / "estimates.parquet").height > 40


def test_words_that_suffice_are_clean() -> None:
    splits = generate_bow_splits(**SIZES)
    model = trained(splits, 6, mask="hard", k=5)
    report = audit_shortcuts(model, splits, SMALL, default_units=(HEAD, TAIL))
    headline = report.finding("gap").headline
    assert headline is not None
    assert abs(headline.value or 0) <= 0.03
    assert report.verdict is ShortcutVerdict.CLEAN
    assert "5 random units" in report.finding("gap").notes[0]


def test_weights_on_nothing_but_default_tokens_are_caught() -> None:
    splits = {name: only_defaults(data, 3) for name, data in generate_bow_splits(**SIZES).items()}
    model = trained(splits, 5, question=True)
    report = audit_shortcuts(model, splits, SMALL, default_units=default_tokens(3))
    assert report.verdict is ShortcutVerdict.RELIES
    assert value(report, "gap", "accuracy", "model") > 0.8
    assert value(report, "swaps", "shortcut_share", "weights of another class") == 1
    assert value(report, "leak", "default_mass", "default tokens") == pytest.approx(1)


def test_equal_seeds_give_equal_numbers_and_the_model_stays(order: tuple[Model, Splits]) -> None:
    model, splits = order
    few = {name: data.select(data.records[:90]) for name, data in splits.items()}
    before = model.fingerprint()
    tiny = SMALL.model_copy(update={"judge_epochs": 1, "judges": 1})
    one, other = (audit_shortcuts(model, few, tiny) for _ in range(2))
    assert one.findings == other.findings
    assert model.fingerprint() == before == one.fingerprint


def test_a_users_module_can_be_checked() -> None:
    data = dataset(600)
    splits = {
        n: data.select(data.records[i : i + 200], n)
        for n, i in (("train", 0), ("dev", 200), ("test", 400))
    }
    tiny = SMALL.model_copy(update={"judge_epochs": 1, "judges": 1})
    report = audit_shortcuts(reader(), splits, tiny)
    assert report.verdict is ShortcutVerdict.POOR
    assert "not good enough" in report.sentence


@pytest.mark.parametrize(
    ("gate", "leak", "gap", "verdict"),
    [
        ("fail", "fail", "fail", ShortcutVerdict.POOR),
        ("pass", "pass", "fail", ShortcutVerdict.RELIES),
        ("inconclusive", "fail", "fail", ShortcutVerdict.RELIES),
        ("pass", "fail", "pass", ShortcutVerdict.LEAKS),
        ("pass", "fail", "inconclusive", ShortcutVerdict.LEAKS),
        ("pass", "inconclusive", "pass", ShortcutVerdict.CLEAN),
        ("pass", "pass", "inconclusive", ShortcutVerdict.UNCERTAIN),
    ],
)
def test_leak_and_gap_are_two_questions(
    gate: str, leak: str, gap: str, verdict: ShortcutVerdict, relies: Path
) -> None:
    finding = read_shortcuts(relies / "findings.json").finding("gap")
    three = [finding.model_copy(update={"verdict": Verdict(v)}) for v in (gate, leak, gap)]
    assert verdict_of(three[0], three[1], three[2]) is verdict


@pytest.mark.parametrize(
    ("check", "verdict"),
    [("weights_only", ShortcutVerdict.LEAKS), ("swaps", ShortcutVerdict.UNCERTAIN)],
)
def test_nothing_is_clean_whose_interventions_fail(check: str, verdict: ShortcutVerdict) -> None:
    fine, failed = (
        Finding(check=check, subject="weights", verdict=v, sentence="")
        for v in (Verdict.PASS, Verdict.FAIL)
    )
    assert verdict_of(fine, fine, fine, [fine]) is ShortcutVerdict.CLEAN
    assert verdict_of(fine, fine, fine, [failed]) is verdict


@pytest.mark.parametrize("law", [MaskLaw("hard", k=3), MaskLaw("hard", k=1), MaskLaw()])
def test_the_law_of_drawn_masks_is_found_again(law: MaskLaw) -> None:
    units = torch.arange(7) < torch.tensor([1, 3, 5, 7] * 30).unsqueeze(1)
    drawn = draw_masks(units, law, torch.Generator().manual_seed(5)).double().numpy()
    rows = [row[mask] for row, mask in zip(drawn, units.numpy(), strict=True)]
    assert law_of(rows).kind == law.kind
    assert law_of(rows).k == law.k


def test_half_of_the_units_are_shown_to_a_judge_of_eval_x(order: tuple[Model, Splits]) -> None:
    units = torch.arange(6) < torch.tensor([0, 1, 6] * 200).unsqueeze(1)
    masks = half_masks(units, torch.Generator().manual_seed(1))
    assert (masks[~units] == 0).all()
    assert torch.allclose(masks.sum(1), units.any(1).float())
    assert abs(float((masks[2::3] > 0).float().mean()) - 0.5) < 0.05
    model, splits = order
    few = SMALL.model_copy(update={"judges": 2, "judge_masks": "half"})
    report = audit_shortcuts(model, splits, few)
    assert report.finding("gap").verdict is Verdict.FAIL
    assert "probability 1/2" in report.finding("gap").notes[0]


def test_equal_weights_are_soft_and_peaked_ones_have_a_wider_law() -> None:
    assert law_of([np.full(n, 1 / n) for n in (2, 5, 9)]) == MaskLaw()
    sharp = np.full(10, 1e-6)
    sharp[3] = 1 - 9e-6
    assert law_of([sharp] * 20).sigma > MaskLaw().sigma
    assert law_of([]) == MaskLaw()


def test_a_judge_that_cannot_learn_decides_nothing(order: tuple[Model, Splits]) -> None:
    model, splits = order
    lazy = SMALL.model_copy(update={"judge_epochs": 1, "judge_rate": 1e-7})
    few = {**splits, "train": splits["train"].select(splits["train"].records[:60])}
    report = audit_shortcuts(model, few, lazy)
    assert report.verdict is not ShortcutVerdict.RELIES
    assert report.finding("gap").verdict is Verdict.INCONCLUSIVE
    assert any("no power" in note for note in report.finding("gap").notes)


N_GAP = 400
LABELS = np.arange(N_GAP) % 2


def said_of(share: float, labels: np.ndarray = LABELS) -> np.ndarray:
    """Probabilities that are right for a share of each class."""
    hit = (np.arange(len(labels)) // 2) % 100 < round(100 * share)
    return np.where(np.eye(2)[np.where(hit, labels, 1 - labels)] > 0, 0.9, 0.1)


def gap_of(
    own: list[float],
    apart: float,
    informed: float,
    others: tuple[str, ...] = (),
    salient: tuple[float, float] | None = None,
) -> Finding:
    """The finding on a model with given judges, `apart` under weights of no label.

    `salient` is how often the judges and the model are right under salient weights.
    """
    records = tuple(text_record(f"r{i}", "a b", int(y)) for i, y in enumerate(LABELS))
    rows = (np.full(2, 0.5),) * N_GAP
    reading = Reading(Dataset("made", records, ("neg", "pos")), rows, np.log(said_of(1)))
    same = tuple(said_of(apart) for _ in own)
    judged = Judged(
        MaskLaw("hard", k=1),
        tuple(said_of(s) for s in own),
        {"random masks": same, "equal weights": same, "informed": (said_of(informed),)},
        np.zeros(N_GAP, dtype=bool),
    )
    if salient is not None:
        by_judge, by_model = salient
        more = {
            "salient weights": (said_of(by_judge),) * len(own),
            "model, salient weights": (said_of(by_model),),
        }
        judged = replace(judged, others={**judged.others, **more})
    failed = [
        Finding(check=c, subject="weights", verdict=Verdict.FAIL, sentence="") for c in others
    ]
    return conclude_gap(reading, judged, SMALL, failed)


@pytest.mark.parametrize(
    ("made", "verdict", "note"),
    [
        # honest, but evidence that random masks hardly ever show: the judges read the weights
        (([0.7, 0.8], 0.5, 1.0), Verdict.INCONCLUSIVE, "read too little"),
        # the same where the interventions prove a code: what judges read is an accident
        (([0.7, 0.8], 0.5, 1.0, ("weights_only",)), Verdict.FAIL, "gaps of the 2 judges"),
        (([1.0, 1.0, 0.0, 0.0], 0.5, 1.0, ("swaps",)), Verdict.FAIL, "gaps of the 4 judges"),
        # but judges that agree with the model are believed, and one alone is not
        (([1.0, 1.0, 1.0], 0.5, 1.0, ("weights_only",)), Verdict.PASS, "gaps of the 3 judges"),
        (([1.0] * 5 + [0.5], 0.9, 1.0, ("swaps",)), Verdict.INCONCLUSIVE, "but one"),
        # nothing is read by anybody who has not learnt the code
        (([0.5, 0.5], 0.5, 1.0), Verdict.FAIL, "to the larger class"),
        (([0.5], 0.5, 1.0), Verdict.INCONCLUSIVE, "one judge only"),
        (([0.6, 0.6], 0.9, 1.0), Verdict.FAIL, "gaps of the 2 judges"),
        # as far behind where no code can help: badly trained
        (([0.9, 0.9], 0.8, 1.0, (), (0.9, 1.0)), Verdict.INCONCLUSIVE, "carry no code"),
        (([0.9, 0.9], 0.8, 1.0, (), (0.9, 0.9)), Verdict.FAIL, "gaps of the 2 judges"),
        (([0.6, 0.6], 0.8, 1.0, (), (0.8, 0.9)), Verdict.FAIL, "gaps of the 2 judges"),
        # the informed decoder learns no more than the judges
        (([0.85, 0.85], 0.85, 0.86, ("leak",)), Verdict.INCONCLUSIVE, "too short"),
        (([0.99, 1.0], 0.9, 1.0), Verdict.PASS, "gaps of the 2 judges"),
    ],
)
def test_a_gap_needs_more_than_a_judge(
    made: tuple[object, ...], verdict: Verdict, note: str
) -> None:
    finding = gap_of(*made)  # type: ignore[arg-type]
    assert finding.verdict is verdict
    assert any(note in said for said in finding.notes)


def test_classes_are_matched_by_name(order: tuple[Model, Splits]) -> None:
    model, splits = order
    few = {name: data.select(data.records[:90]) for name, data in splits.items()}
    tiny = SMALL.model_copy(update={"judge_epochs": 1, "judges": 1})
    turned = replace(
        few["test"],
        classes=few["test"].classes[::-1],
        records=tuple(replace(r, label=1 - r.label) for r in few["test"]),
    )
    one, other = (audit_shortcuts(model, {**few, "test": d}, tiny) for d in (few["test"], turned))
    assert one.findings == other.findings
    unknown = replace(few["test"], classes=("good", "bad"))
    with pytest.raises(DataError, match="none of the model's classes"):
        audit_shortcuts(model, {**few, "test": unknown}, tiny)


@pytest.fixture
def passes() -> Iterator[list[str]]:
    """The modules that ran, in order."""
    ran: list[str] = []
    with register_module_forward_pre_hook(lambda module, _: ran.append(type(module).__name__)):
        yield ran


def test_refusals_come_before_any_work(
    order: tuple[Model, Splits], tmp_path: Path, passes: list[str]
) -> None:
    model, splits = order
    with pytest.raises(NotApplicable, match="Check its members"):
        audit_shortcuts(Ensemble([model, model]), splits)
    bags = generate_bag_splits(n_train=8, n_dev=8, n_test=8)
    with pytest.raises(DataError, match=r"holds bags, and .* reads texts"):
        audit_shortcuts(model, bags)
    with pytest.raises(DataError, match=r"default tokens \[tial\];"):
        audit_shortcuts(model, splits, default_units=(HEAD, "[tial]"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="it is a file"):
        audit_shortcuts(model, splits, out=tmp_path / "file")
    (tmp_path / "findings.json").write_text('{"schema_version": 1}')
    with pytest.raises(RunError, match="written by no run"):
        audit_shortcuts(model, splits, out=tmp_path)
    assert not passes
    few = {name: data.select(data.records[:90]) for name, data in splits.items()}
    audit_shortcuts(model, few, SMALL.model_copy(update={"judge_epochs": 1, "judges": 1}))
    assert passes


def test_what_cannot_be_checked_is_refused(order: tuple[Model, Splits]) -> None:
    model, splits = order
    with pytest.raises(DataError, match="no split 'dev'"):
        audit_shortcuts(model, {"train": splits["train"], "test": splits["test"]})
    with pytest.raises(DataError, match="must not have seen"):
        audit_shortcuts(model, {**splits, "test": splits["train"]})
    one = splits["test"].select([r for r in splits["test"] if r.label == 1])
    with pytest.raises(DataError, match="of class"):
        audit_shortcuts(model, {**splits, "test": one})
    bare = splits["dev"].select([replace(r, label=None) for r in splits["dev"]])
    with pytest.raises(DataError, match="label"):
        audit_shortcuts(model, {**splits, "dev": bare})
    with pytest.raises(ValueError, match="judges"):
        ShortcutSettings(judges=0)
    with pytest.raises(ValueError, match="gap"):
        ShortcutBars(gap=2.0)


def test_stored_findings_are_read_again_or_refused(relies: Path, tmp_path: Path) -> None:
    report = read_shortcuts(relies / "findings.json")
    assert report.settings == THOROUGH
    assert {f.check for f in report.findings} == {"leak", "weights_only", "swaps", "gap"}
    assert report.frame.height > 40
    with pytest.raises(SettingsError, match="there are: leak"):
        report.finding("nothing")
    path = tmp_path / "findings.json"
    with pytest.raises(RunError, match=r"holds no shortcut check"):
        read_shortcuts(path)
    content = json.loads((relies / "findings.json").read_text())
    for change, what in (
        ({"schema_version": 99}, "version 99"),
        ({"verdict": "fine"}, "damaged at"),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(RunError, match=what):
            read_shortcuts(path)
    path.write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        read_shortcuts(path)


def test_the_page_shows_the_verdict_and_loads_nothing(relies: Path) -> None:
    report = read_shortcuts(relies / "findings.json")
    page = render_shortcuts(report.model_copy(update={"data": "<b>odd</b>"}))
    assert "Relies on the leak." in page
    assert "<b>odd</b>" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    for title in ("Model and judges", "Weight on default tokens", "Interventions", "CPU time"):
        assert title in page
    for finding in report.findings:
        assert math.isfinite(finding.headline.value if finding.headline else 0)  # type: ignore[arg-type]


def test_the_command_prints_and_stores(tmp_path: Path) -> None:
    model = tmp_path / "model"
    small = ("--encoder", "average", "--hidden", "8", "--embedding-dim", "8", "--epochs", "1")
    run("train", "polarity", "--limit", "120", "--out", str(model), *small)
    out = tmp_path / "run"
    flags = ("--judges", "1", "--judge-epochs", "1", "--limit", "120", "--out", str(out))
    said = run("shortcut", str(model), "polarity", *flags, "--strict", code=1)
    assert "gap" in said
    assert said.splitlines()[-1].startswith("Run:")
    assert "shortcut.html" in said
    assert {
        "findings.json",
        "instances.parquet",
        "estimates.parquet",
        "manifest.json",
        "shortcut.html",
    } == {path.name for path in out.iterdir()}
    wrong = run("shortcut", str(model), "polarity", "--default-token", "[none]", *flags, code=2)
    assert "no record has one of the default tokens" in wrong
