"""Deletion of pairs of tokens: do the top pairs act together?"""

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
    "Removing from both texts the tokens of the pairs that {who} ranked highest shows a joint "
    "effect that is on average {gain} larger than that of random pairs.",
    "the tokens that make the texts similar together",
)
FALL = "pair_fall"

PAIR_DELETION = Check(
    name="pair_deletion",
    title="Deletion of pairs",
    paper="Grabisch & Roubens 1999 (joint effect); DeYoung et al. 2020 (curve)",
    question="Do the tokens of the highest pairs make the texts similar together, beyond what each "
    "side does alone?",
    statistic="s(a, b) - s(a', b) - s(a, b') + s(a', b'), with the tokens of the top pairs removed "
    "in a', b'; mean over fixed fractions",
    null="the same for random pairs",
    higher_is_better=True,
    range=(-4.0, 4.0),
    group=PAIRS,
    kinds=(kinds.PAIRS,),
    asks=PairBatch(partial(pair_columns, curve="deletion")),
    conclude=partial(judged_curves, check="pair_deletion", wording=WORDING, extra=(FALL,)),
    decisive=True,
    essential=True,
    caveat="The plain fall s(a, b) - s(a', b') is estimated too, but misleads: of two equal texts, "
    "removing what matches leaves what matches. Leave-one-out plays at home.",
    bars=(MARGIN, LEAST_INSTANCES),
    requires=requires,
    recommends=2,
    lead="it is ahead by {lead} in units of the similarity, mean over pairs",
    picture=ranked,
    words={
        "pair_deletion": Statistic("mean joint effect", "of the tokens of the top pairs removed"),
        "pair_deletion_over_random": Statistic("effect beyond random", "less random pairs"),
        "pair_deletion_lead": Statistic("lead in joint effect", "another method less the table"),
        FALL: Statistic("mean plain fall", "of the similarity, without the top pairs' tokens"),
        f"{FALL}_over_random": Statistic("plain fall beyond random", "less random pairs"),
    },
)
