"""`attnaudit`, and `python -m attnaudit`: the command line, which can be stopped from the start."""

from __future__ import annotations

import os
import signal
import sys

from attnaudit.errors import INTERRUPTED


def main() -> None:
    """Import the command line, which takes seconds, and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        # nothing is done yet: end at once, and not by an exception that an import may swallow
        signal.signal(signal.SIGINT, _stop)
    from attnaudit.cli import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    except KeyboardInterrupt:
        _stop()


def _stop(*_: object) -> None:
    sys.stderr.write("attnaudit: stopped.\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
