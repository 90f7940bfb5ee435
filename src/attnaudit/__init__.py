"""attnaudit: may these attention weights be shown as an explanation?"""

from importlib import import_module
from typing import TYPE_CHECKING

from attnaudit.version import __version__

if TYPE_CHECKING:
    from attnaudit.api import Audit, StudyRun, audit, explain, open_run, study
    from attnaudit.api.similarity import Similarity, similarities
    from attnaudit.attribution import Attribution
    from attnaudit.audits.explain import Explanation
    from attnaudit.data.records import Dataset
    from attnaudit.data.sources.resolve import load_data
    from attnaudit.findings.findings import Finding, Verdict
    from attnaudit.findings.settings import Settings
    from attnaudit.models.cut import Model
    from attnaudit.models.load import load
    from attnaudit.models.wrapped.model import wrap
    from attnaudit.training.train import train

__all__ = [
    "Attribution",
    "Audit",
    "Dataset",
    "Explanation",
    "Finding",
    "Model",
    "Settings",
    "Similarity",
    "StudyRun",
    "Verdict",
    "__version__",
    "audit",
    "explain",
    "load",
    "load_data",
    "open_run",
    "similarities",
    "study",
    "train",
    "wrap",
]

HOMES = {
    "Attribution": "attribution",
    "Audit": "api",
    "Dataset": "data.records",
    "Explanation": "audits.explain",
    "Finding": "findings.findings",
    "Model": "models.cut",
    "Settings": "findings.settings",
    "Similarity": "api.similarity",
    "StudyRun": "api",
    "Verdict": "findings.findings",
    "audit": "api",
    "explain": "api",
    "load": "models.load",
    "load_data": "data.sources.resolve",
    "open_run": "api",
    "similarities": "api.similarity",
    "study": "api",
    "train": "training.train",
    "wrap": "models.wrapped.model",
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
