"""The shortcut check: do the weights carry the answer, and does the model rely on that?

Leak and gap are two questions. A probe that predicts the label from the form of the weights shows
a leak; a model that predicts more than a neutral judge of the same weights relies on one.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from attnaudit.audit.audit import aligned
from attnaudit.audit.held_out import fitted
from attnaudit.checks.declaration import Facts
from attnaudit.checks.gap import conclude_gap, reads_form
from attnaudit.checks.leak import check_defaults, conclude_leak
from attnaudit.checks.performance import conclude_performance
from attnaudit.checks.swaps import FORWARD, conclude_forward, conclude_swaps
from attnaudit.data.build import draw
from attnaudit.data.kinds import AnyDataset
from attnaudit.errors import DataError, NotApplicable
from attnaudit.evidence.judges.judge import Judged, judge
from attnaudit.evidence.judges.reading import Reading, read
from attnaudit.findings.findings import Finding, Verdict
from attnaudit.models.cut import Model
from attnaudit.models.ensemble import Ensemble
from attnaudit.models.pretrained.held import HeldStates, texts_of
from attnaudit.models.pretrained.model import PretrainedClassifier
from attnaudit.models.seen import text_hash
from attnaudit.progress import Report
from attnaudit.runs.disk import write_noted
from attnaudit.runs.folders import check_run, claim, plan_hash
from attnaudit.shortcuts.schema import ShortcutReport, ShortcutVerdict
from attnaudit.shortcuts.settings import ShortcutSettings
from attnaudit.training.evaluation import check_labels
from attnaudit.version import __version__

FINDINGS, ESTIMATES, INSTANCES = "findings.json", "estimates.parquet", "instances.parquet"
MOST_SHARED = 0.1
"""Share of test records that may stand in train or dev too, as a few do in published data."""
NEEDED = {"train": "training", "dev": "development", "test": "test"}


def audit_shortcuts(
    model: Model,
    splits: Mapping[str, AnyDataset],
    settings: ShortcutSettings | None = None,
    *,
    default_units: Sequence[str] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
) -> ShortcutReport:
    """Check a model for combinatorial shortcuts (Bai et al. 2021).

    Args:
        model: Any model with the cut, soft or hard weights; it stays as it is.
        splits: `train` and `dev` teach the judges; all else is measured on `test`. `load_splits`
            and `split_dataset` give them. Classes are matched with the model's by name.
        settings: Seed, judges, bars.
        default_units: Tokens that stand in every record and mean nothing, where there are any.
        out: A folder for `findings.json`, `estimates.parquet` and `instances.parquet`.
        overwrite: Replace another shortcut check that the folder holds.
        progress: A function `(stage, done, total)`.

    Raises:
        NotApplicable: The model is an ensemble.
        DataError: A split is missing, unlabelled or of one class, or has a class that the model
            does not know, many test records are among those that teach the judges, or a default
            token is in no test record.
        ModelError: The model gives no valid weights or outputs.
        RunError: The folder cannot be written, or holds something else.

    Example:
        >>> from attnaudit.training.train import train
        >>> done = train("polarity", encoder="average", embedding_dim=8, hidden=8, limit=120,
        ...              epochs=1, progress=False)
        >>> settings = ShortcutSettings(judges=1, judge_epochs=1, permutations=100, trees=10)
        >>> report = audit_shortcuts(done.model, done.splits, settings)
        >>> [finding.check for finding in report.findings]
        ['leak', 'weights_only', 'swaps', 'gap']
    """
    settings = settings or ShortcutSettings()
    splits = _checked(model, splits)
    splits["train"] = draw(splits["train"], settings.train_limit, settings.seed)
    check_defaults(splits["test"], default_units)
    plan = plan_hash(
        model.fingerprint(),
        [splits[name].fingerprint for name in NEEDED],
        settings.model_dump(mode="json"),
        list(default_units),
    )
    if out is not None:
        check_run(Path(out), "shortcut", plan=plan, overwrite=overwrite)
    seconds: dict[str, float] = {}
    steps = 4

    def told(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(stage, done, total)

    if type(model) is PretrainedClassifier:
        # judges pass over the texts a hundred times, and the transformer stays as it is
        records = [record for part in splits.values() for record in part]
        with _timed(seconds, "encoding"):
            model = HeldStates(model, texts_of(records), progress)
    with _timed(seconds, "reading"):
        reading = read(model, splits["test"], settings.token_budget)
    gate = _gate(reading, settings)
    makers: dict[str, Callable[[], Finding]] = {
        "leak": lambda: conclude_leak(reading, settings, default_units),
        "weights_only": lambda: conclude_forward(model, reading, settings),
        "swaps": lambda: conclude_swaps(model, reading, settings),
    }
    findings = []
    for done, (name, make) in enumerate(makers.items()):
        with _timed(seconds, name):
            findings.append(make())
        told("shortcuts", done + 1, steps)
    with _timed(seconds, "gap"):
        # each judge reads the form by an accident of its own: more of them tell what is chance
        count = settings.judges * (2 if reads_form(findings) else 1)
        judged = judge(model, splits, reading, settings, progress, count=count)
        findings.append(conclude_gap(reading, judged, settings, findings))
    told("shortcuts", steps, steps)
    verdict = verdict_of(gate, findings[0], findings[-1], findings[1:-1])
    report = ShortcutReport(
        attnaudit_version=__version__,
        created=datetime.now(UTC),
        model=model.name,
        fingerprint=model.fingerprint(),
        data=splits["test"].name,
        sizes={name: len(splits[name]) for name in NEEDED},
        classes=tuple(splits["test"].classes),
        settings=settings,
        default_units=tuple(default_units),
        verdict=verdict,
        sentence=_sentence(verdict, findings),
        gate=gate,
        findings=tuple(findings),
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )
    if out is not None:
        claim(Path(out), "shortcut", plan)
        _store(Path(out), report, _instances(reading, judged))
    return report


def verdict_of(
    gate: Finding, leak: Finding, gap: Finding, others: Sequence[Finding] = ()
) -> ShortcutVerdict:
    """One word for gate, leak, gap, and the interventions.

    A model near chance is not judged. A gap above its bar is reliance, whatever the probe says: a
    code can lie in which units are chosen, where no probe of the form sees it. A leak without a gap
    is a leak, and so is a decoder that reads the label from the weights when the content is gone.
    Clean is only what has a gap certainly below the bar, no leak above its own, and no
    intervention that fails.
    """
    if gate.verdict is Verdict.FAIL:
        return ShortcutVerdict.POOR
    if gap.verdict is Verdict.FAIL:
        return ShortcutVerdict.RELIES
    failed = {finding.check for finding in others if finding.verdict is Verdict.FAIL}
    if leak.verdict is Verdict.FAIL or FORWARD in failed:
        return ShortcutVerdict.LEAKS
    if gap.verdict is Verdict.PASS and not failed:
        return ShortcutVerdict.CLEAN
    return ShortcutVerdict.UNCERTAIN


def _sentence(verdict: ShortcutVerdict, findings: Sequence[Finding]) -> str:
    leak, gap = findings[0], findings[-1]
    if verdict is ShortcutVerdict.LEAKS:
        open_question = (
            "a neutral judge of the same weights predicts as well, so the model does not need it"
            if gap.verdict is Verdict.PASS
            else "whether the model relies on that is not certain"
        )
        return f"The weights tell the label by their form; {open_question}."
    if verdict is ShortcutVerdict.UNCERTAIN and gap.verdict is Verdict.PASS:
        return (
            "A neutral judge of the same weights predicts as well, yet predictions follow the "
            "weights of other records: whether the model relies on a code is not certain."
        )
    if verdict is ShortcutVerdict.CLEAN and leak.verdict is not Verdict.PASS:
        return (
            "Nothing shows that the model relies on a code in its weights; a small leak is not "
            "ruled out."
        )
    return {
        ShortcutVerdict.CLEAN: "The weights carry no code that the model relies on.",
        ShortcutVerdict.RELIES: "The model relies on a code in its weights: they are no measure of "
        "importance.",
        ShortcutVerdict.UNCERTAIN: "Whether the model relies on a code in its weights is not "
        "certain.",
        ShortcutVerdict.POOR: "The model is near chance: it is not good enough to audit.",
    }[verdict]


def _checked(model: Model, splits: Mapping[str, AnyDataset]) -> dict[str, AnyDataset]:
    """The splits with labels numbered as the model's classes are; refused where they do not do."""
    if isinstance(model, Ensemble):
        raise NotApplicable(
            f"{model.name} is an ensemble: each member answers by its own weights, whatever others "
            "are laid over them, so that no judge is neutral. Check its members"
        )
    found = {}
    for split, what in NEEDED.items():
        if split not in splits:
            raise DataError(
                f"there is no split {split!r}: judges learn on train and dev, and everything is "
                "measured on test; load_splits and split_dataset cut data into all three"
            )
        data = found[split] = aligned(fitted(splits[split], model), model)
        check_labels(data.records, data.classes, what, several=True)
    learnt = {text_hash(record) for split in ("train", "dev") for record in found[split]}
    both = [record.id for record in found["test"] if text_hash(record) in learnt]
    if len(both) > MOST_SHARED * len(splits["test"]):
        raise DataError(
            f"{len(both)} of {len(splits['test'])} test records are in train or dev as well, "
            f"{both[0]!r} for one: a judge must not have seen what it judges. Cut the data anew"
        )
    return found


def _gate(reading: Reading, settings: ShortcutSettings) -> Finding:
    columns = {f"probability.{i}": p for i, p in enumerate(reading.probabilities.T)}
    frame = pl.DataFrame({"label": reading.labels, "predicted": reading.predicted, **columns})
    return conclude_performance(frame, Facts(tuple(reading.data.classes), settings.audit()))


def _instances(reading: Reading, judged: Judged) -> pl.DataFrame:
    """One row an instance: what the model and each judge say under the model's weights."""
    return pl.DataFrame(
        {
            "id": [record.id for record in reading.data],
            "label": reading.labels,
            "predicted": reading.predicted,
            "length": reading.lengths,
            "max_weight": [float(row.max()) if len(row) else None for row in reading.weights],
            **{f"judge/{i}": said.argmax(1) for i, said in enumerate(judged.own)},
            "informed": judged.others["informed"][0].argmax(1),
        }
    )


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    seconds[name] = time.process_time() - start


def _store(folder: Path, report: ShortcutReport, instances: pl.DataFrame) -> None:
    for name, frame in ((INSTANCES, instances), (ESTIMATES, report.frame)):
        content = io.BytesIO()
        frame.write_parquet(content)
        write_noted(folder / name, content.getvalue(), folder)
    text = report.model_dump_json(indent=2)
    write_noted(folder / FINDINGS, text.encode(), folder)
