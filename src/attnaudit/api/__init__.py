"""The public face: verbs, and what they give back."""

from attnaudit.api.results import Audit, Run, StudyRun
from attnaudit.api.verbs import audit, explain, open_run, study

__all__ = ["Audit", "Run", "StudyRun", "audit", "explain", "open_run", "study"]
