"""attnaudit: may these attention weights be shown as an explanation?"""

from importlib import import_module
from typing import TYPE_CHECKING

from attnaudit.version import __version__

if TYPE_CHECKING:
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

HOMES = {
    "Attribution": "attribution",
    "Audit": "api",
    "Dataset": "data.records",
    "Explanation": "runs.explain",
    "Finding": "checks",
    "Model": "models.cut",
    "PairAudit": "pair_checks",
    "Settings": "checks",
    "Similarity": "pairs",
    "Thresholds": "checks",
    "Verdict": "checks",
    "audit": "api",
    "audit_pairs": "pair_checks",
    "explain": "api",
    "load": "models.load",
    "load_data": "data.sources",
    "open_run": "api",
    "similarities": "pairs",
    "similarity": "pairs",
    "train": "training",
    "wrap": "models.wrap",
}
"""The module of each public name, imported when it is first used: commands start at once."""


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"attnaudit.{HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
