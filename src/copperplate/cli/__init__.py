"""The command line: `copperplate dev` and the commands beside it, one module for those that belong together.

Nothing is begun while the program is loaded. So its first statements let Ctrl-C end the process at once, without a
traceback, and import no more than that needs. What remains is the start of the interpreter itself, some hundredths of a
second, in which Python may show one.
"""

import signal
import sys

# Of the program alone, not of whoever imports this module. Ignored it stays ignored, as for a shell's background job.
if sys.argv[0].endswith(("-m", "copperplate")) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# `typing` takes longer to import than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command; answers its exit code. Without arguments those of the process, which then ends with it."""
    from copperplate.cli.progress import Progress

    with Progress("loading the program"):
        from copperplate.cli.commands import run
    if argv is not None:
        return run(argv)
    return _run_once()


def _run_once() -> int:
    from copperplate.cli.commands import run
    from copperplate.cli.exit_codes import EXIT_INTERRUPTED

    try:
        try:
            # Ignored it stays ignored, as for a shell's background job.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, _interrupt)
            return run(None)
        finally:
            _flush()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _flush() -> None:
    """Write what was printed. Where its reader has gone, nowhere: the interpreter would complain at its end."""
    import os

    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(_number: int, _frame: object) -> None:
    """End what runs, in order. Another Ctrl-C does not disturb that: what it cleans up takes seconds at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
