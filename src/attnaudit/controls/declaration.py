"""A control, declared by data: tables, docs and report are made from this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from attnaudit.evidence.trainings.design import Design, Training
from attnaudit.evidence.trainings.results import Results
from attnaudit.findings.findings import Finding, Verdict


@dataclass(frozen=True)
class Control:
    """One question that only further trainings can answer.

    A check looks at one model; a control trains others, with one thing changed, and compares. So
    it needs labelled data with the splits train, dev and test.

    Attributes:
        name: The key in `CONTROLS`.
        title: What tables call it.
        paper: Where the question comes from.
        question: What it asks, in plain words.
        statistic: What the headline is.
        null: What the headline would be where there is nothing to find.
        higher_is_better: Direction of the headline.
        needs: `retraining` always.
        cost: How many trainings it takes, in words.
        caveat: When not to trust it.
        says: What each verdict means, as part of the judgement's sentence.
        trainings: What has to be trained; controls share trainings.
        conclude: Finished trainings to findings; the first one is what the judgement repeats.
    """

    name: str
    title: str
    paper: str
    question: str
    statistic: str
    null: str
    higher_is_better: bool
    needs: frozenset[str]
    cost: str
    caveat: str
    says: Mapping[Verdict, str]
    trainings: Callable[[Design], tuple[Training, ...]]
    conclude: Callable[[Results], list[Finding]]
