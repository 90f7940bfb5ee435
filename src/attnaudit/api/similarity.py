"""Which pairs of words make two texts similar, from a model and two texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import polars as pl
from pydantic import JsonValue

from attnaudit.console import printable_json
from attnaudit.models.siamese.contributions import TOLERANCE
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.reading import REFERENCE, one_sided, top_pairs
from attnaudit.models.siamese.table import PairTable, ScoreKind
from attnaudit.models.siamese.tokens import Span
from attnaudit.models.siamese.words import by_words
from attnaudit.progress import bars
from attnaudit.report.files import write_text
from attnaudit.report.page import framed
from attnaudit.report.similarity import render_similarity
from attnaudit.report.similarity_charts import matrix_chart

if TYPE_CHECKING:
    import altair as alt
    from sentence_transformers import SentenceTransformer
    from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """The score of two texts, divided among pairs of tokens or words.

    Attributes:
        table: The table that adds up; its last row and column belong to the references.
    """

    table: PairTable

    @property
    def score(self) -> float:
        """The model's own score."""
        return self.table.score

    @property
    def total(self) -> float:
        """The sum of the table."""
        return self.table.total

    @property
    def residual(self) -> float:
        """`score - total`."""
        return self.table.residual

    def words(
        self, phrases_a: Sequence[str | Span] = (), phrases_b: Sequence[str | Span] = ()
    ) -> Similarity:
        """The same between words, and between phrases that you name; the sum stays."""
        return Similarity(by_words(self.table, phrases_a, phrases_b))

    @property
    def frame(self) -> pl.DataFrame:
        """One line a pair: `i`, `j` (null for a reference), `a`, `b` and `value`."""
        a = [*self.table.a.shown, REFERENCE]
        b = [*self.table.b.shown, REFERENCE]
        rows = [
            (i if i < len(a) - 1 else None, j if j < len(b) - 1 else None, a[i], b[j], value)
            for i, line in enumerate(self.table.values.tolist())
            for j, value in enumerate(line)
        ]
        schema = {"i": pl.Int64, "j": pl.Int64, "a": pl.String, "b": pl.String, "value": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def top(self, most: int = 10) -> pl.DataFrame:
        """The strongest pairs with their shares of the score (`siamese.reading.top_pairs`)."""
        return top_pairs(self.table, most)

    def side(self, of: str = "a") -> pl.DataFrame:
        """What each token of one text adds (`siamese.reading.one_sided`)."""
        return one_sided(self.table, of)  # type: ignore[arg-type]

    def plot(self) -> alt.Chart:
        """The matrix as a chart of Altair."""
        return matrix_chart(self.table)

    def html(self) -> str:
        """A page with both texts, linked, and the matrix; it loads nothing."""
        return render_similarity([self.table])

    def to_html(self, path: str | Path) -> Path:
        """Write that page, whole or not at all.

        Raises:
            RunError: The file cannot be written.
        """
        return write_text(Path(path), self.html())

    def to_json(self, path: str | Path | None = None) -> str:
        """All of it as JSON, written to `path` where one is given."""
        text = printable_json(self.to_dict(), indent=None)
        if path is not None:
            write_text(Path(path), text)
        return text

    def _repr_html_(self) -> str:
        """The page in a frame of its own, for notebooks."""
        return framed(self.html())

    def to_dict(self) -> dict[str, JsonValue]:
        """All of it as JSON values."""
        table = self.table
        return {
            "a": table.a.text,
            "b": table.b.text,
            "score": table.score,
            "kind": table.kind,
            "sum": table.total,
            "residual": table.residual,
            "tolerance": table.tolerance,
            "adds_up": table.adds_up,
            "reference_a": table.reference_a,
            "reference_b": table.reference_b,
            "cut_a": table.a.cut,
            "cut_b": table.b.cut,
            "role_a": table.a.role,
            "role_b": table.b.role,
            "unknown_a": table.a.unknown,
            "unknown_b": table.b.unknown,
            "plain_sum": table.score - table.plain_error,
            "tokens_a": _tokens(table, "a"),
            "tokens_b": _tokens(table, "b"),
            "last_row_and_column": "of the references",
            "table": table.values.tolist(),
        }


def _tokens(table: PairTable, side: str) -> list[JsonValue]:
    tokens = table.a if side == "a" else table.b
    return [
        {"token": shown, "start": start, "end": end, "special": special}
        for shown, (start, end), special in zip(
            tokens.shown, tokens.offsets, tokens.special, strict=True
        )
    ]


class Options(TypedDict, total=False):
    """The options of `similarities`."""

    layer: int
    tolerance: float
    reference: str | Tensor | Sequence[float]
    kind: ScoreKind | None
    prompt: str | None
    cache: str | Path | None
    device: str | None
    progress: bool | None


def similarities(
    model: SentenceTransformer | str | Path,
    pairs: Iterable[tuple[str, str]],
    *,
    layer: int = 0,
    tolerance: float = TOLERANCE,
    reference: str | Tensor | Sequence[float] = "padding",
    kind: ScoreKind | None = None,
    prompt: str | None = None,
    cache: str | Path | None = None,
    device: str | None = None,
    progress: bool | None = None,
) -> Iterator[Similarity]:
    """The similarities of many pairs, each divided among pairs of tokens.

    A text that stands in several pairs is solved once: a query and k documents cost 1 + k.

    Args:
        model: A `SentenceTransformer`, its folder or hub name, or `minilm`. Each score is held
            against the model's own (`encode_query`, `encode_document`, `similarity`).
        pairs: Pairs of texts; a stream is read in groups of 128.
        layer: 0 to explain by input tokens; k by the outputs of the k-th layer, which is faster
            and mixes tokens more.
        tolerance: How far the sum of a table may lie from the score, from 1e-5 to 0.1; for a dot
            product in units of the two lengths.
        reference: `padding` (the papers'), `mask`, `zero`, `mean`, a token, or a word vector.
        kind: `cosine` or `dot`; the model's own by default.
        prompt: Put before every text; by default what the model itself puts there. A model that
            reads queries and documents in different ways, by a prompt or a `Router` each, reads
            the first text as a query and the second as a document; with `prompt=""`, and no
            `Router`, it reads both alike.
        cache: Folder in which what was computed of each text is kept.
        device: `cpu`, `cuda`, …
        progress: Whether to draw bars; by default where standard error is a terminal.

    Raises:
        AttnauditError: A model, text or option that cannot be used; the message says why.
    """
    encoder = load_siamese(model, layer=layer, kind=kind, prompt=prompt, device=device)
    explainer = PairExplainer(
        encoder, reference=reference, tolerance=tolerance, cache=Path(cache) if cache else None
    )
    with bars(progress) as report:
        for table in explainer.tables(pairs, report):
            yield Similarity(table)
