"""Batches under a budget, and wrapped models that break their promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import ModelError, NotApplicable
from attnaudit.models.batches import groups, with_backoff
from attnaudit.models.wrapped.model import wrap
from tests.toys import reader, sentences


@given(st.lists(st.integers(0, 50), max_size=40).map(sorted), st.integers(1, 200))
def test_groups_cover_all_and_keep_the_budget(lengths: list[int], budget: int) -> None:
    parts = list(groups(lengths, budget))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in parts:
        size = part.stop - part.start
        assert size == 1 or max(1, max(lengths[part])) * size <= budget


def test_out_of_memory_halves_the_work_and_keeps_the_order() -> None:
    tried = []

    def work(items: list) -> list[str]:
        tried.append(len(items))
        if len(items) > 3:
            raise torch.OutOfMemoryError("no memory")
        return [item.id for item in items]

    records = sentences(10)
    assert with_backoff(work, records) == [r.id for r in records]
    assert tried[0] == 10
    assert max(tried[1:]) < 10

    def never(items: list) -> list[str]:
        raise MemoryError

    with pytest.raises(ModelError, match="single instance"):
        with_backoff(never, records[:2])


def wrapped(**changes: object):
    table, scorer, head = nn.Embedding(10, 4), nn.Linear(4, 1), nn.Linear(4, 2)
    options: dict = {
        "classes": ("neg", "pos"),
        "tokenize": lambda units: [1] * len(units),
        "embed": table,
        "encode": lambda vectors, present: vectors,
        "attend": lambda h, units: torch.softmax(
            scorer(h).squeeze(-1).masked_fill(~units, -1e9), -1
        ),
        "decode": head,
    }
    return wrap(nn.ModuleList([table, scorer, head]), **{**options, **changes})


def test_a_tokenizer_must_give_one_id_a_unit() -> None:
    model = wrapped(tokenize=lambda units: [1])
    with pytest.raises(ModelError, match="exactly one id per unit"):
        model.collate([text_record("a", "two words")])


def test_class_names_must_fit_the_head() -> None:
    model = wrapped(classes=("a", "b", "c"))
    with pytest.raises(ModelError, match="2 logits, but 3 classes"):
        model.forward(model.collate(sentences(2)))


@pytest.mark.usefixtures("unchecked")
def test_nan_parameters_are_refused_by_name() -> None:
    module = nn.Linear(2, 2)
    module.weight.data[0, 0] = torch.nan
    with pytest.raises(ModelError, match="'weight'"):
        wrap(module, classes=("a", "b"), tokenize=list, encode=None, attend=None, decode=module)


def test_without_embeddings_there_are_no_gradients() -> None:
    model = wrapped(embed=None, encode=lambda ids, present: ids.unsqueeze(-1).repeat(1, 1, 4) / 9)
    with pytest.raises(NotApplicable, match="without `embed`"):
        model.embed(model.collate(sentences(2)))


def test_the_linear_form_is_the_head() -> None:
    for classes, one in ((2, False), (2, True), (3, False)):
        model = reader(classes, one_logit=one)
        states = model.encode(model.collate(sentences(5)))
        weights = model.attend(states)
        three = torch.stack([weights, weights.flip(1) * states.units, weights * 0.5], 1)
        linear = model.linear(states)
        torch.testing.assert_close(linear(weights), model.decode(states, weights))
        torch.testing.assert_close(linear(three), model.decode(states, three))


def test_equal_parameters_have_equal_fingerprints() -> None:
    assert reader(seed=1).fingerprint() == reader(seed=1).fingerprint()
    assert reader(seed=1).fingerprint() != reader(seed=2).fingerprint()
