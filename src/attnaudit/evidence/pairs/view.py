"""What a check sees of some pairs: tokens, embeddings, tables, each computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.pairs.editing import Edit, Embedder, edit_of
from attnaudit.findings.settings import Settings
from attnaudit.measures.seeded import instance_generator
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.own_score import Pair, check_scores, own_scores
from attnaudit.models.siamese.references import Reference
from attnaudit.models.siamese.spearman import similarity
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.progress import Report

Array = np.ndarray
Columns = Mapping[str, Array]
ROUGH = 1e-2
"""Tolerance for randomised encoders, of whose tables only ranks are used."""


class Explainer(Protocol):
    """What can be audited: `PairExplainer`, or anything that gives tables of an encoder's pairs."""

    encoder: SiameseEncoder

    def tables(self, pairs: Iterable[Pair], progress: Report | None = None) -> Iterator[PairTable]:
        """The table of each pair, in order."""
        ...


Remake = Callable[[SiameseEncoder], Explainer]


class Shared:
    """What all pairs of an audit have in common.

    Attributes:
        explainer: What is audited.
        encoder: Whose scores it explains.
        settings: Those for pairs.
        seed: What random numbers are drawn from.
        remake: The same explainer for another encoder, or None.
    """

    def __init__(
        self, explainer: Explainer, settings: Settings, remake: Remake | None = None
    ) -> None:
        self.explainer, self.encoder = explainer, explainer.encoder
        self.settings, self.seed = settings.pairs, settings.seed
        if remake is None and isinstance(explainer, PairExplainer):
            remake = _remake(explainer)
        self.remake = remake

    @property
    def reference(self) -> Reference | None:
        """What the explanation starts from, where it says so."""
        found = getattr(self.explainer, "reference", None)
        return found if isinstance(found, Reference) else None

    @cached_property
    def edits(self) -> dict[str, Edit]:
        """The operators that this encoder allows, in the order of the settings."""
        found: dict[str, Edit] = {}
        for operator in self.settings.operators:
            try:
                found[operator] = edit_of(operator, self.encoder, self.reference)
            except NotApplicable:
                continue
        return found

    @cached_property
    def randomised(self) -> list[Explainer]:
        """The explainer for copies that have learnt nothing; none without `remake`."""
        if self.remake is None:
            return []
        return [
            self.remake(randomised(self.encoder, self.seed + copy))
            for copy in range(self.settings.copies)
        ]

    @cached_property
    def first_layer(self) -> SiameseEncoder:
        """The encoder, cut at its embeddings of tokens and positions."""
        if self.encoder.layer == 0:
            return self.encoder
        return self.encoder.again(layer=0)


def randomised(encoder: SiameseEncoder, seed: int) -> SiameseEncoder:
    """A copy of the encoder whose weights are shuffled within each tensor.

    So every weight keeps its scale, whatever the architecture, and nothing that was learnt is left
    (Adebayo et al. 2018, section 3, draw the weights anew).
    """
    model: Any = copy.deepcopy(encoder.model)
    for name, parameter in model.named_parameters():
        generator = instance_generator(seed, "randomised", name)
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return encoder.again(model)


def reference_given(explainer: PairExplainer) -> str | Tensor:
    """The reference as the user wrote it."""
    given = explainer.reference
    return given.vector if given.name == "vector" and given.vector is not None else given.name


def _remake(explainer: PairExplainer) -> Remake:
    def remake(encoder: SiameseEncoder) -> Explainer:
        return PairExplainer(
            encoder,
            reference=reference_given(explainer),
            tolerance=max(explainer.tolerance, ROUGH),
            budget=explainer.budget,
        )

    return remake


class PairView:
    """Some pairs with their tokens, embeddings and tables.

    A unit is a token of a text that is not special; only units are ranked and removed.

    Attributes:
        shared: Of the audit.
        pairs: P pairs of texts.
        tokens: For each pair, the tokens of both texts.
        units: For each pair, the places of the units of both texts.
        embed: Texts to embeddings.
        kept: What methods have found, by name.
    """

    def __init__(self, shared: Shared, pairs: Sequence[Pair]) -> None:
        self.shared, self.pairs = shared, list(pairs)
        self.settings = shared.settings
        first, second = (
            shared.encoder.tokens([pair[side] for pair in pairs], role)
            for side, role in enumerate(shared.encoder.roles)
        )
        self.tokens: list[tuple[Tokens, Tokens]] = list(zip(first, second, strict=True))
        self.units = [(_units(a), _units(b)) for a, b in self.tokens]
        self.embed = Embedder(shared.encoder, self.settings.token_budget)
        self.kept: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def ids(self) -> list[str]:
        """What random numbers are keyed by: the texts, so neither order nor company matters."""
        return [f"{a}\x1f{b}" for a, b in self.pairs]

    @cached_property
    def whole(self) -> tuple[Float[Tensor, "p d"], Float[Tensor, "p d"]]:
        """The embeddings of both texts."""
        embedded = self.embed([one for pair in self.tokens for one in pair])
        return embedded[0::2], embedded[1::2]

    @cached_property
    def scale(self) -> Float[Tensor, " p"]:
        """What makes a score comparable: `1 / (|e(a)| |e(b)|)` for dot, 1 for cosine."""
        a, b = self.whole
        if self.shared.encoder.kind == "cosine":
            return torch.ones(len(self), dtype=torch.float64)
        scale: Tensor = 1 / (a.norm(dim=1) * b.norm(dim=1))
        return scale

    @cached_property
    def scores(self) -> Array:
        """`(P,)` the model's own scores.

        Raises:
            NotApplicable: The passes that are explained give others.
        """
        found: Array = similarity(*self.whole, self.shared.encoder.kind).numpy()
        check_scores(self.pairs, found.tolist(), own_scores(self.shared.encoder, self.pairs))
        return found

    def similar(self, a: Tensor, b: Tensor, rows: Sequence[int]) -> Array:
        """The scaled scores of N embeddings and N others, the n-th of pair `rows[n]`."""
        return (similarity(a, b, self.shared.encoder.kind) * self.scale[list(rows)]).numpy()

    def all_similar(self, a: Tensor, b: Tensor, row: int) -> Array:
        """The scaled scores of N embeddings with each of M others, all of one pair: `(N, M)`."""
        if self.shared.encoder.kind == "cosine":
            a, b = (torch.nn.functional.normalize(one, dim=-1) for one in (a, b))
        return (a @ b.T * self.scale[row]).numpy()

    @cached_property
    def rankable(self) -> Array:
        """`(P,)` bool: both texts have two units or more."""
        return np.array([min(len(a), len(b)) >= 2 for a, b in self.units], dtype=bool)

    @cached_property
    def tables(self) -> list[PairTable]:
        """The explanations.

        Raises:
            DataError: A table of another shape than the pair's tokens give.
        """
        found = list(self.shared.explainer.tables(self.pairs))
        if len(found) != len(self):
            raise DataError(f"the explainer gave {len(found)} tables for {len(self)} pairs")
        for (a, b), table in zip(self.tokens, found, strict=True):
            if tuple(table.values.shape) != (len(a) + 1, len(b) + 1):
                raise DataError(
                    f"the table of {a.text[:40]!r} and {b.text[:40]!r} has the shape "
                    f"{tuple(table.values.shape)}, but the texts have {len(a)} and {len(b)} "
                    "tokens; a table has one row and one column more than there are tokens"
                )
        return found


def _units(tokens: Tokens) -> Array:
    return np.flatnonzero(~np.array(tokens.special, dtype=bool))
