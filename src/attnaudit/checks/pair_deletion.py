"""Deletion and insertion of pairs of tokens: do the top pairs act together?"""

from __future__ import annotations

from functools import partial

import polars as pl

from attnaudit.evidence.pairs.curves import pair_columns
from attnaudit.evidence.pairs.rivals import Wording, judged_curves
from attnaudit.findings.findings import Finding
from attnaudit.pair_checks.declaration import PairCheck
from attnaudit.pair_checks.settings import PairSettings

TOGETHER = Wording(
    "Removing from both texts the tokens of the pairs that {who} ranked highest shows a joint "
    "effect that is on average {gain} larger than that of random pairs.",
    "the tokens that make the texts similar together",
)
KEPT = Wording(
    "Keeping only the tokens of the pairs that {who} ranked highest leaves the similarity on "
    "average {gain} higher than keeping random pairs.",
    "the pairs that make the texts similar",
)


def _deletion(frame: pl.DataFrame, settings: PairSettings) -> list[Finding]:
    return judged_curves(frame, settings, "pair_deletion", TOGETHER, extra=("pair_fall",))


def _insertion(frame: pl.DataFrame, settings: PairSettings) -> list[Finding]:
    return judged_curves(frame, settings, "pair_insertion", KEPT)


PAIR_DELETION = PairCheck(
    name="pair_deletion",
    title="Deletion of pairs",
    paper="Grabisch & Roubens 1999 (joint effect); DeYoung et al. 2020 (curve)",
    question="Do the tokens of the highest pairs make the texts similar together, beyond what each "
    "side does alone?",
    statistic="s(a, b) - s(a', b) - s(a, b') + s(a', b'), with the tokens of the top pairs removed "
    "in a', b'; mean over fixed fractions",
    null="the same for random pairs",
    higher_is_better=True,
    decisive=True,
    caveat="The plain fall s(a, b) - s(a', b') is estimated too, but misleads: of two equal texts, "
    "removing what matches leaves what matches. Leave-one-out plays at home.",
    measure=partial(pair_columns, curve="deletion"),
    conclude=_deletion,
)

PAIR_INSERTION = PairCheck(
    name="pair_insertion",
    title="Insertion of pairs",
    paper="DeYoung et al. 2020; Petsiuk et al. 2018",
    question="Do the tokens of the highest pairs alone keep the similarity?",
    statistic="mean similarity with only the tokens of the top pairs left in both texts",
    null="the same for random pairs",
    higher_is_better=True,
    decisive=False,
    caveat="Texts of a few tokens are far from the data, and alignment, which picks equal tokens, "
    "plays at home: a caution, and no verdict by itself.",
    measure=partial(pair_columns, curve="insertion"),
    conclude=_insertion,
)
