"""The command line: parses, calls, prints; computes nothing."""

from attnaudit.cli import (
    audit,
    audit_pairs,
    control,
    demo,
    doctor,
    explain,
    explainer,
    listing,
    report,
    siamese,
    silent,
    similarity,
    study,
    train,
    train_bags,
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
    "explainer",
    "listing",
    "main",
    "report",
    "siamese",
    "silent",
    "similarity",
    "study",
    "train",
    "train_bags",
]
