"""The command line: parses, calls, prints; computes nothing."""

from attnaudit.cli import (
    audit,
    demo,
    doctor,
    explain,
    listing,
    report,
    similarity,
    study,
    train,
)
from attnaudit.cli.app import app, main

__all__ = [
    "app",
    "audit",
    "demo",
    "doctor",
    "explain",
    "listing",
    "main",
    "report",
    "similarity",
    "study",
    "train",
]
