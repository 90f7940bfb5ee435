"""A transformer as a model with the cut: what it reads, what it holds, and that it is put back."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

import attnaudit
from attnaudit.data.records import Begun, Dataset
from attnaudit.data.texts.tokens import pair_record, text_record
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.findings.findings import Verdict
from attnaudit.models.edits import delete
from attnaudit.models.encoded import Encoded
from attnaudit.models.matching import aligned
from attnaudit.models.transformer.heads import fitted_heads
from attnaudit.models.transformer.load import load_transformer_model
from attnaudit.models.transformer.model import TransformerModel
from attnaudit.models.transformer.options import Options
from attnaudit.models.transformer.reading import asked_about
from attnaudit.models.transformer.registry import installed
from attnaudit.models.transformer.site import Site, read_site
from tests.tiny_families import small_model
from tests.tiny_transformers import TEXTS, tokenizer_of

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
WORDS = ["a good film", "never boring", "a bad film", "nobody's acting", "good", "well-made"]


def bert(kind=BertForSequenceClassification, seed: int = 0, **more):
    tokenizer = tokenizer_of("bert", TEXTS)
    config = BertConfig(vocab_size=len(tokenizer), num_labels=more.pop("labels", 2), **SIZES)
    for name, value in more.items():
        setattr(config, name, value)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config)
        for parameter in model.parameters():
            parameter.data += 0.15 * torch.randn_like(parameter)
    return model.eval(), tokenizer


def llama(seed: int = 0):
    tokenizer = tokenizer_of("llama", TEXTS)
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_key_value_heads=2, **{**SIZES, "max_position_embeddings": 80}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            parameter.data += 0.15 * torch.randn_like(parameter)
    return model.eval(), tokenizer


@pytest.fixture(scope="module")
def cut() -> TransformerModel:
    return TransformerModel(*bert(), name="small bert")


@pytest.fixture(scope="module")
def records():
    return [text_record(str(i), text) for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize(
    ("text", "site"),
    [
        (None, Site()),
        ("", Site()),
        ("layer=2,head=1", Site(2, (1,))),
        ("head=3+0", Site(-1, (0, 3))),
        ("layer=-2, cross", Site(-2, None, True)),
    ],
)
def test_sites_are_read_as_people_write_them(text, site):
    assert read_site(text) == site


@pytest.mark.parametrize(
    ("text", "said"),
    [("layr=2", "did you mean 'layer'"), ("layer=x", "not a number"), ("2", "'2' is not known")],
)
def test_sites_that_cannot_be_read_say_so(text, said):
    with pytest.raises(SettingsError, match=said):
        read_site(text)


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (Site(3), r"layer 3 does not exist.*0 to 2"),
        (Site(0, (4,)), r"head 4 does not exist.*0 to 3"),
        (Site(cross=True), "no cross-attention"),
    ],
)
def test_sites_that_do_not_exist_say_what_there_is(cut, site, said):
    with pytest.raises(SettingsError, match=said):
        cut.at(site)


@pytest.mark.parametrize("site", [Site(), Site(0), Site(1, (2,)), Site(2, (0, 3))])
def test_weights_are_those_of_the_library_summed_to_words(cut, records, site):
    model, at = cut.model, cut.at(site)
    batch = at.collate(records)
    own = at.attend(at.encode(batch))
    for row, record in enumerate(records):
        words = list(record.units)
        pieces = at.reader.words([record])[0]
        ids = [*at.reader.words.prefix, *(i for p in pieces for i in p), *at.reader.words.suffix]
        with torch.no_grad(), installed(model, "eager"):
            said = model(torch.tensor([ids]), output_attentions=True)
        heads = list(site.heads or range(4))
        whole = said.attentions[site.layer][0, heads, 0].mean(0)
        sizes = [1, *map(len, pieces), 1]
        expected = torch.stack([part.sum() for part in whole.split(sizes)])
        assert torch.allclose(own[row, : len(sizes)], expected, atol=1e-6)
        assert len(words) == len(pieces)


def test_markers_keep_their_weight_and_it_is_reported(cut, records):
    encoded = Encoded(cut, cut.collate(records))
    own = encoded.own
    assert torch.allclose(encoded.sink_mass, (own * encoded.states.sinks).sum(1))
    assert bool((encoded.sink_mass > 0.05).all())
    assert torch.allclose(encoded.weights.sum(1), torch.ones(len(records)), atol=1e-5)
    assert torch.allclose(encoded.decode(encoded.weights), encoded.outputs, atol=1e-5)


def test_deletion_is_what_the_library_says_of_the_text_without_the_word(cut, records):
    batch = cut.collate(records)
    drop = torch.zeros_like(batch.units)
    drop[1, 3] = True
    said = cut.forward(delete(batch, drop, cut))[1].exp()
    pieces = cut.reader.words([records[1]])[0]
    kept = [i for place, part in enumerate(pieces) if place != 2 for i in part]
    ids = torch.tensor([[*cut.reader.words.prefix, *kept, *cut.reader.words.suffix]])
    with torch.no_grad():
        expected = cut.model(ids).logits.softmax(-1)[0]
    assert torch.allclose(said, expected, atol=1e-5)


def test_pairs_are_read_as_the_tokenizer_reads_them():
    model, tokenizer = bert()
    cut = TransformerModel(model, tokenizer, name="cross-encoder", question_first=False)
    record = pair_record("a", "a good film", "never boring")
    found = cut.verify([record])
    assert found.same
    # this tokenizer's template is for single texts: what stands between is what it puts there
    start, _, end = cut.reader.words.template(pair=False)
    assert (start, end) == (cut.reader.words.prefix, cut.reader.words.suffix)
    units = cut.collate([record]).units
    assert int(units.sum()) == 3


def test_everything_is_put_back_also_after_an_error(cut, records):
    model = cut.model
    before = model.config._attn_implementation_internal
    batch = cut.collate(records)
    states = cut.encode(batch)

    # those of the library itself stay
    hooks = sum(len(module._forward_hooks) for module in model.modules())

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle of a layer")

    handle = cut.stack.layers[-1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        cut.decode(states, cut.attend(states))
    with pytest.raises(RuntimeError, match="in the middle"):
        cut.encode(batch)
    handle.remove()
    assert model.config._attn_implementation_internal == before
    assert all("forward" not in layer.__dict__ for layer in cut.stack.layers)
    assert hooks == sum(len(module._forward_hooks) for module in model.modules())
    again = cut.decode(states, cut.attend(states))
    assert torch.allclose(again, states.outputs, atol=1e-5)


def test_threads_share_a_model(cut, records):
    batch = cut.collate(records)
    sites = [cut, cut.at(Site(0, (1,))), cut.at(Site(1)), cut.at(Site(2, (3,)))]
    states = [site.encode(batch) for site in sites]
    wanted = [
        s.decode(t, s.attend(t).roll(1, 1) * t.attendable)
        for s, t in zip(sites, states, strict=True)
    ]
    wrong: list[str] = []

    def work(number: int) -> None:
        site = sites[number]
        for _ in range(15):
            mine = site.encode(batch)
            found = site.decode(mine, site.attend(mine).roll(1, 1) * mine.attendable)
            if not torch.allclose(found, wanted[number], atol=1e-5):
                wrong.append(site.name)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(sites))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cut.model.config._attn_implementation_internal != "attnaudit"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**16), st.integers(2, 5), st.integers(2, 9))
def test_heads_have_the_mean_that_was_asked_for(seed, heads, units):
    draw = torch.Generator().manual_seed(seed)
    own = torch.rand(2, heads, units, generator=draw, dtype=torch.float64) + 1e-3
    own = own / own.sum(-1, keepdim=True) * torch.rand(2, heads, 1, generator=draw).double()
    asked = torch.rand(2, 3, units, generator=draw, dtype=torch.float64) + 1e-3
    asked = asked / asked.sum(-1, keepdim=True) * own.sum(-1).mean(1).view(-1, 1, 1)
    rows = fitted_heads(own, torch.cat([asked, own.mean(1, keepdim=True)], 1), 200)
    assert torch.allclose(rows[:, :3].mean(2), asked, atol=1e-8)
    assert torch.allclose(rows.sum(-1), own.sum(-1).unsqueeze(1).expand(-1, 4, -1), atol=1e-6)
    assert torch.allclose(rows[:, 3], own, atol=1e-8)


def test_a_masked_word_is_asked_about_and_cannot_be_erased():
    cut = TransformerModel(*bert(BertForMaskedLM), name="masked")
    record = asked_about(text_record("a", "not a good film"), 2)
    assert (record.units, record.asked) == (("not", "a", "film"), "good")
    batch = cut.collate([record])
    assert int(batch.units.sum()) == 3
    tokenizer = cut.reader.words.tokenizer
    ids = [*cut.reader.words.prefix]
    pieces = cut.reader.words([text_record("a", "not a good film")])[0]
    for place, part in enumerate(pieces):
        ids += [tokenizer.mask_token_id] if place == 2 else part
    at = len(cut.reader.words.prefix) + sum(map(len, pieces[:2]))
    with torch.no_grad():
        said = cut.model(torch.tensor([[*ids, *cut.reader.words.suffix]])).logits[0, at]
    assert batch.extra["candidates"][0].tolist() == said.topk(8).indices.tolist()
    own = torch.log_softmax(said[batch.extra["candidates"][0]], -1)
    assert torch.allclose(cut.forward(batch)[0], own, atol=1e-5)
    assert cut.verify([record]).same


def test_tokens_are_classified_one_at_a_time():
    cut = TransformerModel(*bert(BertForTokenClassification, labels=3), name="tags")
    record = cut.prepared(text_record("a", "not a good film"))
    assert len(record.units) == 3
    assert cut.verify([record]).same
    assert cut.forward(cut.collate([record])).shape == (1, 3)


def test_labels_that_do_not_exclude_each_other_need_a_name():
    model, tokenizer = bert(labels=3, problem_type="multi_label_classification")
    model.config.id2label = {0: "angry", 1: "glad", 2: "sad"}
    with pytest.raises(ModelError, match="angry, glad, sad"):
        TransformerModel(model, tokenizer)
    cut = TransformerModel(model, tokenizer, target="glad")
    assert cut.classes == ("not glad", "glad")
    batch = cut.collate([text_record("a", "a good film")])
    pieces = [i for p in cut.reader.words([text_record("a", "a good film")])[0] for i in p]
    ids = torch.tensor([[*cut.reader.words.prefix, *pieces, *cut.reader.words.suffix]])
    with torch.no_grad():
        expected = model(ids).logits.sigmoid()[0, 1]
    assert float(cut.forward(batch)[0, 1].exp()) == pytest.approx(float(expected), abs=1e-6)


def test_a_single_logit_is_a_class_and_regression_is_refused():
    cut = TransformerModel(*bert(labels=1), name="cross-encoder")
    assert len(cut.classes) == 2
    with pytest.raises(ModelError, match="regression"):
        TransformerModel(*bert(labels=1, problem_type="regression"))


def test_causal_models_are_cut_at_their_last_token(records):
    cut = TransformerModel(*llama(), name="small llama")
    assert cut.cut.mode == "tail"
    long = text_record("long", " ".join(["a good film never boring"] * 3))
    assert cut.verify([*records, long]).same
    one = text_record("one", "a")
    assert cut.verify([one]).same


def test_what_does_not_belong_together_is_refused():
    model, _ = bert()
    other = tokenizer_of(
        "llama", [*TEXTS, "many other words that no small model has ever seen"], 400
    )
    with pytest.raises(ModelError, match="do not belong together"):
        TransformerModel(model, other, name="mixed")
    with pytest.raises(ModelError, match="without its tokenizer"):
        attnaudit.audit(model, [{"text": "a", "label": 0}])


@pytest.mark.parametrize(
    "text", ["film " * 60, "", "שלום עולם", "ภาพยนตร์ดี", "良い映画でした", "[CLS] [SEP]", "👍🏽"]
)
def test_odd_texts_are_read_or_refused_in_words(cut, text):
    record = text_record("odd", text)
    if not record.units:
        return
    if len(record.units) > 50:
        with pytest.raises(DataError, match=r"'odd' with \d+ for instance.*--max-length"):
            cut.collate([record])
        return
    batch = cut.collate([record])
    assert int(batch.units.sum()) == len(record.units)
    assert torch.isfinite(cut.forward(batch)).all()


def test_training_mode_is_left(records):
    model, tokenizer = bert()
    model.train()
    cut = TransformerModel(model, tokenizer)
    batch = cut.collate(records)
    assert torch.equal(cut.forward(batch), cut.forward(batch))
    assert not model.training


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("transformer")
    model, tokenizer = bert(labels=2)
    model.config.id2label = {0: "NEGATIVE", 1: "POSITIVE"}
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def labelled(count: int = 36) -> Dataset:
    """Texts with labels that only resemble the model's."""
    texts = [f"{WORDS[k % 6]} {WORDS[(k // 6) % 6]}" for k in range(count)]
    texts = [text_record(f"t{k}", text, k % 2) for k, text in enumerate(texts)]
    return Dataset("toy", tuple(texts), ("negative", "positive"), "test")


SMALL = attnaudit.Settings(permutations=6, resamples=100, costly_limit=8, search_steps=5)


def test_a_folder_and_loaded_objects_give_the_same_audit(folder):
    by_name = attnaudit.audit(folder, labelled(), settings=SMALL, progress=False)
    loaded = load_transformer_model(folder)
    by_object = attnaudit.audit(
        loaded.model, labelled(), tokenizer=loaded.tokenizer, settings=SMALL, progress=False
    )
    for one, other in zip(by_name.findings, by_object.findings, strict=True):
        assert (one.check, one.verdict) == (other.check, other.verdict)
    assert {f.check for f in by_name.findings} >= {"reach", "effect", "permutation", "erasure"}
    assert by_name.report.plan.data.class_counts == {"NEGATIVE": 18, "POSITIVE": 18}


def test_a_site_that_does_nothing_is_not_applicable(folder):
    loaded = load_transformer_model(folder)
    layer = loaded.model.bert.encoder.layer[1].attention.output.dense
    layer.weight.data.zero_()
    found = attnaudit.audit(loaded.at(Site(1, (0,))), labelled(), settings=SMALL, progress=False)
    reach = next(f for f in found.findings if f.check == "reach")
    assert reach.verdict is Verdict.FAIL
    assert reach.headline.value == pytest.approx(0.0, abs=1e-6)
    assert found.verdict is Verdict.NOT_APPLICABLE
    gate = found.report.performance.verdict
    assert gate is Verdict.FAIL or "cannot move the output" in found.report.judgement.headline


def test_all_sites_and_the_ranking(folder, tmp_path):
    sites = attnaudit.audit(folder, labelled(12), checks="sites", settings=SMALL, progress=False)
    (finding,) = sites.findings
    assert "Of 12 heads" in finding.sentence
    assert len({e.subject for e in finding.estimates}) == 12
    ranking = attnaudit.audit(
        folder, labelled(12), checks="ranking", settings=SMALL, progress=False
    )
    (finding,) = ranking.findings
    named = {e.subject for e in finding.estimates if e.statistic == "explained"}
    assert {"rollout", "flow", "chefer", "alti", "value_zeroing", "lrp", "weights"} <= named
    ranking.to_html(tmp_path / "ranking.html")
    assert "attention rollout" in (tmp_path / "ranking.html").read_text()


def test_processes_load_the_model_themselves(folder, tmp_path):
    alone = attnaudit.audit(folder, labelled(), checks="reach", settings=SMALL, progress=False)
    several = attnaudit.audit(
        folder,
        labelled(),
        checks="reach",
        settings=SMALL.model_copy(update={"chunk": 12}),
        out=tmp_path / "run",
        workers=2,
        progress=False,
    )
    one, other = (a.findings[0].headline for a in (alone, several))
    assert one.value == pytest.approx(other.value, abs=1e-6)


def test_what_is_right_is_the_hidden_word_or_the_next_one():
    cut = TransformerModel(*bert(BertForMaskedLM), name="masked")
    record = asked_about(text_record("a", "not a good film"), 2)
    batch = cut.collate([record])
    (answer,) = cut.answers([record], batch)
    first = cut.reader.words([text_record("a", "not a good film")])[0][2][0]
    assert answer.said == "good"
    assert answer.right == (int(batch.extra["candidates"][0, 0]) == first)
    assert TransformerModel(*bert()).answers([record], batch) is None


def test_a_translation_is_cut_where_the_next_word_is_known():
    model, tokenizer = small_model("marian")
    cut = TransformerModel(model, tokenizer, name="marian")
    pair = pair_record("some id", "a good film", "never a bad film")
    begun = cut.prepared(pair)
    assert isinstance(begun, Begun)
    words = ("never", "a", "bad", "film")
    assert (*begun.question_units, begun.following) == words[: len(begun.question_units) + 1]
    assert cut.prepared(begun) == begun
    batch = cut.collate([begun])
    (answer,) = cut.answers([begun], batch)
    assert answer is None or answer.said == begun.following


def test_a_chunk_without_a_text_drawn_for_costly_work_is_measured_too(folder):
    few = SMALL.model_copy(update={"costly_limit": 1, "chunk": 12})
    found = attnaudit.audit(folder, labelled(), settings=few, progress=False)
    assert found.instances.height == 36
    assert found.instances["drawn"].sum() == 1


def test_two_tokens_are_a_contrast():
    model, tokenizer = llama()
    cut = TransformerModel(model, tokenizer, target="good|bad")
    assert cut.classes == ("good", "bad")
    record = text_record("a", "never a")
    batch = cut.collate([record])
    said = cut.forward(batch)[0].exp()
    with torch.no_grad():
        ids = cut.layout(batch).ids
        logits = model(ids).logits[0, -1][batch.extra["candidates"][0]]
    assert torch.allclose(said, logits.softmax(-1), atol=1e-5)
    assert cut.targets(batch, said[None]).tolist() == [0]
    assert cut.verify([record]).same
    for wrong in ("good", "good|good", "good|bad|boring"):
        with pytest.raises(SettingsError, match="target"):
            TransformerModel(model, tokenizer, target=wrong)


def test_what_could_run_code_is_not_loaded(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    for name, changes, said in (
        ("code", {"auto_map": {"AutoModel": "modeling.X"}}, "code of its own"),
        ("headless", {"architectures": ["BertModel"]}, "has no head"),
    ):
        place = tmp_path / name
        shutil.copytree(folder, place)
        (place / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ModelError, match=said):
            load_transformer_model(place)
    place = tmp_path / "pickle"
    shutil.copytree(folder, place)
    (place / "model.safetensors").rename(place / "pytorch_model.bin")
    with pytest.raises(ModelError, match="a pickle"):
        load_transformer_model(place)


def test_half_precision_is_verified_with_its_own_tolerance(folder):
    for dtype in ("bf16", "fp16"):
        cut = load_transformer_model(folder, Options(dtype=dtype))
        assert cut.verify([text_record("a", "not a good film")]).gap < 0.05
    with pytest.raises(SettingsError, match="fp32, bf16, fp16"):
        Options(dtype="int8")


def test_labels_that_resemble_the_models_are_said():
    model, tokenizer = bert()
    cut = TransformerModel(model, tokenizer)
    assert cut.classes == ("LABEL_0", "LABEL_1")
    found = aligned(labelled(4), cut)
    assert [record.label for record in found] == [0, 1, 0, 1]
    assert found.notes[-1].endswith("'negative' as 'LABEL_0', 'positive' as 'LABEL_1'")
    numbers = Dataset("n", labelled(4).records, ("1", "0"), "test")
    assert [record.label for record in aligned(numbers, cut)] == [1, 0, 1, 0]
    other = Dataset("n", labelled(4).records, ("red", "LABEL_1"), "test")
    with pytest.raises(DataError, match="'red', which is none of the model's classes"):
        aligned(other, cut)
