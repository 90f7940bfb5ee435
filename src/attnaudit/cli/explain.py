"""`attnaudit explain`: one text, coloured in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from attnaudit import api
from attnaudit.attribution import LONGEST, METHODS
from attnaudit.cli.app import OUT, Seed, Tokens, app
from attnaudit.models.load import load
from attnaudit.report.terminal import render_explanation


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="Folder of a model that `attnaudit train` wrote.")],
    text: Annotated[str, typer.Argument(help="The text to explain.")],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help=f"Repeat for more: {', '.join(METHODS)}."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    tokenizer: Tokens = None,
    seed: Seed = 0,
    longest: Annotated[
        int, typer.Option(min=1, help="Units above which costly leave-one-out is left out.")
    ] = LONGEST,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
) -> None:
    """Explain one prediction by several attributions, side by side.

    Example: attnaudit explain model/ "not a good film"
    """
    explanation = api.explain(
        load(model, device),
        text,
        methods=method,
        tokenizer=tokenizer or "words",
        seed=seed,
        longest=longest,
    )
    if as_json:
        OUT.print_value(explanation.__dict__)
    else:
        OUT.print(render_explanation(explanation))
