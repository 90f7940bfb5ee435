"""The command line: parses, calls, prints; computes nothing."""

from attnaudit.cli import (
    audit,
    audit_pairs,
    control,
    demo,
    doctor,
    explain,
    listing,
    report,
    shortcut,
    silent,
    similarity,
    study,
    train,
)
from attnaudit.cli.app import app, main

__all__ = [
    "app",
    "audit",
    "audit_pairs",
    "control",
    "demo",
    "doctor",
    "explain",
    "listing",
    "main",
    "report",
    "shortcut",
    "silent",
    "similarity",
    "study",
    "train",
]
