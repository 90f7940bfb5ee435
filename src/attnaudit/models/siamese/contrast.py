"""Why this document and not that one, and which stretches of a document to highlight."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from attnaudit.errors import DataError, SettingsError
from attnaudit.models.siamese.reading import Side, one_sided
from attnaudit.models.siamese.table import PairTable


@dataclass(frozen=True)
class Contrast:
    """A query with two documents: which of its words prefer the one, and by what in each.

    Attributes:
        query: One line a token of the query and one of its reference: `position`, `text`, `start`,
            `end`, `special`, `for_a` and `for_c` (row sums, the documents' references included),
            `difference`, and of it `pairs` and `reference` (with the documents' tokens and with
            their references). The column `difference` sums to the difference of the two scores,
            short of `residual`.
        a: What each token of the first document adds (`one_sided`).
        c: The same of the second.
        score_difference: The score with the first document less the one with the second.
        residual: `score_difference` less the sum of the column `difference`.
    """

    query: pl.DataFrame
    a: pl.DataFrame
    c: pl.DataFrame
    score_difference: float
    residual: float


@dataclass(frozen=True)
class Highlight:
    """A stretch of a document to shade.

    Attributes:
        start: Its first character in the document.
        end: One past its last.
        text: What stands there.
        score: What it adds to the score; negative where it lowers it.
        shade: -1 to 1, the score over the largest magnitude of the document's stretches.
    """

    start: int
    end: int
    text: str
    score: float
    shade: float


def contrast(with_a: PairTable, with_c: PairTable) -> Contrast:
    """Why a query scores higher with document A than with document C.

    The score is linear in each text's contributions, so the difference of two scores is the sum
    over the query's tokens of the differences of their row sums. Nothing is computed anew.

    Args:
        with_a: The table of `(query, A)`, between tokens or words.
        with_c: The table of `(query, C)`, with the query cut into the same tokens or words.

    Raises:
        DataError: The first texts differ, or the scores are of two kinds.
    """
    if (with_a.a.text, with_a.a.offsets) != (with_c.a.text, with_c.a.offsets):
        raise DataError(
            "the two tables do not have the same first text in the same pieces; put the query "
            "first in both, and merge it to the same words and phrases"
        )
    if with_a.kind != with_c.kind:
        raise DataError(
            f"one score is a {with_a.kind} and the other a {with_c.kind}; use one model for both"
        )
    for_a, for_c = one_sided(with_a), one_sided(with_c)
    query = for_a.select("position", "text", "start", "end", "special", for_a="score").with_columns(
        for_c=for_c["score"],
        difference=for_a["score"] - for_c["score"],
        pairs=for_a["pairs"] - for_c["pairs"],
        reference=for_a["reference"] - for_c["reference"],
    )
    difference = with_a.score - with_c.score
    return Contrast(
        query=query,
        a=one_sided(with_a, "b"),
        c=one_sided(with_c, "b"),
        score_difference=difference,
        residual=difference - float(query["difference"].sum()),
    )


def highlights(
    table: PairTable, side: Side = "b", *, most: int | None = None, least: float = 0.0
) -> tuple[Highlight, ...]:
    """The stretches of one text with what they add, for a search result to show.

    Args:
        table: Of `(query, document)`; merge it to words first (`by_words`), or the stretches are
            pieces of words.
        side: Which text is the document.
        most: At most so many, the strongest; all by default.
        least: The least magnitude of a shade to keep, from 0 to 1.

    Returns:
        In the order of the text. Special tokens and the references are not among them, so the
        scores do not sum to the model's.

    Raises:
        SettingsError: `most` is negative, or `least` is outside [0, 1].

    Example:
        >>> from attnaudit.models.siamese.tokens import Tokens
        >>> import torch
        >>> query = Tokens("cat", (5,), ("cat",), ((0, 3),), (False,))
        >>> found = Tokens("a cat", (4, 5), ("a", "cat"), ((0, 1), (2, 5)), (False, False))
        >>> table = PairTable(query, found, torch.tensor([[.1, .6, .0], [.0, .1, .0]]).double(),
        ...                   0.8, "cosine", 1e-3, 0.1, 0.1)
        >>> [(h.text, round(h.score, 3), round(h.shade, 3)) for h in highlights(table, most=1)]
        [('cat', 0.7, 1.0)]
    """
    if (most is not None and most < 0) or not 0 <= least <= 1:
        raise SettingsError(
            f"most is {most} and least is {least}; give a number of stretches from 0 on, and a "
            "shade from 0 to 1"
        )
    lines = one_sided(table, side).filter(pl.col("start").is_not_null() & ~pl.col("special"))
    largest = max((abs(score) for score in lines["score"]), default=0.0)
    found = [
        Highlight(start, end, text, score, score / largest if largest else 0.0)
        for start, end, text, score in lines.select("start", "end", "text", "score").iter_rows()
    ]
    strongest = sorted(found, key=lambda h: -abs(h.score))[:most]
    return tuple(sorted((h for h in strongest if abs(h.shade) >= least), key=lambda h: h.start))
