"""Mask generators and remedies against shortcuts, from Python and from the keyboard."""

from __future__ import annotations

import pytest
import torch

from attnaudit.errors import ModelError, SettingsError
from attnaudit.models.load import load
from attnaudit.models.selective.model import SelectiveModel
from attnaudit.remedies import REMEDIES
from attnaudit.remedies.compare import compare
from attnaudit.training.options import TrainOptions, options_for
from attnaudit.training.train import train
from tests.terminal import run

SMALL = {"hidden": 4, "embedding_dim": 4, "limit": 60}
FEW = options_for("selector", epochs=2)


def test_what_is_trained_is_what_was_asked_for(tmp_path):
    done = train(
        "order",
        kind="selector",
        mask="hard",
        keep=3,
        downstream="cnn",
        options=FEW,
        out=tmp_path,
        progress=False,
        **SMALL,
    )
    assert (done.model.net.config.k, done.model.net.config.downstream) == (3, "cnn")
    batch = done.model.collate(done.splits["test"].records[:5])
    weights = done.model.attend(done.model.encode(batch))
    assert ((weights > 0).sum(1) == 3).all()
    again = load(tmp_path)
    assert isinstance(again, SelectiveModel)
    assert again.fingerprint() == done.model.fingerprint()
    assert again.trained_on is not None
    assert all(record in again.trained_on for record in done.splits["train"])


def test_only_default_tokens_can_be_attended_to():
    done = train("reviews", kind="selector", defaults="only", options=FEW, progress=False, **SMALL)
    units = {record.units for record in done.splits["test"]}
    assert len(units) == 1
    batch = done.model.collate(done.splits["test"].records)
    weights = done.model.attend(done.model.encode(batch))
    # the values are equal, and the weights still differ from text to text
    assert weights.std(0).max() > 0


def test_progress_is_told():
    told = []
    train("order", kind="selector", options=FEW, progress=lambda *one: told.append(one), **SMALL)
    assert told == [("training", step, 2) for step in (1, 2)]


@pytest.mark.parametrize("name", [n for n, r in REMEDIES.items() if r.refit])
def test_remedies_are_one_argument(name):
    one = train(
        "order", kind="selector", refit=REMEDIES[name].refit, options=FEW, progress=False, **SMALL
    )
    two = train(
        "order", kind="selector", refit=REMEDIES[name].refit, options=FEW, progress=False, **SMALL
    )
    plain = train("order", kind="selector", options=FEW, progress=False, **SMALL)
    assert one.model.fingerprint() == two.model.fingerprint() != plain.model.fingerprint()


def test_random_pretraining_leaves_the_decoder_to_random_masks():
    options = TrainOptions(epochs=2)
    done = train(
        "reviews",
        encoder="average",
        refit=REMEDIES["random_pretraining"].refit,
        options=options,
        progress=False,
        **SMALL,
    )
    plain = train("reviews", encoder="average", options=options, progress=False, **SMALL)
    assert done.model.net.config == plain.model.net.config
    assert set(done.dev) == {"dev_loss", "dev_accuracy"}
    same = [
        torch.equal(a, b)
        for a, b in zip(done.model.net.parameters(), plain.model.net.parameters(), strict=True)
    ]
    assert not any(same)


def test_remedies_are_compared_before_and_after():
    from attnaudit.data.generated.polarity import generate_polarity_splits
    from attnaudit.findings.settings import Settings

    splits = generate_polarity_splits(80, 40, 40)
    found = compare(
        splits,
        ("random_pretraining", "instance_weighting"),
        seeds=(0,),
        encoder="average",
        options=TrainOptions(epochs=1),
        hidden=4,
        embedding_dim=4,
        settings=Settings(costly_limit=5, resamples=100, permutations=10),
    )
    assert [row.remedy for row in found.rows] == [
        "none",
        "random_pretraining",
        "instance_weighting",
    ]


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="ends, only"):
        train("order", kind="selector", defaults="middle", options=FEW, **SMALL)
    with pytest.raises(SettingsError, match="refit= trains in its own way"):
        train(
            "reviews",
            refit=REMEDIES["instance_weighting"].refit,
            progress=False,
            penalty=lambda passed, rows: torch.zeros(()),
            **SMALL,
        )
    out = ("--out", str(tmp_path / "x"))
    selector, wrong = ("--kind", "selector"), ("train", "order", *out)
    assert "not for selectors" in run(*wrong, *selector, "--remedy", "diversity", code=2)
    for option, value in (("--keep", "3"), ("--downstream", "rnn"), ("--pool", "gated")):
        assert f"{option} does not go with kind 'text'" in run(*wrong, option, value, code=2)
    for option, value in (
        ("--vectors", "x.vec"),
        ("--encoder", "cnn"),
        ("--attention", "dot"),
        ("--device", "cuda"),
    ):
        said = run(*wrong, *selector, option, value, code=2)
        assert f"{option} does not go with kind 'selector'" in said
    for option in ("--hidden", "--embedding-dim", "--min-df"):
        said = run(*wrong, "--encoder", "minilm", option, "7", code=2)
        assert f"{option} does not go with encoder 'minilm'" in said
    assert "one of text, bags" in run(*wrong, "--kind", "image", code=2)
    assert "--column truth=… is about texts and bags" in run(
        *wrong, "--kind", "siamese", "--column", "truth=x", code=2
    )


def test_black_boxes_from_the_keyboard(tmp_path):
    box, out = str(tmp_path / "box"), str(tmp_path / "explainer")
    small = ("--hidden", "4", "--embedding-dim", "4", "--limit", "80", "--epochs", "2")
    run("train", "reviews", "--encoder", "average", "--out", box, *small)
    said = run(
        "train",
        "reviews",
        "--kind",
        "selector",
        "--black-box",
        box,
        "--keep",
        "3",
        "--limit",
        "80",
        "--epochs",
        "2",
        "--out",
        out,
    )
    assert "a fresh network" in said
    model = load(out)
    assert isinstance(model, SelectiveModel)
    assert model.net.config.k == 3
    run("audit", out, "--check", "permutation", "--out", str(tmp_path / "run"))


# what a review found


def test_a_short_text_keeps_its_units_at_their_size():
    from attnaudit.data.texts.tokens import text_record

    done = train(
        "order",
        kind="selector",
        mask="hard",
        keep=5,
        downstream="cnn",
        options=FEW,
        progress=False,
        **SMALL,
    )
    model = done.model
    batch = model.collate([text_record("a", "film")])
    states = model.encode(batch)
    seen = []
    model.net.downstream.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.decode(states, model.attend(states))
    wanted = states.hidden * states.units.unsqueeze(-1)
    torch.testing.assert_close(seen[0], wanted)


def test_what_a_user_froze_stays_frozen():
    from torch import nn

    from attnaudit.data.generated.polarity import generate_polarity_splits
    from attnaudit.models.wrapped.model import wrap
    from attnaudit.remedies.instance_weighting import fit_mask_neutral

    table, scorer, head = nn.Embedding(50, 4), nn.Linear(4, 1), nn.Linear(4, 2)
    table.weight.requires_grad_(False)
    splits = generate_polarity_splits(40, 20, 20)
    model = wrap(
        nn.ModuleList([table, scorer, head]),
        classes=splits["train"].classes,
        tokenize=lambda units: [sum(map(ord, unit)) % 50 for unit in units],
        embed=table,
        encode=lambda vectors, present: vectors,
        attend=lambda h, units: (
            torch.softmax(scorer(h).squeeze(-1).masked_fill(~units, -1e9), -1) * units
        ),
        decode=head,
    )
    done = fit_mask_neutral(
        model, splits["train"], splits["dev"], options_for("selector", epochs=1)
    )
    assert "module.0.weight" not in done.parameters
    assert torch.equal(done.model.module[0].weight, table.weight)
    assert not torch.equal(done.model.module[2].weight, head.weight)


def test_remedies_that_cannot_work_say_so_first():
    refit = REMEDIES["held_out_pretraining"].refit
    for attention, says in (("given", "there are none"), ("uniform", "no parameters of their own")):
        with pytest.raises((SettingsError, ModelError), match=says):
            train(
                "reviews",
                encoder="average",
                attention=attention,
                refit=refit,
                progress=False,
                options=TrainOptions(epochs=1),
                **SMALL,
            )


def test_default_tokens_are_asked_for_again(tmp_path):
    out = str(tmp_path / "model")
    small = ("--hidden", "4", "--embedding-dim", "4", "--limit", "60", "--epochs", "1")
    run("train", "reviews", "--kind", "selector", "--defaults", "only", "--out", out, *small)
    said = run("audit", out, "reviews", "--check", "shortcut", "--limit", "60", code=2)
    assert "--defaults only" in said
