"""Many seeds of one network from data to findings: train, grade, judge, store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from attnaudit.checks.ensembles import (
    ENSEMBLES,
    ensemble_finding,
    settled_rows,
    sizes_of,
)
from attnaudit.checks.seed_agreement import AGREEMENT, agreement_finding
from attnaudit.checks.silent_failures import (
    SILENT,
    bars_in_force,
    chosen_on_dev,
    curve_of,
    gate,
    kind_of,
    places_of,
    silent_finding,
)
from attnaudit.data.bags.records import BagDataset
from attnaudit.data.bags.scaling import Scaling, scaled
from attnaudit.errors import DataError, SettingsError
from attnaudit.evidence.seeds.ensembles import SUBSETS, ensemble_rows
from attnaudit.evidence.seeds.grading import grade, grade_members, reference_weights
from attnaudit.evidence.seeds.layout import Layout, lay_out
from attnaudit.evidence.seeds.members import GROUP, Members, check_members, key_of, train_members
from attnaudit.evidence.seeds.saving import save_ensemble
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.findings.settings import Settings
from attnaudit.nets.bags.classifier import BagConfig
from attnaudit.runs.folders import check_run
from attnaudit.silent.folder import FILE, MODEL, held, open_run, plan_of, store
from attnaudit.silent.schema import Bars, Ceilings, EnsembleRow, Grade, SilentFile, read_silent
from attnaudit.training.options import DEFAULTS, TrainOptions
from attnaudit.version import __version__


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
        return places_of(self.report.seeds, self.report.bars_in_force)

    @property
    def chosen(self) -> list[int]:
        """The places of the seeds that do their task on the development bags: those saved."""
        return chosen_on_dev(self.report.seeds, self.report.bars_in_force)

    @property
    def frame(self) -> pl.DataFrame:
        """One row a seed and a reference."""
        rows = [
            row.model_dump(exclude={"by_label", "type_mass"})
            | {f"type_mass.{k + 1}": value for k, value in enumerate(row.type_mass)}
            for row in (*self.report.seeds, *self.report.references)
        ]
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
    options: TrainOptions | None = None,
    bars: Bars | None = None,
    ceilings: Ceilings | None = None,
    settings: Settings | None = None,
    subsets: int = SUBSETS,
    graded: Sequence[str] | None = None,
    scaling: Scaling | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    at_once: int = GROUP,
    progress: Callable[[str, int, int], None] | None = None,
) -> SilentReport:
    """Train a network from many seeds, and find seeds that fail without a sign of it.

    Where test bags say which instances are keys, weights are graded against them; where they do
    not, the agreement of the seeds is reported. Ensembles of 1 to all seeds are compared.

    Args:
        splits: `train`, `dev` and `test`, labelled.
        config: The network; its pool must learn weights.
        seeds: How many, counted from 0, or which.
        options: How to train.
        bars: The thresholds.
        ceilings: What can be reached at best, where it is known.
        settings: Confidence, resamples and seed of intervals.
        subsets: Ensembles drawn of each size.
        graded: Classes whose bags are graded against the truth; None for all. Where both types of
            keys must occur, bags without one of them have keys that speak for no label.
        scaling: How features are scaled before the network reads them; None for as they are.
        out: A folder for `silent.json`, tables and members, and in `model` the seeds that do their
            task on the development bags as one model, with the bags held out; a group of finished
            seeds is not trained again. None keeps nothing.
        overwrite: Replace another run that the folder holds.
        at_once: Seeds trained side by side.
        progress: Told `(stage, done, total)`.

    Raises:
        AttnauditError: Unusable data, options or folder, or one of another run; see
            `train_members`.

    Example:
        >>> from attnaudit.data.bags.generated import generate_bag_splits
        >>> from attnaudit.training.options import options_for
        >>> splits = generate_bag_splits("presence", "gaussian", 20, 10, 20, delta=4.0)
        >>> config = BagConfig(splits["train"].classes, (10,), hidden=4, attention=4)
        >>> report = audit_silent(splits, config, 2, options=options_for("bags", epochs=1))
        >>> [finding.check for finding in report.findings]
        ['performance', 'silent_failures', 'seed_agreement', 'ensembles']
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    options = options or DEFAULTS["bags"]
    bars, ceilings, settings = bars or Bars(), ceilings or Ceilings(), settings or Settings()
    folder = None if out is None else Path(out)
    check_members(config, splits, chosen)
    if folder is not None:
        check_run(folder, "silent")
    layout = lay_out(splits["test"], graded)
    read = splits if scaling is None else _scaled(splits, scaling)
    with nullcontext() if folder is None else held(folder):
        if folder is not None:
            about = {
                "data": splits["test"].name,
                "network": asdict(config),
                "training": {k: v for k, v in asdict(options).items() if k != "seed"},
                "graded": None if graded is None else sorted(graded),
                "bars": bars.model_dump(),
                "ceilings": ceilings.model_dump(),
                "settings": settings.model_dump(mode="json"),
                "subsets": subsets,
            }
            plan = plan_of(key_of(config, read, options), about, chosen)
            open_run(folder, plan, overwrite)
        members = train_members(
            config, read, chosen, options, folder=folder, at_once=at_once, progress=progress
        )
        report = conclude_silent(
            members,
            read,
            layout,
            options=options,
            bars=bars,
            ceilings=ceilings,
            settings=settings,
            subsets=subsets,
        )
        if folder is not None:
            store(folder, report.report, report.frame, members, layout)
            save_ensemble(
                members,
                report.chosen,
                folder / MODEL,
                splits=splits,
                scaling=scaling,
                overwrite=True,
            )
    return report


def _scaled(splits: Mapping[str, BagDataset], scaling: Scaling) -> dict[str, BagDataset]:
    for name, part in splits.items():
        if part.shape != splits["train"].shape:
            raise DataError(
                f"{name} has instances of {part.shape}, and train of {splits['train'].shape}"
            )
    return {name: scaled(part, scaling) for name, part in splits.items()}


def conclude_silent(
    members: Members,
    splits: Mapping[str, BagDataset],
    layout: Layout,
    *,
    options: TrainOptions | None = None,
    bars: Bars | None = None,
    ceilings: Ceilings | None = None,
    settings: Settings | None = None,
    subsets: int = SUBSETS,
) -> SilentReport:
    """What trained members show: grades, rates, agreement, ensembles, findings, a judgement."""
    bars, ceilings = bars or Bars(), ceilings or Ceilings()
    settings, options = settings or Settings(), options or DEFAULTS["bags"]
    force = bars_in_force(bars, ceilings)
    rows = tuple(
        row.model_copy(update={"kind": kind_of(row, force, bars)})
        for row in grade_members(members, layout)
    )
    given, notes = reference_weights(layout, splits["train"], splits["test"], settings.seed)
    references = [grade(name, layout, weights) for name, weights in given.items()]
    chance = next((row for row in references if row.subject == "random"), None)
    if len(members) > 1:
        mean = members.outputs.double().exp().mean(0).log().float()
        name = f"ensemble of {len(members)}"
        references.append(grade(name, layout, members.weights.mean(0), mean))
    ensembles = ensemble_rows(
        members.weights, members.outputs, layout, force, subsets=subsets, seed=settings.seed
    )
    first = gate(rows, force, bars)
    good = first.verdict is Verdict.PASS
    places = places_of(rows, force)
    findings = (
        first,
        silent_finding(rows, force, bars, good, chance),
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
        judgement=judged(findings, rows, ensembles),
        notes=notes,
    )
    return SilentReport(report, members)


def open_silent(folder: str | Path) -> SilentReport:
    """What a finished run has stored, without its members.

    Raises:
        RunError: The folder holds none, or a damaged one.
    """
    return SilentReport(read_silent(Path(folder) / FILE))


def judged(
    findings: Sequence[Finding], rows: Sequence[Grade], ensembles: Sequence[EnsembleRow] = ()
) -> str:
    """What came of all findings, in a sentence or two."""
    verdicts = {finding.check: finding.verdict for finding in findings}
    if verdicts["performance"] is Verdict.INCONCLUSIVE:
        return (
            f"Not enough seeds to audit this network: {len(rows)} are trained, and too few do "
            "their task to tell whether it can be."
        )
    if verdicts["performance"] is not Verdict.PASS:
        return "This network is not good enough to audit: too few seeds do their task."
    if any(row.auroc is not None for row in rows):
        said = {
            Verdict.FAIL: "Silent failures occur: some seeds do their task and show weights that "
            "do not find the keys. Do not show the weights of a single training run.",
            Verdict.PASS: "No silent failure was found.",
            Verdict.INCONCLUSIVE: "No silent failure was found, with too few seeds to speak about "
            "rare ones.",
        }[verdicts[SILENT]]
        if verdicts[SILENT] is Verdict.FAIL and verdicts[ENSEMBLES] is Verdict.PASS:
            said += f" No accurate ensemble of {sizes_of(settled_rows(ensembles))} seeds was one."
        return said
    return {
        Verdict.PASS: "Seeds agree on which instances matter; whether they are right is not known.",
        Verdict.FAIL: "Seeds do not agree on which instances matter: do not show the weights of a "
        "single training run.",
    }.get(verdicts[AGREEMENT], "Whether seeds agree on which instances matter is undecided.")
