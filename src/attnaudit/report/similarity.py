"""The similarity of pairs of texts as one standalone HTML file."""

from __future__ import annotations

from collections.abc import Sequence

from attnaudit.errors import DataError
from attnaudit.findings.wording import typeset
from attnaudit.models.siamese.table import PairTable
from attnaudit.report.page import render_page
from attnaudit.report.similarity_views import in_words, view_of
from attnaudit.version import __version__


def render_similarity(tables: Sequence[PairTable], about: Sequence[tuple[str, str]] = ()) -> str:
    """One or several pairs of texts as one HTML document that loads nothing.

    Each pair has its score, the sum of its table and what is missing, both texts with words
    coloured by what they add and linked to one another, the matrix, and the strongest pairs. The
    scale of its colours is written beside each pair. Texts are escaped.

    Args:
        tables: One or more, between tokens (which are merged to words) or between words.
        about: Further facts for the head of the page, such as `("Model", "all-MiniLM-L6-v2")`.

    Raises:
        DataError: There is no pair.
    """
    if not tables:
        raise DataError("there is no pair of texts to show; give at least one table")
    views = [view_of(in_words(table)) for table in tables]
    kinds = sorted({table.kind for table in tables})
    subtitle = [*about, ("Score", " and ".join(kinds)), ("Pairs", f"{len(views):,}")]
    return render_page(
        "similarity.html.j2",
        (),
        styles=("similarity.css",),
        scripts=("similarity.js",),
        pairs=views,
        title=" and ".join(views[0].names) if len(views) == 1 else f"{len(views):,} pairs of texts",
        subtitle=subtitle,
        typeset=typeset,
        version=__version__,
    )
