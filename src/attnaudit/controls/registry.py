"""All controls by name."""

from __future__ import annotations

from attnaudit.controls.adversary import TRAINED_ADVERSARY
from attnaudit.controls.declaration import Control
from attnaudit.controls.guide import GUIDE
from attnaudit.controls.seeds import SEEDS
from attnaudit.controls.uniform import UNIFORM

CONTROLS: dict[str, Control] = {
    control.name: control for control in (UNIFORM, SEEDS, GUIDE, TRAINED_ADVERSARY)
}
