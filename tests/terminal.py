"""The command line in this process, with its exit code and everything it prints."""

import contextlib
import io
import sys
from unittest.mock import patch

from attnaudit.cli.app import OUT, main

# the console takes its width when it is made, before any test can say one
OUT.width = 200


def run(*arguments: str, code: int = 0) -> str:
    """What `attnaudit ARGUMENTS` prints; its exit code must be `code`."""
    out, result = io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["attnaudit", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            main()
        except SystemExit as stop:
            result = int(stop.code or 0)
    assert result == code, out.getvalue()
    return out.getvalue()
