"""Insertion of single tokens: do the top tokens alone keep the similarity?"""

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
    "Keeping of one text only the tokens that {who} ranked highest leaves the similarity "
    "on average {gain} higher than keeping tokens at random.",
    "the tokens that make the similarity",
)

INSERTION = Check(
    name="insertion",
    title="Insertion of tokens",
    paper="DeYoung et al. 2020; Petsiuk et al. 2018",
    question="Do the highest-scoring tokens of one text alone keep the similarity?",
    statistic="mean similarity with only fixed fractions of one text's tokens left",
    null="what keeping tokens in a random order does",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(partial(token_columns, curve="insertion")),
    conclude=partial(judged_curves, check="insertion", wording=WORDING),
    decisive=False,
    caveat="A text of a few tokens is far from the data: a caution, and no verdict by itself.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=requires,
    picture=ranked,
    words={
        "insertion": Statistic("mean similarity kept", "over fractions of a text's tokens"),
        "insertion_over_random": Statistic("kept beyond random", "less that of random orders"),
        "insertion_lead": Statistic("lead in what is kept", "another method less the table"),
    },
)
