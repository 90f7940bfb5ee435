"""A model trained to hide what it uses (Pruthi et al. 2020) must be caught; an honest one not."""

from collections.abc import Callable

import pytest
import torch

from attnaudit import api
from attnaudit.data.generated.reviews import generate_review_splits
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings
from attnaudit.nets.text.classifier import Pass
from attnaudit.nets.text.inputs import Inputs
from attnaudit.training.guidance import hide_evidence, show_evidence
from attnaudit.training.options import TrainOptions
from attnaudit.training.result import Trained
from attnaudit.training.text import Penalty
from attnaudit.training.train import train

LAMBDA = 1.0
FAST = Settings(costly_limit=200, resamples=500)


@pytest.fixture(scope="module")
def splits() -> dict[str, Dataset]:
    return generate_review_splits(n_train=2000, n_dev=300, n_test=400, seed=1)


def trained(splits: dict[str, Dataset], steer: Callable[..., Penalty]) -> Trained:
    penalty = steer(splits["train"].records, LAMBDA)
    return train(
        splits,
        hidden=32,
        embedding_dim=50,
        penalty=penalty,
        progress=False,
        options=TrainOptions(epochs=5, seed=1, learning_rate=2e-3),
    )


def test_a_deceptive_model_is_caught(splits: dict[str, Dataset]) -> None:
    liar = trained(splits, hide_evidence)
    audit = api.audit(liar.model, splits["test"], settings=FAST, progress=False)
    found = {f.check: f for f in audit.findings if f.subject == "weights"}
    assert audit.report.performance.verdict is Verdict.PASS
    assert found["ground_truth"].verdict is Verdict.FAIL
    assert audit.verdict is Verdict.FAIL
    # without known evidence it must be caught all the same
    blind = api.audit(
        liar.model,
        splits["test"],
        settings=FAST,
        progress=False,
        checks=("effect", "permutation", "adversary", "erasure"),
    )
    assert blind.verdict is Verdict.FAIL


def test_an_honest_model_may_show_its_weights(splits: dict[str, Dataset]) -> None:
    honest = trained(splits, show_evidence)
    audit = api.audit(honest.model, splits["test"], settings=FAST, progress=False)
    found = {f.check: f for f in audit.findings if f.subject == "weights"}
    assert found["ground_truth"].verdict is Verdict.PASS
    assert audit.verdict is Verdict.PASS, audit.report.judgement


def test_an_untrained_model_is_not_good_enough(splits: dict[str, Dataset]) -> None:
    options = TrainOptions(epochs=1, learning_rate=1e-9)
    raw = train(splits, hidden=8, embedding_dim=8, options=options, progress=False)
    audit = api.audit(raw.model, splits["test"], settings=FAST, progress=False)
    assert audit.verdict is Verdict.NOT_APPLICABLE
    assert "not good enough to audit" in audit.report.judgement.headline


def test_guidance_is_the_stated_loss() -> None:
    records = [text_record("a", "x y z", truth=[1, 0, 1]), text_record("b", "x y", truth=[0, 0])]
    units = torch.tensor([[False, True, True, False, False], [False, True, True, True, False]])
    weights = torch.tensor([[0.0, 0.5, 0.5, 0.0, 0.0], [0.0, 0.2, 0.5, 0.3, 0.0]])
    rows = torch.tensor([1, 0])
    zeros = torch.zeros(2, 5, 1)
    inputs = Inputs(zeros, units, units)
    passed = Pass(inputs, zeros, zeros, {}, weights, zeros[:, 0])
    assert float(hide_evidence(records, 2.0)(passed, rows)) == pytest.approx(
        -2 * torch.log(torch.tensor(0.5)).item()
    )
    assert float(show_evidence(records)(passed, rows)) == pytest.approx(
        -torch.log(torch.tensor(0.5)).item()
    )
    with pytest.raises(DataError, match="'c'"):
        hide_evidence([text_record("c", "x")])
