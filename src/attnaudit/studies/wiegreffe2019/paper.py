"""The paper's own numbers: recalled, never verified, so that no answer rests on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECALLED = "recalled from the paper, not verified"
"""Stands wherever a number of the paper is shown: its authors released no result files."""
HALVED = "in the released code's output change, which may be half of ours"
"""Stands wherever an output change of the paper is shown.

The code takes ½ |p − q| of two classes, half the total variation; whether table 4 does is not said.
"""

CITED: Mapping[str, Any] = {
    "uniform_f1": {
        "columns": ["reported by Jain & Wallace", "reproduced", "uniform weights"],
        "rows": {
            "diabetes": [0.79, 0.775, 0.706],
            "anemia": [0.92, 0.938, 0.899],
            "imdb": [0.88, 0.902, 0.879],
            "sst": [0.81, 0.831, 0.822],
            "agnews": [0.96, 0.964, 0.960],
            "20news": [0.94, 0.942, 0.934],
        },
    },
    "guided_mlp_f1": {
        "columns": ["Diabetes", "Anemia", "SST", "IMDb"],
        "UNIFORM": [0.404, 0.873, 0.812, 0.863],
        "TRAINED MLP": [0.699, 0.920, 0.817, 0.888],
        "BASE LSTM": [0.753, 0.931, 0.824, 0.905],
        "ADVERSARY (lambda 0.001)": [0.503, 0.932, 0.592, 0.700],
    },
    "trained_adversary": {
        "columns": ["lambda", "F1", "mean TVD", "mean JSD"],
        "Diabetes": [0.0002, 0.775, 0.015, 0.409],
        "Anemia": [0.0005, 0.942, 0.017, 0.481],
        "SST": [0.0005, 0.823, 0.036, 0.514],
        "IMDb": [0.0008, 0.906, 0.014, 0.405],
    },
}
"""Tables 2, 3 and 4, in the layout of a file for `--reference`."""

ROWS = {
    "sst": "sst",
    "imdb": "imdb",
    "newsgroups_sports": "20news",
    "ag_news_binary": "agnews",
    "diabetes": "diabetes",
    "anemia": "anemia",
}
COLUMNS = {"sst": "SST", "imdb": "IMDb", "diabetes": "Diabetes", "anemia": "Anemia"}
GUIDES = {
    "uniform": "UNIFORM",
    "own": "TRAINED MLP",
    "base": "BASE LSTM",
    "adversary": "ADVERSARY (lambda 0.001)",
}
ADVERSARY = ("strength", "f1", "tvd", "jsd")


class Paper:
    """What the paper reports of a data set, BiLSTM with additive attention; None elsewhere.

    Args:
        reference: The content of a file of the paper's numbers; what it lacks is cited here.
    """

    def __init__(self, reference: Mapping[str, Any]) -> None:
        self.tables = {name: reference.get(name, table) for name, table in CITED.items()}

    def f1(self, data: str, attention: str) -> float | None:
        """F1 of the classifier with `learned` or `uniform` weights (table 2)."""
        place = {"learned": 1, "uniform": 2}.get(attention)
        return _number(self.tables["uniform_f1"], ("rows", ROWS.get(data)), place)

    def guided(self, data: str, source: str) -> float | None:
        """F1 of the context-free model under a source of weights (table 3)."""
        table = self.tables["guided_mlp_f1"]
        columns = table.get("columns", []) if isinstance(table, Mapping) else []
        column = COLUMNS.get(data)
        place = columns.index(column) if column in columns else None
        return _number(table, (GUIDES.get(source),), place)

    def adversary(self, data: str, what: str) -> float | None:
        """`strength`, `f1`, `tvd` or `jsd` of the trained adversary (table 4).

        The strength is that of the released code, whose output distance is half of ours, so it
        is doubled here. `tvd` is as the paper has it: it may be half of ours (`HALVED`).
        """
        found = _number(
            self.tables["trained_adversary"], (COLUMNS.get(data),), ADVERSARY.index(what)
        )
        return 2 * found if found is not None and what == "strength" else found


def _number(table: Any, path: tuple[str | None, ...], place: int | None) -> float | None:
    at = table
    for step in path:
        at = at.get(step) if isinstance(at, Mapping) else None
    if place is None or not isinstance(at, list) or place >= len(at):
        return None
    return float(at[place]) if isinstance(at[place], int | float) else None
