"""Insertion of pairs of tokens: do the top pairs alone keep the similarity?"""

from __future__ import annotations

from functools import partial

from attnaudit.checks.declaration import PAIRS, Check
from attnaudit.data import kinds
from attnaudit.evidence.pairs.chunks import PairBatch
from attnaudit.evidence.pairs.curves import pair_columns
from attnaudit.evidence.pairs.rivals import MARGIN, Wording, judged_curves, ranked, requires
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic

WORDING = Wording(
    "Keeping only the tokens of the pairs that {who} ranked highest leaves the similarity on "
    "average {gain} higher than keeping random pairs.",
    "the pairs that make the texts similar",
)

PAIR_INSERTION = Check(
    name="pair_insertion",
    title="Insertion of pairs",
    paper="DeYoung et al. 2020; Petsiuk et al. 2018",
    question="Do the tokens of the highest pairs alone keep the similarity?",
    statistic="mean similarity with only the tokens of the top pairs left in both texts",
    null="the same for random pairs",
    higher_is_better=True,
    range=(-1.0, 1.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(partial(pair_columns, curve="insertion")),
    conclude=partial(judged_curves, check="pair_insertion", wording=WORDING),
    decisive=False,
    caveat="Texts of a few tokens are far from the data, and alignment, which picks equal tokens, "
    "plays at home: a caution, and no verdict by itself.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=requires,
    picture=ranked,
    words={
        "pair_insertion": Statistic("mean similarity kept by pairs", "over fractions of pairs"),
        "pair_insertion_over_random": Statistic("kept beyond random pairs", "less random pairs"),
        "pair_insertion_lead": Statistic(
            "lead in what pairs keep", "another method less the table"
        ),
    },
)
