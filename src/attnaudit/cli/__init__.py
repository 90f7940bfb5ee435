"""The command line: parses, calls, prints; computes nothing."""

from attnaudit.cli.app import app, main

__all__ = ["app", "main"]
