"""Attributions: one importance score per unit, one file a method."""

from __future__ import annotations

from attnaudit.attribution.contract import LONGEST, Attribution, Method, Options
from attnaudit.attribution.gradient import gradient, input_x_gradient
from attnaudit.attribution.integrated import integrated_gradients
from attnaudit.attribution.leave_one_out import leave_one_out
from attnaudit.attribution.shapley import sampled_shapley
from attnaudit.attribution.weights import random, weights, weights_x_gradient
from attnaudit.attribution.whole import WHOLE

_JAIN = "Jain & Wallace 2019"
_GRADIENTS = frozenset({"gradients"})

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "weights",
            "attention weights",
            "Bahdanau et al. 2015",
            "how much of the pooled vector comes from the unit's state",
            False,
            frozenset(),
            "none",
            weights,
        ),
        Method(
            "gradient",
            "gradient",
            f"{_JAIN}, section 4.1",
            "how fast the output changes with the unit, weights held fixed",
            False,
            _GRADIENTS,
            "one and its backward pass",
            gradient,
        ),
        Method(
            "input_x_gradient",
            "input × gradient",
            "Bastings & Filippova 2020",
            "the first-order effect of the unit on the predicted class, weights included",
            True,
            _GRADIENTS,
            "one and its backward pass",
            input_x_gradient,
        ),
        Method(
            "integrated_gradients",
            "integrated gradients",
            "Sundararajan et al. 2017",
            "the unit's share of the gain in probability from an empty text to this one",
            True,
            _GRADIENTS,
            "8 and more, until the scores add up",
            integrated_gradients,
            costly=True,
        ),
        Method(
            "leave_one_out",
            "leave-one-out",
            f"{_JAIN}, section 4.1",
            "what the predicted class loses when the unit is deleted and the model runs again",
            True,
            frozenset(),
            "T, or fewer where the encoder allows",
            leave_one_out,
        ),
        Method(
            "shapley",
            "Shapley values",
            "Shapley 1953; Štrumbelj & Kononenko 2010",
            "what the unit adds to the log-odds, mean over what else may be there",
            True,
            frozenset(),
            "about three times those of leave-one-out",
            sampled_shapley,
            costly=True,
        ),
        Method(
            "weights_x_gradient",
            "weights × gradient",
            "Serrano & Smith 2019",
            "the first-order effect of the unit's weight on the predicted class",
            True,
            frozenset(),
            "none",
            weights_x_gradient,
        ),
        Method(
            "random",
            "random scores",
            "calibration",
            "nothing: what an uninformed method would say",
            False,
            frozenset(),
            "none",
            random,
        ),
    )
}

EVERY: dict[str, Method] = {**METHODS, **WHOLE}
"""All methods: those of any model, and those of whole transformers."""

__all__ = ["EVERY", "LONGEST", "METHODS", "WHOLE", "Attribution", "Method", "Options"]
