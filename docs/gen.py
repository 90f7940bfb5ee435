"""Tables of the documentation, made from the declarations in the code, so that they cannot drift.

`hooks.py` puts them into the pages when the site is built. `python docs/gen.py` puts them into the
files that are read without a build: README.md.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from attnaudit import errors
from attnaudit.attribution import EVERY
from attnaudit.audits.frame import COLUMNS
from attnaudit.audits.record import record
from attnaudit.checks.declaration import Check
from attnaudit.checks.registry import CHECKS, GATES, groups
from attnaudit.cli.app import command_of
from attnaudit.data import NAMED_SETS, TOKENIZERS
from attnaudit.evidence.batch.erasing import OPERATORS
from attnaudit.findings.findings import Verdict
from attnaudit.findings.settings import SECTIONS, Bar, Settings
from attnaudit.findings.wording import STATISTICS
from attnaudit.measures.bootstrap import wilson_interval
from attnaudit.nets.text.attentions import ATTENTIONS
from attnaudit.nets.text.encoders import ENCODERS
from attnaudit.remedies import REMEDIES
from attnaudit.report.references import PAPERS

DECLARED = {**GATES, **CHECKS}
PLACEHOLDER = re.compile(r"<!-- (?P<kind>[a-z]+): (?P<name>[a-z_-]+) -->")


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows as a Markdown table."""
    lines = [_row(header), _row("---" for _ in header), *map(_row, rows)]
    return "\n".join(lines)


def code(value: object) -> str:
    """A value in code type; tuples without their brackets."""
    if isinstance(value, tuple):
        return ", ".join(map(code, value))
    return f"`{value}`"


def decides(check: Check) -> str:
    """Whether a failure of the check decides an audit, in words."""
    if not check.decisive:
        return "cautions"
    return f"where `{check.defers_to}` cannot" if check.defers_to else "yes"


def consequence(check: Check) -> str:
    """What a failure of the check leads to, in words."""
    if not check.decisive:
        return "cautions, and does not decide the audit"
    unless = f", unless `{check.defers_to}` has decided" if check.defers_to else ""
    return "forbids showing the explanation" + unless


def checks() -> str:
    """Every check with its question and its paper, group by group."""
    header = ("check", "question", "decides", "needs", "paper")
    parts = []
    for group, names in groups().items():
        rows = (
            _check_row(CHECKS[name], f"[`{name}`]({name.replace('_', '-')}.md)") for name in names
        )
        parts.append(f"### {GROUPS[group]}: `--check {group}`\n\n{table(header, rows)}")
    return "\n\n".join(parts)


GROUPS = {
    "attention": "One trained model",
    "ranking": "All explanations of one model",
    "sites": "All heads of a transformer",
    "retraining": "The model trained again",
    "seeds": "Many seeds on bags",
    "pairs": "Pairs of texts",
    "shortcut": "Shortcuts through the weights",
}


def checks_plain() -> str:
    """The same without links, for the README."""
    header = ("check", "question", "decides", "needs", "paper")
    usual = (check for check in CHECKS.values() if check.group == "attention")
    return table(header, (_check_row(check, code(check.name)) for check in usual))


def attributions() -> str:
    """Every attribution method."""
    return table(
        ("method", "a score says", "sign", "needs", "encoder passes", "paper"),
        (
            (
                code(m.name),
                m.meaning,
                "for or against" if m.signed else "size only",
                ", ".join(sorted(m.needs)) or "–",
                m.cost,
                m.paper,
            )
            for m in EVERY.values()
        ),
    )


def all_bars() -> str:
    """Every bar, the checks that use it, and its source."""
    every = {bar.name: bar for check in DECLARED.values() for bar in check.bars}
    return _bars(every.values(), users=True)


def settings() -> str:
    """Every setting of an audit but its bars."""
    return table(
        ("setting", "default", "meaning"),
        ((code(name), code(default), meaning) for name, default, meaning in every_setting()),
    )


def every_setting() -> Iterator[tuple[str, object, str]]:
    """Every setting but the bars: name, default, meaning."""
    yield from _fields("", Settings)
    for section in sorted(SECTIONS):
        yield from _fields(f"{section}.", type(Settings.model_fields[section].default))


# What the code leaves without a description.
SETTINGS = {
    "seed": "Seed of everything random.",
    "confidence": "Of every interval.",
    "resamples": "Of the bootstrap over instances.",
    "checks": "Which checks run.",
    "permutations": "Random orders of the weights per instance; of judges, shuffled labels.",
    "folds": "Folds of cross-fitted probes.",
    "search_candidates": "Adversaries that the published search seeks at once.",
    "search_steps": "Optimiser steps of the published search.",
    "operators": "How units are erased; the first one gives the verdict.",
}


def operators() -> str:
    """How units are erased."""
    return table(("operator", "what happens"), ((code(k), v) for k, v in OPERATORS.items()))


def data() -> str:
    """The named data sets."""
    return table(
        ("name", "what it is", "classes", "rows used", "hub", "terms", "paper"),
        (
            (
                code(d.name),
                d.title,
                ", ".join(d.classes) or "entities",
                d.keep,
                code(d.hub) if d.hub else d.where,
                d.terms,
                d.paper,
            )
            for d in NAMED_SETS.values()
        ),
    )


def models() -> str:
    """What `attnaudit train` can build."""
    rows = [("`--encoder`", code(n), e.description) for n, e in ENCODERS.items()]
    rows += [("`--attention`", code(n), a.description) for n, a in ATTENTIONS.items()]
    return table(("option", "name", "what it is"), rows)


def remedies() -> str:
    """Every remedy: what it changes, what is expected of it, and its own word on its limits."""
    return table(
        ("remedy", "paper", "what it changes", "expected of it", "λ", "mind"),
        (
            (
                code(r.name),
                r.paper,
                r.changes,
                r.promises,
                "–" if r.weight is None else f"{r.weight:g}",
                r.caveat,
            )
            for r in REMEDIES.values()
        ),
    )


def tokenizers() -> str:
    """How texts are cut into units."""
    return table(
        ("tokenizer", "units"),
        ((code(name), _first(function)) for name, function in TOKENIZERS.items()),
    )


def statistics() -> str:
    """Every statistic by the name that it has in the tidy frame."""
    return table(
        ("statistic", "called", "meaning"),
        ((code(name), s.title, s.meaning) for name, s in STATISTICS.items()),
    )


def frame() -> str:
    """The columns of the tidy frame."""
    return table(
        ("column", "type", "holds"),
        ((code(name), str(kind), FRAME[name]) for name, kind in COLUMNS.items()),
    )


FRAME = {
    "model": "name of the model",
    "data": "name of the data set",
    "check": "name of the check; `performance` for the gate",
    "judged": "what the finding judges: `weights`, `model`, or a calibration row",
    "verdict": "of that finding",
    "statistic": "what was measured",
    "method": "of which attribution, pair of attributions (`a~b`) or adversary",
    "group": "among which instances, or by which erasure operator",
    "value": "the estimate; null where no instance defines it",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "n": "instances that it rests on",
    "undefined": "instances without a value, counted and left out",
    "null": "what to expect where there is nothing to find",
    "seed": "of the audit",
}


def faults() -> str:
    """The errors that attnaudit raises."""
    kinds = [e for e in vars(errors).values() if isinstance(e, type)]
    return table(("error", "when"), ((code(kind.__name__), _first(kind)) for kind in kinds))


def proven() -> str:
    """Verdicts on models whose right answer is known."""
    rows = []
    for reads, by_evidence in record().items():
        for evidence, counts in sorted(by_evidence.items()):
            for right in ("honest", "dishonest"):
                said = counts.get(right, {})
                n = sum(said.values())
                cells = (_wilson(said.get(v.value, 0), n) for v in Verdict)
                rows.append((reads, evidence, right, n, *cells))
    return table(("models of", "evidence", "they are", "audits", *(v.value for v in Verdict)), rows)


def _wilson(hits: int, n: int) -> str:
    found = wilson_interval(hits, n, 0.95)
    if found.low is None or found.high is None:
        return "–"
    return f"{hits / n:.2f} ({found.low:.2f} to {found.high:.2f})"


def papers() -> str:
    """The papers behind checks and attributions."""
    return "\n".join(f"- **{name}.** {reference}" for name, reference in PAPERS.items())


def check(name: str) -> str:
    """What a check declares: the head of its page."""
    c = DECLARED[name]
    rows = (
        ("question", c.question),
        ("paper", c.paper),
        ("statistic", c.statistic),
        ("null", c.null),
        ("better", "higher" if c.higher_is_better else "lower"),
        ("range", f"{c.range[0]:g} to {c.range[1]:g}"),
        ("needs", ", ".join(sorted(c.needs)) or "nothing but weights and a decode"),
        ("a failure", consequence(c)),
        *((("cost", c.cost),) if c.cost else ()),
    )
    return table((f"`{name}`", c.title), rows)


def caveat(name: str) -> str:
    """A check's own word on when not to trust it."""
    return f"> {DECLARED[name].caveat}"


def bars(name: str) -> str:
    """The bars that a check uses."""
    return _bars(DECLARED[name].bars, users=False)


def command(name: str) -> str:
    """One command of the command line."""
    found = command_of(name)
    said = re.sub(r"\s*Example: .*", "", found.help or "", flags=re.DOTALL)
    parts = [said.replace("\n\n", "\n").replace("\n", " ")]
    rows = [_parameter(p) for p in found.params if not p.hidden]
    if rows:
        parts.append(table(("argument or option", "default", "meaning"), rows))
    return "\n\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    f.__name__: f
    for f in (
        checks,
        checks_plain,
        attributions,
        all_bars,
        settings,
        operators,
        data,
        models,
        remedies,
        tokenizers,
        statistics,
        frame,
        faults,
        papers,
        proven,
    )
}
KINDS: dict[str, Callable[[str], str]] = {
    "table": lambda name: TABLES[name](),
    "check": check,
    "caveat": caveat,
    "bars": bars,
    "command": command,
}


def filled(markdown: str) -> str:
    """A page with `<!-- kind: name -->` replaced by what it stands for.

    Raises:
        KeyError: A placeholder that nothing stands behind.
    """
    return PLACEHOLDER.sub(lambda match: KINDS[match["kind"]](match["name"]), markdown)


def refreshed(markdown: str) -> str:
    """A file with everything between `<!-- kind: name -->` and `<!-- end -->` written anew."""
    between = re.compile(rf"({PLACEHOLDER.pattern})\n(?:.*?\n)??(<!-- end -->)", re.DOTALL)
    return between.sub(
        lambda m: f"{m[1]}\n\n{KINDS[m['kind']](m['name'])}\n\n{m[4]}",
        markdown,
    )


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _check_row(check: Check, name: str) -> tuple[str, ...]:
    needs = ", ".join(sorted(check.needs)) or "–"
    return (name, check.question, decides(check), needs, check.paper)


def _bars(bars: Iterable[Bar], *, users: bool) -> str:
    header = ("bar", "default", *(("used by",) if users else ()), "meaning and source")
    return table(
        header,
        (
            (code(bar.name), code(bar.value), *((_users(bar),) if users else ()), bar.source)
            for bar in bars
        ),
    )


def _fields(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, object, str]]:
    for name, field in model.model_fields.items():
        if name != "bars" and name not in SECTIONS:
            yield f"{prefix}{name}", field.default, field.description or SETTINGS.get(name, "")


def _users(bar: Bar) -> str:
    users = [check.name for check in DECLARED.values() if bar in check.bars]
    return "all" if len(users) == len(DECLARED) else ", ".join(map(code, users))


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        name = parameter.name.upper()
        usual = "" if parameter.default is None else code(parameter.default)
        return code(name), "required" if parameter.required else usual, parameter.help or ""
    flag = getattr(parameter, "is_flag", False)
    default = "off" if flag else "" if parameter.default is None else code(parameter.default)
    return ", ".join(map(code, parameter.opts)), default, parameter.help or ""


def _first(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").rstrip(".")


if __name__ == "__main__":
    readme = Path(__file__).parents[1] / "README.md"
    readme.write_text(refreshed(readme.read_text(encoding="utf-8")), encoding="utf-8")
