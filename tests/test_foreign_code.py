"""Nothing of a model's folder is run, from a folder or from the hub: known classes, no pickles."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from attnaudit.errors import ModelError, NotApplicable
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.modules import modules_of
from attnaudit.nets.pretrained.load import load_transformer
from tests.tiny_siamese import dense, tiny_siamese

NAME = "acme/encoder"
TEXT = "a good film"
FOREIGN = "foreign_module.Module"


class Marker:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer, a pooling and a dense head, in safetensors."""
    root = tmp_path_factory.mktemp("saved")
    model = tiny_siamese(root / "plain", normalize=False)
    model = SentenceTransformer(modules=[*model, dense(bias=True)], device="cpu")
    model.save(str(root / "model"))
    return root / "model"


@pytest.fixture
def folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy in the hub's cache; a module beside it, which can be imported, leaves a mark."""
    repository = tmp_path / "hub" / "models--acme--encoder"
    copy = repository / "snapshots" / "abc123"
    shutil.copytree(saved, copy)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom torch.nn import Tanh as Module\n"
    (copy / "foreign_module.py").write_text(code)
    monkeypatch.syspath_prepend(copy)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return copy


def edit(path: Path, **change: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def edit_module(folder: Path, place: int, **change: Any) -> None:
    path = folder / "modules.json"
    rows = json.loads(path.read_text())
    rows[place] |= change
    path.write_text(json.dumps(rows))


def pickled(folder: Path) -> None:
    """Put a pickle with the same weights in the place of the safetensors file."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def marked(path: Path, folder: Path) -> None:
    path.write_bytes(pickle.dumps(Marker(folder.parents[3] / "ran")))


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    marked(folder / "pytorch_model.bin", folder)


def shards(folder: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    marked(folder / "pytorch_model-00001-of-00001.bin", folder)
    names = {"embeddings.word_embeddings.weight": "pytorch_model-00001-of-00001.bin"}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": names}))


def explicit_weights(folder: Path) -> None:
    edit(folder / "config.json", transformers_weights="adapter_model.bin")
    marked(folder / "adapter_model.bin", folder)


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def foreign_architecture(folder: Path) -> None:
    code = {"AutoConfig": FOREIGN, "AutoModel": FOREIGN}
    edit(folder / "config.json", model_type="mine", auto_map=code)


TRANSFORMERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickle": (only_a_pickle, "a pickle, which may run code"),
    "shards": (lambda f: shards(f, "pytorch_model.bin.index.json"), "a pickle, which may run"),
    "named": (lambda f: shards(f, "model.safetensors.index.json"), "not a safetensors file"),
    "explicit": (explicit_weights, "transformers_weights names 'adapter_model.bin'"),
    "adapter": (adapter, "an adapter"),
    "architecture": (foreign_architecture, "could be read"),
    "attention": (
        lambda f: edit(f / "config.json", attn_implementation="acme/kernel"),
        "names code on the hub",
    ),
}
"""How a transformer can be made to run or read what it must not, and what is said."""


def dense_pickle(folder: Path) -> None:
    pickled(folder / "2_Dense")


def router(folder: Path) -> None:
    (folder / "r").mkdir()
    types = {"query_0_Mine": FOREIGN}
    config = {"types": types, "structure": {"query": ["query_0_Mine"]}, "parameters": {}}
    (folder / "r" / "router_config.json").write_text(json.dumps(config))
    edit_module(folder, 0, type="sentence_transformers.models.Router", path="r")


def unsafe_arguments(folder: Path) -> None:
    edit(folder / "sentence_bert_config.json", model_args={"use_safetensors": False})


ENCODERS: dict[str, tuple[Callable[[Path], None], str]] = {
    **TRANSFORMERS,
    "class": (lambda f: edit_module(f, 1, type=FOREIGN), f"{FOREIGN}'.* no other code is run"),
    "first class": (lambda f: edit_module(f, 0, type=FOREIGN), "no other code is run"),
    "function": (
        lambda f: edit_module(f, 1, type="sentence_transformers.util.http_get"),
        "no other code is run",
    ),
    "route": (router, f"{FOREIGN}'.* no other code is run"),
    "place": (lambda f: edit_module(f, 2, path="../elsewhere"), "outside of the folder"),
    "head": (dense_pickle, r"2_Dense holds no .* pytorch_model\.bin, a pickle"),
    "activation": (
        lambda f: edit(f / "2_Dense" / "config.json", activation_function=FOREIGN),
        "not a class of torch.nn",
    ),
    "arguments": (unsafe_arguments, "sets use_safetensors"),
    "no modules": (lambda f: (f / "modules.json").unlink(), r"modules\.json is absent"),
}
"""The same of a sentence encoder."""


@pytest.mark.parametrize("case", ENCODERS)
def test_a_sentence_encoder_is_refused(folder: Path, tmp_path: Path, case: str) -> None:
    damage, said = ENCODERS[case]
    damage(folder)
    for source in (folder, NAME):
        with pytest.raises(ModelError, match=said):
            load_siamese(source)
    assert not (tmp_path / "ran").exists()
    assert "foreign_module" not in sys.modules


@pytest.mark.parametrize("case", TRANSFORMERS)
def test_a_transformer_is_refused(folder: Path, tmp_path: Path, case: str) -> None:
    damage, said = TRANSFORMERS[case]
    damage(folder)
    for source in (folder, NAME):
        with pytest.raises(ModelError, match=said):
            load_transformer(source)
    assert not (tmp_path / "ran").exists()
    assert "foreign_module" not in sys.modules


SAID = {
    "SparseEncoder": "a sparse encoder",
    "CrossEncoder": "a cross-encoder",
    "MultiVectorEncoder": "a late-interaction model",
}


@pytest.mark.parametrize("kind", SAID)
def test_other_types_of_model_are_refused_by_their_files(folder: Path, kind: str) -> None:
    edit(folder / "config_sentence_transformers.json", model_type=kind)
    for source in (folder, NAME):
        with pytest.raises(NotApplicable, match=f"holds .*{SAID[kind]}"):
            load_siamese(source)


def test_modules_of_other_models_are_refused_by_their_files(folder: Path) -> None:
    splade = "sentence_transformers.sparse_encoder.models.SpladePooling"
    edit_module(folder, 1, type=splade)
    for source in (folder, NAME):
        with pytest.raises(NotApplicable, match="a sparse encoder"):
            load_siamese(source)


def test_code_that_is_not_needed_is_not_run(folder: Path, tmp_path: Path) -> None:
    expected = load_siamese(folder).model.encode([TEXT])
    # the library knows both architectures itself
    edit(folder / "config.json", auto_map={"AutoConfig": FOREIGN, "AutoModel": FOREIGN})
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, FOREIGN]})
    # safetensors stand beside it
    marked(folder / "pytorch_model.bin", folder)
    for source in (folder, NAME):
        assert (load_siamese(source).model.encode([TEXT]) == expected).all()
        load_transformer(source)
    assert not (tmp_path / "ran").exists()
    assert "foreign_module" not in sys.modules


def test_a_name_on_the_hub_is_its_folder(folder: Path) -> None:
    named, there = load_siamese(NAME), load_siamese(folder)
    assert named.fingerprint == there.fingerprint
    weights = load_transformer(folder).state_dict()
    assert all((weights[k] == v).all() for k, v in load_transformer(NAME).state_dict().items())


@pytest.mark.parametrize("kind", ["Transformer", "Pooling", "Dense"])
def test_names_of_all_releases_are_known(folder: Path, kind: str) -> None:
    place = ["Transformer", "Pooling", "Dense"].index(kind)
    expected = load_siamese(folder).model.encode([TEXT])
    edit_module(folder, place, type=f"sentence_transformers.models.{kind}")
    assert (load_siamese(folder).model.encode([TEXT]) == expected).all()
    edit_module(folder, place, type=f"sentence_transformers.models.{kind}.{kind}")
    assert len(modules_of(folder)) == 3


def test_names_that_the_hub_is_not_asked_for(tmp_path: Path, folder: Path) -> None:
    for load in (load_siamese, load_transformer):
        with pytest.raises(ModelError, match=r"not fetched before, and the hub is not asked"):
            load("nobody/nothing")
        with pytest.raises(ModelError, match="neither a folder nor a name on the hub"):
            load(tmp_path / "no" / "such" / "folder")
