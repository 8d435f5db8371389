"""The command line: `copperplate dev` and the commands beside it, one module for those that belong together.

This module imports next to nothing, so that Ctrl-C is quiet from the first moment on.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers its exit code. Without arguments those of the process, which then ends with it."""
    if argv is None and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # Nothing is begun while the program is loaded: the signal may end the process at once, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from copperplate.cli.progress import Progress

    with Progress("loading the program"):
        from copperplate.cli.commands import run
    if argv is not None:
        return run(argv)
    return _run_once()


def _run_once() -> int:
    from copperplate.cli.commands import run

    try:
        try:
            # Ignored it stays ignored, as for a shell's background job.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, _interrupt)
            return run(None)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _interrupt(_number: int, _frame: object) -> None:
    """End what runs, in order. Another Ctrl-C does not disturb that: what it cleans up takes seconds at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
