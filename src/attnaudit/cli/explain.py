"""`attnaudit explain`: one text, one bag, or the similarity of texts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from attnaudit import api
from attnaudit.attribution import EVERY, LONGEST
from attnaudit.audits.door import is_similarity
from attnaudit.audits.explain import DEFAULT_METHODS, explain_records
from attnaudit.cli.app import OUT
from attnaudit.cli.options import (
    Columns,
    Device,
    Dtype,
    Layer,
    Limit,
    Reference,
    Seed,
    SiteAt,
    Target,
    Tokenizer,
    Tolerance,
    panel,
)
from attnaudit.cli.similarity import show_similarity, write_json
from attnaudit.data.kinds import BAGS, TEXTS, Record
from attnaudit.data.reading import parse_columns
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import SettingsError
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.transformer.options import Options
from attnaudit.progress import bars
from attnaudit.report.files import check_output, write_bytes
from attnaudit.report.terminal import render_explanation

ONE, SIMILARITY = "One text or bag", "Similarity"


def explain(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a model that `attnaudit train` wrote; a transformer with a head: "
            "folder or hub name; or a sentence-transformers model: folder, hub name, or minilm."
        ),
    ],
    text: Annotated[
        list[str] | None,
        typer.Argument(
            help="The text to explain; for a similarity two texts or more, of which the first is "
            "compared with each other one.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="File with bags, of which one is explained (see --id); or with pairs of texts: "
            "CSV, TSV, JSONL or Parquet."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Explain every record of --data and write them to this file: .parquet or .jsonl."
        ),
    ] = None,
    json_: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write JSON, for programs, to this file; - for standard output."
        ),
    ] = None,
    html: Annotated[
        Path | None, panel(SIMILARITY, "Write a page with all pairs to this file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files at --json and --html.")
    ] = False,
    column: Columns = None,
    limit: Limit = None,
    id_: Annotated[
        str | None, panel(ONE, "Which record of --data; the first by default.", "--id")
    ] = None,
    method: Annotated[list[str] | None, panel(ONE, f"Repeat for more: {', '.join(EVERY)}.")] = None,
    tokenizer: Tokenizer = None,
    longest: Annotated[
        int, panel(ONE, "Units above which costly leave-one-out is left out.", min=1)
    ] = LONGEST,
    site: SiteAt = None,
    target: Target = None,
    dtype: Dtype = "fp32",
    layer: Layer = 0,
    reference: Reference = "padding",
    tolerance: Tolerance = 1e-3,
    score: Annotated[
        str | None, panel(SIMILARITY, "cosine or dot; the model's own by default.")
    ] = None,
    prompt: Annotated[
        str | None,
        panel(SIMILARITY, "Put before every text; by default what the model itself puts there."),
    ] = None,
    cache: Annotated[
        Path | None, panel(SIMILARITY, "Folder in which what is computed of each text is kept.")
    ] = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Explain one prediction, or the similarity of texts.

    One text, or one bag of a file, is explained by several attributions side by side. For two texts
    the score is divided among pairs of their tokens, in a table that adds up to it.

    Example: attnaudit explain model/ "not a good film"

    Example: attnaudit explain model/ --data reviews.csv --out explained.parquet

    Example: attnaudit explain minilm "A man plays a guitar." "Somebody makes music."
    """
    if is_similarity(model):
        show_similarity(
            model,
            text or [],
            file=data,
            columns=parse_columns(column or ()),
            limit=limit,
            json_path=json_,
            html=html,
            overwrite=overwrite,
            layer=layer,
            reference=reference,
            tolerance=tolerance,
            score=score,
            prompt=prompt,
            cache=cache,
            device=device,
        )
        return
    if out is not None:
        check_output(out, "--out", overwrite=overwrite, reads=(data, model))
    loaded = load(model, device, Options(site, target, dtype))
    if out is not None:
        _explain_all(loaded, data, column, limit, out, method, tokenizer, seed or 0, longest)
        return
    explanation = api.explain(
        loaded,
        _record(loaded, text or [], data, column, id_),
        methods=method,
        tokenizer=tokenizer or "words",
        seed=seed or 0,
        longest=longest,
    )
    if json_ is None:
        OUT.print(render_explanation(explanation))
    else:
        write_json(explanation.__dict__, json_, overwrite=overwrite)


def _explain_all(
    model: Model,
    data: Path | None,
    column: list[str] | None,
    limit: int | None,
    out: Path,
    methods: list[str] | None,
    tokenizer: str | None,
    seed: int,
    longest: int,
) -> None:
    """Every record of a file, into a file."""
    if data is None:
        raise SettingsError("--out writes what is explained of a file: name it with --data")
    if out.suffix not in (".parquet", ".jsonl"):
        raise SettingsError(f"--out {out}: give a name that ends in .parquet or .jsonl")
    columns = parse_columns(column or ())
    if model.kind == TEXTS:
        columns = {"label": None, **columns}
    options = {} if tokenizer is None else {"tokenizer": tokenizer}
    found = resolve(
        data, model.kind.instances, columns=columns, limit=limit, seed=seed, **options
    ).data()
    with bars() as report:
        frame = explain_records(
            model,
            found.records,
            methods or DEFAULT_METHODS,
            seed=seed,
            longest=longest,
            progress=report,
        )
    content = io.BytesIO()
    if out.suffix == ".parquet":
        frame.write_parquet(content)
    else:
        frame.write_ndjson(content)
    OUT.print_place(f"{frame.height:,} explained", write_bytes(out, content.getvalue()))


def _record(
    model: Model, texts: list[str], data: Path | None, column: list[str] | None, id_: str | None
) -> str | Record:
    """The text, or the record of a file that is asked for."""
    if data is None:
        if len(texts) != 1 or model.kind == BAGS:
            need = "a file of bags with --data" if model.kind == BAGS else "one text"
            raise SettingsError(f"give {need}: {model.name} reads {model.kind.instances}")
        return texts[0]
    if texts:
        raise SettingsError("give a text, or a file with --data, and not both")
    columns = parse_columns(column or ())
    records: tuple[Record, ...] = (
        resolve(data, model.kind.instances, columns=columns).data().records
    )
    found = next((one for one in records if id_ is None or one.id == id_), None)
    if found is None:
        raise SettingsError(f"{data}: no record has the id {id_!r}, such as {records[0].id!r}")
    return found
