"""The shortcut check: models that must be caught, one that must not, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from attnaudit.audits.judgement import judge
from attnaudit.audits.result import open_audit
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
from attnaudit.errors import DamagedWarning, DataError, NotApplicable, RunError
from attnaudit.evidence.judges.judge import Judged, law_of
from attnaudit.evidence.judges.judge_masks import half_masks
from attnaudit.evidence.judges.reading import Reading, read
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.pictures import Figure, Table
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.mask_laws import MaskLaw, draw_masks
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import options_for
from tests.judging import SMALL, TINY, finding, judged, value
from tests.toys import dataset, reader

THOROUGH = SMALL.model_copy(update={"epochs": 15, "draws": 4})
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
    judged(*order, THOROUGH, (HEAD, TAIL), out=folder)
    return folder


def test_order_before_a_sum_relies_on_a_code(relies: Path) -> None:
    report = open_audit(relies).report
    assert report.judgement.verdict is Verdict.FAIL
    assert "reliance on a code" in report.judgement.headline
    assert value(report, "gap", "accuracy", "model") >= 0.9
    assert abs(value(report, "gap", "accuracy", "judge, random masks") - 0.5) < 0.06
    assert abs(value(report, "gap", "accuracy", "judge, truth") - 0.5) < 0.06
    assert value(report, "gap", "accuracy", "informed decoder") >= 0.9
    gap = finding(report, "gap")
    assert gap.verdict is Verdict.FAIL
    assert gap.sentence.startswith("The model relies on a code in its weights")
    assert any("no weights that are independent" in note for note in gap.notes)


def test_the_gap_is_accuracy_less_that_of_the_judges(
    relies: Path, order: tuple[Model, Splits]
) -> None:
    report, data = open_audit(relies).report, order[1]["test"]
    tables = [pl.read_parquet(path) for path in sorted(relies.glob("cells/judge-*/said.parquet"))]
    assert len(tables) == 2
    assert all(table["id"].to_list() == [record.id for record in data] for table in tables)
    reading = read(order[0], data)
    right = balanced_accuracy_score(reading.labels, reading.predicted)
    answers = [np.array(table["own"].to_list()).argmax(1) for table in tables]
    read_by = np.mean([balanced_accuracy_score(reading.labels, said) for said in answers])
    assert value(report, "gap", "judge_gap", "model - judge") == pytest.approx(right - read_by)
    headline = finding(report, "gap").headline
    assert headline is not None
    # these judges are blind: they read nothing from any weights
    assert headline.subject == "model - larger class"
    assert headline.value == pytest.approx(right - 0.5)
    assert pl.read_parquet(relies / "estimates.parquet").height > 40


def test_judges_that_are_not_needed_end_at_once(relies: Path) -> None:
    facts = {line.name: line.facts for line in open_audit(relies).report.cells}
    needed = [facts[f"judge {i}"]["needed"] for i in (1, 2, 3, 4)]
    assert needed == [True, True, False, False]


def test_words_that_suffice_are_clean() -> None:
    splits = generate_bow_splits(**SIZES)
    model = trained(splits, 6, mask="hard", k=5)
    report = judged(model, splits, SMALL, (HEAD, TAIL)).report
    gap = finding(report, "gap")
    assert gap.headline is not None
    assert abs(gap.headline.value or 0) <= 0.03
    assert gap.verdict is report.judgement.asked is Verdict.PASS
    assert gap.sentence.startswith("The weights carry no code")
    assert "5 random units" in gap.notes[0]


def test_weights_on_nothing_but_default_tokens_are_caught() -> None:
    splits = {name: only_defaults(data, 3) for name, data in generate_bow_splits(**SIZES).items()}
    model = trained(splits, 5, question=True)
    report = judged(model, splits, SMALL, default_tokens(3)).report
    assert report.judgement.verdict is Verdict.FAIL
    assert value(report, "gap", "accuracy", "model") > 0.8
    assert value(report, "swaps", "shortcut_share", "weights of another class") == 1
    assert value(report, "leak", "default_mass", "default tokens") == pytest.approx(1)


def first(splits: Splits, count: int = 90) -> dict[str, Dataset]:
    return {name: data.select(data.records[:count]) for name, data in splits.items()}


def test_runs_resume_heal_and_take_workers_with_equal_numbers(
    order: tuple[Model, Splits], tmp_path: Path
) -> None:
    model, few = order[0], first(order[1])
    before = model.fingerprint()
    one = judged(model, few, TINY, out=tmp_path)
    assert judged(model, few, TINY, workers=2).report.findings == one.report.findings
    assert model.fingerprint() == before
    again = judged(model, few, TINY, out=tmp_path)
    assert again.report == one.report
    (damaged,) = tmp_path.glob("cells/judge-1-*/said.parquet")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.warns(DamagedWarning, match="made again"):
        healed = judged(model, few, TINY, out=tmp_path)
    assert healed.report.findings == one.report.findings
    with pytest.raises(RunError, match="other settings"):
        judged(model, few, SMALL, out=tmp_path)
    with pytest.raises(RunError, match="default_units"):
        judged(model, few, TINY, (HEAD,), out=tmp_path)


def test_one_check_trains_nothing_that_it_does_not_need(order: tuple[Model, Splits]) -> None:
    report = judged(order[0], first(order[1]), TINY, checks=("leak",)).report
    assert [f.check for f in report.findings] == ["leak"]
    names = {line.name for line in report.cells if line.place.startswith("cells/")}
    assert names == {"weights on test", "probes of weights"}


def test_a_users_module_near_chance_is_not_judged() -> None:
    data = dataset(600)
    splits = {
        n: data.select(data.records[i : i + 200], n)
        for n, i in (("train", 0), ("dev", 200), ("test", 400))
    }
    report = judged(reader(), splits, TINY).report
    assert report.judgement.verdict is Verdict.NOT_APPLICABLE
    assert "not good enough" in report.judgement.headline


@pytest.mark.parametrize(
    ("gate", "leak", "gap", "verdict"),
    [
        ("fail", "fail", "fail", Verdict.NOT_APPLICABLE),
        ("pass", "pass", "fail", Verdict.FAIL),
        ("inconclusive", "fail", "fail", Verdict.FAIL),
        ("pass", "fail", "pass", Verdict.PASS),
        ("pass", "fail", "inconclusive", Verdict.INCONCLUSIVE),
    ],
)
def test_the_gap_decides_and_a_leak_is_a_caution(
    gate: str, leak: str, gap: str, verdict: Verdict
) -> None:
    said = {"performance": gate, "leak": leak, "gap": gap}
    made = [
        Finding(check=check, subject="weights", verdict=Verdict(v), sentence=f"{check}.")
        for check, v in said.items()
    ]
    found = judge(made[0], made[1:])
    assert found.asked is verdict
    assert any("leak." in caution for caution in found.cautions) == (leak == "fail")


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
    gap = finding(judged(model, splits, SMALL.model_copy(update={"masks": "half"})).report, "gap")
    assert gap.verdict is Verdict.FAIL
    assert "probability 1/2" in gap.notes[0]


def test_equal_weights_are_soft_and_peaked_ones_have_a_wider_law() -> None:
    assert law_of([np.full(n, 1 / n) for n in (2, 5, 9)]) == MaskLaw()
    sharp = np.full(10, 1e-6)
    sharp[3] = 1 - 9e-6
    assert law_of([sharp] * 20).sigma > MaskLaw().sigma
    assert law_of([]) == MaskLaw()


def test_a_judge_that_cannot_learn_decides_nothing(order: tuple[Model, Splits]) -> None:
    model, splits = order
    lazy = SMALL.model_copy(update={"epochs": 1, "rate": 1e-7})
    few = {**splits, "train": splits["train"].select(splits["train"].records[:60])}
    gap = finding(judged(model, few, lazy).report, "gap")
    assert gap.verdict is Verdict.INCONCLUSIVE
    assert "is not certain" in gap.sentence
    assert any("no power" in note for note in gap.notes)


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
    answers = Judged(
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
        answers = replace(answers, others={**answers.others, **more})
    accident = bool({"weights_only", "swaps"} & set(others))
    settings = Settings(resamples=200)
    return conclude_gap(reading, answers, settings, accident=accident, told=bool(others))


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
    found = gap_of(*made)  # type: ignore[arg-type]
    assert found.verdict is verdict
    assert any(note in said for said in found.notes)


def test_classes_are_matched_by_name(order: tuple[Model, Splits]) -> None:
    model, splits = order
    few = first(splits)
    turned = replace(
        few["test"],
        classes=few["test"].classes[::-1],
        records=tuple(replace(r, label=1 - r.label) for r in few["test"]),
    )
    one, other = (judged(model, {**few, "test": d}, TINY) for d in (few["test"], turned))
    assert one.report.findings == other.report.findings
    unknown = replace(few["test"], classes=("good", "bad"))
    with pytest.raises(DataError, match="none of the model's classes"):
        judged(model, {**few, "test": unknown}, TINY)


def test_refusals_come_before_any_work(order: tuple[Model, Splits], tmp_path: Path) -> None:
    model, splits = order
    out = tmp_path / "run"
    with pytest.raises(NotApplicable, match="Check its members"):
        judged(Ensemble([model, model]), splits, out=out)
    bags = generate_bag_splits(n_train=8, n_dev=8, n_test=8)
    with pytest.raises(DataError, match=r"holds bags, and .* reads texts"):
        judged(model, {**bags, "test": splits["test"]}, out=out)
    with pytest.raises(DataError, match=r"default tokens \[tial\];"):
        judged(model, splits, tokens=(HEAD, "[tial]"), out=out)
    assert not list(out.glob("cells/*"))


def test_what_cannot_be_checked_is_refused(order: tuple[Model, Splits]) -> None:
    model, splits = order
    with pytest.raises(DataError, match="no split 'dev'"):
        judged(model, {"train": splits["train"], "test": splits["test"]})
    with pytest.raises(DataError, match="must not have seen"):
        judged(model, {**splits, "test": splits["train"]})
    one = splits["test"].select([r for r in splits["test"] if r.label == 1])
    with pytest.raises(DataError, match="of class"):
        judged(model, {**splits, "test": one})
    bare = splits["dev"].select([replace(r, label=None) for r in splits["dev"]])
    with pytest.raises(DataError, match="label"):
        judged(model, {**splits, "dev": bare})
    with pytest.raises(ValueError, match="count"):
        JudgeSettings(count=0)


def test_pictures_are_tables_and_intervals_of_the_findings(relies: Path) -> None:
    result = open_audit(relies)
    assert list(result.pictures) == ["leak", "weights_only", "swaps", "gap"]
    for check in ("leak", "gap"):
        figure = result.pictures[check][0]
        assert isinstance(figure, Figure)
        known = [e for e in finding(result.report, check).estimates if e.statistic == "accuracy"]
        assert {row.label for row in figure.chart.rows} <= {e.subject for e in known}
    titles = [block.title for block in result.pictures["leak"]]
    assert "Weight on default tokens" in titles
    for blocks in result.pictures.values():
        assert isinstance(blocks[-1], Table)
        assert blocks[-1].folded
