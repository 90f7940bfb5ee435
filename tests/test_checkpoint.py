"""Models on disk: what is written is read, and what is damaged is refused with its place."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import ModelError
from attnaudit.models.load import LOADERS, load
from attnaudit.models.text.model import TextClassifier, load_classifier
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.classifier import AttentionClassifier, ClassifierConfig
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.nets.text.vocabulary import Vocabulary

RECORDS = [text_record("r", "good film"), text_record("s", "a film that nobody knows")]


def model(encoder="bilstm", attention="additive", dtype=torch.float32):
    torch.manual_seed(0)
    config = ClassifierConfig(("neg", "pos"), encoder, attention, hidden=8, embedding_dim=5)
    vocabulary = Vocabulary(("good", "film", "été"), lowercase=False)
    net = AttentionClassifier(config, len(vocabulary)).to(dtype)
    return TextClassifier(net, vocabulary, "Kino – Nr. 1")


@pytest.fixture
def folder(tmp_path):
    model().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("attention", [a for a in ATTENTIONS if a != "given"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(tmp_path, encoder, attention, dtype):
    saved = model(encoder, attention, dtype)
    saved.save(tmp_path / "deep" / "folder")
    read = load(tmp_path / "deep" / "folder")
    assert isinstance(read, TextClassifier)
    assert (read.name, read.classes) == (saved.name, saved.classes)
    assert read.vocabulary == saved.vocabulary
    assert read.net.config == saved.net.config
    assert read.fingerprint() == saved.fingerprint()
    batch = saved.collate(RECORDS)
    state = read.net.state_dict()
    assert all(torch.equal(state[name], value) for name, value in saved.net.state_dict().items())
    # passes over parameters at other places in memory differ in the last bits
    torch.testing.assert_close(read.forward(batch), saved.forward(batch), atol=1e-6, rtol=1e-5)
    assert sorted(p.name for p in (tmp_path / "deep" / "folder").iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
        "vocabulary.json",
    ]


def test_saving_again_replaces(folder):
    other = model("cnn")
    before = load(str(folder)).fingerprint()
    with pytest.raises(ModelError, match="holds a model already"):
        other.save(folder)
    assert load(str(folder)).fingerprint() == before
    other.save(folder, overwrite=True)
    assert load(str(folder)).fingerprint() == other.fingerprint()


def test_a_model_is_returned_as_it_is():
    audited = model()
    assert load(audited) is audited


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_missing_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_classifier(folder)
    with pytest.raises(ModelError, match=name):
        load(folder)


def test_no_folder_and_no_model(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": null, "model_type": "bert"}')
    with pytest.raises(
        ModelError, match=f"format None is unknown; known are {next(iter(LOADERS))}"
    ):
        load(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_truncated_parameters(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"model\.safetensors: missing, damaged or cut short"):
        load(folder)


@pytest.mark.parametrize(
    "content", [b"\x00" * 500, b"\xff" * 500, b"PK\x03\x04 no tensors", bytes(range(256)) * 4]
)
@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_binary_garbage(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        load(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["embedding.weight", "attention.vector.weight", "head.bias"])
def test_parameters_that_are_no_numbers(folder, name, value):
    state = load_file(folder / "model.safetensors")
    state[name].view(-1)[-1] = value
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"'{name}' holds NaN or infinity"):
        load(folder)


def rewrite(folder, edit):
    state = load_file(folder / "model.safetensors")
    edit(state)
    whole = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(whole, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            lambda s: s.update({"head.weight": s["head.weight"].T}),
            r"'head.weight' has shape \(16, 1\)",
        ),
        (lambda s: s.pop("head.bias"), r"tensors missing \['head.bias'\]"),
        (lambda s: s.update(extra=torch.ones(1)), r"not expected \['extra'\]"),
        (lambda s: s.update({"head.bias": torch.ones(1).int()}), "'head.bias' is torch.int32"),
        (lambda s: s.update({"head.bias": torch.ones(1).half()}), "'head.bias' is torch.float16"),
        (lambda s: s.update({"head.bias": torch.ones(1).double()}), "'head.bias' is torch.float64"),
        (
            lambda s: s.update({"embedding.weight": s["embedding.weight"][:-1]}),
            r"'embedding.weight' has shape \(6, 5\), but the files beside it ask for",
        ),
    ],
)
def test_parameters_that_do_not_fit(folder, edit, says):
    rewrite(folder, edit)
    with pytest.raises(ModelError, match=says):
        load(folder)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"version": 2}, "format version 2, but this attnaudit reads version 1"),
        ({"version": None}, "format version None"),
        ({"name": 3}, "name"),
        ({"unknown": 1}, "unknown"),
        ({"config": {"classes": ["a", "b"], "hidden": "wide"}}, "config.hidden"),
        ({"config": {"classes": ["a", "b"], "encoder": "gru"}}, "encoder 'gru' is unknown"),
        ({"config": {"classes": ["a", "b"], "hidden": 10**12}}, "no network can be built"),
        ({"config": {"classes": ["a", "b"], "hidden": 10**8}}, "has shape"),
        ({"config": {"classes": ["a", "b"], "encoder": "cnn", "hidden": 6}}, "multiple of 4"),
        ({"config": {"classes": ["a"]}}, "two or more"),
        ({"config": {}}, "config.classes"),
        ({"config": 7}, "config"),
    ],
)
def test_configurations_that_do_not_fit(folder, edit, says):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **edit}))
    with pytest.raises(ModelError, match=says):
        load(folder)


def test_another_vocabulary(folder):
    (folder / "vocabulary.json").write_text('{"words": ["a"], "lowercase": true}')
    with pytest.raises(ModelError, match=r"'embedding.weight' has shape \(7, 5\)"):
        load(folder)
    (folder / "vocabulary.json").write_text('{"words": ["a", "a", "b"], "lowercase": true}')
    with pytest.raises(
        ModelError, match=r"vocabulary\.json: the vocabulary holds 'a' more than once"
    ):
        load(folder)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        model().save(tmp_path / "file")
    shutil.rmtree(tmp_path)


def test_loaded_parameters_lie_as_new_ones_do(tmp_path):
    # a header of any length before them, as other names or metadata make it
    from safetensors.torch import save_file

    from attnaudit.nets.checkpoint import load_state

    net = torch.nn.Linear(7, 3)
    for length in range(8):
        path = tmp_path / f"{length}.safetensors"
        save_file(net.state_dict(), path, {"note": "x" * length})
        loaded = load_state(path, lambda: torch.nn.Linear(7, 3))
        for name, value in loaded.state_dict().items():
            assert value.data_ptr() % 64 == 0
            assert torch.equal(value, net.state_dict()[name])
        assert all(p.requires_grad for p in loaded.parameters())
