"""The matrix of a pair of texts as a chart."""

from __future__ import annotations

import altair as alt
import polars as pl

from attnaudit.models.siamese.reading import REFERENCE
from attnaudit.models.siamese.table import PairTable
from attnaudit.report.similarity_views import in_words


def matrix_chart(table: PairTable) -> alt.Chart:
    """A heat map of words by words, with the references' row and column.

    Args:
        table: Between tokens (which are merged to words) or between words.
    """
    words = in_words(table)
    # numbers before the words keep equal words apart and in order
    a = [f"{i + 1} {word}" for i, word in enumerate((*words.a.shown, REFERENCE))]
    b = [f"{j + 1} {word}" for j, word in enumerate((*words.b.shown, REFERENCE))]
    rows = [
        {"a": a[i], "b": b[j], "value": value}
        for i, line in enumerate(words.values.tolist())
        for j, value in enumerate(line)
    ]
    largest = float(words.values.abs().max()) or 1.0
    colour = alt.Color(
        "value:Q",
        title=f"part of the {words.kind}",
        scale=alt.Scale(scheme="blueorange", domain=[-largest, largest], domainMid=0),
    )
    chart: alt.Chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_rect()
        .encode(
            x=alt.X("b:N", sort=b, title=None, axis=alt.Axis(labelAngle=-45)),
            y=alt.Y("a:N", sort=a, title=None),
            color=colour,
            tooltip=["a:N", "b:N", alt.Tooltip("value:Q", format=".4f")],
        )
        .properties(title=f"score {words.score:.3f}, sum of the table {words.total:.3f}")
    )
    return chart
