"""Integrated gradients to a tolerance: nodes go where the output moves, until the scores add up."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.attribution.gradient import embedding_gradient
from attnaudit.models.cut import Batch
from attnaudit.models.encoded import Encoded

FIRST_NODES = 8
PER_PIECE = 4
LOOKS = 64


def integrated_gradients(encoded: Encoded, options: Options) -> Attribution:
    """Integrated gradients of the predicted class's probability (Sundararajan et al. 2017).

    The path runs from zero vectors at all units (start and end markers stay) straight to the
    embeddings. Eight Gauss-Legendre nodes come first. Instances whose scores then miss
    `p(x) - p(baseline)` by more than the tolerance are integrated again with twice the nodes, in
    pieces between which the output moves equally far: trained classifiers often decide on a few
    per cent of the path, and even nodes step over it.

    Returns:
        Scores with `error`, the completeness error left over, per instance.
    """
    path = _Path(encoded, options.token_budget)
    scores = torch.zeros_like(path.change[..., 0])
    error = torch.full_like(scores[:, 0], torch.inf)
    every = torch.arange(len(encoded), device=scores.device)
    ends = path.probability(every, torch.tensor([[0.0], [1.0]]).to(scores).expand(2, len(every)))
    gain = ends[1] - ends[0]

    rows, nodes, passed = every, FIRST_NODES, None
    while len(rows) and nodes <= options.max_nodes:
        if passed is None:
            at, share = _even(nodes, rows)
        else:
            at, share = _graded(passed[:, rows], nodes)
        fresh = path.integral(rows, at.to(scores), share.to(scores))
        missed = (fresh.sum(1) - gain[rows]).abs()
        # the best of all attempts is kept: more nodes need not help at float precision
        better = missed < error[rows]
        scores[rows[better]], error[rows[better]] = fresh[better], missed[better]
        rows = rows[error[rows] > options.tolerance]
        if passed is None and len(rows):
            passed = torch.zeros(LOOKS + 1, len(encoded), dtype=torch.float64, device=rows.device)
            passed[:, rows] = _movement(path, rows)
        nodes *= 2
    return Attribution(on_units(scores, encoded), error)


class _Path:
    """The straight path of every instance, and passes at points on it."""

    def __init__(self, encoded: Encoded, budget: int) -> None:
        with torch.no_grad():
            embedded = encoded.model.embed(encoded.batch)
        self.encoded = encoded
        self.budget = budget
        self.change = embedded * encoded.units.unsqueeze(-1)
        self.start = embedded - self.change

    def probability(self, rows: Int[Tensor, " R"], at: Float[Tensor, "N R"]) -> Tensor:
        """Of the predicted class at `N` points of each of `R` paths: `(N, R)`."""
        model, parts = self.encoded.model, []
        for some in torch.split(at, self._step(rows)):
            batch, inputs, target = self._points(rows, some)
            with torch.no_grad():
                states = model.encode_embedded(batch, inputs)
                outputs = model.said(states)
            parts.append(outputs.gather(1, target.unsqueeze(1)).exp().view(len(some), len(rows)))
        return torch.cat(parts)

    def integral(
        self, rows: Int[Tensor, " R"], at: Float[Tensor, "N R"], share: Float[Tensor, "N R"]
    ) -> Float[Tensor, "R L"]:
        """The weighted sum of `change · gradient` over the points."""
        total = torch.zeros_like(self.change[rows, :, 0])
        step = self._step(rows)
        for some, weight in zip(torch.split(at, step), torch.split(share, step), strict=True):
            batch, inputs, target = self._points(rows, some)
            slope, _ = embedding_gradient(
                self.encoded.model, batch, inputs, target, hold_weights=False
            )
            slope = slope.view(len(some), len(rows), *slope.shape[1:])
            total += torch.einsum("nr,nrle,rle->rl", weight, slope, self.change[rows])
        return total

    def _points(self, rows: Tensor, at: Tensor) -> tuple[Batch, Tensor, Tensor]:
        repeated = rows.repeat(len(at))
        inputs = self.start[rows] + at.view(*at.shape, 1, 1) * self.change[rows]
        return (
            self.encoded.batch.take(repeated),
            inputs.flatten(0, 1),
            self.encoded.targets[repeated],
        )

    def _step(self, rows: Tensor) -> int:
        return max(1, self.budget // max(1, self.change.shape[1] * len(rows)))


def _legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre points and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return torch.as_tensor((points + 1) / 2), torch.as_tensor(weights / 2)


def _even(nodes: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    points, weights = (x.to(rows.device).unsqueeze(1) for x in _legendre(nodes))
    return points.expand(-1, len(rows)), weights.expand(-1, len(rows))


def _movement(path: _Path, rows: Int[Tensor, " R"]) -> Float[Tensor, "P R"]:
    """How far the output has moved at 65 points of the path, half of it counted as spread evenly.

    Forward passes only: they tell where a backward pass is worth its price.
    """
    grid = torch.linspace(0, 1, LOOKS + 1, device=rows.device)
    seen = path.probability(rows, grid.to(path.change).unsqueeze(1).expand(-1, len(rows)))
    moved = seen.double().diff(dim=0).abs()
    moved = moved / moved.sum(0, keepdim=True).clamp(min=1e-12)
    passed = torch.cat([torch.zeros_like(moved[:1]), (0.5 * moved + 0.5 / LOOKS).cumsum(0)])
    return passed / passed[-1:]


def _graded(passed: Float[Tensor, "P R"], nodes: int) -> tuple[Tensor, Tensor]:
    """Pieces of equal movement with four nodes each: points and weights `(N, R)`."""
    levels = torch.linspace(0, 1, nodes // PER_PIECE + 1, device=passed.device).double()
    wanted = levels.expand(passed.shape[1], -1).contiguous()
    right = torch.searchsorted(passed.T.contiguous(), wanted).clamp(1, LOOKS).T
    low, high = passed.gather(0, right - 1), passed.gather(0, right)
    within = ((levels.unsqueeze(1) - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    edges = (right - 1 + within) / LOOKS
    edges[0], edges[-1] = 0.0, 1.0
    points, weights = (x.to(passed.device) for x in _legendre(PER_PIECE))
    width = edges.diff(dim=0).unsqueeze(1)
    at = edges[:-1].unsqueeze(1) + width * points.view(1, -1, 1)
    return at.flatten(0, 1), (width * weights.view(1, -1, 1)).flatten(0, 1)
