"""An audit: plan, run the cells that are not finished, conclude, store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from attnaudit.audits.conclude import conclude
from attnaudit.audits.inputs import Sent, sent_to
from attnaudit.audits.plan import Planned, asked_of, cells_of, checks_of, data_facts, model_facts
from attnaudit.audits.result import AuditResult, store_result, stored
from attnaudit.audits.schema import DataFacts, ModelFacts, Plan
from attnaudit.data.kinds import KINDS, AnyDataset
from attnaudit.evidence.contract import Design, Splits
from attnaudit.files import digest_of
from attnaudit.findings.settings import Settings
from attnaudit.models.cut import Model
from attnaudit.models.matching import aligned, fitted
from attnaudit.runs.cell import Cell, with_needs
from attnaudit.runs.engine import Engine
from attnaudit.runs.engines import engine_of
from attnaudit.runs.execute import Watch, run_cells, waiting_of
from attnaudit.runs.folders import check_run
from attnaudit.runs.inputs import holding
from attnaudit.runs.store import Store
from attnaudit.version import __version__


@dataclass(frozen=True)
class Asked(Planned):
    """A planned audit with its place.

    Attributes:
        folder: The run folder.
        keep: Whether the findings are stored there; cells always are.
        engine: Where cells run.
        send: Writes what other processes read into the folder, once it is known to be this run's.
    """

    folder: Path
    keep: bool
    engine: Engine
    send: Callable[[], None] | None = None

    @property
    def waiting(self) -> list[Cell]:
        """The cells that the run folder lacks."""
        return waiting_of(self.cells, Store(self.folder, "audit"))

    def run(
        self, *, overwrite: bool = False, device: str = "cpu", watch: Watch | None = None
    ) -> AuditResult:
        """Run what is not finished, conclude, judge and store.

        Args:
            overwrite: Replace another audit that the folder holds.
            device: Where cells train and compute.
            watch: Told of each cell's start, steps and end.

        Raises:
            RunError: The folder cannot be used, or holds something else.
            AttnauditError: A cell without which nothing can be said failed.
        """
        store = Store(self.folder, "audit")
        before = None if overwrite else store.known_plan(Plan)
        difference = None if before is None else self.plan.difference(before)
        store.open(self.plan, difference, fresh=overwrite)
        if self.send is not None:
            self.send()
        done = run_cells(self.cells, store, engine=self.engine, device=device, watch=watch)
        earlier = None if done.fresh else stored(store, self.plan)
        result = conclude(self, store, done)
        if earlier is not None:
            # nothing was computed: this is still the audit of that time
            update = {"created": earlier.created, "seconds": earlier.seconds}
            report = result.report.model_copy(update=update)
            result = replace(result, report=report)
        if self.keep:
            with store.held():
                store.keep_only(with_needs(self.cells))
                store_result(store, result)
        return result


def ask(
    design: Design,
    model: ModelFacts,
    data: DataFacts,
    about: Mapping[str, JsonValue] | None,
    place: Run,
    send: Callable[[], None] | None = None,
) -> Asked:
    """Plan an audit.

    Args:
        design: The model, data and settings.
        model: What is said of the model.
        data: What is said of the data.
        about: What else decides the numbers, by name.
        place: Where it is run.
        send: As in `Asked`.

    Raises:
        AttnauditError: A check that does not exist, or one that this model or data cannot answer.
    """
    checks = checks_of(design.settings, KINDS[data.reads])
    plan = Plan(
        attnaudit_version=__version__,
        model=model,
        data=data,
        settings=design.settings,
        checks=tuple(check.name for check in checks),
        about=dict(about or {}),
    )
    cells = cells_of(asked_of(checks, design), design)
    return Asked(plan, design, checks, cells, place.folder, place.keep, place.engine, send)


@dataclass(frozen=True)
class Run:
    """Where an audit is run.

    Attributes:
        folder: The run folder.
        keep: Whether it is kept.
        engine: Where cells run.
    """

    folder: Path
    keep: bool
    engine: Engine


@contextlib.contextmanager
def run_in(out: Path | None, workers: int, engine: str | None = None) -> Iterator[Run]:
    """A run folder, checked; a temporary one where none is named.

    Raises:
        RunError: The folder holds something else, or cannot be written.
        SettingsError: No workers.
    """
    found = engine_of(workers, engine)
    if out is not None:
        check_run(out, "audit")
        yield Run(out, True, found)
        return
    with tempfile.TemporaryDirectory(prefix="attnaudit-") as folder:
        yield Run(Path(folder), False, found)


@contextlib.contextmanager
def asking(
    model: Model | ModelFacts,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    splits: Splits | None = None,
    parts: Sequence[object] = (),
    about: Mapping[str, JsonValue] | None = None,
    out: Path | None = None,
    workers: int = 1,
    engine: str | None = None,
    left_out: int = 0,
) -> Iterator[Asked]:
    """Plan an audit of a model on data, with both at hand for as long as it is run.

    Args:
        model: Any model with the cut; or what is said of one that the audit itself trains, or of
            what it is about where that is no model at hand (see `facts_of`).
        data: Records; labels, where known, among the model's classes.
        settings: Which checks, and how.
        splits: `train`, `dev` and `test`, for checks that train or fit something.
        parts: What single kinds of evidence need besides (see `Design`).
        about: What of that decides the numbers, by name.
        out: The run folder; None keeps nothing.
        workers: Cells at a time; more than one run in processes. Numbers do not depend on it.
        engine: Where they run, as `engine_of` takes it.
        left_out: How many records of the data are not among these, because the model was trained
            on them.

    Raises:
        DataError: No records, or labels that the model does not know.
        SettingsError: A check or bar that does not exist, or no workers.
        RunError: The folder cannot be used.
        ModelError: The model gives NaN or weights that are no distribution.
    """
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(run_in(out, workers, engine))
        if isinstance(model, ModelFacts):
            facts, own = model, None
        else:
            data, own = aligned(fitted(data, model), model), model
            facts = model_facts(model, data)
        known = data_facts(data, own, left_out, splits)
        sent = sent_to(place.folder, own, data, splits) if place.engine.remote else Sent()
        held = None
        if own is not None:
            held = stack.enter_context(holding(own, facts.fingerprint, sent.model, own.name))
        records = stack.enter_context(holding(data, known.fingerprint, sent.data, data.name))
        some = None
        if splits is not None:
            key = digest_of(known.splits)
            some = stack.enter_context(holding(splits, key, sent.splits, data.name))
        design = Design(settings or Settings(), held, records, some, tuple(parts))
        yield ask(design, facts, known, about, place, sent.write)


def run_audit(
    model: Model | ModelFacts,
    data: AnyDataset,
    settings: Settings | None = None,
    *,
    splits: Splits | None = None,
    parts: Sequence[object] = (),
    about: Mapping[str, JsonValue] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    device: str = "cpu",
    watch: Watch | None = None,
    left_out: int = 0,
) -> AuditResult:
    """Audit a model on data: `asking` with these arguments, then `Asked.run`.

    Raises:
        AttnauditError: As these two.
    """
    with asking(
        model,
        data,
        settings,
        splits=splits,
        parts=parts,
        about=about,
        out=out,
        workers=workers,
        left_out=left_out,
    ) as asked:
        return asked.run(overwrite=overwrite, device=device, watch=watch)
