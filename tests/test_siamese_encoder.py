"""The cut of a sentence encoder: every family, pooling and head, read and replaced at a layer."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.plain_siamese import side
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import DebertaV2Config, DebertaV2Model, T5Config, T5EncoderModel

from attnaudit.errors import DataError, ModelError, NotApplicable, SettingsError
from attnaudit.models.siamese.contributions import contributions
from attnaudit.models.siamese.encoder import PrecisionWarning, SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.jacobian import Path as Line
from attnaudit.models.siamese.jacobian import forward_parts, reverse_products
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.path import EVEN, Stretch
from attnaudit.models.siamese.reader import CutTextWarning
from attnaudit.models.siamese.references import REFERENCES, reference_of
from tests.tiny_siamese import dense, tiny_siamese
from tests.tiny_transformers import MORE_FAMILIES

TEXT = "not a good film but well made"
POOLINGS = ("mean", "cls", "weightedmean", "lasttoken", "mean_sqrt_len_tokens")


def exact(model: SentenceTransformer) -> SentenceTransformer:
    return model.double().eval()


def encoder_of(model: SentenceTransformer, layer: int = 0, **more: Any) -> SiameseEncoder:
    return SiameseEncoder(exact(model), layer, **more)


def reference(encoder: SiameseEncoder, name: str = "padding") -> Any:
    words = encoder.transformer.get_input_embeddings().weight.detach()
    return reference_of(name, encoder.tokenizer, words)


def line_of(encoder: SiameseEncoder, text: str = TEXT) -> Line:
    tokens = encoder.tokens([text])
    with encoder.ready():
        start, _ = encoder.states(tokens, reference(encoder))
        states, _ = encoder.states(tokens)
    return Line(tokens, start, states - start, [Stretch(0.5, 0.2)])


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("family", MORE_FAMILIES)
def test_parts_are_those_of_the_published_procedure(
    family: str, layer: int, tmp_path: Path
) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path, family), layer)
    line = line_of(encoder)
    kept = torch.tensor(line.tokens[0].special)
    ids = torch.tensor(line.tokens[0].ids)
    other = torch.where(kept, ids, reference(encoder).token)
    nodes = Stretch(0.5, 0.2).nodes(7)
    theirs = side(encoder.model, encoder.stack[layer], ids.tolist(), other.tolist(), nodes)
    expected = torch.einsum("dth,th->td", theirs.jacobian, theirs.step)
    with encoder.ready():
        forward = forward_parts(encoder, line, 7, 4096)[0]
        units = torch.eye(16, dtype=torch.float64)[None]
        reverse = reverse_products(encoder, line, 7, units, 4096)[0].T
    # these compute their norms or softmax in single precision, whatever the weights are in
    single = family in ("llama", "qwen3", "modernbert")
    close = {"rtol": 0.0, "atol": 2e-6} if single else {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(forward, expected, **close)
    torch.testing.assert_close(reverse, expected, **close)


@pytest.mark.parametrize("budget", [1, 40, 400])
def test_the_budget_changes_nothing(budget: int, tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    line = line_of(encoder)
    directions = torch.randn(1, 5, 16, dtype=torch.float64)
    with encoder.ready():
        for run in (
            lambda size: forward_parts(encoder, line, 9, size),
            lambda size: reverse_products(encoder, line, 9, directions, size),
        ):
            torch.testing.assert_close(run(budget), run(4096), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("head", [False, True])
def test_every_pooling_and_head_adds_up(pooling: str, head: bool, tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path, pooling=pooling, normalize=False)
    if head:
        model = SentenceTransformer(modules=[*model, dense(bias=True)], device="cpu")
    encoder = encoder_of(model)
    (found,) = contributions(
        encoder, encoder.tokens([TEXT]), reference=reference(encoder), tolerance=1e-4
    )
    own = model.encode([TEXT], convert_to_tensor=True)[0]
    torch.testing.assert_close(found.embedding, own.double(), rtol=1e-6, atol=1e-7)
    missed = found.embedding - found.reference - found.parts.sum(0)
    assert found.reached
    assert float(missed.norm() / own.norm()) == pytest.approx(found.error, abs=1e-6)
    assert found.error <= 0.45e-4


def test_max_pooling_says_whether_it_reached_the_tolerance(tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path, pooling="max", normalize=False))
    (found,) = contributions(
        encoder, encoder.tokens([TEXT]), reference=reference(encoder), tolerance=1e-2
    )
    missed = found.embedding - found.reference - found.parts.sum(0)
    assert found.reached == (float(missed.norm() / found.embedding.norm()) <= 0.45e-2)


@pytest.mark.parametrize("name", [*REFERENCES, "film"])
def test_every_reference_is_where_the_path_starts(name: str, tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    given = reference(encoder, name)
    tokens = encoder.tokens([TEXT])
    table = encoder.transformer.get_input_embeddings().weight.detach()
    vector = given.vector if given.token is None else table[given.token]
    ids, kept = torch.tensor([tokens[0].ids]), torch.tensor(tokens[0].special)
    words = torch.where(kept[:, None], table[ids[0]], vector)
    expected = encoder.transformer(
        inputs_embeds=words[None], attention_mask=torch.ones_like(ids)
    ).last_hidden_state.mean(1)
    with encoder.ready():
        _, found = encoder.states(tokens, given)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_vector_of_ones_own_may_be_the_reference(tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    words = encoder.transformer.get_input_embeddings().weight.detach()
    given = reference_of(words[7].tolist(), encoder.tokenizer, words)
    by_id = reference(encoder, encoder.tokenizer.convert_ids_to_tokens(7).replace("##", ""))
    if by_id.token == 7:
        with encoder.ready():
            same = [encoder.states(encoder.tokens([TEXT]), one)[1] for one in (given, by_id)]
        torch.testing.assert_close(same[0], same[1])
    for wrong in ([1.0, 2.0], [float("nan")] * 16):
        with pytest.raises(SettingsError, match="16 finite numbers"):
            reference_of(wrong, encoder.tokenizer, words)
    with pytest.raises(SettingsError, match="none of padding"):
        reference_of("zebra crossing", encoder.tokenizer, words)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    config = model[0].auto_model.config
    kernel, before = config._attn_implementation, model.encode([TEXT])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    encoder = SiameseEncoder(model, 1)
    contributions(encoder, encoder.tokens([TEXT]), reference=reference(encoder))
    assert config._attn_implementation == kernel
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert (model.encode([TEXT]) == before).all()
    assert "forward" not in vars(encoder.stack[0])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_it_is_left_as_it_was_after_an_error(tmp_path: Path) -> None:
    encoder = SiameseEncoder(tiny_siamese(tmp_path), 1)
    encoder.parts["text"][-1].forward = lambda features: 1 / 0
    with pytest.raises(ZeroDivisionError), encoder.ready():
        encoder.tail(encoder.tokens([TEXT]), torch.zeros(1, dtype=torch.long))(
            torch.zeros(1, 9, 16)
        )
    assert "forward" not in vars(encoder.stack[0])
    assert not encoder.stack[1]._forward_pre_hooks


def test_offsets_point_into_the_text(tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    (tokens,) = encoder.tokens([TEXT])
    assert tokens.special[0]
    assert tokens.special[-1]
    assert "".join(tokens.shown[1:-1]) == TEXT.replace(" ", "")


def test_a_prompt_gets_no_attribution(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    encoder = encoder_of(model, prompt="never made: ")
    (tokens,) = encoder.tokens([TEXT])
    plain = encoder_of(model).tokens([TEXT])[0]
    assert [s for s in tokens.shown if s not in tokens.pieces] or tokens.offsets
    assert [
        o for o, special in zip(tokens.offsets, tokens.special, strict=True) if not special
    ] == [o for o, special in zip(plain.offsets, plain.special, strict=True) if not special]
    (found,) = contributions(encoder, [tokens], reference=reference(encoder), tolerance=1e-3)
    assert not found.parts[torch.tensor(tokens.special)].any()
    own = model.encode(["never made: " + TEXT], convert_to_tensor=True, normalize_embeddings=True)
    found_unit = found.embedding / found.embedding.norm()
    torch.testing.assert_close(found_unit, own[0].double(), rtol=1e-5, atol=1e-6)


def test_a_long_text_is_cut_with_a_warning(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    model.max_seq_length = 8
    encoder = encoder_of(model)
    with pytest.warns(CutTextWarning, match="no part in the score"):
        (tokens,) = encoder.tokens([TEXT + " never never boring"])
    assert len(tokens) == 8
    assert tokens.cut.endswith("boring")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.tokens(["a good film"])


@pytest.mark.parametrize("text", ["", "  ", 3])
def test_texts_that_hold_nothing_are_refused(text: Any, tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    with pytest.raises(DataError, match="text 0"):
        encoder.tokens([text])


def test_models_that_cannot_be_explained_say_why(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path / "good")
    with pytest.raises(SettingsError, match="from 0 to 1"):
        SiameseEncoder(model, 2)
    with pytest.raises(NotApplicable, match="no sentence-transformers model"):
        SiameseEncoder(nn.Linear(2, 2))
    model.similarity_fn_name = "euclidean"
    plain = SentenceTransformer(modules=list(model)[:-1], device="cpu")
    plain.similarity_fn_name = "euclidean"
    with pytest.raises(NotApplicable, match="euclidean"):
        SiameseEncoder(plain)
    assert SiameseEncoder(plain, kind="dot").kind == "dot"
    # of unit vectors too it is another score
    with pytest.raises(NotApplicable, match="euclidean"):
        SiameseEncoder(model)
    model.similarity_fn_name = "cosine"
    next(model.parameters()).data[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity"):
        SiameseEncoder(model)
    model[0].auto_model.save_pretrained(tmp_path / "bare")
    with pytest.raises(ModelError, match=r"modules\.json is absent"):
        load_siamese(tmp_path / "bare")
    with pytest.raises(ModelError, match="could be read"):
        load_siamese(tmp_path / "nowhere" / "at all")


def test_loading_gives_what_was_saved(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path / "model")
    model.save(str(tmp_path / "saved"))
    encoder = load_siamese(tmp_path / "saved", layer=1)
    assert (encoder.layers, encoder.layer, encoder.kind) == (2, 1, "cosine")
    assert (encoder.model.encode([TEXT]) == model.encode([TEXT])).all()
    assert encoder.fingerprint == load_siamese(model).fingerprint
    next(model.parameters()).data[0, 0] += 1
    assert encoder.fingerprint != SiameseEncoder(model).fingerprint


def test_modes_are_put_back_and_do_not_matter(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    wanted = PairExplainer(SiameseEncoder(model)).table(TEXT, "a good film")
    model.train()
    frozen = model[0].auto_model.embeddings.eval()
    table = PairExplainer(SiameseEncoder(model)).table(TEXT, "a good film")
    torch.testing.assert_close(table.values, wanted.values)
    assert model.training
    assert model[0].auto_model.encoder.training
    assert not frozen.training


def test_a_wrapper_of_a_layer_stays(tmp_path: Path) -> None:
    encoder = SiameseEncoder(tiny_siamese(tmp_path), 1)
    layer, calls = encoder.stack[0], []
    own = layer.forward
    layer.forward = lambda *args, **kwargs: (calls.append(1), own(*args, **kwargs))[1]
    mine = layer.forward
    PairExplainer(encoder).table(TEXT, "a good film")
    assert layer.forward is mine
    assert calls


@pytest.mark.parametrize("family", ["t5", "deberta"])
def test_layers_that_hand_on_more_than_states(family: str, tmp_path: Path) -> None:
    """T5 computes the bias of positions in its first layer; a skipped layer would lose it."""
    encoder = encoder_of(swapped(tiny_siamese(tmp_path), family), 1)
    tokens = encoder.tokens([TEXT])
    with encoder.ready():
        states, wanted = encoder.states(tokens)
        found = encoder.tail(tokens, torch.zeros(1, dtype=torch.long))(states)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    assert encoder._skips is (family != "t5")


def swapped(model: SentenceTransformer, family: str) -> SentenceTransformer:
    """The same tokenizer below another transformer with a strong bias of positions."""
    torch.manual_seed(0)
    size = len(model.tokenizer)
    other: nn.Module
    if family == "t5":
        config = T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        other = T5EncoderModel(config)
        other.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data *= 40
    else:
        other = DebertaV2Model(
            DebertaV2Config(
                vocab_size=size,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                relative_attention=True,
                pos_att_type=["p2c", "c2p"],
            )
        )
    (held,) = model[0]._modules
    setattr(model[0], held, other.eval())
    return model


def test_the_score_is_the_models_own(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    a, b = TEXT, "a good film"
    for change in ("nothing", "dot", "cut", "prompt"):
        kind = "dot" if change == "dot" else None
        if change == "cut":
            model.truncate_dim = 6
        if change == "prompt":
            model.prompts, model.default_prompt_name = {"all": "never made: "}, "all"
        own = model.encode([a, b], convert_to_tensor=True)
        score = float(own[0] @ own[1] if kind else model.similarity(own[:1], own[1:]))
        table = PairExplainer(SiameseEncoder(model, kind=kind)).table(a, b)  # type: ignore[arg-type]
        assert table.score == pytest.approx(score, abs=1e-5), change
        assert table.adds_up


def test_what_decides_an_embedding_is_in_the_fingerprint(tmp_path: Path) -> None:
    seen = set()
    for place, pooling in enumerate(("mean", "cls", "mean")):
        model = tiny_siamese(tmp_path / str(place), pooling=pooling)
        if place == 2:
            model.truncate_dim = 6
        seen.add(SiameseEncoder(model).fingerprint)
    assert len(seen) == 3


def test_a_text_of_the_references_own_tokens_adds_nothing(tmp_path: Path) -> None:
    encoder = encoder_of(tiny_siamese(tmp_path))
    table = PairExplainer(encoder).table(encoder.tokenizer.pad_token, TEXT)
    assert table.adds_up
    assert not table.pairs.any()


@pytest.mark.parametrize("text", ["a \ud800 b", "\u200b"])
def test_characters_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="text 0"):
        encoder_of(tiny_siamese(tmp_path)).tokens([text])


def test_half_precision_is_told(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path).to(torch.bfloat16)
    with pytest.warns(PrecisionWarning, match="float32"):
        encoder = SiameseEncoder(model)
    explainer = PairExplainer(encoder, tolerance=1e-5)
    table = explainer.table(TEXT, "a good film")
    assert not table.adds_up
    assert bool(table.values.isfinite().all())
    # what half precision cannot reach is not tried to the last number of nodes
    assert max(found.nodes for found in explainer.contributions([TEXT, "a good film"])) < 100


@pytest.mark.parametrize("wrong", [{"kind": "euclid"}, {"layer": 0.5}])
def test_options_that_are_none(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        SiameseEncoder(tiny_siamese(tmp_path), **wrong)


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    model = tiny_siamese(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        tables = list(
            pool.map(
                lambda layer: PairExplainer(SiameseEncoder(model, layer)).table(
                    TEXT, "a good film"
                ),
                [0, 1, 0, 1],
            )
        )
    torch.testing.assert_close(tables[0].values, tables[2].values)
    torch.testing.assert_close(tables[1].values, tables[3].values)


def test_an_even_rule_is_that_of_gauss_and_legendre() -> None:
    nodes, weights = EVEN.nodes(6)
    assert float((weights * nodes**11).sum()) == pytest.approx(1 / 12, rel=1e-12)
