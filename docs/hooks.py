"""MkDocs hook: placeholders in the pages become tables made from the code."""

from __future__ import annotations

from typing import Any

from gen import filled


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the placeholders of one page before it is rendered."""
    return filled(markdown)
