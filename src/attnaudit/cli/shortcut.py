"""`attnaudit shortcut`: do the weights carry the answer, and does the model rely on that?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attnaudit.audit.held_out import choose
from attnaudit.cli.app import (
    ERR,
    OUT,
    DataDir,
    DropEmpty,
    DropUnlabelled,
    IdColumn,
    LabelColumn,
    Limit,
    Pipeline,
    QuestionColumn,
    Seed,
    TextColumn,
    Tokens,
    TruthColumn,
    app,
    label_of,
)
from attnaudit.cli.columns import BagColumn, Features, bag_reading
from attnaudit.cli.output import told
from attnaudit.data.bags.loading import load_bag_splits
from attnaudit.data.kinds import AnyDataset
from attnaudit.data.records import Dataset
from attnaudit.data.splits import load_splits
from attnaudit.errors import SettingsError
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.progress import bars
from attnaudit.report.shortcuts import headline_of, shortcut_table, write_shortcuts
from attnaudit.runs.folders import check_run
from attnaudit.shortcuts.check import audit_shortcuts
from attnaudit.shortcuts.schema import ShortcutVerdict
from attnaudit.shortcuts.settings import ShortcutSettings
from attnaudit.training.selective import refuse_other_tokens, with_default_tokens

DEFAULTS = ShortcutSettings()


@app.command()
def shortcut(
    model: Annotated[str, typer.Argument(help="Folder of a model that `attnaudit train` wrote.")],
    data: Annotated[
        str,
        typer.Argument(
            help="The data that it was trained on, texts or bags, with its splits: judges learn on "
            "train and dev, and everything is measured on test."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for findings, estimates and report.")] = Path(
        "runs/shortcut"
    ),
    default_token: Annotated[
        list[str] | None,
        typer.Option(help="A token in every text that means nothing; repeat for more."),
    ] = None,
    defaults: Annotated[
        str | None,
        typer.Option(help="The default tokens that the model was trained with: ends or only."),
    ] = None,
    judges: Annotated[
        int,
        typer.Option(
            min=1,
            help="Seeds of the judge; twice as many where the form of the weights is read.",
        ),
    ] = DEFAULTS.judges,
    judge_epochs: Annotated[
        int, typer.Option(min=1, help="Most epochs of a judge.")
    ] = DEFAULTS.judge_epochs,
    train_limit: Annotated[
        int | None, typer.Option(min=1, help="Training records of a judge, drawn by the seed.")
    ] = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    bag_column: BagColumn = None,
    features: Features = None,
    truth_column: TruthColumn = None,
    id_column: IdColumn = None,
    question_column: QuestionColumn = None,
    pipeline: Pipeline = None,
    limit: Limit = None,
    tokenizer: Tokens = None,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = False,
    drop_empty: DropEmpty = False,
    include_training_texts: Annotated[
        bool,
        typer.Option("--include-training-texts", help="Keep texts that the model was trained on."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another check in the folder.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 unless the verdict is 'clean'.")
    ] = False,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
) -> None:
    """Ask whether the weights tell the label by themselves, and whether the model relies on it.

    Probes the weights without the words, takes the text away, swaps weights between texts, and
    sets the model beside judges that learnt with random masks. Writes findings.json, estimates and
    instances as Parquet, and shortcut.html.

    Example: attnaudit shortcut model order --default-token "[head]" --default-token "[tail]"
    """
    check_run(out, "shortcut", reads=(model, data, data_dir))
    settings = DEFAULTS.model_copy(
        update={
            "seed": seed,
            "judges": judges,
            "judge_epochs": judge_epochs,
            "train_limit": train_limit,
        }
    )
    loaded = load(model, device)
    of_bags = {"bag_column": bag_column, "features": features}
    of_texts = {
        "text_column": text_column,
        "id_column": id_column,
        "question_column": question_column,
        "pipeline": pipeline,
        "tokenizer": tokenizer,
        "drop_unlabelled": drop_unlabelled,
        "drop_empty": drop_empty,
        "defaults": defaults,
        "default_token": default_token,
    }
    common = {
        "label_column": label_of(label_column),
        "truth_column": truth_column,
        "limit": limit,
        "data_dir": data_dir,
        "seed": seed,
    }
    tokens: tuple[str, ...] = ()
    splits: dict[str, AnyDataset]
    with OUT.status("reading the data"):
        if loaded.reads == "bags":
            _refuse({**of_texts, "text_column": text_column != "text"}, "texts", loaded)
            splits = _bags(data, of_bags, common)
        else:
            _refuse(of_bags, "bags", loaded)
            texts, tokens = _texts(data, loaded, of_texts, common)
            splits = dict(texts)
    if "test" in splits:
        chosen = choose(loaded, splits["test"], include=include_training_texts)
        splits["test"] = chosen.data
        if chosen.left_out:
            ERR.print(
                f"{chosen.left_out:,} {loaded.reads} were in the model's training data and "
                f"are left out; {len(chosen.data):,} remain.",
                style="yellow",
            )
    with told(), bars() as progress:
        report = audit_shortcuts(
            loaded,
            splits,
            settings,
            default_units=tokens,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    page = write_shortcuts(report, out / "shortcut.html")
    OUT.print(shortcut_table(report))
    OUT.print_line(headline_of(report), "bold")
    for what, path in (("Report", page), ("Run", out)):
        OUT.print_place(what, path)
    if strict and report.verdict is not ShortcutVerdict.CLEAN:
        raise typer.Exit(1)


def _texts(
    data: str, model: Model, options: dict[str, Any], common: dict[str, Any]
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The splits of texts, and their default tokens."""
    given = dict(options)
    defaults, named = given.pop("defaults"), given.pop("default_token")
    splits = load_splits(data, classes=model.classes, **given, **common)
    splits, tokens = with_default_tokens(splits, defaults)
    refuse_other_tokens(model, splits, defaults)
    return splits, (*tokens, *(named or ()))


def _bags(data: str, options: dict[str, Any], common: dict[str, Any]) -> dict[str, AnyDataset]:
    """The splits of bags; a column that has its usual name is not said."""
    given = {
        **common,
        **bag_reading(bag_column=options["bag_column"], features=options["features"]),
    }
    if given["label_column"] == "label":
        del given["label_column"]
    return dict(load_bag_splits(data, **{k: v for k, v in given.items() if v is not None}))


def _refuse(options: dict[str, Any], kind: str, model: Model) -> None:
    """Refuse options of what the model does not read."""
    for name, value in options.items():
        if value:
            flag = name.replace("_", "-")
            raise SettingsError(
                f"--{flag} is about {kind}, and {model.name} reads {model.reads}; leave it out"
            )
