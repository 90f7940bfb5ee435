"""Reading a table: what each token adds, which pairs matter most, and how few explain how much."""

from __future__ import annotations

from typing import Literal

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import SettingsError
from attnaudit.measures.ties import settled
from attnaudit.models.siamese.table import PairTable

Side = Literal["a", "b"]
Order = Literal["magnitude", "value"]
REFERENCE = "[reference]"
"""How the reference is written among tokens."""
TOP = 10


def one_sided(table: PairTable, side: Side = "a") -> pl.DataFrame:
    """What each token of one text adds to the score, whatever it meets in the other text.

    A row of the table sums to `D_a[i]·e(b)`, over `|e(a)| |e(b)|` for cosine: the part of the score
    that this token's contribution has with the whole other embedding. The last line is the
    reference of this text, so the column `score` sums to the table's total.

    Args:
        table: Of a pair, between tokens or words.
        side: Whose tokens: `a` for row sums, `b` for column sums.

    Returns:
        One line a token, in order, then one of the reference: `position` (null for the reference),
        `text`, `start` and `end` in the original text (null for what stands for no text),
        `special`, `pairs` (with the other text's tokens), `reference` (with the other text's
        reference), `score` (both), in units of the score.

    Raises:
        SettingsError: `side` is neither.
    """
    if side not in ("a", "b"):
        raise SettingsError(f"side is {side!r}; choose 'a' or 'b'")
    values, tokens = (table.values, table.a) if side == "a" else (table.values.T, table.b)
    spans = [span if span[1] > span[0] else (None, None) for span in tokens.offsets]
    return pl.DataFrame(
        {
            "position": [*range(len(tokens)), None],
            "text": [*tokens.shown, REFERENCE],
            "start": [*(start for start, _ in spans), None],
            "end": [*(end for _, end in spans), None],
            "special": [*tokens.special, True],
            "pairs": values[:, :-1].sum(1).tolist(),
            "reference": values[:, -1].tolist(),
            "score": values.sum(1).tolist(),
        },
        schema={
            "position": pl.Int64,
            "text": pl.String,
            "start": pl.Int64,
            "end": pl.Int64,
            "special": pl.Boolean,
            "pairs": pl.Float64,
            "reference": pl.Float64,
            "score": pl.Float64,
        },
    )


def top_pairs(
    table: PairTable, most: int = TOP, *, order: Order = "magnitude", references: bool = False
) -> pl.DataFrame:
    """The pairs with the largest values, and how much of the score they are.

    Args:
        table: Of a pair, between tokens or words.
        most: How many pairs.
        order: By `magnitude`, or by signed `value`, highest first.
        references: Whether the reference row, column and corner take part.

    Returns:
        One line a pair: `rank`, `i` and `j` (null for a reference), `a` and `b` in words, `value`,
        `share_of_score` (signed, null where the score is 0 within the tolerance) and
        `share_of_magnitude`, of the sum of absolute values of all pairs that take part.

    Raises:
        SettingsError: `order` is none of the two, or `most` is negative.
    """
    if most < 0:
        raise SettingsError(f"most is {most}; give a number of pairs from 0 on")
    values = _taking_part(table, references)
    flat = values.flatten()
    places = _order(flat, order)[:most].tolist()
    wide = max(values.shape[1], 1)
    of_score = _share_of(table)
    magnitude = float(flat.abs().sum())
    lines = []
    for rank, place in enumerate(places, start=1):
        i, j = divmod(place, wide)
        value = float(flat[place])
        lines.append(
            (
                rank,
                i if i < len(table.a) else None,
                j if j < len(table.b) else None,
                table.a.shown[i] if i < len(table.a) else REFERENCE,
                table.b.shown[j] if j < len(table.b) else REFERENCE,
                value,
                None if of_score is None else value * of_score,
                abs(value) / magnitude if magnitude else None,
            )
        )
    schema = {
        "rank": pl.Int64,
        "i": pl.Int64,
        "j": pl.Int64,
        "a": pl.String,
        "b": pl.String,
        "value": pl.Float64,
        "share_of_score": pl.Float64,
        "share_of_magnitude": pl.Float64,
    }
    return pl.DataFrame(lines, schema=schema, orient="row")


def cumulative_shares(
    table: PairTable, *, order: Order = "magnitude", references: bool = False
) -> pl.DataFrame:
    """How much the k first pairs explain, for every k: the curves of Möller et al. (2023).

    Args:
        table: Of a pair, between tokens or words.
        order: By `magnitude`, or by signed `value`, highest first.
        references: Whether the reference row, column and corner take part; only then does the last
            `of_score` come to 1, short of the residual.

    Returns:
        One line for each number of pairs from 0 on: `pairs`, `of_pairs` in [0, 1], `of_magnitude`
        in [0, 1] (share of the sum of absolute values), `value` (signed sum) and `of_score` (the
        same over the score, which can go beyond 1; null where the score is 0 within the
        tolerance).

    Raises:
        SettingsError: `order` is none of the two.
    """
    flat = _taking_part(table, references).flatten()
    flat = flat[_order(flat, order)]
    sums = torch.cat([flat.new_zeros(1), flat.cumsum(0)])
    sizes = torch.cat([flat.new_zeros(1), flat.abs().cumsum(0)])
    count = torch.arange(len(flat) + 1, device=flat.device)
    of_score = _share_of(table)
    return pl.DataFrame(
        {
            "pairs": count.tolist(),
            "of_pairs": (count / max(len(flat), 1)).to(torch.float64).tolist(),
            "of_magnitude": (sizes / sizes[-1].clamp_min(torch.finfo(sizes.dtype).tiny)).tolist(),
            "value": sums.tolist(),
            "of_score": [None if of_score is None else v * of_score for v in sums.tolist()],
        },
        schema={
            "pairs": pl.Int64,
            "of_pairs": pl.Float64,
            "of_magnitude": pl.Float64,
            "value": pl.Float64,
            "of_score": pl.Float64,
        },
    )


def _taking_part(table: PairTable, references: bool) -> Float[Tensor, "rows columns"]:
    return table.values if references else table.pairs


def _order(flat: Float[Tensor, " n"], order: Order) -> Tensor:
    if order not in ("magnitude", "value"):
        raise SettingsError(f"order is {order!r}; choose 'magnitude' or 'value'")
    # stable: of equal pairs the first in the text leads
    values = (flat.abs() if order == "magnitude" else flat).unsqueeze(0)
    ranked = settled(values, torch.ones_like(values, dtype=torch.bool)).squeeze(0)
    return ranked.argsort(descending=True, stable=True)


def _share_of(table: PairTable) -> float | None:
    """What makes a value a share of the score; None where the score cannot be told from 0."""
    return None if abs(table.score) <= table.tolerance else 1 / table.score
