"""Attention pooling trained on the states of a frozen transformer, and audited."""

import math
import random
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import attnaudit
from attnaudit.checks.registry import groups
from attnaudit.cli import app
from attnaudit.data.records import Dataset, Text
from attnaudit.data.splits import split_dataset
from attnaudit.data.texts.tokens import text_record
from attnaudit.errors import DataError, ModelError, SettingsError
from attnaudit.models.load import load
from attnaudit.models.pretrained.held import unit_states
from attnaudit.models.pretrained.model import PretrainedClassifier
from attnaudit.nets.pretrained.load import load_transformer
from attnaudit.training.options import TrainOptions
from attnaudit.training.text import train_above

pytest.importorskip("transformers", reason="the extra `transformers` is absent")

from tests.tiny_transformers import tiny

FILLERS = ("the", "film", "is", "a", "story", "of", "unmistakably", "old", "friends")


def sentences(count):
    """One word of each text, `good` or `bad`, decides on its label."""
    draw = random.Random(0)
    records = []
    for row in range(count):
        words = draw.choices(FILLERS, k=draw.randint(2, 11))
        place = draw.randint(0, len(words))
        words.insert(place, ("bad", "good")[row % 2])
        truth = [position == place for position in range(len(words))]
        records.append(text_record(f"s{row}", " ".join(words), label=row % 2, truth=truth))
    return Dataset("toy", tuple(records), ("neg", "pos"))


DATA = sentences(240)
OPTIONS = TrainOptions(epochs=15, learning_rate=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [record.text for record in DATA]
    place = tmp_path_factory.mktemp("bert")
    return tiny("bert", place, texts=texts, vocabulary=70, positions=60)


@pytest.fixture(scope="module")
def encoder(folder):
    return load_transformer(folder, layer=1)


@pytest.fixture(scope="module")
def splits():
    return split_dataset(DATA, (0.7, 0.15, 0.15))


@pytest.fixture(scope="module")
def trained(folder, splits):
    seen = []
    options = replace(OPTIONS, report=lambda *step: seen.append(step))
    fitted = train_above(splits, folder, options, layer=1)
    return fitted.model, fitted, seen


def test_it_learns_from_states_that_nobody_trained(trained, splits):
    model, fitted, _ = trained
    assert fitted.dev["dev_accuracy"] > 0.8
    losses = [row["loss"] for row in fitted.history]
    assert losses[-1] < losses[0]
    batch = model.collate(splits["test"].records)
    labels = torch.tensor([record.label for record in splits["test"]])
    assert float((model.forward(batch).argmax(1) == labels).double().mean()) > 0.8


def test_the_transformer_is_left_as_it_was(trained, folder):
    model, _, _ = trained
    for name, value in load_transformer(folder).transformer.state_dict().items():
        assert torch.equal(value, model.encoder.transformer.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_progress_is_told(trained, splits):
    _, _, seen = trained
    count = len(splits["train"]) + len(splits["dev"])
    assert [step for step in seen if step[0] == "encoding"][-1] == ("encoding", count, count)
    steps = OPTIONS.epochs * math.ceil(len(splits["train"]) / OPTIONS.batch_size)
    assert seen[-1] == ("training", steps, steps)


def test_equal_seeds_equal_models(trained, encoder, splits):
    model, fitted, _ = trained
    states = {
        part: unit_states(encoder, splits[part].records, budget=64) for part in ("train", "dev")
    }
    done = train_above(splits, encoder, OPTIONS, states=states)
    again = done.model
    assert done.best_epoch == fitted.best_epoch
    for name, value in model.net.state_dict().items():
        # other batches of the transformer, so not to the last bit
        torch.testing.assert_close(again.net.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    twice = train_above(splits, encoder, OPTIONS, states=states).model
    assert twice.fingerprint() == again.fingerprint()
    options = TrainOptions(epochs=1, seed=1)
    other = train_above(splits, encoder, options, states=states).model
    assert other.fingerprint() != again.fingerprint()


def test_cached_states_are_those_of_the_model(trained, encoder, splits):
    model, _, _ = trained
    records = [*splits["test"].records[:9], Text("none", "", (), ())]
    for record, state in zip(records, unit_states(encoder, records, budget=50), strict=True):
        batch = model.collate([record])
        hidden = model.encode(batch).hidden[batch.units]
        torch.testing.assert_close(state, hidden, rtol=1e-4, atol=1e-5)


def test_states_too_large_for_memory_go_to_a_file(encoder, monkeypatch):
    records = DATA.records[:20]
    expected = unit_states(encoder, records)
    monkeypatch.setattr("attnaudit.models.pretrained.held.IN_MEMORY", 0)
    found = unit_states(encoder, records)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Disk", (), {"free": 10}))
    with pytest.raises(SettingsError, match="set TMPDIR to one with room"):
        unit_states(encoder, records)


def test_every_check_runs(trained, splits, tmp_path):
    model, _, _ = trained
    model.save(tmp_path / "model")
    settings = attnaudit.Settings(permutations=20, resamples=100, costly_limit=12)
    data = splits["test"]
    audit = attnaudit.audit(tmp_path / "model", data, settings=settings, out=tmp_path / "run")
    own = {f.check: f.verdict.value for f in audit.findings if f.subject == "weights"}
    assert set(own) == set(groups()["attention"]) - {"reach"}
    assert "not applicable" not in own.values()
    frame = audit.instances
    operators = {name.split(".")[1] for name in frame.columns if "comprehensiveness" in name}
    assert operators == {"delete", "mask", "pad", "zero_weight"}
    for method in ("weights", "gradient", "leave_one_out", "input_x_gradient"):
        lengths = frame[f"scores.{method}"].list.len()
        assert lengths.to_list() == frame["length"].to_list()
    assert frame["completeness_error.integrated_gradients"].drop_nulls().max() < 0.05
    again = attnaudit.audit(load(tmp_path / "model"), data, settings=settings, out=tmp_path / "run")
    assert again.report.plan.model.fingerprint == audit.report.plan.model.fingerprint


def test_the_command_line(folder, tmp_path):
    path, out = tmp_path / "texts.csv", tmp_path / "model"
    rows = [f"{record.text},{DATA.classes[record.label]}" for record in DATA]
    path.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    command = ["train", str(path), "--encoder", str(folder), "--out", str(out), "--epochs", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    model = load(out)
    assert isinstance(model, PretrainedClassifier)
    assert model.trained_on is not None
    assert sum(record in model.trained_on for record in DATA) > len(DATA) / 2
    command[3], command[5] = "bilsm", str(tmp_path / "other")
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0
    assert "did you mean 'bilstm'" in " ".join(str(done.exception or done.output).split())


def test_bad_input_is_refused_before_long_work(encoder, splits, folder):
    train, dev = splits["train"], splits["dev"]
    with pytest.raises(DataError, match="development records"):
        train_above({"train": train, "dev": dev.select([])}, encoder)
    one_class = train.select([record for record in train if record.label])
    with pytest.raises(DataError, match="are of class"):
        train_above({"train": one_class, "dev": dev}, encoder)
    long = text_record("long", "a " * 70, label=1)
    with pytest.raises(DataError, match=r"1 of .* at most 69 units"):
        train_above({"train": train.select([*train.records, long]), "dev": dev}, encoder)
    with pytest.raises(SettingsError, match="attention 'softmax' is unknown"):
        train_above(splits, encoder, attention="softmax")
    with pytest.raises(SettingsError, match="has 2 layers"):
        train_above(splits, folder, layer=7)
    states = unit_states(encoder, dev.records)
    with pytest.raises(DataError, match="compute them with `unit_states`"):
        train_above(splits, encoder, states={"train": states, "dev": states})
    broken = load_transformer(folder)
    next(broken.transformer.parameters()).data.fill_(torch.nan)
    with pytest.raises(ModelError, match="NaN"):
        train_above(splits, broken, options=TrainOptions(epochs=1))
