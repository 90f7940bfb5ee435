"""How well a model's similarities agree with the scores of people: Spearman's rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from attnaudit.data.pairs.scored_pairs import ScoredPair, open_pairs
from attnaudit.data.reading import Reading
from attnaudit.data.sources.opening import Place
from attnaudit.measures.bootstrap import RESAMPLES, Interval, bootstrap_metric
from attnaudit.measures.rank import spearman
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.table import ScoreKind


def spearman_of(
    model: Any,
    pairs: Place,
    *,
    kind: ScoreKind = "cosine",
    batch_size: int = 32,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Spearman's ρ between a model's similarities and the scores of people, with its interval.

    Args:
        model: What `load_siamese` takes.
        pairs: What `resolve` takes as pairs; the split `test`, where there are splits.
        kind: `cosine` or `dot`.
        batch_size: Texts encoded at once.
        resamples: Of the bootstrap over pairs.
        seed: Of the bootstrap.

    Returns:
        ρ in [-1, 1] and its 95 % interval; a value of None where all similarities or all scores
        are equal.
    """
    known = open_pairs(pairs, Reading()).part("test")
    similar = similarities(
        load_siamese(model, kind=kind).model, known, kind=kind, batch_size=batch_size
    )
    if len(set(similar.tolist())) < 2:
        return Interval(None, None, None, len(known))
    scores = [pair.score for pair in known]
    return bootstrap_metric(scores, similar, rank_correlation, resamples=resamples, seed=seed)


def similarities(
    model: Any, pairs: Sequence[ScoredPair], *, kind: ScoreKind = "cosine", batch_size: int = 32
) -> npt.NDArray[np.float64]:
    """The model's own similarity of each pair, float64; a text is encoded once.

    Cosines are rounded to six decimals, so that ties do not depend on what a text was batched with.
    A cosine with a zero embedding, that of a reference, is 0.
    """
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    place = {text: row for row, text in enumerate(texts)}
    found = model.encode(
        texts, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
    )
    embedded = found.detach().cpu().double().clone()
    rows = torch.tensor([(place[pair.a], place[pair.b]) for pair in pairs])
    similar = similarity(embedded[rows[:, 0]], embedded[rows[:, 1]], kind).numpy()
    return np.asarray(similar.round(6) if kind == "cosine" else similar)


def similarity(a: Tensor, b: Tensor, kind: ScoreKind) -> Tensor:
    """Cosine or dot product of embeddings `(N, D)`, row by row."""
    return cosine_similarity(a, b) if kind == "cosine" else (a * b).sum(-1)


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's ρ of N values, ties at their mean rank; NaN where all are equal.

    Example:
        >>> round(rank_correlation([1.0, 2.0, 3.0], [0.1, 0.5, 0.2]), 6)
        0.5
    """
    first, second = (torch.as_tensor(np.asarray(v, dtype=np.float64))[None] for v in (x, y))
    return float(spearman(first, second, torch.ones_like(first, dtype=torch.bool)))
