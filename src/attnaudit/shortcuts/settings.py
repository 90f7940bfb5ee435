"""What the shortcut check can be told, and the bars of its verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from attnaudit.findings.estimates import above
from attnaudit.findings.findings import Estimate, Verdict
from attnaudit.findings.settings import Positive, Settings, Share


class ShortcutBars(BaseModel):
    """The named constants that turn the statistics into verdicts. All can be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    leak: Share = Field(
        0.05,
        description="Balanced accuracy above chance and above the length alone, from which a "
        "probe of the weights counts as a leak. Ours.",
    )
    gap: Share = Field(
        0.03,
        description="Balanced accuracy that a model may have above a neutral judge of the same "
        "weights. Ours.",
    )
    power: Share = Field(
        0.5,
        description="Share of the model's gain over chance that a decoder trained afresh on the "
        "model's own weights must reach: below it, a judge trained the same way says nothing. A "
        "judge that reaches less of it under weights that are independent of the label is weak. "
        "Ours.",
    )
    swap: Share = Field(
        0.1,
        description="Flips by weights of another class beyond those by weights of the same class, "
        "from which the class of the weights counts as read. Ours.",
    )


class ShortcutSettings(BaseModel):
    """The resolved configuration of a shortcut check; it is stored beside the findings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 1000
    folds: Annotated[int, Field(ge=2)] = 5
    permutations: Annotated[int, Field(ge=100, description="Shuffled labels of the null.")] = 200
    positions: Positive = Field(
        16, description="Weights from each end, and largest weights, that a probe sees."
    )
    trees: Positive = Field(100, description="Of the random forest.")
    judges: Positive = Field(
        3,
        description="Seeds of the neutral judge; twice as many where the decoder provably reads "
        "the form of the weights.",
    )
    judge_epochs: Positive = Field(20, description="Most epochs of a judge.")
    judge_patience: Positive = Field(
        4, description="Epochs without a better development score after which a judge stops."
    )
    judge_rate: Annotated[float, Field(gt=0, description="Learning rate of a judge.")] = 3e-3
    judge_decay: Annotated[float, Field(ge=0, description="L2 of a judge.")] = 0.0
    judge_masks: Literal["mixed", "law", "half"] = Field(
        "mixed",
        description="What a judge learns on: `law`, random masks like the model's own; `half`, "
        "every unit shown with probability 1/2 (EVAL-X, Jethani et al. 2021); `mixed`, these two, "
        "equal weights and, for texts, masks that favour a unit as the model favours it in other "
        "records, in equal shares.",
    )
    judge_draws: Positive = Field(4, description="Random masks an instance and step.")
    train_limit: Positive | None = Field(
        None, description="Training records of a judge, drawn by the seed; None: all."
    )
    token_budget: Positive = Field(2048, description="Padded tokens in one pass.")
    bars: ShortcutBars = ShortcutBars()

    def audit(self) -> Settings:
        """The settings of an audit with the same seed, confidence and resamples."""
        return Settings(
            seed=self.seed,
            confidence=self.confidence,
            resamples=self.resamples,
            token_budget=self.token_budget,
        )


def below(estimate: Estimate, bar: float, least: int) -> Verdict:
    """Pass where the whole interval lies below the bar, fail where it lies above: more is worse."""
    verdict = above(estimate, bar, least)
    return {Verdict.PASS: Verdict.FAIL, Verdict.FAIL: Verdict.PASS}.get(verdict, verdict)
