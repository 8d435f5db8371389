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

    if argv is None:
        _open_closed_streams()
    with Progress("loading the program"):
        from copperplate.cli.commands import run
    if argv is not None:
        return run(argv)
    return _run_once()


def _run_once() -> int:
    from copperplate.cli.commands import run
    from copperplate.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED

    try:
        try:
            # Ignored it stays ignored, as for a shell's background job.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, _interrupt)
            code = run(None)
        finally:
            is_written = _flush()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code if is_written else code or EXIT_FAILED


def _open_closed_streams() -> None:
    """Have streams that were closed before the start (`>&-`) lead nowhere.

    Python has None for them, and the next file or connection to be opened would get their number.
    """
    import os

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        # Numbers are given from the lowest on: it is the stream's own, unless something else has that by now.
        os.set_inheritable(opened, opened == number)
        setattr(sys, name, os.fdopen(opened, "w" if number else "r"))


def _flush() -> bool:
    """Write what was printed; answers whether that did not fail.

    Where its reader has gone, it goes nowhere: the interpreter would complain at its end.
    """
    import os

    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return True
        print(f"copperplate: the output cannot be written: {error.strerror} [output_failed]", file=sys.stderr)
        return False
    return True


def _interrupt(_number: int, _frame: object) -> None:
    """End what runs, in order. Another Ctrl-C does not disturb that: what it cleans up takes seconds at most."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
