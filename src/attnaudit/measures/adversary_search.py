"""The published search for adversarial weights, in score space and many instances at once.

Jain & Wallace (2019), section 4.2.2: `K` distributions are moved by Adam away from the weights and
from each other while the output stays within ε. Where decode is linear the gradient is written out
by hand, so a step costs a few passes over `(B, K, T)` numbers and no hidden state is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attnaudit.measures.divergence import jensen_shannon, total_variation

SPREAD = 3.0
"""Standard deviation of the first logits (released code)."""
BETA1, BETA2, TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class SearchOptions:
    """How the search goes about it; the defaults are the paper's.

    Attributes:
        epsilon: Candidates with a larger output change are not selected.
        hinge: Output change from which the search itself is punished; ε by default. The released
            code has .01 here and selects at .05.
        penalty: Weight of the hinge.
        learning_rate: Of Adam (AMSGrad).
        steps: Steps at most.
        patience: An instance stops once its loss has improved by less than `tolerance` over so
            many steps; 0 never stops early. Known to the linear search only.
        tolerance: See `patience`; in nats.
    """

    epsilon: float = 0.05
    hinge: float | None = None
    penalty: float = 500.0
    learning_rate: float = 0.01
    steps: int = 500
    patience: int = 50
    tolerance: float = 1e-4

    @property
    def bar(self) -> float:
        """From where the hinge punishes."""
        return self.epsilon if self.hinge is None else self.hinge


@dataclass(frozen=True)
class SearchResult:
    """What the search found.

    Attributes:
        weights: `(B, K, T)`, the candidates.
        jsd: `(B, K)`, their divergence from the weights.
        output_change: `(B, K)`, total variation distance of the outputs.
        best_jsd: `(B,)`, the largest divergence among candidates within ε, else 0.
        best: `(B,)`, which candidate that is; -1 where none is within ε.
        steps_used: Steps taken.
    """

    weights: Float[Tensor, "B K T"]
    jsd: Float[Tensor, "B K"]
    output_change: Float[Tensor, "B K"]
    best_jsd: Float[Tensor, "B"]
    best: Int[Tensor, "B"]
    steps_used: int


def search_adversary(
    scores: Float[Tensor, "B T C"],
    bias: Tensor,
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    noise: Float[Tensor, "B K T"],
    options: SearchOptions | None = None,
) -> SearchResult:
    """Search where decode is linear: `outputs = softmax(bias + Σ_t α_t scores_t)`.

    Args:
        scores: `(B, T, C)`.
        bias: `(C,)` or `(B, C)`.
        weights: `(B, T)`, distributions over the mask.
        mask: `(B, T)`, True at units.
        noise: `(B, K, T)`, standard normal: the first logits are three times this.
        options: See `SearchOptions`.
    """
    options = options or SearchOptions()
    offset = (bias if bias.dim() == 2 else bias.expand(len(scores), -1)).unsqueeze(1)
    base = torch.softmax(torch.bmm(weights.unsqueeze(1), scores) + offset, -1)
    logits = (SPREAD * noise).masked_fill(~mask.unsqueeze(1), -math.inf)
    problem = _Problem(
        scores, offset, weights.unsqueeze(1), mask.unsqueeze(1), base, options.penalty, options.bar
    )
    used = _descend(logits, problem, options)
    found = torch.softmax(logits, -1).nan_to_num()
    outputs = torch.softmax(torch.bmm(found, scores) + offset, -1)
    return _selected(found, outputs, base, weights, options.epsilon, used)


def search_adversary_autograd(
    decode: Callable[[Tensor], Tensor],
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    noise: Float[Tensor, "B K T"],
    options: SearchOptions | None = None,
) -> SearchResult:
    """The same search for any differentiable decode, `(B, K, T)` to log-probabilities."""
    options = options or SearchOptions()
    with torch.no_grad():
        base = decode(weights.unsqueeze(1)).exp()
    closed = ~mask.unsqueeze(1)
    logits = (SPREAD * noise).masked_fill(closed, 0.0).requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=options.learning_rate, amsgrad=True)
    original, k = weights.unsqueeze(1), noise.shape[1]
    for _ in range(options.steps):
        with torch.enable_grad():
            other = torch.softmax(logits.masked_fill(closed, -math.inf), -1)
            excess = torch.relu(total_variation(decode(other).exp(), base) - options.bar)
            pairs = jensen_shannon(other.unsqueeze(1), other.unsqueeze(2)).sum() / k**2
            loss = (options.penalty * excess - jensen_shannon(other, original)).sum() - pairs
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        found = torch.softmax(logits.masked_fill(closed, -math.inf), -1).nan_to_num()
        outputs = decode(found).exp()
    return _selected(found, outputs, base, weights, options.epsilon, options.steps)


def _selected(
    found: Tensor, outputs: Tensor, base: Tensor, weights: Tensor, epsilon: float, used: int
) -> SearchResult:
    change = total_variation(outputs, base)
    jsd = jensen_shannon(found, weights.unsqueeze(1))
    allowed = torch.where(change <= epsilon, jsd, -1.0)
    best_jsd, best = allowed.max(1)
    best = torch.where(best_jsd >= 0, best, -1)
    return SearchResult(found, jsd, change, best_jsd.clamp(min=0), best, used)


@dataclass(frozen=True)
class _Problem:
    """What the gradient needs, for the instances that are still moving."""

    scores: Tensor
    offset: Tensor
    weights: Tensor
    open: Tensor
    base: Tensor
    penalty: float
    hinge: float

    def take(self, rows: Tensor) -> _Problem:
        return _Problem(
            self.scores[rows], self.offset[rows], self.weights[rows], self.open[rows],
            self.base[rows], self.penalty, self.hinge,
        )  # fmt: skip

    def slope(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient with respect to the logits `(B, K, T)`, and the loss `(B,)`.

        With `m` the mean of two distributions, `∂JSD(p, q)/∂p = ½ ln(p / m)`.
        """
        k = logits.shape[1]
        first, second = torch.triu_indices(k, k, 1, device=logits.device)
        log_p = torch.log_softmax(logits, -1).masked_fill_(~self.open, 0.0)
        p = log_p.exp().mul_(self.open)
        closed = (~self.open).to(p.dtype)
        # ln(p + q) with ln 1 off the units, so that nothing there is infinite
        log_sum = torch.log(p + self.weights + closed)
        pair_sum = torch.log(p[:, first] + p[:, second] + closed)
        meets = torch.zeros(k, len(first), dtype=p.dtype, device=p.device)
        meets[first, torch.arange(len(first))] = 1.0
        meets[second, torch.arange(len(first))] = 1.0
        towards = 0.5 * (log_p - log_sum + math.log(2))
        apart = ((k - 1) * (log_p + math.log(2)) - torch.matmul(meets, pair_sum)) / k**2

        outputs = torch.softmax(torch.bmm(p, self.scores) + self.offset, -1)
        gap = outputs - self.base
        change = 0.5 * gap.abs().sum(-1, keepdim=True)
        sign = 0.5 * gap.sign()
        slope = outputs * (sign - (outputs * sign).sum(-1, keepdim=True))
        slope = slope * (self.penalty * (change > self.hinge))
        total = torch.bmm(slope, self.scores.transpose(1, 2)) - towards - apart
        result = p * (total - (p * total).sum(-1, keepdim=True))
        loss = self._loss(p, towards, apart, log_sum, pair_sum, change)
        return result, loss

    def _loss(
        self, p: Tensor, towards: Tensor, apart: Tensor, log_sum: Tensor, pair_sum: Tensor,
        change: Tensor,
    ) -> Tensor:  # fmt: skip
        """Up to the entropy of the weights, which is constant: enough to see it settle."""
        original = 0.5 * (self.weights * (math.log(2) - log_sum)).sum((1, 2))
        hinge = self.penalty * torch.relu(change - self.hinge).sum((1, 2))
        return hinge - (p * (towards + apart)).sum((1, 2)) - original


def _descend(logits: Tensor, problem: _Problem, options: SearchOptions) -> int:
    """Adam with AMSGrad, in place; instances that have settled leave the batch."""
    rows = torch.arange(len(logits), device=logits.device)
    here = logits
    mean, square, largest = (torch.zeros_like(logits) for _ in range(3))
    past: Tensor | None = None
    for step in range(1, options.steps + 1):
        slope, loss = problem.slope(here)
        mean.mul_(BETA1).add_(slope, alpha=1 - BETA1)
        square.mul_(BETA2).addcmul_(slope, slope, value=1 - BETA2)
        torch.maximum(largest, square, out=largest)
        root = largest.sqrt().div_(math.sqrt(1 - BETA2**step)).add_(TINY)
        here.addcdiv_(mean, root, value=-options.learning_rate / (1 - BETA1**step))
        if not options.patience or step % options.patience:
            continue
        if past is not None:
            moving = past - loss > options.tolerance
            if here is not logits:
                logits[rows] = here
            if not moving.any():
                return step
            if moving.float().mean() < 0.8:
                rows, loss = rows[moving], loss[moving]
                here, mean, square, largest = (x[moving] for x in (here, mean, square, largest))
                problem = problem.take(moving)
        past = loss
    if here is not logits:
        logits[rows] = here
    return options.steps
