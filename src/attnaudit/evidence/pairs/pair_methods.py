"""Other ways to say which tokens make two texts similar, to compare an explanation with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.evidence.pairs.editing import Edit
from attnaudit.evidence.pairs.view import Array, PairView
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.siamese.jacobian import Path, parts_of
from attnaudit.models.siamese.path import Stretch
from attnaudit.models.siamese.reading import one_sided
from attnaudit.models.siamese.tokens import Role, Tokens

ReadAs = tuple[Role, tuple[int, ...]]
FLAT = 1e-9
"""Scores that differ by less than this share of the largest one rank nothing."""


@dataclass(frozen=True)
class PairScores:
    """Scores of one pair; the higher, the more similar the texts are because of it.

    Attributes:
        a: `(U_a,)`, one a unit of the first text.
        b: `(U_b,)`, one a unit of the second text.
        pairs: `(U_a, U_b)`, or None for a method that says nothing of pairs.
    """

    a: Array
    b: Array
    pairs: Array | None = None


@dataclass(frozen=True)
class PairMethod:
    """A method, declared; `findings.wording.subject` says what tables call it.

    Attributes:
        name: The key in `PAIR_METHODS`.
        paper: Where it comes from.
        meaning: What a token's score says, in one sentence.
        pairs: What the score of a pair of tokens is; empty where there is none.
        cost: Passes of the encoder for a text of T tokens, in words.
        compute: The method itself.
    """

    name: str
    paper: str
    meaning: str
    pairs: str
    cost: str
    compute: Callable[[PairView], list[PairScores]]


def scores_of(view: PairView, name: str) -> list[PairScores]:
    """The scores of one method for all pairs of the view, computed on first use."""
    if name not in view.kept:
        view.kept[name] = PAIR_METHODS[name].compute(view)
    found: list[PairScores] = view.kept[name]
    return found


def ranks_nothing(values: Array | None) -> bool:
    """Whether scores are missing, not finite, or all equal.

    Example:
        >>> ranks_nothing(np.array([0.2, 0.2])), ranks_nothing(np.array([0.1, 0.2]))
        (True, False)
    """
    if values is None or values.size < 2 or not np.isfinite(values).all():
        return True
    return bool(np.ptp(values) <= FLAT * np.abs(values).max())


def integrated(view: PairView) -> list[PairScores]:
    """The table's pairs; of a token, its row or column with the other text's reference."""
    found = []
    for table, (a, b) in zip(view.tables, view.units, strict=True):
        sides = [one_sided(table, side)["score"].to_numpy() for side in ("a", "b")]
        pairs = table.pairs.double().cpu().numpy()[np.ix_(a, b)]
        found.append(PairScores(sides[0][a], sides[1][b], pairs))
    return found


def plain(view: PairView) -> list[PairScores]:
    """Rows and columns of the papers' plain matrix, without the references."""
    found = []
    for table, (a, b) in zip(view.tables, view.units, strict=True):
        matrix = table.pairs.double().cpu().numpy()
        found.append(PairScores(matrix.sum(1)[a], matrix.sum(0)[b]))
    return found


def alignment(view: PairView) -> list[PairScores]:
    """Cosines of the last layer's token vectors; of a token, the best one (BERTScore)."""
    vectors = _per_text(view, partial(_last_states, view))
    found = []
    for (a, b), (i, j) in zip(view.tokens, view.units, strict=True):
        x, y = (torch.nn.functional.normalize(vectors[one.read_as], dim=1) for one in (a, b))
        pairs = (x @ y.T).numpy()[np.ix_(i, j)]
        best = [pairs.max(axis, initial=-1.0) for axis in (1, 0)]
        found.append(PairScores(best[0], best[1], pairs))
    return found


def input_x_gradient(view: PairView) -> list[PairScores]:
    """Input × gradient at the embeddings of tokens and positions, exact for cosine.

    Of a token, `x_i · ∂s/∂x_i`; of a pair, `x_i · ∂²s/∂x_i∂y_j · y_j`, the same from both
    sides. With `P_i = (∂e/∂x_i) x_i` and unit vectors â, b̂ they are `P_i·(b̂ - s â) / |a|` and
    `P_i (1 - ââᵀ)(1 - b̂b̂ᵀ) Q_j / (|a| |b|)` for cosine, `P_i·e(b)` and `P_i·Q_j` for dot.
    """
    parts = _per_text(view, partial(_first_order, view))
    cosine = view.shared.encoder.kind == "cosine"
    found = []
    for (a, b), (i, j), x, y in zip(view.tokens, view.units, *view.whole, strict=True):
        p, q = parts[a.read_as][i], parts[b.read_as][j]
        if cosine:
            p, q = p / x.norm(), q / y.norm()
            x, y = x / x.norm(), y / y.norm()
            p, q = p - torch.outer(p @ x, x), q - torch.outer(q @ y, y)
        found.append(PairScores((p @ y).numpy(), (q @ x).numpy(), (p @ q.T).numpy()))
    return found


def leave_one_out(view: PairView) -> list[PairScores]:
    """What the score loses without a token; of a pair, what only both together lose or gain.

    Of a pair, `s(a, b) - s(a without i, b) - s(a, b without j) + s(a without i, b without j)`,
    which for sums of word vectors and dot is exactly what the pair adds.
    """
    edit = next(iter(view.shared.edits.values()))
    found = []
    for row, ((a, b), (i, j)) in enumerate(zip(view.tokens, view.units, strict=True)):
        if not view.rankable[row]:
            found.append(PairScores(np.zeros(len(i)), np.zeros(len(j)), np.zeros((len(i), len(j)))))
            continue
        x, y = _each_removed(view, a, i, edit), _each_removed(view, b, j, edit)
        x, y = (
            torch.cat([x, view.whole[0][row : row + 1]]),
            torch.cat([y, view.whole[1][row : row + 1]]),
        )
        every = view.all_similar(x, y, row)
        own, without_a, without_b, both = (
            every[-1, -1],
            every[:-1, -1],
            every[-1, :-1],
            every[:-1, :-1],
        )
        pairs = own - without_a[:, None] - without_b[None] + both
        found.append(PairScores(own - without_a, own - without_b, pairs))
    return found


def random(view: PairView, stream: str = "random") -> list[PairScores]:
    """Uniform numbers, drawn from the seed and the two texts."""
    found = []
    for id, (i, j) in zip(view.ids, view.units, strict=True):
        size = len(i) + len(j) + len(i) * len(j)
        mask = torch.ones(1, size, dtype=torch.bool)
        drawn = instance_uniform([id], mask, 1, view.shared.seed, stream)[0, 0].numpy()
        a, b, pairs = np.split(drawn, [len(i), len(i) + len(j)])
        found.append(PairScores(a, b, pairs.reshape(len(i), len(j))))
    return found


class _End(Stretch):
    """One node, at the text itself."""

    def nodes(self, count: int) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        return torch.ones(count, dtype=torch.float64), torch.full((count,), 1 / count).double()


def _first_order(view: PairView, texts: Sequence[Tokens]) -> Float[Tensor, "b t d"]:
    """`(∂e/∂x_t) x_t` of every token at layer 0: an integrated Jacobian of one node, from zero."""
    encoder = view.shared.first_layer
    with encoder.ready():
        states, _ = encoder.states(texts)
        path = Path(texts, torch.zeros_like(states), states, [_End(1.0, 1.0)] * len(texts))
        return parts_of(encoder, path, 1, view.settings.token_budget)[0]


def _last_states(view: PairView, texts: Sequence[Tokens]) -> Float[Tensor, "b t h"]:
    encoder = view.shared.encoder
    ids = torch.tensor([one.ids for one in texts], device=encoder.device)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        states: Tensor = encoder.parts[texts[0].role][0](features)["token_embeddings"]
    return states.double().cpu()


def _per_text(
    view: PairView, compute: Callable[[Sequence[Tokens]], Tensor]
) -> dict[ReadAs, Tensor]:
    """What `compute` gives for every text, in batches of one length."""
    texts = {one.read_as: one for pair in view.tokens for one in pair}
    found: dict[ReadAs, Tensor] = {}
    for kind in sorted({(len(one), one.role) for one in texts.values()}):
        alike = [one for one in texts.values() if (len(one), one.role) == kind]
        size = max(1, view.settings.token_budget // (16 * kind[0]))
        for first in range(0, len(alike), size):
            batch = alike[first : first + size]
            found |= {one.read_as: row for one, row in zip(batch, compute(batch), strict=True)}
    return found


def _each_removed(view: PairView, text: Tokens, units: Array, edit: Edit) -> Float[Tensor, "u d"]:
    return view.embed([edit(text, [int(place)]) for place in units])


PAIR_METHODS: dict[str, PairMethod] = {
    method.name: method
    for method in (
        PairMethod(
            "integrated",
            "Möller et al. 2023, 2024",
            "the token's part of the score, the other text's reference included",
            "the table's entry",
            "a derivative a token at 4 nodes and more",
            integrated,
        ),
        PairMethod(
            "plain",
            "Möller et al. 2024",
            "the token's row or column of the matrix without references",
            "",
            "none besides the table's",
            plain,
        ),
        PairMethod(
            "alignment",
            "Zhang et al. 2020 (BERTScore)",
            "the largest cosine of the token's last-layer vector with one of the other text",
            "the cosine of both tokens' last-layer vectors",
            "one",
            alignment,
        ),
        PairMethod(
            "input_x_gradient",
            "Denil et al. 2014",
            "the first-order effect of the token's embedding on the score",
            "the mixed second-order effect of both tokens' embeddings",
            "a derivative a token",
            input_x_gradient,
        ),
        PairMethod(
            "leave_one_out",
            "Li et al. 2016",
            "what the score loses when the token is removed",
            "what the score loses with both tokens beyond what it loses with each",
            "T",
            leave_one_out,
        ),
        PairMethod(
            "random",
            "calibration",
            "nothing: what an uninformed method would say",
            "likewise nothing",
            "none",
            random,
        ),
    )
}
"""The table comes first; the others are what it is compared with."""
