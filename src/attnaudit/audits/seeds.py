"""The checks over many seeds of a network, without a model to audit beside them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.audits.schema import ModelFacts
from attnaudit.checks.declaration import MANY_SEEDS
from attnaudit.data.bags.records import BagDataset
from attnaudit.evidence.contract import Design, Splits
from attnaudit.evidence.seeds.evidence import gathered
from attnaudit.evidence.seeds.members import bags_of
from attnaudit.evidence.seeds.network import Network
from attnaudit.evidence.seeds.saving import save_ensemble
from attnaudit.files import digest_of
from attnaudit.findings.settings import Settings
from attnaudit.nets.checkpoint import check_place
from attnaudit.runs.execute import Watch
from attnaudit.runs.folders import check_run
from attnaudit.runs.inputs import holding
from attnaudit.runs.store import Store

MODEL = "model"


def audit_seeds(
    splits: Mapping[str, BagDataset],
    network: Network,
    settings: Settings | None = None,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    watch: Watch | None = None,
) -> AuditResult:
    """Train one network from many seeds, and look for failures that its task hides.

    Args:
        splits: `train`, `dev` and `test`, labelled, as they are before scaling.
        network: What is trained.
        settings: Which checks and seeds, and how; all checks over seeds by default.
        out: The run folder: finished groups of seeds are kept there, and the same call with more
            seeds goes on. None keeps nothing.
        overwrite: Replace another audit that the folder holds.
        workers: Groups of seeds at a time.
        watch: Told of each group's start, steps and end.

    Raises:
        DataError: The splits cannot be used.
        NotApplicable: The pool of the network learns no weights.
        SettingsError: No seeds, a seed twice, or a check or bar that does not exist.
        RunError: The folder cannot be used, or holds something else.
        ModelError: Training diverges.

    Example:
        >>> from attnaudit.data.bags.generated import generate_bag_splits
        >>> from attnaudit.findings.settings import SeedSettings
        >>> from attnaudit.nets.bags.classifier import BagConfig
        >>> from attnaudit.training.options import options_for
        >>> splits = generate_bag_splits("presence", "gaussian", 20, 10, 20, delta=4.0)
        >>> config = BagConfig(splits["train"].classes, (10,), hidden=4, attention=4)
        >>> network = Network(config, options_for("bags", epochs=1))
        >>> settings = Settings(seeds=SeedSettings(which=(0, 1)))
        >>> report = audit_seeds(splits, network, settings).report
        >>> [finding.check for finding in report.findings]
        ['silent_failures', 'seed_agreement', 'ensembles']
    """
    settings = settings or Settings()
    settings = settings.model_copy(update={"checks": settings.checks or (MANY_SEEDS,)})
    if out is not None:
        check_run(out, "audit")
        check_place(out / MODEL, overwrite=True)
    known = network.trained()["network"]
    facts = ModelFacts(
        name=network.name,
        kind="Network",
        fingerprint=digest_of(known),
        classes=network.config.classes,
    )
    return run_audit(
        facts,
        bags_of(splits)["test"],
        settings,
        splits=splits,
        parts=(network,),
        about=network.about(),
        out=out,
        overwrite=overwrite,
        workers=workers,
        device=network.options.device,
        watch=watch,
    )


def save_seeds(
    folder: Path,
    splits: Mapping[str, BagDataset],
    network: Network,
    settings: Settings | None = None,
) -> Path | None:
    """Save the seeds that do their task on the development bags as a model, in the run folder.

    Args:
        folder: The folder of a finished audit with checks over seeds.
        splits: Those of the audit.
        network: That of the audit.
        settings: Those of the audit.

    Returns:
        The folder of the model; None where no seed does its task.

    Raises:
        RunError: The run folder does not hold these seeds.
        ModelError: Something that is no model of attnaudit's lies in the place of the model.
    """
    known = {name: part.fingerprint for name, part in splits.items()}
    some: Splits = splits
    with holding(some, digest_of(known), name="the bags") as held:
        design = Design(settings or Settings(), splits=held, parts=(network,))
        found = gathered(design, Store(folder, "audit"))
    check_place(folder / MODEL, overwrite=True)
    if not found.chosen and (folder / MODEL).exists():
        shutil.rmtree(folder / MODEL)  # of an earlier run, with other seeds or bars
    return save_ensemble(
        found.members,
        found.chosen,
        folder / MODEL,
        splits=splits,
        scaling=network.scaling,
        overwrite=True,
    )
