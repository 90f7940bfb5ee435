"""Gradients with respect to the embeddings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.attribution.contract import Attribution, Options, on_units
from attnaudit.measures.odds import log_odds
from attnaudit.models.cut import Batch, Model, States
from attnaudit.models.encoded import Encoded


def embedding_gradient(
    model: Model, batch: Batch, embedded: Tensor, target: Tensor, *, hold_weights: bool
) -> tuple[Float[Tensor, "B L E"], Float[Tensor, " B"]]:
    """The gradient of a class probability with respect to the embeddings, and the probability.

    Args:
        model: Gives embeddings.
        batch: The instances.
        embedded: `(B, L, E)`, where to take the gradient.
        target: `(B,)`, the class of each instance.
        hold_weights: Treat the weights as constants (Jain & Wallace 2019, section 4.1): the
            gradient then flows through the states alone.

    Raises:
        NotApplicable: The model gives no embeddings.
    """
    leaf = embedded.detach().requires_grad_()
    # cuDNN's recurrent kernels have no backward pass in evaluation mode
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        states = model.encode_embedded(batch, leaf)
    return _slope(model, leaf, states, target, hold_weights=hold_weights)


def _slope(
    model: Model, leaf: Tensor, states: States, target: Tensor, *, hold_weights: bool
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        if hold_weights:
            outputs = model.decode(states, model.attend(states).detach())
        else:
            outputs = model.said(states)
        odds, slope = odds_and_slope(outputs, target)
        (gradient,) = torch.autograd.grad(odds.sum(), leaf, retain_graph=True)
    probability = outputs.detach().gather(1, target.unsqueeze(1)).squeeze(1).exp()
    return gradient * slope.view(-1, *[1] * (gradient.dim() - 1)), probability


def odds_and_slope(
    outputs: Float[Tensor, "B C"], target: Tensor
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The log-odds of a class, and `∂p / ∂(log-odds) = p (1 - p)`.

    A gradient of `p` itself loses `1 - p` to rounding where the model is sure; through the
    log-odds it does not.
    """
    odds = log_odds(outputs, target)
    # log p (1 - p)
    slope = torch.nn.functional.logsigmoid(odds) + torch.nn.functional.logsigmoid(-odds)
    return odds, slope.detach().exp()


def _times_input(encoded: Encoded, *, hold_weights: bool) -> Tensor:
    leaf, states = encoded.traced
    slope, _ = _slope(encoded.model, leaf, states, encoded.targets, hold_weights=hold_weights)
    return on_units((leaf.detach() * slope).sum(-1), encoded)


def gradient(encoded: Encoded, options: Options) -> Attribution:
    """`|e_t · ∂p/∂e_t|` with the weights held fixed (Jain & Wallace 2019, section 4.1).

    It is the derivative with respect to the active coordinate of a one-hot input.
    """
    return Attribution(_times_input(encoded, hold_weights=True).abs())


def input_x_gradient(encoded: Encoded, options: Options) -> Attribution:
    """`e_t · ∂p/∂e_t` of the whole model, weights included (Bastings & Filippova 2020)."""
    return Attribution(_times_input(encoded, hold_weights=False))
