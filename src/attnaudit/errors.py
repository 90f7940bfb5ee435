"""One hierarchy of errors. Every message says what was wrong, where, and what to do."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""


class AttnauditError(Exception):
    """Base of every error that attnaudit raises on purpose."""


class DataError(AttnauditError):
    """Data that cannot be used: the message names file, row and column."""


class ModelError(AttnauditError):
    """A model that cannot be used: a broken checkpoint, NaN parameters, no attention."""


class RunError(AttnauditError):
    """A run folder that cannot be used: another audit's, read-only, full, or damaged."""


class SettingsError(AttnauditError):
    """An option outside its range, or a name that no registry holds."""


class DamagedWarning(UserWarning):
    """A stored result is not what was written, and is made again."""


class NotApplicable(AttnauditError):  # noqa: N818 - an outcome that callers catch, not a fault
    """A method or check that cannot be put to this model or data, with the reason."""


class MissingExtra(AttnauditError, ImportError):  # noqa: N818
    """An optional dependency is absent; the message says which extra installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it from the checkout of attnaudit with: pip install ".[{extra}]"'
        )


def first_line(error: BaseException) -> str:
    r"""The first line of a library's error, for one of ours; its kind where it says nothing.

    Example:
        >>> first_line(ValueError("no such key\nand a long list")), first_line(KeyError())
        ('no such key', 'KeyError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
