"""`attnaudit silent`: many seeds of one network of bags, their failures, and ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from attnaudit.cli.app import OUT, DataDir, Limit, Seed, app, label_of
from attnaudit.cli.output import told
from attnaudit.console import visible
from attnaudit.data.bags.loading import GENERATED, load_bag_splits
from attnaudit.data.bags.scaling import scaling_of
from attnaudit.evidence.seeds.ceilings import known_ceilings
from attnaudit.findings.estimates import spoken
from attnaudit.findings.findings import Verdict
from attnaudit.findings.wording import number
from attnaudit.nets.bags.classifier import HEADS, BagConfig
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.progress import bars as progress_bars
from attnaudit.report.silent import write_silent
from attnaudit.runs.folders import check_run
from attnaudit.silent.folder import MODEL, PAGE
from attnaudit.silent.run import SilentReport, audit_silent
from attnaudit.silent.schema import Bars
from attnaudit.training.options import options_for

TONES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
}
KEPT = 24
WEIGHTED = tuple(name for name, pool in BAG_POOLS.items() if pool.weights == "learned")
Column = Annotated[str | None, typer.Option(help="Name of that column, if not the usual one.")]


@app.command()
def silent(
    data: Annotated[
        str,
        typer.Argument(
            help="Bags: .npz, a table with one row an instance, a folder of splits, a classic set, "
            "or a generated one such as 'conjunction-digits'."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Run folder; finished groups of seeds are kept there.")
    ] = Path("runs/silent"),
    pool: Annotated[str, typer.Option(help=", ".join(WEIGHTED))] = "gated",
    encoder: Annotated[str, typer.Option(help=", ".join(BAG_ENCODERS))] = "mlp",
    head: Annotated[str, typer.Option(help=", ".join(HEADS))] = "linear",
    hidden: Annotated[int, typer.Option(min=1, help="Numbers of an encoded instance.")] = 32,
    attention: Annotated[int, typer.Option(min=1, help="Rows inside additive attention.")] = 16,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads, where a pool has some.")] = 4,
    seeds: Annotated[
        int, typer.Option(min=1, help="How many; 5 at least, 20 to speak of rates.")
    ] = KEPT,
    epochs: Annotated[int, typer.Option(min=1)] = 40,
    batch_size: Annotated[int, typer.Option(min=1, help="Bags a step.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a better one.")
    ] = None,
    graded: Annotated[
        list[str] | None,
        typer.Option(help="Grade the bags of this class only; repeat for more."),
    ] = None,
    bag_bar: Annotated[
        float, typer.Option(min=0, max=1, help="Bag AUC of an accurate seed.")
    ] = 0.90,
    instance_bar: Annotated[
        float, typer.Option(min=0, max=1, help="Instance AUROC below which it fails silently.")
    ] = 0.80,
    scale: Annotated[
        bool | None,
        typer.Option("--scale/--as-is", help="Standardise features; by default if no images."),
    ] = None,
    bag_column: Column = None,
    label_column: Column = None,
    truth_column: Column = None,
    data_dir: DataDir = None,
    limit: Limit = None,
    seed: Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another run in the run folder.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu",
) -> None:
    """Train one network of bags from many seeds, and look for failures that its task hides.

    Grades the weights of every seed where the truth of instances is known, says how far seeds
    agree where it is not, and compares ensembles. Writes silent.json, tables, silent.html, and
    the seeds that do their task on the development bags as a model, which `attnaudit audit` reads
    and audits on the bags held out. The same command goes on where it stopped.

    Example: attnaudit silent conjunction-digits --pool self_attention --seeds 24
    """
    check_run(out, "silent", reads=(data, data_dir))
    options: dict[str, Any] = {
        "data_dir": data_dir,
        "bag_column": bag_column,
        "truth_column": truth_column,
        "label_column": None if label_column is None else label_of(label_column),
    }
    given = {name: value for name, value in options.items() if value is not None}
    with OUT.status("reading the bags"):
        splits = load_bag_splits(data, limit=limit, seed=seed, **given)
    train = splits["train"]
    scaling = scaling_of(train) if (len(train.shape) == 1 if scale is None else scale) else None
    ceilings = None
    if data in GENERATED:
        rule, modality = data.rsplit("-", 1)
        ceilings = known_ceilings(rule, modality, splits["test"])
    config = BagConfig(train.classes, train.shape, encoder, pool, head, hidden, attention, heads)
    training = options_for(
        "bags",
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        device=device,
    )
    with told(), progress_bars() as progress:
        report = audit_silent(
            splits,
            config,
            range(seed, seed + seeds),
            options=training,
            graded=graded,
            bars=Bars(bag_bar=bag_bar, instance_bar=instance_bar),
            ceilings=ceilings,
            scaling=scaling,
            out=out,
            overwrite=overwrite,
            progress=progress,
        )
    page = write_silent(report, out / PAGE)
    places = [("Report", page), ("Run", out)]
    if report.chosen:
        places.append(("Model", out / MODEL))
    OUT.print(seeds_table(report))
    OUT.print(findings_table(report))
    OUT.print_line(report.judgement, "bold")
    OUT.print_line(model_line(report))
    for what, path in places:
        OUT.print_place(what, path)


def model_line(report: SilentReport) -> str:
    """Which seeds the saved model is made of."""
    bar = f"a bag AUC of {report.report.bars_in_force['bag']:.2f} on the development bags"
    if not report.chosen:
        return f"No model is saved: no seed has {bar}."
    names = ", ".join(str(report.report.seeds[place].seed) for place in report.chosen)
    return f"The model is made of the seeds with {bar}: {names}."


def seeds_table(report: SilentReport) -> Table:
    """One row a seed and a reference."""
    title = f"Seeds on {visible(report.report.data)} (means over test bags)"
    table = Table(title=title, title_justify="left")
    fields = {
        "roc_auc": "bag AUC",
        "dev_roc_auc": "dev bag AUC",
        "auroc": "instance AUROC",
        "top_one": "top-1",
        "mass": "mass on keys",
        "least_type_share": "least type",
    }
    rows = (*report.report.seeds, *report.report.references)
    shown = {
        field: words
        for field, words in fields.items()
        if any(getattr(row, field) is not None for row in rows)
    }
    table.add_column("weights")
    for words in shown.values():
        table.add_column(words, justify="right")
    table.add_column("kind")
    for row in rows:
        values = [number(getattr(row, field)) for field in shown]
        table.add_row(visible(row.subject), *values, row.kind or "")
    return table


def findings_table(report: SilentReport) -> Table:
    """One row a finding: its verdict, what it rests on, and the sentence."""
    table = Table(title="Findings", title_justify="left", show_lines=True)
    for column in ("finding", "verdict", "headline"):
        table.add_column(column, no_wrap=column == "verdict")
    table.add_column("in words", ratio=1)
    for finding in report.findings:
        tone = TONES[finding.verdict]
        notes = "".join(f"\n{visible(note)}" for note in finding.notes)
        table.add_row(
            finding.check,
            Text(finding.verdict.value, style=tone),
            "" if finding.headline is None else spoken(finding.headline, 3),
            Text.assemble(visible(finding.sentence), (notes, "dim")),
        )
    return table
