"""Masks that neutral judges learn on: what they favour, and that they know nothing of a label."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.records import Dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.evidence.judges.judge import Lesson, said_by_judge
from attnaudit.evidence.judges.judge_masks import LEAST, mixed_masks, salience_of, salient_masks
from attnaudit.evidence.judges.reading import Reading, read
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.models.selective.model import new_selective, selective_vocabulary
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.training.fitting import fit_jointly
from attnaudit.training.options import options_for

WORDS = "abcdef"


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    """Weights of some short texts."""
    texts = draw(st.lists(st.text(WORDS, min_size=1, max_size=6), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    records = tuple(text_record(f"r{i}", " ".join(text)) for i, text in enumerate(texts))
    rows = tuple(rng.dirichlet(np.ones(len(text))) for text in texts)
    return Reading(Dataset("made", records, ()), rows, np.zeros((len(rows), 2)))


@settings(deadline=None)
@given(readings())
def test_the_salience_of_a_unit_is_its_mean_share_in_other_records(reading: Reading) -> None:
    salience = salience_of(reading)
    assert salience is not None
    pairs = list(zip(reading.data, reading.weights, strict=True))
    for record, row in pairs:
        for unit, logit in zip(record.units, salience.logits(record, len(row)), strict=True):
            shares = [
                weight * len(others)
                for other, others in pairs
                if other.units != record.units
                for word, weight in zip(other.units, others, strict=True)
                if word == unit
            ]
            wanted = max(np.mean(shares), LEAST) if shares else 1.0
            assert np.exp(logit) == pytest.approx(wanted, rel=1e-6)
    fresh = text_record("new", "a z")
    all_of_a = [w * len(r) for t, r in pairs for u, w in zip(t.units, r, strict=True) if u == "a"]
    known = max(np.mean(all_of_a), LEAST) if all_of_a else 1.0
    assert np.exp(salience.logits(fresh, 2)) == pytest.approx([known, 1.0], rel=1e-6)


@settings(deadline=None)
@given(readings(), st.integers(0, 5), st.integers(0, 1000))
def test_the_weights_of_a_record_say_nothing_of_its_own_masks(
    reading: Reading, which: int, seed: int
) -> None:
    which %= len(reading)
    rows = list(reading.weights)
    rows[which] = np.random.default_rng(seed).dirichlet(np.ones(len(rows[which])))
    other = Reading(reading.data, tuple(rows), reading.log_probabilities)
    one, two = salience_of(reading), salience_of(other)
    assert one is not None
    assert two is not None
    record, length = reading.data.records[which], len(rows[which])
    np.testing.assert_allclose(one.logits(record, length), two.logits(record, length), atol=1e-9)


def test_instances_of_bags_have_no_kind() -> None:
    bags = generate_bags("presence", "gaussian", 4)
    rows = tuple(np.full(len(bag), 1 / len(bag)) for bag in bags)
    assert salience_of(Reading(bags, rows, np.zeros((4, 2)))) is None


def test_hard_masks_favour_in_proportion() -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    units = torch.ones(8000, 5, dtype=torch.bool)
    units[:, 4] = False
    logits = torch.from_numpy(np.log([*shares, 9.0])).float().expand(8000, 5)
    masks = salient_masks(
        units, logits, torch.Generator().manual_seed(0), MaskLaw("hard", k=1), 0.0
    )
    assert masks[:, 4].sum() == 0
    assert chisquare(masks[:, :4].sum(0).numpy(), 8000 * shares).pvalue > 0.001
    two = salient_masks(units, logits, torch.Generator().manual_seed(0), MaskLaw("hard", k=2), 0.0)
    assert torch.equal((two > 0).sum(1), torch.full((8000,), 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000), st.sampled_from([MaskLaw(), MaskLaw("hard", k=2)]))
def test_mixed_masks_are_distributions(length: int, seed: int, law: MaskLaw) -> None:
    generator = torch.Generator().manual_seed(seed)
    units = torch.rand(20, length, generator=generator) < 0.7
    logits = torch.randn(20, length, generator=generator)
    for favour in (None, logits):
        masks = mixed_masks(units, generator, law, favour)
        assert (masks[~units] == 0).all()
        torch.testing.assert_close(masks.sum(1), units.any(1).float())


def rare(count: int, seed: int) -> Dataset:
    """Texts of 100 words, one of which is one of 120 that tell the label."""
    draw = random.Random(seed)
    records = []
    for i in range(count):
        words = [f"n{draw.randrange(100)}" for _ in range(100)]
        words[draw.randrange(100)] = f"{('neg', 'pos')[i % 2]}{draw.randrange(60)}"
        records.append(text_record(f"{seed}-{i}", " ".join(words), i % 2))
    return Dataset("rare", tuple(records), ("neg", "pos"))


def test_what_a_model_favours_elsewhere_teaches_judges_rare_evidence() -> None:
    splits = {"train": rare(1500, 0), "dev": rare(200, 1), "test": rare(400, 2)}
    config = SelectiveConfig(splits["train"].classes, hidden=16, embedding_dim=16)
    model = new_selective(config, selective_vocabulary(splits["train"].records), 0)
    fit = options_for("selector", epochs=8, batch_size=32, learning_rate=5e-3)
    model = fit_jointly(model, splits["train"], splits["dev"], fit).model
    readings = {name: read(model, data) for name, data in splits.items()}
    reading = readings["test"]
    assert np.mean(reading.predicted == reading.labels) > 0.85
    few = Settings(judges=JudgeSettings(draws=2, epochs=12))
    said = said_by_judge(Lesson(model, **readings, settings=few), 0)["own"]
    # judges that are told nothing of other texts guess: .505 where these have .95
    assert np.mean(said.argmax(1) == reading.labels) > 0.75


@settings(deadline=None)
@given(readings(), st.integers(0, 5), st.integers(0, 1000))
def test_a_copy_of_a_text_tells_nothing_of_its_label(
    reading: Reading, which: int, seed: int
) -> None:
    which %= len(reading)
    record = reading.data.records[which]
    alone = salience_of(reading)
    row = np.random.default_rng(seed).dirichlet(np.ones(len(record.units)))
    same = text_record("same", record.text)
    more = Dataset("more", (*reading.data.records, same), ())
    twice = salience_of(Reading(more, (*reading.weights, row), np.zeros((len(more), 2))))
    assert alone is not None
    assert twice is not None
    for some in (record, same, text_record("dev", record.text)):
        np.testing.assert_allclose(
            twice.logits(some, len(row)), alone.logits(record, len(row)), atol=1e-6
        )


def test_upper_and_lower_case_are_one_unit() -> None:
    texts = (text_record("a", "Good film"), text_record("b", "a good one"))
    rows = (np.array([0.9, 0.1]), np.full(3, 1 / 3))
    found = salience_of(Reading(Dataset("d", texts, ()), rows, np.zeros((2, 2))))
    assert found is not None
    assert np.exp(found.logits(texts[1], 3)) == pytest.approx([1.0, 1.8, 1.0])
