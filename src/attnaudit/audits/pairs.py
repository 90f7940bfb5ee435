"""An audit of pairs: may these token pairs be shown as the reason for a similarity?"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import JsonValue
from torch import Tensor

from attnaudit.audits.inputs import INPUTS
from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import Asked, ask, run_in
from attnaudit.audits.schema import DataFacts, ModelFacts
from attnaudit.checks.registry import chosen_checks
from attnaudit.data.kinds import PAIRS
from attnaudit.errors import DataError, ModelError
from attnaudit.evidence.contract import Design
from attnaudit.evidence.pairs.chunks import TextPairs
from attnaudit.evidence.pairs.view import Explainer, Remake, Shared, reference_given
from attnaudit.files import read_json, write_whole
from attnaudit.findings.settings import Settings
from attnaudit.models.siamese.explainer import PairExplainer, checked_pairs
from attnaudit.models.siamese.load import load_siamese
from attnaudit.models.siamese.own_score import Pair
from attnaudit.models.siamese.table import ScoreKind
from attnaudit.runs.disk import explained
from attnaudit.runs.execute import Watch
from attnaudit.runs.inputs import holding

PROBES = 4
"""Pairs whose tables tell explainers apart that have no fingerprint."""


@contextlib.contextmanager
def asking_pairs(
    explainer: Explainer,
    pairs: Sequence[Pair],
    settings: Settings | None = None,
    *,
    remake: Remake | None = None,
    name: str = "pairs",
    out: Path | None = None,
    workers: int = 1,
    engine: str | None = None,
) -> Iterator[Asked]:
    """Plan an audit of pairs, with explainer and pairs at hand for as long as it is run.

    Args:
        explainer: A `PairExplainer`, or anything with its `encoder` and `tables`.
        pairs: Pairs of texts; one that is repeated counts once.
        settings: Settings and bars; those for pairs are `settings.pairs`. Without every decisive
            check the answer stays open.
        remake: The same explainer for another encoder; known of a `PairExplainer`.
        name: What reports call the pairs.
        out: The run folder; None keeps nothing.
        workers: Chunks of pairs at a time; more than one run in processes, which read the model
            from where `load_siamese` found it.
        engine: Where they run, as `engine_of` takes it.

    Raises:
        DataError: No pairs, one that is not two texts, or a text that is empty; named by its
            number.
        SettingsError: A check or bar that does not exist, or workers that the explainer cannot be
            sent to.
        RunError: The folder cannot be used.
        NotApplicable: The scores that are explained are not the model's own.
    """
    settings = settings or Settings()
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(run_in(out, workers, engine))
        if not len(pairs):
            raise DataError(
                "there are no pairs to audit; give pairs of texts, 30 or more to decide"
            )
        distinct: Sequence[Pair] = list(dict.fromkeys(checked_pairs(pairs)))
        data = _data_facts(explainer, distinct, len(pairs), name)
        known = _fingerprint(explainer, distinct, remake)
        encoder = explainer.encoder
        place = encoder.source
        model = ModelFacts(
            name=type(encoder.transformer).__name__ if place is None else Path(place).name,
            kind=type(explainer).__name__,
            fingerprint=encoder.fingerprint,
        )
        shared, load = Shared(explainer, settings, remake), None
        if remake is None and isinstance(explainer, PairExplainer):
            load = _recipe(explainer, settings)
        file = run.folder / INPUTS / f"pairs-{data.fingerprint[:16]}.json"
        held = stack.enter_context(holding(shared, known, load, model.name))
        all_pairs = stack.enter_context(
            holding(distinct, data.fingerprint, partial(_pairs_at, file), name)
        )
        part = TextPairs(held, all_pairs, type(explainer).__module__)
        send = partial(_write, file, distinct, run.folder) if run.engine.remote else None
        design = Design(settings, parts=(part,))
        yield ask(design, model, data, _about(explainer, known), run, send)


def audit_pairs(
    explainer: Explainer,
    pairs: Sequence[Pair],
    *,
    settings: Settings | None = None,
    checks: Sequence[str] | None = None,
    remake: Remake | None = None,
    name: str = "pairs",
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    watch: Watch | None = None,
) -> AuditResult:
    """Put checks to the explanations of the similarity of pairs of texts.

    It takes what `asking_pairs` and `Asked.run` take and raises what they raise; `checks` are names
    of checks, in place of those that `settings` has. `instances` has one row per pair.
    """
    settings = settings or Settings()
    if checks is not None:
        names = tuple(check.name for check in chosen_checks(checks, PAIRS))
        settings = settings.model_copy(update={"checks": names})
    with asking_pairs(
        explainer, pairs, settings, remake=remake, name=name, out=out, workers=workers
    ) as asked:
        return asked.run(overwrite=overwrite, watch=watch)


def _about(explainer: Explainer, fingerprint: str) -> dict[str, JsonValue]:
    about: dict[str, JsonValue] = {"layer": explainer.encoder.layer}
    if isinstance(explainer, PairExplainer):
        about |= {"reference": explainer.reference.name, "tolerance": explainer.tolerance}
    return {**about, "explainer": fingerprint[:16]}


def _data_facts(explainer: Explainer, pairs: Sequence[Pair], given: int, name: str) -> DataFacts:
    """Which pairs they are, and of what kind."""
    sizes = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that are cut, as is said when they are explained
        for side, role in enumerate(explainer.encoder.roles):
            found = explainer.encoder.tokens([pair[side] for pair in pairs], role)
            sizes.append([sum(not flag for flag in tokens.special) for tokens in found])
    short = int((np.min(sizes, axis=0) < 2).sum())
    identical = sum(a == b for a, b in pairs)
    notes = (
        (given - len(pairs), "pairs were given more than once and count once."),
        (short, "pairs have a text of fewer than two tokens: they count for completeness alone."),
        (identical, "pairs are twice the same text."),
    )
    return DataFacts(
        name=name,
        split="",
        fingerprint=_digest(list(pairs)),
        instances=len(pairs),
        mean_length=float(np.mean(sizes)),
        notes=tuple(f"{count:,} {said}" for count, said in notes if count),
        reads=PAIRS.instances,
    )


def _fingerprint(explainer: Explainer, pairs: Sequence[Pair], remake: Remake | None) -> str:
    """What decides the tables; of an explainer that does not say so, what it does with a few."""
    encoder, kind = explainer.encoder, type(explainer)
    known = [kind.__module__, kind.__qualname__, encoder.fingerprint, encoder.layer]
    known.append(None if remake is None else getattr(remake, "__qualname__", repr(type(remake))))
    if isinstance(explainer, PairExplainer):
        return _digest([*known, explainer.fingerprint])
    tables = [
        table.values.double().cpu().numpy() for table in explainer.tables(sorted(pairs)[:PROBES])
    ]
    return _digest([*known, [[table.shape, table.round(4).tolist()] for table in tables]])


@dataclass(frozen=True)
class _Recipe:
    """How another process makes the same explainer."""

    source: str
    layer: int
    kind: ScoreKind | None
    prompt: str | None
    device: str
    reference: str | Tensor
    tolerance: float
    budget: int
    settings: Settings
    fingerprint: str

    def __call__(self) -> Shared:
        encoder = load_siamese(
            self.source, layer=self.layer, kind=self.kind, prompt=self.prompt, device=self.device
        )
        explainer = PairExplainer(
            encoder, reference=self.reference, tolerance=self.tolerance, budget=self.budget
        )
        if explainer.fingerprint != self.fingerprint:
            raise ModelError(
                f"the model in {self.source!r} is not the one that is audited, which was changed "
                "after it was read: leave workers at 1, or save it and load it again"
            )
        return Shared(explainer, self.settings)


def _recipe(explainer: PairExplainer, settings: Settings) -> _Recipe | None:
    """None where the model was not read from a place that others can read too."""
    encoder = explainer.encoder
    if encoder.source is None:
        return None
    return _Recipe(
        encoder.source,
        encoder.layer,
        encoder.named_kind,
        encoder.named_prompt,
        str(encoder.device),
        reference_given(explainer),
        explainer.tolerance,
        explainer.budget,
        settings,
        explainer.fingerprint,
    )


def _pairs_at(path: Path) -> Sequence[Pair]:
    found = read_json(path)
    return [(str(a), str(b)) for a, b in found] if isinstance(found, list) else []


def _write(path: Path, pairs: Sequence[Pair], folder: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(list(pairs)).encode())
    except OSError as error:
        raise explained(error, folder) from error


def _digest(known: object) -> str:
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()
