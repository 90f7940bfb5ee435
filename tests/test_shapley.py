"""Sampled Shapley values beside those summed over every subset."""

from __future__ import annotations

import random
from itertools import combinations
from math import factorial

import pytest
import torch
from benchmarks.proving.constructions import HAND

from attnaudit.attribution.contract import Options
from attnaudit.attribution.leave_one_out import deleted_outputs
from attnaudit.attribution.shapley import sampled_shapley, strata
from attnaudit.data.texts.tokens import text_record
from attnaudit.measures.odds import log_odds
from attnaudit.models.edits import delete
from attnaudit.models.encoded import Encoded
from tests.toys import WORDS, reader, sentences


def exact(model, record) -> torch.Tensor:
    """Over all subsets of 1 unit or more: the part of the empty text is left out of both."""
    n = len(record.units)
    batch = model.collate([record])
    target = Encoded(model, batch).targets

    def value(kept: tuple[int, ...]) -> float:
        drop = torch.ones(1, n, dtype=torch.bool)
        drop[0, list(kept)] = False
        outputs = Encoded(model, delete(batch, drop, model)).outputs
        return float(log_odds(outputs.double(), target))

    known = {s: value(s) for k in range(1, n + 1) for s in combinations(range(n), k)}
    result = torch.zeros(n, dtype=torch.float64)
    for unit in range(n):
        for subset, whole in known.items():
            if unit in subset and len(subset) > 1:
                rest = tuple(u for u in subset if u != unit)
                k = len(rest)
                weight = factorial(k) * factorial(n - k - 1) / factorial(n)
                result[unit] += weight * (whole - known[rest])
    return result


def test_the_mean_over_seeds_is_the_shapley_value():
    model = reader(scale=1.5)
    record = text_record("a", " ".join(WORDS[:7]))
    batch = model.collate([record])
    runs = torch.stack(
        [sampled_shapley(Encoded(model, batch), Options(seed=s)).scores[0] for s in range(60)]
    )
    # the mean over sizes of 2 and more is that over all but for the part of the empty text
    found, wanted = runs.mean(0), exact(model, record) * 7 / 6
    # strata stand for ranges of sizes, so that they agree in what they say and not to the digit
    assert torch.corrcoef(torch.stack([found, wanted]))[0, 1] > 0.97
    assert (found - wanted).abs().max() < 0.15 * wanted.abs().max()


def test_redundant_evidence_is_seen_where_leaving_one_out_is_blind():
    built = next(c for c in HAND if c.name == "repeated")
    case = built.make(0)
    records = list(case.data)[:30]
    encoded = Encoded(case.model, case.model.collate(records))
    truth = torch.zeros_like(encoded.units)
    for row, record in enumerate(records):
        truth[row, encoded.units[row]] = torch.tensor(record.truth)
    batch, every = encoded.batch, torch.arange(len(records))
    gone = Encoded(case.model, delete(batch, truth, case.model))
    alone = Encoded(case.model, delete(batch, encoded.units & ~truth, case.model))
    target = encoded.targets
    gain = log_odds(alone.outputs.double(), target) - log_odds(gone.outputs.double(), target)
    found = (sampled_shapley(encoded, Options()).scores * truth).sum(1)
    one, _ = deleted_odds(encoded, truth)
    assert (found[every] > 0.5 * gain).double().mean() > 0.9
    assert (one < 0.2 * gain).double().mean() > 0.9


def deleted_odds(encoded: Encoded, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The fall in log-odds without each unit, summed over the evidence, and alone."""
    gone = log_odds(deleted_outputs(encoded, 4096).double(), encoded.targets)
    fall = log_odds(encoded.outputs.double(), encoded.targets).unsqueeze(1) - gone
    return (fall * truth).nan_to_num().sum(1), fall


def test_scores_do_not_depend_on_the_batch():
    model, records = reader(), sentences(12, longest=15)
    together = sampled_shapley(Encoded(model, model.collate(records)), Options()).scores
    for row, record in enumerate(records):
        alone = sampled_shapley(Encoded(model, model.collate([record])), Options()).scores[0]
        assert torch.allclose(together[row, : len(record.units)], alone, atol=1e-4)


def test_texts_that_are_too_long_have_no_scores():
    model = reader()
    records = [text_record("long", " ".join(WORDS[:9])), text_record("short", WORDS[0])]
    scores = sampled_shapley(Encoded(model, model.collate(records)), Options(longest=5)).scores
    assert scores[0].isnan().all()
    assert scores[1].isfinite().all()


def test_strata_cover_all_sizes():
    draw = random.Random(0)
    for n in (1, 2, 3, *(draw.randint(4, 3000) for _ in range(30))):
        plan = strata(n)
        assert sum(share for *_, share in plan) == pytest.approx(1.0)
        assert plan[0][0] == max(2, n)
        assert all(size >= 2 and rounds >= 1 for size, rounds, _ in plan)
