"""One standalone HTML file: no network, readable on a phone and in print, dark and light."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from attnaudit.audits.result import AuditResult
from attnaudit.console import harmless
from attnaudit.findings.pictures import Figure
from attnaudit.report.charts import NARROW, WIDE
from attnaudit.report.curves import spec_of
from attnaudit.report.summary import summarise
from attnaudit.report.vega import Spec, javascript, static_svg

RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
RIGHT_TO_LEFT = re.compile(rf"([{RTL}]+(?:[\s'’\u200c\u200d-]+[{RTL}]+)*)")
"""Words of Hebrew, Arabic and other scripts that run from right to left."""


def render_html(result: AuditResult) -> str:
    """The report of an audit as one HTML document.

    Every text that comes from data or model is escaped, and a content security policy allows the
    file's own two scripts and nothing else.
    """
    summary = summarise(result)
    return render_page(
        "report.html.j2",
        [b for section in summary.sections for b in section.blocks if isinstance(b, Figure)],
        s=summary,
        model_name=result.report.plan.model.name,
        version=result.report.plan.attnaudit_version,
    )


def framed(document: str) -> str:
    """A document in a frame of its own, for notebooks: its style stays inside."""
    style = "width:100%;height:44rem;border:1px solid #8886"
    return f'<iframe title="attnaudit report" style="{style}" srcdoc="{escape(document)}"></iframe>'


def render_page(
    template: str,
    figures: Sequence[Figure],
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    **values: object,
) -> str:
    """A page of ours: template, style, our script, and the drawing library if there are pictures.

    Args:
        template: Its name.
        figures: Every picture that the template shows.
        styles: Further style sheets of ours.
        scripts: Further scripts of ours.
        values: What the template reads.
    """
    specs = {figure.name: spec_of(figure.chart) for figure in figures}
    notice = f"/*!\n{_asset('vega-licence.txt')}*/\n"
    bundle = _inline(notice + javascript()) if figures else ""
    script = _inline("".join(map(_asset, ("report.js", *scripts))))
    html: str = (
        _environment()
        .get_template(template)
        .render(
            css=Markup("".join(map(_asset, ("style.css", *styles)))),  # our own files
            specs=specs,
            stills={name: _stills(spec) for name, spec in specs.items()},
            charts=bool(figures),
            bundle=Markup(bundle),  # a library's code, closing tags defused
            script=Markup(script),  # our own file
            script_sources=" ".join(_hash(code) for code in (bundle, script) if code),
            **values,
        )
    )
    return html


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("attnaudit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_neutral,
    )
    environment.filters["said"] = said
    environment.policies["json.dumps_function"] = lambda value, **options: json.dumps(
        _neutral(value), **options
    )
    return environment


def _neutral(value: object) -> object:
    """Text of any template without open controls of direction, which would turn what follows."""
    if isinstance(value, Markup):
        return value  # our own files, and charts, whose texts are neutral already
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_neutral(name): _neutral(inner) for name, inner in value.items()}
    return [_neutral(inner) for inner in value] if isinstance(value, list | tuple) else value


def said(text: object) -> Markup:
    """A sentence for a page, in which words that run from right to left are set apart.

    Else a name of the user's would turn the figures and marks beside it.

    Example:
        >>> said("class אב: 3 < 4")
        Markup('class <bdi>אב</bdi>: 3 &lt; 4')
    """
    parts = RIGHT_TO_LEFT.split(str(_neutral(text)))
    # the pattern has one group, so every second part is a match
    apart = (Markup("<bdi>{}</bdi>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))
    return Markup("").join(apart)


def _stills(spec: Spec) -> dict[str, Markup]:
    spec = cast("Spec", _neutral(spec))
    # the converter escapes the texts of the chart as XML
    return {
        name: Markup(static_svg(spec, width))
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    }


@cache
def _asset(name: str) -> str:
    return (files("attnaudit.report") / "templates" / name).read_text(encoding="utf-8")


def _inline(code: str) -> str:
    r"""Code that cannot end the script element it stands in.

    Example:
        >>> _inline("a = '</script>'")
        "a = '<\\/script>'"
    """
    return re.sub(r"<(/script|!--)", r"<\\\1", code, flags=re.IGNORECASE)


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
