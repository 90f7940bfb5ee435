"""Silent failures: many seeds of one network of bags, graded, compared, and put into ensembles."""

from __future__ import annotations

from attnaudit.silent.members import Members, read_weights, train_members
from attnaudit.silent.run import SilentReport, audit_silent, conclude_silent, open_silent
from attnaudit.silent.schema import Bars, Ceilings, EnsembleRow, Grade, SilentFile

__all__ = [
    "Bars",
    "Ceilings",
    "EnsembleRow",
    "Grade",
    "Members",
    "SilentFile",
    "SilentReport",
    "audit_silent",
    "conclude_silent",
    "open_silent",
    "read_weights",
    "train_members",
]
