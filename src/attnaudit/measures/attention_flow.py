"""Attention flow: the most that can pass from an input token to the top, through all layers."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from attnaudit.errors import NotApplicable
from attnaudit.measures.rollout import row_normalised

MOST = 64
"""Tokens up to which it is computed: its cost grows with more than the square of their number."""
SCALE = 1_000_000_000
"""Capacities are whole numbers to the solver: 1 is this many; edges round to half of 1e-9."""


def attention_flow(
    attention: Float[Tensor, "N B H T T"], real: Bool[Tensor, "B T"], query: Int[Tensor, " B"]
) -> Float[Tensor, "B T"]:
    """Maximum flow from each input token to the query row of the last layer.

    Source: Abnar & Zuidema 2020, section 3: capacities are the mean over heads, half of it the
    residual stream. One maximum flow per token, over `N * T**2` edges each.

    Args:
        attention: Weights of `N` layers.
        real: Where there are tokens.
        query: The row of each instance.

    Returns:
        Flows in [0, 1], to 1e-6; many are 1, as no more can enter the query than 1; 0 on padding.

    Raises:
        NotApplicable: More than `MOST` tokens.
    """
    longest = int(real.sum(1).max())
    if longest > MOST:
        raise NotApplicable(
            f"attention flow takes one maximum flow per token, over the square of their number: "
            f"texts of {longest} word pieces are longer than the {MOST} that it is computed for"
        )
    eye = torch.eye(real.shape[1], dtype=attention.dtype, device=real.device)
    keep = real.unsqueeze(1) & real.unsqueeze(2)
    capacity = row_normalised((attention.mean(2) + eye).masked_fill(~keep, 0.0))
    found = torch.zeros(real.shape, dtype=attention.dtype)
    for row in range(len(real)):
        some = real[row].nonzero().squeeze(1)
        layers = capacity[:, row][:, some][:, :, some].double().cpu().numpy()
        top = int((some == query[row]).nonzero()[0])
        found[row, some.cpu()] = torch.as_tensor(_flows(layers, top), dtype=found.dtype)
    return found.to(real.device)


def _flows(layers: np.ndarray, top: int) -> np.ndarray:
    """The flow from each token of the bottom to the token `top` above the last layer."""
    depth, size = layers.shape[:2]
    # node `k * size + t` is token t below layer k; edges go up
    upper, lower = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    tails = np.concatenate([(k * size + lower).ravel() for k in range(depth)])
    heads = np.concatenate([((k + 1) * size + upper).ravel() for k in range(depth)])
    weights = np.rint(layers.reshape(-1) * SCALE).astype(np.int32)
    nodes = (depth + 1) * size
    graph = csr_array((weights, (tails, heads)), shape=(nodes, nodes))
    goal = depth * size + top
    return np.array([maximum_flow(graph, t, goal).flow_value for t in range(size)]) / SCALE
