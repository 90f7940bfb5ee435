"""What each token of a text contributes to its embedding, to a stated tolerance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from attnaudit.errors import ModelError, SettingsError
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.jacobian import Mode, Path, parts_of, profile, reverse_products
from attnaudit.models.siamese.path import COUNTS, rule_of
from attnaudit.models.siamese.references import Reference
from attnaudit.models.siamese.table import PairTable, ScoreKind
from attnaudit.models.siamese.tokens import Role, Tokens

TOLERANCE = 1e-3
"""How far a table's sum may lie from the score."""
SHARE = 0.45
"""The part of the tolerance that one text may use: two and their product stay within one."""
BUDGET = 4096
"""Tokens in work at a time: more is no faster on a CPU, and memory grows with it."""
FORESEEN = 0.5
"""The part of its share that a foreseen error may use: foresight is not exact."""
FALL = 0.7
"""What two more tries must lower the error to, as a share, for a third to be made."""
Step = Callable[[int], object]
T = TypeVar("T")


@dataclass(frozen=True)
class Contributions:
    """An embedding as a sum: `embedding = reference + parts.sum(0)`, up to `error`.

    Attributes:
        tokens: The text's T tokens.
        parts: `(T, D)` float32, what each token contributes; 0 where its states at the layer are
            those of the reference.
        embedding: `(D,)` the model's own, before a last `Normalize`.
        reference: `(D,)` that of the reference input.
        error: `|embedding - reference - parts.sum(0)| / |embedding|`, the completeness error.
        nodes: Places of the path at which derivatives were taken.
        mode: `forward` or `reverse` differentiation.
        reached: Whether `error` is within the text's share of the tolerance.
    """

    tokens: Tokens
    parts: Float[Tensor, "t d"]
    embedding: Float[Tensor, " d"]
    reference: Float[Tensor, " d"]
    error: float
    nodes: int
    mode: Mode
    reached: bool


@dataclass(frozen=True)
class Batch:
    """Texts of one length with their paths and embeddings.

    Attributes:
        path: Of B texts.
        embeddings: `(B, D)` the model's own.
        references: `(B, D)` of the reference inputs.
    """

    path: Path
    embeddings: Float[Tensor, "b d"]
    references: Float[Tensor, "b d"]

    def only(self, rows: Sequence[int]) -> Batch:
        """Some of the texts."""
        chosen = torch.tensor(rows)
        where = chosen.to(self.path.start.device)
        path = Path(
            [self.path.tokens[row] for row in rows],
            self.path.start[where],
            self.path.step[where],
            [self.path.stretches[row] for row in rows],
        )
        return Batch(path, self.embeddings[chosen], self.references[chosen])


Solve = Callable[[Batch, int], list[tuple[T, float]]]
"""What is wanted of each text of a batch at so many nodes, with its relative error."""


def integrated(
    encoder: SiameseEncoder,
    tokens: Sequence[Tokens],
    solve: Solve[T],
    *,
    reference: Reference,
    tolerance: float,
    budget: int = BUDGET,
    step: Step | None = None,
    beside: Sequence[int] | None = None,
) -> list[T]:
    """`solve` for every text, with as many nodes as its error needs.

    The number is foreseen from a profile of the path; where the error turns out larger, the text
    is solved again with more. At the largest number, what was found is given back.

    Raises:
        ModelError: An embedding that is not finite, or of no length.
        SettingsError: A tolerance out of range.
    """
    if not 1e-5 <= tolerance <= 0.1:
        raise SettingsError(f"tolerance must be from 1e-5 to 0.1, got {tolerance}")
    found: dict[int, T] = {}
    tried: dict[int, list[tuple[float, T]]] = defaultdict(list)
    lengths = [len(one) for one in tokens]
    roles = [one.role for one in tokens]
    for places in _groups(lengths, roles, beside or [0] * len(lengths), budget):
        batch, waiting = _prepared(
            encoder, [tokens[p] for p in places], reference, tolerance, budget
        )
        while waiting:
            count = min(waiting.values())
            rows = [row for row, wanted in waiting.items() if wanted == count]
            with encoder.ready():
                solved = solve(batch.only(rows), count)
            for row, (one, error) in zip(rows, solved, strict=True):
                del waiting[row]
                tries = tried[places[row]]
                tries.append((error, one))
                if error > SHARE * tolerance and count < COUNTS[-1] and _falls(tries):
                    waiting[row] = next(more for more in COUNTS if more >= 1.3 * count)
                    continue
                found[places[row]] = min(tried.pop(places[row]), key=lambda each: each[0])[1]
                if step is not None:
                    step(len(found))
    return [found[place] for place in range(len(tokens))]


def _falls(tries: Sequence[tuple[float, object]]) -> bool:
    """Whether more nodes still help: one of the last two tries is clearly the best."""
    errors = [error for error, _ in tries]
    return len(errors) < 3 or min(errors[-2:]) <= FALL * min(errors[:-2])


def _prepared(
    encoder: SiameseEncoder,
    tokens: list[Tokens],
    reference: Reference,
    tolerance: float,
    budget: int,
) -> tuple[Batch, dict[int, int]]:
    """Texts of one length, and how many nodes each is foreseen to need."""
    own = encoder.embeddings(tokens).double().cpu()
    _check(tokens, own)
    with encoder.ready():
        states, _ = encoder.states(tokens)
        start, references = encoder.states(tokens, reference)
        _check(tokens, references, "of its reference", least=-1.0)
        path = Path(tokens, start, states - start, ())
        seen = profile(encoder, path, budget)
    # below its last digits a profile shows noise
    share = max(FORESEEN * SHARE * tolerance, torch.finfo(seen.dtype).eps)
    rules = [rule_of(one, share) for one in seen]
    path = replace(path, stretches=[stretch for stretch, _ in rules])
    counts = {row: count for row, (_, count) in enumerate(rules)}
    return Batch(path, own, references.double().cpu()), counts


def contributions(
    encoder: SiameseEncoder,
    tokens: Sequence[Tokens],
    *,
    reference: Reference,
    tolerance: float = TOLERANCE,
    mode: Mode | None = None,
    budget: int = BUDGET,
    step: Step | None = None,
) -> list[Contributions]:
    """What each token contributes to its text's embedding (Möller et al. 2023, section 2.2).

    Args:
        encoder: With the layer to start from.
        tokens: Texts as `encoder.tokens` reads them, of any lengths.
        reference: Where the path starts.
        tolerance: From 1e-5 to 0.1; see `PairTable.tolerance`.
        mode: `forward` or `reverse`; the cheaper by default.
        budget: Tokens in work at a time.
        step: Called with the number of texts done.

    Returns:
        One a text, in order.
    """

    def solve(batch: Batch, nodes: int) -> list[tuple[Contributions, float]]:
        parts, used = parts_of(encoder, batch.path, nodes, budget, mode)
        missed = batch.embeddings - batch.references - parts.sum(1)
        errors = (missed.norm(dim=1) / batch.embeddings.norm(dim=1)).tolist()
        solved = []
        for row, error in enumerate(errors):
            found = Contributions(
                batch.path.tokens[row],
                parts[row].float(),
                batch.embeddings[row],
                batch.references[row],
                error,
                nodes,
                used,
                error <= SHARE * tolerance,
            )
            solved.append((found, error))
        return solved

    return integrated(
        encoder, tokens, solve, reference=reference, tolerance=tolerance, budget=budget, step=step
    )


def pair_table(
    a: Contributions, b: Contributions, kind: ScoreKind = "cosine", tolerance: float = TOLERANCE
) -> PairTable:
    """The table of two texts from what their tokens contribute; costs no pass of the model."""
    rows = torch.cat((a.parts.double(), a.reference[None]))
    columns = torch.cat((b.parts.double(), b.reference[None]))
    return _table(a, b.tokens, b.embedding, b.reference, rows @ columns.T, kind, tolerance)


def tables_beside(
    encoder: SiameseEncoder,
    ones: Sequence[Contributions],
    others: Sequence[Tokens],
    *,
    reference: Reference,
    kind: ScoreKind = "cosine",
    tolerance: float = TOLERANCE,
    budget: int = BUDGET,
    step: Step | None = None,
) -> list[PairTable]:
    """Tables of texts and others beside them, without what the others' tokens contribute.

    One reverse derivative a token of the first text and a node, in place of one forward derivative
    a token of the second one: cheaper where the second is not much shorter, and of use once only.

    Args:
        encoder: With the layer to start from.
        ones: The first texts of P pairs.
        others: The second texts of the same pairs.
        reference: Where the paths start.
        kind: `cosine` or `dot`.
        tolerance: See `PairTable.tolerance`.
        budget: Tokens in work at a time.
        step: Called with the number of pairs done.
    """
    places = {id(tokens): place for place, tokens in enumerate(others)}
    if len(places) != len(others):  # one text beside several: each pair is solved by itself
        others = [replace(tokens) for tokens in others]
        places = {id(tokens): place for place, tokens in enumerate(others)}

    def solve(batch: Batch, nodes: int) -> list[tuple[PairTable, float]]:
        beside = [ones[places[id(tokens)]] for tokens in batch.path.tokens]
        wide = max(len(one.parts) for one in beside) + 1
        directions = torch.stack([_rows(one, wide) for one in beside])
        products = reverse_products(encoder, batch.path, nodes, directions, budget)
        moved = torch.einsum("bkd,bd->bk", directions, batch.embeddings - batch.references)
        missed = (moved - products.sum(2)).abs().sum(1).tolist()
        fixed = torch.einsum("bkd,bd->bk", directions, batch.references)
        solved = []
        for row, one in enumerate(beside):
            values = torch.cat((products[row], fixed[row, :, None]), dim=1)
            # padded rows go, and that of the reference, which is the last, comes after the tokens'
            values = torch.cat((values[: len(one.parts)], values[-1:]))
            table = _table(
                one,
                batch.path.tokens[row],
                batch.embeddings[row],
                batch.references[row],
                values,
                kind,
                tolerance,
            )
            size = float(batch.embeddings[row].norm() * one.embedding.norm())
            solved.append((table, missed[row] / size))
        return solved

    return integrated(
        encoder,
        others,
        solve,
        reference=reference,
        tolerance=tolerance,
        budget=budget,
        step=step,
        beside=[len(one.parts) for one in ones],
    )


def _rows(one: Contributions, wide: int) -> Float[Tensor, "k d"]:
    """Contributions, zeros up to `wide - 1` rows, and the reference."""
    rows = torch.zeros(wide, one.parts.shape[1], dtype=torch.float64)
    rows[: len(one.parts)] = one.parts
    rows[-1] = one.reference
    return rows


def _table(
    a: Contributions,
    tokens: Tokens,
    embedding: Tensor,
    reference: Tensor,
    values: Tensor,
    kind: ScoreKind,
    tolerance: float,
) -> PairTable:
    sizes = a.embedding.norm(), embedding.norm()
    product = float(sizes[0] * sizes[1])
    scale = product if kind == "cosine" else 1.0
    return PairTable(
        a.tokens,
        tokens,
        values / scale,
        float(a.embedding @ embedding) / scale,
        kind,
        tolerance if kind == "cosine" else tolerance * product,
        float(a.reference.norm() / sizes[0]),
        float(reference.norm() / sizes[1]),
    )


def _groups(
    lengths: Sequence[int], roles: Sequence[Role], beside: Sequence[int], budget: int
) -> Iterator[list[int]]:
    """Places of one length and role, beside texts of nearly one, a sixteenth of the budget each."""
    groups: dict[tuple[int, int, Role], list[int]] = defaultdict(list)
    for place, (length, role, other) in enumerate(zip(lengths, roles, beside, strict=True)):
        groups[length, other // 4, role].append(place)
    for (length, _, _), places in sorted(groups.items()):
        size = max(1, budget // (16 * length))
        for first in range(0, len(places), size):
            yield places[first : first + size]


def _check(tokens: Sequence[Tokens], embeddings: Tensor, what: str = "", least: float = 0) -> None:
    for text, size in zip(tokens, embeddings.norm(dim=1).tolist(), strict=True):
        if not math.isfinite(size) or size <= least:
            raise ModelError(
                f"the embedding of {text.text[:40]!r} {what} has the length {size}; check the "
                "model's weights, and the precision they were loaded in"
            )
