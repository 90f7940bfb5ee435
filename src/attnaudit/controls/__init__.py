"""Controls: questions about attention that only further trainings can answer.

(Wiegreffe & Pinter 2019, "Attention is not not Explanation".)
"""

from __future__ import annotations

from attnaudit.controls.calibration import Calibration, read_calibration
from attnaudit.controls.declaration import Control
from attnaudit.controls.design import Design, Recipe, Training
from attnaudit.controls.registry import CONTROLS
from attnaudit.controls.results import Bars
from attnaudit.controls.run import (
    ControlReport,
    finish_controls,
    open_controls,
    prepare_controls,
    run_controls,
)

__all__ = [
    "CONTROLS",
    "Bars",
    "Calibration",
    "Control",
    "ControlReport",
    "Design",
    "Recipe",
    "Training",
    "finish_controls",
    "open_controls",
    "prepare_controls",
    "read_calibration",
    "run_controls",
]
