"""The gate before every verdict: is the model good enough to audit?"""

from __future__ import annotations

from attnaudit.checks.declaration import ATTENTION, Check
from attnaudit.data.kinds import BAGS, TEXTS
from attnaudit.evidence.batch.chunks import Batch, Instances
from attnaudit.findings.findings import Finding
from attnaudit.findings.performance import NAME, SKILL, conclude_performance
from attnaudit.findings.settings import LEAST_INSTANCES
from attnaudit.findings.wording import Statistic


def conclude(evidence: Instances) -> list[Finding]:
    """The gate of an audit of one model."""
    return [conclude_performance(evidence.frame, evidence.classes, evidence.settings)]


PERFORMANCE = Check(
    name=NAME,
    title="Performance",
    paper="",
    question="Is the model good enough to audit?",
    statistic="skill: balanced accuracy over chance",
    null="0",
    higher_is_better=True,
    group=ATTENTION,
    kinds=(TEXTS, BAGS),
    asks=Batch(),
    conclude=conclude,
    decisive=False,
    caveat="",
    bars=(SKILL, LEAST_INSTANCES),
    bar=SKILL,
    gate=True,
    shut=(
        "The model is not good enough to audit: an explanation of its guesses would explain "
        "nothing.",
        "Train the model further, then audit it again.",
    ),
    words={
        "skill": Statistic("skill", "balanced accuracy over chance; 0 is chance, 1 is perfect"),
        "accuracy": Statistic("accuracy", "share of labels predicted", percent=True),
        "roc_auc": Statistic("ROC-AUC", "0.5 is chance, 1 is perfect"),
    },
)
