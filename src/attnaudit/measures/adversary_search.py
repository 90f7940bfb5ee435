"""The published search for adversarial weights, many instances at once.

Jain and Wallace (2019), section 4.2.2: K distributions start at random and are moved by Adam away
from the weights and from each other, while the output stays within ε. Where decode is linear, the
gradient is written out by hand, and a step is a few passes over `(K, B, T)` numbers: no hidden
state is read and no graph is built. Any other decode goes through autograd, with the same loss:

    Σ_k [ penalty · max(0, TVD_k − hinge) − JSD(α^k, α) ] − pair_weight · Σ_{i,j} JSD(α^i, α^j)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.errors import DataError, SettingsError
from attnaudit.measures.adversary_descent import (
    BETA_1,
    BETA_2,
    NOWHERE,
    SPREAD,
    TINY,
    Descent,
    Linear,
    Loss,
)
from attnaudit.measures.divergence import jensen_shannon, total_variation
from attnaudit.measures.masks import by_length, check_mask, compact_index, finite_rows

UNITS_AT_ONCE = 1 << 12
"""How many units move in one step (K numbers each): few enough to stay in the cache."""


@dataclass(frozen=True)
class SearchResult:
    """What the search found.

    Attributes:
        weights: `(B, K, T)`, the candidates.
        jsd: `(B, K)` float64 in [0, ln 2], their divergence from the weights.
        output_change: `(B, K)` float64 in [0, 1], total variation distance of the outputs.
        best_jsd: `(B,)` float64, the largest divergence of a candidate within ε, 0 without one;
            NaN where every output is undefined.
        best: `(B,)`, which candidate that is; −1 for the weights themselves, where none is.
        steps_used: `(B,)`, after how many steps an instance stopped.
    """

    weights: Float[Tensor, "B K T"]
    jsd: Float[Tensor, "B K"]
    output_change: Float[Tensor, "B K"]
    best_jsd: Float[Tensor, " B"]
    best: Int[Tensor, " B"]
    steps_used: Int[Tensor, " B"]


def search_adversary(
    scores: Float[Tensor, "B T C"],
    bias: Tensor,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    noise: Float[Tensor, "B K T"],
    candidates: int = 5,
    epsilon: float = 0.05,
    hinge: float | None = None,
    penalty: float = 500.0,
    pair_weight: float | None = None,
    lr: float = 0.01,
    steps: int = 500,
    patience: int = 0,
    tolerance: float = 1e-3,
) -> SearchResult:
    """The search where decode is linear: outputs are softmax(bias + Σ_t α_t scores_t).

    Instances do not influence each other, so results do not depend on the batch. The published
    search takes 500 steps and is usually still moving then, so stopping early is off by default.
    With `patience`, an instance stops at the first multiple of so many steps at which the
    divergence of none of its candidates has moved by more than `tolerance` since the multiple
    before. (The loss itself is no guide: its hinge jumps from step to step.)

    Args:
        scores: `(B, T, C)`, what unit t adds to the logit of a class per unit of weight.
        bias: `(C,)` or `(B, C)`.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True on real units.
        noise: `(B, K, T)` standard normal numbers; the first logits are three times these.
        candidates: K, how many distributions to search for; must fit the noise.
        epsilon: Candidates with a larger output change are not selected, in [0, 1].
        hinge: Output change from which the search is punished; None for ε. The published code has
            .01 here and selects at .05.
        penalty: Weight of the hinge.
        pair_weight: Weight of each ordered pair of candidates; None for 1/K², as published.
        lr: Learning rate of Adam (AMSGrad).
        steps: Steps at most.
        patience: Steps between two looks at the divergence; 0 never stops early.
        tolerance: See above, in nats. With 50 steps and .001 the mean ε-max JSD of 500 steps on SST
            falls by .0001.

    Returns:
        Candidates in the dtype of `weights`, and which of them is selected. An instance with a
        score or weight that is not finite has NaN for divergences and changes, and −1 for `best`.

    Raises:
        DataError: The shapes do not fit.
        SettingsError: An option is out of range.

    Example:
        >>> scores, weights = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[0.9, 0.1]])
        >>> noise = torch.tensor([[[-1.0, 1.0]]])
        >>> mask = torch.ones(1, 2, dtype=bool)
        >>> found = search_adversary(
        ...     scores, torch.zeros(2), weights, mask, noise=noise, candidates=1
        ... )
        >>> found.best.item(), bool(found.best_jsd > 0.4)
        (0, True)
    """
    _check(weights, mask, noise, candidates, epsilon, steps)
    if scores.dim() != 3 or scores.shape[:2] != mask.shape:
        raise DataError(
            f"scores have shape {tuple(scores.shape)} but the mask {tuple(mask.shape)}; "
            "give scores (B, T, C)"
        )
    defined = finite_rows(mask, scores.abs().amax(-1), weights)
    mask = mask & defined.unsqueeze(-1)
    offset = bias.to(scores).expand(len(mask), scores.shape[-1])
    loss = Loss.of(epsilon, hinge, penalty, pair_weight, candidates)
    found = torch.zeros_like(noise, dtype=weights.dtype)
    used = torch.full((len(mask),), steps, dtype=torch.int64, device=mask.device)
    for rows, width in by_length(mask.sum(-1), UNITS_AT_ONCE, power=1):
        index, real = compact_index(mask[rows])
        index, real = index[:, :width], real[:, :width]
        deep = index.unsqueeze(-1).expand(-1, -1, scores.shape[-1])
        own = weights[rows].gather(-1, index).masked_fill(~real, 0.0)
        linear = Linear.of(scores[rows].gather(1, deep), offset[rows], own, real)
        start = noise[rows].gather(-1, index.unsqueeze(1).expand(-1, candidates, -1))
        descent = Descent(start.to(own), own, real, linear, loss)
        part, used[rows] = descent.run(lr, steps, patience, tolerance)
        wide = torch.zeros_like(found[rows])
        found[rows] = wide.scatter_(-1, index.unsqueeze(1).expand_as(part), part)
    both = torch.cat((weights.masked_fill(~mask, 0.0).unsqueeze(1), found), 1).to(torch.float64)
    score = scores.to(torch.float64).masked_fill(~mask.unsqueeze(-1), 0.0)
    outputs = torch.softmax(torch.bmm(both, score) + offset.unsqueeze(1), -1)
    outputs = outputs.where(defined[:, None, None], math.nan)
    return _selected(found, outputs[:, 1:], outputs[:, :1], both[:, :1], epsilon, used)


def search_adversary_autograd(
    decode: Callable[[Tensor], Tensor],
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    noise: Float[Tensor, "B K T"],
    candidates: int = 5,
    epsilon: float = 0.05,
    hinge: float | None = None,
    penalty: float = 500.0,
    pair_weight: float | None = None,
    lr: float = 0.01,
    steps: int = 500,
) -> SearchResult:
    """The same search for any differentiable decode.

    Args:
        decode: Takes weights `(B, K, T)`, returns log-probabilities `(B, K, C)`.
        weights: See `search_adversary`, also for the arguments below.
        mask: `(B, T)`, True on real units.
        noise: `(B, K, T)` standard normal numbers.
        candidates: K, how many distributions to search for.
        epsilon: Candidates with a larger output change are not selected.
        hinge: Output change from which the search is punished; None for ε.
        penalty: Weight of the hinge.
        pair_weight: Weight of each ordered pair of candidates; None for 1/K².
        lr: Learning rate of Adam (AMSGrad).
        steps: Steps taken.

    Returns:
        Candidates in the dtype of `weights`, and which of them is selected.

    Raises:
        DataError: The shapes do not fit.
        SettingsError: An option is out of range.
    """
    _check(weights, mask, noise, candidates, epsilon, steps)
    loss = Loss.of(epsilon, hinge, penalty, pair_weight, candidates)
    closed = ~mask.unsqueeze(1)
    original = weights.masked_fill(~mask, 0.0).unsqueeze(1)
    logits = (SPREAD * noise.to(weights)).masked_fill(closed, 0.0).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=lr, betas=(BETA_1, BETA_2), eps=TINY, amsgrad=True)
    with torch.no_grad():
        base = decode(original).exp()
    for _ in range(steps):
        with torch.enable_grad():
            other = _weights_of(logits, closed)
            change = total_variation(decode(other).exp(), base)
            # into the logits alone: the model's own parameters gather no gradient
            (logits.grad,) = torch.autograd.grad(loss(other, original, change).sum(), logits)
        optimiser.step()
    with torch.no_grad():
        found = _weights_of(logits, closed)
        change_of = decode(found).exp()
    used = torch.full((len(mask),), steps, dtype=torch.int64, device=mask.device)
    return _selected(found, change_of, base, original.to(torch.float64), epsilon, used)


def _weights_of(logits: Tensor, closed: Tensor) -> Tensor:
    """Softmax over the units; all 0 for an instance without units."""
    return torch.softmax(logits.masked_fill(closed, NOWHERE), -1).masked_fill(closed, 0.0)


def _selected(
    found: Tensor, outputs: Tensor, base: Tensor, original: Tensor, epsilon: float, used: Tensor
) -> SearchResult:
    """The largest divergence within ε, with the weights themselves as the last resort."""
    change = total_variation(outputs.to(torch.float64), base.to(torch.float64))
    jsd = jensen_shannon(found.to(torch.float64), original).where(~change.isnan(), math.nan)
    best_jsd, best = jsd.masked_fill(~(change <= epsilon), -1.0).max(1)
    best = best.masked_fill(best_jsd < 0, -1)
    best_jsd = best_jsd.clamp(min=0).masked_fill(change.isnan().all(-1), math.nan)
    return SearchResult(found, jsd, change, best_jsd, best, used)


def _check(
    weights: Tensor, mask: Tensor, noise: Tensor, candidates: int, epsilon: float, steps: int
) -> None:
    check_mask(mask, weights=weights)
    wanted = (len(mask), candidates, mask.shape[1])
    if candidates < 1 or steps < 0 or not 0 <= epsilon <= 1:
        raise SettingsError(
            f"candidates is {candidates}, steps {steps} and epsilon {epsilon}; they must be at "
            "least 1, at least 0, and between 0 and 1"
        )
    if noise.shape != wanted:
        raise DataError(
            f"noise has shape {tuple(noise.shape)}, but {wanted} is needed: (B, candidates, T)"
        )
