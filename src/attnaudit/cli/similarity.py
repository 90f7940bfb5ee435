"""`attnaudit similarity`: which pairs of words make two texts similar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnaudit.cli.app import OUT, app, columns_of
from attnaudit.cli.output import told
from attnaudit.console import printable_json
from attnaudit.errors import RunError, SettingsError
from attnaudit.files import writable

if TYPE_CHECKING:
    from attnaudit.models.siamese.table import ScoreKind

SCORES: dict[str | None, ScoreKind | None] = {None: None, "cosine": "cosine", "dot": "dot"}
SHOWN = 3
"""Pairs of a file that are printed in full."""


@app.command()
def similarity(
    model: Annotated[
        str, typer.Argument(help="Folder or hub name of a sentence-transformers model, or minilm.")
    ],
    a: Annotated[str | None, typer.Argument(help="The first text, such as a query.")] = None,
    b: Annotated[
        list[str] | None, typer.Argument(help="The second text; more are compared with the first.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Pairs of texts: CSV, TSV, JSONL or Parquet.")
    ] = None,
    a_column: Annotated[str | None, typer.Option(help="Column of the first text.")] = None,
    b_column: Annotated[str | None, typer.Option(help="Column of the second text.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Pairs of the file.")] = None,
    layer: Annotated[
        int, typer.Option(min=0, help="0: by input tokens; k: by outputs of layer k, faster.")
    ] = 0,
    tolerance: Annotated[
        float, typer.Option(help="How far the table's sum may lie from the score.")
    ] = 1e-3,
    reference: Annotated[
        str, typer.Option(help="padding, mask, zero, mean, or a token of the vocabulary.")
    ] = "padding",
    score: Annotated[
        str | None, typer.Option(help="cosine or dot; the model's own by default.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Put before every text; else the model's default prompt.")
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write score, tokens and table of each pair.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with linked texts.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder in which what is known of each text is kept.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other files at --json and --html.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
) -> None:
    """Show which pairs of words make two texts similar, in a table that adds up to the score.

    Several texts after the first are compared with it, at the cost of one each.

    Example: attnaudit similarity minilm "A man plays a guitar." "Somebody makes music."
    """
    # sentence-transformers takes seconds to import
    from attnaudit.data.sources.resolve import resolve
    from attnaudit.models.siamese.similarity import similarities
    from attnaudit.report.files import check_output, write_text
    from attnaudit.report.similarity import write_similarity
    from attnaudit.report.similarity_terminal import show_pair

    if (file is None) == (a is None or not b):
        raise SettingsError("give two texts, or pairs of texts with --file, and not both")
    if score not in SCORES:
        raise SettingsError(f"--score must be cosine or dot, got {score!r}")
    for option, path in (("--json", as_json), ("--html", html)):
        if path is not None:
            check_output(path, option, overwrite=overwrite, reads=(file, model))
    if as_json is not None and html is not None and as_json.resolve() == html.resolve():
        raise SettingsError("--json and --html name one file; give two")
    why = None if cache is None else writable(cache)
    if why is not None:
        raise RunError(f"the cache folder {cache} cannot be written: {why}; give another")
    columns = {**columns_of(a=a_column, b=b_column), "score": None}
    source = resolve(file, "pairs", columns=columns, limit=limit)
    pairs = (
        [(a or "", other) for other in b or ()]
        if file is None
        else [(pair.a, pair.b) for pair in source.data()]
    )
    with told():
        found = list(
            similarities(
                model,
                pairs,
                layer=layer,
                tolerance=tolerance,
                reference=reference,
                kind=SCORES[score],
                prompt=prompt,
                cache=cache,
                device=device,
            )
        )
    many = file is not None or len(found) > SHOWN
    for one in found[: SHOWN if many else len(found)]:
        show_pair(OUT, one.table)
        OUT.print()
    if len(found) > SHOWN:
        OUT.print(f"{len(found) - SHOWN} more pairs; --html and --json hold all of them.")
    if as_json is not None:
        text = printable_json([one.to_dict() for one in found], indent=None)
        OUT.print_place("JSON", write_text(as_json, text))
    if html is not None:
        about = (("Model", model), ("Layer", str(layer)), ("Reference", reference))
        page = write_similarity([one.table for one in found], html, about)
        OUT.print_place("Page", page)
