"""The descent of the published search where decode is linear, its gradient written out by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnaudit.measures.divergence import jensen_shannon, total_variation

SPREAD = 3.0
"""Standard deviation of the first logits, as in the published code."""

BETA_1, BETA_2, TINY = 0.9, 0.999, 1e-8
"""Adam's decay rates and the constant under its root: PyTorch's defaults."""

NOWHERE = -1e4
"""The logit of padding: its weight is exactly 0, and unlike −∞ it times 0 is 0."""

RECENTRE = 64
"""After so many steps the logits are shifted back to a maximum of 0, so that none overflows."""


@dataclass(frozen=True)
class Loss:
    """The published loss per instance."""

    hinge: float
    penalty: float
    pair_weight: float

    @staticmethod
    def of(
        epsilon: float, hinge: float | None, penalty: float, pair_weight: float | None, count: int
    ) -> Loss:
        """With ε for a hinge and 1/K² for the weight of a pair, where none is given."""
        pair = 1 / count**2 if pair_weight is None else pair_weight
        return Loss(epsilon if hinge is None else hinge, penalty, pair)

    def __call__(
        self,
        other: Float[Tensor, "B K T"],
        original: Float[Tensor, "B 1 T"],
        change: Float[Tensor, "B K"],
    ) -> Float[Tensor, " B"]:
        """The loss of candidates, of the weights and of the changes of output."""
        pairs = jensen_shannon(other.unsqueeze(1), other.unsqueeze(2)).sum((1, 2))
        each = self.penalty * torch.relu(change - self.hinge) - jensen_shannon(other, original)
        return each.sum(1) - self.pair_weight * pairs


@dataclass(frozen=True)
class Linear:
    """A linear decode as the descent wants it: candidates first, a sigmoid for two classes."""

    scores: Tensor  # (B, T, C), or (B, T) of log-odds
    offset: Tensor  # (B, C), or (B,)
    base: Tensor  # (1, B, C) probabilities, or (1, B)

    @staticmethod
    def of(scores: Tensor, offset: Tensor, weights: Tensor, real: Tensor) -> Linear:
        """Of the scores and offsets of instances, with what their own weights give."""
        scores = scores.masked_fill(~real.unsqueeze(-1), 0.0)
        if scores.shape[-1] == 2:
            scores, offset = scores[..., 1] - scores[..., 0], offset[..., 1] - offset[..., 0]
            return Linear(scores, offset, torch.sigmoid((weights * scores).sum(-1) + offset)[None])
        logits = torch.bmm(weights.unsqueeze(1), scores).squeeze(1) + offset
        return Linear(scores, offset, torch.softmax(logits, -1)[None])

    def change(self, p: Float[Tensor, "K B T"]) -> tuple[Tensor, Tensor]:
        """Outputs, and their total variation `(K, B)` from the original."""
        if self.scores.dim() == 2:
            outputs = torch.sigmoid((p * self.scores).sum(-1) + self.offset)
            return outputs, (outputs - self.base).abs()
        logits = torch.bmm(p.transpose(0, 1), self.scores).transpose(0, 1) + self.offset
        outputs = torch.softmax(logits, -1)
        return outputs, total_variation(outputs, self.base)

    def push(self, slope: Tensor, p: Tensor, loss: Loss) -> None:
        """Adds the gradient of the hinge with respect to `p` to `slope (K, B, T)`."""
        outputs, change = self.change(p)
        active = (change > loss.hinge) * loss.penalty
        if self.scores.dim() == 2:
            steep = (outputs - self.base).sign_() * outputs * (1 - outputs) * active
            slope.addcmul_(steep.unsqueeze(-1), self.scores)
            return
        sign = 0.5 * (outputs - self.base).sign_()
        steep = outputs * (sign - (outputs * sign).sum(-1, keepdim=True)) * active.unsqueeze(-1)
        slope += torch.bmm(steep.transpose(0, 1), self.scores.mT).transpose(0, 1)

    def take(self, rows: Tensor) -> Linear:
        """Some of the instances."""
        return Linear(self.scores[rows], self.offset[rows], self.base[:, rows])


class Descent:
    """Adam with AMSGrad on the logits of instances of similar length, in place."""

    def __init__(
        self, noise: Tensor, weights: Tensor, real: Tensor, linear: Linear, loss: Loss
    ) -> None:
        count = noise.shape[1]
        logits = (SPREAD * noise).masked_fill(~real.unsqueeze(1), NOWHERE).transpose(0, 1)
        self.linear, self.loss = linear, loss
        self.logits = logits.contiguous()
        self.memory = [torch.zeros_like(self.logits) for _ in range(3)]
        # The weights stand below the candidates, so that one product gives all sums of pairs.
        self.p = torch.cat((self.logits, weights.unsqueeze(0)))
        self.adds, self.counts = _pairings(count, loss.pair_weight, self.p)
        self.own = 0.5 + (count - 1) * loss.pair_weight

    def run(
        self, lr: float, steps: int, patience: int, tolerance: float
    ) -> tuple[Float[Tensor, "B K T"], Int[Tensor, " B"]]:
        """The weights found, and after how many steps each instance stopped."""
        total = self.logits.shape[1]
        rows = torch.arange(total, device=self.logits.device)
        found = self._weights().transpose(0, 1).clone()
        used = torch.full((total,), steps, dtype=torch.int64, device=self.logits.device)
        past: Tensor | None = None
        for step in range(1, steps + 1):
            if step % RECENTRE == 1:
                self.logits -= self.logits.amax(-1, keepdim=True)
            self._step(step, lr)
            if not patience or step % patience or step == steps:
                continue
            now = self._divergence()
            if past is not None:
                moving = ((past - now).abs() > tolerance).any(-1)
                found[rows[~moving]] = self._weights().transpose(0, 1)[~moving]
                used[rows[~moving]] = step
                if not moving.all():
                    rows, now = rows[moving], now[moving]
                    self._keep(moving)
            past = now
            if not len(rows):
                return found, used
        found[rows] = self._weights().transpose(0, 1)
        return found, used

    def _step(self, step: int, lr: float) -> None:
        count = len(self.logits)
        p = torch.exp(self.logits, out=self.p[:count])
        p /= p.sum(-1, keepdim=True)
        slope = self._slope(p)
        mean, square, largest = self.memory
        mean.lerp_(slope, 1 - BETA_1)
        square.mul_(BETA_2).addcmul_(slope, slope, value=1 - BETA_2)
        torch.maximum(largest, square, out=largest)
        # PyTorch divides the root by √(1 − β₂ⁿ); multiplying the rest instead saves a pass.
        correction = math.sqrt(1 - BETA_2**step)
        root = torch.sqrt(largest, out=slope).add_(TINY * correction)
        self.logits.addcdiv_(mean, root, value=-lr * correction / (1 - BETA_1**step))

    def _slope(self, p: Float[Tensor, "K B T"]) -> Float[Tensor, "K B T"]:
        """The gradient of the loss with respect to the logits.

        ∂JSD(p, q)/∂p = ½ ln(2p / (p + q)), and ln p = logit − a constant per candidate. Softmax
        takes a gradient g to p (g − Σ p g), so that constants, ln 2 among them, drop out.
        """
        flat = self.p.view(len(self.p), -1)
        sums = torch.mm(self.adds, flat).clamp_min_(torch.finfo(p.dtype).tiny).log_()
        slope = torch.mm(self.counts, sums).view_as(p)
        slope.add_(self.logits, alpha=-self.own)
        self.linear.push(slope, p, self.loss)
        slope *= p
        return slope.sub_(p * slope.sum(-1, keepdim=True))

    def _weights(self) -> Tensor:
        return torch.softmax(self.logits, -1).masked_fill(self.logits <= NOWHERE / 2, 0.0)

    def _divergence(self) -> Float[Tensor, "B K"]:
        return jensen_shannon(self._weights(), self.p[-1]).T

    def _keep(self, moving: Tensor) -> None:
        self.logits = self.logits[:, moving]
        self.memory = [x[:, moving] for x in self.memory]
        self.p = self.p[:, moving]
        self.linear = self.linear.take(moving)


def _pairings(count: int, pair_weight: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are added: every two candidates, and each candidate and the weights.

    Returns:
        `(P, K + 1)` ones and zeros, and `(K, P)` how much the logarithm of each sum counts in the
        gradient of a candidate.
    """
    first, second = torch.triu_indices(count + 1, count + 1, 1)
    adds = torch.zeros(len(first), count + 1)
    place = torch.arange(len(first))
    adds[place, first] = adds[place, second] = 1.0
    with_weights = (second == count).to(adds.dtype)
    counts = adds[:, :count].T * (0.5 * with_weights + pair_weight * (1 - with_weights))
    return adds.to(like), counts.contiguous().to(like)
