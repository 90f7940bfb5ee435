"""What a check sees of one batch: everything shared, nothing computed twice."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attnaudit.attribution import METHODS, Attribution, Options
from attnaudit.checks.settings import Settings
from attnaudit.data.records import Text
from attnaudit.errors import NotApplicable
from attnaudit.measures.drift import DriftReference
from attnaudit.measures.seeded import permuted
from attnaudit.models.encoded import Encoded

EQUAL_WEIGHTS = 1e-7


class View:
    """A batch with its attributions, truth and settings.

    Attributes:
        encoded: The batch, encoded once.
        records: The records of the batch, in order.
        settings: The audit's settings.
        chosen: `(B,)`, whether the costly checks run on the instance.
        drift: The reference that tells how far perturbed inputs drift, or None.
    """

    def __init__(
        self,
        encoded: Encoded,
        records: list[Text],
        settings: Settings,
        chosen: np.ndarray,
        drift: DriftReference | None,
    ) -> None:
        self.encoded = encoded
        self.records = records
        self.settings = settings
        self.chosen = chosen
        self.drift = drift
        self._attributions: dict[str, Attribution] = {}
        self._options = Options(
            seed=settings.seed,
            tolerance=settings.ig_tolerance,
            max_nodes=settings.ig_max_nodes,
            token_budget=settings.token_budget,
        )

    @property
    def units(self) -> Bool[Tensor, "B L"]:
        """The positions that may receive weight."""
        return self.encoded.units

    def attribution(self, name: str) -> Attribution:
        """The attribution `name`, computed on first use.

        Raises:
            NotApplicable: The model lacks what the method needs.
        """
        if name not in self._attributions:
            self._attributions[name] = METHODS[name].compute(self.encoded, self._options)
        return self._attributions[name]

    def scores(self, name: str) -> Float[Tensor, "B L"]:
        """The scores of one attribution; `oracle` is the truth itself, NaN where unknown."""
        return self.truth if name == "oracle" else self.attribution(name).scores

    def applicable(self) -> list[str]:
        """The names of the methods that this model allows."""
        names = []
        for name in METHODS:
            try:
                self.attribution(name)
            except NotApplicable:
                continue
            names.append(name)
        return names

    @cached_property
    def permutations(self) -> tuple[Float[Tensor, "B K L"], Float[Tensor, "B K C"]]:
        """Permuted weights and the probabilities that come of them."""
        encoded, settings = self.encoded, self.settings
        shuffled = permuted(
            encoded.weights,
            encoded.batch.ids,
            encoded.units,
            settings.permutations,
            settings.seed,
            "permutation",
        )
        with torch.no_grad():
            return shuffled, encoded.decode(shuffled).exp()

    @cached_property
    def single(self) -> Bool[Tensor, "B"]:
        """Instances with fewer than two units: there is nothing to rank or move."""
        return self.units.sum(1) < 2

    @cached_property
    def constant(self) -> Bool[Tensor, "B"]:
        """Instances whose weights are all equal, to float precision."""
        weights = self.encoded.weights
        lowest = weights.masked_fill(~self.units, torch.inf).amin(1)
        return (weights.amax(1) - lowest) <= EQUAL_WEIGHTS

    @property
    def truth(self) -> Float[Tensor, "B L"]:
        """1 on evidence, 0 on other units, NaN on instances without truth."""
        truth = torch.zeros(self.units.shape, dtype=torch.float32, device=self.units.device)
        for row, record in enumerate(self.records):
            if record.truth is None:
                truth[row] = torch.nan
            else:
                flags = torch.tensor(record.truth, dtype=torch.float32, device=truth.device)
                truth[row, self.units[row]] = flags
        return truth

    def per_unit(self, values: Tensor) -> list[list[float]]:
        """Values `(B, L)` as one list per instance, units only."""
        values, units = values.detach().float().cpu(), self.units.cpu()
        return [values[row][units[row]].tolist() for row in range(len(values))]


def column(values: Tensor) -> np.ndarray:
    """A tensor `(B,)` as a float64 column of the instance table."""
    return values.detach().to("cpu", torch.float64).numpy()
