"""What the cut carries: blocks of alternatives, sinks, targets, own outputs, verification."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attnaudit.audits.run import run_audit
from attnaudit.data.bags.records import bag_record
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.data.records import Dataset, Text
from attnaudit.errors import ModelError, NotApplicable
from attnaudit.evidence.batch.erasing import measure_erasure
from attnaudit.evidence.batch.view import View
from attnaudit.findings.settings import Settings
from attnaudit.measures.adversary_search import search_adversary_autograd
from attnaudit.measures.seeded import permuted
from attnaudit.models.bags.model import BagModel
from attnaudit.models.cut import Batch, LinearDecode, Model, States
from attnaudit.models.encoded import Encoded, at_once
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.selective.model import new_selective
from attnaudit.models.text.model import TextClassifier
from attnaudit.nets.bags.classifier import BagConfig, new_bag_net
from attnaudit.nets.selective.net import SelectiveConfig
from attnaudit.nets.text.classifier import ClassifierConfig
from attnaudit.nets.text.vocabulary import build_vocabulary
from attnaudit.training.text import new_net
from tests.toys import WORDS, dataset, reader, sentences


class Marked(Model):
    """Attention pooling over a marker and the words: the marker holds weight and is no unit."""

    def __init__(self, *, linear: bool = False, keeps: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.name, self.classes = "marked", ("neg", "pos", "both")
        self.table = torch.randn(len(WORDS) + 2, 6, generator=generator)
        self.query = torch.randn(6, generator=generator)
        self.head = torch.randn(3, 6, generator=generator)
        self.table[1] = self.query / 2  # so that the marker holds much
        self.has_linear, self.keeps, self.decoded = linear, keeps, 0

    def collate(self, records: Sequence[Text]) -> Batch:
        length = 1 + max(len(record.units) for record in records)
        inputs = torch.zeros(len(records), length, dtype=torch.long)
        for row, record in enumerate(records):
            ids = [1, *(2 + WORDS.index(unit) for unit in record.units)]
            inputs[row, : len(ids)] = torch.tensor(ids)
        return Batch(tuple(r.id for r in records), inputs, inputs > 0, inputs > 1)

    def encode(self, batch: Batch) -> States:
        states = States(self.table[batch.inputs], batch.units, sinks=batch.present & ~batch.units)
        if not self.keeps:
            return states
        return replace(states, outputs=self._decode(states, self.attend(states)))

    def attend(self, states: States) -> Tensor:
        energies = (states.hidden @ self.query).masked_fill(~states.attendable, -torch.inf)
        return torch.softmax(energies, -1)

    def decode(self, states: States, weights: Tensor) -> Tensor:
        self.decoded += 1
        return self._decode(states, weights)

    def _decode(self, states: States, weights: Tensor) -> Tensor:
        pooled = torch.einsum("b...t,bth->b...h", weights, states.hidden)
        return torch.log_softmax(pooled @ self.head.T, -1)

    def linear(self, states: States) -> LinearDecode | None:
        form = LinearDecode(states.hidden @ self.head.T, torch.zeros(3))
        return form if self.has_linear else None

    def fingerprint(self) -> str:
        return "marked"


def encoded_by(model: Model, count: int = 5, **options: int) -> Encoded:
    return Encoded(model, model.collate(sentences(count)), **options)


def orders(encoded: Encoded, count: int) -> Tensor:
    return permuted(encoded.weights, encoded.batch.ids, encoded.units, count, 0, "test")


@pytest.mark.parametrize("deep", [False, True])
def test_blocks_give_what_one_pass_gives(deep: bool) -> None:
    model = reader(deep=deep)
    whole = encoded_by(model)
    several = orders(whole, 50)
    with torch.no_grad():
        for budget in (1, 2_000, 10**9):
            found = encoded_by(model, budget=budget).decode(several)
            torch.testing.assert_close(found, whole.decode(several), atol=1e-6, rtol=0)


def test_no_pass_holds_more_than_the_budget() -> None:
    model = reader(deep=True)
    seen: list[int] = []
    inner = model.decode

    def counting(states: States, weights: Tensor) -> Tensor:
        seen.append(weights.numel() // weights.shape[-1] * model.decode_size(states))
        return inner(states, weights)

    encoded = encoded_by(model, budget=3_000)
    for several in (orders(encoded, 7), orders(encoded, 700)):
        encoded.outputs  # noqa: B018  its pass is not one of alternatives
        model.decode, seen[:] = counting, []  # type: ignore[method-assign]
        with torch.no_grad():
            encoded.decode(several)
        model.decode = inner  # type: ignore[method-assign]
        assert max(seen) <= 3_000
    assert len(seen) == -(-700 // at_once(model, encoded.states, 3_000))


def test_what_makes_weights_sees_one_block_at_a_time() -> None:
    encoded = encoded_by(reader(deep=True), budget=1_000)
    erase = torch.rand(5, 40, encoded.units.shape[1]) < 0.3
    step, widths = at_once(encoded.model, encoded.states, 1_000), []

    def kept(part: Tensor) -> Tensor:
        widths.append(part.shape[1])
        return encoded.weights.unsqueeze(1) * ~part

    with torch.no_grad():
        found = encoded.decode(erase, kept)
        torch.testing.assert_close(found, encoded.decode(encoded.weights.unsqueeze(1) * ~erase))
    assert max(widths) == step < 40
    assert sum(widths) == 40


def test_gradients_through_blocks_are_those_of_one_pass() -> None:
    results = []
    for budget in (500, 10**9):
        encoded = encoded_by(reader(deep=True), budget=budget)
        noise = torch.randn(
            5, 6, encoded.units.shape[1], generator=torch.Generator().manual_seed(0)
        )
        results.append(
            search_adversary_autograd(
                encoded.decode, encoded.weights, encoded.units, noise=noise, candidates=6, steps=5
            )
        )
    torch.testing.assert_close(results[0].weights, results[1].weights, atol=1e-5, rtol=0)


def test_a_budget_changes_no_check() -> None:
    records, settings = sentences(6), Settings(permutations=20)
    columns = []
    for budget in (300, 10**9):
        encoded = encoded_by(reader(deep=True), 6, budget=budget)
        view = View(encoded, list(records), settings, torch.ones(6).bool().numpy(), None)
        columns.append(measure_erasure(view))
    for name, values in columns[0].items():
        torch.testing.assert_close(
            torch.tensor(values), torch.tensor(columns[1][name]), equal_nan=True, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("linear", [False, True])
def test_sinks_hold_their_weight_whatever_the_units_get(linear: bool) -> None:
    model = Marked(linear=linear)
    encoded = encoded_by(model)
    own = model.attend(encoded.states)
    torch.testing.assert_close(encoded.sink_mass, own[:, 0])
    assert (encoded.sink_mass > 0.01).all()
    assert (encoded.weights[:, 0] == 0).all()
    torch.testing.assert_close(encoded.weights.sum(1), torch.ones(5))
    torch.testing.assert_close(encoded.decode(encoded.weights), model.decode(encoded.states, own))
    several = orders(encoded, 4)
    placed = several * (1 - own[:, :1]).unsqueeze(1)
    placed[..., 0] = own[:, :1]
    expected = model.decode(encoded.states, placed)
    torch.testing.assert_close(encoded.decode(several), expected)
    torch.testing.assert_close(encoded.decode(several[:, 0]), expected[:, 0])


def test_every_check_runs_beside_sinks_and_pooling_has_none() -> None:
    records = tuple(replace(record, label=0) for record in sentences(30, shortest=3))
    data = Dataset("toy", records, ("neg", "pos", "both"))
    result = run_audit(Marked(), data, Settings(permutations=10, search_steps=5))
    tried = {finding.check for finding in result.report.findings}
    assert {"permutation", "adversary", "erasure"} <= tried
    assert (encoded_by(reader()).sink_mass == 0).all()


def test_weight_on_padding_is_refused_beside_sinks() -> None:
    model = Marked()
    model.attend = lambda states: torch.full(states.units.shape, 1 / 13)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"no unit|sum to 1"):
        encoded_by(model).weights  # noqa: B018


def test_outputs_that_encoding_gives_are_not_computed_again() -> None:
    plain, keeps = Marked(), Marked(keeps=True)
    one, other = encoded_by(plain), encoded_by(keeps)
    assert torch.equal(one.outputs, other.outputs)
    assert (plain.decoded, keeps.decoded) == (1, 0)


def test_what_is_explained_is_the_predicted_class_unless_the_model_names_another() -> None:
    model = reader(classes=3)
    encoded = encoded_by(model)
    assert torch.equal(encoded.targets, encoded.predicted)
    assert model.target_name(1) == model.classes[1]
    last = copy.copy(model)
    last.targets = lambda batch, outputs: torch.full((len(batch),), 2)  # type: ignore[method-assign]
    chosen = encoded_by(last)
    assert torch.equal(chosen.predicted, encoded.predicted)
    torch.testing.assert_close(chosen.of_target(chosen.outputs), chosen.probabilities[:, 2])


def text_model(encoder: str = "bilstm", seed: int = 0) -> TextClassifier:
    words = build_vocabulary(sentences(40))
    config = ClassifierConfig(("neg", "pos"), encoder, hidden=8, embedding_dim=6)
    return TextClassifier(new_net(config, len(words), seed), words)


def bag_model(pool: str) -> BagModel:
    return BagModel(new_bag_net(BagConfig(("no", "yes"), (2,), "mlp", pool, hidden=8), 0))


def selective(downstream: str) -> Model:
    words = build_vocabulary(sentences(40))
    config = SelectiveConfig(("neg", "pos"), mask="hard", k=2, downstream=downstream, hidden=8)
    return new_selective(config, words, seed=0)


@pytest.mark.parametrize(
    "model",
    [
        text_model("bilstm"),
        text_model("cnn"),
        Ensemble([text_model(seed=0), text_model(seed=1)]),
        selective("pool"),
        selective("cnn"),
        bag_model("gated"),
        bag_model("transmil"),
    ],
    ids=lambda model: model.name,
)
def test_the_cut_is_the_unmodified_model(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    bags = [bag_record(f"b{i}", torch.randn(i + 1, 2, generator=generator)) for i in range(9)]
    records = {TEXTS: sentences(20), BAGS: bags}[model.kind]
    verified = model.verify(records, budget=30)
    assert verified.same
    assert verified.instances == len(records)
    assert verified.gap < 1e-5


def test_a_wrong_cut_is_told_of() -> None:
    right = reader()
    net = right.module

    def whole(ids: Tensor, present: Tensor) -> Tensor:
        hidden = net.states(net.table(ids), present)
        return net.head(torch.einsum("bt,bth->bh", net.weights(hidden, present), hidden))

    right._whole = whole
    assert right.verify(dataset(20)).same
    # a cut that forgets what the module does to long texts
    right._whole = lambda ids, present: (
        whole(ids, present) + 5.0 * torch.tensor([0, 1.0]) * (present.sum(1, keepdim=True) > 8)
    )
    verified = right.verify(dataset(20))
    long = {record.id for record in dataset(20) if len(record.units) > 8}
    assert set(verified.differ) == long
    assert not verified.same
    assert verified.gap > verified.tolerance
    with pytest.raises(NotApplicable, match="wrapped without `whole`"):
        reader().verify(dataset(3))


def test_a_broken_model_does_not_verify() -> None:
    model = text_model()
    assert isinstance(model.net, nn.Module)
    whole = model.whole
    model.whole = lambda batch: whole(batch) * torch.nan  # type: ignore[method-assign]
    assert not model.verify(sentences(3)).same
