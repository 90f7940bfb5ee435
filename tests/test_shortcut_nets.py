"""Mask laws, the tasks on which weights may tell the label, and networks with mask generators."""

import collections
import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnaudit.data.generated import shortcut_tasks as tasks
from attnaudit.data.records import Dataset
from attnaudit.data.sources.resolve import load_data
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.models.load import load
from attnaudit.models.selective.model import SelectiveModel, new_selective, selective_vocabulary
from attnaudit.nets.selective.mask_laws import MaskLaw, draw_masks, hard_masks
from attnaudit.nets.selective.net import DOWNSTREAMS, TEMPERATURE, SelectiveConfig

RECORDS = [
    text_record("a", "a very good film indeed", 1),
    text_record("b", "Bad", 0),
    text_record("c", "words that nobody knows here", 0),
    text_record("d", "", 1),
]
KINDS = list(itertools.product(DOWNSTREAMS, (None, 2)))


def model(downstream="pool", k=None, seed=0, question=False, records=RECORDS[:2], **options):
    config = SelectiveConfig(
        ("neg", "pos"), downstream, "hard" if k else "soft", k, 5, 6, question, **options
    )
    made = new_selective(config, selective_vocabulary(records), seed)
    made.net.double()
    return made


@settings(deadline=None)
@given(
    units=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5),
    law=st.sampled_from([MaskLaw(), MaskLaw(sigma=0.0), MaskLaw("hard", 1), MaskLaw("hard", 4)]),
    seed=st.integers(0, 1000),
)
def test_masks_are_distributions_over_the_units(units, law, seed):
    units = torch.tensor(units)
    masks = draw_masks(units, law, torch.Generator().manual_seed(seed))
    assert (masks >= 0).all()
    assert (masks[~units] == 0).all()
    torch.testing.assert_close(masks.sum(1), units.any(1).float())
    assert torch.equal(masks, draw_masks(units, law, torch.Generator().manual_seed(seed)))
    counts = units.sum(1)
    if law.kind == "hard":
        assert torch.equal((masks > 0).sum(1), counts.clamp(max=law.k))
        assert len(torch.unique(masks[counts >= law.k])) <= 2
    elif law.sigma == 0:
        torch.testing.assert_close(masks, units / counts.clamp(min=1).unsqueeze(1))


def test_hard_masks_are_uniform_subsets():
    units = torch.tensor([[False, True, True, True, True]]).expand(6000, -1)
    masks = draw_masks(units, MaskLaw("hard", 2), torch.Generator().manual_seed(0))
    counts = collections.Counter(tuple(row.nonzero().flatten().tolist()) for row in masks)
    assert set(counts) == set(itertools.combinations((1, 2, 3, 4), 2))
    # each of six is binomial(6000, 1/6) with standard deviation 29
    assert all(abs(count - 1000) < 5 * 29 for count in counts.values())


def test_soft_masks_range_from_flat_to_peaked():
    units = torch.ones(4000, 6, dtype=torch.bool)
    largest = draw_masks(units, MaskLaw(), torch.Generator().manual_seed(0)).amax(1)
    assert largest.min() < 0.2
    assert largest.max() > 0.99
    assert 0.1 < (largest > 0.9).float().mean() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "firm"}, "no masks are called 'firm'"),
        ({"kind": "hard"}, "k is None"),
        ({"kind": "hard", "k": 0}, "k is 0"),
        ({"k": 3}, "leave out k=3"),
        ({"sigma": -1.0}, "sigma is -1.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
    ],
)
def test_laws_that_are_none(options, message):
    with pytest.raises(SettingsError, match=message):
        MaskLaw(**options)


def polarity(unit):
    return (unit in tasks.PRAISE) - (unit in tasks.BLAME)


@pytest.mark.parametrize("name", ["bow", "order"])
def test_the_label_is_what_the_truth_says(name):
    make = tasks.generate_bow_splits if name == "bow" else tasks.generate_order_splits
    splits = make(300, 40, 100, seed=3)
    texts = [record.text for data in splits.values() for record in data]
    assert len(set(texts)) == len(texts) == 440
    for record in splits["train"]:
        evidence = [u for u, true in zip(record.units, record.truth, strict=True) if true]
        said = [polarity(unit) for unit in evidence]
        assert 0 not in said
        assert record.label == int((sum(said) if name == "bow" else said[0]) > 0)
        others = [u for u, true in zip(record.units, record.truth, strict=True) if not true]
        assert not any(map(polarity, others))
        assert (record.units[0], record.units[-1]) == (tasks.HEAD, tasks.TAIL)
        assert [record.text[a:b] for a, b in record.offsets] == list(record.units)
    assert splits["test"].class_counts == {"negative": 50, "positive": 50}
    again = make(300, 40, 100, seed=3)["train"].fingerprint
    assert again == splits["train"].fingerprint != make(300, 40, 100)["train"].fingerprint


def test_in_the_order_task_both_labels_have_the_same_words():
    data = tasks.generate_order_splits(2000, 2, 2)["train"]
    for place in (tasks.PRAISE, tasks.BLAME):
        by_label = [
            collections.Counter(u for r in data if r.label == label for u in r.units if u in place)
            for label in (0, 1)
        ]
        assert [sum(counts.values()) for counts in by_label] == [1000, 1000]


@pytest.mark.parametrize("name", ["bow", "order"])
def test_the_tasks_have_names(name):
    data = load_data(name, split="dev")
    assert (len(data), data.classes, data.has_truth) == (500, ("negative", "positive"), True)


def test_default_tokens_around_and_alone():
    data = Dataset("demo", (text_record("x", "Fine film.", 1, (True, False, False)),), ("n", "p"))
    around = tasks.with_defaults(data, "<h>", "<t>").records[0]
    assert around.units == ("<h>", "Fine", "film", ".", "<t>")
    assert around.truth == (False, True, False, False, False)
    assert [around.text[a:b] for a, b in around.offsets] == list(around.units)
    alone = tasks.only_defaults(data, 3)
    (record,) = alone.records
    assert record.units == tasks.default_tokens(3)
    assert (record.question_units, record.label, record.truth) == (("Fine", "film", "."), 1, None)
    assert alone.has_questions
    for bad in ("", "two words"):
        with pytest.raises(SettingsError, match="is no token"):
            tasks.with_defaults(data, bad)
    with pytest.raises(SettingsError, match="k is 0"):
        tasks.only_defaults(data, 0)


@pytest.mark.parametrize(("downstream", "k"), KINDS)
def test_the_cut_of_a_selective_model(downstream, k):
    audited = model(downstream, k)
    batch = audited.collate(RECORDS)
    states = audited.encode(batch)
    weights = audited.attend(states)
    assert (weights[~batch.units] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1, 1, 0]).double())
    if k:
        assert sorted(weights[0].tolist())[-2:] == [0.5, 0.5]
    outputs = audited.forward(batch)
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(4).double())
    # nothing but the masked vectors is seen: alone, padded, and among other candidates
    torch.testing.assert_close(audited.forward(audited.collate(RECORDS[:1]))[0], outputs[0])
    equal = batch.units.double() / batch.units.sum(1, keepdim=True).clamp(min=1)
    both = audited.decode(states, torch.stack([weights, equal], 1))
    torch.testing.assert_close(both[:, 0], outputs)
    torch.testing.assert_close(both[:, 1], audited.decode(states, equal))
    assert audited.linear(states) is None


def test_what_gets_no_weight_is_not_seen():
    audited = model("rnn", 2)
    batch = audited.collate(RECORDS)
    states = audited.encode(batch)
    weights = audited.attend(states)
    other = states.hidden.clone()
    other[weights == 0] = 9.0
    changed = type(states)(other, states.units, states.extra)
    assert torch.equal(audited.decode(changed, weights), audited.decode(states, weights))


def test_the_pooled_decoder_is_an_mlp_of_the_weighted_sum():
    audited = model("pool")
    states = audited.encode(audited.collate(RECORDS))
    weights = audited.attend(states)
    pooled = torch.einsum("bl,ble->be", weights, states.hidden)
    torch.testing.assert_close(
        audited.decode(states, weights), audited.net.downstream.head(pooled).log_softmax(-1)
    )


def test_hard_samples_are_the_largest_of_k_concrete_draws():
    audited = model(k=2)
    states = audited.encode(audited.collate(RECORDS))
    logits, units = states.extra["logits"], states.units
    drawn = audited.sample(states, torch.Generator().manual_seed(4))
    uniform = torch.rand(2, *logits.shape, generator=torch.Generator().manual_seed(4)).double()
    expected = torch.zeros_like(logits)
    for row, count in enumerate(units.sum(1).tolist()):
        for noise in uniform if count else ():
            noisy = (logits[row] - (-noise[row].log()).log())[units[row]] / TEMPERATURE
            here = expected[row, units[row]]
            expected[row, units[row]] = torch.maximum(here, noisy.softmax(0))
        expected[row] /= max(1, min(2, count))
    torch.testing.assert_close(drawn, expected)
    soft = model()
    states = soft.encode(soft.collate(RECORDS))
    assert torch.equal(soft.sample(states, torch.Generator()), soft.attend(states))


@pytest.mark.parametrize("downstream", DOWNSTREAMS)
def test_gradients_against_finite_differences(downstream):
    audited = model(downstream)
    batch = audited.collate(RECORDS[:2])
    embedded = audited.embed(batch).requires_grad_()
    plain = audited.encode(batch)
    again = audited.encode_embedded(batch, embedded)
    torch.testing.assert_close(again.hidden, plain.hidden)
    torch.testing.assert_close(again.extra["logits"], plain.extra["logits"])

    def outputs(vectors):
        states = audited.encode_embedded(batch, vectors)
        return audited.decode(states, audited.attend(states))

    assert torch.autograd.gradcheck(outputs, embedded, atol=1e-6)


def test_the_question_moves_the_weights_and_is_not_seen_behind_them():
    data = tasks.only_defaults(Dataset("demo", tuple(RECORDS[:3]), ("neg", "pos")), 4)
    audited = model("cnn", question=True, records=data.records)
    states = audited.encode(audited.collate(data.records))
    weights = audited.attend(states)
    assert not torch.allclose(weights[0], weights[1])
    assert torch.equal(states.hidden[0], states.hidden[1])
    equal = states.units.double() / states.units.sum(1, keepdim=True)
    outputs = audited.decode(states, equal)
    torch.testing.assert_close(outputs[0], outputs[1])
    with pytest.raises(DataError, match="has no question"):
        audited.collate(RECORDS)


@pytest.mark.parametrize(("downstream", "k"), KINDS)
def test_saved_and_loaded(tmp_path, downstream, k):
    audited = model(downstream, k)
    audited.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, SelectiveModel)
    assert again.fingerprint() == audited.fingerprint() != model(downstream, k, 1).fingerprint()
    batch = audited.collate(RECORDS)
    torch.testing.assert_close(again.forward(batch), audited.forward(batch), atol=1e-6, rtol=1e-5)
    assert again.name == audited.name


def test_a_damaged_model_is_refused(tmp_path):
    audited = model()
    audited.save(tmp_path)
    header = json.loads((tmp_path / "config.json").read_text())
    for change, message in (({"downstream": "mlp"}, "mlp"), ({"hidden": 7}, "hidden|shape")):
        changed = {**header, "config": {**header["config"], **change}}
        (tmp_path / "config.json").write_text(json.dumps(changed))
        with pytest.raises(ModelError, match=message):
            load(tmp_path)
    audited.net.downstream.head[1].bias.data[0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        SelectiveModel(audited.net, audited.vocabulary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"downstream": "mlp"}, "downstream 'mlp' is unknown"),
        ({"mask": "firm"}, "mask 'firm' is unknown"),
        ({"mask": "hard"}, "k is None"),
        ({"k": 2}, "leave out k=2"),
        ({"hidden": 0}, "hidden is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"classes": ("one",)}, "two or more"),
    ],
)
def test_configurations_that_are_none(options, message):
    with pytest.raises(SettingsError, match=message):
        SelectiveConfig(**{"classes": ("neg", "pos"), **options})


def test_ties_go_to_the_left():
    units = torch.tensor([[True, True, True]])
    assert hard_masks(torch.zeros(1, 3), units, 2).tolist() == [[0.5, 0.5, 0.0]]
