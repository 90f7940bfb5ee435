"""Small tasks for tests of retraining: one that needs attention, one that does not."""

from __future__ import annotations

import random
from pathlib import Path

from attnaudit.audits.plan import facts_of
from attnaudit.audits.result import AuditResult
from attnaudit.audits.run import run_audit
from attnaudit.data.records import Dataset, Text
from attnaudit.data.texts.tokens import text_record
from attnaudit.evidence.trainings.base import parts_of
from attnaudit.evidence.trainings.design import Recipe
from attnaudit.findings.findings import Finding
from attnaudit.findings.settings import Settings, TrainingSettings
from attnaudit.models.text.model import TextClassifier
from attnaudit.runs.execute import Watch

LEVELS, CROWD = 2, 20
CLASSES = ("down", "up")


def highest(sizes: dict[str, int], seed: int = 0) -> dict[str, Dataset]:
    """The label is that of the one word of the highest level; all lower ones speak at random.

    Lower words are many, and mostly speak against the label, so that no plain mean of the words
    tells it: a context-free model must give the one word almost all the weight.
    """
    draw = random.Random(seed)

    def text(name: str, label: int) -> Text:
        top = draw.randint(0, LEVELS - 1)
        words = [f"level{top}-{CLASSES[label]}"]
        for level in range(top):
            against = draw.randint(CROWD // 2, CROWD)
            words += [f"level{level}-{CLASSES[1 - label]}"] * against
            words += [f"level{level}-{CLASSES[label]}"] * draw.randint(0, CROWD // 3)
        draw.shuffle(words)
        return text_record(name, " ".join(words), label=label, tokenizer="whitespace")

    return {
        split: Dataset(
            "highest", tuple(text(f"{split}{i}", i % 2) for i in range(size)), CLASSES, split
        )
        for split, size in sizes.items()
    }


def plain(sizes: dict[str, int], seed: int = 0, classes: int = 2) -> dict[str, Dataset]:
    """Every word but fillers speaks for the label: any weights will do."""
    draw = random.Random(seed)
    names = tuple(f"c{i}" for i in range(classes))

    def text(name: str, label: int) -> Text:
        words = [f"word{label}-{draw.randint(0, 4)}" for _ in range(draw.randint(2, 4))]
        words += [f"filler{draw.randint(0, 9)}" for _ in range(draw.randint(1, 5))]
        draw.shuffle(words)
        return text_record(name, " ".join(words), label=label, tokenizer="whitespace")

    return {
        split: Dataset(
            "plain", tuple(text(f"{split}{i}", i % classes) for i in range(size)), names, split
        )
        for split, size in sizes.items()
    }


def retrained(
    splits: dict[str, Dataset],
    recipe: Recipe | None = None,
    checks: tuple[str, ...] = ("retraining",),
    *,
    base: TextClassifier | None = None,
    folder: Path | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    workers: int = 1,
    watch: Watch | None = None,
    resamples: int = 200,
    **trainings: object,
) -> AuditResult:
    """An audit of a model that is given, or trained by a recipe; the test split is its data."""
    settings = Settings(
        checks=checks, resamples=resamples, trainings=TrainingSettings.model_validate(trainings)
    )
    parts = parts_of(base, recipe, folder=folder)
    about = {"recipe": next(part for part in parts if isinstance(part, Recipe)).about()}
    model = base or facts_of("a recipe", about, splits["train"].classes)
    return run_audit(
        model,
        splits.get("test", splits["train"]),
        settings,
        splits=splits,
        parts=parts,
        about=about,
        out=out,
        overwrite=overwrite,
        workers=workers,
        watch=watch,
    )


def finding(result: AuditResult, check: str, subject: str | None = None) -> Finding:
    """The first finding of a check, or the one about a subject."""
    found = (f for f in result.report.findings if f.check == check)
    return next(f for f in found if subject in (None, f.subject))


def folder_of(result: AuditResult, place: Path, name: str) -> Path:
    """Where a training lies in the run folder."""
    return place / next(cell.place for cell in result.report.cells if cell.name == name)
