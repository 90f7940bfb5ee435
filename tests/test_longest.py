"""A bound on the length for which leave-one-out is computed."""

import pytest
import torch

from attnaudit import explain
from attnaudit.attribution import METHODS, Options
from attnaudit.audits.run import run_audit
from attnaudit.data.records import Dataset
from attnaudit.findings.settings import Settings
from attnaudit.models.encoded import Encoded
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.vocabulary import Vocabulary
from tests.toys import WORDS, labelled, reader, sentences


def test_rows_above_the_bound_are_nan_and_those_below_it_stay_what_they_are() -> None:
    model = reader()
    records = sentences(12)
    encoded = Encoded(model, model.collate(records))
    counts = encoded.units.sum(1)
    bound = int(counts.median())
    whole = METHODS["leave_one_out"].compute(encoded, Options()).scores
    bounded = METHODS["leave_one_out"].compute(encoded, Options(longest=bound)).scores
    long = counts > bound
    assert 0 < int(long.sum()) < len(records)
    assert bounded[long][encoded.units[long]].isnan().all()
    torch.testing.assert_close(bounded[~long], whole[~long])


def test_an_explanation_says_what_is_left_out_and_how_to_have_it() -> None:
    text = " ".join(WORDS[:9])
    short = explain(reader(), text, longest=8)
    assert "leave_one_out" not in short.scores
    assert "9 units" in short.left_out["leave_one_out"]
    assert "--longest" in short.left_out["leave_one_out"]
    assert set(short.scores) == {"weights", "gradient", "integrated_gradients"}
    assert "leave_one_out" in explain(reader(), text, longest=9).scores


def test_an_audit_counts_the_texts_that_it_left_out() -> None:
    records = tuple(labelled(reader(), sentences(40, shortest=2)))
    bound = max(len(r.units) for r in records) - 1
    long = sum(len(r.units) > bound for r in records)
    settings = Settings(
        checks=("agreement", "erasure"), resamples=200, permutations=20, longest=bound
    )
    data = Dataset("toy", records, ("neg", "pos"))
    result = run_audit(reader(), data, settings)
    assert long > 0
    said = [c for c in result.report.judgement.cautions if "leave-one-out" in c]
    assert any(c.startswith(f"{long} of the 40 texts have more than {bound} units") for c in said)
    free = run_audit(reader(), data, settings.model_copy(update={"longest": 1000}))

    def size(report, check: str, statistic: str, subject: str) -> int:
        found = next(f for f in report.findings if (f.check, f.subject) == (check, "weights"))
        return next(
            e.n
            for e in found.estimates
            if (e.statistic, e.subject) == (statistic, subject) and e.group in ("all", "delete")
        )

    for where in (
        ("agreement", "kendall_tau", "weights~leave_one_out"),
        ("erasure", "comprehensiveness", "leave_one_out"),
    ):
        assert size(free.report, *where) - size(result.report, *where) == long
    same = ("erasure", "comprehensiveness", "weights")
    assert size(free.report, *same) == size(result.report, *same)


@pytest.mark.parametrize(
    ("encoder", "left_out"), [("average", False), ("cnn", False), ("bilstm", True)]
)
def test_only_encoders_with_context_are_bounded(encoder: str, left_out: bool) -> None:
    config = ClassifierConfig(("neg", "pos"), encoder, "additive", hidden=8, embedding_dim=5)
    net = AttentionClassifier(config, 4 + len(WORDS))
    model = TextClassifier(net, Vocabulary(tuple(WORDS)))
    found = explain(model, " ".join(WORDS[:9]), longest=3)
    assert ("leave_one_out" in found.left_out) is left_out
    assert ("leave_one_out" in found.scores) is not left_out
