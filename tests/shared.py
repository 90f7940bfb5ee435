"""Where the real data for tests and studies lies: beside the checkout, or nowhere."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("ATTNAUDIT_SHARED", Path(__file__).parents[2] / "shared"))


def shared_dir(part: str = "") -> Path:
    """The folder of real data, or a skip that says why."""
    path = SHARED / part
    if not path.exists():
        pytest.skip(f"real data not present at ../shared/{part} (set ATTNAUDIT_SHARED to use it)")
    return path
