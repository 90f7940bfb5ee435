"""Convergence: the papers' rule against this package's, by number of nodes and by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.findings.estimates import average
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.contributions import BUDGET, FORESEEN, SHARE
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.jacobian import Path, parts_of, profile
from attnaudit.models.siamese.path import Stretch, rule_of
from attnaudit.models.siamese.references import Reference, reference_of
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.runs.cell import Outcome
from attnaudit.studies.declaration import Place
from attnaudit.studies.schema import Spec

OWN = (6, 8, 12, 16, 24, 32)
"""Numbers of nodes of our own rule."""
CONVERGED = 80
"""Nodes of our own rule that count as converged: its error falls geometrically, and twice the
largest of `OWN` is far beyond what single precision can show."""
TEXTS, FEW = 40, 50
"""Texts of which completeness is looked at, and the largest number of nodes for it."""
LONGEST = 24
"""Tokens of a text whose whole matrix is compared, where there are such."""
PAPERS, OURS = "right Riemann sum", "our rule"


@dataclass(frozen=True)
class Riemann(Stretch):
    """The papers' rule: `α = 1/N, 2/N, …, 1`, all of one weight."""

    def nodes(self, count: int) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
        """Nodes in (0, 1] and weights.

        Example:
            >>> [x.tolist() for x in Riemann(0.5, math.inf).nodes(4)]
            [[0.25, 0.5, 0.75, 1.0], [0.25, 0.25, 0.25, 0.25]]
        """
        alphas = torch.arange(1, count + 1, dtype=torch.float64) / count
        return alphas, torch.full((count,), 1 / count, dtype=torch.float64)


EVENLY = Riemann(0.5, math.inf)


@dataclass(frozen=True)
class One:
    """One text: its path with our rule, and how many nodes that is foreseen to need."""

    path: Path
    embedding: Float[Tensor, " d"]
    reference: Float[Tensor, " d"]
    count: int

    def parts(
        self, encoder: SiameseEncoder, nodes: int, stretch: Stretch | None = None
    ) -> Float[Tensor, "t d"]:
        """Contributions of the tokens, by another rule if one is named; within `ready`."""
        path = self.path if stretch is None else replace(self.path, stretches=[stretch])
        return parts_of(encoder, path, nodes, BUDGET)[0][0]


def one_of(encoder: SiameseEncoder, tokens: Tokens, reference: Reference, tolerance: float) -> One:
    """A text's path, looked at by forward passes; within `ready`."""
    own = encoder.embeddings([tokens])[0].double().cpu()
    with torch.no_grad():
        states, _ = encoder.states([tokens])
        start, at = encoder.states([tokens], reference)
        path = Path([tokens], start, states - start, ())
        seen = profile(encoder, path, BUDGET)[0]
    stretch, count = rule_of(seen, FORESEEN * SHARE * tolerance)
    return One(replace(path, stretches=[stretch]), own, at[0].double().cpu(), count)


def completeness(encoder: SiameseEncoder, one: One, steps: Sequence[int]) -> dict[int, float]:
    """The papers' rule's completeness error, relative to the embedding's length.

    The tokens' derivatives are summed by taking one along the whole path. Numbers of nodes that
    divide the largest share its nodes.
    """
    most = max(steps)
    alphas, _ = EVENLY.nodes(most)
    slopes = []
    for some in torch.split(alphas, max(1, BUDGET // one.path.step[..., 0].numel())):
        run = encoder.tail(one.path.tokens, one.path.rows(len(some)))
        points = one.path.at(some[None])
        along = one.path.step.expand(len(some), -1, -1)
        slopes.append(jvp(run, (points,), (along,))[1].detach().double().cpu())
    slope = torch.cat(slopes)
    moved, size = one.embedding - one.reference, float(one.embedding.norm())
    return {
        n: float((moved - slope[most // n - 1 :: most // n].mean(0)).norm()) / size
        for n in steps
        if most % n == 0
    }


def matrix(a: Tensor, b: Tensor, one: One, other: One) -> Float[Tensor, "ta tb"]:
    """The papers' plain matrix from contributions, in units of the cosine."""
    return a.double() @ b.double().T / float(one.embedding.norm() * other.embedding.norm())


def measure_steps(
    encoder: SiameseEncoder, pairs: Sequence[ScoredPair], spec: Spec, place: Place
) -> Outcome:
    """Errors of matrices and sums by rule and number of nodes."""
    words = encoder.transformer.get_input_embeddings().weight.detach()  # type: ignore[operator]
    reference = reference_of(spec["reference"], encoder.tokenizer, words)
    rows: list[Estimate] = []

    def add(values: Sequence[float], statistic: str, subject: str, group: str = "all") -> None:
        named = {"statistic": statistic, "subject": subject, "group": group}
        rows.append(average(np.array(values, dtype=np.float64), Settings(), **named, null=None))

    with encoder.ready():
        few = [n for n in spec["steps"] if n <= FEW] or [min(spec["steps"])]
        texts = list(dict.fromkeys(text for pair in pairs for text in (pair.a, pair.b)))[:TEXTS]
        errors: dict[int, list[float]] = {}
        counts = []
        for done, tokens in enumerate(encoder.tokens(texts), start=1):
            one = one_of(encoder, tokens, reference, spec["tolerance"])
            counts.append(one.count)
            for nodes, error in completeness(encoder, one, few).items():
                errors.setdefault(nodes, []).append(error)
            place.progress("texts", done, len(texts))
        for nodes, values in sorted(errors.items()):
            add(values, "completeness_error", PAPERS, f"{nodes} nodes")
            add(np.log10(values).tolist(), "log_completeness_error", PAPERS, f"{nodes} nodes")
        add(counts, "nodes_needed", OURS)
        chosen = _short(encoder, pairs, spec["step_pairs"])
        found: dict[str, dict[int, list[float]]] = {
            PAPERS: {n: [] for n in spec["steps"]},
            OURS: {n: [] for n in OWN},
        }
        largest: list[float] = []
        for done, pair in enumerate(chosen, start=1):
            a, b = (one_of(encoder, t, reference, spec["tolerance"]) for t in pair)
            _compare(encoder, a, b, found, largest)
            place.progress("matrices", done, len(chosen))
    for rule, by_count in found.items():
        for nodes, values in by_count.items():
            add(values, "matrix_error", rule, f"{nodes} nodes")
    facts = {
        "matrix_error": {
            rule: {str(n): [float(np.mean(v)), float(np.max(v))] for n, v in by_count.items()}
            for rule, by_count in found.items()
        },
        "largest_entry": float(np.mean(largest)),
        "step_pairs": len(chosen),
        "lengths": [[len(t) for t in pair] for pair in chosen],
        "texts": len(texts),
        "layers": encoder.layers,
    }
    return Outcome(rows, facts)


def _compare(
    encoder: SiameseEncoder,
    a: One,
    b: One,
    found: dict[str, dict[int, list[float]]],
    largest: list[float],
) -> None:
    """Add the largest error of a pair's matrix for every rule and number of nodes."""
    converged = matrix(a.parts(encoder, CONVERGED), b.parts(encoder, CONVERGED), a, b)
    largest.append(float(converged.abs().max()))
    for rule, stretch in ((PAPERS, EVENLY), (OURS, None)):
        for nodes, errors in found[rule].items():
            first, second = (one.parts(encoder, nodes, stretch) for one in (a, b))
            errors.append(float((matrix(first, second, a, b) - converged).abs().max()))


def _short(
    encoder: SiameseEncoder, pairs: Sequence[ScoredPair], count: int
) -> list[tuple[Tokens, Tokens]]:
    """The first pairs of short texts, or the shortest where there are too few."""
    read = [tuple(encoder.tokens([pair.a, pair.b])) for pair in pairs[: 20 * count]]
    longest = [max(len(a), len(b)) for a, b in read]
    order = sorted(range(len(read)), key=lambda i: (max(longest[i], LONGEST), i))
    return [(read[i][0], read[i][1]) for i in order[:count]]
