"""`attnaudit audit-pairs`: may token pairs be shown as the reason for a similarity?"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from attnaudit.cli.app import OUT, Seed, app, columns_of
from attnaudit.cli.output import told
from attnaudit.progress import bars
from attnaudit.runs.disk import write_noted
from attnaudit.runs.folders import check_run, claim, plan_hash


@app.command(name="audit-pairs")
def audit_pairs(
    model: Annotated[
        str, typer.Argument(help="Folder or hub name of a sentence-transformers model, or minilm.")
    ],
    pairs: Annotated[str, typer.Argument(help="Pairs of texts: CSV, TSV, JSONL, Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder for findings, pairs and card.")] = Path(
        "runs/pairs"
    ),
    check: Annotated[
        list[str] | None, typer.Option(help="Repeat for more; all by default.")
    ] = None,
    a_column: Annotated[str | None, typer.Option(help="Column of the first text.")] = None,
    b_column: Annotated[str | None, typer.Option(help="Column of the second text.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pairs, drawn by the seed.")] = 100,
    layer: Annotated[int, typer.Option(min=0, help="Where the tables start; 0: input.")] = 0,
    tolerance: Annotated[float, typer.Option(help="Of the tables' sums.")] = 1e-3,
    reference: Annotated[
        str, typer.Option(help="padding, mask, zero, mean, or a token of the vocabulary.")
    ] = "padding",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another audit of pairs in the folder.")
    ] = False,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
) -> None:
    """Audit tables of token pairs: do they add up, and does removing what they name matter?

    Compares them with a random order, leave-one-out, gradients and aligned token vectors, with
    an encoder of shuffled weights, and with a neutral word added. Fewer than 30 pairs decide
    nothing.

    Example: attnaudit audit-pairs minilm pairs.csv --layer 3 --limit 60
    """
    # sentence-transformers takes seconds to import
    from attnaudit.data.sources.resolve import resolve
    from attnaudit.models.siamese.explainer import PairExplainer
    from attnaudit.models.siamese.load import load_siamese
    from attnaudit.pair_checks.audit import audit_pairs as run_audit
    from attnaudit.pair_checks.registry import PAIR_CHECKS
    from attnaudit.pair_checks.settings import PairSettings
    from attnaudit.report.pair_audit import pair_audit_json, render_pair_audit, render_pair_card

    check_run(out, "pairs", reads=(model, pairs))
    columns = {**columns_of(a=a_column, b=b_column), "score": None}
    chosen = resolve(pairs, "pairs", columns=columns, limit=limit, seed=seed).data()
    texts = [(pair.a, pair.b) for pair in chosen]
    encoder = load_siamese(model, layer=layer, device=device)
    explainer = PairExplainer(encoder, reference=reference, tolerance=tolerance)
    checks, settings = tuple(check or PAIR_CHECKS), PairSettings(seed=seed)
    plan = plan_hash(
        encoder.fingerprint,
        layer,
        reference,
        tolerance,
        list(texts),
        checks,
        settings.model_dump(mode="json"),
    )
    check_run(out, "pairs", plan=plan, overwrite=overwrite)
    with told(), bars() as progress:
        found = run_audit(explainer, texts, checks=checks, settings=settings, progress=progress)
    claim(out, "pairs", plan)
    about = (
        f"{Path(model).name} on {Path(pairs).name}: {found.sizes.audited} pairs, layer {layer}, "
        f"reference {reference}"
    )
    rows = io.BytesIO()
    found.frame.write_parquet(rows)
    for name, content in (
        ("pairs.parquet", rows.getvalue()),
        ("card.md", render_pair_card(found, about).encode("utf-8", "replace")),
        ("findings.json", pair_audit_json(found).encode("utf-8", "replace")),
    ):
        write_noted(out / name, content, out)
    OUT.print(render_pair_audit(found, about))
    OUT.print_place("Findings, pairs and card", out)
