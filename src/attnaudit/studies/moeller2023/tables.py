"""The pairs of a cell and their tables, kept in its folder as they are made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from attnaudit.data.generated.pairs import generate_scored_pairs
from attnaudit.data.pairs.scored_pairs import ScoredPair
from attnaudit.data.sources.resolve import resolve
from attnaudit.files import tidy
from attnaudit.models.siamese.encoder import SiameseEncoder
from attnaudit.models.siamese.explainer import PairExplainer
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.table import PairTable
from attnaudit.models.siamese.tokens import Tokens
from attnaudit.runs.disk import read_noted, write_noted
from attnaudit.studies.declaration import Place
from attnaudit.studies.schema import Spec
from attnaudit.studies.sources import GENERATED

AT_ONCE = 40
"""Pairs that are made together, and lost together where a run is interrupted."""


def pairs_of(spec: Spec, place: Place) -> tuple[ScoredPair, ...]:
    """The scored pairs of a cell, from the test split.

    Raises:
        AttnauditError: The set cannot be had.
    """
    if spec["data"] == GENERATED:
        return generate_scored_pairs(spec["pairs"])
    return resolve(
        spec["data"], "pairs", split="test", limit=spec["pairs"], data_dir=place.data_dir
    ).data()


def encoder_of(spec: Spec, place: Place, model: str = "") -> SiameseEncoder:
    """The encoder of a cell, or another model at its layer.

    Raises:
        MissingExtra: sentence-transformers, or the package of `minilm`, is absent.
        AttnauditError: The model cannot be used.
    """
    return load_siamese(model or spec["model"], layer=spec["layer"], device=place.device)


def tables_of(
    encoder: SiameseEncoder,
    pairs: Sequence[ScoredPair],
    spec: Spec,
    place: Place,
    kept: str = "tables",
) -> list[PairTable]:
    """The table of every pair; those that the folder holds are read, not made again.

    Args:
        encoder: At its layer.
        pairs: Of the cell.
        spec: Of the cell.
        place: Of the cell.
        kept: The sub-folder for them.
    """
    explainer = PairExplainer(encoder, reference=spec["reference"], tolerance=spec["tolerance"])
    folder = place.folder / kept
    folder.mkdir(exist_ok=True)
    tidy(folder)
    found: list[PairTable] = []
    for first in range(0, len(pairs), AT_ONCE):
        file = folder / f"{first:05d}.json"
        content = read_noted(file, place.folder)
        if content is None:
            some = [(pair.a, pair.b) for pair in pairs[first : first + AT_ONCE]]
            made = [_written(table) for table in explainer.tables(some)]
            content = json.dumps(made).encode()
            write_noted(file, content, place.folder)
        # always read, so that sums are the same to the last bit however often it was interrupted
        found += stored_tables(content)
        place.progress("pairs", len(found), len(pairs))
    return found


def stored_tables(content: bytes) -> list[PairTable]:
    """The tables of a file, in the order of its pairs."""
    return [_read(one) for one in json.loads(content)]


def _written(table: PairTable) -> dict[str, Any]:
    return {
        "a": asdict(table.a),
        "b": asdict(table.b),
        "values": table.values.tolist(),
        "score": table.score,
        "kind": table.kind,
        "tolerance": table.tolerance,
        "reference_a": table.reference_a,
        "reference_b": table.reference_b,
    }


def _read(one: dict[str, Any]) -> PairTable:
    values = torch.tensor(one["values"], dtype=torch.float64)
    return PairTable(**{**one, "a": _tokens(one["a"]), "b": _tokens(one["b"]), "values": values})


def _tokens(one: dict[str, Any]) -> Tokens:
    lists = {k: tuple(v) for k, v in one.items() if isinstance(v, list)}
    lists["offsets"] = tuple((start, end) for start, end in one["offsets"])
    return Tokens(**{**one, **lists})
