"""Families of transformers: the cut is the unmodified model, at every layer; others are refused."""

from __future__ import annotations

import warnings

import pytest
import torch

from attnaudit.errors import ModelError
from attnaudit.models.transformer.families import verified, whole_layer
from attnaudit.models.transformer.model import TransformerModel
from tests.tiny_families import kind_of, records_of, small_model

KNOWN = verified()[1]
GOOD = [row.family for row in KNOWN if not row.refused]
REFUSED = [row.family for row in KNOWN if row.refused]
ALTERNATIVES = 3


def test_the_list_of_families_holds_what_is_promised():
    registry = [row for row in KNOWN if not row.refused and "plain" not in row.modes[:1]]
    assert len(GOOD) >= 50
    assert len(registry) >= 40
    assert len([row for row in KNOWN if not row.refused and set(row.modes) == {"plain"}]) >= 10
    assert all(row.gap is not None and row.gap <= 1e-6 for row in KNOWN if not row.refused)


@pytest.mark.parametrize("family", GOOD)
def test_every_layer_is_exact_and_other_weights_are_what_plain_copies_give(family):
    warnings.simplefilter("ignore")
    model, tokenizer = small_model(family)
    cut = TransformerModel(model, tokenizer, name=family)
    records = records_of(kind_of(family))
    for layer in sorted({site.layer for site in cut.sites()}):
        at = cut.at(whole_layer(layer))
        found = at.verify(records)
        assert found.gap <= 1e-6, (layer, at.cut.mode, found)
        batch = at.collate(records)
        states = at.encode(batch)
        own = at.attend(states)
        draws = torch.rand(len(batch), ALTERNATIVES, own.shape[1]) * batch.units.unsqueeze(1)
        held = own * ~batch.units
        free = (own * batch.units).sum(1).view(-1, 1, 1)
        total = draws.sum(-1, keepdim=True).clamp(min=1e-9)
        other = held.unsqueeze(1) + draws / total * free
        fast = at.decode(states, other)
        whole = plain(at)
        slow = whole.decode(whole.encode(batch), other)
        assert float((fast.exp() - slow.exp()).abs().max()) <= 2e-6, (layer, at.cut.mode)


def plain(model: TransformerModel) -> TransformerModel:
    """The same site, decoded by running everything again."""
    import copy
    import dataclasses

    other = copy.copy(model)
    other.cut = dataclasses.replace(model.cut, mode="plain", small=False)
    return other


@pytest.mark.parametrize("family", [f for f in REFUSED if f not in ("canine", "mamba", "ibert")])
def test_others_are_refused_by_name(family):
    warnings.simplefilter("ignore")
    try:
        model, tokenizer = small_model(family)
    # a configuration this small is not possible in every family
    except Exception:
        pytest.skip(f"no small model of {family} can be made")
    with pytest.raises(ModelError, match=r".{30}"):
        TransformerModel(model, tokenizer, name=family)
