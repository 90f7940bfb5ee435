"""Findings: estimates, verdicts, settings and wording, as plain data."""
