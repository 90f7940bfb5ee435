"""Integrated gradients to a tolerance: nodes are added until the scores add up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.attribution.gradient import embedding_gradient
from attnaudit.models.encoded import Encoded

FIRST_NODES = 8


def integrated_gradients(encoded: Encoded, options: Options) -> Attribution:
    """Integrated gradients of the predicted class's probability (Sundararajan et al. 2017).

    The path runs from zero vectors at all units (start and end markers stay) straight to the
    embeddings, integrated by Gauss-Legendre. Instances whose scores miss `p(x) - p(baseline)` by
    more than the tolerance are integrated again with twice the nodes.

    Returns:
        Scores with `error`, the completeness error left over, per instance.
    """
    with torch.no_grad():
        embedded = encoded.model.embed(encoded.batch)
    baseline = embedded * ~encoded.units.unsqueeze(-1)
    scores = torch.zeros_like(embedded[..., 0])
    error = torch.full_like(scores[:, 0], torch.inf)
    gain = _probability(encoded, embedded) - _probability(encoded, baseline)

    nodes = FIRST_NODES
    rows = torch.arange(len(encoded), device=embedded.device)
    while len(rows) and nodes <= options.max_nodes:
        fresh = _integrate(encoded, embedded, baseline, rows, nodes, options.token_budget)
        missed = (fresh.sum(1) - gain[rows]).abs()
        # the best of all attempts is kept: more nodes need not help at float precision
        better = missed < error[rows]
        scores[rows[better]], error[rows[better]] = fresh[better], missed[better]
        rows = rows[error[rows] > options.tolerance]
        nodes *= 2
    return Attribution(on_units(scores, encoded), error)


def _probability(encoded: Encoded, embedded: Tensor) -> Tensor:
    with torch.no_grad():
        states = encoded.model.encode_embedded(encoded.batch, embedded)
        outputs = encoded.model.decode(states, encoded.model.attend(states))
    return encoded.of_predicted(outputs)


def _integrate(
    encoded: Encoded, embedded: Tensor, baseline: Tensor, rows: Tensor, nodes: int, budget: int
) -> Tensor:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    total = torch.zeros_like(embedded[rows, :, 0])
    step = max(1, budget // (embedded.shape[1] * len(rows)))
    batch, target = encoded.batch.take(rows), encoded.predicted[rows]
    change = embedded[rows] - baseline[rows]
    for start in range(0, nodes, step):
        part = slice(start, min(start + step, nodes))
        at = torch.as_tensor((points[part] + 1) / 2).to(embedded)
        share = torch.as_tensor(weights[part] / 2).to(embedded)
        inputs = baseline[rows] + at.view(-1, 1, 1, 1) * change
        repeated = torch.arange(len(rows), device=rows.device).repeat(len(at))
        slope, _ = embedding_gradient(
            encoded.model,
            batch.take(repeated),
            inputs.flatten(0, 1),
            target[repeated],
            hold_weights=False,
        )
        slope = slope.view(len(at), len(rows), *slope.shape[1:])
        total += torch.einsum("n,nble,ble->bl", share, slope, change)
    return total
