"""Many seeds of one network from data to findings: train, grade, judge, store."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import torch

from attnaudit.checks.findings import Finding, Verdict
from attnaudit.checks.settings import Settings
from attnaudit.data.bag_records import BagDataset
from attnaudit.errors import SettingsError
from attnaudit.nets.bag_classifier import BagConfig
from attnaudit.nets.bag_training import BagOptions
from attnaudit.runs.store import explained, lock, write_whole
from attnaudit.silent.agreement import AGREEMENT, agreement_finding
from attnaudit.silent.ensembles import ENSEMBLES, SUBSETS, ensemble_finding, ensemble_rows
from attnaudit.silent.grading import grade, grade_members, reference_weights
from attnaudit.silent.layout import Layout, lay_out
from attnaudit.silent.members import GROUP, Members, train_members
from attnaudit.silent.rates import (
    SILENT,
    bars_in_force,
    curve_of,
    gate,
    kind_of,
    silent_finding,
)
from attnaudit.silent.schema import Bars, Ceilings, Grade, SilentFile, read_silent
from attnaudit.version import __version__

FILE, SEEDS, WEIGHTS = "silent.json", "seeds.parquet", "weights.parquet"


@dataclass(frozen=True)
class SilentReport:
    """What many seeds show.

    Attributes:
        report: Everything found; stored as `silent.json`.
        members: The networks and their weights; None for a report that was opened.
    """

    report: SilentFile
    members: Members | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Performance, silent failures, agreement, ensembles."""
        return self.report.findings

    @property
    def judgement(self) -> str:
        """What came of it, in a sentence or two."""
        return self.report.judgement

    @property
    def accurate(self) -> list[int]:
        """The places of the seeds that do their task."""
        bar = self.report.bars_in_force["bag"]
        return [i for i, row in enumerate(self.report.seeds) if (row.roc_auc or 0.0) >= bar]

    @property
    def frame(self) -> pl.DataFrame:
        """One row a seed and a reference."""
        rows = [row.model_dump(exclude={"by_label", "type_mass"})
                | {f"type_mass.{k + 1}": value for k, value in enumerate(row.type_mass)}
                for row in (*self.report.seeds, *self.report.references)]  # fmt: skip
        return pl.DataFrame(rows, infer_schema_length=None)

    def finding(self, check: str) -> Finding:
        """The finding of that name.

        Raises:
            SettingsError: There is none.
        """
        for found in self.findings:
            if found.check == check:
                return found
        raise SettingsError(
            f"there is no finding {check!r}; there are: {', '.join(f.check for f in self.findings)}"
        )


def audit_silent(
    splits: Mapping[str, BagDataset],
    config: BagConfig,
    seeds: int | Sequence[int] = 24,
    *,
    options: BagOptions | None = None,
    bars: Bars | None = None,
    ceilings: Ceilings | None = None,
    settings: Settings | None = None,
    subsets: int = SUBSETS,
    graded: Sequence[str] | None = None,
    out: str | Path | None = None,
    at_once: int = GROUP,
    progress: Callable[[str, int, int], None] | None = None,
) -> SilentReport:
    """Train a network from many seeds, and find seeds that fail without a sign of it.

    Where test bags say which instances are keys, weights are graded against them; where they do
    not, the agreement of the seeds is reported. Ensembles of 1 to all seeds are compared.

    Args:
        splits: `train`, `dev` and `test`, labelled, scaled as they should be.
        config: The network; its pool must have weights.
        seeds: How many, counted from 0, or which.
        options: How to train.
        bars: The thresholds.
        ceilings: What can be reached at best, where it is known.
        settings: Confidence, resamples and seed of intervals.
        subsets: Ensembles drawn of each size.
        graded: Classes whose bags are graded against the truth; None for all. Where both types of
            keys must occur, bags without one of them have keys that speak for no label.
        out: A folder for `silent.json`, tables and members; a group of finished seeds is not
            trained again. None keeps nothing.
        at_once: Seeds trained side by side.
        progress: Told `(stage, done, total)`.

    Raises:
        AttnauditError: Unusable data, options or folder; see `train_members`.

    Example:
        >>> from attnaudit.data.bag_generated import generate_bag_splits
        >>> splits = generate_bag_splits("presence", "gaussian", 20, 10, 20, delta=4.0)
        >>> config = BagConfig(splits["train"].classes, (10,), hidden=4, attention=4)
        >>> report = audit_silent(splits, config, 2, options=BagOptions(epochs=1))
        >>> [finding.check for finding in report.findings]
        ['performance', 'silent_failures', 'seed_agreement', 'ensembles']
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    options = options or BagOptions()
    folder = None if out is None else Path(out)
    layout = lay_out(splits["test"], graded) if "test" in splits else None
    if folder is None:
        members = train_members(config, splits, chosen, options, at_once=at_once,
                                progress=progress)  # fmt: skip
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = open(folder / ".lock", "a")  # noqa: SIM115 - held for the whole run
        except OSError as error:
            raise explained(error, folder) from error
        with handle:
            lock(handle.fileno(), folder)
            members = train_members(config, splits, chosen, options, folder=folder,
                                    at_once=at_once, progress=progress)  # fmt: skip
    assert layout is not None  # train_members has refused splits without test
    report = conclude_silent(
        members, splits, layout, options=options, bars=bars, ceilings=ceilings, settings=settings,
        subsets=subsets,
    )  # fmt: skip
    if folder is not None:
        _store(folder, report, layout)
    return report


def conclude_silent(
    members: Members,
    splits: Mapping[str, BagDataset],
    layout: Layout,
    *,
    options: BagOptions | None = None,
    bars: Bars | None = None,
    ceilings: Ceilings | None = None,
    settings: Settings | None = None,
    subsets: int = SUBSETS,
) -> SilentReport:
    """What trained members show: grades, rates, agreement, ensembles, findings, a judgement."""
    bars, ceilings = bars or Bars(), ceilings or Ceilings()
    settings, options = settings or Settings(), options or BagOptions()
    force = bars_in_force(bars, ceilings)
    rows = tuple(
        row.model_copy(update={"kind": kind_of(row, force, bars)})
        for row in grade_members(members, layout)
    )
    given, notes = reference_weights(layout, splits["train"], splits["test"], settings.seed)
    references = [grade(name, layout, weights) for name, weights in given.items()]
    if len(members) > 1:
        mean = members.outputs.double().exp().mean(0).log().float()
        name = f"ensemble of {len(members)}"
        references.append(grade(name, layout, members.weights.mean(0), mean))
    ensembles = ensemble_rows(
        members.weights, members.outputs, layout, force, subsets=subsets, seed=settings.seed
    )
    first = gate(rows, force, bars)
    good = first.verdict is Verdict.PASS
    places = [i for i, row in enumerate(rows) if (row.roc_auc or 0.0) >= force["bag"]]
    findings = (
        first,
        silent_finding(rows, force, bars, good),
        agreement_finding(members.weights, layout, places, bars, settings, good),
        ensemble_finding(ensembles, good),
    )
    report = SilentFile(
        attnaudit_version=__version__,
        created=datetime.now(UTC),
        data=splits["test"].name,
        sizes={name: len(splits[name]) for name in ("train", "dev", "test")},
        classes=layout.classes,
        network=asdict(members.config)
        | {
            "classes": list(layout.classes),
            "shape": list(members.config.shape),
        },  # as JSON has them
        options={k: v for k, v in asdict(options).items() if k != "seed"},
        bars=bars,
        bars_in_force=force,
        ceilings=ceilings,
        seeds=rows,
        references=tuple(references),
        curve=curve_of(rows, force),
        ensembles=ensembles,
        findings=findings,
        estimates=tuple(e for finding in findings for e in finding.estimates),
        judgement=judged(findings, rows),
        notes=notes,
    )
    return SilentReport(report, members)


def open_silent(folder: str | Path) -> SilentReport:
    """What a finished run has stored, without its members.

    Raises:
        RunError: The folder holds none, or a damaged one.
    """
    return SilentReport(read_silent(Path(folder) / FILE))


def judged(findings: Sequence[Finding], rows: Sequence[Grade]) -> str:
    """What came of all findings, in a sentence or two."""
    verdicts = {finding.check: finding.verdict for finding in findings}
    if verdicts["performance"] is not Verdict.PASS:
        return "This network is not good enough to audit: too few seeds do their task."
    if any(row.auroc is not None for row in rows):
        said = {
            Verdict.FAIL: "Silent failures occur: some seeds do their task and show weights that "
            "do not find the keys. Do not show the weights of a single training.",
            Verdict.PASS: "No silent failure was found.",
            Verdict.INCONCLUSIVE: "No silent failure was found, with too few seeds to speak about "
            "rare ones.",
        }[verdicts[SILENT]]
        if verdicts[SILENT] is Verdict.FAIL and verdicts[ENSEMBLES] is Verdict.PASS:
            said += " Ensembles of six or more had none."
        return said
    return {
        Verdict.PASS: "Seeds agree on which instances matter; whether they are right is not known.",
        Verdict.FAIL: "Seeds do not agree on which instances matter: do not show the weights of a "
        "single training.",
    }.get(verdicts[AGREEMENT], "Whether seeds agree on which instances matter is undecided.")


def _store(folder: Path, report: SilentReport, layout: Layout) -> None:
    content = io.BytesIO()
    report.frame.write_parquet(content)
    write_whole(folder / SEEDS, content.getvalue(), folder)
    members = report.members
    if members is not None:
        sizes = layout.sizes.tolist()
        place = torch.cat([torch.arange(size) for size in sizes])
        columns = {
            "bag": [id for id, size in zip(layout.ids, sizes, strict=True) for _ in range(size)],
            "instance": place.numpy(),
            **{f"weight.{seed}": row.numpy()
               for seed, row in zip(members.seeds, members.weights, strict=True)},
        }  # fmt: skip
        content = io.BytesIO()
        pl.DataFrame(columns).write_parquet(content)
        write_whole(folder / WEIGHTS, content.getvalue(), folder)
    write_whole(folder / FILE, report.report.model_dump_json(indent=2).encode(), folder)
