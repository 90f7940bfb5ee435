"""The part of `attnaudit explain` that is about the similarity of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnaudit.cli.app import OUT
from attnaudit.cli.output import told
from attnaudit.console import printable_json
from attnaudit.data.reading import Column
from attnaudit.data.sources.resolve import resolve
from attnaudit.errors import RunError, SettingsError
from attnaudit.files import writable
from attnaudit.report.files import check_output, write_text

if TYPE_CHECKING:
    from attnaudit.models.siamese.table import ScoreKind

SCORES: dict[str | None, ScoreKind | None] = {None: None, "cosine": "cosine", "dot": "dot"}
SHOWN = 3
"""Pairs of a file that are printed in full."""
STDOUT = Path("-")


def show_similarity(
    model: str,
    texts: Sequence[str],
    *,
    file: Path | None,
    columns: Mapping[str, Column],
    limit: int | None,
    json_path: Path | None,
    html: Path | None,
    overwrite: bool,
    layer: int,
    reference: str,
    tolerance: float,
    score: str | None,
    prompt: str | None,
    cache: Path | None,
    device: str | None,
) -> None:
    """Print pairs of texts with what each pair of their words adds; write them where asked.

    Raises:
        SettingsError: Neither texts nor a file, both, or a score that does not exist.
        RunError: A file or the cache cannot be written.
    """
    # sentence-transformers takes seconds to import
    from attnaudit.api.similarity import similarities
    from attnaudit.report.similarity import render_similarity
    from attnaudit.report.similarity_terminal import show_pair

    if (file is None) == (len(texts) < 2):
        raise SettingsError("give two texts, or pairs of texts with --data, and not both")
    if score not in SCORES:
        raise SettingsError(f"--score must be cosine or dot, got {score!r}")
    _check_places(json_path, html, cache, overwrite=overwrite, reads=(file, model))
    pairs = [(texts[0], other) for other in texts[1:]] if texts else []
    if file is not None:
        source = resolve(file, "pairs", columns={"score": None, **columns}, limit=limit)
        pairs = [(pair.a, pair.b) for pair in source.data()]
    with told():
        found = list(
            similarities(
                model,
                pairs,
                layer=layer,
                tolerance=tolerance,
                reference=reference,
                kind=SCORES[score],
                prompt=prompt,
                cache=cache,
                device=device,
            )
        )
    if json_path == STDOUT:
        write_json([one.to_dict() for one in found], json_path, overwrite=overwrite)
        return
    many = file is not None or len(found) > SHOWN
    for one in found[: SHOWN if many else len(found)]:
        show_pair(OUT, one.table)
        OUT.print()
    if len(found) > SHOWN:
        OUT.print(f"{len(found) - SHOWN} more pairs; --html and --json hold all of them.")
    if json_path is not None:
        write_json([one.to_dict() for one in found], json_path, overwrite=overwrite)
    if html is not None:
        about = (("Model", model), ("Layer", str(layer)), ("Reference", reference))
        page = render_similarity([one.table for one in found], about)
        OUT.print_place("Page", write_text(html, page))


def _check_places(
    json_path: Path | None,
    html: Path | None,
    cache: Path | None,
    *,
    overwrite: bool,
    reads: Sequence[object],
) -> None:
    """Refuse places that cannot be written, before any work."""
    for option, path in (("--json", json_path), ("--html", html)):
        if path is not None and path != STDOUT:
            check_output(path, option, overwrite=overwrite, reads=reads)
    if json_path is not None and html is not None and json_path.resolve() == html.resolve():
        raise SettingsError("--json and --html name one file; give two")
    why = None if cache is None else writable(cache)
    if why is not None:
        raise RunError(f"the cache folder {cache} cannot be written: {why}; give another")


def write_json(value: object, path: Path, *, overwrite: bool) -> None:
    """JSON for programs, to a file, or to standard output for `-`.

    Raises:
        RunError: The file cannot be written, or holds something that attnaudit did not write.
    """
    if path == STDOUT:
        OUT.print_value(value)
        return
    check_output(path, "--json", overwrite=overwrite)
    OUT.print_place("JSON", write_text(path, printable_json(value, indent=None)))
