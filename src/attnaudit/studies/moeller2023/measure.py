"""One cell: the tables of its pairs and what they say, or what convergence takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.errors import MissingExtra
from attnaudit.findings.findings import Estimate
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.parts_of_speech import part_of_speech_table
from attnaudit.models.siamese.reader import CutTextWarning
from attnaudit.models.siamese.words import by_words
from attnaudit.runs.cell import Outcome
from attnaudit.studies.declaration import Cell, Place
from attnaudit.studies.moeller2023.agreement import measure_agreement
from attnaudit.studies.moeller2023.cells import AGREEMENT, STEPS, TABLES
from attnaudit.studies.moeller2023.kinds import NOUNS_AND_VERBS, OTHER, preference, tagger_of
from attnaudit.studies.moeller2023.shares import (
    additivity,
    concentration,
    curves_of,
    negation,
    scatter_of,
)
from attnaudit.studies.moeller2023.steps import measure_steps
from attnaudit.studies.moeller2023.tables import encoder_of, pairs_of, tables_of
from attnaudit.studies.schema import Spec

KINDS_SHOWN = 12
SHIFTED = "ShiftedTransformer"
RESAMPLES = 1000


def measure(cell: Cell, place: Place) -> Outcome:
    """Measure a cell; tables that an interrupted try at it has made are used again.

    Raises:
        MissingExtra: sentence-transformers, the package of `minilm`, or spaCy is absent.
        AttnauditError: Data, model or tagger cannot be used.
    """
    spec = cell.spec
    with warnings.catch_warnings():
        # said once for the cell, below, and not for every text
        warnings.simplefilter("ignore", CutTextWarning)
        pairs = pairs_of(spec, place)
        found = MEASURES[spec["part"]](pairs, spec, place)
    return Outcome(found.rows, {**found.facts, "pairs": len(pairs)}, found.notes)


def _steps(pairs: Sequence[ScoredPair], spec: Spec, place: Place) -> Outcome:
    return measure_steps(encoder_of(spec, place), pairs, spec, place)


def _tables(pairs: Sequence[ScoredPair], spec: Spec, place: Place) -> Outcome:
    encoder, settings = encoder_of(spec, place), Settings()
    tagger, no_tags = None, "tags=none was asked for"
    try:
        tagger = tagger_of(spec["tags"])
    except MissingExtra as error:  # the other numbers need no tagger
        no_tags = str(error)
    tables = tables_of(encoder, pairs, spec, place)
    rows: list[Estimate] = [
        *additivity(tables, pairs, spec["tolerance"], settings),
        *concentration(tables, settings),
        *negation(tables, settings),
    ]
    facts: dict[str, Any] = {
        "exact": type(encoder.model[0]).__name__ == SHIFTED,
        "layers": encoder.layers,
        "kind": encoder.kind,
        "scatter": scatter_of(tables, pairs),
        "curves": curves_of(tables),
        "mean_tokens": sum(len(t.a) + len(t.b) for t in tables) / (2 * len(tables)),
        "no_tags": no_tags if tagger is None else "",
    }
    if tagger is not None:
        words = [by_words(table) for table in tables]
        real = spec["tags"] != "closed"
        kinds = NOUNS_AND_VERBS if real else frozenset({OTHER})
        name = "nouns and verbs" if real else OTHER
        rows += preference(words, tagger, kinds, settings, subject=name)
        summary = part_of_speech_table(words, tagger, resamples=RESAMPLES)
        facts["kinds"] = summary.head(KINDS_SHOWN).to_dicts()
    cut = len({t.text for table in tables for t in (table.a, table.b) if t.cut})
    notes = (f"{cut} texts are longer than the model reads, and were cut.",) if cut else ()
    return Outcome(rows, facts, notes)


MEASURES = {TABLES: _tables, STEPS: _steps, AGREEMENT: measure_agreement}
