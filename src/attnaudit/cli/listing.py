"""`attnaudit list`: what there is, made from the declarations."""

from __future__ import annotations

from enum import StrEnum
from inspect import getdoc
from typing import Annotated

import typer
from rich.table import Table

from attnaudit.attribution import EVERY
from attnaudit.checks.registry import CHECKS
from attnaudit.cli.app import OUT
from attnaudit.data.bags.modalities import MODALITIES
from attnaudit.data.bags.rules import RULES
from attnaudit.data.bags.sets import BAG_SETS
from attnaudit.data.named.sets import NAMED_SETS
from attnaudit.models.transformer.families import verified
from attnaudit.nets.bags.encoders import BAG_ENCODERS
from attnaudit.nets.bags.pools import BAG_POOLS
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.report.evidence import decides_of


class What(StrEnum):
    """What can be listed."""

    ALL = "all"
    CHECKS = "checks"
    ATTRIBUTIONS = "attributions"
    MODELS = "models"
    DATA = "data"
    BAGS = "bags"
    FAMILIES = "families"


def list_(what: Annotated[What, typer.Argument(help="What to list.")] = What.ALL) -> None:
    """List checks, attributions, models, data sets, and what there is for bags.

    Example: attnaudit list checks
    """
    tables = {
        What.CHECKS: _checks,
        What.ATTRIBUTIONS: _attributions,
        What.MODELS: _models,
        What.DATA: _data,
        What.BAGS: _bags,
        What.FAMILIES: _families,
    }
    for name, table in tables.items():
        if what in (name, What.ALL):
            OUT.print(table())


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_lines=False)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    return table


def _checks() -> Table:
    table = _table("Checks", "check", "question", "put to", "decides", "needs", "paper")
    for check in CHECKS.values():
        kinds = ", ".join(kind.instances for kind in check.kinds)
        needs = ", ".join(sorted(check.needs)) or "-"
        table.add_row(check.name, check.question, kinds, decides_of(check), needs, check.paper)
    return table


def _attributions() -> Table:
    table = _table("Attributions", "method", "a score says", "encoder passes", "paper")
    for method in EVERY.values():
        table.add_row(method.name, method.meaning, method.cost, method.paper)
    return table


def _models() -> Table:
    table = _table("Models that `attnaudit train` makes", "option", "name", "what it is")
    for name, encoder in ENCODERS.items():
        table.add_row("--encoder", name, encoder.description)
    for name, attention in ATTENTIONS.items():
        table.add_row("--attention", name, attention.description)
    return table


def _data() -> Table:
    table = _table("Named data sets", "name", "what it is", "classes", "hub", "terms")
    for name, named in NAMED_SETS.items():
        table.add_row(
            name, named.title, ", ".join(named.classes) or "entities", named.where, named.terms
        )
    return table


def _bags() -> Table:
    table = _table("Bags: `attnaudit train --kind bags`", "what", "name", "it is")
    for name, encoder in BAG_ENCODERS.items():
        table.add_row("--encoder", name, encoder.description)
    for name, pool in BAG_POOLS.items():
        table.add_row("--pool", name, pool.description)
    for name, rule in RULES.items():
        table.add_row("rule", name, f"{rule.title}: make data such as {name}-digits")
    for name, modality in MODALITIES.items():
        table.add_row("modality", name, (getdoc(modality) or "").partition("\n")[0])
    for name, entry in BAG_SETS.items():
        table.add_row(
            "classic set", name, f"{entry.title} ({entry.paper}); your copy in --data-dir"
        )
    return table


def _families() -> Table:
    version, rows = verified()
    title = f"Families of transformers, verified with transformers {version} at every layer"
    table = _table(title, "family", "kind", "largest difference", "decoded", "refused because")
    for row in rows:
        gap = "-" if row.gap is None else f"{row.gap:.0e}"
        modes = ", ".join(dict.fromkeys(row.modes)) or "-"
        table.add_row(row.family, row.kind, gap, modes, row.refused or "-")
    return table
