"""Removing and keeping tokens in the order of their scores, and what becomes of the similarity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
import torch

from attnaudit.evidence.pairs.editing import Edit
from attnaudit.evidence.pairs.pair_methods import (
    PAIR_METHODS,
    PairScores,
    random,
    ranks_nothing,
    scores_of,
)
from attnaudit.evidence.pairs.view import Array, Columns, PairView
from attnaudit.measures.curves import area_over_fractions, removal_order, selected
from attnaudit.measures.ties import settled

NULL = "null"
Curve = Literal["deletion", "insertion"]
Chosen = tuple[Array, Array]
"""Which units of both texts, by their number among the units."""
Sets = dict[int, list[Chosen]]
"""The units at each fraction, by the number of the pair; pairs that cannot be ranked are absent."""
Both = tuple[torch.Tensor, torch.Tensor]
Choose = Callable[[PairView, list[PairScores]], Sets]
Effect = Callable[[PairView, list[int], Both, str], dict[str, Array]]


def token_columns(view: PairView, curve: Curve) -> Columns:
    """Areas and points of the curves of single tokens, for every method and operator.

    Deletion: the fall in similarity without the top units of one text. Insertion: the similarity
    with only the top units of one text left. The other text is whole; both sides are averaged.
    """
    return _columns(view, curve, list(PAIR_METHODS), _token_sets, _one_text)


def pair_columns(view: PairView, curve: Curve) -> Columns:
    """Areas and points of the curves of pairs of tokens, for every method that ranks pairs.

    The top pairs are taken one after the other, each token once, so that every method removes
    equally many. Deletion: what the similarity loses with the tokens of both texts beyond what it
    loses with those of each (see `both_texts`). Insertion: the similarity with only those left.
    """
    named = [name for name, method in PAIR_METHODS.items() if method.pairs]
    return _columns(view, f"pair_{curve}", named, _pair_sets, _both_texts)


def top_units(scores: Sequence[Array], fractions: Sequence[float]) -> list[list[Array]]:
    """For each text and fraction the units of the highest scores: ⌈fraction · n⌉, never all.

    Example:
        >>> [[list(map(int, units)) for units in text]
        ...  for text in top_units([np.array([0.1, 0.9, 0.5])], (0.1, 0.5))]
        [[[1], [1, 2]]]
    """
    lengths = torch.tensor([len(one) for one in scores])
    values = torch.zeros(len(scores), int(lengths.max()), dtype=torch.float64)
    mask = torch.arange(values.shape[1]) < lengths[:, None]
    for row, one in enumerate(scores):
        values[row, : len(one)] = torch.as_tensor(one)
    ranks = removal_order(settled(values, mask), mask)
    some = ranks < lengths[:, None] - 1
    chosen = [(selected(ranks, fraction, mask) & some).numpy() for fraction in fractions]
    return [[np.flatnonzero(one[row]) for one in chosen] for row in range(len(scores))]


def top_matches(scores: Array, fractions: Sequence[float]) -> list[Chosen]:
    """For each fraction the highest pairs, each token in one of them; never all of a text.

    Args:
        scores: `(U_a, U_b)`.
        fractions: Of the shorter text's units, rounded up.

    Example:
        >>> top_matches(np.array([[9.0, 8.0, 1.0], [7.0, 1.0, 6.0]]), (0.5,))
        [(array([0]), array([0]))]
    """
    least = min(scores.shape)
    counts = [min(math.ceil(fraction * least - 1e-9), least - 1) for fraction in fractions]
    flat = torch.from_numpy(scores.astype(np.float64)).view(1, -1)
    left: Array = settled(flat, torch.ones_like(flat, dtype=torch.bool)).view(scores.shape).numpy()
    left = left.copy()
    taken: list[tuple[int, int]] = []
    for _ in range(max(counts)):
        i, j = divmod(int(left.argmax()), left.shape[1])
        taken.append((i, j))
        left[i], left[:, j] = -np.inf, -np.inf
    places = np.array(taken).reshape(-1, 2)
    return [(places[:count, 0], places[:count, 1]) for count in counts]


def _columns(
    view: PairView, prefix: str, methods: Sequence[str], choose: Choose, effect: Effect
) -> Columns:
    fractions, draws = view.settings.fractions, range(view.settings.draws)
    columns: dict[str, Array] = {}
    for operator, edit in view.shared.edits.items():
        chosen = {name: choose(view, scores_of(view, name)) for name in methods}
        chosen |= {f"{NULL} {d}": choose(view, random(view, f"{NULL} {d}")) for d in draws}
        edited = _edited(view, list(chosen.values()), edit, keep=prefix.endswith("insertion"))
        found = {
            name: effect(view, list(some), both, prefix)
            for (name, some), both in zip(chosen.items(), edited, strict=True)
        }
        nulls = [found.pop(f"{NULL} {d}") for d in draws]
        found[NULL] = {kind: np.mean([one[kind] for one in nulls], axis=0) for kind in nulls[0]}
        for name, kinds in found.items():
            for kind, points in kinds.items():
                area = column_of(prefix, kind, operator, name)
                columns[area] = area_over_fractions(torch.from_numpy(points), fractions).numpy()
                for place, fraction in enumerate(fractions):
                    columns[f"{area}@{fraction:g}"] = points[:, place]
    return columns


def column_of(check: str, kind: str, operator: str, name: str) -> str:
    """The column of a curve's area; with `@0.1` at its end, of a point of it.

    Example:
        >>> column_of("pair_deletion", "pair_deletion", "mask", "random")
        'mask.random'
        >>> column_of("pair_deletion", "pair_fall", "mask", "random")
        'pair_fall.mask.random'
    """
    return f"{operator}.{name}" if kind == check else f"{kind}.{operator}.{name}"


def _token_sets(view: PairView, scores: list[PairScores]) -> Sets:
    """For each pair that can be ranked, the units at each fraction."""
    rows = [
        row
        for row, one in enumerate(scores)
        if view.rankable[row] and not (ranks_nothing(one.a) or ranks_nothing(one.b))
    ]
    if not rows:
        return {}
    sides = [
        top_units([getattr(scores[row], side) for row in rows], view.settings.fractions)
        for side in ("a", "b")
    ]
    return {row: list(zip(*both, strict=True)) for row, *both in zip(rows, *sides, strict=True)}


def _pair_sets(view: PairView, scores: list[PairScores]) -> Sets:
    return {
        row: top_matches(one.pairs, view.settings.fractions)
        for row, one in enumerate(scores)
        if view.rankable[row] and one.pairs is not None and not ranks_nothing(one.pairs)
    }


def _one_text(view: PairView, rows: list[int], edited: Both, kind: str) -> dict[str, Array]:
    points = np.full((len(view), len(view.settings.fractions)), np.nan)
    if rows:
        own = view.similar(view.whole[0][rows], view.whole[1][rows], rows)
        repeated = [row for row in rows for _ in view.settings.fractions]
        sides = [
            view.similar(edited[side], view.whole[1 - side][repeated], repeated) for side in (0, 1)
        ]
        similar = np.mean(sides, axis=0).reshape(len(rows), -1)
        points[rows] = similar if kind == "insertion" else own[:, None] - similar
    return {kind: points}


def _both_texts(view: PairView, rows: list[int], edited: Both, kind: str) -> dict[str, Array]:
    """Of deletion two curves: what only both texts' removals lose together, and the plain fall.

    The plain fall misleads: of two equal texts, removing what matches leaves what matches, so the
    right pairs lower the score the least.
    """
    names = (kind,) if kind == "pair_insertion" else (kind, "pair_fall")
    found = {name: np.full((len(view), len(view.settings.fractions)), np.nan) for name in names}
    if not rows:
        return found
    repeated = [row for row in rows for _ in view.settings.fractions]
    a, b = (side[repeated] for side in view.whole)
    both = view.similar(edited[0], edited[1], repeated)
    own = view.similar(a, b, repeated)
    alone = view.similar(edited[0], b, repeated) + view.similar(a, edited[1], repeated)
    values = {
        "pair_insertion": both,
        "pair_deletion": own - alone + both,
        "pair_fall": own - both,
    }
    for name in names:
        found[name][rows] = values[name].reshape(len(rows), -1)
    return found


def _edited(view: PairView, chosen: Sequence[Sets], edit: Edit, keep: bool) -> list[Both]:
    """For each choice both texts' embeddings at every fraction, row by row: `(R · F, D)` each.

    All are embedded at once, so that passes are full.
    """
    groups = [
        [
            edit(view.tokens[row][side], _places(view.units[row][side], units[side], keep))
            for row, fractions in sets.items()
            for units in fractions
            for side in (0, 1)
        ]
        for sets in chosen
    ]
    if not any(groups):
        return [(torch.empty(0), torch.empty(0))] * len(groups)
    embedded = view.embed([text for group in groups for text in group])
    ends = list(accumulate(map(len, groups), initial=0))
    return [(embedded[start:end:2], embedded[start + 1 : end : 2]) for start, end in pairwise(ends)]


def _places(units: Array, chosen: Array, keep: bool) -> list[int]:
    """The tokens to remove: those of the chosen units, or of all others."""
    gone = np.delete(units, chosen) if keep else units[chosen]
    return [int(place) for place in gone]
