"""All controls by name."""

from __future__ import annotations

from attnaudit.checks.guide import GUIDE
from attnaudit.checks.seeds import SEEDS
from attnaudit.checks.trained_adversary import TRAINED_ADVERSARY
from attnaudit.checks.uniform import UNIFORM
from attnaudit.controls.declaration import Control

CONTROLS: dict[str, Control] = {
    control.name: control for control in (UNIFORM, SEEDS, GUIDE, TRAINED_ADVERSARY)
}
