"""Deletion and insertion of single tokens: does the similarity rest on the top tokens?"""

from __future__ import annotations

from functools import partial

import polars as pl

from attnaudit.evidence.pairs.curves import token_columns
from attnaudit.evidence.pairs.rivals import Wording, judged_curves
from attnaudit.findings.findings import Finding
from attnaudit.pair_checks.declaration import PairCheck
from attnaudit.pair_checks.settings import PairSettings

WORDING = {
    "deletion": Wording(
        "Removing the tokens of one text that {who} ranked highest lowers the similarity on "
        "average by {gain} more than removing tokens at random.",
        "the tokens that the similarity rests on",
    ),
    "insertion": Wording(
        "Keeping of one text only the tokens that {who} ranked highest leaves the similarity "
        "on average {gain} higher than keeping tokens at random.",
        "the tokens that make the similarity",
    ),
}


def _conclude(check: str, frame: pl.DataFrame, settings: PairSettings) -> list[Finding]:
    return judged_curves(frame, settings, check, WORDING[check])


DELETION = PairCheck(
    name="deletion",
    title="Deletion of tokens",
    paper="DeYoung et al. 2020; Samek et al. 2017",
    question="Does the similarity fall when the highest-scoring tokens of one text are removed?",
    statistic="mean fall in similarity over fixed fractions of one text's tokens removed",
    null="what removing tokens in a random order does",
    higher_is_better=True,
    decisive=True,
    caveat="Texts with tokens removed are unlike the data, and leave-one-out, which removes tokens "
    "too, plays at home. Compare the operators.",
    measure=partial(token_columns, curve="deletion"),
    conclude=partial(_conclude, "deletion"),
)

INSERTION = PairCheck(
    name="insertion",
    title="Insertion of tokens",
    paper="DeYoung et al. 2020; Petsiuk et al. 2018",
    question="Do the highest-scoring tokens of one text alone keep the similarity?",
    statistic="mean similarity with only fixed fractions of one text's tokens left",
    null="what keeping tokens in a random order does",
    higher_is_better=True,
    decisive=False,
    caveat="A text of a few tokens is far from the data: a caution, and no verdict by itself.",
    measure=partial(token_columns, curve="insertion"),
    conclude=partial(_conclude, "insertion"),
)
