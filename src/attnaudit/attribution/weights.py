"""The weights themselves, their product with a gradient, and random scores."""

from __future__ import annotations

import torch

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.attribution.gradient import odds_and_slope
from attnaudit.measures.seeded import instance_uniform
from attnaudit.models.encoded import Encoded


def weights(encoded: Encoded, options: Options) -> Attribution:
    """The weights as scores: the explanation that is on trial."""
    return Attribution(encoded.weights)


def weights_x_gradient(encoded: Encoded, options: Options) -> Attribution:
    """`α_t · ∂p/∂α_t` of the predicted class, states held fixed (Serrano & Smith 2019)."""
    leaf = encoded.weights.clone().requires_grad_()
    with torch.enable_grad():
        odds, slope = odds_and_slope(encoded.decode(leaf), encoded.targets)
        (gradient,) = torch.autograd.grad(odds.sum(), leaf)
    return Attribution(on_units(encoded.weights * gradient * slope.unsqueeze(1), encoded))


def random(encoded: Encoded, options: Options) -> Attribution:
    """Uniform random scores, keyed by instance id: what an uninformed method would say."""
    draws = instance_uniform(encoded.batch.ids, encoded.units, 1, options.seed, "random")
    return Attribution(draws[:, 0].to(encoded.weights))
