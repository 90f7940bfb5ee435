"""A user's functions are tried on the first texts: what breaks the cut is refused by name."""

import re

import pytest
import torch
from torch import nn

from attnaudit import explain
from attnaudit.audits.run import run_audit
from attnaudit.errors import ModelError
from attnaudit.models.self_check import kind_of_outputs
from attnaudit.models.wrapped.model import WrappedModel, wrap
from tests.test_audit_run import FAST
from tests.toys import dataset, reader, sentences

TEXT = "w1 w2 w3 w4 w5 w6"


def weights_of(hidden: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    return torch.softmax(hidden[..., 0].masked_fill(~units, -1e9), -1) * units


def wrapped(outputs: int = 2, **changes) -> WrappedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        table, head = nn.Embedding(60, 6), nn.Linear(6, outputs)
    options = {
        "classes": ("neg", "pos") if outputs < 3 else tuple("abcdef"[:outputs]),
        "tokenize": lambda units: [1 + sum(map(ord, unit)) % 50 for unit in units],
        "embed": table,
        "encode": lambda vectors, present: vectors.tanh(),
        "attend": weights_of,
        "decode": head,
    }
    given = {name: make(head) if name == "decode" else make for name, make in changes.items()}
    return wrap(nn.ModuleList([table, head]), **{**options, **given})


def mixed(vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return vectors - vectors.mean(0, keepdim=True)


def reads_padding(vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    return vectors + vectors.mean(1, keepdim=True)


BROKEN = {
    "dropout": (
        {"encode": lambda v, p: nn.functional.dropout(v.tanh(), 0.5)},
        "two passes over the same text",
    ),
    "mixed rows": ({"encode": mixed}, "alone and in a batch"),
    "padding": ({"encode": reads_padding}, "padding changes"),
    "states": ({"encode": lambda v, p: v.sum(-1)}, "encode gave states of shape"),
    "one axis more": (
        {"attend": lambda h, u: weights_of(h, u).unsqueeze(-1)},
        "attend gave weights of shape",
    ),
    "sums": ({"attend": lambda h, u: weights_of(h, u) * 2}, "does not sum to 1"),
    "softmax": ({"decode": lambda head: lambda z: head(z).softmax(-1)}, "must give logits or log"),
    "sigmoids": ({"decode": lambda head: lambda z: head(z).sigmoid()}, "must give logits, but"),
    "logarithm of a sigmoid": (
        {"outputs": 1, "decode": lambda head: lambda z: nn.functional.logsigmoid(head(z))},
        "as the logarithm of a sigmoid does",
    ),
    "one axis less": (
        {"outputs": 1, "decode": lambda head: lambda z: head(z).squeeze(-1)},
        "keep the last axis",
    ),
    "whole numbers": (
        {"decode": lambda head: lambda z: (head(z) * 10).long()},
        "decode gave torch.int64",
    ),
    "a tuple": ({"attend": lambda h, u: (weights_of(h, u), h)}, "attend gave a tuple"),
    "ids": ({"tokenize": lambda units: [1.5 for _ in units]}, "whole numbers"),
    "ids beyond the table": ({"tokenize": lambda units: [99 for _ in units]}, "fails on the first"),
    "one sigmoid": (
        {"decode": lambda head: lambda z: (head(z)[..., 1:] - head(z)[..., :1]).sigmoid()},
        "must give logits, but",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BROKEN)
def test_broken_functions_are_refused_by_every_verb(name: str) -> None:
    changes, says = BROKEN[name]
    with pytest.raises(ModelError, match=re.escape(says)):
        explain(wrapped(**changes), TEXT, tokenizer="whitespace")
    with pytest.raises(ModelError, match=re.escape(says)):
        run_audit(wrapped(**changes), dataset(10), FAST)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("gives", ["logits", "log-probabilities"])
def test_what_decode_gives_is_found_and_changes_nothing(outputs: int, gives: str) -> None:
    if outputs == 1 and gives != "logits":
        pytest.skip("one output is a logit")
    plain = wrapped(outputs)
    model = plain
    if gives != "logits":
        model = wrapped(outputs, decode=lambda head: lambda z: head(z).log_softmax(-1))
    batch = model.collate(sentences(5))
    assert model.gives == gives
    torch.testing.assert_close(model.forward(batch), plain.forward(batch))


@pytest.mark.parametrize("outputs", [1, 2])
def test_logits_that_lie_between_0_and_1_are_logits(outputs: int) -> None:
    # of these texts no logit leaves [0, 1]: the weights are small and the bias is .5
    model = wrapped(outputs)
    head = model.module[1]
    head.weight.data *= 0.01
    head.bias.data.fill_(0.5)
    batch = model.collate(sentences(5))
    states = model.encode(batch)
    seen = head(torch.einsum("bt,bth->bh", model.attend(states), states.hidden))
    assert ((seen > 0) & (seen < 1)).all()
    assert model.gives == "logits"


def test_an_untrained_head_of_zeros_is_a_head_of_logits() -> None:
    assert kind_of_outputs(torch.full((40, 1), 0.5), "net") == "logits"
    with pytest.raises(ModelError, match="sums to 1"):
        kind_of_outputs(torch.full((40, 2), 0.5), "net")


def test_the_functions_are_tried_once_and_texts_without_units_do_not_count() -> None:
    calls = []

    def encode(vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        calls.append(len(vectors))
        return vectors.tanh()

    model = wrapped(encode=encode)
    model.collate(sentences(1, shortest=1, longest=1))
    after_one = len(calls)
    assert after_one > 0
    model.collate(sentences(8))
    assert len(calls) == after_one


def test_a_model_with_a_longest_length_reads_texts_of_that_length() -> None:
    places = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))

    def encode(vectors: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return vectors + places[torch.arange(vectors.shape[1])]

    found = explain(wrapped(encode=encode), TEXT, tokenizer="whitespace")
    assert len(found.units) == 6
    with pytest.raises(ModelError, match="padding changes"):
        wrapped(encode=reads_padding).collate(sentences(5, shortest=4, longest=4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_outputs_and_weights_of_another_precision_are_read(dtype: torch.dtype) -> None:
    plain = wrapped()
    model = wrapped(
        decode=lambda head: lambda z: head(z).to(dtype),
        attend=lambda h, u: weights_of(h, u).double(),
    )
    records = sentences(5)
    assert model.forward(model.collate(records)).dtype == torch.float32
    torch.testing.assert_close(
        model.forward(model.collate(records)),
        plain.forward(plain.collate(records)),
        atol=1e-5 if dtype == torch.float64 else 1e-2,
        rtol=0,
    )
    assert run_audit(model, dataset(10), FAST).report.findings


def test_models_that_keep_to_it_pass() -> None:
    for model in (reader(), reader(3), reader(one_logit=True), reader(deep=True)):
        model.collate(sentences(9))
        assert model.gives == "logits"
