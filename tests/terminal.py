"""The command line in this process, with its exit code and everything it prints."""

import contextlib
import io
import os
import sys
from unittest.mock import patch

from attnaudit.cli import main


def run(*arguments: str, code: int = 0) -> str:
    """What `attnaudit ARGUMENTS` prints; its exit code must be `code`."""
    out, result = io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["attnaudit", *arguments]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
    ):
        try:
            main()
        except SystemExit as stop:
            result = int(stop.code or 0)
    assert result == code, out.getvalue()
    return out.getvalue()
