"""The command line: parses, calls, prints; computes nothing."""

from attnaudit.cli import (
    audit,
    demo,
    doctor,
    explain,
    explainer,
    listing,
    report,
    siamese,
    similarity,
    study,
    train,
    train_bags,
)
from attnaudit.cli.app import app, main

__all__ = [
    "app",
    "audit",
    "demo",
    "doctor",
    "explain",
    "explainer",
    "listing",
    "main",
    "report",
    "siamese",
    "similarity",
    "study",
    "train",
    "train_bags",
]
