"""Whether a device can be used, asked before any long work."""

from __future__ import annotations

import torch

from attnaudit.errors import SettingsError, first_line


def check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        SettingsError: No such device, or none that works; the message says why.
    """
    try:
        torch.empty(0, device=device)
    # torch raises several kinds of errors: no such name, no driver, no such number
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise SettingsError(
            f"device {device!r} cannot be used here ({reason}). `attnaudit doctor` lists the "
            "devices there are"
        ) from error
