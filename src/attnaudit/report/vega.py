"""The drawing library: its JavaScript in one piece, and its pictures without JavaScript."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import altair as alt
import vl_convert

Spec = dict[str, Any]


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed in one piece; `window.vegaEmbed` draws a chart."""
    bundle: str = vl_convert.javascript_bundle(
        "window.vegaEmbed = vegaEmbed;", vl_version=_version()
    )
    return f"(() => {{{bundle}\n}})();"


def static_svg(spec: Spec, width: int) -> str:
    """The picture without JavaScript: for print, and where scripts are off.

    Args:
        spec: Vega-Lite, as wide as its container.
        width: What it is to be as wide as instead, in pixels, axes and padding included.
    """
    svg: str = vl_convert.vegalite_to_svg(
        {**spec, "width": width}, vl_version=_version(), allowed_base_urls=[]
    )
    return re.sub(r"\s+xmlns:xlink=\"[^\"]*\"", "", svg, count=1)


def _version() -> str | None:
    """The Vega-Lite that altair writes, where the converter knows it; else its newest."""
    wanted = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    versions = getattr(vl_convert, "get_vegalite_versions", None)
    return wanted if versions is not None and wanted in versions() else None
