"""attnaudit: may these attention weights be shown as an explanation?"""

from attnaudit.api import Audit, audit, explain, open_run
from attnaudit.attribution import Attribution
from attnaudit.checks import Finding, Settings, Thresholds, Verdict
from attnaudit.data.records import Dataset
from attnaudit.data.sources import load_data
from attnaudit.models.cut import Model
from attnaudit.models.load import load
from attnaudit.models.wrap import wrap
from attnaudit.pair_checks import PairAudit, audit_pairs
from attnaudit.pairs import Similarity, similarities, similarity
from attnaudit.runs.explain import Explanation
from attnaudit.training import train
from attnaudit.version import __version__

__all__ = [
    "Attribution",
    "Audit",
    "Dataset",
    "Explanation",
    "Finding",
    "Model",
    "PairAudit",
    "Settings",
    "Similarity",
    "Thresholds",
    "Verdict",
    "__version__",
    "audit",
    "audit_pairs",
    "explain",
    "load",
    "load_data",
    "open_run",
    "similarities",
    "similarity",
    "train",
    "wrap",
]
