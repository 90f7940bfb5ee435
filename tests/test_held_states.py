"""What is trained or judged above a transformer whose states are held."""

import copy

import numpy as np
import pytest
import torch

from attnaudit.data.bags.generated import generate_bags
from attnaudit.data.records import Dataset, Text
from attnaudit.data.splits import split_dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError
from attnaudit.evidence.contract import Design
from attnaudit.evidence.judges.cells import Judging
from attnaudit.evidence.judges.reading import read
from attnaudit.findings.settings import JudgeSettings, Settings
from attnaudit.models.load import load
from attnaudit.models.pretrained.held import HeldStates, texts_of
from attnaudit.models.pretrained.model import PretrainedClassifier, pooling_config
from attnaudit.models.seen import read_held_out
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.nets.selective.mask_laws import MaskLaw
from attnaudit.remedies import REMEDIES
from attnaudit.runs.execute import run_cells
from attnaudit.runs.inputs import holding
from attnaudit.runs.store import Store
from attnaudit.training.fitting import fit_decoder
from attnaudit.training.options import options_for
from attnaudit.training.parts import copy_of
from attnaudit.training.text import new_net, train_above
from attnaudit.training.train import train
from tests.terminal import run
from tests.toys import dataset

pytest.importorskip("transformers", reason="the extra `transformers` is absent")

from tests.tiny_transformers import tiny

DATA = dataset(90)
SMALL = JudgeSettings(permutations=100, trees=5, resamples=100, count=1, epochs=2, draws=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [record.text for record in DATA] + ["can not wontgo want to go dont don t"] * 3
    return tiny("bert", tmp_path_factory.mktemp("bert"), texts=texts, vocabulary=80, positions=60)


@pytest.fixture(scope="module")
def model(folder):
    encoder = load_transformer(folder, layer=1)
    return PretrainedClassifier(encoder, new_net(pooling_config(encoder, DATA.classes), None, 0))


def test_held_states_are_those_of_the_transformer(model):
    held = HeldStates(model, DATA.records)
    one, two = read(model, DATA), read(held, DATA)
    for mine, other in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    np.testing.assert_allclose(one.log_probabilities, two.log_probabilities, atol=1e-5)
    assert held.fingerprint() == model.fingerprint()
    copied = copy_of(held)
    assert copied.states is held.states
    assert copy.deepcopy(held).net is not held.net
    with pytest.raises(DataError, match="'new' is none of those"):
        held.collate([text_record("new", "something else")])
    with pytest.raises(DataError, match="at least one record"):
        held.collate([])


def test_the_same_decoder_is_trained_as_with_the_transformer_in_the_loop(model):
    splits = split_dataset(DATA, (0.7, 0.3, 0.0))
    train, dev = splits["train"], splits["dev"]
    # masks are drawn for every position, markers too: the second epoch has other batches
    options = options_for("selector", epochs=1, batch_size=16)
    slow = fit_decoder(model, train, dev, MaskLaw("hard", k=99), options)
    quick = fit_decoder(HeldStates(model, DATA.records), train, dev, MaskLaw("hard", k=99), options)
    for one, two in zip(slow.model.net.parameters(), quick.model.net.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def read_by(module, work):
    """How many rows pass through a module during some work, and what the work gives."""
    rows = []
    hook = module.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        found = work()
    finally:
        hook.remove()
    return sum(rows), found


def judged(model, folder, judges=SMALL):
    """Run the cells of the judges alone: their records, by name."""
    splits, settings = split_dataset(DATA, (0.5, 0.2, 0.3)), Settings(judges=judges)
    with holding(model, model.fingerprint()) as held, holding(splits, "splits") as parts:
        design = Design(settings, held, None, parts)
        asked = {"gap": Judging(judges=True)}
        store = Store(folder, "audit")
        done = run_cells(Judging.cells(design, asked), store)
        assert Judging.gather(design, asked, store, done)["gap"].judged is not None
    return done.records


def test_judges_read_each_text_once(model, tmp_path):
    passes, records = read_by(model.encoder, lambda: judged(model, tmp_path))
    assert passes == len({record.units for record in DATA})
    assert records["judge 1"].spec["model"] == model.fingerprint()


def test_a_bag_is_no_text():
    with pytest.raises(DataError, match="bags among the records"):
        texts_of([*DATA.records, generate_bags("presence", "gaussian", 2).bags[0]])


def test_the_spaces_between_units_are_read_too(folder):
    encoder = load_transformer(folder, layer=1)
    net = new_net(pooling_config(encoder, DATA.classes), None, 0)
    model = PretrainedClassifier(encoder, net)
    apart = Text("a", "can not go", ("can", "not", "go"), ((0, 3), (4, 7), (8, 10)))
    joined = Text("b", "cannot go", ("can", "not", "go"), ((0, 3), (3, 6), (7, 9)))
    both = Dataset("both", (apart, joined), DATA.classes)
    held = HeldStates(model, both.records)
    np.testing.assert_allclose(
        read(model, both).log_probabilities, read(held, both).log_probabilities, atol=1e-5
    )


def test_texts_without_words_are_read_as_the_model_reads_them(model):
    empty = Dataset("empty", (text_record("e", ""), text_record("f", "")), DATA.classes)
    held = HeldStates(model, [*empty.records, DATA.records[0]])
    np.testing.assert_allclose(
        read(model, empty).log_probabilities, read(held, empty).log_probabilities, atol=1e-5
    )


def test_a_limit_on_training_records_is_one_on_encoded_texts(model, tmp_path):
    splits = split_dataset(DATA, (0.5, 0.2, 0.3))
    few = SMALL.model_copy(update={"train_limit": 10})
    passes, records = read_by(model.encoder, lambda: judged(model, tmp_path, few))
    others = {record.units for name in ("dev", "test") for record in splits[name]}
    assert len(others) <= passes <= len(others) + 10
    assert records["weights on train"].facts == {"records": 10}


def test_a_model_of_ones_own_making_is_asked_itself(model, tmp_path):
    class Own(PretrainedClassifier):
        def attend(self, states):
            first = states.units.long().cumsum(1) == 1
            return (first & states.units).to(states.hidden)

    own = Own(model.encoder, model.net)
    passes, _ = read_by(own.encoder, lambda: judged(own, tmp_path))
    assert passes > len(DATA)


@pytest.mark.parametrize("remedy", ["random_pretraining", "instance_weighting"])
def test_a_remedy_above_a_transformer_is_one_flag(folder, tmp_path, remedy):
    path = tmp_path / "data.csv"
    rows = [f"{record.text},{DATA.classes[record.label]}" for record in DATA]
    path.write_text("\n".join(["text,label", *rows]))
    flags = ("--encoder", str(folder), "--epochs", "2")
    said = run("train", str(path), *flags, "--remedy", remedy, "--out", str(tmp_path / "remedied"))
    run("train", str(path), *flags, "--out", str(tmp_path / "usual"))
    # only a refit is judged by its loss
    assert "dev loss" in said
    assert ("instance weights of the epoch kept" in said) == (remedy == "instance_weighting")
    found, usual = load(tmp_path / "remedied"), load(tmp_path / "usual")
    assert found.fingerprint() != usual.fingerprint()
    test = read_held_out(found.trained_on, DATA.classes)
    assert np.isfinite(read(found, test).log_probabilities).all()


def test_one_class_cannot_be_refitted(folder):
    encoder = load_transformer(folder, layer=1)
    one = DATA.select([record for record in DATA if record.label])
    refit = REMEDIES["instance_weighting"].refit
    with pytest.raises(DataError, match="are of class"):
        train_above({"train": one, "dev": DATA}, encoder, refit=refit)
    with pytest.raises(DataError, match="are of class"):
        train({"train": one, "dev": DATA}, encoder="average", refit=refit, progress=False)
