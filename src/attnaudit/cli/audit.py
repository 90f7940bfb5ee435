"""`attnaudit audit`: the main job."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from attnaudit.api import Audit
from attnaudit.audits.door import Question, ask
from attnaudit.audits.forecast import batches, forecast
from attnaudit.checks.registry import groups
from attnaudit.cli.app import ERR, OUT
from attnaudit.cli.options import (
    DATA,
    RUN,
    TRANSFORMER,
    Columns,
    DataDir,
    Device,
    DropEmpty,
    DropUnlabelled,
    DryRun,
    Dtype,
    EngineNamed,
    Layer,
    Limit,
    MaxLength,
    MinLength,
    Pipeline,
    Reference,
    Seed,
    SiteAt,
    Split,
    StrictBounds,
    Target,
    Tokenizer,
    Tolerance,
    Workers,
    panel,
    reading_of,
)
from attnaudit.cli.output import show_result, told, watching
from attnaudit.errors import SettingsError
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import Settings, read_settings
from attnaudit.models.transformer.options import Options
from attnaudit.runs.folders import check_run
from attnaudit.training.selective import DEFAULT_TOKENS

CHECKING = "Checks"
GROUPS = "; ".join(f"{group}: {', '.join(names)}" for group, names in groups().items())


def audit(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a model that `attnaudit train` wrote; a transformer with a head: "
            "folder or hub name; or, for pairs of texts, a sentence-transformers model: folder, "
            "hub name, or minilm."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            help="CSV, JSONL (.gz), Parquet, a folder of splits, a named set or a hub name. "
            "Without it: the test split that `attnaudit train` held out. Checks that train need "
            "the data that the model was trained on.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Run folder; an interrupted audit goes on there.")
    ] = Path("runs/audit"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another audit in the run folder.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 unless all that was asked passes.")
    ] = False,
    check: Annotated[
        list[str] | None,
        panel(CHECKING, f"This check or group only; repeat for more. {GROUPS}."),
    ] = None,
    settings_file: Annotated[
        Path | None, panel(CHECKING, "JSON file with settings and bars to change.", "--settings")
    ] = None,
    set_: Annotated[
        list[str] | None,
        panel(
            CHECKING,
            "A setting as NAME=VALUE; repeat. Such as search=true, costly_limit=500, "
            "bars.epsilon=0.1, trainings.seeds=4, judges.count=5, seeds.which=24.",
            "--set",
            metavar="NAME=VALUE",
        ),
    ] = None,
    default_token: Annotated[
        list[str] | None,
        panel(CHECKING, "Shortcuts: a token in every text that means nothing; repeat for more."),
    ] = None,
    defaults: Annotated[
        str | None,
        panel(
            CHECKING,
            "Shortcuts: the default tokens that a selector was trained with: "
            f"{', '.join(DEFAULT_TOKENS)}.",
        ),
    ] = None,
    graded: Annotated[
        list[str] | None,
        panel(CHECKING, "Seeds: grade the bags of this class only; repeat for more."),
    ] = None,
    column: Columns = None,
    split: Split = None,
    limit: Limit = None,
    tokenizer: Tokenizer = None,
    pipeline: Pipeline = None,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    strict_bounds: StrictBounds = None,
    data_dir: DataDir = None,
    drop_unlabelled: DropUnlabelled = None,
    drop_empty: DropEmpty = None,
    include_training_texts: Annotated[
        bool,
        panel(DATA, "Keep texts that the model was trained on.", "--include-training-texts"),
    ] = False,
    site: SiteAt = None,
    all_sites: Annotated[
        bool,
        panel(TRANSFORMER, "Compare every head of every layer (--check sites).", "--all-sites"),
    ] = False,
    target: Target = None,
    dtype: Dtype = "fp32",
    layer: Layer = 0,
    reference: Reference = "padding",
    tolerance: Tolerance = 1e-3,
    longest: Annotated[
        int | None,
        panel(RUN, "Units above which costly leave-one-out is left out.", min=1),
    ] = None,
    seed: Seed = None,
    workers: Workers = 1,
    engine: EngineNamed = None,
    device: Device = None,
    budget: Annotated[
        str | None,
        panel(RUN, "Draw as many instances as fit into this time, such as 30m, 2h or 90s."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Check whether attention weights, or a similarity, may be shown as an explanation.

    Writes findings.json, instances as Parquet, report.html and card.md into the run folder.
    Texts that the model was trained on are left out, where `attnaudit train` has noted them.
    Where something is trained (--check retraining, shortcut, seeds), it says first what and how
    long that will take. Exit code 0 means the audit ran, whatever its verdict; with --strict, that
    it passed; 1 that a training failed.

    Example: attnaudit audit model/ reviews.csv --column text=review --column label=stars
    """
    given = dict(locals())
    check_run(out, "audit", reads=(model, data, settings_file, data_dir))
    base = read_settings(settings_file) if settings_file else Settings()
    named = (*(check or ()), *(("sites",) if all_sites else ())) or None
    flags = {"seed": seed, "longest": longest, "checks": named}
    settings = changed(base, [f"{n}={json.dumps(v)}" for n, v in flags.items() if v is not None])
    settings = changed(settings, set_ or [])
    question = Question(
        model,
        data,
        settings,
        {**reading_of(given), "seed": settings.seed},
        include_training_texts=include_training_texts,
        default_units=default_token or (),
        defaults=defaults,
        graded=graded,
        layer=layer,
        reference=reference,
        tolerance=tolerance,
        transformer=Options(site, target, dtype),
        device=device,
        out=out,
        workers=workers,
        engine=engine,
    )
    with told():
        question = within(question, seconds_of(budget)) if budget else question
    with told(), ask(question) as asked:
        about = asked.plan.data
        if about.left_out:
            ERR.print(
                f"{about.left_out:,} {about.reads} were in the model's training data and are left "
                f"out; {about.instances:,} remain.",
                style="yellow",
            )
        with OUT.status("timing a few batches"):
            ahead = forecast(asked)
            rate, said = batches(asked)
        for line in (*ahead, *([said] if said else [])):
            OUT.print_line(line)
        if dry_run:
            for cell in asked.waiting:
                OUT.print_line(f"  {cell.name}")
            return
        with watching(len(asked.waiting), lines=bool(ahead)) as watch:
            result = Audit.of(asked.run(overwrite=overwrite, device=device or "cpu", watch=watch))
    show_result(result, out)
    lost = [line for line in result.report.cells if line.status == "failed"]
    if lost or (strict and result.report.judgement.asked is not Verdict.PASS):
        raise typer.Exit(1)


def seconds_of(budget: str) -> float:
    """Seconds of a time as people write it.

    Raises:
        SettingsError: It cannot be read so.

    Example:
        >>> seconds_of("30m"), seconds_of("1.5h"), seconds_of("90")
        (1800.0, 5400.0, 90.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", budget.strip().lower())
    if found is None or float(found[1]) <= 0:
        raise SettingsError(f"--budget {budget}: write a time such as 30m, 2h or 90s.")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def within(question: Question, seconds: float) -> Question:
    """The question on as many instances as fit into a time."""
    with OUT.status("timing a few instances"), ask(question) as asked:
        rate, _ = batches(asked)
        about = asked.plan.data
    if rate is None or rate.seconds(rate.instances) <= seconds:
        return question
    fitting = rate.fitting(seconds)
    OUT.print_line(
        f"{fitting:,} of {about.instances:,} {about.reads} fit into the time: they are drawn by "
        "the seed."
    )
    return replace(question, reading={**(question.reading or {}), "limit": fitting})


def changed(settings: Settings, given: list[str]) -> Settings:
    """Settings with some changed, each written as `name=value` with dots between levels.

    Raises:
        SettingsError: No such setting, or a value that it cannot have.

    Example:
        >>> changed(Settings(), ["search=true", "bars.epsilon=0.1", "trainings.seeds=4"]).bars
        {'epsilon': 0.1}
    """
    values: dict[str, Any] = settings.model_dump()
    for pair in given:
        name, equals, value = pair.partition("=")
        *path, last = name.strip().split(".")
        if not equals:
            raise SettingsError(f"--set {pair}: write NAME=VALUE, such as --set search=true.")
        inner = values
        for step in path:
            inner = inner[step] if isinstance(inner.get(step), dict) else {}
        inner[last] = _value(value)
        if path and not isinstance(values.get(path[0]), dict):
            raise SettingsError(f"--set {pair}: no setting is called {name!r}.")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"the setting {where}: {first['msg']}.") from error


def _value(text: str) -> object:
    """A value as JSON has it; else several with commas between, or text."""
    try:
        return json.loads(text)
    except ValueError:
        return [_value(part) for part in text.split(",")] if "," in text else text
