"""`attnaudit train`: a model of any kind, from labelled data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from attnaudit.cli.app import OUT
from attnaudit.cli.options import (
    Classes,
    Columns,
    DataDir,
    Device,
    DropEmpty,
    DropUnlabelled,
    Limit,
    MaxLength,
    MinLength,
    Pipeline,
    Seed,
    StrictBounds,
    Tokenizer,
    panel,
    reading_of,
)
from attnaudit.console import visible
from attnaudit.errors import SettingsError
from attnaudit.findings.estimates import spoken
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import RULES
from attnaudit.models.load import load
from attnaudit.nets.bags.classifier import HEADS
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.nets.selective.mask_laws import KINDS as MASKS
from attnaudit.nets.selective.net import DOWNSTREAMS
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.progress import bars
from attnaudit.remedies import REMEDIES, find_remedy
from attnaudit.remedies.explainer import Fidelity, fidelity
from attnaudit.training.options import DEFAULTS, FIELDS, KINDS, LOSSES, SCORES, Kind, options_for
from attnaudit.training.result import Trained
from attnaudit.training.selective import DEFAULT_TOKENS
from attnaudit.training.train import train as train_model

if TYPE_CHECKING:
    from attnaudit.measures.bootstrap import Interval

LOSS_NAMES = ", ".join(dict.fromkeys(name for names in LOSSES.values() for name in names))


TEXT, BAGS, SELECTOR = "Texts", "Bags (--kind bags)", "Selectors (--kind selector)"
MODEL, TRAINING = "Model", "Training"


def _defaults(name: str) -> str:
    """The defaults of an option, kind by kind."""
    return ", ".join(f"{kind} {getattr(DEFAULTS[kind], name):g}" for kind in KINDS)


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, JSONL (.gz), Parquet, a folder of splits, a named set such as 'reviews' "
            "(see `attnaudit list data`), or a hub name; bags also as .npz, or generated."
        ),
    ],
    kind: Annotated[str, panel(MODEL, ", ".join(KINDS))] = "text",
    out: Annotated[Path, typer.Option(help="Folder to write the model to.")] = Path("model"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a model that attnaudit saved there.")
    ] = False,
    encoder: Annotated[
        str | None,
        panel(
            MODEL,
            f"Texts: {', '.join(ENCODERS)}; or a pretrained one that stays as it is: minilm, a "
            f"folder, or a hub name. Bags: {', '.join(BAG_ENCODERS)}. Siamese: minilm, the folder "
            "of a sentence-transformers model, or a hub name.",
        ),
    ] = None,
    hidden: Annotated[int | None, panel(MODEL, "Hidden size; texts 128, else 32.", min=1)] = None,
    attention: Annotated[str | None, panel(TEXT, f"{', '.join(ATTENTIONS)}.")] = None,
    remedy: Annotated[
        str | None, panel(TEXT, f"Train for better weights: {', '.join(REMEDIES)}.")
    ] = None,
    embedding_dim: Annotated[
        int | None, panel(TEXT, "Size of word vectors; 300, selectors 32.", min=1)
    ] = None,
    vectors: Annotated[
        Path | None, panel(TEXT, "Pretrained word vectors: text (.vec, .txt, .gz) or .npz.")
    ] = None,
    min_df: Annotated[int | None, panel(TEXT, "Texts a word must occur in.", min=1)] = None,
    pool: Annotated[str | None, panel(BAGS, f"{', '.join(BAG_POOLS)}; gated by default.")] = None,
    head: Annotated[str | None, panel(BAGS, ", ".join(HEADS))] = None,
    attention_size: Annotated[int | None, panel(BAGS, "Rows inside the attention.", min=1)] = None,
    heads: Annotated[int | None, panel(BAGS, "Heads, in pools that have several.", min=1)] = None,
    shown: Annotated[
        int | None, panel(BAGS, "Head whose weights are shown; all by default.", min=0)
    ] = None,
    members: Annotated[
        int | None, panel(BAGS, "2 or more make an ensemble of so many seeds.", min=1)
    ] = None,
    rule: Annotated[
        str | None, panel(BAGS, f"How an ensemble's weights are joined: {', '.join(RULES)}.")
    ] = None,
    scale: Annotated[
        bool | None,
        panel(BAGS, "Standardise features; by default if no images.", "--scale/--no-scale"),
    ] = None,
    mask: Annotated[str | None, panel(SELECTOR, f"Kind of mask: {', '.join(MASKS)}.")] = None,
    keep: Annotated[int | None, panel(SELECTOR, "Units that a hard mask keeps.", min=1)] = None,
    downstream: Annotated[
        str | None, panel(SELECTOR, f"What reads the masked words: {', '.join(DOWNSTREAMS)}.")
    ] = None,
    defaults: Annotated[
        str | None,
        panel(
            SELECTOR,
            f"Tokens that are the same in every text: {', '.join(DEFAULT_TOKENS)}. 'ends' adds "
            "two, 'only' leaves nothing else to attend to.",
        ),
    ] = None,
    black_box: Annotated[
        str | None,
        panel(
            SELECTOR,
            "Folder of a model whose answers are learnt instead of the labels, from --keep words "
            "(10 by default): an explainer in the manner of L2X.",
        ),
    ] = None,
    top: Annotated[
        float | None,
        panel(
            "Similarity (--kind siamese)",
            "The score that stands for a similarity of 1; 1 or 5 by default.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        panel(TRAINING, f"{_defaults('epochs')}; 20 with a remedy against shortcuts.", min=1),
    ] = None,
    batch_size: Annotated[
        int | None, panel(TRAINING, f"Instances per step; {_defaults('batch_size')}.", min=1)
    ] = None,
    learning_rate: Annotated[
        float | None, panel(TRAINING, f"Learning rate for Adam; {_defaults('learning_rate')}.")
    ] = None,
    weight_decay: Annotated[
        float | None, panel(TRAINING, f"L2 penalty; {_defaults('weight_decay')}.")
    ] = None,
    patience: Annotated[
        int | None, panel(TRAINING, "Stop after so many epochs without a better score.", min=1)
    ] = None,
    select: Annotated[
        str | None, panel(TRAINING, f"Score that chooses the epoch: {', '.join(SCORES)}.")
    ] = None,
    clip: Annotated[float | None, panel(TRAINING, "Largest norm of the gradient.")] = None,
    loss: Annotated[str | None, panel(TRAINING, f"Bags and siamese: {LOSS_NAMES}.")] = None,
    column: Columns = None,
    classes: Classes = None,
    limit: Limit = None,
    tokenizer: Tokenizer = None,
    pipeline: Pipeline = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    strict_bounds: StrictBounds = None,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = None,
    drop_empty: DropEmpty = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Train a model and save it.

    Data without splits are cut into train, dev and test. The test split is stored with the model:
    `attnaudit audit MODEL` audits on it. Kinds:

    text: a classifier that pools by attention. attnaudit train reviews.csv --attention additive

    bags: multiple-instance learning, alone or as an ensemble. attnaudit train slides.parquet
    --kind bags --column bag=slide --pool gated --members 6

    selector: a mask before a network. attnaudit train reviews --kind selector --mask hard --keep 5;
    or an explainer of another model: attnaudit train reviews --kind selector --black-box model

    siamese: a similarity whose token pairs add up exactly (Möller et al. 2023), fine-tuned on pairs
    of texts that people scored. attnaudit train pairs.csv --kind siamese --encoder minilm

    Example: attnaudit train reviews.csv --out model --column label=stars
    """
    own = {name: value for name, value in locals().items() if value is not None}
    for name in ("data", "kind", "out", "overwrite"):
        del own[name]
    chosen: Kind = options_for(cast(Kind, kind)).kind  # refuses an unknown kind
    own |= reading_of(own)
    own.pop("column", None)
    if "remedy" in own:
        own |= _remedied(chosen, own)
    with bars() as progress:
        done: Trained[Any] = train_model(
            data,
            kind=chosen,
            out=out,
            overwrite=overwrite,
            progress=progress if progress is not None else False,
            **own,
        )
        agreed = None
        if black_box is not None:
            changes = {name: own[name] for name in FIELDS["selector"] & own.keys()}
            fitting = options_for("selector", **{"select": "accuracy", **changes})
            splits, box = done.splits, load(black_box)
            parts = [cast(Any, splits[name]) for name in ("test", "train", "dev")]
            agreed = fidelity(done.model, box, *parts, options=fitting)
    _show(chosen, done)
    if agreed is not None:
        OUT.print(fidelity_table(agreed, box.name))
    OUT.print_place("Model", out)
    test = done.splits.get("test")
    if agreed is not None:
        OUT.print_line(
            f"Does the choice tell the answer? attnaudit audit {out} {data} --check shortcut"
        )
    elif test is not None:
        what = "bags" if chosen == "bags" else "texts"
        OUT.print_line(
            f"Held out: {len(test):,} {what}. Audit the model on them with: attnaudit audit {out}"
        )


def _remedied(kind: Kind, own: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that switch a remedy on; none where the kind refuses remedies anyway."""
    found = find_remedy(own["remedy"])
    epochs = {"epochs": own.get("epochs", DEFAULTS["selector"].epochs)}
    if kind == "text":
        return found.training(own.get("encoder", "bilstm")) | (epochs if found.refit else {})
    if kind == "selector":
        if found.refit is None:
            raise SettingsError(f"the remedy {found.name!r} is not for selectors")
        return {"refit": found.refit}
    return {}


def _show(kind: Kind, done: Trained[Any]) -> None:
    if kind == "siamese":
        _show_scores(done)
    elif kind == "bags":
        _show_members(done)
    else:
        show_training(done)


def show_training(done: Trained[Model], *, notes: bool = True) -> None:
    """Print one row per epoch, and which is kept; then what is to be noted of the data."""
    table = _table(done)
    names = list(done.history[0])
    for name in ("epoch", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for epoch, row in enumerate(done.history, start=1):
        mark = " *" if epoch == done.best_epoch else "  "
        table.add_row(f"{epoch}{mark}", *(f"{row[name]:.4f}" for name in names))
    OUT.print(table)
    OUT.print("* kept: best on the development split")
    for line in (*done.notes, *(data_notes(done) if notes else ())):
        OUT.print_line(line)
    if done.coverage is not None:
        share = f"{done.coverage.found} of {done.coverage.total}"
        OUT.print(f"Pretrained vectors for {share} words.")


def _show_members(done: Trained[Model]) -> None:
    table = _table(done)
    names = list(done.dev)
    for name in ("member", "epoch kept", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for number, fit in enumerate(done.members or (done,), start=1):
        kept = f"{fit.best_epoch} of {len(fit.history)}"
        table.add_row(str(number), kept, *(f"{fit.dev[name]:.4f}" for name in names))
    OUT.print(table)
    for line in data_notes(done):
        OUT.print_line(line)


def _show_scores(done: Trained[object]) -> None:
    table = Table(title="Spearman correlation with the scores", title_justify="left")
    for name in ("model", "n", "Spearman", "95 % interval"):
        table.add_column(name, justify="left" if name == "model" else "right")
    told = {
        "given": "as given",
        "shifted": "shifted, before training",
        "trained": f"shifted, after epoch {done.best_epoch}",
        "test": "the same, on test",
    }
    for name, found in done.scores.items():
        table.add_row(told[name], f"{found.n:,}", *_spoken(found))
    OUT.print(table)
    for line in done.notes:
        OUT.print_line(line)


def _spoken(found: Interval) -> tuple[str, str]:
    if found.value is None or found.low is None or found.high is None:
        return "undefined" if found.value is None else f"{found.value:.4f}", ""
    return f"{found.value:.4f}", f"{found.low:.4f} to {found.high:.4f}"


def _table(done: Trained[Model]) -> Table:
    sizes = ", ".join(f"{name} {len(part)}" for name, part in done.splits.items())
    return Table(title=f"{visible(done.model.name)} ({sizes})", title_justify="left")


def fidelity_table(found: Fidelity, name: str) -> Table:
    """Agreement with the black box, by what was read and by whom."""
    table = Table(title=f"Agreement with {visible(name)}", title_justify="left")
    for column in ("read by", "the chosen units", "all others"):
        table.add_column(column, overflow="fold")
    rows = (
        ("the black box itself", found.fs_m, found.fu_m),
        ("a fresh network", found.fs_a, found.fu_a),
    )
    for who, chosen, others in rows:
        table.add_row(who, *("not trained" if e is None else spoken(e) for e in (chosen, others)))
    table.caption = f"always naming its most frequent class: {found.majority:.2f}"
    return table


def data_notes(done: Trained[Model]) -> list[str]:
    """What is to be noted of the data, each thing once: of all splits first, then of each."""
    parts = done.splits.values()
    shared = [n for n in next(iter(parts)).notes if all(n in part.notes for part in parts)]
    own = [
        f"{part.split}: {note.removeprefix(f'{part.split}: ')}"
        for part in parts
        for note in part.notes
        if note not in shared
    ]
    return [f"data: {note}" for note in shared] + own
