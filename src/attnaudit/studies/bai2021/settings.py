"""What the study trains: tasks, masks and downstream networks."""

from __future__ import annotations

from dataclasses import dataclass

JOINT, PRETRAIN, HELD_OUT, WEIGHT = "joint", "pretrain", "held_out", "weight"
METHODS = {
    JOINT: "joint training",
    PRETRAIN: "random attention pretraining",
    HELD_OUT: "held-out random pretraining",
    WEIGHT: "instance weighting",
}
"""How a model is trained, in words."""
GENERATED = ("order", "bow")
HEAD_AND_TAIL, ONLY = "head and tail", "only"
"""Default tokens around every text, or in its place."""
DEFAULTS = 5
"""Default tokens where they are all that can be attended to."""


@dataclass(frozen=True)
class Setting:
    """One row of the study's table.

    Attributes:
        data: A generated task, or a named set.
        variant: Where the default tokens stand.
        mask: `soft` or `hard`.
        downstream: `pool`, `cnn` or `rnn`.
        k: Units that a hard mask keeps.
        cost: CPU seconds of one cell with joint training, roughly.
    """

    data: str
    variant: str
    mask: str
    downstream: str
    k: int | None
    cost: float

    @property
    def generated(self) -> bool:
        """Whether the task is generated, with a new draw for every seed."""
        return self.data in GENERATED

    @property
    def title(self) -> str:
        """What the page calls it."""
        data = {"sst": "SST", "imdb": "IMDB"}.get(self.data, self.data)
        variant = ", default tokens only" if self.variant == ONLY else ""
        return f"{data}{variant}, {self.mask} masks, {self.downstream}"


def _settings() -> dict[str, Setting]:
    made = {
        "order/hard/pool": Setting("order", HEAD_AND_TAIL, "hard", "pool", 2, 22),
        "order/soft/pool": Setting("order", HEAD_AND_TAIL, "soft", "pool", None, 22),
        "order/hard/cnn": Setting("order", HEAD_AND_TAIL, "hard", "cnn", 2, 40),
        "order/soft/rnn": Setting("order", HEAD_AND_TAIL, "soft", "rnn", None, 70),
        "bow/hard/pool": Setting("bow", HEAD_AND_TAIL, "hard", "pool", 5, 22),
        "bow/soft/pool": Setting("bow", HEAD_AND_TAIL, "soft", "pool", None, 22),
    }
    for data, cost in (("sst", 90.0), ("imdb", 400.0)):
        made[f"{data}/only/soft"] = Setting(data, ONLY, "soft", "pool", None, cost)
        made[f"{data}/only/hard"] = Setting(data, ONLY, "hard", "pool", 2, cost)
        made[f"{data}/soft/pool"] = Setting(data, HEAD_AND_TAIL, "soft", "pool", None, cost)
        made[f"{data}/hard/pool"] = Setting(data, HEAD_AND_TAIL, "hard", "pool", 5, cost)
    return made


SETTINGS = _settings()
"""By name: the rows of the table of generated tasks, and real texts."""
NEEDS_A_CODE = ("order/hard/pool", "order/soft/pool")
"""No honest weights carry the label to this downstream network."""
HONEST = ("bow/hard/pool", "bow/soft/pool")
"""Honest weights suffice."""
