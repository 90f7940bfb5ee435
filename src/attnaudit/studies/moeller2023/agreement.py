"""An exact model beside another: do both find the same pairs of words?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.findings.estimates import average
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.spearman import rank_correlation
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.words import by_words
from attnaudit.runs.cell import Outcome
from attnaudit.studies.declaration import Place
from attnaudit.studies.moeller2023.tables import encoder_of, tables_of
from attnaudit.studies.schema import Spec


def measure_agreement(pairs: Sequence[ScoredPair], spec: Spec, place: Place) -> Outcome:
    """Spearman's ρ of the two plain matrices between words, pair of texts by pair of texts."""
    first = tables_of(encoder_of(spec, place), pairs, spec, place, "approximate")
    second = tables_of(encoder_of(spec, place, spec["exact"]), pairs, spec, place, "exact")
    values = [agreement(a, b) for a, b in zip(first, second, strict=True)]
    named = {"statistic": "rank_agreement", "subject": "approximate and exact"}
    row = average(np.array(values), Settings(), **named, null=0.0)
    return Outcome((row,))


def agreement(a: PairTable, b: PairTable) -> float:
    """Spearman's ρ of two models' values of the same pairs of words, in [-1, 1].

    Words and not tokens, as two models may cut words differently. NaN where a text was cut at
    another place, or where a matrix has fewer than two values.
    """
    one, other = _words(a), _words(b)
    if one.shape != other.shape or one.size < 2:
        return float("nan")
    return rank_correlation(one.ravel(), other.ravel())


def _words(table: PairTable) -> np.ndarray:
    words = by_words(table)
    rows, columns = ([not s for s in side.special] for side in (words.a, words.b))
    return words.pairs.numpy()[np.ix_(rows, columns)]
