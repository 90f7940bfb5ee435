"""Deletion of single tokens: does the similarity rest on the top tokens?"""

from __future__ import annotations

from functools import partial

from attnaudit.checks.declaration import PAIRS, Check
from attnaudit.data import kinds
from attnaudit.evidence.pairs.chunks import PairBatch
from attnaudit.evidence.pairs.curves import token_columns
from attnaudit.evidence.pairs.rivals import MARGIN, Wording, judged_curves, ranked, requires
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic

WORDING = Wording(
    "Removing the tokens of one text that {who} ranked highest lowers the similarity on "
    "average by {gain} more than removing tokens at random.",
    "the tokens that the similarity rests on",
)

DELETION = Check(
    name="deletion",
    title="Deletion of tokens",
    paper="DeYoung et al. 2020; Samek et al. 2017",
    question="Does the similarity fall when the highest-scoring tokens of one text are removed?",
    statistic="mean fall in similarity over fixed fractions of one text's tokens removed",
    null="what removing tokens in a random order does",
    higher_is_better=True,
    range=(-2.0, 2.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(partial(token_columns, curve="deletion")),
    conclude=partial(judged_curves, check="deletion", wording=WORDING),
    decisive=True,
    essential=True,
    caveat="Texts with tokens removed are unlike the data, and leave-one-out, which removes tokens "
    "too, plays at home. Compare the operators.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=requires,
    recommends=1,
    lead="it is ahead by {lead} in units of the similarity, mean over pairs",
    picture=ranked,
    words={
        "deletion": Statistic("mean fall in similarity", "over fractions of a text's tokens"),
        "deletion_over_random": Statistic("fall beyond random", "less that of random orders"),
        "deletion_lead": Statistic("lead in the fall", "another method less the table, paired"),
    },
)
