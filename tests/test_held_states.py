"""What is trained or judged above a transformer whose states are held."""

import copy

import numpy as np
import pytest
import torch

from attnaudit.data.bag_generated import generate_bags
from attnaudit.data.splits import split_dataset
from attnaudit.data.tokens import text_record
from attnaudit.errors import DataError
from attnaudit.models.held_states import HeldStates, texts_of
from attnaudit.models.load import load
from attnaudit.models.pretrained import PretrainedClassifier, pooling_config
from attnaudit.models.seen import read_held_out
from attnaudit.nets.mask_laws import MaskLaw
from attnaudit.nets.pretrained import FrozenTransformer
from attnaudit.nets.pretrained_load import load_transformer
from attnaudit.nets.training import new_net
from attnaudit.shortcuts import check
from attnaudit.shortcuts.fitting import fit_decoder
from attnaudit.shortcuts.options import FitOptions
from attnaudit.shortcuts.parts import copy_of
from attnaudit.shortcuts.reading import read
from attnaudit.shortcuts.settings import ShortcutSettings
from tests.terminal import run
from tests.toys import dataset

pytest.importorskip("transformers", reason="the extra `transformers` is absent")

from tests.tiny_transformers import tiny

DATA = dataset(90)
SMALL = ShortcutSettings(
    permutations=100, trees=5, resamples=100, judges=1, judge_epochs=2, judge_draws=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [record.text for record in DATA]
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
    options = FitOptions(epochs=1, batch_size=16)
    slow = fit_decoder(model, train, dev, MaskLaw("hard", k=99), options)
    quick = fit_decoder(HeldStates(model, DATA.records), train, dev, MaskLaw("hard", k=99), options)
    for one, two in zip(slow.model.net.parameters(), quick.model.net.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_the_shortcut_check_reads_each_text_once(model, monkeypatch):
    splits = split_dataset(DATA, (0.5, 0.2, 0.3))
    passes = []
    forward = FrozenTransformer.forward

    def counted(self, embedded, *rest):
        passes.append(len(embedded))
        return forward(self, embedded, *rest)

    monkeypatch.setattr(FrozenTransformer, "forward", counted)
    report = check.audit_shortcuts(model, splits, SMALL)
    assert sum(passes) == len({record.units for record in DATA})
    assert report.fingerprint == model.fingerprint()
    assert report.model == model.name


def test_a_bag_is_no_text():
    with pytest.raises(DataError, match="bags among the records"):
        texts_of([*DATA.records, generate_bags("presence", "gaussian", 2).bags[0]])


@pytest.mark.parametrize("remedy", ["random_pretraining", "instance_weighting"])
def test_a_remedy_above_a_transformer_is_one_flag(folder, tmp_path, remedy):
    path, out = tmp_path / "data.csv", tmp_path / "model"
    rows = [f"{record.text},{DATA.classes[record.label]}" for record in DATA]
    path.write_text("\n".join(["text,label", *rows]))
    flags = ("--encoder", str(folder), "--remedy", remedy, "--epochs", "2", "--out", str(out))
    said = run("train", str(path), *flags)
    assert "dev accuracy" in said
    found = load(out)
    test = read_held_out(found.trained_on, DATA.classes)
    assert np.isfinite(read(found, test).log_probabilities).all()
