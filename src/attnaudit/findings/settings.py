"""What an audit can be told, with the source of every threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attnaudit.attribution.contract import LONGEST
from attnaudit.errors import SettingsError
from attnaudit.files import read_json

Share = Annotated[float, Field(ge=0, le=1)]
Some = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Operator = Literal["delete", "mask", "pad", "zero_weight"]


class Thresholds(BaseModel):
    """The named constants that turn statistics into verdicts. All can be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_instances: Positive = Field(
        30, description="Fewer defined instances than this give `inconclusive`. Ours."
    )
    skill: Share = Field(
        0.3,
        description="Least skill to be worth an audit: (balanced accuracy - chance) / (1 - "
        "chance). Ours; .65 for two classes.",
    )
    agreement_tau: Share = Field(
        0.5,
        description="Kendall tau that weights must reach with gradient and leave-one-out (three "
        "of four pairs ordered alike), or the tau of those two with each other where that is "
        "smaller: what the yardsticks do not share cannot be asked of the weights. Ours, after "
        "Wiegreffe & Pinter 2019.",
    )
    yardstick_tau: Share = Field(
        0.2,
        description="Below this tau between gradient and leave-one-out the yardsticks do not "
        "measure one thing, and agreement is `inconclusive`. Ours.",
    )
    permutation_tvd: Share = Field(
        0.1,
        description="Mean over instances of the median output change under permuted weights. "
        "Twice the .05 that Jain & Wallace 2019 (section 4.2.2) count as the same prediction.",
    )
    epsilon: Share = Field(
        0.05,
        description="Output change up to which a prediction counts as the same (Jain & Wallace "
        "2019, released selection).",
    )
    adversary_jsd: Share = Field(
        0.4,
        description="Divergence from which weights count as a different explanation (Wiegreffe & "
        "Pinter 2019, table of adversaries).",
    )
    adversary_share: Share = Field(
        0.5,
        description="Share of instances with such an adversary from which the check fails. Ours.",
    )
    erasure_margin: Share = Field(
        0.05,
        description="How much mean comprehensiveness (probability) weights may lose against the "
        "best other attribution, and another must gain on them to be recommended. The ε of the "
        "adversary. Ours.",
    )
    truth_margin: Share = Field(
        0.05,
        description="How much AUROC for known evidence another attribution must have over the "
        "weights to be recommended, mean over instances. As the erasure margin. Ours.",
    )
    truth_auroc: Share = Field(
        0.8,
        description="Instance AUROC against known evidence below which attention is called a "
        "silent failure (our reading of Haab et al. 2022).",
    )


class Settings(BaseModel):
    """The resolved configuration of an audit; it is stored beside the findings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000
    checks: tuple[str, ...] = ("agreement", "permutation", "adversary", "erasure", "ground_truth")
    token_budget: Positive = Field(
        2048, description="Padded tokens in one pass: small for a CPU's cache, larger for a GPU."
    )
    chunk: Positive = Field(256, description="Instances finished, and stored, at a time.")
    permutations: Positive = 100
    top_k: Some = Field(0.1, description="Share of units that top-k overlap compares.")
    search: bool = Field(
        False,
        description="Run the published 500-step search also where the exact adversary is known.",
    )
    search_candidates: Positive = 5
    search_steps: Positive = 500
    search_hinge: Share | None = Field(
        None, description="The search's own ε; the released code has .01. None: the same ε."
    )
    fractions: tuple[Some, ...] = Field(
        (0.01, 0.05, 0.1, 0.2, 0.5),
        min_length=1,
        description="Of units erased (DeYoung et al. 2020).",
    )
    operators: tuple[Operator, ...] = Field(("delete", "mask", "pad", "zero_weight"), min_length=1)
    costly_limit: Positive = Field(
        500,
        description="Instances, drawn by the seed, for what costs the most: erasure and the best "
        "order of the weights.",
    )
    longest: Positive = Field(
        LONGEST,
        description="Units above which leave-one-out is not computed, where its cost grows with "
        "their square (recurrent encoders, wrapped modules).",
    )
    ig_tolerance: Annotated[float, Field(gt=0)] = Field(
        0.005, description="Completeness error, in probability, integrated gradients may have."
    )
    ig_max_nodes: Positive = Field(
        64,
        ge=8,
        description="Nodes after which they stop all the same; the error left is reported.",
    )
    thresholds: Thresholds = Thresholds()


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file; what it does not name keeps its default.

    Raises:
        SettingsError: The file cannot be read, or names a setting or value that does not exist.
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise SettingsError(f"{path}: {error}.") from error
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise SettingsError(
            f"{path}: {where}: {first['msg']}. Settings are named as in findings.json, under "
            "plan.settings."
        ) from error
