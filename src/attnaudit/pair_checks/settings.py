"""What an audit of pair explanations can be told, with the source of every threshold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from attnaudit.findings.settings import Positive, Settings, Share

Operator = Literal["delete", "mask", "reference"]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]


class PairThresholds(BaseModel):
    """The named constants that turn statistics into verdicts. All can be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_pairs: Positive = Field(
        30, description="Fewer defined pairs than this give `inconclusive`. Ours."
    )
    margin: Share = Field(
        0.05,
        description="How much of the fall in similarity the table may lose against the best other "
        "method, in units of a cosine. Ours, as the erasure margin of attention.",
    )
    randomised_rank: Correlation = Field(
        0.5,
        description="Rank correlation with the explanation of a randomised encoder from which the "
        "explanation does not depend enough on what was learnt. Ours, after Adebayo et al. 2018.",
    )
    stable_rank: Correlation = Field(
        0.8,
        description="Rank correlation that an explanation must keep where an added word or mark "
        "leaves the score as it was. Ours.",
    )
    same_score: Share = Field(
        0.05,
        description="Change of the similarity up to which an added word or mark counts as neutral, "
        "in units of a cosine. Ours.",
    )


class PairSettings(BaseModel):
    """The resolved configuration of an audit of pair explanations.

    Example:
        >>> PairSettings(draws=8).thresholds.least_pairs
        30
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000
    fractions: tuple[Part, ...] = Field(
        (0.1, 0.2, 0.3, 0.5),
        min_length=1,
        description="Of a text's tokens that are removed or kept; of the shorter text's for pairs.",
    )
    operators: tuple[Operator, ...] = Field(
        ("delete", "mask"),
        min_length=1,
        description="How tokens are removed; the verdict rests on the first.",
    )
    draws: Positive = Field(5, description="Random orders whose mean is the null of a pair.")
    copies: Positive = Field(1, description="Randomised encoders.")
    word: str = Field("indeed", min_length=1, description="The neutral word that is added.")
    mark: str = Field(".", min_length=1, description="The punctuation mark that is added.")
    chunk: Positive = Field(64, description="Pairs finished at a time.")
    token_budget: Positive = Field(4096, description="Tokens in one pass.")
    thresholds: PairThresholds = PairThresholds()

    @property
    def sampling(self) -> Settings:
        """What estimates need: seed, confidence and resamples."""
        return Settings(seed=self.seed, confidence=self.confidence, resamples=self.resamples)
